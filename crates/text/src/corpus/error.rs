//! What can go wrong with a packed corpus. Every message says which file or directory, and what to do.

use std::path::PathBuf;

/// Errors of packed corpora.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or directory could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory without a manifest.
    #[error("{} holds no packed corpus: it has no corpus.json; make one with ptm corpus pack", dir.display())]
    NoCorpus {
        /// The directory.
        dir: PathBuf,
    },
    /// A directory where packing stopped before its end.
    #[error("{} is unfinished: packing stopped before its end; pack it again", dir.display())]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// A directory that holds something else already.
    #[error("{} is not empty: name a new directory, or remove what is in it", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
    /// A file that is not what the format says.
    #[error("{}: {problem}; pack the corpus again", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A corpus of another version.
    #[error("{} has version {found} of the format, this program reads {known}: pack the corpus again", path.display())]
    Version {
        /// Which.
        path: PathBuf,
        /// What it says.
        found: u64,
        /// What is known here.
        known: u64,
    },
    /// A document number beyond the end.
    #[error("{} has {documents} documents, there is no number {number}", dir.display())]
    NoDocument {
        /// The corpus.
        dir: PathBuf,
        /// What was asked for.
        number: u64,
        /// How many there are.
        documents: u64,
    },
    /// A document that cannot be stored.
    #[error("document {number} cannot be packed: {problem}")]
    Document {
        /// Its number, from 0.
        number: u64,
        /// What is wrong.
        problem: String,
    },
    /// Nothing to train on.
    #[error("{place} holds no documents{what}: give more text{}", if what.is_empty() { "" } else { ", or another share for validation" })]
    Empty {
        /// The corpus or the files.
        place: String,
        /// Of which part.
        what: &'static str,
    },
    /// Options that contradict each other.
    #[error("{0}")]
    Options(String),
    /// Input that cannot be read.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::Error),
    /// Text that the tokenizer fails on.
    #[error(transparent)]
    Tokenizer(#[from] crate::Error),
}

impl Error {
    pub(super) fn damaged(path: &std::path::Path, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.into() }
    }
}
