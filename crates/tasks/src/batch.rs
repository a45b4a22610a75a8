//! Batches by their number of tokens, texts of about one length together.

use std::borrow::Borrow;

use ptm_text::{Encoding, Packed, PositionStyle};

use crate::error::{Error, Result};

/// Tokens of a batch unless the caller says otherwise: enough to keep the products busy, little enough to stay
/// within caches that are shared by all cores.
pub(crate) const DEFAULT_TOKENS: usize = 4096;

/// The packed batch of `encodings`, in their order.
pub(crate) fn pack<'a>(encodings: impl IntoIterator<Item = &'a Encoding>, style: PositionStyle) -> Result<Packed> {
    Packed::from_encodings(encodings, style).map_err(|error| Error::Input(error.to_string()))
}

/// Which encodings go together, each at most `budget` tokens unless it is longer by itself.
pub(crate) fn plan(encodings: &[impl Borrow<Encoding>], budget: Option<usize>) -> Vec<Vec<usize>> {
    let lengths: Vec<usize> = encodings.iter().map(|encoding| encoding.borrow().ids.len()).collect();
    Packed::batches_by_tokens(&lengths, budget.unwrap_or(DEFAULT_TOKENS).max(1))
}

/// A model's tokenizer must not know ids that its embedding lacks.
pub(crate) fn check_vocabulary(tokenizer: &ptm_text::Tokenizer, vocab_size: usize) -> Result<()> {
    let largest = tokenizer.max_id();
    if (largest as usize) < vocab_size {
        return Ok(());
    }
    Err(Error::Input(format!(
        "the tokenizer has ids up to {largest}, but the model's vocab_size is {vocab_size}: \
         the tokenizer's files belong to another model"
    )))
}
