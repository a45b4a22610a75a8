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

multiversion! {
    fn log_sum_of(x: &[f32]) -> f32 {
        let top = max(x);
        if top == f32::NEG_INFINITY {
            return top;
        }
        top + sum(x, |v| exp(v - top)).ln()
    }
}

multiversion! {
    fn exceeds(x: &[f32], floor: f32) -> bool {
        max(x) > floor
    }
}

/// The logarithm of the sum of the exponentials of `x`; minus infinity for none.
pub fn log_sum(x: &[f32]) -> f32 {
    log_sum_of(x)
}

/// Calls `f` with the place of each block of 1024 elements of `x`, and the block, that has one above what `f` last
/// said; it begins with `floor`. To find the few largest of many.
pub fn blocks_above(x: &[f32], mut floor: f32, mut f: impl FnMut(usize, &[f32]) -> f32) {
    const BLOCK: usize = 1024;
    for (i, block) in x.chunks(BLOCK).enumerate() {
        if exceeds(block, floor) {
            floor = f(i * BLOCK, block);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_exponentials() {
        for n in [1, 15, 16, 17, 1000, 5001] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 1.7).sin() * 9.0).collect();
            let exact = x.iter().map(|&v| f64::from(v).exp()).sum::<f64>().ln();
            assert!((f64::from(log_sum(&x)) - exact).abs() < 1e-5, "{n}");
        }
        assert_eq!(log_sum(&[f32::NEG_INFINITY; 3]), f32::NEG_INFINITY);
        assert!((log_sum(&[f32::NEG_INFINITY, 2.0]) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn blocks_that_have_more() {
        let mut x = vec![0.0; 5000];
        (x[1500], x[3100], x[4900]) = (2.0, 1.0, 3.0);
        let mut seen = Vec::new();
        blocks_above(&x, 0.5, |at, block| {
            seen.push(at);
            block.iter().copied().fold(f32::NEG_INFINITY, f32::max)
        });
        assert_eq!(seen, [1024, 4096]);
    }
}
