//! No end before a least number of tokens.

use super::{Context, Process};

/// Forbids the ends while there are too few tokens.
#[derive(Clone, Debug)]
pub struct MinLength {
    /// How many tokens there are to be.
    pub least: usize,
    /// Whether only those that were said count.
    pub of_new: bool,
    /// The tokens that end a sequence.
    pub ends: Vec<u32>,
}

impl Process for MinLength {
    fn name(&self) -> String {
        "the least length".into()
    }

    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        let count = if self.of_new { context.said() } else { context.tokens.len() };
        if count < self.least {
            super::forbid(scores, &self.ends);
        }
    }
}
