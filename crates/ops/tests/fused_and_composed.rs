//! Every fused operation against the same operation composed of Burn's own: values and gradients, over odd shapes.

use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::TensorData;
use proptest::prelude::*;
use ptm_ops::{
    Activation, Attention, Bias, ChosenRows, Dropout, Indices, Mask, RelativeAttention, RelativeTensors, composed,
};

/// Numbers that repeat nowhere, within ±1.
fn numbers(count: usize, salt: u32) -> Vec<f32> {
    (0..count as u32)
        .map(|i| {
            let mut x = (i ^ salt.wrapping_mul(0x9E37_79B9)).wrapping_mul(0x85EB_CA6B);
            x ^= x >> 13;
            x = x.wrapping_mul(0xC2B2_AE35);
            x ^= x >> 16;
            x as f32 / u32::MAX as f32 * 2.0 - 1.0
        })
        .collect()
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn leaf<const D: usize>(shape: [usize; D], salt: u32) -> Tensor<D> {
    let data = TensorData::new(numbers(shape.iter().product(), salt), shape);
    Tensor::from_data(data, &device()).require_grad()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    ptm_ops::read_f32(x)
}

/// Largest difference relative to the largest value, in the sense of the norm.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
    let size: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    // what is zero in theory is rounding in practice: small gradients are measured against 0.1
    (difference / size.max(1e-2)).sqrt()
}

fn close(name: &str, a: &[f32], b: &[f32]) {
    let d = distance(a, b);
    assert!(d < 1e-5, "{name}: {d:e}");
}

/// Runs `f` on leaves; gives its value and the gradient of a fixed weighting of it for every leaf.
fn run<const N: usize>(leaves: [Tensor<2>; N], f: impl Fn([Tensor<2>; N]) -> Tensor<2>) -> (Vec<f32>, Vec<Vec<f32>>) {
    let y = f(leaves.clone());
    let weights = Tensor::from_data(TensorData::new(numbers(y.dims().iter().product(), 99), y.dims()), &device());
    let grads = (y.clone() * weights).sum().backward();
    let of = |leaf: &Tensor<2>| values(leaf.grad(&grads).expect("every leaf has a gradient"));
    (values(y), leaves.iter().map(of).collect())
}

fn compare<const N: usize>(
    name: &str,
    leaves: [Tensor<2>; N],
    fused: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    plain: impl Fn([Tensor<2>; N]) -> Tensor<2>,
) {
    let (y, dy) = run(leaves.clone(), fused);
    let (z, dz) = run(leaves, plain);
    close(name, &y, &z);
    for (i, (a, b)) in dy.iter().zip(&dz).enumerate() {
        close(&format!("{name}, gradient {i}"), a, b);
    }
}

const ACTIVATIONS: [Activation; 6] =
    [Activation::None, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu, Activation::Tanh];

fn flat(x: Tensor<2>) -> Tensor<1> {
    x.flatten(0, 1)
}

#[test]
fn linear() {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (4, 33, 65), (17, 31, 2), (129, 70, 300)] {
        for act in ACTIVATIONS {
            let leaves = [leaf([rows, inputs], 1), leaf([outputs, inputs], 2), leaf([1, outputs], 3)];
            let name = format!("linear {rows}×{inputs}×{outputs} {act:?}");
            compare(
                &name,
                leaves.clone(),
                |[x, w, b]| ptm_ops::linear(x, w, Some(flat(b)), act),
                |[x, w, b]| composed::linear(x, w, Some(flat(b)), act),
            );
            let [x, w, _] = leaves;
            compare(
                &name,
                [x, w],
                |[x, w]| ptm_ops::linear(x, w, None, act),
                |[x, w]| composed::linear(x, w, None, act),
            );
        }
    }
}

#[test]
fn gated_and_activation() {
    for act in ACTIVATIONS {
        compare(
            "gated",
            [leaf([5, 9], 1), leaf([5, 9], 2)],
            |[g, u]| ptm_ops::gated(g, u, act),
            |[g, u]| composed::activation(g, act) * u,
        );
        compare("activation", [leaf([5, 9], 1)], |[x]| ptm_ops::activation(x, act), |[x]| composed::activation(x, act));
    }
}

