//! `y = act(x·Wᵀ + b)`, weight `[outputs, inputs]`. A few rows are read against the weight at memory speed; more go
//! through the blocked matrix product. Bias and activation follow part by part while the result is in the cache.

mod few_rows;

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use crate::activation::{self, Activation, add_bias_activate, add_bias_activate_keep};
use crate::buffer::{SMALL, Shared, filled};
use crate::gemm::{Threads, View, product_finish, product_vec};
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// The sizes of a linear layer and its input.
#[derive(Clone, Copy, Debug)]
pub struct LinearDims {
    /// Rows of the input, `T`.
    pub rows: usize,
    /// Its width.
    pub inputs: usize,
    /// The width of the output.
    pub outputs: usize,
}

impl LinearDims {
    fn flops(self) -> u64 {
        2 * (self.rows * self.inputs * self.outputs) as u64
    }

    fn threads(self) -> Threads {
        if self.flops() < 1 << 18 { Threads::One } else { Threads::All }
    }
}

/// The result of [`forward`].
#[derive(Debug)]
pub struct Forward {
    /// `[rows, outputs]`.
    pub y: Vec<f32>,
    /// What the activation was applied to, when it was asked for and there is an activation.
    pub pre: Option<Vec<f32>>,
}

/// Up to this many rows a product of rows with rows, which reads the weight once and packs nothing, beats the blocked
/// one (measured on two cores: 12 rows in 0.83 of its time, 16 in 1.25; what packing costs is paid per call).
const FEW: usize = 12;

/// `z = x·Wᵀ`; `finish` is called with the rows and columns of each part of z while it is in the cache.
fn product(
    z: Shared,
    x: &[f32],
    weight: &[f32],
    dims: LinearDims,
    finish: &(impl Fn(Range<usize>, Range<usize>) + Sync),
) {
    let LinearDims { rows, inputs, outputs } = dims;
    if inputs > 0 && (1..=FEW).contains(&rows) {
        return few_rows::product(z, x, weight, dims, finish);
    }
    let (a, b) = (View::new(x, rows, inputs, inputs), View::new(weight, outputs, inputs, inputs).t());
    // SAFETY: z is `[rows, outputs]` without gaps, and `forward` touches it in `finish` only.
    unsafe { product_finish(z.at(0), outputs, false, 1.0, a, b, dims.threads(), finish) }
}

/// `act(x·Wᵀ + bias)`.
///
/// # Shapes
/// `x` `[rows, inputs]`, `weight` `[outputs, inputs]`, `bias` `[outputs]` → `[rows, outputs]`.
///
/// # Panics
/// When a slice doesn't have its size.
pub fn forward(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    act: Activation,
    dims: LinearDims,
    keep_pre: bool,
) -> Forward {
    let LinearDims { rows, inputs, outputs } = dims;
    assert_eq!(x.len(), rows * inputs, "x");
    assert_eq!(weight.len(), outputs * inputs, "weight");
    assert!(bias.is_none_or(|bias| bias.len() == outputs), "bias");
    let zeros = (bias.is_none() && act != Activation::None).then(|| vec![0.0; outputs]);
    let bias = bias.or(zeros.as_deref());
    let len = rows.checked_mul(outputs).expect("a product that fits into memory");
    timed(Kind::Product, dims.flops(), || {
        let mut pre = None;
        let fill = |y: &mut [MaybeUninit<f32>]| {
            let y = Shared::new(y.as_mut_ptr().cast());
            if act == Activation::None || !keep_pre {
                product(y, x, weight, dims, &|rows, columns| {
                    let Some(bias) = bias else { return };
                    for row in rows {
                        // SAFETY: the part is written, and nobody else's.
                        let y = unsafe { y.slice(row * outputs + columns.start, columns.len()) };
                        add_bias_activate(y, &bias[columns.clone()], act);
                    }
                });
                return;
            }
            let bias = bias.expect("zeros, where there is none");
            let fill = |z: &mut [MaybeUninit<f32>]| {
                let z = Shared::new(z.as_mut_ptr().cast());
                product(z, x, weight, dims, &|rows, columns| {
                    for row in rows {
                        let at = row * outputs + columns.start;
                        // SAFETY: the part is written, and nobody else's; so is its place in y.
                        let (z, y) = unsafe { (z.slice(at, columns.len()), y.unwritten(at, columns.len())) };
                        add_bias_activate_keep(z, y, &bias[columns.clone()], act);
                    }
                });
            };
            // SAFETY: the product writes every element.
            pre = Some(unsafe { filled(len, fill) });
        };
        // SAFETY: the product writes every element, or what follows it does.
        let y = unsafe { filled(len, fill) };
        Forward { y, pre }
    })
}

