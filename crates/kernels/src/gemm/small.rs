//! Products so small that a library's packing and dispatch would take most of the time: short sequences in attention.
//! Rows of A by 16 columns of B, both read in place.

use super::View;
use crate::simd::{Level, level, multiversion};

/// Columns of a tile: one AVX-512 register.
const LANES: usize = 16;

type Lanes = [f32; LANES];

/// Multiplications beyond which the library is faster (measured; it starts to win between 48³ and 64³).
const MOST: usize = 64 * 64 * 48;

/// Fewer rows than this don't pay for a transpose of B.
const WORTH_TURNING: usize = 4;

fn is_small(a: &View<'_>, b_cols: usize) -> bool {
    a.cols > 0 && a.rows.saturating_mul(a.cols).saturating_mul(b_cols) <= MOST
}

/// Whether this module takes `A·B`.
pub(super) fn takes(a: &View<'_>, b: &View<'_>) -> bool {
    is_small(a, b.cols) && b.col_stride == 1 && b.cols.is_multiple_of(LANES)
}

/// Whether this module takes `A·Bᵀ`.
pub(super) fn takes_turned(a: &View<'_>, b: &View<'_>) -> bool {
    is_small(a, b.rows) && b.col_stride == 1 && a.rows >= WORTH_TURNING
}

/// C and what to do with it. Whoever makes one vouches that C may be written, `cols` wide, for all rows of A.
#[derive(Clone, Copy)]
struct Target {
    c: *mut f32,
    stride: usize,
    /// Columns; those of B beyond are padding.
    cols: usize,
    accumulate: bool,
    alpha: f32,
}

impl Target {
    /// Writes 16 columns of a row, or those that are left.
    ///
    /// # Safety
    /// The row is one of C's.
    #[inline(always)]
    unsafe fn put(self, row: usize, col: usize, sums: &Lanes) {
        // SAFETY: by the contracts of this function and of the type; an array of f32 lies wherever an f32 may.
        unsafe {
            let c = self.c.add(row * self.stride + col);
            if self.cols - col < LANES {
                for l in 0..self.cols - col {
                    let before = if self.accumulate { *c.add(l) } else { 0.0 };
                    *c.add(l) = sums[l].mul_add(self.alpha, before);
                }
                return;
            }
            let c = c.cast::<Lanes>();
            let mut values = if self.accumulate { *c } else { [0.0; LANES] };
            for l in 0..LANES {
                values[l] = sums[l].mul_add(self.alpha, values[l]);
            }
            *c = values;
        }
    }
}

/// Tiles of rows that are named one by one, so that their sums stay in registers.
macro_rules! tile {
    ($name:ident: $($sums:ident $row:literal),*) => {
        /// # Safety
        /// The tile's rows and columns lie within A, B and C.
        #[inline(always)]
        unsafe fn $name(a: View<'_>, b: View<'_>, row: usize, col: usize, target: Target) {
            $(let mut $sums: Lanes = [0.0; LANES];)*
            for k in 0..a.cols {
                // SAFETY: within B by the contract and the check in `View::new`.
                let y: &Lanes = unsafe { &*b.values.as_ptr().add(k * b.row_stride + col).cast() };
                $(
                    // SAFETY: within A, likewise.
                    let x = unsafe { *a.values.get_unchecked((row + $row) * a.row_stride + k * a.col_stride) };
                    for l in 0..LANES {
                        $sums[l] = y[l].mul_add(x, $sums[l]);
                    }
                )*
            }
            $(
                // SAFETY: by the contract.
                unsafe { target.put(row + $row, col, &$sums) };
            )*
        }
    };
}

tile!(tile1: s0 0);
tile!(tile2: s0 0, s1 1);
tile!(tile4: s0 0, s1 1, s2 2, s3 3);
tile!(tile8: s0 0, s1 1, s2 2, s3 3, s4 4, s5 5, s6 6, s7 7);

/// # Safety
/// All of C may be written, and is initialised when accumulating.
#[inline(always)]
unsafe fn run<const WIDE: bool>(a: View<'_>, b: View<'_>, target: Target) {
    for col in (0..b.cols).step_by(LANES) {
        let mut row = 0;
        while row < a.rows {
            // SAFETY: the rows fit as compared, the columns are a multiple of the lanes.
            row += unsafe {
                match a.rows - row {
                    8.. if WIDE => {
                        tile8(a, b, row, col, target);
                        8
                    }
                    4.. => {
                        tile4(a, b, row, col, target);
                        4
                    }
                    2.. => {
                        tile2(a, b, row, col, target);
                        2
                    }
                    _ => {
                        tile1(a, b, row, col, target);
                        1
                    }
                }
            };
        }
    }
}

multiversion! {
    /// With the 32 registers of AVX-512. C is `run`'s.
    fn wide(a: View<'_>, b: View<'_>, target: Target) {
        // SAFETY: the target vouches for C, and B has whole lanes of columns.
        unsafe { run::<true>(a, b, target) }
    }
}

multiversion! {
    /// With 16 registers of half the width. C is `run`'s.
    fn narrow(a: View<'_>, b: View<'_>, target: Target) {
        // SAFETY: as above.
        unsafe { run::<false>(a, b, target) }
    }
}

/// `C = α·A·B` or `C += α·A·B` for what [`takes`] accepts.
///
/// # Safety
/// As [`super::product_at`], which has also compared the sizes.
pub(super) unsafe fn product_at(
    c: *mut f32,
    stride: usize,
    accumulate: bool,
    alpha: f32,
    a: View<'_>,
    b: View<'_>,
) {
    run_at_level(
        a,
        b,
        Target {
            c,
            stride,
            cols: b.cols,
            accumulate,
            alpha,
        },
    );
}

/// `C = α·A·Bᵀ` without gaps for what [`takes_turned`] accepts; `scratch` holds Bᵀ meanwhile.
///
/// # Panics
/// When C has another size or the inner dimensions differ.
pub(super) fn product_turned(
    c: &mut [f32],
    alpha: f32,
    a: View<'_>,
    b: View<'_>,
    scratch: &mut Vec<f32>,
) {
    assert_eq!(a.cols, b.cols, "inner dimensions");
    assert_eq!(Some(c.len()), a.rows.checked_mul(b.rows), "c");
    let padded = b.rows.next_multiple_of(LANES);
    if scratch.len() < padded * b.cols {
        scratch.resize(padded * b.cols, 0.0);
    }
    let turned = &mut scratch[..padded * b.cols];
    transpose(b, padded, turned);
    let turned = View::new(turned, b.cols, padded, padded);
    let target = Target {
        c: c.as_mut_ptr(),
        stride: b.rows,
        cols: b.rows,
        accumulate: false,
        alpha,
    };
    run_at_level(a, turned, target);
}

fn run_at_level(a: View<'_>, b: View<'_>, target: Target) {
    if level() == Level::Avx512 {
        wide(a, b, target)
    } else {
        narrow(a, b, target)
    }
}

multiversion! {
    /// The transpose of a matrix with rows apart, without gaps, into `out`; rows are padded with zeros to `stride`.
    fn transpose(a: View<'_>, stride: usize, out: &mut [f32]) {
        let columns = a.values.chunks(a.row_stride.max(1)).take(a.rows);
        for (c, out) in out.chunks_exact_mut(stride).take(a.cols).enumerate() {
            for (out, row) in out.iter_mut().zip(columns.clone()) {
                *out = row[c];
            }
            out[a.rows..].fill(0.0);
        }
    }
}
