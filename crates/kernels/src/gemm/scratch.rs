//! Memory for packed operands, kept by each thread between products.

use std::cell::Cell;

/// A cache line, so that panels begin at one.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read and written through pointers")] [f32; Scratch::LINE]);

/// Memory that begins at a cache line; its former contents are left in it.
pub(super) struct Scratch(Vec<Line>);

thread_local! {
    static KEPT: Cell<[Vec<Line>; 2]> = const { Cell::new([Vec::new(), Vec::new()]) };
}

impl Scratch {
    const LINE: usize = 16;
    /// What a thread keeps at most, in each of two places: 16 MiB.
    const KEEP: usize = (16 << 20) / size_of::<Line>();

    /// Room for `len` elements, from what this thread kept when it has any.
    pub(super) fn new(len: usize) -> Self {
        let mut kept = KEPT.take();
        let mut lines = std::mem::take(&mut kept[0]);
        kept.swap(0, 1);
        KEPT.set(kept);
        let count = len.div_ceil(Self::LINE);
        if lines.len() < count {
            lines.resize(count, Line([0.0; Self::LINE]));
        }
        Self(lines)
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.0.as_ptr().cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0);
        if lines.len() > Self::KEEP {
            return;
        }
        let mut kept = KEPT.take();
        kept.swap(0, 1);
        if kept[0].len() < lines.len() {
            kept[0] = lines;
        }
        KEPT.set(kept);
    }
}
