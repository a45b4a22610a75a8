//! One tile of scores: bias, mask, and what becomes of its rows. Query rows × keys, row-major.

use std::mem::MaybeUninit;

use super::{Bias, Call, Mask, Sequence, dropout_index};
use crate::buffer::Shared;
use crate::dropout::Dropout;
use crate::math::{dot, exp, exp_and_sum, max};
use crate::simd::multiversion;

/// Query rows of a tile.
pub(super) const Q_BLOCK: usize = 128;

/// The same under a mask: small where every query sees one key more, so that little is computed that nobody sees.
pub(super) fn q_block(mask: Mask<'_>) -> usize {
    if matches!(mask, Mask::Causal) { Q_BLOCK / 2 } else { Q_BLOCK }
}

/// Keys of a tile. Most sequences fit into one, which then needs no rescaling.
pub(super) const K_BLOCK: usize = 512;

/// Where a tile lies within its sequence, and what changes its scores.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub sequence: Sequence,
    pub mask: Mask<'a>,
    /// Of the tile's head.
    pub bias: Bias<'a>,
    pub dropout: Dropout,
    pub head: usize,
    pub queries: usize,
    pub q: usize,
    pub q_len: usize,
    pub k: usize,
    pub k_len: usize,
}

impl<'a> Place<'a> {
    pub(super) fn new(call: &Call<'a>, sequence: Sequence, head: usize, dropout: Dropout) -> Self {
        let bias = call.head_bias(head);
        let (mask, queries) = (call.mask, call.queries);
        Self { sequence, mask, bias, dropout, head, queries, q: 0, q_len: 0, k: 0, k_len: 0 }
    }

    /// Whether no query of the tile sees any of its keys.
    pub(super) fn is_hidden(mut self) -> bool {
        !self.narrow()
    }

    /// Leaves out the first and the last keys that no query of the tile sees; false where that are all.
    pub(super) fn narrow(&mut self) -> bool {
        let seen = match self.mask {
            Mask::Causal => 0..self.leading(self.q_len - 1),
            Mask::Prefix(prefix) => 0..self.leading(self.q_len - 1).max(prefix[self.sequence.number]),
            Mask::Spans(spans) => {
                let spans = spans[self.sequence.q_start + self.q..][..self.q_len].iter().filter(|[from, to]| from < to);
                let wider = |(start, end): (usize, usize), [from, to]: &[u32; 2]| {
                    (start.min(*from as usize), end.max(*to as usize))
                };
                let (start, end) = spans.fold((usize::MAX, 0), wider);
                start..end
            }
            Mask::None | Mask::Keys(_) | Mask::Full(_) => return true,
        };
        let end = seen.end.min(self.k + self.k_len);
        self.k = seen.start.max(self.k);
        self.k_len = end.saturating_sub(self.k);
        self.k_len > 0
    }

    /// How many keys of the sequence a causal query sees.
    #[inline(always)]
    fn leading(&self, row: usize) -> usize {
        self.sequence.leading(self.q + row)
    }

    #[inline(always)]
    fn dropout_row(&self, row: usize) -> u64 {
        dropout_index(self.head, self.queries, self.sequence.q_start + self.q + row, self.k)
    }
}

/// Adds the bias to a row of scores and hides what the mask hides.
#[inline(always)]
fn adjust(scores: &mut [f32], place: &Place<'_>, row: usize) {
    let s = &place.sequence;
    match place.bias {
        Bias::None => {}
        Bias::Dense { values, k_max, .. } => {
            let at = (place.q + row) * k_max + place.k;
            for (x, b) in scores.iter_mut().zip(&values[at..]) {
                *x += *b;
            }
        }
        Bias::Relative { values, zero, .. } => {
            let at = zero + place.k + s.q_len - (place.q + row) - s.k_len;
            for (x, b) in scores.iter_mut().zip(&values[at..]) {
                *x += *b;
            }
        }
    }
    let visible = match place.mask {
        Mask::None => return,
        Mask::Causal => place.leading(row),
        Mask::Prefix(prefix) => place.leading(row).max(prefix[s.number]),
        Mask::Spans(spans) => {
            let within = |key: u32| (key as usize).saturating_sub(place.k).min(scores.len());
            let [from, to] = spans[s.q_start + place.q + row].map(within);
            scores[..from].fill(f32::NEG_INFINITY);
            return scores[to.max(from)..].fill(f32::NEG_INFINITY);
        }
        Mask::Keys(flags) => return hide(scores, &flags[s.k_start + place.k..]),
        Mask::Full(flags) => {
            return hide(scores, &flags[s.pairs + (place.q + row) * s.k_len + place.k..]);
        }
    };
    let visible = visible.saturating_sub(place.k).min(scores.len());
    scores[visible..].fill(f32::NEG_INFINITY);
}

#[inline(always)]
fn hide(scores: &mut [f32], visible: &[bool]) {
    for (x, seen) in scores.iter_mut().zip(visible) {
        *x = if *seen { *x } else { f32::NEG_INFINITY };
    }
}

