//! Stochastic gradient descent with (Nesterov) momentum and L2 decay, as `torch.optim.SGD`, in one fused pass.

use rayon::prelude::*;

use crate::buffer::SMALL;
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// The constants of one step.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the momentum; 0 is none.
    pub momentum: f32,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
    /// L2 penalty, added to the gradient (not decoupled).
    pub weight_decay: f32,
}

multiversion! {
    fn update(p: &mut [f32], g: &[f32], m: &mut [f32], c: Sgd, grad_scale: f32) {
        let n = p.len();
        let (g, m) = (&g[..n], &mut m[..n]);
        for i in 0..n {
            let g = c.weight_decay.mul_add(p[i], g[i] * grad_scale);
            let momentum = c.momentum.mul_add(m[i], g);
            m[i] = momentum;
            let direction = if c.nesterov { c.momentum.mul_add(momentum, g) } else { momentum };
            p[i] -= c.lr * direction;
        }
    }
}

/// One step: `m ← μ·m + g`, `p ← p - lr·m` (or `lr·(g + μ·m)`), where `g` includes the penalty's gradient and was
/// multiplied by `grad_scale` before.
///
/// # Panics
/// When the slices differ in length.
pub fn step(p: &mut [f32], g: &[f32], m: &mut [f32], options: &Sgd, grad_scale: f32) {
    assert_eq!(p.len(), g.len(), "g");
    assert_eq!(p.len(), m.len(), "m");
    timed(Kind::Optimizer, 0, || {
        let chunks = p.par_chunks_mut(SMALL).zip(g.par_chunks(SMALL)).zip(m.par_chunks_mut(SMALL));
        chunks.for_each(|((p, g), m)| update(p, g, m, *options, grad_scale));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_formula_in_f64() {
        let n = SMALL + 37;
        let start: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
        for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
            let options = Sgd { lr: 1e-2, momentum, nesterov, weight_decay: 0.1 };
            let (mut p, mut m) = (start.clone(), vec![0.0; n]);
            let (mut p64, mut m64): (Vec<f64>, Vec<f64>) = (p.iter().map(|&x| f64::from(x)).collect(), vec![0.0; n]);
            let mu = f64::from(momentum);
            for t in 1..6 {
                let g: Vec<f32> = (0..n).map(|i| ((i * t * 17 % 23) as f32 - 11.0) / 100.0).collect();
                step(&mut p, &g, &mut m, &options, 0.5);
                for i in 0..n {
                    let g = 0.5 * f64::from(g[i]) + 0.1 * p64[i];
                    m64[i] = mu * m64[i] + g;
                    p64[i] -= 1e-2 * if nesterov { g + mu * m64[i] } else { m64[i] };
                }
            }
            let worst = p.iter().zip(&p64).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-6, "{worst}");
        }
    }
}
