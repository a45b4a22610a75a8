//! Attention to keys that lie anywhere: rows of a store, named by number, so that sequences which begin alike share
//! what they have in common, and nothing moves when they are put into another order. For a few queries at a time, as
//! when text is generated. Forward only.
//!
//! Keys are read in blocks of whole rows, which as a rule follow each other in memory, so that the processor foresees
//! them; each block is a softmax of its own, and a query's blocks are put together in their order. A result depends
//! neither on the number of threads nor on what is computed beside it.

use std::array::from_fn;
use std::ops::Range;

use rayon::prelude::*;

use super::{Bias, Shape};
use crate::buffer::SMALL;
use crate::gemm::vector::{Four, LANES, Lanes, Vector};
use crate::math::{exp, exp_and_sum, max};
use crate::simd::{Level, level, multiversion};
use crate::timing::{Kind, timed};

/// Keys that are read at a time.
const BLOCK: usize = 32;

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
    let heads = Heads { count: shape.heads, size: shape.head_dim, scale: shape.scale };
    // of each query: its number in the sequence, that of the sequence, and how many keys it sees
    let places: Vec<(usize, usize, usize)> = lengths
        .enumerate()
        .flat_map(|(b, (q, k))| {
            let (q_len, k_len) = (q[1] - q[0], k[1] - k[0]);
            let visible = move |i: usize| if causal { (i + 1 + k_len).saturating_sub(q_len).min(k_len) } else { k_len };
            (0..q_len).map(move |i| (i, b, visible(i)))
        })
        .collect();
    let block = |row: usize, keys: Range<usize>, scores: &mut Vec<f32>, part: &mut [f32]| {
        let (i, b, _) = places[row];
        let (q_len, k_len) = (shape.q_offsets[b + 1] - shape.q_offsets[b], shape.k_offsets[b + 1] - shape.k_offsets[b]);
        let bias_of = |head: usize| match bias {
            Bias::None => &[],
            Bias::Dense { values, q_max, k_max } => &values[(head * q_max + i) * k_max..][keys.clone()],
            Bias::Relative { values, span, zero } => {
                &values[head * span..][..span][zero + q_len - i - k_len..][keys.clone()]
            }
        };
        let rows = &stored.rows[shape.k_offsets[b]..][keys.clone()];
        scores.clear();
        scores.resize(heads.count * rows.len(), 0.0);
        likeness(&q[row * width..][..width], stored.keys, rows, heads, scores);
        let (out, ends) = part.split_at_mut(width);
        for (head, scores) in scores.chunks_exact_mut(rows.len()).enumerate() {
            (ends[2 * head], ends[2 * head + 1]) = weigh(scores, bias_of(head));
        }
        out.fill(0.0);
        mix(out, stored.values, rows, heads, scores);
    };
    let blocks = |row: usize| {
        let (_, _, visible) = places[row];
        (0..visible).step_by(BLOCK).map(move |first| first..visible.min(first + BLOCK))
    };
    timed(Kind::Attention, 4 * (pairs * width) as u64, || {
        let mut out = vec![0.0; q.len()];
        // a softmax: values, and of each head the greatest score and the sum
        let empty = heads.empty();
        let query = |(whole, scores, part): &mut (Vec<f32>, Vec<f32>, Vec<f32>), row: usize, out: &mut [f32]| {
            whole.clone_from(&empty);
            for keys in blocks(row) {
                block(row, keys, scores, part);
                merge(whole, part, heads);
            }
            finish(out, whole, heads);
        };
        let scratch = || (Vec::new(), Vec::new(), empty.clone());
        let threads = if pairs * heads.count <= SMALL / 32 { 1 } else { rayon::current_num_threads() };
        if threads == 1 {
            let mut scratch = scratch();
            out.chunks_exact_mut(width).enumerate().for_each(|(row, out)| query(&mut scratch, row, out));
        } else if queries >= 4 * threads {
            out.par_chunks_exact_mut(width)
                .enumerate()
                .for_each_init(scratch, |scratch, (row, out)| query(scratch, row, out));
        } else {
            // of so few queries the blocks are what the threads share
            let tasks: Vec<(usize, Range<usize>)> =
                (0..queries).flat_map(|row| blocks(row).map(move |keys| (row, keys))).collect();
            let mut parts = vec![0.0; tasks.len() * empty.len()];
            let each = parts.par_chunks_exact_mut(empty.len()).zip(&tasks);
            each.for_each_init(Vec::new, |scores, (part, (row, keys))| block(*row, keys.clone(), scores, part));
            let mut parts = parts.chunks_exact(empty.len());
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                let mut whole = empty.clone();
                blocks(row).zip(&mut parts).for_each(|(_, part)| merge(&mut whole, part, heads));
                finish(out, &whole, heads);
            }
        }
        out
    })
}

