//! The cache on disk, laid out as Python's library has it: `models--ORG--NAME/` with `refs/REV` (a commit's name),
//! `blobs/ETAG` (contents), `snapshots/COMMIT/FILE` (links to blobs) and `.no_exist/COMMIT/FILE` (known to be absent);
//! locks under `.locks/`. What is visible under `snapshots` is whole.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use serde::Deserialize;

use super::{Error, Pattern, names};

/// The cache's part for one model.
#[derive(Debug)]
pub(super) struct ModelCache {
    root: PathBuf,
    locks: PathBuf,
}

/// A model in the cache.
#[derive(Clone, Debug)]
pub struct CachedModel {
    /// Its id.
    pub id: String,
    /// Its revisions: the commit, and the branches and tags that point to it.
    pub revisions: Vec<CachedRevision>,
    /// Bytes on disk, what revisions share counted once.
    pub size_bytes: u64,
    /// Its directory in the cache.
    pub path: PathBuf,
    /// When something of it was last written, if the file system tells.
    pub last_modified: Option<SystemTime>,
}

/// One revision of a model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedRevision {
    /// The commit.
    pub commit: String,
    /// Branches, tags and pull requests that point to it.
    pub refs: Vec<String>,
    /// The model directory.
    pub path: PathBuf,
}

impl ModelCache {
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        let folder = names::folder(id);
        Self { root: cache.join(&folder), locks: cache.join(".locks").join(folder) }
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Contents that are not all there yet.
    pub(super) fn incomplete(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.incomplete"))
    }

    pub(super) fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    pub(super) fn pointer(&self, commit: &str, file: &str) -> PathBuf {
        let mut path = self.snapshot(commit);
        path.extend(file.split('/'));
        path
    }

    /// The commit that a revision was when it was last asked for.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        if names::is_commit(revision) {
            return Some(revision.to_owned());
        }
        read_ref(&self.reference(revision))
    }

    fn reference(&self, revision: &str) -> PathBuf {
        let mut path = self.root.join("refs");
        path.extend(revision.split('/'));
        path
    }

    /// Notes which commit a revision is.
    pub(super) fn set_ref(&self, revision: &str, commit: &str) -> Result<(), Error> {
        if names::is_commit(revision) || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.reference(revision);
        make_parent(&path)?;
        replace(&path, |temporary| fs::write(temporary, commit)).map_err(Error::io(&path, "write"))
    }

    /// Notes that a file isn't there. Of no consequence when it fails.
    pub(super) fn set_absent(&self, commit: &str, file: &str) {
        let mut path = self.root.join(".no_exist").join(commit);
        path.extend(file.split('/'));
        if make_parent(&path).is_ok() {
            let _ = File::options().append(true).create(true).open(&path);
        }
    }

    /// Makes a blob visible under its name: a relative link, or a copy where links are impossible.
    pub(super) fn link(&self, etag: &str, commit: &str, file: &str, symlinks: bool) -> Result<(), Error> {
        let (pointer, blob) = (self.pointer(commit, file), self.blob(etag));
        make_parent(&pointer)?;
        // from the file's folder up to the model's, then down to the blob
        let up = "../".repeat(file.split('/').count() + 1);
        let target = format!("{up}blobs/{etag}");
        if symlinks && replace(&pointer, |temporary| symlink(&target, temporary)).is_ok() {
            return Ok(());
        }
        let copied = replace(&pointer, |temporary| {
            fs::copy(&blob, temporary)?;
            File::options().write(true).open(temporary)?.sync_all()
        });
        copied.map_err(Error::io(&pointer, "copy"))
    }

    /// What a snapshot lacks to be used: `None` where there is nothing, no names where it is whole. Those who name files
    /// get them when any is there; a whole model has a configuration and weights that the reader opens, every shard of
    /// them.
    pub(super) fn lacks(&self, commit: &str, wanted: &[Pattern]) -> Option<Vec<String>> {
        let snapshot = self.snapshot(commit);
        fs::read_dir(&snapshot).ok()?.next()?.ok()?;
        if !wanted.is_empty() {
            let mut files = Vec::new();
            collect_files(&snapshot, "", 0, &mut files);
            let any = files.iter().any(|file| wanted.iter().any(|pattern| pattern.matches(file)));
            return any.then(Vec::new);
        }
        // an adapter has its own names; sentence-transformers may keep the encoder in a folder
        let has = |name: &str| snapshot.join(name).exists();
        if has("adapter_config.json") && (has("adapter_model.safetensors") || has("adapter_model.bin")) {
            return Some(Vec::new());
        }
        let inner = entries(&snapshot).find(|path| {
            path.to_string_lossy().ends_with("_Transformer") && (path.join(CONFIG).exists() || weights(path).is_some())
        });
        let base = inner.filter(|_| has("modules.json") && !has(CONFIG)).unwrap_or(snapshot);
        let mut lacks = BTreeSet::new();
        if !base.join(CONFIG).exists() {
            lacks.insert(CONFIG.to_owned());
        }
        match weights(&base) {
            None => {
                lacks.insert("weights: model.safetensors or pytorch_model.bin".to_owned());
            }
            Some(index) if index.ends_with(".index.json") => {
                // an index that cannot be read is the reader's to explain
                let shards = read_short(&base.join(index), 64 << 20).ok();
                let shards = shards.and_then(|text| serde_json::from_str::<Index>(&text).ok());
                let shards = shards.into_iter().flat_map(|index| index.weight_map.into_values());
                lacks.extend(
                    shards.filter(|shard| names::is_relative_path(shard)).filter(|shard| !base.join(shard).exists()),
                );
            }
            Some(_) => {}
        }
        Some(lacks.into_iter().collect())
    }
}

