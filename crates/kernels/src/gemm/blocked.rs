//! A product in blocks that fit the caches (Goto and van de Geijn 2008): one operand is packed into panels some
//! registers wide, the other is read line by line where it lies, or packed block by block where its lines are columns.
//! Every element is one sum in the order of the inner dimension, cut at multiples of [`DEPTH`]: the result is the same
//! for any number of threads, and a row's doesn't depend on the rows beside it.

use std::ops::Range;

use rayon::prelude::*;

use super::pack::{Strided, pack, pack_beside};
use super::scratch::Scratch;
use super::tile::{LINES, Lines, Panel, Sums, tile};
use super::vector::{Four, Vector};
use crate::simd;

/// Elements of the inner dimension that are summed before the result is touched.
const DEPTH: usize = 1536;

/// Lines, and elements of them, that pass over all panels of a share while they stay in the second cache.
const BLOCK: (usize, usize) = (64, 1 << 16);

/// Elements that packed panels take at most at a time: 16 MiB.
const PACKED: usize = 4 << 20;

/// Up to so many lines, panels that can be read where they lie are not worth packing.
const IN_PLACE: usize = 2 * LINES;

/// Elements of an operand that doesn't stay in a core's caches.
const FAR: usize = 1 << 18;

/// Shares that each thread gets, so that none waits long for the slowest.
const SHARES: usize = 8;

/// Which way the lines run in the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lie {
    /// A line gives a row; panels hold columns.
    Rows,
    /// A line gives a column; panels hold rows.
    Columns,
}

/// The result, with rows `stride` apart: `α` times the product, added to what is there or in its place.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) at: *mut f32,
    pub(super) stride: usize,
    pub(super) lie: Lie,
    pub(super) accumulate: bool,
    pub(super) alpha: f32,
}

/// What is to be done: [`Product::run`] gives `finish` the rows and columns of the result that are complete, each
/// once, while they are in the cache.
pub(super) struct Product<'a, F> {
    /// The operand that is read element by element.
    pub(super) lines: Strided,
    /// The operand that is packed into panels.
    pub(super) others: Strided,
    /// How many lines, others and elements of each there are.
    pub(super) extent: [usize; 3],
    pub(super) target: Target,
    pub(super) finish: &'a F,
}

// SAFETY: operands are only read; shares write to parts of the target that are theirs.
unsafe impl<F: Sync> Sync for Product<'_, F> {}

/// A share of the work: these lines, these others, this part of the inner dimension.
struct Share {
    lines: Range<usize>,
    others: Range<usize>,
    depth: Range<usize>,
    /// Whether the result is complete after it.
    last: bool,
}

/// Panels of some others.
#[derive(Clone, Copy)]
struct Panels {
    at: *mut f32,
    /// The first of the others in it.
    first: usize,
}

// SAFETY: each panel is written by one task, and read after all are.
unsafe impl Send for Panels {}
// SAFETY: as above.
unsafe impl Sync for Panels {}

impl Panels {
    /// The panel that begins with this one of the others.
    unsafe fn of(self, other: usize, depth: usize) -> *mut f32 {
        // SAFETY: the caller has it packed there, or packs it.
        unsafe { self.at.add((other - self.first) * depth) }
    }
}

