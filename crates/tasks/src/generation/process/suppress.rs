//! Tokens that are never said, or not first.

use super::{Context, Process, forbid};

/// Forbids these tokens.
#[derive(Clone, Debug)]
pub struct Suppress(pub Vec<u32>);

impl Process for Suppress {
    fn name(&self) -> String {
        "suppress_tokens".into()
    }

    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        forbid(scores, &self.0);
    }
}

/// Forbids these tokens as the first that is said, or after a first that is forced.
#[derive(Clone, Debug)]
pub struct SuppressAtBeginning {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// Whether the first token is forced, so that the second is meant.
    pub after_first: bool,
}

impl Process for SuppressAtBeginning {
    fn name(&self) -> String {
        "begin_suppress_tokens".into()
    }

    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        if context.said() == usize::from(self.after_first && context.given == 1) {
            forbid(scores, &self.tokens);
        }
    }
}
