//! Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms"): the sign of an interpolated momentum,
//! one fused pass over parameter, gradient and momentum.

use rayon::prelude::*;

use crate::adamw::decimal;
use crate::buffer::SMALL;
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// The constants of one step.
#[derive(Clone, Copy, Debug)]
pub struct Lion {
    /// Learning rate.
    pub lr: f32,
    /// The momentum's share in the direction.
    pub beta1: f32,
    /// Decay of the momentum.
    pub beta2: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

#[derive(Clone, Copy)]
struct Constants {
    lr: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    keep: f32,
    grad_scale: f32,
}

multiversion! {
    fn update(p: &mut [f32], g: &[f32], m: &mut [f32], c: Constants) {
        let n = p.len();
        let (g, m) = (&g[..n], &mut m[..n]);
        for i in 0..n {
            let g = g[i] * c.grad_scale;
            let direction = c.beta1.mul_add(m[i], c.rest1 * g);
            // unlike f32::signum, 0 has no sign
            let sign = f32::from(direction > 0.0) - f32::from(direction < 0.0);
            p[i] = p[i] * c.keep - c.lr * sign;
            m[i] = c.beta2.mul_add(m[i], c.rest2 * g);
        }
    }
}

/// One step: `p ← p·(1 - lr·decay) - lr·sign(β1·m + (1-β1)·g)`, then `m ← β2·m + (1-β2)·g`; gradients are multiplied
/// by `grad_scale` before.
///
/// # Panics
/// When the slices differ in length.
pub fn step(p: &mut [f32], g: &[f32], m: &mut [f32], options: &Lion, grad_scale: f32) {
    assert_eq!(p.len(), g.len(), "g");
    assert_eq!(p.len(), m.len(), "m");
    let constants = Constants {
        lr: options.lr,
        beta1: options.beta1,
        rest1: (1.0 - decimal(options.beta1)) as f32,
        beta2: options.beta2,
        rest2: (1.0 - decimal(options.beta2)) as f32,
        keep: (1.0 - decimal(options.lr) * decimal(options.weight_decay)) as f32,
        grad_scale,
    };
    timed(Kind::Optimizer, 0, || {
        let chunks = p.par_chunks_mut(SMALL).zip(g.par_chunks(SMALL)).zip(m.par_chunks_mut(SMALL));
        chunks.for_each(|((p, g), m)| update(p, g, m, constants));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_formula_in_f64() {
        let n = SMALL + 37;
        let mut p: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
        let mut m = vec![0.0; n];
        let (mut p64, mut m64): (Vec<f64>, Vec<f64>) = (p.iter().map(|&x| f64::from(x)).collect(), vec![0.0; n]);
        let options = Lion { lr: 1e-2, beta1: 0.9, beta2: 0.99, weight_decay: 0.1 };
        for t in 0..5 {
            // every 23rd gradient is 0: its momentum begins without a sign
            let g: Vec<f32> = (0..n).map(|i| ((i * (t + 1) * 17 % 23) as f32 - 11.0) / 100.0).collect();
            step(&mut p, &g, &mut m, &options, 0.5);
            for i in 0..n {
                let g = 0.5 * f64::from(g[i]);
                let direction = 0.9 * m64[i] + 0.1 * g;
                let sign = if direction.abs() < 1e-9 { 0.0 } else { direction.signum() };
                p64[i] = p64[i] * (1.0 - 1e-3) - 1e-2 * sign;
                m64[i] = 0.99 * m64[i] + 0.01 * g;
            }
        }
        // where the direction is within rounding of 0 its sign may differ
        let far = (0..n).filter(|&i| (f64::from(p[i]) - p64[i]).abs() > 1e-5).count();
        assert!(far <= n / 50, "{far} of {n}");
        let still = (0..n).filter(|&i| (i * 17) % 23 == 11).all(|i| m64[i].is_finite());
        assert!(still);
    }
}
