//! Applications, from strings to answers: embedding, similarity, masked words.
//!
//! Answers serialise to the JSON that users of Hugging Face's pipelines and servers already parse. A task reads a
//! model directory, forms batches by their number of tokens, and knows nothing of training or of a terminal.

mod batch;
mod default_model;
mod embed;
mod error;
mod fill_mask;
mod pooling;
mod sentence_transformers;
mod similarity;

pub use embed::{EmbedOptions, Embedder};
pub use error::{Error, Result};
pub use fill_mask::{FillMask, FillMaskOptions, Filled, Guess};
pub use similarity::{Ranked, cosine, rank};
