//! LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019) with the dropout and the residual before them,
//! in one pass over each row: `norm(dropout(x) + residual)·gamma (+ beta)`.

use std::mem::MaybeUninit;

use crate::buffer::{Shared, filled, for_row_blocks, for_row_ranges, sum_over_rows};
use crate::dropout::{self, Dropout};
use crate::math::{dot_shifted, sum};
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// The result of [`add_layer_norm`].
#[derive(Debug)]
pub struct LayerNormForward {
    /// `[n, h]`.
    pub y: Vec<f32>,
    /// The mean of each row, `[n]`.
    pub mean: Vec<f32>,
    /// `1 / √(variance + eps)` of each row, `[n]`.
    pub rstd: Vec<f32>,
    /// `dropout(x) + residual`, `[n, h]`, when it was asked for.
    pub sum: Option<Vec<f32>>,
}

/// The result of [`add_rms_norm`].
#[derive(Debug)]
pub struct RmsNormForward {
    /// `[n, h]`.
    pub y: Vec<f32>,
    /// `1 / √(mean square + eps)` of each row, `[n]`.
    pub rstd: Vec<f32>,
    /// `dropout(x) + residual`, `[n, h]`, when it was asked for.
    pub sum: Option<Vec<f32>>,
}

/// The gradients of a norm.
#[derive(Debug)]
pub struct NormGrads {
    /// Of `x`, `[n, h]`.
    pub x: Vec<f32>,
    /// Of the residual; absent without a residual, and without dropout, when it equals that of `x`.
    pub residual: Option<Vec<f32>>,
    /// Of the scale, `[h]`.
    pub gamma: Vec<f32>,
    /// Of the shift, `[h]`; empty for RMSNorm.
    pub beta: Vec<f32>,
}

/// `s = x·mask + residual`, from element `first` on.
#[inline(always)]
fn combine<'a>(
    x: &[f32],
    residual: Option<&[f32]>,
    dropout: Dropout,
    first: u64,
    s: &'a mut [MaybeUninit<f32>],
) -> &'a mut [f32] {
    let s = s.write_copy_of_slice(x);
    if dropout.is_on() {
        let mask = dropout.mask();
        for (j, s) in s.iter_mut().enumerate() {
            *s *= mask.factor(first + j as u64);
        }
    }
    if let Some(residual) = residual {
        for (s, r) in s.iter_mut().zip(residual) {
            *s += *r;
        }
    }
    s
}

/// Normalises a row in place, by LayerNorm, or by RMSNorm where `beta` is empty; returns the mean (0 for RMSNorm) and
/// the reciprocal deviation.
#[inline(always)]
pub(crate) fn normalise(row: &mut [f32], gamma: &[f32], beta: &[f32], eps: f32) -> (f32, f32) {
    let h = row.len() as f32;
    if beta.is_empty() {
        let r = 1.0 / (sum(row, |v| v * v) / h + eps).sqrt();
        for (v, g) in row.iter_mut().zip(gamma) {
            *v *= r * *g;
        }
        (0.0, r)
    } else {
        let m = sum(row, |v| v) / h;
        let r = 1.0 / (sum(row, |v| (v - m) * (v - m)) / h + eps).sqrt();
        for ((v, g), b) in row.iter_mut().zip(gamma).zip(beta) {
            *v = ((*v - m) * r).mul_add(*g, *b);
        }
        (m, r)
    }
}

/// What both norms read, and where in the batch a block of rows begins.
#[derive(Clone, Copy)]
struct Source<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    gamma: &'a [f32],
    /// Empty for RMSNorm.
    beta: &'a [f32],
    eps: f32,
    dropout: Dropout,
}

/// Where a block of rows goes; all of it is written.
pub(crate) struct Block<'a> {
    pub y: &'a mut [MaybeUninit<f32>],
    pub mean: &'a mut [MaybeUninit<f32>],
    pub rstd: &'a mut [MaybeUninit<f32>],
    /// Empty unless the sum is kept.
    pub sum: &'a mut [MaybeUninit<f32>],
}

multiversion! {
    /// Rows from `first` on.
    fn norm_rows(source: Source<'_>, first: usize, block: Block<'_>) {
        let h = source.gamma.len();
        for i in 0..block.rstd.len() {
            let at = (first + i) * h;
            let row = i * h..(i + 1) * h;
            let residual = source.residual.map(|r| &r[at..at + h]);
            let y = combine(&source.x[at..at + h], residual, source.dropout, at as u64, &mut block.y[row.clone()]);
            if !block.sum.is_empty() {
                block.sum[row].write_copy_of_slice(y);
            }
            let (mean, rstd) = normalise(y, source.gamma, source.beta, source.eps);
            block.mean[i].write(mean);
            block.rstd[i].write(rstd);
        }
    }
}

