//! Model families, heads, weights by name, model directories and the hub.
//!
//! A model directory is Hugging Face's: `config.json`, weights, tokenizer files. [`model::Model`] is a body with a
//! head; it is read from such a directory and written to one that `transformers` opens.
//!
//! Letters used for shapes: `T` packed rows (the sum of all lengths), `B` sequences, `R` chosen rows, `H` hidden
//! width, `E` embedding width, `V` vocabulary.

pub mod auto;
pub mod bart;
mod body;
pub mod cache;
pub mod config;
pub mod decoder;
pub mod electra;
pub mod encoder;
pub mod ernie;
mod error;
pub mod families;
pub mod files;
pub mod heads;
pub mod hub;
mod init;
pub mod layers;
pub mod layout;
pub mod model;
pub mod names;
mod pass;
mod path;
mod read;
mod rows;
pub mod t5;
mod write;
pub mod xlnet;

pub use bart::{Bart, BartDecoder, BartEncoder};
pub use body::{Body, LanguageModelStyle, Pair, Sequences};
pub use cache::{Cache, Stepwise};
pub use config::{
    BartConfig, Configuration, DecoderConfig, EncoderConfig, Family, Kind, ProblemType, ResidualInit, T5Config,
    XlnetConfig,
};
pub use decoder::Decoder;
pub use electra::Electra;
pub use encoder::{Encoder, Input};
pub use ernie::Ernie;
pub use error::{Error, Result};
pub use model::{
    Bodies, LanguageModel, Loaded, MaskedLm, Model, QuestionAnswering, SequenceClassifier, TokenClassifier,
};
pub use pass::Pass;
pub use rows::Rows;
pub use t5::{T5, T5Encoder};
pub use write::Named;
pub use xlnet::{Memory, Permuted, Visible, Xlnet};
