//! Operands laid out as tiles read them.

use super::tile::{LINE, LINES};
use super::vector::Vector;

/// Lines of an operand: element i of line l is at `at[l·apart + i·step]`. One of the two distances is usually 1.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    pub(super) at: *const f32,
    pub(super) apart: usize,
    pub(super) step: usize,
}

// SAFETY: only read, from memory that a `View` borrows.
unsafe impl Send for Strided {}
// SAFETY: as above.
unsafe impl Sync for Strided {}

impl Strided {
    /// From line `line` and element `element` on.
    pub(super) unsafe fn from(self, line: usize, element: usize) -> Self {
        // SAFETY: the caller stays within the operand.
        Self { at: unsafe { self.at.add(line * self.apart + element * self.step) }, ..self }
    }
}

/// Writes element i of `count` lines next to each other at `to[i·width]`, for `depth` elements; zeros up to `width`.
///
/// # Safety
/// The processor has V's instructions; the lines can be read, `to` written.
#[inline(always)]
pub(super) unsafe fn pack<V: Vector>(lines: Strided, count: usize, depth: usize, to: *mut f32, width: usize) {
    let Strided { at, apart, step } = lines;
    // SAFETY: by this function's contract.
    unsafe {
        if count < width {
            for i in 0..depth {
                to.add(i * width + count).write_bytes(0, width - count);
            }
        }
        if apart == 1 {
            for i in 0..depth {
                copy::<V>(at.add(i * step), to.add(i * width), count);
            }
            return;
        }
        let (mut whole, mut deep) = (0, 0);
        if step == 1 {
            (whole, deep) = (count - count % V::SQUARE, depth - depth % V::SQUARE);
            for line in (0..whole).step_by(V::SQUARE) {
                for i in (0..deep).step_by(V::SQUARE) {
                    V::transpose(at.add(line * apart + i), apart, to.add(i * width + line), width);
                }
            }
        }
        for line in 0..count {
            for i in if line < whole { deep } else { 0 }..depth {
                *to.add(i * width + line) = *at.add(line * apart + i * step);
            }
        }
    }
}

/// [`pack`] for many lines that lie side by side, [`LINES`] wide: each group of them at `to[group·depth·LINES]`. All of
/// an element's lines are read at once, since the next element may lie a page away.
///
/// # Safety
/// As there; `lines.apart` is 1.
#[inline(always)]
pub(super) unsafe fn pack_beside<V: Vector>(lines: Strided, count: usize, depth: usize, to: *mut f32) {
    /// Elements that are fetched ahead.
    const AHEAD: usize = 12;
    let whole = count - count % LINES;
    // SAFETY: by this function's contract; what is fetched ahead is not read.
    unsafe {
        for i in 0..depth {
            let from = lines.at.add(i * lines.step);
            for line in (0..count).step_by(LINE) {
                V::prefetch(from.wrapping_add(AHEAD * lines.step + line));
            }
            for line in (0..whole).step_by(LINES) {
                let eight = from.add(line).cast::<[f32; LINES]>().read_unaligned();
                to.add(line * depth + i * LINES).cast::<[f32; LINES]>().write_unaligned(eight);
            }
        }
        if whole < count {
            let rest = Strided { at: lines.at.add(whole), ..lines };
            pack::<V>(rest, count - whole, depth, to.add(whole * depth), LINES);
        }
    }
}

#[inline(always)]
unsafe fn copy<V: Vector>(from: *const f32, to: *mut f32, count: usize) {
    // SAFETY: by the contract of `pack`.
    unsafe {
        let mut i = 0;
        while i + V::LANES <= count {
            V::load(from.add(i)).store(to.add(i));
            i += V::LANES;
        }
        while i < count {
            *to.add(i) = *from.add(i);
            i += 1;
        }
    }
}