/// Makes the results of a norm over `n` rows of `h`: calls `f(first_row, block)` for blocks of rows.
///
/// # Safety
/// `f` writes every element of its block.
pub(crate) unsafe fn by_blocks(
    n: usize,
    h: usize,
    keep_sum: bool,
    f: impl Fn(usize, Block<'_>) + Sync,
) -> LayerNormForward {
    let mut sum = Vec::with_capacity(if keep_sum { n * h } else { 0 });
    let (mut y, mut mean, mut rstd) = (Vec::with_capacity(n * h), Vec::with_capacity(n), Vec::with_capacity(n));
    let at = |buffer: &mut Vec<f32>| Shared::new(buffer.as_mut_ptr());
    let (y_at, sum_at, mean_at, rstd_at) = (at(&mut y), at(&mut sum), at(&mut mean), at(&mut rstd));
    for_row_ranges(n, h, |rows| {
        let (kept, len) = if keep_sum { (rows.start * h, rows.len() * h) } else { (0, 0) };
        // SAFETY: the ranges are disjoint and within n rows, for which there is capacity.
        let block = unsafe {
            Block {
                y: y_at.unwritten(rows.start * h, rows.len() * h),
                sum: sum_at.unwritten(kept, len),
                mean: mean_at.unwritten(rows.start, rows.len()),
                rstd: rstd_at.unwritten(rows.start, rows.len()),
            }
        };
        f(rows.start, block);
    });
    // SAFETY: the ranges cover all rows, and by this function's contract every block was written.
    unsafe {
        y.set_len(n * h);
        sum.set_len(if keep_sum { n * h } else { 0 });
        mean.set_len(n);
        rstd.set_len(n);
    }
    LayerNormForward { y, mean, rstd, sum: keep_sum.then_some(sum) }
}

fn run(source: Source<'_>, keep_sum: bool) -> LayerNormForward {
    let h = source.gamma.len();
    assert!(h > 0, "gamma");
    assert_eq!(source.x.len() % h, 0, "x");
    assert!(source.residual.is_none_or(|r| r.len() == source.x.len()), "residual");
    // SAFETY: `norm_rows` writes y, mean, rstd and the kept sum of every row of its block.
    unsafe { by_blocks(source.x.len() / h, h, keep_sum, |first, block| norm_rows(source, first, block)) }
}

/// `LayerNorm(dropout(x) + residual)`.
///
/// # Shapes
/// `x`, `residual` `[n, h]`, `gamma`, `beta` `[h]`.
///
/// # Panics
/// When a slice doesn't have its size.
pub fn add_layer_norm(
    x: &[f32],
    residual: Option<&[f32]>,
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    dropout: Dropout,
    keep_sum: bool,
) -> LayerNormForward {
    assert_eq!(gamma.len(), beta.len(), "beta");
    timed(Kind::Norm, 0, || run(Source { x, residual, gamma, beta, eps, dropout }, keep_sum))
}

/// `RMSNorm(dropout(x) + residual)`.
///
/// # Shapes
/// `x`, `residual` `[n, h]`, `gamma` `[h]`.
///
/// # Panics
/// When a slice doesn't have its size.
pub fn add_rms_norm(
    x: &[f32],
    residual: Option<&[f32]>,
    gamma: &[f32],
    eps: f32,
    dropout: Dropout,
    keep_sum: bool,
) -> RmsNormForward {
    timed(Kind::Norm, 0, || {
        let out = run(Source { x, residual, gamma, beta: &[], eps, dropout }, keep_sum);
        RmsNormForward { y: out.y, rstd: out.rstd, sum: out.sum }
    })
}

/// What the backward of a block of rows reads.
#[derive(Clone, Copy)]
struct Given<'a> {
    dy: &'a [f32],
    s: &'a [f32],
    /// Absent for RMSNorm.
    mean: Option<&'a [f32]>,
}

multiversion! {
    /// Rows of the gradient: `ds` of the sum, `dx` of x when dropout is on, and `dgamma | dbeta` added into `acc`.
    /// All of ds is written, and of dx under dropout.
    fn norm_rows_backward(given: Given<'_>, rstd: &[f32], gamma: &[f32], dropout: Dropout, first: usize, ds: &mut [MaybeUninit<f32>], dx: &mut [MaybeUninit<f32>], acc: &mut [f32]) {
        let h = gamma.len();
        let (dgamma, dbeta) = acc.split_at_mut(h);
        for (i, &r) in rstd.iter().enumerate() {
            let row = i * h..(i + 1) * h;
            let (dy, s) = (&given.dy[row.clone()], &given.s[row.clone()]);
            let ds = ds[row.clone()].write_copy_of_slice(dy);
            let m = given.mean.map_or(0.0, |mean| mean[i]);
            for j in 0..h {
                dgamma[j] = ((s[j] - m) * r).mul_add(dy[j], dgamma[j]);
                ds[j] *= gamma[j];
            }
            let mut m1 = 0.0;
            if given.mean.is_some() {
                for j in 0..h {
                    dbeta[j] += dy[j];
                }
                m1 = sum(ds, |v| v) / h as f32;
            }
            // the mean of ds·x̂, as r·Σ ds·(s - m)
            let m2 = dot_shifted(ds, s, m) * r / h as f32;
            for j in 0..h {
                ds[j] = r * (ds[j] - m1 - (s[j] - m) * r * m2);
            }
            if dropout.is_on() {
                let mask = dropout.mask();
                let from = ((first + i) * h) as u64;
                for (j, (dx, ds)) in dx[row].iter_mut().zip(ds).enumerate() {
                    dx.write(*ds * mask.factor(from + j as u64));
                }
            }
        }
    }
}

