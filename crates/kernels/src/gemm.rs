//! `C = α·A·B (+ C)` in f32 with any strides, over `faer`. Packed bf16, int8 and int4 products will be modules
//! beside this one.

use std::mem::MaybeUninit;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

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

    fn faer(&self) -> MatRef<'a, f32> {
        let (rs, cs) = (self.row_stride as isize, self.col_stride as isize);
        // SAFETY: `new` checked that every element lies within `values`, which `'a` keeps alive.
        unsafe { MatRef::from_raw_parts(self.values.as_ptr(), self.rows, self.cols, rs, cs) }
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

impl Threads {
    fn faer(self) -> Par {
        match self {
            Self::One => Par::Seq,
            Self::All => Par::rayon(0),
        }
    }
}

/// `C = α·A·B` or `C += α·A·B`, C with rows `stride` apart, at `c`.
///
/// # Safety
/// All of C lies within one allocation that nobody else uses meanwhile; it is initialised when `accumulate`.
pub(crate) unsafe fn product_at(
    c: *mut f32,
    stride: usize,
    accumulate: bool,
    alpha: f32,
    a: View<'_>,
    b: View<'_>,
    threads: Threads,
) {
    assert_eq!(a.cols, b.rows, "inner dimensions");
    if a.rows == 0 || b.cols == 0 {
        return;
    }
    // SAFETY: by this function's contract; without accumulation faer only writes.
    let c = unsafe { MatMut::from_raw_parts_mut(c, a.rows, b.cols, stride as isize, 1) };
    let mode = if accumulate { Accum::Add } else { Accum::Replace };
    matmul(c, mode, a.faer(), b.faer(), alpha, threads.faer());
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

    #[test]
    fn a_matrix_beyond_its_values_is_refused() {
        for (rows, cols, stride) in [(2, 4, 4), (1, 8, 0), (usize::MAX, 2, usize::MAX), (3, 1, usize::MAX / 2 + 1)] {
            assert!(std::panic::catch_unwind(|| View::new(&[0.0; 7], rows, cols, stride)).is_err(), "{rows} × {cols}");
        }
        View::new(&[], 0, 5, 5);
    }
}
