//! Truncation by probability: a fixed one, or one that falls with the entropy (Hewitt et al. 2022).

use super::{Context, Process, best_first, keep_where, log_sum};

/// Forbids tokens less likely than `least`.
#[derive(Clone, Copy, Debug)]
pub struct EpsilonCutoff {
    /// The least probability.
    pub least: f32,
    /// Tokens that are kept in any case.
    pub keep: usize,
}

impl Process for EpsilonCutoff {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        let shift = log_sum(scores);
        keep_likely(scores, self.keep, shift, self.least);
    }
}

/// Forbids tokens less likely than `least`, but none that is as good as the best `keep`: equals of the last of these stay
/// too. `shift` makes logarithms of probabilities of scores.
fn keep_likely(scores: &mut [f32], keep: usize, shift: f32, least: f32) {
    let last = best_first(scores, keep).last().map_or(f32::INFINITY, |&(_, score)| score);
    keep_where(scores, 0, |_, score| (score - shift).exp() >= least || score >= last);
}

/// Forbids tokens less likely than `min(ε, √ε · exp(-entropy))`.
#[derive(Clone, Copy, Debug)]
pub struct EtaCutoff {
    /// ε.
    pub epsilon: f32,
    /// Tokens that are kept in any case.
    pub keep: usize,
}

impl Process for EtaCutoff {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        let shift = log_sum(scores);
        let possible = scores.iter().filter(|score| **score > f32::NEG_INFINITY);
        let entropy: f32 = possible.map(|score| (score - shift).exp() * (shift - score)).sum();
        let least = self.epsilon.min(self.epsilon.sqrt() * (-entropy).exp());
        keep_likely(scores, self.keep, shift, least);
    }
}
