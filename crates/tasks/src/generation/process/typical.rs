//! Locally typical sampling (Meister et al. 2023): tokens whose surprise is near the expected one.

use super::{Context, Process, log_sum};

/// Keeps the most typical tokens that hold `mass` of the probability.
#[derive(Clone, Copy, Debug)]
pub struct Typical {
    /// The share of the probability.
    pub mass: f32,
    /// Tokens that are kept in any case, the most typical.
    pub keep: usize,
}

impl Process for Typical {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        let shift = log_sum(scores);
        let possible = |score: &f32| *score > f32::NEG_INFINITY;
        let surprise = |score: f32| shift - score;
        let entropy: f32 =
            scores.iter().filter(|s| possible(s)).map(|&score| (-surprise(score)).exp() * surprise(score)).sum();
        let mut order: Vec<(usize, f32)> = scores
            .iter()
            .enumerate()
            .filter(|(_, score)| possible(score))
            .map(|(token, &score)| (token, (surprise(score) - entropy).abs()))
            .collect();
        order.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let mut held = 0.0;
        let last = order.iter().position(|&(token, _)| {
            held += (-surprise(scores[token])).exp();
            held >= self.mass
        });
        let Some(&(_, limit)) = last.map(|last| &order[last]) else { return };
        for (place, (token, distance)) in order.into_iter().enumerate() {
            if distance > limit && place >= self.keep {
                scores[token] = f32::NEG_INFINITY;
            }
        }
    }
}
