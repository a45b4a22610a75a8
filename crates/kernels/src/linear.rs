//! `y = act(x·Wᵀ + b)`, weight `[outputs, inputs]`. A few rows are read against the weight at memory speed; more go
//! through the matrix product, with bias and activation following in one pass.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::activation::{self, Activation, add_bias, add_bias_activate, add_bias_activate_keep};
use crate::buffer::{SMALL, filled, for_row_blocks, rows_per_task, sum_over_rows};
use crate::gemm::{Threads, View, product_into};
use crate::math::{add_assign, dot};
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
        if self.flops() < 1 << 18 {
            Threads::One
        } else {
            Threads::All
        }
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

/// Up to this many rows the weight is read once and no product library is called.
const FEW: usize = 4;

multiversion! {
    /// `y[r, j] = x[r]·w[j]` for the weight rows in `w`, into the columns from `first` on of rows `stride` apart.
    fn few_rows(x: &[f32], w: &[f32], inputs: usize, rows: usize, y: &mut [MaybeUninit<f32>]) {
        for (j, w) in w.chunks_exact(inputs).enumerate() {
            for r in 0..rows {
                y[j * rows + r].write(dot(&x[r * inputs..(r + 1) * inputs], w));
            }
        }
    }
}

/// The product for few rows; computed as `[outputs, rows]` so that threads write apart, then turned.
fn product_few(x: &[f32], weight: &[f32], dims: LinearDims) -> Vec<f32> {
    let LinearDims {
        rows,
        inputs,
        outputs,
    } = dims;
    let turned = {
        let fill = |y: &mut [MaybeUninit<f32>]| {
            let per_task = (SMALL / inputs).max(16);
            if weight.len() <= SMALL {
                few_rows(x, weight, inputs, rows, y);
            } else {
                let tasks = y
                    .par_chunks_mut(per_task * rows)
                    .zip(weight.par_chunks(per_task * inputs));
                tasks.for_each(|(y, w)| few_rows(x, w, inputs, rows, y));
            }
        };
        // SAFETY: the chunks of y and of the weight correspond, and `few_rows` writes all of its chunk.
        unsafe { filled(outputs * rows, fill) }
    };
    if rows == 1 {
        return turned;
    }
    let mut y = Vec::with_capacity(outputs * rows);
    for r in 0..rows {
        y.extend((0..outputs).map(|j| turned[j * rows + r]));
    }
    y
}

fn product(x: &[f32], weight: &[f32], dims: LinearDims) -> Vec<f32> {
    let LinearDims {
        rows,
        inputs,
        outputs,
    } = dims;
    if inputs == 0 {
        return vec![0.0; rows * outputs];
    }
    if (1..=FEW).contains(&rows) {
        return product_few(x, weight, dims);
    }
    let (a, b) = (
        View::new(x, rows, inputs, inputs),
        View::new(weight, outputs, inputs, inputs).t(),
    );
    // SAFETY: `product_into` writes every element.
    unsafe {
        filled(rows * outputs, |y| {
            product_into(y, 1.0, a, b, dims.threads())
        })
    }
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
    let LinearDims {
        rows,
        inputs,
        outputs,
    } = dims;
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
            let block = rows_per_task(outputs) * outputs;
            let fill = |y: &mut [MaybeUninit<f32>]| {
                let tasks = z
                    .par_chunks_mut(block.max(1))
                    .zip(y.par_chunks_mut(block.max(1)));
                tasks.for_each(|(z, y)| add_bias_activate_keep(z, y, bias, act));
            };
            // SAFETY: blocks of z and y correspond, hold whole rows, and every element of a block is written.
            let y = unsafe { filled(rows * outputs, fill) };
            Forward { y, pre: Some(z) }
        }
        (None, act, keep) => Forward {
            y: activation::forward(&z, act),
            pre: keep.then_some(z),
        },
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
    let LinearDims {
        rows,
        inputs,
        outputs,
    } = dims;
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
    let bias = needs
        .bias
        .then(|| timed(Kind::Activation, 0, || column_sums(dz, rows, outputs)));
    let dz = View::new(dz, rows, outputs, outputs);
    let weight_grad = needs.weight.then(|| {
        let x = View::new(x, rows, inputs, inputs);
        multiply(outputs, inputs, rows, dz.t(), x, dims)
    });
    let x_grad = needs.x.then(|| {
        let weight = View::new(weight, outputs, inputs, inputs);
        multiply(rows, inputs, outputs, dz, weight, dims)
    });
    Grads {
        x: x_grad,
        weight: weight_grad,
        bias,
    }
}

/// `a·b` of size `m × n`; zeros where the inner dimension is empty.
fn multiply(
    m: usize,
    n: usize,
    inner: usize,
    a: View<'_>,
    b: View<'_>,
    dims: LinearDims,
) -> Vec<f32> {
    if inner == 0 {
        return vec![0.0; m * n];
    }
    timed(Kind::Product, dims.flops(), || {
        // SAFETY: `product_into` writes every element.
        unsafe { filled(m * n, |c| product_into(c, 1.0, a, b, dims.threads())) }
    })
}

/// The sum of the rows of a `[rows, width]` matrix.
pub(crate) fn column_sums(x: &[f32], rows: usize, width: usize) -> Vec<f32> {
    sum_over_rows(rows, width, |range, sum| {
        for row in x[range.start * width..range.end * width].chunks_exact(width.max(1)) {
            add_assign(sum, row);
        }
    })
}
