//! LAMB (You et al. 2020, "Large Batch Optimization for Deep Learning"): Adam's direction, scaled for every parameter
//! tensor by the ratio of its norm to the direction's. Two passes: moments and both norms, then the update, for which
//! the direction is computed again rather than kept.

use rayon::prelude::*;

use crate::adamw::decimal;
use crate::buffer::SMALL;
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// The constants of one step.
#[derive(Clone, Copy, Debug)]
pub struct Lamb {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Weight decay, part of the direction.
    pub weight_decay: f32,
    /// The number of this step, from 1.
    pub step: u64,
    /// Whether the step is scaled by the ratio of norms; biases and norms' parameters aren't.
    pub trust: bool,
}

#[derive(Clone, Copy)]
struct Constants {
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    eps: f32,
    decay: f32,
    correction: f32,
    root_correction: f32,
    grad_scale: f32,
}

impl Constants {
    #[inline(always)]
    fn direction(&self, p: f32, m: f32, v: f32) -> f32 {
        let root = v.sqrt().mul_add(self.root_correction, self.eps);
        self.decay.mul_add(p, m * self.correction / root)
    }
}

multiversion! {
    /// Updates both moments; gives the squared norms of parameter and direction.
    fn moments(p: &[f32], g: &[f32], m: &mut [f32], v: &mut [f32], c: Constants) -> [f64; 2] {
        let n = p.len();
        let (g, m, v) = (&g[..n], &mut m[..n], &mut v[..n]);
        // partial sums of a few elements are exact enough in f32, sums of those are in f64
        const LANES: usize = 16;
        let mut sums = [[0.0_f64; LANES]; 2];
        for start in (0..n).step_by(LANES) {
            for i in start..n.min(start + LANES) {
                let g = g[i] * c.grad_scale;
                m[i] = c.beta1.mul_add(m[i], c.rest1 * g);
                v[i] = c.beta2.mul_add(v[i], c.rest2 * g * g);
                let u = f64::from(c.direction(p[i], m[i], v[i]));
                sums[0][i - start] += f64::from(p[i]) * f64::from(p[i]);
                sums[1][i - start] += u * u;
            }
        }
        sums.map(|lanes| lanes.iter().sum())
    }
}

multiversion! {
    fn apply(p: &mut [f32], m: &[f32], v: &[f32], c: Constants, step_size: f32) {
        let n = p.len();
        let (m, v) = (&m[..n], &v[..n]);
        for i in 0..n {
            p[i] -= step_size * c.direction(p[i], m[i], v[i]);
        }
    }
}

/// One step: `u = m̂ / (√v̂ + eps) + decay·p`, `p ← p - lr·‖p‖/‖u‖·u`; the ratio is 1 where either norm is 0, and for
/// parameters without trust. Gradients are multiplied by `grad_scale` before.
///
/// # Panics
/// When the slices differ in length.
pub fn step(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], options: &Lamb, grad_scale: f32) {
    assert_eq!(p.len(), g.len(), "g");
    assert_eq!(p.len(), m.len(), "m");
    assert_eq!(p.len(), v.len(), "v");
    let (beta1, beta2) = (decimal(options.beta1), decimal(options.beta2));
    let correction = |beta: f64| 1.0 - beta.powf(options.step as f64);
    let constants = Constants {
        beta1: options.beta1,
        rest1: (1.0 - beta1) as f32,
        beta2: options.beta2,
        rest2: (1.0 - beta2) as f32,
        eps: options.eps,
        decay: options.weight_decay,
        correction: (1.0 / correction(beta1)) as f32,
        root_correction: (1.0 / correction(beta2).sqrt()) as f32,
        grad_scale,
    };
    timed(Kind::Optimizer, 0, || {
        let chunks = p.par_chunks(SMALL).zip(g.par_chunks(SMALL));
        let states = m.par_chunks_mut(SMALL).zip(v.par_chunks_mut(SMALL));
        let parts: Vec<[f64; 2]> = chunks.zip(states).map(|((p, g), (m, v))| moments(p, g, m, v, constants)).collect();
        let norm = |which: usize| parts.iter().map(|part| part[which]).sum::<f64>().sqrt();
        let (weight, direction) = (norm(0), norm(1));
        let ratio = if options.trust && weight > 0.0 && direction > 0.0 { weight / direction } else { 1.0 };
        let step_size = (decimal(options.lr) * ratio) as f32;
        let chunks = p.par_chunks_mut(SMALL).zip(m.par_chunks(SMALL).zip(v.par_chunks(SMALL)));
        chunks.for_each(|(p, (m, v))| apply(p, m, v, constants, step_size));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_formula_in_f64() {
        let n = 2 * SMALL + 37;
        let start: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
        for (trust, start) in [(true, start.clone()), (false, start), (true, vec![0.0; n])] {
            let (mut p, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
            let mut p64: Vec<f64> = start.iter().map(|&x| f64::from(x)).collect();
            let (mut m64, mut v64) = (vec![0.0; n], vec![0.0; n]);
            for t in 1..=5 {
                let g: Vec<f32> = (0..n).map(|i| ((i * t as usize * 17 % 23) as f32 - 11.0) / 100.0).collect();
                let options =
                    Lamb { lr: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-6, weight_decay: 0.01, step: t, trust };
                step(&mut p, &g, &mut m, &mut v, &options, 0.5);
                let c = |beta: f64| 1.0 - beta.powi(t as i32);
                let mut u = vec![0.0; n];
                for i in 0..n {
                    let g = 0.5 * f64::from(g[i]);
                    m64[i] = 0.9 * m64[i] + 0.1 * g;
                    v64[i] = 0.999 * v64[i] + 0.001 * g * g;
                    let root: f64 = v64[i] / c(0.999);
                    u[i] = m64[i] / c(0.9) / (root.sqrt() + 1e-6) + 0.01 * p64[i];
                }
                let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
                let (weight, direction) = (norm(&p64), norm(&u));
                let ratio = if trust && weight > 0.0 && direction > 0.0 { weight / direction } else { 1.0 };
                (0..n).for_each(|i| p64[i] -= 1e-2 * ratio * u[i]);
            }
            let worst = p.iter().zip(&p64).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(worst < 3e-6, "{worst}");
        }
    }
}
