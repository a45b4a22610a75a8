//! No sequence of n tokens twice (Paulus et al. 2018, §2.5), or none of the source's.

use super::{Context, Process};

/// Forbids tokens that would complete n tokens which occurred before.
#[derive(Clone, Copy, Debug)]
pub struct NoRepeatedNgrams(pub usize);

impl Process for NoRepeatedNgrams {
    fn name(&self) -> String {
        "no_repeat_ngram_size".into()
    }

    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        forbid(scores, context.tokens, context.tokens, self.0);
    }
}

/// Forbids tokens that would complete n tokens of the source.
#[derive(Clone, Copy, Debug)]
pub struct NoSourceNgrams(pub usize);

impl Process for NoSourceNgrams {
    fn name(&self) -> String {
        "encoder_no_repeat_ngram_size".into()
    }

    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        forbid(scores, context.source, context.tokens, self.0);
    }
}

/// Forbids what follows the last `n - 1` of `tokens` anywhere in `seen`.
fn forbid(scores: &mut [f32], seen: &[u32], tokens: &[u32], n: usize) {
    if tokens.len() + 1 < n {
        return;
    }
    let last = &tokens[tokens.len() + 1 - n..];
    for ngram in seen.windows(n).filter(|ngram| ngram.starts_with(last)) {
        if let Some(score) = scores.get_mut(ngram[n - 1] as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}
