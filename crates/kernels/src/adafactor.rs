//! Adafactor (Shazeer and Stern 2018) as `transformers` has it: second moments of a matrix factored into those of its
//! rows and columns, updates clipped by their root mean square. Passes read the gradient again rather than keep an
//! update of the parameter's size.

use rayon::prelude::*;

use crate::adamw::decimal;
use crate::buffer::{SMALL, rows_per_task, sum_over_rows};
use crate::gradient::sum_of_squares;
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// The constants of one step.
#[derive(Clone, Copy, Debug)]
pub struct Adafactor {
    /// Learning rate; none for the relative step `min(1e-2, 1/√step)` (with [`Self::warmup_init`] from `1e-6·step`).
    pub lr: Option<f32>,
    /// Added to squared gradients.
    pub eps_square: f32,
    /// The least scale of a parameter.
    pub eps_scale: f32,
    /// The root mean square that updates are clipped to.
    pub clip_threshold: f32,
    /// The exponent of the second moment's decay, `β2 = 1 - step^decay_rate`.
    pub decay_rate: f32,
    /// Weight decay, multiplied by the learning rate.
    pub weight_decay: f32,
    /// Whether the learning rate is multiplied by the parameter's root mean square.
    pub scale_parameter: bool,
    /// Whether the relative step begins small.
    pub warmup_init: bool,
    /// The number of this step, from 1.
    pub step: u64,
}

/// The second moments of one parameter.
#[derive(Debug)]
pub enum Second<'a> {
    /// Of every element.
    Full(&'a mut [f32]),
    /// Of the rows and columns of a matrix.
    Factored {
        /// `[rows]`.
        rows: &'a mut [f32],
        /// `[columns]`.
        columns: &'a mut [f32],
    },
}

multiversion! {
    /// Adds `g² + eps` to the sums of columns.
    fn add_squares(g: &[f32], columns: &mut [f32], eps: f32, scale: f32) {
        for (g, column) in g.iter().zip(columns) {
            let g = g * scale;
            *column += g.mul_add(g, eps);
        }
    }
}

multiversion! {
    /// `Σ (g·row·column)²` of one row.
    fn row_square(g: &[f32], columns: &[f32], scale: f32) -> f64 {
        const LANES: usize = 16;
        let mut sums = [0.0_f64; LANES];
        let n = g.len();
        let columns = &columns[..n];
        for start in (0..n).step_by(LANES) {
            for i in start..n.min(start + LANES) {
                let update = f64::from(g[i] * scale * columns[i]);
                sums[i - start] += update * update;
            }
        }
        sums.iter().sum()
    }
}

multiversion! {
    fn apply(p: &mut [f32], g: &[f32], factors: &[f32], keep: f32, scale: f32) {
        let n = p.len();
        let (g, factors) = (&g[..n], &factors[..n]);
        for i in 0..n {
            p[i] = p[i] * keep - scale * g[i] * factors[i];
        }
    }
}

impl Adafactor {
    fn rate(&self, p: &[f32]) -> f64 {
        let step = self.step as f64;
        let relative = || {
            let most = if self.warmup_init { 1e-6 * step } else { 1e-2 };
            (1.0 / step.sqrt()).min(most)
        };
        let rate = self.lr.map_or_else(relative, decimal);
        if !self.scale_parameter {
            return rate;
        }
        let mean = sum_of_squares(p) / p.len().max(1) as f64;
        rate * mean.sqrt().max(decimal(self.eps_scale))
    }
}

/// One step of a parameter whose rows have `width` elements; gradients are multiplied by `grad_scale` before.
///
/// # Panics
/// When the slices don't fit each other.
pub fn step(p: &mut [f32], g: &[f32], second: Second<'_>, width: usize, options: &Adafactor, grad_scale: f32) {
    assert_eq!(p.len(), g.len(), "g");
    assert!(width > 0 && p.len().is_multiple_of(width), "width");
    if p.is_empty() {
        return;
    }
    timed(Kind::Optimizer, 0, || match second {
        Second::Full(v) => full(p, g, v, options, grad_scale),
        Second::Factored { rows, columns } => factored(p, g, rows, columns, options, grad_scale),
    });
}

