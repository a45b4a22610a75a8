//! PyTorch's `.bin` files: what `torch.save` writes for a dictionary of tensors, as a zip archive (since 1.6) or as a
//! row of pickles followed by the storages (before). The pickles are read by `pickle.rs`, which runs nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use safetensors::Dtype;

use super::pickle::{self, Id, Known, Node, Pickle};
use super::view::{Layout, TensorView};
use super::{Error, stored_zip};

/// The first pickle of the format before 1.6: a number, always the same.
const LEGACY_MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Training programs put the weights beside other things under one of these.
const NESTED: [&str; 5] = ["state_dict", "model_state_dict", "model", "module", "generator"];
/// Elements that a view may repeat, more than any buffer has; more than its storage has it may not otherwise.
const MAX_REPEATED: usize = 1 << 24;
/// More axes than any tensor has.
const MAX_AXES: usize = 64;
/// Longer than any name of a tensor or a storage. A pickle can repeat a long text for two bytes each.
const MAX_NAME: usize = 4096;

/// Whether `torch.save` writes files that begin so.
pub(super) fn looks_like(file: &[u8]) -> bool {
    stored_zip::looks_like(file) || matches!(file, [0x80, 1..=5, ..]) && !super::safetensors::looks_like(file)
}

/// The tensors of a file whose bytes are `file`.
pub(super) fn read(file: &Bytes, label: &Arc<str>) -> Result<BTreeMap<String, TensorView>, Error> {
    if stored_zip::looks_like(file) { read_zip(file, label) } else { read_legacy(file, label) }
}

/// A storage: numbers of one type, of which tensors are views.
struct Storage {
    dtype: Dtype,
    elements: usize,
    key: String,
    /// Where it begins in the storage of that key, in elements: it may be a part of one.
    start: usize,
}

fn wrong<T>(label: &str, at: usize, problem: impl Into<String>) -> Result<T, Error> {
    Err(Error::Pickle { label: label.to_owned(), at, problem: problem.into() })
}

fn read_zip(file: &Bytes, label: &Arc<str>) -> Result<BTreeMap<String, TensorView>, Error> {
    let entries = stored_zip::entries(file, label)?;
    let zip_error = |problem: String| Error::Zip { label: label.to_string(), problem };
    let (prefix, range) = entries
        .iter()
        .filter_map(|(name, range)| Some((name.strip_suffix("data.pkl")?, range)))
        .filter(|(prefix, _)| prefix.is_empty() || prefix.ends_with('/'))
        // whichever lies least deep, always the same one
        .min_by_key(|(prefix, _)| (prefix.len(), *prefix))
        .ok_or_else(|| zip_error("it holds no data.pkl, so it is not a file of torch.save".into()))?;
    let entry = |name: &str| entries.get(&format!("{prefix}{name}")).cloned();
    if entry("byteorder").is_some_and(|range| &file[range] == b"big") {
        return Err(zip_error("its numbers are big-endian, which ptm does not read".into()));
    }
    let pickle = pickle::read(&file[range.clone()], label)?;
    collect(&pickle, label, |storage| match entry(&format!("data/{}", storage.key)) {
        Some(range) => Ok(file.slice(range)),
        None => Err(zip_error(format!("storage data/{} is missing", storage.key))),
    })
}

fn read_legacy(file: &Bytes, label: &Arc<str>) -> Result<BTreeMap<String, TensorView>, Error> {
    let magic = file.get(2..2 + LEGACY_MAGIC.len());
    if magic != Some(LEGACY_MAGIC) {
        // perhaps a pickle that asks for something to be run: then that is what to say
        pickle::read(file, label)?;
        return wrong(label, 0, "it does not begin as torch.save's files do");
    }
    let mut at = 2 + LEGACY_MAGIC.len();
    let mut next = || {
        let pickle = pickle::read(&file[at..], label)?;
        at += pickle.length;
        Ok::<_, Error>(pickle)
    };
    let (_protocol, system, state, keys) = (next()?, next()?, next()?, next()?);
    let little =
        system.dict(system.root).into_iter().flatten().find(|(key, _)| system.text(*key) == Some("little_endian"));
    if little.is_some_and(|&(_, value)| matches!(system.node(value), Node::Bool(false))) {
        return wrong(label, 0, "its numbers are big-endian, which ptm does not read");
    }

    // the storages follow in the order of their keys: a count of elements, then these
    let widths = storage_widths(&state);
    let mut storages = HashMap::new();
    for &key in keys.items(keys.root).unwrap_or_default() {
        let Some((key, width)) = keys.text(key).and_then(|key| Some((key, *widths.get(key)?))) else {
            return wrong(label, at, "a storage that no tensor names, so that its size is unknown");
        };
        let count = file.get(at..).and_then(|rest| rest.first_chunk()).map(|count| u64::from_le_bytes(*count));
        let end = count
            .and_then(|count| usize::try_from(count).ok()?.checked_mul(width)?.checked_add(at + 8))
            .filter(|&end| end <= file.len());
        let Some(end) = end else {
            let needed = count.unwrap_or(0).saturating_mul(width as u64).saturating_add(at as u64 + 8);
            let what = format!("storage {key}");
            return Err(Error::Truncated { label: label.to_string(), what, needed, found: file.len() as u64 });
        };
        storages.insert(key, file.slice(at + 8..end));
        at = end;
    }
    collect(&state, label, |storage| match storages.get(&storage.key[..]) {
        Some(bytes) => Ok(bytes.clone()),
        None => wrong(label, 0, format!("storage {} is not in the file", storage.key)),
    })
}

/// Bytes an element, for every storage that the pickle names.
fn storage_widths(pickle: &Pickle) -> HashMap<String, usize> {
    pickle.persistent().filter_map(|id| storage(pickle, id)).map(|s| (s.key, s.dtype.bitsize() / 8)).collect()
}

