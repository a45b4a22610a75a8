//! The forward pass.

use rayon::prelude::*;

use super::tile::{K_BLOCK, Place, Q_BLOCK, clear_rows, q_block, scale_rows, weights};
use super::{Bias, Call, Forward, Mask, Sequence, Shape};
use crate::buffer::{SMALL, Shared};
use crate::dropout::Dropout;
use crate::gemm::{Threads, product, product_at};
use crate::timing::{Kind, timed};

/// What a thread reuses from tile to tile.
struct Scratch {
    scores: Vec<f32>,
    top: [f32; Q_BLOCK],
    total: [f32; Q_BLOCK],
    shrink: [f32; Q_BLOCK],
}

impl Scratch {
    fn new() -> Self {
        Self { scores: Vec::new(), top: [0.0; Q_BLOCK], total: [0.0; Q_BLOCK], shrink: [0.0; Q_BLOCK] }
    }
}

/// `softmax(scale·q·kᵀ + bias)·v` for every head of every sequence, with dropout of the probabilities.
///
/// # Shapes
/// `q` `[Tq, A·D]`, `k`, `v` `[Tk, A·D]`.
///
/// # Panics
/// When a slice doesn't fit the shape.
pub fn forward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    shape: &Shape<'_>,
    mask: Mask<'_>,
    bias: Bias<'_>,
    dropout: Dropout,
) -> Forward {
    let (call, sequences) = Call::new(q, k, v, shape, mask, bias);
    let pairs: usize = sequences.iter().map(|s| s.q_len * s.k_len).sum();
    timed(Kind::Attention, 4 * (call.seen(&sequences) * call.width) as u64, || {
        let mut out = Vec::with_capacity(q.len());
        let mut lse = vec![f32::NEG_INFINITY; shape.heads * call.queries];
        let (out_at, lse_at) = (Shared::new(out.as_mut_ptr()), Shared::new(lse.as_mut_ptr()));
        let block = q_block(mask);
        let blocks: Vec<(Sequence, usize)> =
            sequences.iter().flat_map(|s| (0..s.q_len).step_by(block).map(|from| (*s, from))).collect();
        let task = |scratch: &mut Scratch, task: usize| {
            let (sequence, from) = blocks[task / shape.heads];
            let head = task % shape.heads;
            let mut place = Place::new(&call, sequence, head, dropout);
            place.q = from;
            place.q_len = block.min(sequence.q_len - from);
            let first = sequence.q_start + from;
            let at = first * call.width + head * shape.head_dim;
            // SAFETY: tasks differ in their query rows or in their head, so no two write the same elements.
            let lse = unsafe { lse_at.slice(head * call.queries + first, place.q_len) };
            // SAFETY: a block's rows of one head begin at `at` and end within `out`.
            unsafe { one_block(&call, place, scratch, out_at, at, lse) };
        };
        let tasks = blocks.len() * shape.heads;
        if pairs * shape.heads <= SMALL / 8 {
            let mut scratch = Scratch::new();
            (0..tasks).for_each(|i| task(&mut scratch, i));
        } else {
            // several short tasks a job: waking a thread for one costs more than the task
            let jobs = rayon::current_num_threads() * 8;
            (0..tasks).into_par_iter().with_min_len(tasks / jobs.max(1)).for_each_init(Scratch::new, task);
        }
        // SAFETY: the blocks of all heads are all of `out`, and `one_block` writes its own.
        unsafe { out.set_len(q.len()) };
        Forward { out, lse }
    })
}

/// One block of queries in one head, over all blocks of keys.
///
/// # Safety
/// The elements of the block (rows of `head_dim`, `width` apart, from `at` on) lie within `out`, and nobody else
/// touches them. All of them are written.
unsafe fn one_block(
    call: &Call<'_>,
    mut place: Place<'_>,
    scratch: &mut Scratch,
    out: Shared,
    at: usize,
    lse: &mut [f32],
) {
    let (s, n) = (place.sequence, place.q_len);
    let Scratch { scores, top, total, shrink } = scratch;
    let (top, total, shrink) = (&mut top[..n], &mut total[..n], &mut shrink[..n]);
    top.fill(f32::NEG_INFINITY);
    total.fill(0.0);
    let q = call.head(call.q, s.q_start + place.q, n, place.head);
    let mut begun = false;
    for from in (0..s.k_len).step_by(K_BLOCK) {
        place.k = from;
        place.k_len = K_BLOCK.min(s.k_len - from);
        if !place.narrow() {
            continue;
        }
        let size = n * place.k_len;
        if scores.len() < size {
            scores.resize(size, 0.0);
        }
        let tile = &mut scores[..size];
        let k = call.head(call.k, s.k_start + place.k, place.k_len, place.head);
        let v = call.head(call.v, s.k_start + place.k, place.k_len, place.head);
        product(tile, false, call.shape.scale, q, k.t(), Threads::One);
        weights(tile, place, top, total, shrink);
        if begun {
            // SAFETY: by this function's contract; written by the product of an earlier block of keys.
            unsafe { scale_rows(out, at, call.width, call.shape.head_dim, shrink) };
        }
        let tile = crate::gemm::View::new(tile, n, place.k_len, place.k_len);
        // SAFETY: by this function's contract.
        unsafe { product_at(out.at(at), call.width, begun, 1.0, tile, v, Threads::One) };
        begun = true;
    }
    for i in 0..n {
        shrink[i] = if total[i] > 0.0 { 1.0 / total[i] } else { 0.0 };
        lse[i] = if total[i] > 0.0 { top[i] + total[i].ln() } else { f32::NEG_INFINITY };
    }
    // SAFETY: by this function's contract.
    unsafe {
        if begun {
            scale_rows(out, at, call.width, call.shape.head_dim, shrink);
        } else {
            clear_rows(out, at, call.width, call.shape.head_dim, n);
        }
    }
}
