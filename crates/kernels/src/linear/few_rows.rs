//! `x·Wᵀ` for a few rows: both operands are read along their rows, so that the weight comes from memory once, from its
//! first number to its last, and nothing is packed. Up to four rows meet one row of the weight after the other, at the
//! speed of memory; more rows meet four at a time. Each element is one sum in a fixed order, however it is computed.

use std::ops::Range;

use rayon::prelude::*;

use super::LinearDims;
use crate::buffer::{SMALL, Shared};
use crate::simd::{Level, level, multiversion};

/// Products are summed in this many lanes: one AVX-512 register.
const LANES: usize = 16;

type Lanes = [f32; LANES];

/// Adds the lanes by halves.
#[inline(always)]
fn fold(mut lanes: Lanes) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Asks for `LINES` lines of memory from `from` on, which may be beyond the weight.
#[inline(always)]
fn prefetch<const LINES: usize>(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..LINES {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: asking for memory touches none, whatever the address; SSE is part of the target.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line * LANES).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

#[inline(always)]
fn add_products(sums: &mut Lanes, x: &Lanes, w: &Lanes) {
    for l in 0..LANES {
        sums[l] = x[l].mul_add(w[l], sums[l]);
    }
}

/// The same for what is left of a row, in the first lanes.
#[inline(always)]
fn add_rest(sums: &mut Lanes, x: &[f32], w: &[f32]) {
    for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
        *sum = x.mul_add(*w, *sum);
    }
}

/// One row of x against four of the weight. Named fields, not an array: these must stay in registers.
struct Quad {
    a: Lanes,
    b: Lanes,
    c: Lanes,
    d: Lanes,
}