fn run_backward(
    dy: &[f32],
    s: &[f32],
    mean: Option<&[f32]>,
    rstd: &[f32],
    gamma: &[f32],
    dropout: Dropout,
    has_residual: bool,
) -> NormGrads {
    let (n, h) = (rstd.len(), gamma.len());
    assert!(h > 0, "gamma");
    assert_eq!(dy.len(), n * h, "dy");
    assert_eq!(s.len(), n * h, "sum");
    assert!(mean.is_none_or(|mean| mean.len() == n), "mean");
    let dropped = dropout.is_on();
    let (mut ds, mut dx) = (Vec::with_capacity(n * h), Vec::with_capacity(if dropped { n * h } else { 0 }));
    let (ds_at, dx_at) = (Shared::new(ds.as_mut_ptr()), Shared::new(dx.as_mut_ptr()));
    let mut gamma_grad = sum_over_rows(n, 2 * h, |rows, acc| {
        let (at, len) = (rows.start * h, rows.len() * h);
        let (dx_from, dx_len) = if dropped { (at, len) } else { (0, 0) };
        // SAFETY: the row ranges of `sum_over_rows` are disjoint and within n rows.
        let (ds, dx) = unsafe { (ds_at.unwritten(at, len), dx_at.unwritten(dx_from, dx_len)) };
        let given = Given { dy: &dy[at..at + len], s: &s[at..at + len], mean: mean.map(|m| &m[rows.clone()]) };
        norm_rows_backward(given, &rstd[rows.clone()], gamma, dropout, rows.start, ds, dx, acc);
    });
    // SAFETY: the ranges cover all rows, and `norm_rows_backward` writes every row of ds, and of dx under dropout.
    unsafe {
        ds.set_len(n * h);
        dx.set_len(if dropped { n * h } else { 0 });
    }
    let beta = gamma_grad.split_off(h);
    let beta = if mean.is_some() { beta } else { Vec::new() };
    let (x, residual) = if dropped { (dx, has_residual.then_some(ds)) } else { (ds, None) };
    NormGrads { x, residual, gamma: gamma_grad, beta }
}

/// The gradients of [`add_layer_norm`]; `sum` is what was normalised: the kept sum, or `x` itself when there was
/// neither residual nor dropout.
///
/// # Panics
/// When a slice doesn't have its size.
pub fn add_layer_norm_backward(
    dy: &[f32],
    sum: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gamma: &[f32],
    dropout: Dropout,
    has_residual: bool,
) -> NormGrads {
    timed(Kind::Norm, 0, || run_backward(dy, sum, Some(mean), rstd, gamma, dropout, has_residual))
}

/// The gradients of [`add_rms_norm`], as [`add_layer_norm_backward`].
///
/// # Panics
/// When a slice doesn't have its size.
pub fn add_rms_norm_backward(
    dy: &[f32],
    sum: &[f32],
    rstd: &[f32],
    gamma: &[f32],
    dropout: Dropout,
    has_residual: bool,
) -> NormGrads {
    timed(Kind::Norm, 0, || run_backward(dy, sum, None, rstd, gamma, dropout, has_residual))
}

multiversion! {
    fn add_block(x: &[f32], residual: &[f32], dropout: Dropout, first: u64, y: &mut [MaybeUninit<f32>]) {
        if dropout.is_on() {
            let mask = dropout.mask();
            for (j, y) in y.iter_mut().enumerate() {
                y.write(x[j].mul_add(mask.factor(first + j as u64), residual[j]));
            }
        } else {
            for ((x, r), y) in x.iter().zip(residual).zip(y) {
                y.write(*x + *r);
            }
        }
    }
}

/// `dropout(x) + residual`: the residual stream of a pre-norm block. The gradient of `residual` is that of the
/// result, the gradient of `x` is [`dropout::backward`] of it.
///
/// # Panics
/// When the slices differ in length.
pub fn dropout_add(x: &[f32], residual: &[f32], dropout: Dropout) -> Vec<f32> {
    assert_eq!(x.len(), residual.len(), "residual");
    timed(Kind::Norm, 0, || {
        let fill = |y: &mut [MaybeUninit<f32>]| {
            for_row_blocks(y, 1, |at, y| {
                let range = at..at + y.len();
                add_block(&x[range.clone()], &residual[range], dropout, at as u64, y);
            });
        };
        // SAFETY: the blocks cover the whole output, and `add_block` writes every element of a block.
        unsafe { filled(x.len(), fill) }
    })
}

/// The gradient of [`dropout_add`] with respect to `x`.
pub fn dropout_add_backward(dy: &[f32], dropout: Dropout) -> Vec<f32> {
    dropout::backward(dy, &dropout)
}
