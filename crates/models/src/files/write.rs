//! Writing safetensors, one file or shards with an index, as `transformers` and `safetensors` in Python read them.
//! Each file appears whole or not at all (`atomic.rs`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::atomic::{AtomicFile, Staged, create_dir, remove_if_there, write_atomic};
use super::weights::{SAFETENSORS, SAFETENSORS_INDEX};
use super::{Error, TensorView};

/// Weights of more bytes are divided into shards, as `transformers` does it by default.
pub const SHARD_BYTES: u64 = 5_000_000_000;

/// Tensors to be written. Borrows them where it can.
#[derive(Debug)]
pub struct Writer<'a> {
    metadata: BTreeMap<String, String>,
    tensors: Vec<Entry<'a>>,
}

#[derive(Debug)]
struct Entry<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    content: Content<'a>,
}

/// A tensor's elements, or how to get them.
enum Content<'a> {
    Here(Cow<'a, [u8]>),
    Later(Box<dyn Fn() -> Vec<f32> + 'a>),
}

impl std::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Later(_) => f.write_str("later"),
        }
    }
}

impl Entry<'_> {
    /// Its bytes by type and shape; none where they are beyond counting, or no whole number.
    fn size(&self) -> Option<usize> {
        let bits = self.shape.iter().try_fold(self.dtype.bitsize(), |product, &axis| product.checked_mul(axis))?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    fn wrong(&self, path: &Path, problem: String) -> Error {
        Error::Write { path: path.to_owned(), name: self.name.clone(), problem }
    }

    fn does_not_take(&self, path: &Path, bytes: usize) -> Error {
        self.wrong(path, format!("shape {:?} of {} does not take {bytes} bytes", self.shape, self.dtype))
    }
}

impl Default for Writer<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Writer<'a> {
    /// Nothing yet but the metadata that `transformers` insists on, `format: pt`.
    pub fn new() -> Self {
        Self { metadata: [("format".to_owned(), "pt".to_owned())].into(), tensors: Vec::new() }
    }

    /// Says something about the file.
    pub fn metadata(&mut self, key: &str, value: &str) -> &mut Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a tensor of f32, row by row.
    pub fn f32(&mut self, name: impl Into<String>, shape: &[usize], values: &'a [f32]) -> &mut Self {
        self.raw(name, Dtype::F32, shape, little_endian(values))
    }

    /// Adds a tensor of f32 whose elements `read` gives once it is written, so that not all are in memory at a time.
    pub fn later(&mut self, name: impl Into<String>, shape: &[usize], read: impl Fn() -> Vec<f32> + 'a) -> &mut Self {
        let content = Content::Later(Box::new(read));
        self.tensors.push(Entry { name: name.into(), dtype: Dtype::F32, shape: shape.to_vec(), content });
        self
    }

    /// Adds a tensor of any type, its elements row by row and little-endian.
    pub fn raw(
        &mut self,
        name: impl Into<String>,
        dtype: Dtype,
        shape: &[usize],
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> &mut Self {
        let content = Content::Here(bytes.into());
        self.tensors.push(Entry { name: name.into(), dtype, shape: shape.to_vec(), content });
        self
    }

    /// Adds a tensor of another file as it is; what is compact there becomes f32.
    pub fn view(&mut self, view: &TensorView) -> &mut Self {
        self.raw(view.name(), view.dtype, &view.shape, view.bytes().to_vec())
    }

    /// Writes one file, atomically.
    ///
    /// # Errors
    /// When a tensor's bytes don't go with its shape, two have one name, or the file cannot be written.
    pub fn write(self, path: &Path) -> Result<(), Error> {
        let Self { metadata, mut tensors } = self;
        check(&tensors, path)?;
        sort(&mut tensors);
        stage(path, &metadata, &tensors)?.commit()
    }

    /// Writes `model.safetensors` into the directory, or, where the tensors take more than `max_bytes`,
    /// `model-00001-of-0000N.safetensors` and so on with `model.safetensors.index.json`. A tensor is never divided.
    /// Files of an earlier save that would be read instead, or by nobody, are removed. Whenever this ends, those before or
    /// these can be read, or, while shards take each other's names, neither; never some of both.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_sharded(self, dir: &Path, max_bytes: u64) -> Result<(), Error> {
        self.stage_sharded(dir, max_bytes)?.commit()
    }

    /// The same up to where something is seen of it.
    pub(crate) fn stage_sharded(self, dir: &Path, max_bytes: u64) -> Result<StagedWeights, Error> {
        create_dir(dir)?;
        let Self { metadata, mut tensors } = self;
        let single = dir.join(SAFETENSORS);
        check(&tensors, &single)?;
        let total: u64 = tensors.iter().filter_map(Entry::size).map(|size| size as u64).sum();
        let mut staged = StagedWeights { dir: dir.to_owned(), files: Vec::new(), index: None };
        if total <= max_bytes {
            sort(&mut tensors);
            staged.files.push((SAFETENSORS.to_owned(), stage(&single, &metadata, &tensors)?));
            return Ok(staged);
        }

        let mut shards: Vec<Vec<Entry>> = Vec::new();
        let mut room = 0;
        for tensor in tensors {
            let size = tensor.size().unwrap_or(0) as u64;
            if size > room || shards.is_empty() {
                shards.push(Vec::new());
                room = max_bytes;
            }
            room = room.saturating_sub(size);
            if let Some(shard) = shards.last_mut() {
                shard.push(tensor);
            }
        }
        let count = shards.len();
        let mut map = Map::new();
        for (i, shard) in shards.iter_mut().enumerate() {
            let file = format!("model-{:05}-of-{count:05}.safetensors", i + 1);
            map.extend(shard.iter().map(|tensor| (tensor.name.clone(), Value::from(file.as_str()))));
            sort(shard);
            let shard = stage(&dir.join(&file), &metadata, shard)?;
            staged.files.push((file, shard));
        }
        map.sort_keys();
        let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
        staged.index = Some(format!("{index:#}\n"));
        Ok(staged)
    }
}

