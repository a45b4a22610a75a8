//! What can go wrong between a model directory and a model's answer.

use std::path::{Path, PathBuf};

/// An error of configuration, weights or inputs. Errors of the files themselves are [`crate::files::Error`],
/// those of the hub [`crate::hub::Error`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `config.json` could not be read.
    #[error("{path}: {source}; a model directory holds a config.json beside its weights")]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `config.json` is not the JSON that it should be.
    #[error("{path}: not a valid configuration: {source}")]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        source: serde_json::Error,
    },
    /// A field of `config.json` is missing or out of range.
    #[error("{path}: {field}: {problem}")]
    ConfigField {
        /// The file.
        path: PathBuf,
        /// The field's name.
        field: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The family is not one of those that ptm knows.
    #[error("{path}: model_type {found:?} is not supported; ptm knows {}", known.join(", "))]
    UnknownFamily {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// The families there are.
        known: Vec<&'static str>,
    },
    /// The family is known, but its models are of another kind than what was asked for.
    #[error("{path}: model_type {found:?} is {is}; this needs {wanted}: {}", fitting.join(", "))]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// The family of the file.
        found: &'static str,
        /// What it is.
        is: &'static str,
        /// What was asked for.
        wanted: &'static str,
        /// The families that would do.
        fitting: Vec<&'static str>,
    },
    /// The family has no such head.
    #[error("{family} has no {head} head in this version; it has {}", known.join(", "))]
    NoSuchHead {
        /// The family.
        family: &'static str,
        /// The head that was asked for.
        head: &'static str,
        /// Those it has.
        known: Vec<&'static str>,
    },
    /// The model was saved by a class whose head ptm doesn't have.
    #[error("{path}: this is a {class}, whose head ptm doesn't have; of its family it has {}", known.join(", "))]
    ClassWithoutHead {
        /// The file that names the class.
        path: PathBuf,
        /// The class.
        class: String,
        /// The heads of the family.
        known: Vec<&'static str>,
    },
    /// Tensors that the model needs are not in the weights.
    #[error("{label}: {} missing: {}; {hint}", count(names), some(names))]
    MissingTensors {
        /// Where was looked.
        label: String,
        /// What was looked for.
        names: Vec<String>,
        /// What that means and what to do.
        hint: String,
    },
    /// A tensor doesn't have the shape that the configuration asks for.
    #[error(
        "{label}: tensor {name} has shape {found:?}, but config.json asks for {expected:?} ({fields}); \
         the two don't belong together, take both from one model"
    )]
    TensorShape {
        /// Where.
        label: String,
        /// Which.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that config.json implies.
        expected: Vec<usize>,
        /// The fields of config.json that say so.
        fields: &'static str,
    },
    /// A configuration asks for more than can be meant.
    #[error(
        "config.json: a model of {parameters} parameters is more than this version initialises ({most}); \
         check hidden_size, intermediate_size, num_hidden_layers and vocab_size"
    )]
    TooLarge {
        /// How many it would have.
        parameters: u64,
        /// How many it may have.
        most: u64,
    },
    /// An input doesn't fit the model.
    #[error("{0}")]
    Input(String),
    /// A model file.
    #[error(transparent)]
    Files(#[from] crate::files::Error),
    /// The hub.
    #[error(transparent)]
    Hub(#[from] crate::hub::Error),
}

impl Error {
    /// The same error of a configuration, of the file at `file`.
    pub(crate) fn in_file(mut self, file: &Path) -> Self {
        if let Self::ConfigField { path, .. }
        | Self::UnknownFamily { path, .. }
        | Self::OtherKind { path, .. }
        | Self::ConfigSyntax { path, .. } = &mut self
        {
            file.clone_into(path);
        }
        self
    }
}

fn count(names: &[String]) -> String {
    if names.len() == 1 { "a tensor is".into() } else { format!("{} tensors are", names.len()) }
}

fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
