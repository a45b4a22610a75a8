//! Tokenizers and packed batches.