/// A model's weights on disk, of which nothing is seen yet; dropped before the commit, they leave nothing.
#[derive(Debug)]
pub(crate) struct StagedWeights {
    dir: PathBuf,
    files: Vec<(String, Staged)>,
    /// What the index says, where there are shards.
    index: Option<String>,
}

impl StagedWeights {
    /// Makes them the weights of the directory.
    pub(crate) fn commit(self) -> Result<(), Error> {
        let Self { dir, files, index } = self;
        let index_path = dir.join(SAFETENSORS_INDEX);
        let mut written: BTreeSet<String> = files.iter().map(|(name, _)| name.clone()).collect();
        // an index of before would give new shards for the old ones of the same names
        if index.is_some() && written.iter().any(|name| dir.join(name).exists()) {
            remove_if_there(&index_path)?;
        }
        for (_, file) in files {
            file.commit()?;
        }
        if let Some(index) = index {
            write_atomic(&index_path, index.as_bytes())?;
            written.insert(SAFETENSORS_INDEX.to_owned());
        }
        remove_others(&dir, &written)
    }
}

/// Writes one file of f32 tensors, atomically: names, shapes and their elements row by row.
///
/// # Errors
/// As [`Writer::write`].
pub fn write_safetensors<D: AsRef<[f32]>>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, Vec<usize>, D)>,
) -> Result<(), Error> {
    let tensors: Vec<_> = tensors.into_iter().collect();
    let mut writer = Writer::new();
    for (name, shape, values) in &tensors {
        writer.f32(name, shape, values.as_ref());
    }
    writer.write(path)
}

/// The bytes of numbers as files have them.
fn little_endian(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

fn check(tensors: &[Entry], path: &Path) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    for entry in tensors {
        match (&entry.content, entry.size()) {
            (Content::Here(bytes), size) if size != Some(bytes.len()) => {
                return Err(entry.does_not_take(path, bytes.len()));
            }
            (Content::Later(_), None) => {
                return Err(entry.wrong(path, format!("shape {:?} is beyond counting", entry.shape)));
            }
            _ => {}
        }
        if entry.name == "__metadata__" {
            return Err(entry.wrong(path, "the name is reserved".into()));
        }
        if !names.insert(&entry.name) {
            return Err(entry.wrong(path, "there are two of that name".into()));
        }
    }
    Ok(())
}

/// Wide elements first, so that every tensor is aligned; then by name.
fn sort(tensors: &mut [Entry]) {
    tensors.sort_by(|a, b| b.dtype.bitsize().cmp(&a.dtype.bitsize()).then_with(|| a.name.cmp(&b.name)));
}

