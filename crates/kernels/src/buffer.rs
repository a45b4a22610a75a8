//! Results without a first pass of zeros, and how rows are dealt out to threads.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

/// A vector of `len` elements that `fill` writes.
///
/// # Safety
/// `fill` writes every element of its slice.
pub(crate) unsafe fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is there, and by this function's contract every element was written.
    unsafe { values.set_len(len) };
    values
}

/// Work smaller than this many elements stays on the calling thread: handing it out costs more.
pub(crate) const SMALL: usize = 1 << 14;

/// Rows a task takes when rows have `width` elements. Depends on the width alone, so that sums over blocks of rows
/// come out the same on any number of threads.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (SMALL / width.max(1)).max(1)
}

/// Calls `f` for ranges that together are `0..rows`, in parallel when rows of `width` elements are enough to do.
pub(crate) fn for_row_ranges(rows: usize, width: usize, f: impl Fn(Range<usize>) + Sync) {
    if rows.saturating_mul(width) <= SMALL {
        return f(0..rows);
    }
    let block = rows_per_task(width);
    (0..rows.div_ceil(block)).into_par_iter().for_each(|i| f(i * block..rows.min((i + 1) * block)));
}

/// Calls `f(first_row, block)` for blocks of rows of `out`, in parallel when there is enough to do.
pub(crate) fn for_row_blocks<T: Send>(out: &mut [T], width: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if out.is_empty() {
        return;
    }
    if out.len() <= SMALL {
        return f(0, out);
    }
    let rows = rows_per_task(width);
    out.par_chunks_mut(rows * width).enumerate().for_each(|(i, block)| f(i * rows, block));
}

/// Sums `f(rows, partial)` over blocks of rows: every block adds into a partial row of its own, and partial rows
/// are added in order.
pub(crate) fn sum_over_rows(rows: usize, width: usize, f: impl Fn(Range<usize>, &mut [f32]) + Sync) -> Vec<f32> {
    const BLOCK: usize = 128;
    let block = |i: usize| {
        let mut partial = vec![0.0; width];
        f(i * BLOCK..rows.min((i + 1) * BLOCK), &mut partial);
        partial
    };
    let blocks = rows.div_ceil(BLOCK);
    let partials: Vec<Vec<f32>> = if rows * width <= SMALL {
        (0..blocks).map(block).collect()
    } else {
        (0..blocks).into_par_iter().map(block).collect()
    };
    let mut partials = partials.into_iter();
    let mut sum = partials.next().unwrap_or_else(|| vec![0.0; width]);
    for partial in partials {
        crate::math::add_assign(&mut sum, &partial);
    }
    sum
}

/// A pointer that tasks writing to different places of one buffer share.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32);

// SAFETY: whoever makes a slice of it promises that no other task touches the same elements.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(buffer: *mut f32) -> Self {
        Self(buffer)
    }

    /// The address of element `at`.
    ///
    /// # Safety
    /// `at` is within the buffer.
    pub(crate) unsafe fn at(self, at: usize) -> *mut f32 {
        // SAFETY: by this function's contract.
        unsafe { self.0.add(at) }
    }

    /// The elements from `at`.
    ///
    /// # Safety
    /// They are within the buffer and initialised, and nobody else holds any of them.
    pub(crate) unsafe fn slice<'a>(self, at: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at), len) }
    }

    /// The elements from `at`, written or not.
    ///
    /// # Safety
    /// They are within the buffer, and nobody else holds any of them.
    pub(crate) unsafe fn unwritten<'a>(self, at: usize, len: usize) -> &'a mut [MaybeUninit<f32>] {
        // SAFETY: by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at).cast(), len) }
    }
}
