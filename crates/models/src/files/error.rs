//! What can be wrong with a file of weights. Each message says what, where and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use safetensors::Dtype;

/// An error of reading or writing model files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory holds no weights that ptm reads.
    #[error(
        "{dir}: no weights here; looked for {looked_for}. Give a model directory, or save the model in one of these formats"
    )]
    NoWeights {
        /// The directory.
        dir: PathBuf,
        /// The file names, in the order in which they were tried.
        looked_for: String,
    },
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}{}", hint(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, "open" for instance.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A path that should be a file is something else.
    #[error("{path}: this is no regular file; give the path of one")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Nothing tells how to read this file.
    #[error("{label}: {problem}; ptm reads safetensors and PyTorch's .bin files")]
    UnknownFormat {
        /// The file.
        label: String,
        /// What it looks like.
        problem: &'static str,
    },
    /// The file is shorter than it says.
    #[error("{label}: truncated: {what} needs {needed} bytes, the file has {found}; copy or download it again")]
    Truncated {
        /// The file.
        label: String,
        /// The part that does not fit.
        what: String,
        /// How long the file has to be for it, at least.
        needed: u64,
        /// How long it is.
        found: u64,
    },
    /// The header contradicts itself or the file.
    #[error("{label}: bad safetensors header: {problem}; the file is damaged, copy or download it again")]
    Header {
        /// The file.
        label: String,
        /// What contradicts what.
        problem: String,
    },
    /// One tensor is described wrongly.
    #[error("{label}: tensor {name}: {problem}; the file is damaged or was not written by a known tool")]
    Tensor {
        /// The file.
        label: String,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tensor has another element type than the one that is needed.
    #[error(
        "{label}: tensor {name} has element type {found}, which cannot be read as {wanted}; convert the file first"
    )]
    Dtype {
        /// The file.
        label: String,
        /// The tensor.
        name: String,
        /// Its type.
        found: Dtype,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The index of a model in several files is wrong.
    #[error("{path}: {problem}; the index and its shards belong together, download them again")]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A zip archive that PyTorch would not have written.
    #[error("{label}: bad zip archive: {problem}; save the model again, best as safetensors")]
    Zip {
        /// The file.
        label: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A pickle that is damaged or holds something else than weights.
    #[error(
        "{label}: pickle, byte {at}: {problem}; only dictionaries of tensors are read: save the model's state_dict()"
    )]
    Pickle {
        /// The file.
        label: String,
        /// Where in the pickle.
        at: usize,
        /// What is wrong.
        problem: String,
    },
    /// A pickle that asks for a program to be run, or an object to be built, which ptm never does.
    #[error(
        "{label}: pickle wants to run {callable}: refused, ptm runs no code from files; convert the weights to safetensors where you trust them"
    )]
    PickleCode {
        /// The file.
        label: String,
        /// What it names, `os.system` for instance.
        callable: String,
    },
    /// What was given to be written does not fit together.
    #[error("{path}: cannot write tensor {name}: {problem}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What does not fit.
        problem: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; check the permissions of the file and its directories",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space",
        io::ErrorKind::NotFound => "; check the spelling of the path",
        _ => "",
    }
}
