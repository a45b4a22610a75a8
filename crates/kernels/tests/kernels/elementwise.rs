//! Activations, dropout, AdamW's neighbours: one element at a time.

use proptest::prelude::*;
use ptm_kernels::activation::{self, Activation};
use ptm_kernels::dropout::{self, Dropout};

use crate::{Numbers, assert_close_of, at_every_level, reference};

pub const ALL: [Activation; 6] =
    [Activation::None, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu, Activation::Tanh];

#[test]
fn activations_are_accurate_everywhere() {
    // a fine grid over where they bend, a coarse one far out
    let grid = (-120_000..120_000).map(|i| i as f32 * 1e-4).chain((-2_000..2_000).map(|i| i as f32 * 0.31));
    let x: Vec<f32> = grid.collect();
    at_every_level(|| {
        for act in ALL {
            let (y, dy) = (activation::forward(&x, act), activation::backward(&x, &vec![1.0; x.len()], act));
            for (i, &x) in x.iter().enumerate() {
                let (value, slope) = (reference::value(act, f64::from(x)), reference::derivative(act, f64::from(x)));
                let near = |a: f32, e: f64| (f64::from(a) - e).abs() <= 1.2e-7 + 3e-7 * e.abs();
                assert!(near(y[i], value), "{act:?}({x}) = {} should be {value}", y[i]);
                let near = |a: f32, e: f64| (f64::from(a) - e).abs() <= 4e-7 + 3e-7 * e.abs();
                assert!(near(dy[i], slope), "{act:?}'({x}) = {} should be {slope}", dy[i]);
                // whole vectors and single numbers are the same function
                assert_eq!(y[i], act.value(x));
                assert_eq!(dy[i], act.derivative(x));
            }
        }
    });
}

#[test]
fn activations_keep_their_limits() {
    for act in ALL {
        let far = act.value(1e30);
        assert_eq!(far, if act == Activation::Tanh { 1.0 } else { 1e30 }, "{act:?}");
        let low = act.value(-1e30);
        let expected = match act {
            Activation::None => -1e30,
            Activation::Tanh => -1.0,
            _ => 0.0,
        };
        assert_eq!(low, expected, "{act:?}");
        assert!(act.value(f32::NAN).is_nan() || act == Activation::Relu, "{act:?} hides a NaN");
        assert!(act.derivative(1e30).is_finite() && act.derivative(-1e30).is_finite(), "{act:?}'");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gates_and_their_gradients(len in prop_oneof![0_usize..70, Just(20_011)], seed: u64) {
        let mut numbers = Numbers(seed);
        let [gate, up, dy] = [0; 3].map(|_| numbers.vec(len).iter().map(|v| v * 4.0).collect::<Vec<f32>>());
        // products of two numbers up to 4 and an activation's value or slope, whose error is absolute
        let size = 16.0;
        at_every_level(|| {
            for act in ALL {
                let expected: Vec<f64> = (0..len)
                    .map(|i| reference::value(act, f64::from(gate[i])) * f64::from(up[i]))
                    .collect();
                assert_close_of("gated", &activation::gated(&gate, &up, act), &expected, 5e-7, size);
                let (dgate, dup) = activation::gated_backward(&gate, &up, &dy, act);
                let expected: Vec<f64> = (0..len)
                    .map(|i| reference::derivative(act, f64::from(gate[i])) * f64::from(up[i]) * f64::from(dy[i]))
                    .collect();
                assert_close_of("dgate", &dgate, &expected, 5e-7, size);
                let expected: Vec<f64> = (0..len)
                    .map(|i| reference::value(act, f64::from(gate[i])) * f64::from(dy[i]))
                    .collect();
                assert_close_of("dup", &dup, &expected, 5e-7, size);
            }
        });
    }

    #[test]
    fn dropout_is_its_mask(len in prop_oneof![0_usize..70, Just(40_003)], rate in 0.0_f32..0.95, seed: u64) {
        let d = Dropout::new(rate, seed);
        let x = Numbers(seed).vec(len);
        at_every_level(|| {
            let mask = dropout::mask(&d, len);
            for i in 0..len {
                assert_eq!(mask[i], d.factor(i as u64));
            }
            let expected: Vec<f32> = x.iter().zip(&mask).map(|(x, m)| x * m).collect();
            assert_eq!(dropout::forward(&x, &d), expected);
            assert_eq!(dropout::backward(&x, &d), expected);
        });
    }
}