fn constants(p: &[f32], o: &Adafactor) -> (f64, f64, f32) {
    let rate = o.rate(p);
    let beta = 1.0 - (o.step as f64).powf(decimal(o.decay_rate));
    (rate, beta, (1.0 - decimal(o.weight_decay) * rate) as f32)
}

/// What an update is divided by, so that its root mean square is no more than the threshold.
fn clip(squares: f64, elements: usize, o: &Adafactor) -> f64 {
    ((squares / elements as f64).sqrt() / decimal(o.clip_threshold)).max(1.0)
}

fn full(p: &mut [f32], g: &[f32], v: &mut [f32], o: &Adafactor, scale: f32) {
    assert_eq!(p.len(), v.len(), "second");
    let (rate, beta, keep) = constants(p, o);
    let (kept, rest) = (beta as f32, (1.0 - beta) as f32);
    let chunks = v.par_chunks_mut(SMALL).zip(g.par_chunks(SMALL));
    let parts: Vec<f64> = chunks
        .map(|(v, g)| {
            let mut squares = 0.0;
            for (v, &g) in v.iter_mut().zip(g) {
                let g = g * scale;
                *v = kept.mul_add(*v, rest * g.mul_add(g, o.eps_square));
                squares += f64::from(g) * f64::from(g) / f64::from(*v);
            }
            squares
        })
        .collect();
    let factor = (rate / clip(parts.iter().sum(), p.len(), o)) as f32;
    let chunks = p.par_chunks_mut(SMALL).zip(g.par_chunks(SMALL)).zip(v.par_chunks(SMALL));
    chunks.for_each(|((p, g), v)| {
        for ((p, g), v) in p.iter_mut().zip(g).zip(v) {
            *p = *p * keep - factor * (g * scale) / v.sqrt();
        }
    });
}

fn factored(p: &mut [f32], g: &[f32], rows: &mut [f32], columns: &mut [f32], o: &Adafactor, scale: f32) {
    let width = columns.len();
    assert_eq!(p.len(), rows.len() * width, "second");
    let (rate, beta, keep) = constants(p, o);
    let (kept, rest) = (beta as f32, (1.0 - beta) as f32);
    let height = rows.len();
    // the squares of a row are read twice, which costs less than to let threads share the rows' sums
    let sums = sum_over_rows(height, width, |range, partial| {
        for row in range {
            add_squares(&g[row * width..][..width], partial, o.eps_square, scale);
        }
    });
    for (column, sum) in columns.iter_mut().zip(&sums) {
        *column = kept.mul_add(*column, rest * (sum / height as f32));
    }
    rows.par_iter_mut().with_min_len(rows_per_task(width)).zip(g.par_chunks(width)).for_each(|(row, g)| {
        let mean = row_mean(g, o.eps_square, scale);
        *row = kept.mul_add(*row, rest * mean);
    });
    let mean = rows.iter().map(|&row| f64::from(row)).sum::<f64>() / height as f64;
    let row_factors: Vec<f32> = rows.iter().map(|&row| (1.0 / (f64::from(row) / mean).sqrt()) as f32).collect();
    let factors: Vec<f32> = columns.iter().map(|&column| 1.0 / column.sqrt()).collect();
    let squares = g.par_chunks(width).zip(&row_factors).with_min_len(rows_per_task(width));
    let parts: Vec<f64> = squares.map(|(g, row)| row_square(g, &factors, row * scale)).collect();
    let factor = (rate / clip(parts.iter().sum(), p.len(), o)) as f32;
    let all = p.par_chunks_mut(width).zip(g.par_chunks(width)).zip(&row_factors).with_min_len(rows_per_task(width));
    all.for_each(|((p, g), row)| apply(p, g, &factors, keep, factor * row * scale));
}

