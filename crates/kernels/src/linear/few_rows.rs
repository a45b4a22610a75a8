//! `x·Wᵀ` for a few rows: both operands are read along their rows, so that the weight comes from memory once, from its
//! first number to its last, and nothing is packed. Up to four rows meet one row of the weight after the other, at the
//! speed of memory, while they stay in the first cache; other rows meet three or four at a time. Each element is one
//! sum in a fixed order, however it is computed.

use std::array::from_fn;
use std::ops::Range;

use rayon::prelude::*;

use super::LinearDims;
use crate::buffer::{SMALL, Shared};
use crate::gemm::vector::{Four, LANES, Lanes, Vector};
use crate::simd::{Level, level};

/// How far ahead of its reading one row of the weight asks for memory, in numbers.
const AHEAD: usize = 4096;

/// `R` rows of x, from `row` on, against `N` of the weight, from `column` on.
///
/// # Safety
/// The processor has V's instructions; the rows are rows of x and of the panel, which nobody else computes.
#[inline(always)]
unsafe fn tile<V: Vector, const COUNT: usize, const R: usize, const N: usize>(
    panel: Panel<'_>,
    y: Shared,
    row: usize,
    column: usize,
) {
    let LinearDims { inputs, outputs, .. } = panel.dims;
    // SAFETY: by this function's contract all of this lies within x, the panel and y.
    unsafe {
        let x: [_; R] = from_fn(|r| panel.x.as_ptr().add((row + r) * inputs));
        let w: [_; N] = from_fn(|n| panel.w.as_ptr().add((column + n) * inputs));
        let mut sums = [[Lanes::<V, COUNT>::zero(); N]; R];
        let whole = inputs - inputs % LANES;
        for i in (0..whole).step_by(LANES) {
            // one row alone is read fastest as the processor itself looks ahead
            if N == 1 && R > 1 {
                V::prefetch_far(w[0].wrapping_add(i + AHEAD));
            }
            // the rows that come next, one after the other as they lie in memory: that is how it is read fastest
            for line in 0..if N == 1 { 0 } else { N } {
                V::prefetch_far(w[0].wrapping_add(N * inputs + N * i + line * LANES));
            }
            let w: [_; N] = from_fn(|n| Lanes::load(w[n].add(i)));
            for r in 0..R {
                let x = Lanes::load(x[r].add(i));
                for n in 0..N {
                    sums[r][n] = x.mul_add(w[n], sums[r][n]);
                }
            }
        }
        if whole < inputs {
            let w: [_; N] = from_fn(|n| Lanes::part(w[n].add(whole), inputs - whole));
            for r in 0..R {
                let x = Lanes::part(x[r].add(whole), inputs - whole);
                for n in 0..N {
                    sums[r][n] = x.mul_add(w[n], sums[r][n]);
                }
            }
        }
        for n in 0..N {
            for first in (0..R).step_by(4) {
                let values = V::sums(from_fn(|r| sums[(first + r).min(R - 1)][n].fold()));
                for r in first..R.min(first + 4) {
                    y.unwritten((row + r) * outputs + panel.first + column + n, 1)[0].write(values[r - first]);
                }
            }
        }
    }
}

/// A panel of weight rows, which gives the output columns from `first` on.
#[derive(Clone, Copy)]
struct Panel<'a> {
    x: &'a [f32],
    w: &'a [f32],
    dims: LinearDims,
    first: usize,
}

/// All of a panel, `N` of its rows at a time, in tiles of `R` rows of x; at the ends the last tiles begin earlier rather
/// than being smaller (what is computed twice is the same).
///
/// # Safety
/// The processor has V's instructions, x has `R` rows, and nobody else computes the panel.
#[inline(always)]
unsafe fn tiles<V: Vector, const COUNT: usize, const R: usize, const N: usize>(panel: Panel<'_>, y: Shared) {
    let LinearDims { rows, inputs, .. } = panel.dims;
    let columns = panel.w.len() / inputs;
    // SAFETY: by this function's contract.
    unsafe {
        if columns < N {
            for (column, row) in (0..columns).flat_map(|column| (0..rows).map(move |row| (column, row))) {
                tile::<V, COUNT, 1, 1>(panel, y, row, column);
            }
            return;
        }
        for column in (0..columns).step_by(N) {
            for row in (0..rows).step_by(R) {
                tile::<V, COUNT, R, N>(panel, y, row.min(rows - R), column.min(columns - N));
            }
        }
    }
}

