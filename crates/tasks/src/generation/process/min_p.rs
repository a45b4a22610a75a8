//! Tokens at least a share as likely as the likeliest (Nguyen et al. 2024).

use super::{Context, Process, keep_where};

/// Forbids those below `share` of the likeliest one's probability.
#[derive(Clone, Copy, Debug)]
pub struct MinP {
    /// The share.
    pub share: f32,
    /// Tokens that are kept in any case.
    pub keep: usize,
}

impl Process for MinP {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let least = self.share;
        keep_where(scores, self.keep, |_, score| (score - top).exp() >= least);
    }
}
