//! An encoded text: token ids with, for each token, where it comes from.
//! The fields of the reference tokenizers' output, offsets in code points as Python counts them.
//! Not padded, and no attention mask: every token is a real one (see `packed.rs`).

/// One encoded text or pair. All lists have one entry for each token, `[T]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment (token type) ids: for BERT 0 for the first text, 1 for the second.
    pub segments: Vec<u32>,
    /// The tokens as the vocabulary spells them (`##ing`, `Ġthe`, `▁the`).
    pub tokens: Vec<String>,
    /// Start and end of the token in its text, in code points; `(0, 0)` for tokens that were added.
    pub offsets: Vec<(usize, usize)>,
    /// Whether the token was added around the text (`[CLS]`, `</s>`). A special token that stands in the text itself
    /// does not count, as in the reference.
    pub special: Vec<bool>,
    /// The index of the word in its text; `None` for tokens that were added.
    pub words: Vec<Option<u32>>,
    /// The text a token comes from: 0, or 1 for the second of a pair; `None` for tokens that were added.
    pub sequence: Vec<Option<u8>>,
    /// Further windows of a text that was truncated, in order. They have no windows of their own.
    pub overflow: Vec<Encoding>,
}

impl Encoding {
    /// Number of tokens, without those of `overflow`.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// This encoding and its further windows, in order.
    pub fn windows(&self) -> impl Iterator<Item = &Encoding> {
        std::iter::once(self).chain(&self.overflow)
    }
}
