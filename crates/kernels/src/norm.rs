//! LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019) with the dropout and the residual before them,
//! in one pass over each row: `norm(dropout(x) + residual)·gamma (+ beta)`.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::buffer::{SMALL, Shared, filled, for_row_blocks, rows_per_task, sum_over_rows};
use crate::dropout::{self, Dropout};
use crate::math::{dot, sum};
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

/// `s = x·mask + residual`.
#[inline(always)]
fn combine(x: &[f32], residual: Option<&[f32]>, dropout: Dropout, first: u64, s: &mut [f32]) {
    match (residual, dropout.is_on()) {
        (None, false) => s.copy_from_slice(x),
        (Some(r), false) => {
            for j in 0..s.len() {
                s[j] = x[j] + r[j];
            }
        }
        (residual, true) => {
            let mask = dropout.mask();
            for j in 0..s.len() {
                s[j] = x[j] * mask.factor(first + j as u64);
            }
            if let Some(r) = residual {
                for j in 0..s.len() {
                    s[j] += r[j];
                }
            }
        }
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

multiversion! {
    /// Rows from `first` on: `s` (the sum), `y`, and per row the mean (0 for RMSNorm) and the reciprocal deviation.
    fn norm_rows(source: Source<'_>, first: usize, s: &mut [f32], y: &mut [MaybeUninit<f32>], mean: &mut [MaybeUninit<f32>], rstd: &mut [MaybeUninit<f32>], keep: bool) {
        let h = source.gamma.len();
        for i in 0..rstd.len() {
            let at = (first + i) * h;
            // without keeping, one row of `s` serves all
            let s = if keep { &mut s[i * h..(i + 1) * h] } else { &mut s[..h] };
            let residual = source.residual.map(|r| &r[at..at + h]);
            combine(&source.x[at..at + h], residual, source.dropout, at as u64, s);
            let y = &mut y[i * h..(i + 1) * h];
            if source.beta.is_empty() {
                let r = 1.0 / (sum(s, |v| v * v) / h as f32 + source.eps).sqrt();
                mean[i].write(0.0);
                rstd[i].write(r);
                for j in 0..h {
                    y[j].write(s[j] * r * source.gamma[j]);
                }
            } else {
                let m = sum(s, |v| v) / h as f32;
                let r = 1.0 / (sum(s, |v| (v - m) * (v - m)) / h as f32 + source.eps).sqrt();
                mean[i].write(m);
                rstd[i].write(r);
                for j in 0..h {
                    y[j].write(((s[j] - m) * r).mul_add(source.gamma[j], source.beta[j]));
                }
            }
        }
    }
}

fn run(source: Source<'_>, keep_sum: bool) -> LayerNormForward {
    let h = source.gamma.len();
    assert!(h > 0, "gamma");
    assert_eq!(source.x.len() % h, 0, "x");
    assert!(
        source.residual.is_none_or(|r| r.len() == source.x.len()),
        "residual"
    );
    let n = source.x.len() / h;
    let rows = if n * h <= SMALL {
        n.max(1)
    } else {
        rows_per_task(h)
    };
    let (mut mean, mut rstd) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut y = Vec::with_capacity(n * h);
    let mut kept = vec![0.0; if keep_sum { n * h } else { 0 }];
    {
        let y = &mut y.spare_capacity_mut()[..n * h];
        let (mean, rstd) = (
            &mut mean.spare_capacity_mut()[..n],
            &mut rstd.spare_capacity_mut()[..n],
        );
        let stats = mean.par_chunks_mut(rows).zip(rstd.par_chunks_mut(rows));
        let blocks = y.par_chunks_mut(rows * h).zip(stats).enumerate();
        if keep_sum {
            blocks
                .zip(kept.par_chunks_mut(rows * h))
                .for_each(|((i, (y, (mean, rstd))), s)| {
                    norm_rows(source, i * rows, s, y, mean, rstd, true)
                });
        } else {
            blocks.for_each_init(
                || vec![0.0; h],
                |s, (i, (y, (mean, rstd)))| norm_rows(source, i * rows, s, y, mean, rstd, false),
            );
        }
    }
    // SAFETY: the blocks cover all rows, and `norm_rows` writes y, mean and rstd of each.
    unsafe {
        y.set_len(n * h);
        mean.set_len(n);
        rstd.set_len(n);
    }
    LayerNormForward {
        y,
        mean,
        rstd,
        sum: keep_sum.then_some(kept),
    }
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
    timed(Kind::Norm, 0, || {
        run(
            Source {
                x,
                residual,
                gamma,
                beta,
                eps,
                dropout,
            },
            keep_sum,
        )
    })
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
        let out = run(
            Source {
                x,
                residual,
                gamma,
                beta: &[],
                eps,
                dropout,
            },
            keep_sum,
        );
        RmsNormForward {
            y: out.y,
            rstd: out.rstd,
            sum: out.sum,
        }
    })
}