/// Which gradients are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Of the input.
    pub x: bool,
    /// Of the weight.
    pub weight: bool,
    /// Of the bias.
    pub bias: bool,
}

/// The gradients that were wanted, each shaped like its value.
#[derive(Debug)]
pub struct Grads {
    /// `[rows, inputs]`.
    pub x: Option<Vec<f32>>,
    /// `[outputs, inputs]`.
    pub weight: Option<Vec<f32>>,
    /// `[outputs]`.
    pub bias: Option<Vec<f32>>,
}

/// The gradients of [`forward`]: `dz = dy·act'(pre)`, `dx = dz·W`, `dW = dzᵀ·x`, `db = Σ dz`.
///
/// # Panics
/// When a slice doesn't have its size, or `pre` is missing although there is an activation.
pub fn backward(
    x: &[f32],
    weight: &[f32],
    pre: Option<&[f32]>,
    act: Activation,
    dy: &[f32],
    dims: LinearDims,
    needs: Needs,
) -> Grads {
    let LinearDims { rows, inputs, outputs } = dims;
    assert_eq!(x.len(), rows * inputs, "x");
    assert_eq!(weight.len(), outputs * inputs, "weight");
    assert_eq!(dy.len(), rows * outputs, "dy");
    let dz_buffer;
    let dz = if act == Activation::None {
        dy
    } else {
        let pre = pre.expect("the backward of an activation needs what it was applied to");
        assert_eq!(pre.len(), rows * outputs, "pre");
        dz_buffer = activation::backward(pre, dy, act);
        &dz_buffer
    };
    let bias = needs.bias.then(|| timed(Kind::Activation, 0, || column_sums(dz, rows, outputs)));
    let dz = View::new(dz, rows, outputs, outputs);
    let weight_grad = needs.weight.then(|| {
        let x = View::new(x, rows, inputs, inputs);
        timed(Kind::Product, dims.flops(), || product_vec(dz.t(), x, dims.threads()))
    });
    let x_grad = needs.x.then(|| {
        let weight = View::new(weight, outputs, inputs, inputs);
        timed(Kind::Product, dims.flops(), || product_vec(dz, weight, dims.threads()))
    });
    Grads { x: x_grad, weight: weight_grad, bias }
}

/// The sum of the rows of a `[rows, width]` matrix: every task takes columns of its own, and rows in order.
pub(crate) fn column_sums(x: &[f32], rows: usize, width: usize) -> Vec<f32> {
    const STRIP: usize = 256;
    assert_eq!(x.len(), rows * width, "x");
    let mut sums = vec![0.0; width];
    let strip = |(i, sums): (usize, &mut [f32])| add_rows(x, width, i * STRIP, sums);
    if x.len() <= SMALL {
        sums.chunks_mut(STRIP).enumerate().for_each(strip);
    } else {
        sums.par_chunks_mut(STRIP).enumerate().for_each(strip);
    }
    sums
}

multiversion! {
    /// Adds the columns from `first` on of all rows.
    fn add_rows(x: &[f32], width: usize, first: usize, sums: &mut [f32]) {
        for row in x.chunks_exact(width) {
            for (sum, v) in sums.iter_mut().zip(&row[first..]) {
                *sum += *v;
            }
        }
    }
}
