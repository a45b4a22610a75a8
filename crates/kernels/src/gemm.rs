//! `C = α·A·B (+ C)` in f32 with any strides, for one thread or all. Packed bf16, int8 and int4 products will be
//! modules beside this one.

mod blocked;
mod pack;
mod scratch;
mod tile;
pub(crate) mod vector;

use std::mem::MaybeUninit;
use std::ops::Range;

use self::blocked::{Lie, Product, Target};
use self::pack::Strided;
use crate::buffer::filled;

/// A matrix by its first element and its strides.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// A matrix of `rows × cols` over `values`, whose rows lie `row_stride` elements apart.
    ///
    /// # Panics
    /// When the matrix doesn't fit into `values`.
    pub fn new(values: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        let view = Self { values, rows, cols, row_stride, col_stride: 1 };
        assert!(view.fits(values.len()), "a {rows} × {cols} matrix of stride {row_stride} in {}", values.len());
        view
    }

    /// Rows and columns exchanged.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    fn fits(&self, len: usize) -> bool {
        // on sizes that overflow it can't fit
        let last = |count: usize, stride: usize| count.checked_sub(1).and_then(|n| n.checked_mul(stride));
        self.rows == 0
            || self.cols == 0
            || last(self.rows, self.row_stride)
                .zip(last(self.cols, self.col_stride))
                .and_then(|(row, col)| row.checked_add(col))
                .is_some_and(|at| at < len)
    }

    /// Row by row.
    fn rows(&self) -> Strided {
        Strided { at: self.values.as_ptr(), apart: self.row_stride, step: self.col_stride }
    }
}

/// Whether a product may use all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread.
    One,
    /// All threads of the pool.
    All,
}

/// `C = α·A·B` or `C += α·A·B`, C with rows `stride` apart, at `c`; `finish` is called with the rows and columns of
/// each part of C once it is complete, while it is in the cache.
///
/// # Safety
/// All of C lies within one allocation that nobody but `finish` uses meanwhile; it is initialised when `accumulate`.
pub(crate) unsafe fn product_finish(
    c: *mut f32,
    stride: usize,
    accumulate: bool,
    alpha: f32,
    a: View<'_>,
    b: View<'_>,
    threads: Threads,
    finish: &(impl Fn(Range<usize>, Range<usize>) + Sync),
) {
    assert_eq!(a.cols, b.rows, "inner dimensions");
    let (rows, cols, depth) = (a.rows, b.cols, a.cols);
    if rows == 0 || cols == 0 {
        return;
    }
    if depth == 0 {
        if !accumulate {
            for row in 0..rows {
                // SAFETY: a row of C.
                unsafe { c.add(row * stride).write_bytes(0, cols) };
            }
        }
        return finish(0..rows, 0..cols);
    }
    // Packed is what is smaller, where both can be read as they lie; else what has to be.
    let columns = b.row_stride == 1 && (a.col_stride != 1 || rows <= cols);
    let (lines, others, extent, lie) = if columns {
        (b.t().rows(), a.rows(), [cols, rows, depth], Lie::Columns)
    } else {
        (a.rows(), b.t().rows(), [rows, cols, depth], Lie::Rows)
    };
    let target = Target { at: c, stride, lie, accumulate, alpha };
    // SAFETY: views lie within their values, C by this function's contract.
    unsafe { Product { lines, others, extent, target, finish }.run(threads == Threads::All) }
}

/// [`product_finish`] with nothing to finish.
///
/// # Safety
/// As there.
pub(crate) unsafe fn product_at(
    c: *mut f32,
    stride: usize,
    accumulate: bool,
    alpha: f32,
    a: View<'_>,
    b: View<'_>,
    threads: Threads,
) {
    // SAFETY: by this function's contract.
    unsafe { product_finish(c, stride, accumulate, alpha, a, b, threads, &|_, _| {}) }
}

/// `C = α·A·B` into memory that need not be initialised; every element of C is.
///
/// # Panics
/// When C doesn't fit into `c` or the inner dimensions differ.
pub(crate) fn product_into(c: &mut [MaybeUninit<f32>], alpha: f32, a: View<'_>, b: View<'_>, threads: Threads) {
    assert_eq!(Some(c.len()), a.rows.checked_mul(b.cols), "c");
    // SAFETY: C is exactly `c`, borrowed mutably.
    unsafe { product_at(c.as_mut_ptr().cast(), b.cols, false, alpha, a, b, threads) }
}

/// `C = α·A·B`, or `C += α·A·B`, C being `[a.rows, b.cols]` without gaps.
///
/// # Panics
/// When C has another size or the inner dimensions differ.
pub fn product(c: &mut [f32], accumulate: bool, alpha: f32, a: View<'_>, b: View<'_>, threads: Threads) {
    assert_eq!(Some(c.len()), a.rows.checked_mul(b.cols), "c");
    // SAFETY: C is exactly `c`, borrowed mutably and initialised.
    unsafe { product_at(c.as_mut_ptr(), b.cols, accumulate, alpha, a, b, threads) }
}

