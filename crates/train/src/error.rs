//! What can go wrong between a recipe and a trained model. Every message says which file, field or parameter, and
//! what to do.

use std::path::PathBuf;

/// An error of training or of evaluation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A recipe that is not what it should be.
    #[error("{place}: {problem}")]
    Recipe {
        /// The file, or where else the setting comes from.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Data and model, or gold and predictions, don't fit each other.
    #[error("{0}")]
    Input(String),
    /// The loss or its gradients are no numbers any more.
    #[error(
        "the loss of step {step} is not a finite number: the learning rate is too high, or the data or the model hold \
         what is no number; lower optimizer.lr, or give run.clip"
    )]
    Diverged {
        /// At which step.
        step: u64,
    },
    /// The caller asked to stop; a checkpoint was written.
    #[error("stopped")]
    Stopped,
    /// The model.
    #[error(transparent)]
    Model(#[from] ptm_models::Error),
    /// The tokenizer.
    #[error(transparent)]
    Text(#[from] ptm_text::Error),
    /// The labelled data.
    #[error(transparent)]
    Data(#[from] ptm_text::dataset::Error),
    /// The corpus.
    #[error(transparent)]
    Corpus(#[from] ptm_text::corpus::Error),
}

impl Error {
    /// A problem of the setting at `place`.
    pub(crate) fn recipe(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Recipe { place: place.into(), problem: problem.into() }
    }
}

impl From<ptm_tasks::Error> for Error {
    fn from(error: ptm_tasks::Error) -> Self {
        match error {
            ptm_tasks::Error::Stopped => Self::Stopped,
            ptm_tasks::Error::Model(error) => Self::Model(error),
            ptm_tasks::Error::Text(error) => Self::Text(error),
            other => Self::Input(other.to_string()),
        }
    }
}

impl From<ptm_models::files::Error> for Error {
    fn from(error: ptm_models::files::Error) -> Self {
        Self::Model(error.into())
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