const CONFIG: &str = "config.json";

/// An index of shards: which file has which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::BTreeMap<String, String>,
}

/// The weights that the reader opens in a folder, the first of these names.
fn weights(folder: &Path) -> Option<&'static str> {
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"]
        .into_iter()
        .find(|name| folder.join(name).exists())
}

/// The files below a folder that are not broken links, as paths with `/`.
fn collect_files(dir: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) {
    for path in entries(dir) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let name = format!("{prefix}{name}");
        if !path.is_dir() {
            files.extend(path.exists().then_some(name));
        } else if depth < MAX_DEPTH {
            collect_files(&path, &format!("{name}/"), depth + 1, files);
        }
    }
}

/// Every model in the cache, by id. What cannot be read is left out.
pub(super) fn list(cache: &Path) -> Vec<CachedModel> {
    let mut models: Vec<_> = entries(cache)
        .filter_map(|path| {
            let id = path.file_name()?.to_str()?.strip_prefix("models--")?.replace("--", "/");
            names::check_id(&id).ok()?;
            let mut found =
                CachedModel { id, revisions: Vec::new(), size_bytes: 0, path: path.clone(), last_modified: None };
            let mut refs = Vec::new();
            collect_refs(&path.join("refs"), "", 0, &mut refs);
            found.revisions = entries(&path.join("snapshots"))
                .filter_map(|snapshot| {
                    let commit = snapshot.file_name()?.to_str()?.to_owned();
                    let names = refs.iter().filter(|(_, of)| *of == commit).map(|(name, _)| name.clone()).collect();
                    Some(CachedRevision { commit, refs: names, path: snapshot })
                })
                .collect();
            measure(&path, 0, &mut found);
            (!found.revisions.is_empty()).then_some(found)
        })
        .collect();
    models.sort_by(|a, b| a.id.cmp(&b.id));
    models
}

/// Deeper folders than any model has are left out.
const MAX_DEPTH: usize = 16;

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter()
}

fn collect_refs(dir: &Path, prefix: &str, depth: usize, refs: &mut Vec<(String, String)>) {
    for path in entries(dir) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            if depth < MAX_DEPTH {
                collect_refs(&path, &format!("{name}/"), depth + 1, refs);
            }
        } else if let Some(commit) = read_ref(&path) {
            refs.push((name, commit));
        }
    }
}

/// Adds up files; links count nothing, so that blobs count once.
fn measure(dir: &Path, depth: usize, model: &mut CachedModel) {
    for path in entries(dir) {
        let Ok(found) = path.symlink_metadata() else { continue };
        if found.is_dir() && depth < MAX_DEPTH {
            measure(&path, depth + 1, model);
        } else if found.is_file() {
            model.size_bytes += found.len();
            model.last_modified = model.last_modified.max(found.modified().ok());
        }
    }
}

fn read_ref(path: &Path) -> Option<String> {
    let text = read_short(path, 100).ok()?;
    Some(text.trim().to_owned()).filter(|commit| names::is_commit(commit))
}

fn read_short(path: &Path, limit: u64) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

pub(super) fn make_parent(path: &Path) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(Error::io(parent, "make the directory"))
}

/// Makes something beside `path` and gives it that name when it is ready.
fn replace(path: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // the model's folder holds no such names: a program that lists a snapshot at this moment must not see it
    let temporary = format!(".{name}.{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let temporary = path.with_file_name(temporary);
    let done = make(&temporary).and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &str, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
