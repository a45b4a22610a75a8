//! Attention over every mask, bias and odd packing, forward and backward.

use proptest::prelude::*;
use ptm_kernels::attention::{Bias, Mask, Shape, backward, forward};
use ptm_kernels::dropout::Dropout;

use crate::{Numbers, assert_close, assert_close_of, at_every_level, reference, spans};

struct Case {
    q_lens: Vec<usize>,
    k_lens: Vec<usize>,
    heads: usize,
    head_dim: usize,
    dropout: Dropout,
    seed: u64,
}

pub fn offsets(lens: &[usize]) -> Vec<usize> {
    let mut all = vec![0];
    all.extend(lens.iter().scan(0, |at, len| {
        *at += len;
        Some(*at)
    }));
    all
}

/// Every mask times every bias of one packing.
fn check(case: &Case) {
    let (q_offsets, k_offsets) = (offsets(&case.q_lens), offsets(&case.k_lens));
    let (tq, tk) = (q_offsets[case.q_lens.len()], k_offsets[case.k_lens.len()]);
    let (heads, width) = (case.heads, case.heads * case.head_dim);
    let mut numbers = Numbers(case.seed);
    let [q, dout] = [0; 2].map(|_| numbers.vec(tq * width));
    let [k, v] = [0; 2].map(|_| numbers.vec(tk * width));
    let scale = 2.0 / (case.head_dim as f32).sqrt();
    let shape = Shape { heads, head_dim: case.head_dim, scale, q_offsets: &q_offsets, k_offsets: &k_offsets };
    let (q_max, k_max) = (case.q_lens.iter().max().unwrap_or(&0) + 1, case.k_lens.iter().max().unwrap_or(&0) + 2);
    let (dense, span) = (numbers.vec(heads * q_max * k_max), q_max + k_max);
    let relative = numbers.vec(heads * span);
    let prefix: Vec<usize> = case.k_lens.iter().map(|&len| numbers.below(len + 2)).collect();
    let spans = spans(&mut numbers, case.q_lens.iter().copied().zip(case.k_lens.iter().copied()));
    let keys: Vec<bool> = (0..tk).map(|_| numbers.below(3) > 0).collect();
    let pairs: usize = case.q_lens.iter().zip(&case.k_lens).map(|(q, k)| q * k).sum();
    let full: Vec<bool> = (0..pairs).map(|_| numbers.below(3) > 0).collect();
    let biases = [
        Bias::None,
        Bias::Dense { values: &dense, q_max, k_max },
        Bias::Relative { values: &relative, span, zero: k_max - 1 },
    ];
    let masks = [Mask::Prefix(&prefix), Mask::Spans(&spans), Mask::Keys(&keys), Mask::Full(&full)];
    for mask in [Mask::None, Mask::Causal].into_iter().chain(masks) {
        for bias in biases {
            let expected = reference::attention([&q, &k, &v, &dout], &shape, mask, bias, case.dropout);
            at_every_level(|| {
                let f = forward(&q, &k, &v, &shape, mask, bias, case.dropout);
                assert_close("out", &f.out, &expected.out, 4e-6);
                assert_close("lse", &f.lse, &expected.lse, 2e-6);
                // the terms of a gradient are of size 1, also where they cancel
                let size = 0.1;
                for needs_bias in [false, true] {
                    let g = backward(&q, &k, &v, &f.out, &f.lse, &dout, &shape, mask, bias, case.dropout, needs_bias);
                    assert_close_of("dq", &g.q, &expected.dq, 1e-5, size);
                    assert_close_of("dk", &g.k, &expected.dk, 1e-5, size);
                    assert_close_of("dv", &g.v, &expected.dv, 1e-5, size);
                    assert_eq!(g.bias.is_some(), needs_bias);
                    if let Some(dbias) = g.bias {
                        assert_close_of("dbias", &dbias, &expected.dbias, 1e-5, size);
                    }
                }
            });
        }
    }
}

#[test]
fn odd_packings() {
    let lens: [(&[usize], &[usize]); 9] = [
        (&[], &[]),
        (&[0], &[0]),
        (&[0, 3, 0], &[4, 0, 0]),
        (&[1], &[1]),
        (&[1, 7, 0, 20], &[5, 7, 3, 2]),
        (&[131, 2], &[3, 140]),
        (&[9], &[530]),
        // more sequences, and more keys, than one task takes
        (&[3; 20], &[2; 20]),
        (&[2, 1], &[1100, 3]),
    ];
    for (i, (q_lens, k_lens)) in lens.into_iter().enumerate() {
        for dropout in [Dropout::OFF, Dropout::new(0.3, 9)] {
            let (q_lens, k_lens) = (q_lens.to_vec(), k_lens.to_vec());
            check(&Case { q_lens, k_lens, heads: 2, head_dim: 5, dropout, seed: i as u64 });
        }
    }
}

