//! Text to token ids and back, as published model directories describe it, and packed batches of them.
//!
//! [`Tokenizer`] reads every kind of tokenizer files; [`Packed`] lays sequences end to end for a model.
//! Nothing here knows tensors, models or training.

mod beginning;
mod encode;
mod encoding;
mod error;
mod families;
mod files;
mod frame;
mod json;
mod load;
mod marian;
mod packed;
mod pieces;
mod protobuf;
mod sentencepiece;
mod special;
mod tokenizer;
mod unigram;
mod vocabulary;

pub use encode::{EncodeOptions, Input, Side, Truncation};
pub use encoding::Encoding;
pub use error::Error;
pub use files::{Bytes, TokenizerFiles};
pub use packed::{Packed, PackedError, PositionStyle, restore_order};
pub use special::{Special, SpecialTokens};
pub use tokenizer::Tokenizer;

use marian::Marian;
