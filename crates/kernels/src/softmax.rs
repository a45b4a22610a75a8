//! Softmax and log-softmax of rows.

use std::mem::MaybeUninit;

use crate::buffer::{filled, for_row_blocks};
use crate::math::{dot, exp, exp_and_sum, max, sum};
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

multiversion! {
    fn softmax_rows(x: &[f32], y: &mut [MaybeUninit<f32>], classes: usize) {
        for (x, y) in x.chunks_exact(classes).zip(y.chunks_exact_mut(classes)) {
            let top = max(x);
            let y = y.write_copy_of_slice(x);
            let scale = 1.0 / exp_and_sum(y, top);
            y.iter_mut().for_each(|v| *v *= scale);
        }
    }
}

multiversion! {
    fn log_softmax_rows(x: &[f32], y: &mut [MaybeUninit<f32>], classes: usize) {
        for (x, y) in x.chunks_exact(classes).zip(y.chunks_exact_mut(classes)) {
            let top = max(x);
            let shift = top + sum(x, |v| exp(v - top)).ln();
            for (x, y) in x.iter().zip(y) {
                y.write(*x - shift);
            }
        }
    }
}

multiversion! {
    fn softmax_rows_backward(y: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>], classes: usize) {
        for ((y, dy), dx) in y.chunks_exact(classes).zip(dy.chunks_exact(classes)).zip(dx.chunks_exact_mut(classes)) {
            let inner = dot(y, dy);
            for j in 0..classes {
                dx[j].write(y[j] * (dy[j] - inner));
            }
        }
    }
}

multiversion! {
    fn log_softmax_rows_backward(y: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>], classes: usize) {
        for ((y, dy), dx) in y.chunks_exact(classes).zip(dy.chunks_exact(classes)).zip(dx.chunks_exact_mut(classes)) {
            let total = sum(dy, |v| v);
            for j in 0..classes {
                dx[j].write(dy[j] - exp(y[j]) * total);
            }
        }
    }
}

type Rows = fn(&[f32], &mut [MaybeUninit<f32>], usize);
type RowsBackward = fn(&[f32], &[f32], &mut [MaybeUninit<f32>], usize);

fn run(f: Rows, x: &[f32], classes: usize) -> Vec<f32> {
    assert!(classes > 0 && x.len().is_multiple_of(classes), "x is no matrix of {classes} columns");
    timed(Kind::CrossEntropy, 0, || {
        let fill = |y: &mut [MaybeUninit<f32>]| {
            for_row_blocks(y, classes, |row, y| f(&x[row * classes..row * classes + y.len()], y, classes));
        };
        // SAFETY: blocks hold whole rows, and both functions write every element.
        unsafe { filled(x.len(), fill) }
    })
}

fn run_backward(f: RowsBackward, y: &[f32], dy: &[f32], classes: usize) -> Vec<f32> {
    assert!(classes > 0 && y.len().is_multiple_of(classes), "y is no matrix of {classes} columns");
    assert_eq!(y.len(), dy.len(), "dy");
    timed(Kind::CrossEntropy, 0, || {
        let fill = |dx: &mut [MaybeUninit<f32>]| {
            for_row_blocks(dx, classes, |row, dx| {
                let range = row * classes..row * classes + dx.len();
                f(&y[range.clone()], &dy[range], dx, classes);
            });
        };
        // SAFETY: blocks hold whole rows, and both functions write every element.
        unsafe { filled(y.len(), fill) }
    })
}

/// The softmax of every row of `x` `[n, classes]`.
///
/// # Panics
/// When `x` isn't whole rows.
pub fn softmax(x: &[f32], classes: usize) -> Vec<f32> {
    run(softmax_rows, x, classes)
}

/// The gradient of [`softmax`], from its result `y`.
///
/// # Panics
/// When a slice doesn't have its size.
pub fn softmax_backward(y: &[f32], dy: &[f32], classes: usize) -> Vec<f32> {
    run_backward(softmax_rows_backward, y, dy, classes)
}

/// The logarithm of the softmax of every row of `x` `[n, classes]`.
///
/// # Panics
/// When `x` isn't whole rows.
pub fn log_softmax(x: &[f32], classes: usize) -> Vec<f32> {
    run(log_softmax_rows, x, classes)
}

/// The gradient of [`log_softmax`], from its result `y`.
///
/// # Panics
/// When a slice doesn't have its size.
pub fn log_softmax_backward(y: &[f32], dy: &[f32], classes: usize) -> Vec<f32> {
    run_backward(log_softmax_rows_backward, y, dy, classes)
}
