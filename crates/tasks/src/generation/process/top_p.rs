//! Nucleus sampling (Holtzman et al. 2020): the fewest likeliest tokens that hold a share of the probability.

use super::{Context, Process, log_sum};

/// Forbids what is beyond `mass`.
#[derive(Clone, Copy, Debug)]
pub struct TopP {
    /// The share of the probability.
    pub mass: f32,
    /// Tokens that are kept in any case.
    pub keep: usize,
}

impl Process for TopP {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        let shift = log_sum(scores);
        // all tokens below this together hold less than what may be left out: only the others need an order
        let floor = (1.0 - self.mass) / scores.len() as f32;
        let mut likely: Vec<(usize, f32)> =
            scores.iter().map(|score| (score - shift).exp()).enumerate().filter(|&(_, share)| share > floor).collect();
        likely.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        let total: f64 = likely.iter().map(|&(_, share)| f64::from(share)).sum();
        // what is less likely than a token, itself included
        let mut beyond = 1.0_f64.max(total);
        let kept = likely.iter().position(|&(_, share)| {
            let here = beyond;
            beyond -= f64::from(share);
            here <= f64::from(1.0 - self.mass)
        });
        let kept = kept.unwrap_or(likely.len());
        let least = if kept < self.keep { super::best_first(scores, self.keep) } else { Vec::new() };
        let mut after = vec![f32::NEG_INFINITY; scores.len()];
        likely[..kept].iter().map(|&(token, _)| token).chain(least.iter().map(|&(token, _)| token)).for_each(|token| {
            after[token] = scores[token];
        });
        scores.copy_from_slice(&after);
    }
}
