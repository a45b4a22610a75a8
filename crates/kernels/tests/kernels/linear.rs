//! Linear layers, forward and backward.

use proptest::prelude::*;
use ptm_kernels::linear::{self, LinearDims, Needs};

use crate::{Numbers, assert_close_of, at_every_level, elementwise::ALL, reference};

fn check(rows: usize, inputs: usize, outputs: usize, seed: u64) {
    let mut numbers = Numbers(seed);
    let (x, w) = (numbers.vec(rows * inputs), numbers.vec(outputs * inputs));
    let (b, dy) = (numbers.vec(outputs), numbers.vec(rows * outputs));
    let dims = LinearDims { rows, inputs, outputs };
    // of a sum of so many products of numbers of size 1
    let size = |count: usize| 0.1 * (count as f64).sqrt();
    for bias in [None, Some(&b[..])] {
        let z = reference::linear(&x, &w, bias, rows, inputs, outputs);
        at_every_level(|| {
            for act in ALL {
                let expected: Vec<f64> = z.iter().map(|&z| reference::value(act, z)).collect();
                let kept = linear::forward(&x, &w, bias, act, dims, true);
                assert_close_of("y", &kept.y, &expected, 2e-6, size(inputs));
                let lean = linear::forward(&x, &w, bias, act, dims, false);
                assert_eq!(lean.y, kept.y);
                assert!(lean.pre.is_none());
                if act == ptm_kernels::activation::Activation::None {
                    assert!(kept.pre.is_none());
                    continue;
                }
                let pre = kept.pre.expect("pre was asked for");
                assert_close_of("pre", &pre, &z, 2e-6, size(inputs));
                let slope = |i: usize| reference::derivative(act, f64::from(pre[i])) * f64::from(dy[i]);
                let dz: Vec<f64> = (0..dy.len()).map(slope).collect();
                let expected = reference::linear_backward(&x, &w, &dz, rows, inputs, outputs);
                let all = Needs { x: true, weight: true, bias: true };
                let grads = linear::backward(&x, &w, Some(&pre), act, &dy, dims, all);
                assert_close_of("dx", &grads.x.expect("dx"), &expected[0], 1e-5, size(outputs));
                assert_close_of("dw", &grads.weight.expect("dw"), &expected[1], 1e-5, size(rows));
                assert_close_of("db", &grads.bias.expect("db"), &expected[2], 1e-5, size(rows));
                let none = Needs { x: false, weight: false, bias: false };
                let grads = linear::backward(&x, &w, Some(&pre), act, &dy, dims, none);
                assert!(grads.x.is_none() && grads.weight.is_none() && grads.bias.is_none());
            }
        });
    }
}

#[test]
fn sizes_at_the_edges() {
    for (rows, inputs, outputs) in [
        (0, 3, 4),
        (3, 0, 4),
        (3, 4, 0),
        (1, 1, 1),
        (1, 4096, 3),
        (8, 33, 17),
        (9, 1, 31),
        (4096, 2, 3),
        (2, 64, 521),
        // few rows that leave the first cache
        (2, 2100, 9),
        (3, 1501, 6),
        (4, 1100, 5),
        (4, 1100, 3),
        (12, 770, 10),
        (127, 48, 130),
        (257, 5, 129),
    ] {
        check(rows, inputs, outputs, (rows * 31 + inputs) as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_size(rows in 0_usize..40, inputs in 0_usize..70, outputs in 0_usize..70, seed: u64) {
        check(rows, inputs, outputs, seed);
    }
}

#[test]
#[should_panic(expected = "weight")]
fn a_weight_of_another_size_is_refused() {
    let dims = LinearDims { rows: 1, inputs: 2, outputs: 2 };
    linear::forward(&[0.0; 2], &[0.0; 3], None, ALL[0], dims, false);
}
