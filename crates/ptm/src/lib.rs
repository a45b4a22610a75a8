//! Pre-trained language models: read, run, and write them in the Hugging Face format.
//!
//! ```
//! use ptm::prelude::*;
//!
//! let model = Embedder::embedded()?;
//! let texts = ["A man is eating food.", "Someone has a meal.", "The sky is blue."];
//! let vectors = model.embed(&texts, &EmbedOptions::default(), &mut |_| {})?;
//! assert!(cosine(&vectors[0], &vectors[1]) > cosine(&vectors[0], &vectors[2]));
//! # Ok::<(), ptm::tasks::Error>(())
//! ```

pub use ptm_kernels as kernels;
pub use ptm_models as models;
pub use ptm_ops as ops;
pub use ptm_tasks as tasks;
pub use ptm_text as text;

/// What most programs need.
pub mod prelude {
    pub use ptm_models::{EncoderConfig, MaskedLm, QuestionAnswering, SequenceClassifier, TokenClassifier};
    pub use ptm_tasks::{EmbedOptions, Embedder, FillMask, FillMaskOptions, Filled, Guess, Ranked, cosine, rank};
    pub use ptm_text::{EncodeOptions, Tokenizer};
}

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