#[test]
fn usual_head_widths() {
    for (heads, head_dim) in [(1, 1), (3, 32), (2, 64), (1, 80)] {
        let lens = vec![17, 1, 33];
        check(&Case { q_lens: lens.clone(), k_lens: lens, heads, head_dim, dropout: Dropout::OFF, seed: 3 });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_packing(
        lens in prop::collection::vec((0_usize..40, 0_usize..40), 0..5),
        heads in 1_usize..4,
        head_dim in 1_usize..20,
        rate in prop_oneof![Just(0.0_f32), Just(0.2)],
        seed: u64,
    ) {
        let (q_lens, k_lens) = lens.into_iter().unzip();
        check(&Case { q_lens, k_lens, heads, head_dim, dropout: Dropout::new(rate, seed), seed });
    }
}

/// One sequence over many tiles, where the running maximum matters: scores grow along the keys, so that every
/// block of keys outgrows the one before it.
#[test]
fn long_sequences_with_growing_scores() {
    let (n, d) = (4096, 8);
    let mut numbers = Numbers(1);
    let (q, mut k) = (vec![1.0; n * d], numbers.vec(n * d));
    let (v, dout) = (numbers.vec(n * d), numbers.vec(n * d));
    k.chunks_mut(d).enumerate().for_each(|(j, row)| row[0] += j as f32 / 100.0);
    let o = [0, n];
    let shape = Shape { heads: 1, head_dim: d, scale: 0.35, q_offsets: &o, k_offsets: &o };
    for (mask, dropout) in [(Mask::None, Dropout::OFF), (Mask::Causal, Dropout::new(0.1, 5))] {
        let expected = reference::attention([&q, &k, &v, &dout], &shape, mask, Bias::None, dropout);
        let f = forward(&q, &k, &v, &shape, mask, Bias::None, dropout);
        assert_close("out", &f.out, &expected.out, 4e-6);
        let g = backward(&q, &k, &v, &f.out, &f.lse, &dout, &shape, mask, Bias::None, dropout, false);
        assert_close("dq", &g.q, &expected.dq, 2e-5);
        assert_close("dk", &g.k, &expected.dk, 2e-5);
        assert_close("dv", &g.v, &expected.dv, 2e-5);
    }
}

/// Scores beyond what `exp` can hold, and queries that see nothing: numbers, never NaN.
#[test]
fn extreme_scores_stay_finite() {
    let o = [0, 3];
    let shape = Shape { heads: 1, head_dim: 1, scale: 1.0, q_offsets: &o, k_offsets: &o };
    let (q, k, v) = ([1e4, -1e4, 0.0], [1e4, -1e4, 5.0], [1.0, 2.0, 3.0]);
    let f = forward(&q, &k, &v, &shape, Mask::None, Bias::None, Dropout::OFF);
    assert_eq!(f.out, [1.0, 2.0, 2.0]);
    let f = forward(&q, &k, &v, &shape, Mask::Keys(&[false; 3]), Bias::None, Dropout::OFF);
    assert_eq!(f.out, [0.0; 3]);
    let g = backward(
        &q,
        &k,
        &v,
        &f.out,
        &f.lse,
        &[1.0; 3],
        &shape,
        Mask::Keys(&[false; 3]),
        Bias::None,
        Dropout::OFF,
        false,
    );
    assert_eq!((g.q, g.k, g.v), (vec![0.0; 3], vec![0.0; 3], vec![0.0; 3]));
}

#[test]
#[should_panic(expected = "span")]
fn a_relative_bias_that_is_too_short_is_refused() {
    let o = [0, 3];
    let shape = Shape { heads: 1, head_dim: 1, scale: 1.0, q_offsets: &o, k_offsets: &o };
    let bias = Bias::Relative { values: &[0.0; 4], span: 4, zero: 2 };
    forward(&[0.0; 3], &[0.0; 3], &[0.0; 3], &shape, Mask::None, bias, Dropout::OFF);
}

#[test]
#[should_panic(expected = "q_offsets")]
fn offsets_that_miss_rows_are_refused() {
    let shape = Shape { heads: 1, head_dim: 1, scale: 1.0, q_offsets: &[0, 2], k_offsets: &[0, 3] };
    forward(&[0.0; 3], &[0.0; 3], &[0.0; 3], &shape, Mask::None, Bias::None, Dropout::OFF);
}
