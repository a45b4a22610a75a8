//! The first or last token where a model wants a certain one: a language, an end.

use super::{Context, Process};

/// The token after the one that starts a decoder.
#[derive(Clone, Copy, Debug)]
pub struct ForcedFirst(pub u32);

impl Process for ForcedFirst {
    fn name(&self) -> String {
        "forced_bos_token_id".into()
    }

    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        if context.tokens.len() == 1 {
            only(scores, &[self.0]);
        }
    }
}

/// One of these tokens at the greatest length.
#[derive(Clone, Debug)]
pub struct ForcedLast(pub Vec<u32>);

impl Process for ForcedLast {
    fn name(&self) -> String {
        "forced_eos_token_id".into()
    }

    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        if context.tokens.len() + 1 == context.max_length {
            only(scores, &self.0);
        }
    }
}

fn only(scores: &mut [f32], tokens: &[u32]) {
    scores.fill(f32::NEG_INFINITY);
    for &token in tokens {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = 0.0;
        }
    }
}
