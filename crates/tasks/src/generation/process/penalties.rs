//! The presence and frequency penalties of OpenAI's interface: subtracted for tokens that were said.

use super::{Context, Process};

/// For each token that was said, `presence` once and `frequency` for each time; the prompt doesn't count.
#[derive(Clone, Copy, Debug)]
pub struct CountPenalties {
    /// Subtracted once.
    pub presence: f32,
    /// Subtracted for each time.
    pub frequency: f32,
}

impl Process for CountPenalties {
    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        let mut said = context.tokens[context.given..].to_vec();
        said.sort_unstable();
        for run in said.chunk_by(|a, b| a == b) {
            if let Some(score) = scores.get_mut(run[0] as usize) {
                *score -= self.presence + self.frequency * run.len() as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_counts_and_the_prompt_does_not() {
        let context = Context { input: 0, tokens: &[0, 1, 2, 2, 1, 2], given: 2, source: &[], max_length: 9 };
        let mut scores = [1.0; 4];
        CountPenalties { presence: 0.5, frequency: 0.25 }.process(&context, &mut scores);
        assert_eq!(scores, [1.0, 0.25, -0.25, 1.0]);
    }
}
