//! One run through a model: whether dropout is on, and with which random numbers.

use std::cell::Cell;

use ptm_ops::Dropout;

/// Inference, or a training step with its seed. Every dropout of a pass draws from a seed of its own, in the order
/// of the calls, so that a step is a function of (weights, batch, seed).
#[derive(Debug)]
pub struct Pass {
    seed: Option<u64>,
    calls: Cell<u64>,
}

impl Pass {
    /// Inference: no dropout.
    pub fn eval() -> Self {
        Self { seed: None, calls: Cell::new(0) }
    }

    /// A training step.
    pub fn train(seed: u64) -> Self {
        Self { seed: Some(seed), calls: Cell::new(0) }
    }

    /// Whether this is a training step.
    pub fn is_training(&self) -> bool {
        self.seed.is_some()
    }

    /// The dropout of the next place that has one.
    pub fn dropout(&self, rate: f32) -> Dropout {
        let Some(seed) = self.seed.filter(|_| rate > 0.0) else { return Dropout::OFF };
        let call = self.calls.get() + 1;
        self.calls.set(call);
        Dropout::new(rate, mix(seed ^ mix(call)))
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
        assert!(!a.dropout(0.0).is_on());
    }
}