/// The heads of a row.
#[derive(Clone, Copy)]
struct Heads {
    count: usize,
    /// The width of one.
    size: usize,
    scale: f32,
}

impl Heads {
    /// The softmax of no keys.
    fn empty(self) -> Vec<f32> {
        let mut empty = vec![0.0; self.count * self.size];
        empty.extend([f32::NEG_INFINITY, 0.0].repeat(self.count));
        empty
    }
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
    let size = heads.size;
    let whole = size - size % LANES;
    let key_at = |row: u32| &keys[row as usize * q.len()..][..q.len()];
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
    /// Turns a head's scores under its bias into weights; gives the greatest score and the sum of the weights.
    fn weigh(scores: &mut [f32], bias: &[f32]) -> (f32, f32) {
        for (score, bias) in scores.iter_mut().zip(bias) {
            *score += *bias;
        }
        let top = max(scores);
        if top == f32::NEG_INFINITY {
            scores.fill(0.0);
            return (top, 0.0);
        }
        (top, exp_and_sum(scores, top))
    }
}

multiversion! {
    /// Adds the rows' values by weights `[heads, rows]`.
    fn mix(out: &mut [f32], values: &[f32], rows: &[u32], heads: Heads, weights: &[f32]) {
        let size = heads.size;
        for (j, &row) in rows.iter().enumerate() {
            let value = &values[row as usize * out.len()..][..out.len()];
            for h in 0..heads.count {
                let weight = weights[h * rows.len() + j];
                for (out, value) in out[h * size..][..size].iter_mut().zip(&value[h * size..][..size]) {
                    *out = value.mul_add(weight, *out);
                }
            }
        }
    }
}

multiversion! {
    /// Makes one softmax of two, of keys and of those that follow them.
    fn merge(whole: &mut [f32], part: &[f32], heads: Heads) {
        let (size, width) = (heads.size, heads.count * heads.size);
        for h in 0..heads.count {
            let (former, new) = (whole[width + 2 * h], part[width + 2 * h]);
            if new == f32::NEG_INFINITY {
                continue;
            }
            let top = former.max(new);
            let (keep, add) = (exp(former - top), exp(new - top));
            whole[width + 2 * h] = top;
            whole[width + 2 * h + 1] = whole[width + 2 * h + 1] * keep + part[width + 2 * h + 1] * add;
            for (whole, part) in whole[h * size..][..size].iter_mut().zip(&part[h * size..][..size]) {
                *whole = part.mul_add(add, *whole * keep);
            }
        }
    }
}

/// The values of a softmax, divided by its sums; zeros where nothing was seen.
fn finish(out: &mut [f32], whole: &[f32], heads: Heads) {
    let (values, ends) = whole.split_at(out.len());
    let rows = out.chunks_exact_mut(heads.size).zip(values.chunks_exact(heads.size));
    for ((out, values), ends) in rows.zip(ends.chunks_exact(2)) {
        let share = if ends[1] > 0.0 { 1.0 / ends[1] } else { 0.0 };
        out.iter_mut().zip(values).for_each(|(out, value)| *out = share * value);
    }
}
