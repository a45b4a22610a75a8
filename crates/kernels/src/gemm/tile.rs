//! The innermost loops of a product: [`LINES`] lines of one operand, element by element, against a packed panel of the
//! other, with the sums in registers.

use super::vector::Vector;

/// Lines that a tile takes.
pub(super) const LINES: usize = 8;

/// Elements in a line of the cache.
pub(super) const LINE: usize = 16;

/// Room for the sums of the widest tile, line by line.
#[repr(align(64))]
pub(super) struct Sums([f32; LINES * Sums::WIDTH]);

impl Sums {
    /// The distance between lines.
    pub(super) const WIDTH: usize = 48;

    pub(super) fn new() -> Self {
        Self([0.0; LINES * Self::WIDTH])
    }

    pub(super) fn line(&self, line: usize) -> &[f32; Self::WIDTH] {
        self.0[line * Self::WIDTH..].first_chunk().expect("a line")
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.0.as_ptr()
    }
}

/// Where a tile reads its lines: element i of line l is at `line[l] + i·step`.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    pub(super) at: [*const f32; LINES],
    pub(super) step: usize,
    /// How far ahead of them lines lie that are to be brought from memory meanwhile.
    pub(super) ahead: Option<usize>,
}

/// A part of a panel: `depth` lines of some registers, `step` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub(super) at: *const f32,
    pub(super) step: usize,
    pub(super) depth: usize,
}

/// Writes `Σᵢ line[l][i] · panel[i]` to line l of `sums`, for a panel of `across` registers.
///
/// # Safety
/// The processor has V's instructions; all lines and the panel can be read to their depth.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector>(lines: Lines, panel: Panel, across: usize, sums: &mut Sums) {
    // SAFETY: by this function's contract.
    unsafe {
        match (across, lines.ahead) {
            (1, None) => columns::<V, 1, false>(lines, panel, sums),
            (2, None) => columns::<V, 2, false>(lines, panel, sums),
            (_, None) => columns::<V, 3, false>(lines, panel, sums),
            (1, Some(_)) => columns::<V, 1, true>(lines, panel, sums),
            (2, Some(_)) => columns::<V, 2, true>(lines, panel, sums),
            (_, Some(_)) => columns::<V, 3, true>(lines, panel, sums),
        }
    }
}

#[inline(always)]
unsafe fn columns<V: Vector, const ACROSS: usize, const AHEAD: bool>(lines: Lines, panel: Panel, sums: &mut Sums) {
    let ahead = if AHEAD { lines.ahead.unwrap_or(0) } else { 0 };
    // SAFETY: by the contract of `tile`.
    unsafe {
        if V::REGISTERS >= 32 {
            registers::<V, LINES, ACROSS, AHEAD>(lines.at, lines.step, ahead, panel, &mut sums.0);
        } else {
            let half = LINES / 2;
            let (first, second) = sums.0.split_at_mut(half * Sums::WIDTH);
            let [a, b, c, d, e, f, g, h] = lines.at;
            registers::<V, 4, ACROSS, AHEAD>([a, b, c, d], lines.step, ahead, panel, first);
            registers::<V, 4, ACROSS, AHEAD>([e, f, g, h], lines.step, ahead, panel, second);
        }
    }
}

#[inline(always)]
unsafe fn registers<V: Vector, const COUNT: usize, const ACROSS: usize, const AHEAD: bool>(
    lines: [*const f32; COUNT],
    step: usize,
    ahead: usize,
    panel: Panel,
    sums: &mut [f32],
) {
    assert!(sums.len() >= COUNT * Sums::WIDTH && ACROSS * V::LANES <= Sums::WIDTH);
    // SAFETY: lines and panel by the contract of `tile`, the sums by the line above.
    unsafe {
        let mut acc = [[V::zero(); ACROSS]; COUNT];
        let (mut at, mut line) = (panel.at, 0);
        let part = if AHEAD { LINE } else { panel.depth.max(1) };
        for start in (0..panel.depth).step_by(part) {
            for m in 0..if AHEAD { COUNT } else { 0 } {
                V::prefetch(lines[m].wrapping_add(line + ahead));
            }
            for _ in start..panel.depth.min(start + part) {
                let x: [V; ACROSS] = std::array::from_fn(|v| V::load(at.add(v * V::LANES)));
                for m in 0..COUNT {
                    let w = V::splat(*lines[m].add(line));
                    for v in 0..ACROSS {
                        acc[m][v] = w.mul_add(x[v], acc[m][v]);
                    }
                }
                at = at.wrapping_add(panel.step);
                line += step;
            }
        }
        for m in 0..COUNT {
            for v in 0..ACROSS {
                acc[m][v].store(sums.as_mut_ptr().add(m * Sums::WIDTH + v * V::LANES));
            }
        }
    }
}