#[test]
fn norms() {
    for (rows, width) in [(1, 1), (1, 8), (7, 33), (300, 70)] {
        for rate in [0.0, 0.3] {
            let drop = Dropout::new(rate, 5);
            // a row of one number has no deviation, its norm amplifies rounding by 1/√eps
            let eps = if width == 1 { 1.0 } else { 1e-5 };
            let leaves = [leaf([rows, width], 1), leaf([rows, width], 2), leaf([1, width], 3), leaf([1, width], 4)];
            let name = format!("norm {rows}×{width} dropout {rate}");
            compare(
                &name,
                leaves.clone(),
                |[x, r, g, b]| ptm_ops::add_layer_norm(x, Some(r), flat(g), flat(b), eps, drop),
                |[x, r, g, b]| composed::add_layer_norm(x, Some(r), flat(g), flat(b), eps, drop),
            );
            let [x, r, g, b] = leaves;
            compare(
                &name,
                [x.clone(), g.clone(), b],
                |[x, g, b]| ptm_ops::add_layer_norm(x, None, flat(g), flat(b), eps, drop),
                |[x, g, b]| composed::add_layer_norm(x, None, flat(g), flat(b), eps, drop),
            );
            compare(
                &name,
                [x.clone(), g],
                |[x, g]| ptm_ops::rms_norm(x, flat(g), eps),
                |[x, g]| composed::rms_norm(x, flat(g), eps),
            );
            compare(
                &name,
                [x.clone(), r],
                |[x, r]| ptm_ops::dropout_add(x, r, drop),
                |[x, r]| composed::dropout(x, drop) + r,
            );
            compare(&name, [x], |[x]| ptm_ops::dropout(x, drop), |[x]| composed::dropout(x, drop));
        }
    }
}

#[test]
fn rows_and_embeddings() {
    let rows: Indices = vec![4, 0, 4, 2].into();
    compare("gather", [leaf([6, 5], 1)], |[x]| ptm_ops::gather_rows(x, &rows), |[x]| composed::gather_rows(x, &rows));
    let ids: [Indices; 3] = [vec![9, 1, 9, 0, 3].into(), vec![0, 1, 2, 3, 4].into(), vec![0, 0, 1, 1, 1].into()];
    let tables = |[a, b, c]: [Tensor<2>; 3]| vec![(a, ids[0].clone()), (b, ids[1].clone()), (c, ids[2].clone())];
    compare(
        "embedding",
        [leaf([10, 7], 1), leaf([5, 7], 2), leaf([2, 7], 3)],
        |leaves| ptm_ops::embedding_sum(tables(leaves)),
        |leaves| composed::embedding_sum(tables(leaves)),
    );
}

#[test]
fn cross_entropy() {
    for (rows, width, vocab) in [(1, 1, 2), (9, 6, 11), (40, 16, 1000)] {
        for label_smoothing in [0.0, 0.1] {
            let chosen = ChosenRows {
                rows: (0..rows as u32).filter(|i| i % 3 != 1).collect(),
                targets: (0..rows as u32).filter(|i| i % 3 != 1).map(|i| i * 7 % vocab as u32).collect(),
                label_smoothing,
                scale: 0.25,
            };
            let leaves = [leaf([rows, width], 1), leaf([vocab, width], 2), leaf([1, vocab], 3)];
            compare(
                &format!("cross-entropy {rows}×{width}×{vocab} smoothing {label_smoothing}"),
                leaves,
                |[x, w, b]| ptm_ops::cross_entropy(x, w, Some(flat(b)), &chosen).unsqueeze(),
                |[x, w, b]| composed::cross_entropy(x, w, Some(flat(b)), &chosen).unsqueeze(),
            );
        }
    }
}

#[test]
fn nothing_chosen_costs_nothing_and_gives_zero_gradients() {
    let chosen = ChosenRows { rows: Vec::new().into(), targets: Vec::new().into(), label_smoothing: 0.0, scale: 1.0 };
    let (y, grads) =
        run([leaf([3, 4], 1), leaf([5, 4], 2)], |[x, w]| ptm_ops::cross_entropy(x, w, None, &chosen).unsqueeze());
    assert_eq!(y, [0.0]);
    assert!(grads.iter().flatten().all(|&g| g == 0.0));
}

