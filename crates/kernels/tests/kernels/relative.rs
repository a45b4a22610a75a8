//! Attention with content, position and segment terms over odd packings, against the definition in f64.

use proptest::prelude::*;
use ptm_kernels::attention::{Mask, Places, Shape, Terms, dropout_index, relative, relative_backward};
use ptm_kernels::dropout::Dropout;

use crate::attention::offsets;
use crate::{Numbers, assert_close, assert_close_of, at_every_level, spans};

/// What a call should give, in the order of `TermGrads`.
struct Expected {
    out: Vec<f64>,
    lse: Vec<f64>,
    grads: [Vec<f64>; 7],
}

/// Pair by pair.
fn definition(
    x: &Terms<'_>,
    dout: &[f32],
    shape: &Shape<'_>,
    at: &Places<'_>,
    visible: Option<&[bool]>,
    drop: Dropout,
) -> Expected {
    let (heads, size) = (shape.heads, shape.head_dim);
    let width = heads * size;
    let queries = x.content.len() / width;
    let mut e = Expected {
        out: vec![0.0; x.content.len()],
        lse: vec![f64::NEG_INFINITY; heads * queries],
        grads: [x.content, x.position, x.segment, x.keys, x.values, x.distances, x.segments]
            .map(|x| vec![0.0; x.len()]),
    };
    let scale = f64::from(shape.scale);
    let dot = |a: &[f32], i: usize, b: &[f32], j: usize, head: usize| -> f64 {
        let cells = head * size..(head + 1) * size;
        cells.map(|c| f64::from(a[i * width + c]) * f64::from(b[j * width + c])).sum()
    };
    let mut pairs = 0;
    for (b, (q, k)) in shape.q_offsets.windows(2).zip(shape.k_offsets.windows(2)).enumerate() {
        let count = k[1] - k[0];
        for row in q[0]..q[1] {
            let far = |key: usize| {
                let ahead = key as isize - at.places[row] as isize;
                (at.zero as isize + if at.backwards[b] { -ahead } else { ahead }) as usize
            };
            let other = |key: usize| usize::from(at.queries[row] != at.keys[k[0] + key]);
            for head in 0..heads {
                let scores: Vec<f64> = (0..count)
                    .map(|key| {
                        let sum = dot(x.content, row, x.keys, k[0] + key, head)
                            + dot(x.position, row, x.distances, far(key), head)
                            + dot(x.segment, row, x.segments, other(key), head);
                        let seen = visible.is_none_or(|v| v[pairs + (row - q[0]) * count + key]);
                        if seen { scale * sum } else { f64::NEG_INFINITY }
                    })
                    .collect();
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if top == f64::NEG_INFINITY {
                    continue;
                }
                let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                e.lse[head * queries + row] = top + total.ln();
                let p: Vec<f64> = scores.iter().map(|s| (s - top).exp() / total).collect();
                let kept = |key: usize| f64::from(drop.factor(dropout_index(head, queries, row, key)));
                let dp: Vec<f64> =
                    (0..count).map(|key| dot(dout, row, x.values, k[0] + key, head) * kept(key)).collect();
                let mean: f64 = p.iter().zip(&dp).map(|(p, d)| p * d).sum();
                for key in 0..count {
                    let ds = p[key] * (dp[key] - mean) * scale;
                    for c in head * size..(head + 1) * size {
                        let [row_c, key_c] = [row * width + c, (k[0] + key) * width + c];
                        let [far_c, other_c] = [far(key) * width + c, other(key) * width + c];
                        e.out[row_c] += p[key] * kept(key) * f64::from(x.values[key_c]);
                        for (grad, to, from, values) in [
                            (0, row_c, key_c, x.keys),
                            (1, row_c, far_c, x.distances),
                            (2, row_c, other_c, x.segments),
                            (3, key_c, row_c, x.content),
                            (5, far_c, row_c, x.position),
                            (6, other_c, row_c, x.segment),
                        ] {
                            e.grads[grad][to] += ds * f64::from(values[from]);
                        }
                        e.grads[4][key_c] += p[key] * kept(key) * f64::from(dout[row_c]);
                    }
                }
            }
        }
        pairs += (q[1] - q[0]) * count;
    }
    e
}

/// Queries are some rows, as many as asked for, of sequences of keys.
#[derive(Clone, Copy, Debug)]
enum Masked {
    No,
    Spans,
    Full,
}

