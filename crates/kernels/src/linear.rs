//! `y = act(x·Wᵀ + b)`, weight `[outputs, inputs]`. A few rows are read against the weight at memory speed; more go
//! through the matrix product, with bias and activation following in one pass.

mod few_rows;

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::activation::{self, Activation, add_bias, add_bias_activate, add_bias_activate_keep};
use crate::buffer::{SMALL, Shared, filled, for_row_blocks};
use crate::gemm::{Threads, View, product_vec};
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

/// Up to this many rows a product of rows with rows, which reads the weight once and packs nothing, beats the library
/// (measured on two cores; what packing costs is paid per call).
const FEW: usize = 16;

/// A product of large matrices, or of few rows.
fn product(x: &[f32], weight: &[f32], dims: LinearDims) -> Vec<f32> {
    let LinearDims { rows, inputs, outputs } = dims;
    if inputs > 0 && (1..=FEW).contains(&rows) {
        return few_rows::product(x, weight, dims);
    }
    let (a, b) = (View::new(x, rows, inputs, inputs), View::new(weight, outputs, inputs, inputs).t());
    product_vec(a, b, dims.threads())
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
    let mut z = timed(Kind::Product, dims.flops(), || product(x, weight, dims));
    timed(Kind::Activation, 0, || match (bias, act, keep_pre) {
        (None, Activation::None, _) => Forward { y: z, pre: None },
        (Some(bias), Activation::None, _) => {
            for_row_blocks(&mut z, outputs, |_, z| add_bias(z, bias));
            Forward { y: z, pre: None }
        }
        (Some(bias), act, false) => {
            for_row_blocks(&mut z, outputs, |_, z| add_bias_activate(z, bias, act));
            Forward { y: z, pre: None }
        }
        (Some(bias), act, true) => {
            let z_at = Shared::new(z.as_mut_ptr());
            let fill = |y: &mut [MaybeUninit<f32>]| {
                for_row_blocks(y, outputs, |row, y| {
                    // SAFETY: blocks of y are disjoint whole rows, and so are the same places in z.
                    let z = unsafe { z_at.slice(row * outputs, y.len()) };
                    add_bias_activate_keep(z, y, bias, act);
                });
            };
            // SAFETY: every element of every block is written.
            let y = unsafe { filled(rows * outputs, fill) };
            Forward { y, pre: Some(z) }
        }
        (None, act, keep) => Forward { y: activation::forward(&z, act), pre: keep.then_some(z) },
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
