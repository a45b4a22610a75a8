//! Text to token ids and back, as published model directories describe it, packed batches of them, and labelled data.
//!
//! [`Tokenizer`] reads every kind of tokenizer files; [`Packed`] lays sequences end to end for a model; [`dataset`]
//! reads examples of a task from files; [`corpus`] keeps running text as token ids on disk.
//! Nothing here knows tensors, models or training.

mod beginning;
pub mod corpus;
pub mod dataset;
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
mod sentences;
mod special;
mod token_bytes;
mod tokenizer;
pub mod train_tokenizer;
mod unigram;
mod vocabulary;

pub use encode::{EncodeOptions, Input, Side, Truncation};
pub use encoding::Encoding;
pub use error::Error;
pub use files::{Bytes, TokenizerFiles};
pub use packed::{Packed, PackedError, PositionStyle, restore_order};
pub use sentences::sentences;
pub use special::{Special, SpecialTokens};
pub use tokenizer::{Tokenizer, clean_up};

use marian::Marian;
