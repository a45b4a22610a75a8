//! Relative attention at XLNet-base's width, fused and composed, forward and with its gradients: best times as a table;
//! where everybody sees everybody, in an order of prediction (a flag a pair), and in one direction (a span a query).
//! `cargo bench -p ptm-ops --bench relative_attention`.

use std::sync::Arc;
use std::time::Instant;

use burn::prelude::*;
use burn::tensor::{Distribution, TensorData};
use ptm_ops::{Dropout, Mask, RelativeAttention, RelativeTensors, composed, relative_attention};

const HEADS: usize = 12;
const WIDTH: usize = 768;

/// The best of seven times in milliseconds, of fewer where they take long.
fn best(mut f: impl FnMut()) -> f64 {
    let (begun, mut best) = (Instant::now(), f64::INFINITY);
    for run in 0..7 {
        if run > 1 && begun.elapsed().as_secs() >= 3 {
            break;
        }
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best * 1e3
}

fn main() {
    let device = Device::flex().autodiff();
    println!("{:<36} {:>9} {:>12} {:>8}", "", "fused ms", "composed ms", "");
    for (sequences, length) in [(32, 32), (8, 128), (2, 512), (1, 2048)] {
        let rows = sequences * length;
        let leaf = |rows| Tensor::<2>::random([rows, WIDTH], Distribution::Default, &device);
        let given = [leaf(rows), leaf(rows), leaf(rows), leaf(2 * length - 1), leaf(2)];
        let biases = [0; 3].map(|_| Tensor::<1>::random([WIDTH], Distribution::Default, &device));
        // a graph serves one backward pass
        let fresh = || {
            let [q, k, v, distances, segments] = given.clone().map(Tensor::require_grad);
            RelativeTensors { q, k, v, distances, segments, biases: biases.clone().map(Tensor::require_grad) }
        };
        let offsets: Arc<[usize]> = (0..=sequences).map(|b| b * length).collect();
        let pairs = (0..sequences * length * length).map(|pair| {
            let (query, key) = (pair / length % length, pair % length);
            // a sixth is predicted, in an order that has nothing to do with places
            key % 6 > 0 || key * 7919 % length < query * 7919 % length
        });
        let spans = (0..rows).map(|row| [0, (row % length + 1) as u32]);
        let masks =
            [("", Mask::None), (", order", Mask::Full(pairs.collect())), (", uni", Mask::Spans(spans.collect()))];
        let spec_of = |mask| RelativeAttention {
            heads: HEADS,
            scale: 0.125,
            q_offsets: offsets.clone(),
            k_offsets: offsets.clone(),
            places: (0..rows).map(|row| (row % length) as u32).collect(),
            zero: length - 1,
            backwards: vec![false; sequences].into(),
            q_segments: vec![0; rows].into(),
            k_segments: vec![0; rows].into(),
            mask,
            dropout: Dropout::new(0.1, 1),
        };
        let way: [(&str, fn(&RelativeTensors, &RelativeAttention) -> Tensor<2>); 2] =
            [("fused", relative_attention), ("composed", composed::relative_attention)];
        let weights = Tensor::<2>::from_data(TensorData::new(vec![1.0_f32; rows * WIDTH], [rows, WIDTH]), &device);
        for (seen, mask) in masks {
            let spec = spec_of(mask);
            for (what, backward) in [("forward", false), ("forward and backward", true)] {
                let [fused, plain] = way.map(|(_, attention)| {
                    best(|| {
                        let x = fresh();
                        let y = attention(&x, &spec);
                        if backward {
                            let loss = (y * weights.clone()).sum();
                            assert!(x.q.grad(&loss.backward()).is_some());
                        } else {
                            assert_eq!(y.dims(), [rows, WIDTH]);
                        }
                    })
                });
                let name = format!("{sequences}x{length}{seen}, {what}");
                println!("{name:<36} {fused:>9.1} {plain:>12.1} {:>7.1}x", plain / fused);
            }
        }
    }
}
