//! AdamW (Loshchilov and Hutter 2019): one fused pass over parameter, gradient and both moments.

use rayon::prelude::*;

use crate::buffer::SMALL;
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// The constants of one step.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// The number of this step, from 1.
    pub step: u64,
    /// Whether moments are corrected for their start at zero; BERT's own optimizer doesn't.
    pub bias_correction: bool,
}

#[derive(Clone, Copy)]
struct Constants {
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    eps: f32,
    keep: f32,
    step_size: f32,
    root_correction: f32,
    grad_scale: f32,
}

impl AdamW {
    fn constants(&self, grad_scale: f32) -> Constants {
        let (beta1, beta2) = (decimal(self.beta1), decimal(self.beta2));
        let correction = |beta: f64| {
            if self.bias_correction { 1.0 - beta.powf(self.step as f64) } else { 1.0 }
        };
        let (c1, c2) = (correction(beta1), correction(beta2));
        Constants {
            beta1: self.beta1,
            rest1: (1.0 - beta1) as f32,
            beta2: self.beta2,
            rest2: (1.0 - beta2) as f32,
            eps: self.eps,
            keep: (1.0 - decimal(self.lr) * decimal(self.weight_decay)) as f32,
            step_size: (decimal(self.lr) / c1) as f32,
            root_correction: (1.0 / c2.sqrt()) as f32,
            grad_scale,
        }
    }
}

/// The number that was meant by its shortest decimal: PyTorch computes constants from 0.999 in double precision,
/// and `1 - 0.999` from the nearest f32 would be off by 1e-5 of itself.
pub(crate) fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

multiversion! {
    fn update(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], c: Constants) {
        let n = p.len();
        let (g, m, v) = (&g[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            let g = g[i] * c.grad_scale;
            let moment = c.beta1.mul_add(m[i], c.rest1 * g);
            let square = c.beta2.mul_add(v[i], c.rest2 * g * g);
            m[i] = moment;
            v[i] = square;
            p[i] = p[i] * c.keep - c.step_size * moment / square.sqrt().mul_add(c.root_correction, c.eps);
        }
    }
}

/// One step: `p ← p·(1 - lr·decay) - lr·m̂ / (√v̂ + eps)`, moments updated in place, as `torch.optim.AdamW`.
///
/// # Panics
/// When the slices differ in length.
pub fn step(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], options: &AdamW) {
    step_scaled(p, g, m, v, options, 1.0);
}

/// [`step`] with gradients multiplied by `grad_scale` on the way: clipping without a pass of its own.
///
/// # Panics
/// As [`step`].
pub fn step_scaled(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], options: &AdamW, grad_scale: f32) {
    assert_eq!(p.len(), g.len(), "g");
    assert_eq!(p.len(), m.len(), "m");
    assert_eq!(p.len(), v.len(), "v");
    let constants = options.constants(grad_scale);
    timed(Kind::Optimizer, 0, || {
        if p.len() <= SMALL {
            return update(p, g, m, v, constants);
        }
        let gradients = p.par_chunks_mut(SMALL).zip(g.par_chunks(SMALL));
        let moments = m.par_chunks_mut(SMALL).zip(v.par_chunks_mut(SMALL));
        gradients.zip(moments).for_each(|((p, g), (m, v))| update(p, g, m, v, constants));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_formula_in_f64() {
        let n = 40_001;
        let start: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
        for bias_correction in [true, false] {
            let (mut p, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
            let (mut p64, mut m64, mut v64) =
                (start.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), vec![0.0; n], vec![0.0; n]);
            for t in 1..=5 {
                let g: Vec<f32> = (0..n).map(|i| ((i * t as usize * 17 % 23) as f32 - 11.0) / 100.0).collect();
                let options = AdamW {
                    lr: 1e-2,
                    beta1: 0.9,
                    beta2: 0.999,
                    eps: 1e-8,
                    weight_decay: 0.1,
                    step: t,
                    bias_correction,
                };
                step(&mut p, &g, &mut m, &mut v, &options);
                let c = |beta: f64| {
                    if bias_correction { 1.0 - beta.powi(t as i32) } else { 1.0 }
                };
                for i in 0..n {
                    let g = f64::from(g[i]);
                    m64[i] = 0.9 * m64[i] + 0.1 * g;
                    v64[i] = 0.999 * v64[i] + 0.001 * g * g;
                    let root: f64 = v64[i] / c(0.999);
                    p64[i] = p64[i] * (1.0 - 1e-2 * 0.1) - 1e-2 * (m64[i] / c(0.9)) / (root.sqrt() + 1e-8);
                }
            }
            let worst = p.iter().zip(&p64).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-6, "{worst}");
        }
    }
}
