//! Every tensor of a model, by name, from one file or several, of either format. Files are mapped, not read.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::view::TensorView;
use super::{Error, safetensors, sharded, torch_file};

/// A single file of weights, in the order of preference.
pub(super) const SAFETENSORS: &str = "model.safetensors";
pub(super) const SAFETENSORS_INDEX: &str = "model.safetensors.index.json";
const TORCH: &str = "pytorch_model.bin";
const TORCH_INDEX: &str = "pytorch_model.bin.index.json";

/// Every tensor of a model, by name. Tensors share the mapped files; they may outlive this.
#[derive(Clone, Debug)]
pub struct Weights {
    label: Arc<str>,
    pub(super) tensors: BTreeMap<String, TensorView>,
    metadata: BTreeMap<String, String>,
}

impl Weights {
    /// The weights of a model directory: `model.safetensors`, `model.safetensors.index.json`, `pytorch_model.bin` or
    /// `pytorch_model.bin.index.json`, the first of them that is there.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let list = dir.metadata().map_err(Error::io(dir, "open"))?;
        if !list.is_dir() {
            return Self::open_file(dir);
        }
        let names = [SAFETENSORS, SAFETENSORS_INDEX, TORCH, TORCH_INDEX];
        for name in names {
            let path = dir.join(name);
            // a file that is there but may not be read is an error, not a reason to look on
            match path.try_exists() {
                Ok(false) => {}
                Ok(true) => return Self::open_file(&path),
                Err(error) => return Err(Error::io(&path, "open")(error)),
            }
        }
        Err(Error::NoWeights { dir: dir.to_owned(), looked_for: names.join(", ") })
    }

    /// The weights of one file, of either format, or of an index (`….index.json`) with its shards beside it.
    ///
    /// # Errors
    /// When it cannot be opened or is damaged.
    pub fn open_file(path: &Path) -> Result<Self, Error> {
        if path.to_string_lossy().ends_with(".index.json") {
            return sharded::open(path);
        }
        Self::single(path)
    }

    /// One file that is no index.
    pub(super) fn single(path: &Path) -> Result<Self, Error> {
        Self::from_bytes(map(path)?, &path.display().to_string())
    }

    /// The weights in a file's bytes, embedded with `include_bytes!` for instance. Errors call it `label`.
    ///
    /// # Errors
    /// When it is damaged or of another format.
    pub fn from_bytes(bytes: impl Into<Bytes>, label: &str) -> Result<Self, Error> {
        let (bytes, label): (Bytes, Arc<str>) = (bytes.into(), label.into());
        let unknown = |problem| Error::UnknownFormat { label: label.to_string(), problem };
        let (tensors, metadata) = match &bytes[..] {
            [] => return Err(unknown("the file is empty")),
            start if torch_file::looks_like(start) => (torch_file::read(&bytes, &label)?, BTreeMap::new()),
            start if start.starts_with(b"version https://git-lfs") => {
                return Err(unknown("a pointer of Git LFS, not the weights themselves (run `git lfs pull`)"));
            }
            start if start.starts_with(b"\x89HDF") => return Err(unknown("an HDF5 file of TensorFlow's")),
            start if start.starts_with(b"<") => return Err(unknown("a web page, not weights")),
            start if start.len() > 8 && !safetensors::looks_like(start) && label.ends_with(".bin") => {
                return Err(unknown("not a file that torch.save writes"));
            }
            _ => safetensors::read(&bytes, &label)?,
        };
        Ok(Self { label, tensors, metadata })
    }

    pub(super) fn new(label: &str, tensors: BTreeMap<String, TensorView>, metadata: BTreeMap<String, String>) -> Self {
        Self { label: label.into(), tensors, metadata }
    }

    /// The tensors of both; of two with one name this one's. Errors call them as these.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        for (name, tensor) in other.tensors {
            self.tensors.entry(name).or_insert(tensor);
        }
        self
    }

    /// What errors call the place that the weights come from: a path.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<TensorView> {
        self.tensors.get(name).cloned()
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor at all.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// How many bytes the tensors take as stored.
    pub fn total_bytes(&self) -> u64 {
        self.tensors.values().map(|view| view.stored_bytes() as u64).sum()
    }

    /// What a safetensors file says about itself, `format` for instance.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

/// A file as memory.
fn map(path: &Path) -> Result<Bytes, Error> {
    // asked before opening: to open a pipe would wait for its other end
    let before = path.metadata().map_err(Error::io(path, "open"))?;
    if !before.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    if before.len() == 0 {
        return Ok(Bytes::new());
    }
    let mapped = ptm_kernels::mapped::map_whole(&file).map_err(Error::io(path, "map"))?;
    Ok(Bytes::from_owner(mapped))
}
