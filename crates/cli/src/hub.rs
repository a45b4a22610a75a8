//! Models by directory or id: the library's hub with this program's progress bar.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ptm_models::hub::{self, Hub};

use crate::args::{Given, ModelArgs};
use crate::failure::hinted;
use crate::progress::{Progress, Unit};

/// The directory of a model: a directory as it is, else from the cache or the hub.
///
/// # Errors
/// When there is neither, or it cannot be fetched.
pub fn resolve(wanted: &str, revision: Option<&str>, quiet: bool) -> Result<PathBuf, hub::Error> {
    let hub = Hub::from_env();
    let quiet = quiet || !hub.settings().progress_bars;
    hub.with_progress(Arc::new(Download { quiet, file: Mutex::new(None) })).resolve(wanted, revision, &[])
}

/// That a revision, where one is named, is of a model that has any.
///
/// # Errors
/// When a revision is named, and all `models` are directories here.
pub fn check_revision(revision: Option<&str>, models: &[&str]) -> anyhow::Result<()> {
    match revision {
        Some(revision) if models.iter().all(|model| Path::new(model).exists()) => Err(hinted(
            format!("--revision {revision} does not apply: {} is a directory here", models.join(", ")),
            "leave it out, or name a model of the hub",
        )),
        _ => Ok(()),
    }
}

/// The directory of the model that is named; none where none is.
///
/// # Errors
/// As [`resolve`]; when a revision is named of what has none.
pub fn model(args: &ModelArgs, given: &Given, quiet: bool) -> anyhow::Result<Option<PathBuf>> {
    let instead = "leave it out, or name a model of the hub with --model";
    let Some(wanted) = &args.model else {
        given.refuse("revision", "no model of the hub is named", instead)?;
        return Ok(None);
    };
    // what was found already has no revision left
    if args.revision.is_some() && Path::new(wanted).exists() {
        given.refuse("revision", &format!("{wanted} is a directory here, of which there is one version"), instead)?;
    }
    Ok(Some(resolve(wanted, args.revision.as_deref(), quiet)?))
}

/// The same for a task that no built-in model has.
///
/// # Errors
/// As [`model`]; when no model is named.
pub fn needed(args: &ModelArgs, given: &Given, task: &str, example: &str, quiet: bool) -> anyhow::Result<PathBuf> {
    if args.model.is_none() {
        return Err(hinted(
            format!("no model for {task} is built in"),
            format!(
                "name one with --model (or PTM_MODEL): a directory with config.json, weights and tokenizer, or an id of the \
                 hub such as {example}"
            ),
        ));
    }
    Ok(model(args, given, quiet)?.expect("one is named"))
}

/// Labelled files or a folder as they are, else the folder of a data set that is in the hub's cache already.
///
/// # Errors
/// When there is neither.
pub fn data(wanted: &Path) -> anyhow::Result<PathBuf> {
    if wanted.exists() {
        return Ok(wanted.to_owned());
    }
    let shown = wanted.display();
    let name = wanted.to_str().filter(|name| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let parts: Vec<&str> = name.split('/').collect();
        parts.len() <= 2
            && name.chars().all(allowed)
            && parts.iter().all(|part| !part.is_empty() && !part.starts_with('.'))
    });
    if let Some(name) = name {
        let folder = Hub::from_env().settings().cache.join(format!("datasets--{}", name.replace('/', "--")));
        let commit = std::fs::read_to_string(folder.join("refs/main")).unwrap_or_default();
        let commit = commit.trim();
        if !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric()) {
            let snapshot = folder.join("snapshots").join(commit);
            if snapshot.is_dir() {
                return Ok(snapshot);
            }
        }
    }
    Err(hinted(
        format!("{shown}: there is no such file or folder, and no data set of that name in the hub's cache"),
        "give labelled files (.jsonl, .csv, .tsv, .parquet, .conll, …) or a folder of them",
    ))
}

/// Shows the file that is being fetched.
struct Download {
    quiet: bool,
    file: Mutex<Option<(Progress, u64)>>,
}

impl hub::Progress for Download {
    fn start(&self, file: &str, total: Option<u64>) {
        let progress = Progress::new(Unit::Bytes(file.to_owned()), total, self.quiet);
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some((progress, 0));
    }

    fn advance(&self, bytes: u64) {
        if let Some((progress, done)) = &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            *done += bytes;
            progress.at(*done);
        }
    }

    fn finish(&self) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