/// Numbers of x that stay in the first cache beside what passes of the weight.
const NEAR: usize = 1 << 12;

/// Up to four rows of x against one row of the weight after the other.
///
/// # Safety
/// As for [`tiles`], with one to four rows in x.
#[inline(always)]
unsafe fn lines<V: Vector, const COUNT: usize>(panel: Panel<'_>, y: Shared) {
    // SAFETY: by this function's contract.
    unsafe {
        match panel.dims.rows {
            1 => tiles::<V, COUNT, 1, 1>(panel, y),
            2 => tiles::<V, COUNT, 2, 1>(panel, y),
            3 => tiles::<V, COUNT, 3, 1>(panel, y),
            _ => tiles::<V, COUNT, 4, 1>(panel, y),
        }
    }
}

/// With the 32 registers of AVX-512.
///
/// # Safety
/// As for [`tiles`], with rows in x.
#[inline(always)]
unsafe fn wide<V: Vector, const COUNT: usize>(panel: Panel<'_>, y: Shared) {
    let rows = panel.dims.rows;
    // SAFETY: by this function's contract.
    unsafe {
        match rows {
            1..=4 if rows == 1 || panel.x.len() <= NEAR => lines::<V, COUNT>(panel, y),
            2 => tiles::<V, COUNT, 2, 4>(panel, y),
            3 => tiles::<V, COUNT, 3, 4>(panel, y),
            4 => tiles::<V, COUNT, 4, 4>(panel, y),
            // sums in nearly all registers, so that rows of x are read less often
            _ => match rows.div_ceil(rows.div_ceil(8)) {
                5 => tiles::<V, COUNT, 5, 3>(panel, y),
                6 => tiles::<V, COUNT, 6, 3>(panel, y),
                7 => tiles::<V, COUNT, 7, 3>(panel, y),
                _ => tiles::<V, COUNT, 8, 3>(panel, y),
            },
        }
    }
}

/// With 16 registers of half the width or less.
///
/// # Safety
/// As for [`wide`].
#[inline(always)]
unsafe fn narrow<V: Vector, const COUNT: usize>(panel: Panel<'_>, y: Shared) {
    // SAFETY: by this function's contract.
    unsafe {
        match panel.dims.rows {
            1..=4 => lines::<V, COUNT>(panel, y),
            _ => tiles::<V, COUNT, 1, 4>(panel, y),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512(panel: Panel<'_>, y: Shared) {
    // SAFETY: by the contract of `wide`.
    unsafe { wide::<std::arch::x86_64::__m512, 1>(panel, y) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(panel: Panel<'_>, y: Shared) {
    // SAFETY: by the contract of `narrow`.
    unsafe { narrow::<std::arch::x86_64::__m256, 2>(panel, y) }
}

/// `y = x·Wᵀ` for rows and inputs that are not empty; `finish` is called with the rows and columns of each part that is
/// done.
pub(super) fn product(
    y: Shared,
    x: &[f32],
    weight: &[f32],
    dims: LinearDims,
    finish: &(impl Fn(Range<usize>, Range<usize>) + Sync),
) {
    let LinearDims { rows, inputs, outputs } = dims;
    assert!(rows > 0 && inputs > 0, "an empty linear layer");
    assert!(x.len() == rows * inputs && weight.len() == outputs * inputs, "linear layer");
    let share =
        if weight.len() * rows <= 2 * SMALL { outputs } else { (2 * SMALL / inputs).next_multiple_of(12).max(12) };
    let run = |(i, w): (usize, &[f32])| {
        let panel = Panel { x, w, dims, first: i * share };
        // SAFETY: the level in use never exceeds the processor's; no other task has this panel.
        unsafe {
            match level() {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => avx512(panel, y),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => avx2(panel, y),
                _ => narrow::<Four, 4>(panel, y),
            }
        }
        finish(0..rows, panel.first..panel.first + w.len() / inputs);
    };
    if share >= outputs {
        weight.chunks(weight.len().max(1)).enumerate().for_each(run);
    } else {
        // to the last share all threads find work
        weight.par_chunks(share * inputs).enumerate().with_max_len(1).for_each(run);
    }
}
