//! Cross-entropy through the decoder and over given logits.

use proptest::prelude::*;
use ptm_kernels::cross_entropy::{self, Options};

use crate::{Numbers, assert_close_of, at_every_level, reference};

fn check(n: usize, width: usize, vocab: usize, chosen: usize, smoothing: f32, seed: u64) {
    let mut numbers = Numbers(seed);
    let (hidden, weight, bias) = (numbers.vec(n * width), numbers.vec(vocab * width), numbers.vec(vocab));
    let (rows, targets) = (numbers.ids(chosen, n), numbers.ids(chosen, vocab));
    let options = Options { label_smoothing: smoothing, scale: 0.37 };
    for bias in [None, Some(&bias[..])] {
        let e = reference::decoder([&hidden, &weight], bias, [&rows, &targets], [width, vocab], &options);
        at_every_level(|| {
            let f = cross_entropy::forward(&hidden, &weight, bias, &rows, &targets, width, vocab, &options, true);
            assert!((f.loss - e.loss).abs() <= 2e-6 * e.loss.abs().max(1.0), "{} should be {}", f.loss, e.loss);
            assert_close_of("per row", &f.per_row, &e.per_row, 2e-6, 1.0);
            let g = f.grads.expect("gradients were asked for");
            assert_close_of("hidden", &g.hidden, &e.hidden, 1e-5, 0.2);
            assert_close_of("weight", &g.weight, &e.weight, 1e-5, 0.2);
            assert_eq!(g.bias.is_some(), bias.is_some());
            if let Some(bias) = g.bias {
                assert_close_of("bias", &bias, &e.bias, 1e-5, 0.2);
            }
            let lean = cross_entropy::forward(&hidden, &weight, bias, &rows, &targets, width, vocab, &options, false);
            assert!(lean.grads.is_none());
            assert_close_of("per row without gradients", &lean.per_row, &e.per_row, 2e-6, 1.0);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_size(
        n in 1_usize..20,
        width in 1_usize..40,
        vocab in 1_usize..200,
        chosen in 0_usize..30,
        smoothing in prop_oneof![Just(0.0_f32), Just(0.1)],
        seed: u64,
    ) {
        check(n, width, vocab, chosen, smoothing, seed);
    }

    #[test]
    fn given_logits(
        n in 0_usize..40,
        classes in 1_usize..50,
        smoothing in prop_oneof![Just(0.0_f32), Just(0.1)],
        weighted: bool,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let logits: Vec<f32> = numbers.vec(n * classes).iter().map(|v| v * 8.0).collect();
        let targets = numbers.ids(n, classes);
        let weights = numbers.vec(n);
        let weight = |i: usize| if weighted { f64::from(weights[i]) } else { 1.0 };
        let options = Options { label_smoothing: smoothing, scale: 0.7 };
        let scale = f64::from(options.scale);
        let (losses, grads) =
            reference::cross_entropy(&reference::widen(&logits), classes, &targets, f64::from(smoothing));
        let grads: Vec<f64> = grads.iter().enumerate().map(|(i, g)| g * scale * weight(i / classes)).collect();
        let loss: f64 = losses.iter().enumerate().map(|(i, l)| l * scale * weight(i)).sum();
        at_every_level(|| {
            let given = weighted.then_some(&weights[..]);
            let f = cross_entropy::logits_loss(&logits, classes, &targets, given, &options);
            assert_close_of("per row", &f.per_row, &losses, 2e-6, 1.0);
            assert_close_of("gradient", &f.grad, &grads, 5e-6, 0.5);
            let size: f64 = losses.iter().sum();
            assert!((f.loss - loss).abs() <= 2e-6 * size.max(1.0), "{} should be {loss}", f.loss);
        });
    }
}

/// More rows than one chunk of logits holds, some of them chosen twice.
#[test]
fn several_chunks() {
    check(11, 2, 300_000, 61, 0.1, 5);
}