impl<F: Fn(Range<usize>, Range<usize>) + Sync> Product<'_, F> {
    /// Computes it, on all threads of the pool or on this one. None of the extents is 0.
    ///
    /// # Safety
    /// The operands have the extent and the target room for the result, which nobody else uses meanwhile.
    pub(super) unsafe fn run(&self, parallel: bool) {
        // SAFETY: the level in use never exceeds the processor's.
        unsafe {
            match simd::level() {
                #[cfg(target_arch = "x86_64")]
                simd::Level::Avx512 => self.run_at::<Avx512>(parallel),
                #[cfg(target_arch = "x86_64")]
                simd::Level::Avx2 => self.run_at::<Avx2>(parallel),
                _ => self.run_at::<Portable>(parallel),
            }
        }
    }

    /// # Safety
    /// As for [`Self::run`], and the processor has L's instructions.
    unsafe fn run_at<L: Level<F>>(&self, parallel: bool) {
        let [lines, others, depth] = self.extent;
        let threads = if parallel { rayon::current_num_threads() } else { 1 };
        let width = L::WIDTH;
        let deep = depth.min(DEPTH);
        let at_once = (PACKED / (deep * width)).max(1) * width;
        let in_place = lines <= IN_PLACE && self.others.apart == 1;
        let mut scratch = Scratch::new(if in_place { 0 } else { others.min(at_once).next_multiple_of(width) * deep });
        // lines that each share packs for itself are worth no more shares than it takes to be done together
        let packs = self.lines.step != 1;
        let shares = if packs { SHARES / 2 } else { SHARES } * threads;
        let most = (BLOCK.1 / deep / LINES * LINES).clamp(LINES, BLOCK.0);
        let even = lines.div_ceil(lines.div_ceil(most).next_multiple_of(threads)).next_multiple_of(LINES);
        let block = if packs { even } else { most };
        for first in (0..others).step_by(at_once) {
            let some = first..others.min(first + at_once);
            let panels = Panels { at: scratch.as_mut_ptr(), first };
            for start in (0..depth).step_by(DEPTH) {
                let part = start..depth.min(start + DEPTH);
                let count = some.len().div_ceil(width);
                if !in_place {
                    each(count, threads, |panel| {
                        let from = first + panel * width;
                        // SAFETY: the panel lies in the scratch memory and the others in their operand.
                        unsafe {
                            let others = self.others.from(from, part.start);
                            let to = panels.of(from, part.len());
                            L::pack(others, width.min(some.end - from), part.len(), to);
                        }
                    });
                }
                let blocks = lines.div_ceil(block);
                let groups = if threads == 1 { 1 } else { shares.div_ceil(blocks).min(count) };
                let group = count.div_ceil(groups) * width;
                each(blocks * groups, threads, |i| {
                    let (line, other) = (i / groups * block, first + i % groups * group);
                    let share = Share {
                        lines: line..lines.min(line + block),
                        others: other.min(some.end)..some.end.min(other + group),
                        depth: part.clone(),
                        last: part.end == depth,
                    };
                    // SAFETY: by this function's contract; the panels are packed.
                    unsafe { L::share(self, &share, (!in_place).then_some(panels)) };
                });
            }
        }
    }

    /// # Safety
    /// As for [`Product::run`]; the panels of the share are packed, or the others lie side by side.
    #[inline(always)]
    unsafe fn share<V: Vector>(&self, share: &Share, panels: Option<Panels>) {
        let Share { lines, others, depth, last } = share;
        let width = V::ACROSS * V::LANES;
        let deep = depth.len();
        // SAFETY: by this function's contract all of this lies within the operands.
        unsafe {
            // lines that are columns are packed, each eight together
            let packed = (self.lines.step != 1).then(|| {
                let mut scratch = Scratch::new(lines.len().next_multiple_of(LINES) * deep);
                assert_eq!(self.lines.apart, 1, "lines of a view lie side by side, or their elements do");
                let from = self.lines.from(lines.start, depth.start);
                pack_beside::<V>(from, lines.len(), deep, scratch.as_mut_ptr());
                scratch
            });
            let far = self.extent[0] * self.extent[2] > FAR;
            let tiles = |line: usize, ahead: bool| match &packed {
                Some(scratch) => {
                    let at = scratch.as_ptr().add((line - lines.start) * deep);
                    Lines { at: std::array::from_fn(|l| at.add(l)), step: LINES, ahead: None }
                }
                None => {
                    let at = |l: usize| self.lines.from((line + l).min(lines.end - 1), depth.start).at;
                    Lines { at: std::array::from_fn(at), step: 1, ahead: ahead.then_some(LINES * self.lines.apart) }
                }
            };
            let mut edge = None;
            let mut sums = Sums::new();
            for other in others.clone().step_by(width) {
                let count = width.min(others.end - other);
                let panel = match panels {
                    Some(panels) => Panel { at: panels.of(other, deep), step: width, depth: deep },
                    None if count == width => {
                        let at = self.others.from(other, depth.start);
                        Panel { at: at.at, step: at.step, depth: deep }
                    }
                    None => {
                        let scratch = edge.insert(Scratch::new(width * deep));
                        pack::<V>(self.others.from(other, depth.start), count, deep, scratch.as_mut_ptr(), width);
                        Panel { at: scratch.as_ptr(), step: width, depth: deep }
                    }
                };
                let across = count.div_ceil(V::LANES);
                // with the first panels lines come from memory: the next tile's are fetched in time
                let ahead = far && (other == others.start || self.extent[1] <= 2 * width);
                for line in lines.clone().step_by(LINES) {
                    tile::<V>(tiles(line, ahead), panel, across, &mut sums);
                    let part = [line..lines.end.min(line + LINES), other..other + count];
                    self.target.store::<V>(&sums, part, depth.start > 0);
                }
                if *last {
                    match self.target.lie {
                        Lie::Rows => (self.finish)(lines.clone(), other..other + count),
                        Lie::Columns => (self.finish)(other..other + count, lines.clone()),
                    }
                }
            }
        }
    }
}

/// Calls `f` with 0 to `count`, on one thread or on all.
fn each(count: usize, threads: usize, f: impl Fn(usize) + Send + Sync) {
    if threads == 1 || count == 1 {
        (0..count).for_each(f);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(f);
    }
}

