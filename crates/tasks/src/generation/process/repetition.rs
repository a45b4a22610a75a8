//! The penalty of CTRL (Keskar et al. 2019, §4.1) for tokens that were there before, and its inverse for the source's.

use super::{Context, Process};

/// Divides the positive scores of tokens that occur, prompt included, and multiplies negative ones.
#[derive(Clone, Copy, Debug)]
pub struct RepetitionPenalty(pub f32);

impl Process for RepetitionPenalty {
    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        penalize(scores, context.tokens, self.0);
    }
}

/// The same for the tokens of the source with the inverse: above one, they are likelier to be said again. Every
/// beam has it; in `transformers` the first one alone.
#[derive(Clone, Copy, Debug)]
pub struct SourcePenalty(pub f32);

impl Process for SourcePenalty {
    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        penalize(scores, context.source, 1.0 / self.0);
    }
}

fn penalize(scores: &mut [f32], tokens: &[u32], penalty: f32) {
    let mut seen = tokens.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        // a source's vocabulary may be larger than the target's
        if let Some(score) = scores.get_mut(token as usize) {
            *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
        }
    }
}