#[test]
fn empty_batches_pass_through() {
    let x = leaf([0, 6], 1);
    let y = ptm_ops::linear(x, leaf([4, 6], 2), None, Activation::Gelu);
    assert_eq!(y.dims(), [0, 4]);
    let x = leaf([0, 6], 1);
    let y =
        ptm_ops::add_layer_norm(x.clone(), Some(x), flat(leaf([1, 6], 2)), flat(leaf([1, 6], 3)), 1e-5, Dropout::OFF);
    assert_eq!(y.dims(), [0, 6]);
}

fn offsets(lengths: &[usize]) -> Arc<[usize]> {
    let mut offsets = vec![0];
    for length in lengths {
        offsets.push(offsets[offsets.len() - 1] + length);
    }
    offsets.into()
}

#[derive(Clone, Copy, Debug)]
enum MaskKind {
    None,
    Causal,
    Prefix,
    Spans,
    Keys,
    Full,
}

fn mask(kind: MaskKind, lengths: &[(usize, usize)], salt: u32) -> Mask {
    let coins = |count| -> Arc<[bool]> { numbers(count, salt).iter().map(|&x| x > -0.4).collect() };
    match kind {
        MaskKind::None => Mask::None,
        MaskKind::Causal => Mask::Causal,
        MaskKind::Prefix => Mask::Prefix(lengths.iter().map(|l| l.1 / 2).collect()),
        MaskKind::Spans => {
            let mut any = numbers(2 * lengths.iter().map(|l| l.0).sum::<usize>(), salt).into_iter();
            // some see nothing, and some spans end before they begin
            let mut place = |keys: usize| ((any.next().expect("two a query") + 1.0) * 0.5 * (keys + 1) as f32) as u32;
            let spans = lengths.iter().flat_map(|&(q, k)| std::iter::repeat_n(k, q));
            Mask::Spans(spans.map(|keys| [place(keys), place(keys)]).collect())
        }
        MaskKind::Keys => Mask::Keys(coins(lengths.iter().map(|l| l.1).sum())),
        MaskKind::Full => Mask::Full(coins(lengths.iter().map(|l| l.0 * l.1).sum())),
    }
}

fn check_attention(lengths: &[(usize, usize)], heads: usize, head: usize, kind: MaskKind, bias: u8, rate: f32) {
    let q_lengths: Vec<usize> = lengths.iter().map(|l| l.0).collect();
    let k_lengths: Vec<usize> = lengths.iter().map(|l| l.1).collect();
    let spec = Attention {
        heads,
        scale: 0.7,
        q_offsets: offsets(&q_lengths),
        k_offsets: offsets(&k_lengths),
        mask: mask(kind, lengths, 3),
        dropout: Dropout::new(rate, 11),
    };
    let (queries, keys) = (q_lengths.iter().sum(), k_lengths.iter().sum());
    let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(0);
    let (q_max, k_max) = (longest(&q_lengths), longest(&k_lengths));
    let (rows, columns) = match bias {
        0 => (1, 1),
        1 => (heads * q_max, k_max),
        _ => (heads, q_max + k_max),
    };
    let width = heads * head;
    let leaves = [leaf([queries, width], 1), leaf([keys, width], 2), leaf([keys, width], 3), leaf([rows, columns], 4)];
    let make = |values: Tensor<2>| match bias {
        0 => None,
        1 => Some(Bias::Dense(values.reshape([heads, q_max, k_max]))),
        _ => Some(Bias::Relative { values, zero: k_max }),
    };
    let name = format!("attention {lengths:?} heads {heads}×{head} {kind:?} bias {bias} dropout {rate}");
    // without a bias the fourth leaf takes part all the same, so that it has a gradient to compare
    let keep = |b: Tensor<2>| if bias == 0 { b.sum() * 0.0 } else { Tensor::zeros([1], &device()) };
    compare(
        &name,
        leaves,
        |[q, k, v, b]| ptm_ops::attention(q, k, v, make(b.clone()), &spec) + keep(b).unsqueeze(),
        |[q, k, v, b]| composed::attention(q, k, v, make(b.clone()), &spec) + keep(b).unsqueeze(),
    );
}