impl Target {
    /// Takes the sums of a tile, lines and others in it.
    ///
    /// # Safety
    /// As for [`Product::run`].
    #[inline(always)]
    unsafe fn store<V: Vector>(&self, sums: &Sums, [lines, others]: [Range<usize>; 2], further: bool) {
        let plain = !(self.accumulate || further) && self.alpha == 1.0;
        // SAFETY: the part lies in the result.
        unsafe {
            match self.lie {
                Lie::Rows => {
                    for (l, line) in lines.enumerate() {
                        let to = self.at.add(line * self.stride + others.start);
                        self.row::<V>(sums.line(l).as_ptr(), to, others.len(), plain, further);
                    }
                }
                Lie::Columns if lines.len() == LINES => {
                    let to = self.at.add(others.start * self.stride + lines.start);
                    let whole = others.len() - others.len() % V::SQUARE;
                    for other in (0..whole).step_by(V::SQUARE) {
                        for line in (0..LINES).step_by(V::SQUARE) {
                            let from = sums.as_ptr().add(line * Sums::WIDTH + other);
                            if plain {
                                V::transpose(from, Sums::WIDTH, to.add(other * self.stride + line), self.stride);
                            } else {
                                let mut square = [0.0f32; 64];
                                V::transpose(from, Sums::WIDTH, square.as_mut_ptr(), V::SQUARE);
                                for i in 0..V::SQUARE {
                                    let from = square.as_ptr().add(i * V::SQUARE);
                                    let to = to.add((other + i) * self.stride + line);
                                    self.row::<V>(from, to, V::SQUARE, plain, further);
                                }
                            }
                        }
                    }
                    self.column(sums, [lines, others.start + whole..others.end], others.start, further);
                }
                Lie::Columns => self.column(sums, [lines, others.clone()], others.start, further),
            }
        }
    }

    /// A row of the result, from sums that lie side by side.
    #[inline(always)]
    unsafe fn row<V: Vector>(&self, from: *const f32, to: *mut f32, len: usize, plain: bool, further: bool) {
        // SAFETY: by the contract of `store`.
        unsafe {
            let alpha = V::splat(self.alpha);
            let mut i = 0;
            while i + V::LANES <= len {
                let (from, to) = (V::load(from.add(i)), to.add(i));
                if plain {
                    from.store(to);
                } else {
                    let was = if self.accumulate || further { V::load(to) } else { V::zero() };
                    from.mul_add(alpha, was).store(to);
                }
                i += V::LANES;
            }
            while i < len {
                self.element(*from.add(i), to.add(i), further);
                i += 1;
            }
        }
    }

    /// Element by element, where lines are columns.
    #[inline(always)]
    unsafe fn column(&self, sums: &Sums, [lines, others]: [Range<usize>; 2], first: usize, further: bool) {
        for other in others {
            for (l, line) in lines.clone().enumerate() {
                // SAFETY: by the contract of `store`.
                unsafe { self.element(sums.line(l)[other - first], self.at.add(other * self.stride + line), further) };
            }
        }
    }

    #[inline(always)]
    unsafe fn element(&self, sum: f32, to: *mut f32, further: bool) {
        // SAFETY: by the contract of `store`.
        unsafe { *to = if self.accumulate || further { self.alpha * sum + *to } else { self.alpha * sum } };
    }
}

/// The two innermost steps, compiled for one instruction set.
trait Level<F> {
    /// Others in a panel.
    const WIDTH: usize;

    /// Packs a panel.
    ///
    /// # Safety
    /// As for [`pack`].
    unsafe fn pack(others: Strided, count: usize, depth: usize, to: *mut f32);

    /// Computes a share.
    ///
    /// # Safety
    /// As for [`Product::share`].
    unsafe fn share(product: &Product<'_, F>, share: &Share, panels: Option<Panels>);
}

macro_rules! level {
    ($name:ident, $vector:ty, $($features:literal)?) => {
        struct $name;

        impl<F: Fn(Range<usize>, Range<usize>) + Sync> Level<F> for $name {
            const WIDTH: usize = <$vector>::ACROSS * <$vector>::LANES;

            unsafe fn pack(others: Strided, count: usize, depth: usize, to: *mut f32) {
                $(#[target_feature(enable = $features)])?
                unsafe fn compiled(others: Strided, count: usize, depth: usize, to: *mut f32) {
                    // SAFETY: by the trait's contract.
                    unsafe { pack::<$vector>(others, count, depth, to, <$vector>::ACROSS * <$vector>::LANES) }
                }
                // SAFETY: by the trait's contract.
                unsafe { compiled(others, count, depth, to) }
            }

            unsafe fn share(product: &Product<'_, F>, share: &Share, panels: Option<Panels>) {
                $(#[target_feature(enable = $features)])?
                unsafe fn compiled<F: Fn(Range<usize>, Range<usize>) + Sync>(
                    product: &Product<'_, F>,
                    share: &Share,
                    panels: Option<Panels>,
                ) {
                    // SAFETY: by the trait's contract.
                    unsafe { product.share::<$vector>(share, panels) }
                }
                // SAFETY: by the trait's contract.
                unsafe { compiled(product, share, panels) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
level!(Avx512, std::arch::x86_64::__m512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma");
#[cfg(target_arch = "x86_64")]
level!(Avx2, std::arch::x86_64::__m256, "avx2,fma");
level!(Portable, Four,);
