//! What can go wrong between a text and its answer.

use std::path::PathBuf;

/// An error of a task.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model's directory, configuration or weights, or a text that doesn't fit the model.
    #[error(transparent)]
    Model(#[from] ptm_models::Error),
    /// The tokenizer's files, or a text it can't take.
    #[error(transparent)]
    Text(#[from] ptm_text::Error),
    /// A file of a sentence-transformers directory.
    #[error("{path}: {problem}")]
    Module {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// An option that the model or the input doesn't allow.
    #[error("{0}")]
    Option(String),
    /// An input that the task can't answer.
    #[error("{0}")]
    Input(String),
    /// The model computes NaN or infinite numbers.
    #[error(
        "{model} gives numbers that are not finite for {text:?}: its weights are damaged or hold NaN; fetch or train them \
         again"
    )]
    NotFinite {
        /// The model's name or directory.
        model: String,
        /// The beginning of the text.
        text: String,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

impl From<ptm_models::files::Error> for Error {
    fn from(error: ptm_models::files::Error) -> Self {
        Self::Model(error.into())
    }
}

impl Error {
    /// The error about a text whose answer is no number.
    pub(crate) fn not_finite(model: &str, text: &str) -> Self {
        Self::NotFinite { model: model.to_owned(), text: text.chars().take(60).collect() }
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