multiversion! {
    /// Scores to weights `exp(s - max)·mask`, with running maximum and sum per row; `shrink` is what earlier
    /// results of a row are multiplied by.
    pub(super) fn weights(scores: &mut [f32], place: Place<'_>, top: &mut [f32], total: &mut [f32], shrink: &mut [f32]) {
        let mask = place.dropout.mask();
        for (row, x) in scores.chunks_exact_mut(place.k_len).enumerate() {
            adjust(x, &place, row);
            let new_top = max(x).max(top[row]);
            // while nothing was visible there is nothing to subtract
            let base = if new_top == f32::NEG_INFINITY { 0.0 } else { new_top };
            shrink[row] = exp(top[row] - base);
            total[row] = total[row].mul_add(shrink[row], exp_and_sum(x, base));
            top[row] = new_top;
            if place.dropout.is_on() {
                let first = place.dropout_row(row);
                for (j, v) in x.iter_mut().enumerate() {
                    *v *= mask.factor(first + j as u64);
                }
            }
        }
    }
}

multiversion! {
    /// Scores to probabilities `p`, from the rows' log-sum-exps, and `pd`, the probabilities after dropout.
    pub(super) fn probabilities(p: &mut [f32], pd: &mut [f32], place: Place<'_>, lse: &[f32]) {
        let mask = place.dropout.mask();
        for (row, (p, pd)) in p.chunks_exact_mut(place.k_len).zip(pd.chunks_exact_mut(place.k_len)).enumerate() {
            adjust(p, &place, row);
            if lse[row] == f32::NEG_INFINITY {
                p.fill(0.0);
                pd.fill(0.0);
                continue;
            }
            for v in p.iter_mut() {
                *v = exp(*v - lse[row]);
            }
            if place.dropout.is_on() {
                let first = place.dropout_row(row);
                for (j, (p, pd)) in p.iter().zip(pd).enumerate() {
                    *pd = *p * mask.factor(first + j as u64);
                }
            } else {
                pd.copy_from_slice(p);
            }
        }
    }
}

multiversion! {
    /// `p·(dp·mask - delta)`: the gradient of the scores, into `p`.
    pub(super) fn score_grads(p: &mut [f32], dp: &[f32], place: Place<'_>, delta: &[f32]) {
        let mask = place.dropout.mask();
        for (row, (p, dp)) in p.chunks_exact_mut(place.k_len).zip(dp.chunks_exact(place.k_len)).enumerate() {
            let delta = delta[row];
            if place.dropout.is_on() {
                let first = place.dropout_row(row);
                for (j, (p, dp)) in p.iter_mut().zip(dp).enumerate() {
                    *p *= (*dp).mul_add(mask.factor(first + j as u64), -delta);
                }
            } else {
                for (p, dp) in p.iter_mut().zip(dp) {
                    *p *= *dp - delta;
                }
            }
        }
    }
}

multiversion! {
    /// `Σ a·b` of each row of one head, rows `stride` apart.
    pub(super) fn row_dots(a: &[f32], b: &[f32], stride: usize, width: usize, out: &mut [f32]) {
        for (i, out) in out.iter_mut().enumerate() {
            let row = i * stride..i * stride + width;
            *out = dot(&a[row.clone()], &b[row]);
        }
    }
}

/// `x *= factor[row]`, rows of `width` lying `stride` apart from `at` on.
///
/// # Safety
/// The rows lie within the buffer and are initialised, and nobody else touches them. (Between them lie other heads,
/// which other tasks write: so there is no slice over all of them.)
pub(super) unsafe fn scale_rows(x: Shared, at: usize, stride: usize, width: usize, factor: &[f32]) {
    multiversion! {
        fn scale(x: Shared, at: usize, stride: usize, width: usize, factor: &[f32]) {
            for (i, f) in factor.iter().enumerate() {
                // SAFETY: by the contract of the function around this one.
                for v in unsafe { x.slice(at + i * stride, width) } {
                    *v *= *f;
                }
            }
        }
    }
    scale(x, at, stride, width, factor);
}

/// Fills `count` rows of `width`, `stride` apart from `at` on, with zeros.
///
/// # Safety
/// The rows lie within the buffer, and nobody else touches them.
pub(super) unsafe fn clear_rows(x: Shared, at: usize, stride: usize, width: usize, count: usize) {
    for i in 0..count {
        // SAFETY: by this function's contract.
        unsafe { x.unwritten(at + i * stride, width).fill(MaybeUninit::new(0.0)) };
    }
}

/// Adds a tile of score gradients to the gradient of its head's bias.
pub(super) fn add_bias_grad(ds: &[f32], place: &Place<'_>, grad: &mut [f32]) {
    let s = &place.sequence;
    for (row, ds) in ds.chunks_exact(place.k_len).enumerate() {
        let at = match place.bias {
            Bias::None => return,
            Bias::Dense { k_max, .. } => (place.q + row) * k_max + place.k,
            Bias::Relative { zero, .. } => zero + place.k + s.q_len - (place.q + row) - s.k_len,
        };
        crate::math::add_assign(&mut grad[at..at + place.k_len], ds);
    }
}
