//! A model in several files: an index (`{"metadata": {...}, "weight_map": {tensor: file}}`) and its shards beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use serde::Deserialize;

use super::{Error, Weights};

/// An index of a million tensors is shorter.
const MAX_INDEX: u64 = 100_000_000;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

pub(super) fn open(path: &Path) -> Result<Weights, Error> {
    let wrong = |problem: String| Error::Index { path: path.to_owned(), problem };
    let found = path.metadata().map_err(Error::io(path, "open"))?;
    if !found.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    file.take(MAX_INDEX + 1).read_to_end(&mut text).map_err(Error::io(path, "read"))?;
    if text.len() as u64 > MAX_INDEX {
        return Err(wrong(format!("longer than {MAX_INDEX} bytes, which no index is")));
    }
    let index: Index = serde_json::from_slice(&text).map_err(|error| wrong(format!("not a valid index: {error}")))?;

    let shards: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    let mut tensors = BTreeMap::new();
    let mut metadata = BTreeMap::new();
    for shard in shards {
        // a name, not a path: an index must not make ptm read files elsewhere
        let mut parts = Path::new(shard).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == shard) {
            return Err(wrong(format!("it names {shard:?}, which is not a file beside it")));
        }
        let file = path.with_file_name(shard);
        if !file.try_exists().map_err(Error::io(&file, "open"))? {
            return Err(wrong(format!("it names {shard}, which is missing")));
        }
        let weights = Weights::single(&file)?;
        metadata.extend(weights.metadata().clone());
        for (name, view) in weights.tensors {
            // where two shards hold a tensor, the index decides; what it does not name is kept: older writers left
            // out tied tensors
            if index.weight_map.get(&name).is_none_or(|named| named == shard) {
                tensors.insert(name, view);
            }
        }
    }
    if let Some((name, shard)) = index.weight_map.iter().find(|(name, _)| !tensors.contains_key(*name)) {
        return Err(wrong(format!("it says that tensor {name} is in {shard}, but it is not")));
    }
    Ok(Weights::new(&path.display().to_string(), tensors, metadata))
}