const MASKS: [MaskKind; 6] =
    [MaskKind::None, MaskKind::Causal, MaskKind::Prefix, MaskKind::Spans, MaskKind::Keys, MaskKind::Full];

#[test]
fn attention_over_one_token() {
    for kind in MASKS {
        check_attention(&[(1, 1)], 1, 1, kind, 0, 0.0);
    }
}

#[test]
fn attention_crosses_tiles() {
    for kind in MASKS {
        check_attention(&[(130, 130), (5, 5)], 2, 8, kind, 2, 0.1);
        check_attention(&[(131, 600)], 1, 16, kind, 1, 0.0);
        check_attention(&[(3, 1030), (140, 140)], 2, 4, kind, 0, 0.2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn attention(
        lengths in prop::collection::vec((0_usize..9, 1_usize..12), 1..5),
        heads in 1_usize..4,
        head in 1_usize..9,
        kind in prop::sample::select(MASKS.to_vec()),
        bias in 0_u8..3,
        drop in prop::bool::ANY,
    ) {
        prop_assume!(lengths.iter().any(|l| l.0 > 0));
        // a causal sequence has no more queries than keys
        let lengths: Vec<(usize, usize)> = lengths.iter().map(|l| (l.0.min(l.1), l.1)).collect();
        prop_assume!(lengths.iter().any(|l| l.0 > 0));
        check_attention(&lengths, heads, head, kind, bias, if drop { 0.25 } else { 0.0 });
    }
}

/// Queries are the first of their sequences' keys, the second sequence counts backwards.
fn check_relative(lengths: &[(usize, usize)], heads: usize, head: usize, kind: MaskKind, rate: f32) {
    let q_lengths: Vec<usize> = lengths.iter().map(|l| l.0).collect();
    let k_lengths: Vec<usize> = lengths.iter().map(|l| l.1).collect();
    let (queries, keys) = (q_lengths.iter().sum(), k_lengths.iter().sum());
    let longest = k_lengths.iter().copied().max().unwrap_or(0);
    let segments = |count, salt| -> Indices { numbers(count, salt).iter().map(|&x| u32::from(x > 0.0)).collect() };
    let spec = RelativeAttention {
        heads,
        scale: 0.7,
        q_offsets: offsets(&q_lengths),
        k_offsets: offsets(&k_lengths),
        places: q_lengths.iter().flat_map(|&count| 0..count as u32).collect(),
        zero: longest,
        backwards: (0..lengths.len()).map(|b| b == 1).collect(),
        q_segments: segments(queries, 5),
        k_segments: segments(keys, 6),
        mask: mask(kind, lengths, 3),
        dropout: Dropout::new(rate, 11),
    };
    let width = heads * head;
    let biases = [7, 8, 9].map(|salt| leaf([1, width], salt));
    let [u, w, s] = biases;
    let [q, k, v] = [(queries, 1), (keys, 2), (keys, 3)].map(|(rows, salt)| leaf([rows, width], salt));
    let leaves = [q, k, v, leaf([2 * longest + 1, width], 4), leaf([2, width], 10), u, w, s];
    let tensors = |[q, k, v, distances, segments, u, w, s]: [Tensor<2>; 8]| RelativeTensors {
        q,
        k,
        v,
        distances,
        segments,
        biases: [flat(u), flat(w), flat(s)],
    };
    let name = format!("relative attention {lengths:?} heads {heads}×{head} {kind:?} dropout {rate}");
    compare(
        &name,
        leaves,
        |leaves| ptm_ops::relative_attention(&tensors(leaves), &spec),
        |leaves| composed::relative_attention(&tensors(leaves), &spec),
    );
}

#[test]
fn relative_attention() {
    for kind in [MaskKind::None, MaskKind::Spans, MaskKind::Full] {
        check_relative(&[(1, 1)], 1, 1, kind, 0.0);
        check_relative(&[(3, 5), (2, 2)], 2, 3, kind, 0.0);
        check_relative(&[(130, 131), (5, 5), (1, 4)], 2, 8, kind, 0.1);
        check_relative(&[(20, 600)], 1, 16, kind, 0.2);
    }
}
