//! What a comparison keeps in its folder: what it is of, and small files that say what is there as a whole.

use std::path::{Path, PathBuf};

use ptm_models::files::write_atomic;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::variant::Variant;
use crate::checkpoint::Folder;
use crate::error::{Error, Result};

/// What a comparison is of: one in the same output must be the same.
#[derive(Serialize, Deserialize)]
pub struct Record {
    /// The recipe.
    pub recipe: String,
    /// How the task is learnt.
    pub finetune: String,
    /// Names and sizes of labelled files, and fingerprints of corpora.
    pub data: String,
}

/// Holds the record.
pub const RECORD: &str = "adapt.json";
/// Says of a variant that its model is there, and how it was made.
pub const PRETRAINED: &str = "pretrained.json";
/// The model of a run.
pub const MODEL: &str = "model";
/// How many documents of the domain were left out.
pub const LEFT_OUT: &str = "domain-left-out.json";

/// Whether a corpus is there as a whole.
pub fn is_packed(dir: &Path) -> bool {
    dir.join("corpus.json").is_file()
}

/// A file's own name.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Paths with commas between them.
pub fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A JSON file; none where there is none.
///
/// # Errors
/// When it can't be read, or is not what it should be.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::File { action: "read", path: path.to_owned(), source }),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        let way = "remove it, or begin afresh";
        Error::Input(format!("{}: {error}; {way}", path.display()))
    })
}

/// Writes a JSON file.
///
/// # Errors
/// When it can't be written.
pub fn save(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|error| Error::Input(format!("{}: {error}", path.display())))?;
    Ok(write_atomic(path, &text)?)
}

/// Removes a folder; one that is not there is fine.
///
/// # Errors
/// When something of it can't be removed.
pub fn remove_dir(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: dir.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Removes the checkpoints of a run that was finished; its model and curves stay.
///
/// # Errors
/// When one can't be removed.
pub fn remove_checkpoints(output: &Path) -> Result<()> {
    for checkpoint in Folder::open(output)?.checkpoints()? {
        remove_dir(checkpoint.model())?;
    }
    Ok(())
}

/// Removes what an earlier comparison left, and nothing else.
///
/// # Errors
/// When something can't be removed.
pub fn clear(output: &Path) -> Result<()> {
    if !output.join(RECORD).is_file() {
        return Ok(());
    }
    let failed = |source| Error::File { action: "read", path: output.to_owned(), source };
    for entry in std::fs::read_dir(output).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = name(&path);
        let corpus = ["domain", "task"].contains(&name.as_str()) || name.starts_with("nearest-");
        if path.is_dir() && (corpus || name.parse::<Variant>().is_ok()) {
            remove_dir(&path)?;
        } else if [
            RECORD,
            LEFT_OUT,
            "neighbours.jsonl",
            "neighbours.unfinished",
            "table.md",
            "table.html",
            "table.json",
        ]
        .contains(&name.as_str())
        {
            std::fs::remove_file(&path).map_err(|source| Error::File { action: "remove", path, source })?;
        }
    }
    Ok(())
}
