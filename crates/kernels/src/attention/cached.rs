//! Attention to keys that lie anywhere: rows of a store, named by number, so that sequences which begin alike share
//! what they have in common, and nothing moves when they are put into another order. For a few queries at a time, as
//! when text is generated; each query reads its keys once, there are no tiles. Forward only.

use rayon::prelude::*;

use super::{Bias, Shape};
use crate::buffer::SMALL;
use crate::math::{dot, exp_and_sum, max};
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// Keys and values in a store, and which of its rows each sequence sees.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Keys, `[N, A·D]`.
    pub keys: &'a [f32],
    /// Values, `[N, A·D]`.
    pub values: &'a [f32],
    /// The row of every key of every sequence, `[Tk]`; a row may be named more than once.
    pub rows: &'a [u32],
}

/// `softmax(scale·q·kᵀ + bias)·v` for every head of every sequence; `causal` as [`super::Mask::Causal`]. A query that
/// sees no key gives a row of zeros.
///
/// # Shapes
/// `q` `[Tq, A·D]` → `[Tq, A·D]`; the shape's key offsets delimit `stored.rows`.
///
/// # Panics
/// When a slice doesn't fit the shape or a row is beyond the store.
pub fn cached(q: &[f32], stored: Stored<'_>, shape: &Shape<'_>, causal: bool, bias: Bias<'_>) -> Vec<f32> {
    let width = shape.heads * shape.head_dim;
    assert!(width > 0, "heads and head_dim");
    assert!(q.len().is_multiple_of(width), "q is rows of {width}");
    assert!(stored.keys.len().is_multiple_of(width), "keys are rows of {width}");
    assert_eq!(stored.keys.len(), stored.values.len(), "values");
    let held = stored.keys.len() / width;
    assert!(stored.rows.iter().all(|&row| (row as usize) < held), "rows are below the {held} of the store");
    let (queries, keys) = (q.len() / width, stored.rows.len());
    for (name, offsets, rows) in [("q_offsets", shape.q_offsets, queries), ("k_offsets", shape.k_offsets, keys)] {
        assert!(
            offsets.first() == Some(&0) && offsets.is_sorted() && offsets.last() == Some(&rows),
            "{name} should rise from 0 to {rows}"
        );
    }
    assert_eq!(shape.q_offsets.len(), shape.k_offsets.len(), "k_offsets");
    let lengths = shape.q_offsets.windows(2).zip(shape.k_offsets.windows(2));
    let pairs: usize = lengths.clone().map(|(q, k)| (q[1] - q[0]) * (k[1] - k[0])).sum();
    // of each query: its number in the sequence, and that of the sequence
    let places: Vec<(usize, usize)> =
        lengths.enumerate().flat_map(|(b, (q, _))| (0..q[1] - q[0]).map(move |i| (i, b))).collect();
    let one = |scores: &mut Vec<f32>, task: usize, out: &mut [f32]| {
        let (row, head) = (task / shape.heads, task % shape.heads);
        let (i, b) = places[row];
        let (q_len, rows) = (shape.q_offsets[b + 1] - shape.q_offsets[b], shape.k_offsets[b]..shape.k_offsets[b + 1]);
        let k_len = rows.len();
        let visible = if causal { (i + 1 + k_len).saturating_sub(q_len).min(k_len) } else { k_len };
        let bias = match bias {
            Bias::None => &[],
            Bias::Dense { values, q_max, k_max } => &values[(head * q_max + i) * k_max..][..visible],
            Bias::Relative { values, span, zero } => {
                &values[head * span..][..span][zero + q_len - i - k_len..][..visible]
            }
        };
        let at = head * shape.head_dim;
        let q = &q[row * width + at..][..shape.head_dim];
        one_head(q, out, stored, rows.start, visible, width, at, shape.scale, bias, scores);
    };
    timed(Kind::Attention, 4 * (pairs * width) as u64, || {
        let mut out = vec![0.0; q.len()];
        let tasks = out.chunks_exact_mut(shape.head_dim);
        if pairs * shape.heads <= SMALL / 8 {
            let mut scores = Vec::new();
            tasks.enumerate().for_each(|(task, out)| one(&mut scores, task, out));
        } else {
            let tasks = out.par_chunks_exact_mut(shape.head_dim).enumerate();
            tasks.for_each_init(Vec::new, |scores, (task, out)| one(scores, task, out));
        }
        out
    })
}

multiversion! {
    /// One head of one query: `visible` rows of the store from the `first` named on.
    fn one_head(
        q: &[f32],
        out: &mut [f32],
        stored: Stored<'_>,
        first: usize,
        visible: usize,
        width: usize,
        at: usize,
        scale: f32,
        bias: &[f32],
        scores: &mut Vec<f32>,
    ) {
        let rows = &stored.rows[first..first + visible];
        let place = |row: &u32| *row as usize * width + at;
        scores.clear();
        scores.extend(rows.iter().map(|row| scale * dot(q, &stored.keys[place(row)..][..q.len()])));
        for (score, bias) in scores.iter_mut().zip(bias) {
            *score += *bias;
        }
        let top = max(scores);
        if top == f32::NEG_INFINITY {
            return;
        }
        let share = 1.0 / exp_and_sum(scores, top);
        for (row, weight) in rows.iter().zip(scores.iter()) {
            let weight = weight * share;
            for (out, value) in out.iter_mut().zip(&stored.values[place(row)..][..q.len()]) {
                *out = value.mul_add(weight, *out);
            }
        }
    }
}
