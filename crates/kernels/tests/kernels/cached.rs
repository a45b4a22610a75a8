//! Attention to stored rows against the loops of `reference`, to which the rows are given one after the other.

use proptest::prelude::*;
use ptm_kernels::attention::{Bias, Mask, Shape, Stored, cached};
use ptm_kernels::dropout::Dropout;

use crate::attention::offsets;
use crate::{Numbers, assert_close, at_every_level, reference};

fn check(q_lens: &[usize], k_lens: &[usize], heads: usize, head_dim: usize, seed: u64) {
    let (q_offsets, k_offsets) = (offsets(q_lens), offsets(k_lens));
    let (tq, tk) = (q_offsets[q_lens.len()], k_offsets[k_lens.len()]);
    let width = heads * head_dim;
    let mut numbers = Numbers(seed);
    // a store of fewer rows than are named: sequences share them
    let held = tk / 2 + 1;
    let q = numbers.vec(tq * width);
    let [keys, values] = [0; 2].map(|_| numbers.vec(held * width));
    let rows = numbers.ids(tk, held);
    let packed =
        |x: &[f32]| -> Vec<f32> { rows.iter().flat_map(|&row| &x[row as usize * width..][..width]).copied().collect() };
    let (k, v) = (packed(&keys), packed(&values));
    let dout = vec![0.0; q.len()];
    let shape = Shape { heads, head_dim, scale: 0.7, q_offsets: &q_offsets, k_offsets: &k_offsets };
    let (q_max, k_max) = (q_lens.iter().max().unwrap_or(&0) + 1, k_lens.iter().max().unwrap_or(&0) + 2);
    let (dense, span) = (numbers.vec(heads * q_max * k_max), q_max + k_max);
    let relative = numbers.vec(heads * span);
    let biases = [
        Bias::None,
        Bias::Dense { values: &dense, q_max, k_max },
        Bias::Relative { values: &relative, span, zero: k_max - 1 },
    ];
    for (mask, causal) in [(Mask::None, false), (Mask::Causal, true)] {
        for bias in biases {
            let expected = reference::attention([&q, &k, &v, &dout], &shape, mask, bias, Dropout::OFF);
            at_every_level(|| {
                let stored = Stored { keys: &keys, values: &values, rows: &rows };
                assert_close("out", &cached(&q, stored, &shape, causal, bias), &expected.out, 4e-6);
            });
        }
    }
}

#[test]
fn odd_steps() {
    let lens: [(&[usize], &[usize]); 9] = [
        (&[], &[]),
        (&[0], &[3]),
        (&[1, 2], &[0, 1]),
        (&[1, 1, 1], &[5, 1, 9]),
        (&[3, 0, 1], &[3, 4, 1]),
        (&[1; 8], &[700; 8]),
        (&[1], &[700]),
        (&[2, 1], &[333, 64]),
        (&[5], &[2]),
    ];
    for (q_lens, k_lens) in lens {
        check(q_lens, k_lens, 2, 5, 1);
        check(q_lens, k_lens, 3, 64, 2);
    }
}

/// Alone and beside others, on one thread and on three, to the bit; the first keys hidden, or all of them.
#[test]
fn the_same_beside_others() {
    const SEEN: usize = 100;
    let (heads, head_dim) = (12, 64);
    let width = heads * head_dim;
    let mut numbers = Numbers(3);
    let [keys, values] = [0; 2].map(|_| numbers.vec(SEEN * width));
    let rows: Vec<u32> = (0..SEEN as u32).collect();
    let q = numbers.vec(width);
    let mixed = |queries: usize, hidden: usize, threads: usize| {
        let offsets = |length| (0..=queries).map(|i| i * length).collect::<Vec<_>>();
        let (q_offsets, k_offsets) = (offsets(1), offsets(SEEN));
        let shape = Shape { heads, head_dim, scale: 0.125, q_offsets: &q_offsets, k_offsets: &k_offsets };
        let row = [vec![f32::NEG_INFINITY; hidden], vec![0.25; SEEN - hidden]].concat();
        let bias = Bias::Dense { values: &row.repeat(heads), q_max: 1, k_max: SEEN };
        let (q, rows) = (q.repeat(queries), rows.repeat(queries));
        let stored = Stored { keys: &keys, values: &values, rows: &rows };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| cached(&q, stored, &shape, true, bias))
    };
    for hidden in [0, 40, 99, SEEN] {
        let alone = mixed(1, hidden, 1);
        assert_eq!(alone.iter().all(|&x| x == 0.0), hidden == SEEN);
        for (queries, threads) in [(1, 3), (5, 1), (5, 3), (12, 3)] {
            let beside = mixed(queries, hidden, threads);
            assert!(
                beside.chunks(width).all(|one| one == alone),
                "{queries} queries, {hidden} hidden, {threads} threads"
            );
        }
    }
    assert_eq!(mixed(1, 99, 1), values[99 * width..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_step(
        lens in prop::collection::vec((0_usize..4, 0_usize..90), 0..5),
        heads in 1_usize..4,
        head_dim in 1_usize..20,
        seed: u64,
    ) {
        let (q_lens, k_lens): (Vec<_>, Vec<_>) = lens.into_iter().unzip();
        check(&q_lens, &k_lens, heads, head_dim, seed);
    }
}

#[test]
#[should_panic(expected = "rows are below the 2 of the store")]
fn rows_beyond_the_store_are_refused() {
    let shape = Shape { heads: 1, head_dim: 1, scale: 1.0, q_offsets: &[0, 1], k_offsets: &[0, 1] };
    let stored = Stored { keys: &[1.0; 2], values: &[1.0; 2], rows: &[2] };
    cached(&[1.0], stored, &shape, true, Bias::None);
}