multiversion! {
    /// Rows of the gradient: `ds` of the sum, `dx` of x when dropout is on, and `dgamma | dbeta` added into `acc`.
    fn norm_rows_backward(dy: &[f32], s: &[f32], mean: Option<&[f32]>, rstd: &[f32], gamma: &[f32], dropout: Dropout, first: usize, ds: &mut [f32], dx: &mut [f32], acc: &mut [f32]) {
        let h = gamma.len();
        let (dgamma, dbeta) = acc.split_at_mut(h);
        for (i, &r) in rstd.iter().enumerate() {
            let row = i * h..(i + 1) * h;
            let (dy, s, ds) = (&dy[row.clone()], &s[row.clone()], &mut ds[row.clone()]);
            let m = mean.map_or(0.0, |mean| mean[i]);
            let (mut m1, mut m2) = (0.0, 0.0);
            for j in 0..h {
                ds[j] = dy[j] * gamma[j];
                dgamma[j] = ((s[j] - m) * r).mul_add(dy[j], dgamma[j]);
            }
            if mean.is_some() {
                for j in 0..h {
                    dbeta[j] += dy[j];
                }
                m1 = sum(ds, |v| v) / h as f32;
                m2 -= m * m1 * h as f32;
            }
            // Σ ds·x̂ = r·(Σ ds·s - m·Σ ds)
            m2 = (dot(ds, s) + m2) * r / h as f32;
            for j in 0..h {
                ds[j] = r * (ds[j] - m1 - (s[j] - m) * r * m2);
            }
            if dropout.is_on() {
                let mask = dropout.mask();
                let from = ((first + i) * h) as u64;
                let dx = &mut dx[row];
                for j in 0..h {
                    dx[j] = ds[j] * mask.factor(from + j as u64);
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
    let mut ds = vec![0.0; n * h];
    let mut dx = vec![0.0; if dropout.is_on() { n * h } else { 0 }];
    let (ds_at, dx_at) = (Shared::new(ds.as_mut_ptr()), Shared::new(dx.as_mut_ptr()));
    let mut gamma_grad = sum_over_rows(n, 2 * h, |rows, acc| {
        let (at, len) = (rows.start * h, rows.len() * h);
        // SAFETY: the row ranges of `sum_over_rows` are disjoint and within n rows.
        let (ds, dx) = unsafe {
            (
                ds_at.slice(at, len),
                dx_at.slice(
                    if dropout.is_on() { at } else { 0 },
                    if dropout.is_on() { len } else { 0 },
                ),
            )
        };
        let mean = mean.map(|mean| &mean[rows.clone()]);
        norm_rows_backward(
            &dy[at..at + len],
            &s[at..at + len],
            mean,
            &rstd[rows.clone()],
            gamma,
            dropout,
            rows.start,
            ds,
            dx,
            acc,
        );
    });
    let beta = gamma_grad.split_off(h);
    let beta = if mean.is_some() { beta } else { Vec::new() };
    let (x, residual) = if dropout.is_on() {
        (dx, has_residual.then_some(ds))
    } else {
        (ds, None)
    };
    NormGrads {
        x,
        residual,
        gamma: gamma_grad,
        beta,
    }
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
    timed(Kind::Norm, 0, || {
        run_backward(dy, sum, Some(mean), rstd, gamma, dropout, has_residual)
    })
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
    timed(Kind::Norm, 0, || {
        run_backward(dy, sum, None, rstd, gamma, dropout, has_residual)
    })
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
