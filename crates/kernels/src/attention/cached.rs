//! Attention to keys that lie anywhere: rows of a store, named by number, so that sequences which begin alike share
//! what they have in common, and nothing moves when they are put into another order. For a few queries at a time, as
//! when text is generated; each query reads its keys once, there are no tiles. Forward only.

use std::array::from_fn;

use rayon::prelude::*;

use super::{Bias, Shape};
use crate::buffer::SMALL;
use crate::gemm::vector::{Four, LANES, Lanes, Vector};
use crate::math::{exp_and_sum, max};
use crate::simd::{Level, level, multiversion};
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
    // so many heads of a query go together that all threads have something to do; a head's result is the same in any
    let threads = if pairs * shape.heads <= SMALL / 8 { 1 } else { rayon::current_num_threads() };
    let groups = if threads == 1 { 1 } else { (2 * threads).div_ceil(queries.max(1)).min(shape.heads) };
    let together = shape.heads.div_ceil(groups);
    let one = |scores: &mut Vec<f32>, row: usize, first_head: usize, out: &mut [f32]| {
        let (i, b) = places[row];
        let (q_len, rows) = (shape.q_offsets[b + 1] - shape.q_offsets[b], shape.k_offsets[b]..shape.k_offsets[b + 1]);
        let k_len = rows.len();
        let visible = if causal { (i + 1 + k_len).saturating_sub(q_len).min(k_len) } else { k_len };
        let bias_of = |head: usize| match bias {
            Bias::None => &[],
            Bias::Dense { values, q_max, k_max } => &values[(head * q_max + i) * k_max..][..visible],
            Bias::Relative { values, span, zero } => {
                &values[head * span..][..span][zero + q_len - i - k_len..][..visible]
            }
        };
        let at = first_head * shape.head_dim;
        let heads = Heads { at, width, head_dim: shape.head_dim, scale: shape.scale };
        let rows = &stored.rows[rows.start..rows.start + visible];
        scores.clear();
        scores.resize(out.len() / shape.head_dim * visible, 0.0);
        likeness(&q[row * width + at..][..out.len()], stored.keys, rows, heads, scores);
        for (head, scores) in scores.chunks_exact_mut(visible.max(1)).enumerate() {
            weigh(scores, bias_of(first_head + head));
        }
        mix(out, stored.values, rows, heads, scores);
    };
    timed(Kind::Attention, 4 * (pairs * width) as u64, || {
        let mut out = vec![0.0; q.len()];
        if threads == 1 {
            let mut scores = Vec::new();
            out.chunks_exact_mut(width).enumerate().for_each(|(row, out)| one(&mut scores, row, 0, out));
            return out;
        }
        let tasks: Vec<(usize, usize, &mut [f32])> = out
            .chunks_exact_mut(width)
            .enumerate()
            .flat_map(|(row, out)| {
                let parts = out.chunks_mut(together * shape.head_dim).enumerate();
                parts.map(move |(part, out)| (row, part * together, out))
            })
            .collect();
        tasks.into_par_iter().for_each_init(Vec::new, |scores, (row, head, out)| one(scores, row, head, out));
        out
    })
}

/// Some heads of a row that lie next to each other.
#[derive(Clone, Copy)]
struct Heads {
    /// Where the first begins.
    at: usize,
    width: usize,
    head_dim: usize,
    scale: f32,
}

/// `scale·q·k` of all heads and rows, `[heads, rows]`.
fn likeness(q: &[f32], keys: &[f32], rows: &[u32], heads: Heads, scores: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn avx512(q: &[f32], keys: &[f32], rows: &[u32], heads: Heads, scores: &mut [f32]) {
        // SAFETY: the processor has the instructions, as the caller promises.
        unsafe { likeness_in::<std::arch::x86_64::__m512, 1>(q, keys, rows, heads, scores) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(q: &[f32], keys: &[f32], rows: &[u32], heads: Heads, scores: &mut [f32]) {
        // SAFETY: as above.
        unsafe { likeness_in::<std::arch::x86_64::__m256, 2>(q, keys, rows, heads, scores) }
    }
    // SAFETY: the level in use never exceeds the processor's.
    unsafe {
        match level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512(q, keys, rows, heads, scores),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2(q, keys, rows, heads, scores),
            _ => likeness_in::<Four, 4>(q, keys, rows, heads, scores),
        }
    }
}

/// Four keys at a time, whole rows of all heads, as they come from memory.
///
/// # Safety
/// The processor has V's instructions.
#[inline(always)]
unsafe fn likeness_in<V: Vector, const COUNT: usize>(
    q: &[f32],
    keys: &[f32],
    rows: &[u32],
    heads: Heads,
    scores: &mut [f32],
) {
    let size = heads.head_dim;
    let whole = size - size % LANES;
    let key_at = |row: u32| &keys[row as usize * heads.width + heads.at..][..q.len()];
    for (number, four) in rows.chunks(4).enumerate() {
        let keys: [&[f32]; 4] = from_fn(|i| key_at(four[i.min(four.len() - 1)]));
        for h in 0..q.len() / size {
            let at = h * size..(h + 1) * size;
            let q = &q[at.clone()];
            let keys = keys.map(|key| &key[at.clone()]);
            // SAFETY: by this function's contract; all that is loaded lies within q and the keys, which are as long.
            let values = unsafe {
                let mut sums = [Lanes::<V, COUNT>::zero(); 4];
                for i in (0..whole).step_by(LANES) {
                    let q = Lanes::load(q.as_ptr().add(i));
                    sums = from_fn(|k| q.mul_add(Lanes::load(keys[k].as_ptr().add(i)), sums[k]));
                }
                if whole < size {
                    let part = |x: &[f32]| Lanes::part(x.as_ptr().add(whole), size - whole);
                    sums = from_fn(|k| part(q).mul_add(part(keys[k]), sums[k]));
                }
                V::sums(sums.map(|sum| sum.fold()))
            };
            let scores = &mut scores[h * rows.len() + 4 * number..][..four.len()];
            scores.iter_mut().zip(values).for_each(|(score, value)| *score = heads.scale * value);
        }
    }
}

// A loop, not iterators of closures: those would be compiled without the instruction set.

multiversion! {
    /// The softmax of a head's scores under its bias; zeros where nothing is visible.
    fn weigh(scores: &mut [f32], bias: &[f32]) {
        for (score, bias) in scores.iter_mut().zip(bias) {
            *score += *bias;
        }
        let top = max(scores);
        if top == f32::NEG_INFINITY {
            scores.fill(0.0);
            return;
        }
        let share = 1.0 / exp_and_sum(scores, top);
        for score in scores.iter_mut() {
            *score *= share;
        }
    }
}

multiversion! {
    /// Adds the rows' values by weights `[heads, rows]`.
    fn mix(out: &mut [f32], values: &[f32], rows: &[u32], heads: Heads, weights: &[f32]) {
        let size = heads.head_dim;
        for (j, &row) in rows.iter().enumerate() {
            let value = &values[row as usize * heads.width + heads.at..][..out.len()];
            for h in 0..out.len() / size {
                let weight = weights[h * rows.len() + j];
                for (out, value) in out[h * size..][..size].iter_mut().zip(&value[h * size..][..size]) {
                    *out = value.mul_add(weight, *out);
                }
            }
        }
    }
}