/// One file, still without its name.
fn stage(path: &Path, metadata: &BTreeMap<String, String>, tensors: &[Entry]) -> Result<Staged, Error> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!(metadata));
    let mut end = 0;
    for tensor in tensors {
        let from = end;
        end += tensor.size().unwrap_or(0);
        let info = json!({ "dtype": tensor.dtype.to_string(), "shape": tensor.shape, "data_offsets": [from, end] });
        header.insert(tensor.name.clone(), info);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = AtomicFile::create(path)?;
    let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(Error::io(path, "write"));
    put(&(header.len() as u64).to_le_bytes())?;
    put(&header)?;
    for tensor in tensors {
        match &tensor.content {
            Content::Here(bytes) => put(bytes)?,
            Content::Later(read) => {
                let values = read();
                let bytes = little_endian(&values);
                if tensor.size() != Some(bytes.len()) {
                    return Err(tensor.does_not_take(path, bytes.len()));
                }
                put(&bytes)?;
            }
        }
    }
    file.stage()
}

/// Whether files of shards are called so: `model-00001-of-00002.safetensors`.
fn is_shard(name: &str) -> bool {
    let numbers = name.strip_prefix("model-").and_then(|name| name.strip_suffix(".safetensors"));
    let number = |digits: &str| digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    numbers.and_then(|numbers| numbers.split_once("-of-")).is_some_and(|(i, n)| number(i) && number(n))
}

