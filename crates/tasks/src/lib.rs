//! Applications, from strings to answers: embedding, features, similarity, masked words, labels of texts and of
//! tokens, answers in contexts, generated text.
//!
//! Answers serialise to the JSON that users of Hugging Face's pipelines and servers already parse. A task reads a
//! model directory, forms batches by their number of tokens, and knows nothing of training or of a terminal.

mod batch;
mod chat;
mod code_points;
mod cut;
mod default_filler;
mod default_model;
mod embed;
mod error;
mod feature_extraction;
mod fill_mask;
pub mod generation;
mod headed;
mod hidden;
mod natural_language_inference;
mod nearest;
mod parameters;
mod pooling;
mod question_answering;
mod reads;
mod rerank;
mod sentence_transformers;
mod similarity;
mod task;
mod text2text;
mod text_classification;
mod text_generation;
mod token_classification;
mod zero_shot;

pub use chat::{ChatTemplate, Message};
pub use embed::{EmbedOptions, Embedder, embedded_tokenizer};
pub use error::{Error, Result};
pub use feature_extraction::{FeatureExtraction, FeatureExtractionOptions, Features};
pub use fill_mask::{FillMask, FillMaskOptions, Filled, Guess};
pub use natural_language_inference::NaturalLanguageInference;
pub use nearest::{Nearest, Neighbour};
pub use parameters::Effective;
pub use question_answering::{FoundAnswer, FoundAnswers, Question, QuestionAnswering, QuestionAnsweringOptions};
pub use rerank::{RerankOptions, Reranker};
pub use similarity::{Ranked, cosine, rank};
pub use task::Task;
pub use text_classification::{Classified, Function, Label, TextClassification, TextClassificationOptions, Top};
pub use text_generation::{Answer, Generated, Prompt, TextGeneration, TextGenerationOptions};
pub use text2text::{Long, Purpose, Reply, Text2Text, Text2TextOptions};
pub use token_classification::{Aggregation, Entity, TokenClassification, TokenClassificationOptions};
pub use zero_shot::{ZeroShot, ZeroShotAnswer, ZeroShotOptions, split_labels};