multiversion! {
    fn row_mean(g: &[f32], eps: f32, scale: f32) -> f32 {
        const LANES: usize = 16;
        let mut sums = [0.0_f64; LANES];
        let n = g.len();
        for start in (0..n).step_by(LANES) {
            for i in start..n.min(start + LANES) {
                let g = g[i] * scale;
                sums[i - start] += f64::from(g.mul_add(g, eps));
            }
        }
        (sums.iter().sum::<f64>() / n as f64) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The update of `transformers` in f64.
    fn reference(p: &mut [f64], g: &[f64], rows: &mut [f64], columns: &mut [f64], full: &mut [f64], t: f64, lr: f64) {
        let beta = 1.0 - t.powf(-0.8);
        let width = if columns.is_empty() { p.len() } else { columns.len() };
        let scale = (p.iter().map(|x| x * x).sum::<f64>() / p.len() as f64).sqrt().max(1e-3);
        let rate = lr * scale;
        let squares: Vec<f64> = g.iter().map(|g| g * g + 1e-30).collect();
        let mut update: Vec<f64>;
        if columns.is_empty() {
            full.iter_mut().zip(&squares).for_each(|(v, s)| *v = beta * *v + (1.0 - beta) * s);
            update = g.iter().zip(full.iter()).map(|(g, v)| g / v.sqrt()).collect();
        } else {
            let height = rows.len();
            for r in 0..height {
                let mean = squares[r * width..][..width].iter().sum::<f64>() / width as f64;
                rows[r] = beta * rows[r] + (1.0 - beta) * mean;
            }
            for c in 0..width {
                let mean = (0..height).map(|r| squares[r * width + c]).sum::<f64>() / height as f64;
                columns[c] = beta * columns[c] + (1.0 - beta) * mean;
            }
            let mean = rows.iter().sum::<f64>() / height as f64;
            update = (0..p.len()).map(|i| g[i] / (rows[i / width] / mean).sqrt() / columns[i % width].sqrt()).collect();
        }
        let rms = (update.iter().map(|u| u * u).sum::<f64>() / p.len() as f64).sqrt();
        update.iter_mut().for_each(|u| *u *= rate / rms.max(1.0));
        for i in 0..p.len() {
            p[i] = p[i] * (1.0 - 0.1 * rate) - update[i];
        }
    }

    #[test]
    fn agrees_with_the_formula_in_f64() {
        for (height, width) in [(300, 129), (1, 7), (1, 40_001)] {
            let n = height * width;
            let mut p: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
            let mut p64: Vec<f64> = p.iter().map(|&x| f64::from(x)).collect();
            let factor = height > 1;
            let (mut rows, mut columns, mut all) = (vec![0.0; height], vec![0.0; width], vec![0.0; n]);
            let (mut rows64, mut columns64, mut all64) =
                (vec![0.0; height], vec![0.0; if factor { width } else { 0 }], vec![0.0; n]);
            for t in 1..=5_u64 {
                let g: Vec<f32> = (0..n).map(|i| ((i * (t as usize + 3) * 17 % 23) as f32 - 11.3) / 100.0).collect();
                let options = Adafactor {
                    lr: Some(0.01),
                    eps_square: 1e-30,
                    eps_scale: 1e-3,
                    clip_threshold: 1.0,
                    decay_rate: -0.8,
                    weight_decay: 0.1,
                    scale_parameter: true,
                    warmup_init: false,
                    step: t,
                };
                let second = if factor {
                    Second::Factored { rows: &mut rows, columns: &mut columns }
                } else {
                    Second::Full(&mut all)
                };
                step(&mut p, &g, second, width, &options, 0.5);
                let g: Vec<f64> = g.iter().map(|&g| 0.5 * f64::from(g)).collect();
                reference(&mut p64, &g, &mut rows64, &mut columns64, &mut all64, t as f64, 0.01);
            }
            let worst = p.iter().zip(&p64).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(worst < 2e-6, "{height}x{width}: {worst}");
        }
    }

    #[test]
    fn the_relative_step() {
        let options = |step, warmup_init| Adafactor {
            lr: None,
            eps_square: 1e-30,
            eps_scale: 1e-3,
            clip_threshold: 1.0,
            decay_rate: -0.8,
            weight_decay: 0.0,
            scale_parameter: false,
            warmup_init,
            step,
        };
        assert!((options(1, false).rate(&[1.0]) - 1e-2).abs() < 1e-12);
        assert!((options(1_000_000, false).rate(&[1.0]) - 1e-3).abs() < 1e-12);
        assert!((options(10, true).rate(&[1.0]) - 1e-5).abs() < 1e-12);
    }
}
