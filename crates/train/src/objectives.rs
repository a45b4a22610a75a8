//! Pretraining objectives, one a file, named by the field's term: what a text becomes for a model to learn from. Each is a
//! function of a text and of a random generator, without tensors; what models compute is elsewhere.

pub mod batches;
pub mod capitalization;
pub mod causal;
pub mod classified;
pub mod continual;
pub mod denoised;
pub mod denoising;
mod draws;
pub mod knowledge_masking;
pub mod lexicon;
pub mod masked_lm;
pub mod masking;
pub mod mixture;
mod named;
pub mod next_sentence;
pub mod permutation;
pub mod picture;
pub mod replaced_token_detection;
pub mod sentence_distance;
pub mod sentence_reordering;
pub mod span_corruption;
pub mod span_masking;
pub mod t5_variants;
pub mod token_document;
mod vocabulary;

pub use named::{Examples, NAMES, ObjectiveConfig, SequenceObjective};
pub use vocabulary::Vocabulary;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The random numbers of one example, whoever makes it: the same for the same seed, pass over the data, and number of the
/// example.
pub fn generator(seed: u64, pass: u64, example: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    // the last part keeps them apart from other draws with the same seed
    for (part, value) in key.chunks_exact_mut(8).zip([seed, pass, example, 2]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A document, or a stretch of one.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Its tokens, without special ones.
    pub ids: &'a [u32],
    /// Where sentences begin, ascending; the first is 0.
    pub sentences: &'a [usize],
}

impl Text<'_> {
    /// Where one sentence ends and the next one begins.
    pub(crate) fn borders(&self) -> impl Iterator<Item = usize> {
        self.sentences.iter().copied().filter(|&at| at > 0 && at < self.ids.len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::Text;
    pub(crate) use super::vocabulary::tests::vocabulary;

    /// A text of one sentence.
    pub(crate) fn text(ids: &[u32]) -> Text<'_> {
        Text { ids, sentences: &[0] }
    }

    /// A list of numbers in a golden file.
    pub(crate) fn numbers<N: TryFrom<u64>>(value: &Value) -> Vec<N> {
        let number = |value: &Value| value.as_u64().and_then(|number| N::try_from(number).ok()).unwrap();
        value.as_array().unwrap().iter().map(number).collect()
    }
}