/// Removes weights of an earlier save in safetensors.
fn remove_others(dir: &Path, written: &BTreeSet<String>) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(Error::io(dir, "read"))? {
        let entry = entry.map_err(Error::io(dir, "read"))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if (is_shard(&name) || name == SAFETENSORS || name == SAFETENSORS_INDEX) && !written.contains(&name) {
            fs::remove_file(entry.path()).map_err(Error::io(&entry.path(), "remove"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Weights;
    use super::*;

    fn three() -> Vec<(String, Vec<usize>, Vec<f32>)> {
        vec![
            ("b.weight".into(), vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, -0.0]),
            ("a".into(), vec![], vec![7.5]),
            ("empty".into(), vec![0, 4], vec![]),
        ]
    }

    #[test]
    fn what_is_written_is_read_by_both() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        write_safetensors(&path, three()).unwrap();
        let weights = Weights::open(dir.path()).unwrap();
        assert_eq!(weights.metadata()["format"], "pt");
        let bytes = fs::read(&path).unwrap();
        let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!((weights.len(), reference.len(), weights.total_bytes()), (3, 3, 28));
        for (name, shape, values) in three() {
            let view = weights.get(&name).unwrap();
            assert_eq!((&view.shape, view.to_f32().unwrap()), (&shape, values));
            assert_eq!(reference.tensor(&name).unwrap().data(), &view.bytes()[..]);
        }
    }

    #[test]
    fn tensors_that_are_read_later_are_there_one_at_a_time() {
        use std::cell::Cell;
        let dir = tempfile::tempdir().unwrap();
        let (plain, later) = (dir.path().join("plain"), dir.path().join("later"));
        write_safetensors(&plain, three()).unwrap();
        let reads = Cell::new(0);
        let mut writer = Writer::new();
        for (name, shape, values) in three() {
            let reads = &reads;
            writer.later(name, &shape, move || {
                reads.set(reads.get() + 1);
                values.clone()
            });
        }
        assert_eq!(reads.get(), 0);
        writer.write(&later).unwrap();
        assert_eq!((reads.get(), fs::read(plain).unwrap()), (3, fs::read(&later).unwrap()));
        // another number of elements than was said leaves what was there
        let mut writer = Writer::new();
        writer.later("w", &[3], || vec![0.0; 2]);
        let error = writer.write(&later).unwrap_err().to_string();
        assert!(error.contains("tensor w: shape [3] of F32 does not take 8 bytes"), "{error}");
        assert_eq!(Weights::open_file(&later).unwrap().len(), 3);
    }

    #[test]
    fn the_mapping_is_shared_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        write_safetensors(&dir.path().join("model.safetensors"), three()).unwrap();
        let view = Weights::open(dir.path()).unwrap().get("b.weight").unwrap();
        assert_eq!(view.f32_bytes().unwrap().as_ptr(), view.bytes().as_ptr());
    }

    #[test]
    fn shards_and_their_index() {
        let dir = tempfile::tempdir().unwrap();
        let values = [0.5_f32; 10];
        let fill = || {
            let mut writer = Writer::new();
            for name in ["w1", "w2", "w3"] {
                writer.f32(name, &[10], &values);
            }
            writer.raw("ids", Dtype::I64, &[1], 5_i64.to_le_bytes().to_vec());
            writer
        };
        let list = || {
            let mut names: Vec<_> =
                fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        fill().write_sharded(dir.path(), 90).unwrap();
        let files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", SAFETENSORS_INDEX];
        assert_eq!(list(), files);
        let weights = Weights::open(dir.path()).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["ids", "w1", "w2", "w3"]);
        assert_eq!(weights.get("ids").unwrap().to_i64().unwrap(), [5]);
        // one tensor larger than the limit has a file of its own
        fill().write_sharded(dir.path(), 1).unwrap();
        assert_eq!((list().len(), Weights::open(dir.path()).unwrap().len()), (5, 4));
        fs::write(dir.path().join("model-a-of-b.safetensors"), "not ours").unwrap();
        fill().write_sharded(dir.path(), 128).unwrap();
        assert_eq!(list(), ["model-a-of-b.safetensors", SAFETENSORS]);
    }

    #[test]
    fn the_index_says_how_much_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::new();
        writer.f32("b", &[2], &[1.0, 2.0]).f32("a", &[3], &[3.0; 3]).f32("c", &[1], &[4.0]);
        writer.write_sharded(dir.path(), 12).unwrap();
        let index: Value = serde_json::from_slice(&fs::read(dir.path().join(SAFETENSORS_INDEX)).unwrap()).unwrap();
        let file = |i| format!("model-0000{i}-of-00003.safetensors");
        assert_eq!(
            index,
            json!({ "metadata": { "total_size": 24 }, "weight_map": { "a": file(2), "b": file(1), "c": file(3) } })
        );
    }

    /// Three tensors of one value in two shards.
    fn two_shards(value: f32) -> Writer<'static> {
        let mut writer = Writer::new();
        for name in ["x", "y", "z"] {
            writer.later(name, &[4], move || vec![value; 4]);
        }
        writer
    }

    fn value_of(dir: &Path) -> Result<f32, Error> {
        let weights = Weights::open(dir)?;
        let values: Vec<f32> = ["x", "y", "z"].iter().flat_map(|n| weights.get(n).unwrap().to_f32().unwrap()).collect();
        assert!(values.iter().all(|value| *value == values[0]), "a mixture: {values:?}");
        Ok(values[0])
    }

    #[test]
    fn of_two_saves_no_mixture_is_read() {
        let dir = tempfile::tempdir().unwrap();
        two_shards(1.0).write_sharded(dir.path(), 32).unwrap();
        assert_eq!(value_of(dir.path()).unwrap(), 1.0);
        // while the next is written, and when that fails, what was there is there
        let mut writer = two_shards(2.0);
        let place = dir.path().to_owned();
        writer.later("bad", &[1], move || {
            assert_eq!(value_of(&place).unwrap(), 1.0);
            Vec::new()
        });
        assert!(writer.write_sharded(dir.path(), 32).unwrap_err().to_string().contains("tensor bad"));
        assert_eq!((value_of(dir.path()).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (1.0, 3));
        // when it ends between the shards' taking their names, nothing is
        let mut writer = two_shards(3.0);
        let place = dir.path().join("model-00002-of-00002.safetensors");
        writer.later("last", &[0], move || {
            fs::remove_file(&place).unwrap();
            fs::create_dir_all(place.join("in the way")).unwrap();
            Vec::new()
        });
        assert!(writer.write_sharded(dir.path(), 32).is_err());
        assert!(matches!(value_of(dir.path()).unwrap_err(), Error::NoWeights { .. }));
        fs::remove_dir_all(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
        two_shards(4.0).write_sharded(dir.path(), 32).unwrap();
        assert_eq!(value_of(dir.path()).unwrap(), 4.0);
        // other numbers of files, and one after several
        two_shards(5.0).write_sharded(dir.path(), 16).unwrap();
        assert_eq!((value_of(dir.path()).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (5.0, 4));
        two_shards(6.0).write_sharded(dir.path(), 48).unwrap();
        assert_eq!((value_of(dir.path()).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (6.0, 1));
        two_shards(7.0).write_sharded(dir.path(), 32).unwrap();
        assert_eq!((value_of(dir.path()).unwrap(), fs::read_dir(dir.path()).unwrap().count()), (7.0, 3));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_a_file_appears() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let error = write_safetensors(&path, [("w".into(), vec![3], vec![0.0])]).unwrap_err().to_string();
        assert!(error.contains("tensor w: shape [3] of F32 does not take 4 bytes"), "{error}");
        assert!(write_safetensors(&path, [("w".into(), vec![1], [0.0]), ("w".into(), vec![1], [0.0])]).is_err());
        assert!(write_safetensors(&path, [("w".into(), vec![usize::MAX, 8], vec![0.0])]).is_err());
        assert!(!path.exists());
    }
}
