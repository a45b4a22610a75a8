//! `[data]` of a recipe: which files are read, and how their rows become tokens.

use std::path::PathBuf;

use ptm_text::dataset;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Tokens of a target text, where a recipe doesn't say.
pub const MAX_TARGET: usize = 128;

/// `[data]`: this, and how files are read ([`dataset::Options`]: `format`, `columns`, `label_names`, …).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct Data {
    /// Files or folders to learn from.
    pub train: Vec<PathBuf>,
    /// Files or folders to judge by. Of a folder the part `validation`.
    pub validation: Vec<PathBuf>,
    /// Tokens of an example; longer ones are cut, questions into windows. Default: as many as the model reads, at most
    /// 512.
    pub max_length: Option<usize>,
    /// Tokens that a window of a long context repeats from the one before, at most a quarter of `max_length`. Default: 128.
    pub stride: usize,
    /// Tokens of a target text. Default: 128.
    pub max_target: usize,
    /// Put before every source of text-to-text: `"translate English to German: "`. Default: nothing.
    pub prefix: String,
    /// Threads that tokenise ahead of the step. Default: as many as the machine has.
    pub workers: usize,
    /// How files are read.
    pub options: dataset::Options,
}

/// Takes the value of a key out of a table.
pub(crate) fn take<T: serde::de::DeserializeOwned>(table: &mut Table, key: &str) -> Result<Option<T>, String> {
    let value = table.remove(key).map(Value::try_into).transpose();
    value.map_err(|error: toml::de::Error| format!("{key}: {}", error.message()))
}

/// The same of one path, or of a list of them.
pub(crate) fn take_paths(table: &mut Table, key: &str) -> Result<Vec<PathBuf>, String> {
    match table.get(key) {
        Some(Value::String(_)) => Ok(take::<PathBuf>(table, key)?.into_iter().collect()),
        _ => Ok(take(table, key)?.unwrap_or_default()),
    }
}

/// Paths as a list.
pub(crate) fn list(paths: &[PathBuf]) -> Value {
    paths.iter().map(|path| Value::from(path.to_string_lossy().into_owned())).collect::<Vec<_>>().into()
}

impl TryFrom<Table> for Data {
    type Error = String;

    fn try_from(mut table: Table) -> Result<Self, String> {
        let data = Self {
            train: take_paths(&mut table, "train")?,
            validation: take_paths(&mut table, "validation")?,
            max_length: take(&mut table, "max_length")?,
            stride: take(&mut table, "stride")?.unwrap_or(128),
            max_target: take(&mut table, "max_target")?.unwrap_or(MAX_TARGET),
            prefix: take(&mut table, "prefix")?.unwrap_or_default(),
            workers: take(&mut table, "workers")?.unwrap_or(0),
            options: table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?,
        };
        if data.train.is_empty() {
            return Err("train: name the files to learn from, train = [\"train.jsonl\"]".into());
        }
        Ok(data)
    }
}

impl From<Data> for Table {
    fn from(data: Data) -> Self {
        let mut table = Table::try_from(&data.options).unwrap_or_default();
        table.insert("train".into(), list(&data.train));
        table.insert("validation".into(), list(&data.validation));
        if let Some(length) = data.max_length {
            table.insert("max_length".into(), (length as i64).into());
        }
        for (key, number) in [("stride", data.stride), ("max_target", data.max_target), ("workers", data.workers)] {
            table.insert(key.into(), (number as i64).into());
        }
        table.insert("prefix".into(), data.prefix.into());
        table
    }
}
