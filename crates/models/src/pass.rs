//! One run through a model: whether dropout is on, and with which random numbers.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use burn::module::Module;
use burn::prelude::*;
use ptm_ops::Dropout;

/// Inference, or a training step with its seed. Every dropout of a pass draws from a seed of its own, in the order
/// of the calls, so that a step is a function of (weights, batch, seed).
#[derive(Debug)]
pub struct Pass {
    seed: Option<u64>,
    calls: Cell<u64>,
    recomputes: bool,
    drops: bool,
}

impl Pass {
    /// Inference: no dropout.
    pub fn eval() -> Self {
        Self { seed: None, calls: Cell::new(0), recomputes: false, drops: false }
    }

    /// A training step.
    pub fn train(seed: u64) -> Self {
        Self { seed: Some(seed), calls: Cell::new(0), recomputes: false, drops: true }
    }

    /// The same with dropout, and layers left out, only if `drops` says so.
    pub fn dropping(self, drops: bool) -> Self {
        Self { drops, ..self }
    }

    /// Gradient checkpointing: layers keep their inputs alone, and are computed again for their gradients. It changes no
    /// number but by the order of a sum, where several layers look at the same.
    pub fn recomputing(self, recomputes: bool) -> Self {
        Self { recomputes, ..self }
    }

    /// One layer: `run(layer, inputs, pass)`, which a pass that recomputes runs again with the same random numbers.
    pub(crate) fn layer<M: Module + 'static, const N: usize>(
        &self,
        layer: &M,
        inputs: [Tensor<2>; N],
        run: impl Fn(&M, [Tensor<2>; N], &Self) -> Tensor<2> + Send + 'static,
    ) -> Tensor<2> {
        if !(self.recomputes && self.is_training()) {
            return run(layer, inputs, self);
        }
        let (seed, begun, drops) = (self.seed, self.calls.get(), self.drops);
        let ended = Arc::new(AtomicU64::new(begun));
        let counted = ended.clone();
        let y = ptm_ops::recomputed(layer, inputs, move |layer, inputs| {
            let pass = Self { seed, calls: Cell::new(begun), recomputes: false, drops };
            let y = run(layer, inputs, &pass);
            counted.store(pass.calls.get(), Relaxed);
            y
        });
        self.calls.set(ended.load(Relaxed));
        y
    }

    /// Whether this is a training step.
    pub fn is_training(&self) -> bool {
        self.seed.is_some()
    }

    /// The dropout of the next place that has one.
    pub fn dropout(&self, rate: f32) -> Dropout {
        self.draw(rate).map_or(Dropout::OFF, |seed| Dropout::new(rate, seed))
    }

    /// Whether to leave out the layer that comes next, as happens with probability `rate` (LayerDrop, Fan et al. 2020).
    pub fn leaves_out(&self, rate: f32) -> bool {
        self.draw(rate).is_some_and(|bits| (bits >> 11) as f64 / ((1_u64 << 53) as f64) < f64::from(rate))
    }

    /// The next random number, where a rate asks for one.
    fn draw(&self, rate: f32) -> Option<u64> {
        let seed = self.seed.filter(|_| rate > 0.0 && self.drops)?;
        let call = self.calls.get() + 1;
        self.calls.set(call);
        Some(mix(seed ^ mix(call)))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit of the input reaches every bit of the output.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_draw_apart_and_steps_repeat() {
        let (a, b) = (Pass::train(1), Pass::train(1));
        let first = a.dropout(0.1);
        assert_ne!(first, a.dropout(0.1));
        assert_eq!(first, b.dropout(0.1));
        assert_ne!(first, Pass::train(2).dropout(0.1));
        assert!(!Pass::eval().dropout(0.5).is_on());
        let without = Pass::train(1).dropping(false);
        assert!(!without.dropout(0.5).is_on() && without.is_training());
        assert!(!a.dropout(0.0).is_on());
    }

    #[test]
    fn layers_are_left_out_at_their_rate() {
        let pass = Pass::train(3);
        let count = (0..10_000).filter(|_| pass.leaves_out(0.2)).count();
        assert!((1850..2150).contains(&count), "{count}");
        assert!(!Pass::eval().leaves_out(0.9) && !pass.leaves_out(0.0));
    }
}