/// Four weight rows.
#[derive(Clone, Copy)]
struct Weights<'a> {
    chunks: [&'a [Lanes]; 4],
    rest: [&'a [f32]; 4],
}

impl<'a> Weights<'a> {
    #[inline(always)]
    fn new(w: &'a [f32], inputs: usize) -> Self {
        let (mut chunks, mut rest) = ([&[] as &[Lanes]; 4], [&[] as &[f32]; 4]);
        for (i, row) in w.chunks_exact(inputs).take(4).enumerate() {
            (chunks[i], rest[i]) = row.as_chunks();
        }
        Self { chunks, rest }
    }

    /// Fewer than four, the last one repeated.
    #[inline(always)]
    fn repeated(w: &'a [f32], inputs: usize) -> Self {
        let mut all = Self::new(w, inputs);
        for i in w.len() / inputs..4 {
            (all.chunks[i], all.rest[i]) = (all.chunks[i - 1], all.rest[i - 1]);
        }
        all
    }
}

impl Quad {
    #[inline(always)]
    fn new() -> Self {
        Self { a: [0.0; LANES], b: [0.0; LANES], c: [0.0; LANES], d: [0.0; LANES] }
    }

    #[inline(always)]
    fn add(&mut self, x: &Lanes, w: [&Lanes; 4]) {
        add_products(&mut self.a, x, w[0]);
        add_products(&mut self.b, x, w[1]);
        add_products(&mut self.c, x, w[2]);
        add_products(&mut self.d, x, w[3]);
    }

    #[inline(always)]
    fn finish(mut self, x: &[f32], w: Weights<'_>) -> [f32; 4] {
        add_rest(&mut self.a, x, w.rest[0]);
        add_rest(&mut self.b, x, w.rest[1]);
        add_rest(&mut self.c, x, w.rest[2]);
        add_rest(&mut self.d, x, w.rest[3]);
        [fold(self.a), fold(self.b), fold(self.c), fold(self.d)]
    }
}

/// Tiles of some rows of x, named one by one, against four weight rows.
macro_rules! tile {
    ($name:ident: $($x:ident $rest:ident $sums:ident $row:literal),*) => {
        #[inline(always)]
        fn $name(x: &[f32], inputs: usize, w: Weights<'_>, put: impl Fn(usize, [f32; 4])) {
            let count = inputs / LANES;
            let [w0, w1, w2, w3] = w.chunks;
            let next = w.chunks[0].as_ptr().cast::<f32>().wrapping_add(4 * inputs);
            // equal lengths, known before the loop
            let (w0, w1, w2, w3) = (&w0[..count], &w1[..count], &w2[..count], &w3[..count]);
            $(
                let ($x, $rest) = x[$row * inputs..($row + 1) * inputs].as_chunks::<LANES>();
                let $x = &$x[..count];
                let mut $sums = Quad::new();
            )*
            for i in 0..count {
                // the four rows that come next, one after the other as they lie in memory: that is how it is read fastest
                prefetch::<4>(next.wrapping_add(4 * LANES * i));
                $($sums.add(&$x[i], [&w0[i], &w1[i], &w2[i], &w3[i]]);)*
            }
            $(put($row, $sums.finish($rest, w));)*
        }
    };
}

tile!(tile1: x0 r0 s0 0);
tile!(tile2: x0 r0 s0 0, x1 r1 s1 1);
tile!(tile3: x0 r0 s0 0, x1 r1 s1 1, x2 r2 s2 2);
tile!(tile4: x0 r0 s0 0, x1 r1 s1 1, x2 r2 s2 2, x3 r3 s3 3);

/// How far ahead of its reading a row of the weight asks for memory, in numbers.
const AHEAD: usize = 1024;

/// One row of x against one of the weight.
#[inline(always)]
fn line1(x: &[f32], w: &[f32]) -> f32 {
    let ((w, w_rest), (x, x_rest)) = (w.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    let x = &x[..w.len()];
    let mut sums = [0.0; LANES];
    for i in 0..w.len() {
        prefetch::<1>(w[i].as_ptr().wrapping_add(AHEAD));
        add_products(&mut sums, &x[i], &w[i]);
    }
    add_rest(&mut sums, x_rest, w_rest);
    fold(sums)
}

/// Four rows of x against one of the weight: the tile of one row, the other way round.
#[inline(always)]
fn line4(x: Weights<'_>, w: &[f32]) -> [f32; 4] {
    let (w, w_rest) = w.as_chunks::<LANES>();
    let count = w.len();
    let [x0, x1, x2, x3] = x.chunks;
    let (x0, x1, x2, x3) = (&x0[..count], &x1[..count], &x2[..count], &x3[..count]);
    let mut sums = Quad::new();
    for i in 0..count {
        prefetch::<1>(w[i].as_ptr().wrapping_add(AHEAD));
        sums.add(&w[i], [&x0[i], &x1[i], &x2[i], &x3[i]]);
    }
    sums.finish(w_rest, x)
}

/// All of a panel for at most four rows of x.
#[inline(always)]
fn lines(panel: Panel<'_>, y: Shared) {
    let LinearDims { rows, inputs, outputs } = panel.dims;
    let put = |row: usize, column: usize, value: f32| {
        // SAFETY: the row is one of x, the column is this panel's, which no other task has.
        unsafe { y.unwritten(row * outputs + panel.first + column, 1)[0].write(value) };
    };
    if rows == 1 {
        for (column, w) in panel.w.chunks_exact(inputs).enumerate() {
            put(0, column, line1(panel.x, w));
        }
        return;
    }
    let x = Weights::repeated(panel.x, inputs);
    for (column, w) in panel.w.chunks_exact(inputs).enumerate() {
        let values = line4(x, w);
        for row in 0..rows {
            put(row, column, values[row]);
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

/// All of a panel, in tiles of at most `R` rows of x.
#[inline(always)]
fn run<const R: usize>(panel: Panel<'_>, y: Shared) {
    let LinearDims { rows, inputs, outputs } = panel.dims;
    let columns = panel.w.len() / inputs;
    for column in (0..columns).step_by(4) {
        // at the end fewer rows, then again those before: what is computed twice is the same
        let column = if columns >= 4 { column.min(columns - 4) } else { 0 };
        let wide = columns.min(4);
        let w = &panel.w[column * inputs..(column + wide) * inputs];
        let w = if wide == 4 { Weights::new(w, inputs) } else { Weights::repeated(w, inputs) };
        let mut row = 0;
        while row < rows {
            let put = |r: usize, values: [f32; 4]| {
                let at = (row + r) * outputs + panel.first + column;
                // SAFETY: the row is one of x, the columns are this panel's, which no other task has.
                unsafe { y.unwritten(at, wide).write_copy_of_slice(&values[..wide]) };
            };
            let x = &panel.x[row * inputs..];
            match (rows - row).min(R) {
                1 => tile1(x, inputs, w, put),
                2 => tile2(x, inputs, w, put),
                3 => tile3(x, inputs, w, put),
                _ => tile4(x, inputs, w, put),
            }
            row += (rows - row).min(R);
        }
    }
}

multiversion! {
    /// With the 32 registers of AVX-512.
    fn wide(panel: Panel<'_>, y: Shared) {
        if panel.dims.rows <= 4 { lines(panel, y) } else { run::<4>(panel, y) }
    }
}

multiversion! {
    /// With 16 registers of half the width.
    fn narrow(panel: Panel<'_>, y: Shared) {
        if panel.dims.rows <= 4 { lines(panel, y) } else { run::<1>(panel, y) }
    }
}

/// `y = x·Wᵀ` for inputs that are not empty; `finish` is called with the rows and columns of each part that is done.
pub(super) fn product(
    y: Shared,
    x: &[f32],
    weight: &[f32],
    dims: LinearDims,
    finish: &(impl Fn(Range<usize>, Range<usize>) + Sync),
) {
    let LinearDims { rows, inputs, outputs } = dims;
    assert!(inputs > 0 && x.len() == rows * inputs && weight.len() == outputs * inputs, "linear layer");
    let panel = if level() == Level::Avx512 { wide } else { narrow };
    let share =
        if weight.len() * rows <= 2 * SMALL { outputs } else { (2 * SMALL / inputs).next_multiple_of(4).max(4) };
    let run = |(i, w): (usize, &[f32])| {
        let first = i * share;
        panel(Panel { x, w, dims, first }, y);
        finish(0..rows, first..first + w.len() / inputs);
    };
    if share >= outputs {
        weight.chunks(weight.len().max(1)).enumerate().for_each(run);
    } else {
        // to the last share all threads find work
        weight.par_chunks(share * inputs).enumerate().with_max_len(1).for_each(run);
    }
}