/// `("storage", type, key, device, elements)`, and for parts of a storage `(key, start, elements)` or none.
fn storage(pickle: &Pickle, id: Id) -> Option<Storage> {
    let items = pickle.items(id)?;
    let [kind, class, key, _, elements, rest @ ..] = items else { return None };
    let Node::Name(Known::Storage(dtype)) = pickle.node(*class) else { return None };
    if pickle.text(*kind)? != "storage" {
        return None;
    }
    let elements = usize::try_from(pickle.int(*elements)?).ok()?;
    let key = pickle.text(*key).filter(|key| key.len() <= MAX_NAME)?.to_owned();
    let whole = Storage { dtype: *dtype, elements, key, start: 0 };
    match rest {
        [] => Some(whole),
        [part] if matches!(pickle.node(*part), Node::None) => Some(whole),
        [part] => {
            let [_, start, elements] = *pickle.items(*part)? else { return None };
            let number = |id| usize::try_from(pickle.int(id)?).ok();
            Some(Storage { start: number(start)?, elements: number(elements)?, ..whole })
        }
        _ => None,
    }
}

/// The tensors of the dictionary that a pickle stands for.
fn collect(
    pickle: &Pickle,
    label: &Arc<str>,
    bytes_of: impl Fn(&Storage) -> Result<Bytes, Error>,
) -> Result<BTreeMap<String, TensorView>, Error> {
    let Some(mut entries) = pickle.dict(pickle.root) else {
        return wrong(label, 0, "it holds something else than a dictionary");
    };
    let is_tensor = |id: Id| matches!(pickle.node(id), Node::Tensor(_));
    // two boxes deep at most
    for _ in 0..2 {
        if entries.iter().any(|&(_, value)| is_tensor(value)) {
            break;
        }
        let inner = NESTED.iter().find_map(|name| {
            let (_, value) = entries.iter().find(|(key, _)| pickle.text(*key) == Some(name))?;
            pickle.dict(*value)
        });
        let Some(inner) = inner else { break };
        entries = inner;
    }
    let mut tensors = BTreeMap::new();
    for &(key, value) in entries {
        if let (Some(name), Node::Tensor(arguments)) = (pickle.text(key), pickle.node(value)) {
            if name.len() > MAX_NAME {
                return wrong(label, 0, format!("a tensor's name of {} bytes", name.len()));
            }
            tensors.insert(name.to_owned(), tensor(pickle, name, arguments, label, &bytes_of)?);
        }
    }
    if tensors.is_empty() && !entries.is_empty() {
        return wrong(label, 0, "the dictionary holds no tensors");
    }
    Ok(tensors)
}

fn tensor(
    pickle: &Pickle,
    name: &str,
    arguments: &[Id],
    label: &Arc<str>,
    bytes_of: impl Fn(&Storage) -> Result<Bytes, Error>,
) -> Result<TensorView, Error> {
    let wrong = |problem: String| Error::Tensor { label: label.to_string(), name: name.to_owned(), problem };
    let numbers = |id: Id| -> Option<Vec<usize>> {
        let items = pickle.items(id).filter(|items| items.len() <= MAX_AXES)?;
        items.iter().map(|&item| usize::try_from(pickle.int(item)?).ok()).collect()
    };
    let found = match arguments {
        [storage_id, offset, shape, strides] => match pickle.node(*storage_id) {
            Node::Persistent(id) => {
                storage(pickle, *id).zip(pickle.int(*offset)).zip(numbers(*shape).zip(numbers(*strides)))
            }
            _ => None,
        },
        _ => None,
    };
    let Some(((storage, offset), (shape, strides))) = found else {
        return Err(wrong("its storage, offset, shape or strides are not what PyTorch writes".into()));
    };
    let width = storage.dtype.bitsize() / 8;
    let bytes = bytes_of(&storage)?;
    let part = storage.start.checked_add(storage.elements).and_then(|end| end.checked_mul(width));
    let Some(part) = part.filter(|&end| end <= bytes.len()) else {
        return Err(wrong(format!(
            "its storage has {} bytes, but {} elements of {} are claimed",
            bytes.len(),
            storage.elements,
            storage.dtype
        )));
    };
    let bytes = bytes.slice(storage.start * width..part);

    let elements = shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
    // the last element that the strides reach
    let last =
        shape.iter().zip(&strides).try_fold(usize::try_from(offset).unwrap_or(usize::MAX), |at, (&axis, &stride)| {
            at.checked_add(axis.saturating_sub(1).checked_mul(stride)?)
        });
    let (Some(elements), Some(last)) = (elements.filter(|_| shape.len() == strides.len()), last) else {
        return Err(wrong(format!("shape {shape:?} and strides {strides:?} cannot be")));
    };
    if elements == 0 {
        return Ok(TensorView::new(name, label, storage.dtype, shape, Layout::Dense(Bytes::new())));
    }
    if last >= storage.elements || elements > storage.elements.max(MAX_REPEATED) {
        return Err(wrong(format!(
            "shape {shape:?} with strides {strides:?} from {offset} on leaves its storage of {} elements",
            storage.elements
        )));
    }
    let offset = offset as usize;
    let mut dense = 1;
    let is_dense = shape.iter().zip(&strides).rev().all(|(&axis, &stride)| {
        let fits = axis == 1 || stride == dense;
        dense *= axis;
        fits
    });
    let layout = if is_dense {
        Layout::Dense(bytes.slice(offset * width..(offset + elements) * width))
    } else {
        Layout::Strided { storage: bytes, offset, strides }
    };
    Ok(TensorView::new(name, label, storage.dtype, shape, layout))
}