fn check(lens: &[(usize, usize)], heads: usize, head_dim: usize, masked: Masked, dropout: Dropout, seed: u64) {
    let lens: Vec<(usize, usize)> = lens.iter().map(|&(q, k)| (q.min(k), k)).collect();
    let [q_offsets, k_offsets] = [
        offsets(&lens.iter().map(|l| l.0).collect::<Vec<_>>()),
        offsets(&lens.iter().map(|l| l.1).collect::<Vec<_>>()),
    ];
    let (tq, tk, width) = (q_offsets[lens.len()], k_offsets[lens.len()], heads * head_dim);
    let mut numbers = Numbers(seed);
    let longest = lens.iter().map(|l| l.1).max().unwrap_or(0);
    let rows = 2 * longest + 3;
    let [content, position, segment, dout] = [0; 4].map(|_| numbers.vec(tq * width));
    let [keys, values] = [0; 2].map(|_| numbers.vec(tk * width));
    let (distances, segments) = (numbers.vec(rows * width), numbers.vec(2 * width));
    let terms = Terms {
        content: &content,
        position: &position,
        segment: &segment,
        keys: &keys,
        values: &values,
        distances: &distances,
        segments: &segments,
    };
    // rows spread over the sequence, ascending
    let places: Vec<u32> = lens.iter().flat_map(|&(q, k)| (0..q).map(move |i| (i * k / q) as u32)).collect();
    let places = Places {
        places: &places,
        zero: longest + 1,
        backwards: &lens.iter().map(|_| numbers.below(2) == 1).collect::<Vec<_>>(),
        queries: &numbers.ids(tq, 2),
        keys: &numbers.ids(tk, 2),
    };
    let scale = 2.0 / (head_dim as f32).sqrt();
    let shape = Shape { heads, head_dim, scale, q_offsets: &q_offsets, k_offsets: &k_offsets };
    let pairs: usize = lens.iter().map(|l| l.0 * l.1).sum();
    let flags: Vec<bool> = (0..pairs).map(|_| numbers.below(3) > 0).collect();
    let spans = spans(&mut numbers, lens.iter().copied());
    let keys_of = lens.iter().flat_map(|&(q, k)| std::iter::repeat_n(k as u32, q));
    let within: Vec<bool> =
        spans.iter().zip(keys_of).flat_map(|(s, keys)| (0..keys).map(|key| (s[0]..s[1]).contains(&key))).collect();
    let (mask, visible) = match masked {
        Masked::No => (Mask::None, None),
        Masked::Spans => (Mask::Spans(&spans), Some(&within[..])),
        Masked::Full => (Mask::Full(&flags), Some(&flags[..])),
    };
    let expected = definition(&terms, &dout, &shape, &places, visible, dropout);
    at_every_level(|| {
        let f = relative(&terms, &shape, &places, mask, dropout);
        assert_close("out", &f.out, &expected.out, 4e-6);
        assert_close("lse", &f.lse, &expected.lse, 2e-6);
        let g = relative_backward(&terms, (&f.out, &f.lse), &dout, &shape, &places, mask, dropout);
        let ours = [g.content, g.position, g.segment, g.keys, g.values, g.distances, g.segments];
        let names = ["content", "position", "segment", "keys", "values", "distances", "segments"];
        for ((name, ours), expected) in names.into_iter().zip(&ours).zip(&expected.grads) {
            assert_close_of(name, ours, expected, 1e-5, 0.1);
        }
    });
}

#[test]
fn odd_packings() {
    let all: [&[(usize, usize)]; 9] = [
        &[],
        &[(0, 0)],
        &[(0, 4), (3, 3), (0, 0)],
        &[(1, 1)],
        &[(1, 5), (7, 7), (0, 3), (2, 20)],
        &[(131, 131), (2, 140)],
        &[(9, 530)],
        &[(200, 600)],
        &[(3, 3); 20],
    ];
    for (seed, lens) in all.into_iter().enumerate() {
        for masked in [Masked::No, Masked::Spans, Masked::Full] {
            check(lens, 2, 5, masked, Dropout::OFF, seed as u64);
            check(lens, 1, 16, masked, Dropout::new(0.3, 9), seed as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_packing(
        lens in prop::collection::vec((0_usize..40, 0_usize..40), 0..5),
        heads in 1_usize..4,
        head_dim in 1_usize..20,
        masked in prop_oneof![Just(Masked::No), Just(Masked::Spans), Just(Masked::Full)],
        rate in prop_oneof![Just(0.0_f32), Just(0.2)],
        seed: u64,
    ) {
        check(&lens, heads, head_dim, masked, Dropout::new(rate, seed), seed);
    }
}

#[test]
#[should_panic(expected = "span")]
fn distances_that_are_too_few_are_refused() {
    let (o, x) = ([0, 3], [0.0; 3]);
    let shape = Shape { heads: 1, head_dim: 1, scale: 1.0, q_offsets: &o, k_offsets: &o };
    let terms = Terms {
        content: &x,
        position: &x,
        segment: &x,
        keys: &x,
        values: &x,
        distances: &[0.0; 4],
        segments: &[0.0; 2],
    };
    let places = Places { places: &[0, 1, 2], zero: 2, backwards: &[false], queries: &[0; 3], keys: &[0; 3] };
    relative(&terms, &shape, &places, Mask::None, Dropout::OFF);
}