/// `A·B`, `[a.rows, b.cols]`; zeros where the inner dimension is empty.
pub(crate) fn product_vec(a: View<'_>, b: View<'_>, threads: Threads) -> Vec<f32> {
    let len = a.rows.checked_mul(b.cols).expect("a product that fits into memory");
    if a.cols == 0 {
        return vec![0.0; len];
    }
    // SAFETY: `product_into` writes every element.
    unsafe { filled(len, |c| product_into(c, 1.0, a, b, threads)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_strides() {
        // a 2 × 3 matrix in rows of 4, and the transpose of one
        let a = [1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 2.0, 0.0, 1.0, 1.0];
        let (a, b) = (View::new(&a, 2, 3, 4), View::new(&b, 2, 3, 3).t());
        let mut c = [100.0; 4];
        product(&mut c, false, 1.0, a, b, Threads::One);
        assert_eq!(c, [7.0, 5.0, 16.0, 11.0]);
        product(&mut c, true, 2.0, a, b, Threads::All);
        assert_eq!(c, [21.0, 15.0, 48.0, 33.0]);
    }

    /// Against f64, all four ways that operands can lie; the same parts finished, each once.
    fn check(rows: usize, cols: usize, depth: usize) {
        let numbers = |len: usize, salt: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 7919 + salt * 31 + i / 13) % 101) as f32 / 50.0 - 1.0).collect()
        };
        let (a, b, before) = (numbers(rows * depth, 1), numbers(depth * cols, 2), numbers(rows * cols, 3));
        for (way, accumulate) in [(0, false), (1, true), (2, false), (3, true), (0, true), (3, false)] {
            let av =
                if way & 1 == 0 { View::new(&a, rows, depth, depth) } else { View::new(&a, depth, rows, rows).t() };
            let bv =
                if way & 2 == 0 { View::new(&b, cols, depth, depth).t() } else { View::new(&b, depth, cols, cols) };
            let alpha = if accumulate { 0.5 } else { 1.0 };
            let (mut c, finished) = (before.clone(), std::sync::Mutex::new(vec![0; rows * cols]));
            let finish = |some: Range<usize>, columns: Range<usize>| {
                let mut finished = finished.lock().unwrap();
                some.for_each(|row| columns.clone().for_each(|column| finished[row * cols + column] += 1));
            };
            let threads = if (rows + cols).is_multiple_of(2) { Threads::One } else { Threads::All };
            // SAFETY: C is exactly `c`.
            unsafe { product_finish(c.as_mut_ptr(), cols, accumulate, alpha, av, bv, threads, &finish) };
            assert!(finished.into_inner().unwrap().iter().all(|&times| times == 1));
            for (row, column) in (0..rows).flat_map(|row| (0..cols).map(move |column| (row, column))) {
                let at = |v: View<'_>, i: usize, j: usize| f64::from(v.values[i * v.row_stride + j * v.col_stride]);
                let terms = || (0..depth).map(|i| at(av, row, i) * at(bv, i, column));
                let (sum, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                let was = if accumulate { f64::from(before[row * cols + column]) } else { 0.0 };
                let (got, want) = (f64::from(c[row * cols + column]), f64::from(alpha) * sum + was);
                let close = (got - want).abs() <= 1e-5 * size + 1e-6;
                assert!(close, "{rows} × {depth} × {cols} way {way} at ({row}, {column}): {got} for {want}");
            }
        }
    }

    #[test]
    fn every_way_and_edge() {
        for level in crate::simd::Level::ALL {
            crate::simd::with_level(level, || {
                for (rows, cols, depth) in [
                    (1, 1, 1),
                    (3, 2, 0),
                    (7, 9, 5),
                    (8, 48, 16),
                    (9, 49, 17),
                    (16, 47, 8),
                    (17, 96, 9),
                    (64, 64, 64),
                    (65, 130, 33),
                    (130, 65, 100),
                    (31, 15, 1600),
                    (5, 100, 3100),
                ] {
                    check(rows, cols, depth);
                }
            });
        }
    }

    #[test]
    fn a_matrix_beyond_its_values_is_refused() {
        for (rows, cols, stride) in [(2, 4, 4), (1, 8, 0), (usize::MAX, 2, usize::MAX), (3, 1, usize::MAX / 2 + 1)] {
            assert!(std::panic::catch_unwind(|| View::new(&[0.0; 7], rows, cols, stride)).is_err(), "{rows} × {cols}");
        }
        View::new(&[], 0, 5, 5);
    }
}
