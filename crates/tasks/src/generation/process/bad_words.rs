//! Sequences of tokens that are never completed.

use super::{Context, Process};

/// Forbids the last token of each sequence where what was said ends with the rest of it.
#[derive(Clone, Debug)]
pub struct BadWords {
    words: Vec<Vec<u32>>,
}

impl BadWords {
    /// Of these sequences; those that are an end alone don't count.
    pub fn new(words: &[Vec<u32>], ends: &[u32]) -> Self {
        let is_end = |word: &Vec<u32>| word.len() == 1 && ends.contains(&word[0]);
        Self { words: words.iter().filter(|word| !word.is_empty() && !is_end(word)).cloned().collect() }
    }
}

impl Process for BadWords {
    fn name(&self) -> String {
        "bad_words_ids".into()
    }

    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        for word in &self.words {
            let (&last, rest) = word.split_last().expect("empty ones were left out");
            // as the reference has it, a sequence as long as the context counts, a longer one doesn't
            if word.len() == 1 || (word.len() <= context.tokens.len() && context.tokens.ends_with(rest)) {
                super::forbid(scores, &[last]);
            }
        }
    }
}
