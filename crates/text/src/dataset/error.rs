//! What can go wrong between a labelled file and an example. Every message says which file, which line or row, and
//! what to do.

use std::path::PathBuf;
use std::sync::Arc;

/// Where a row stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Its line or row, from 1.
    pub number: u64,
    /// Whether `number` counts lines of text, or rows of a table.
    pub lines: bool,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {} {}", self.file, if self.lines { "line" } else { "row" }, self.number)
    }
}

/// Errors of labelled data.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A name that does not tell what the file holds.
    #[error(
        "{}: cannot tell its format; name it .jsonl, .json, .csv, .tsv, .parquet, .conll, .conllu or .txt, \
         or give the format", path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Nothing of the split that was asked for.
    #[error("{} holds no data of the split {split:?}; {found}", path.display())]
    NoSplit {
        /// The folder.
        path: PathBuf,
        /// What was asked for.
        split: String,
        /// What there is.
        found: String,
    },
    /// Files without a row.
    #[error("{place} holds no rows: give a file with data")]
    Empty {
        /// The files.
        place: String,
    },
    /// A wrong row.
    #[error("{place}: {problem}")]
    Row {
        /// Where.
        place: Place,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that is not what its format says.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Options that contradict each other or the data.
    #[error("{0}")]
    Options(String),
}

impl Error {
    /// The error of a row.
    pub(crate) fn row(place: &Place, problem: impl Into<String>) -> Self {
        Self::Row { place: place.clone(), problem: problem.into() }
    }

    /// Whether the other rows can still be read.
    pub fn is_of_one_row(&self) -> bool {
        matches!(self, Self::Row { .. })
    }
}
