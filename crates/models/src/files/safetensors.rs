//! The safetensors format: eight bytes of length, a JSON header, then the data of every tensor without gaps.
//! The header is checked here rather than by the `safetensors` crate, which names no tensor in most of its errors,
//! takes the last of two tensors with one name, and adds lengths from the file without care for overflow.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::view::{Layout, TensorView};
use super::{Error, compact};

/// As in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;
/// The bytes before the header.
const PREFIX: u64 = 8;
/// More axes than any tensor has.
const MAX_AXES: usize = 64;

/// Free text about a file: `format`, for instance.
pub(super) type Metadata = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

struct Header {
    metadata: Metadata,
    tensors: Vec<(String, Info)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { metadata: Metadata::new(), tensors: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                        continue;
                    }
                    let info: Info =
                        map.next_value().map_err(|error| de::Error::custom(format!("tensor {name}: {error}")))?;
                    header.tensors.push((name, info));
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The tensors and the metadata of a file whose bytes are `file`.
pub(super) fn read(file: &Bytes, label: &Arc<str>) -> Result<(BTreeMap<String, TensorView>, Metadata), Error> {
    let header_error = |problem: String| Error::Header { label: label.to_string(), problem };
    let truncated = |what: &str, needed: u64| Error::Truncated {
        label: label.to_string(),
        what: what.into(),
        needed,
        found: file.len() as u64,
    };

    let Some(length) = file.first_chunk::<8>() else {
        return Err(truncated("the length of the header", PREFIX));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(header_error(format!("it claims a length of {length} bytes, more than {MAX_HEADER}")));
    }
    let start = PREFIX + length;
    let Some(text) = file.get(PREFIX as usize..start as usize) else {
        return Err(truncated("the header", start));
    };
    let mut header: Header = serde_json::from_slice(text).map_err(|error| header_error(error.to_string()))?;
    header.tensors.sort_by_key(|(_, info)| info.data_offsets);

    let mut tensors = BTreeMap::new();
    let mut end = 0;
    for (name, info) in header.tensors {
        let problem = |problem: String| Error::Tensor { label: label.to_string(), name: name.clone(), problem };
        let (from, to) = info.data_offsets;
        if from != end || to < from {
            return Err(problem(format!("its data is at {from}..{to}, but the data before it ends at {end}")));
        }
        end = to;
        if info.shape.len() > MAX_AXES {
            return Err(problem(format!("it has {} axes", info.shape.len())));
        }
        let bits = info
            .shape
            .iter()
            .try_fold(1_u64, |product, &axis| product.checked_mul(axis as u64))
            .and_then(|elements| elements.checked_mul(info.dtype.bitsize() as u64));
        if bits.is_none_or(|bits| bits % 8 != 0 || bits / 8 != to - from) {
            let (shape, dtype) = (&info.shape, info.dtype);
            return Err(problem(format!(
                "shape {shape:?} of {dtype} does not take the {} bytes it is given",
                to - from
            )));
        }
        let needed = start.saturating_add(to);
        if needed > file.len() as u64 {
            return Err(truncated(&format!("tensor {name}"), needed));
        }
        let bytes = file.slice((start + from) as usize..needed as usize);
        let view = TensorView::new(&name, label, info.dtype, info.shape, Layout::Dense(bytes));
        if tensors.insert(name.clone(), view).is_some() {
            return Err(problem("it is there twice".into()));
        }
    }
    if start + end != file.len() as u64 {
        let left = file.len() as u64 - start - end;
        return Err(header_error(format!("{left} bytes at the end of the file belong to no tensor")));
    }
    if let Some(scheme) = header.metadata.get(compact::KEY) {
        compact::fold(&mut tensors, scheme, label)?;
    }
    Ok((tensors, header.metadata))
}

/// Whether the bytes begin as such a file does: a length that is small enough and a brace.
pub(super) fn looks_like(file: &[u8]) -> bool {
    file.first_chunk::<8>().is_some_and(|length| u64::from_le_bytes(*length) <= MAX_HEADER)
        && file.get(8) == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Bytes {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes.into()
    }

    fn error(bytes: &Bytes) -> String {
        read(bytes, &"x.safetensors".into()).unwrap_err().to_string()
    }

    fn refused(header: &str, data: usize, says: &str) {
        let error = error(&file(header, data));
        assert!(error.contains(says) && error.starts_with("x.safetensors"), "{error}");
    }

    #[test]
    fn reads_what_the_reference_writes() {
        let data: Vec<u8> = (0..24).collect();
        let view = |from: usize, shape: Vec<usize>| {
            safetensors::tensor::TensorView::new(Dtype::F32, shape, &data[from..from + 8]).unwrap()
        };
        let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
        let bytes = safetensors::serialize([("b", view(0, vec![2])), ("a", view(8, vec![1, 2]))], metadata).unwrap();
        let (tensors, metadata) = read(&bytes.into(), &"x".into()).unwrap();
        assert_eq!(metadata["format"], "pt");
        assert_eq!(tensors.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((&tensors["a"].shape[..], &tensors["a"].bytes()[..]), (&[1, 2][..], &data[8..16]));
        assert_eq!(tensors["b"].bytes(), data[..8]);
    }

    #[test]
    fn a_file_without_tensors() {
        assert!(read(&file("{}", 0), &"x".into()).unwrap().0.is_empty());
    }

    #[test]
    fn header_too_large() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        assert!(error(&bytes.into()).contains("claims a length of 18446744073709551615"));
    }

    #[test]
    fn header_longer_than_the_file() {
        let mut bytes = 50_u64.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        assert!(error(&bytes.into()).contains("truncated: the header needs 58 bytes, the file has 10"));
        assert!(error(&Bytes::from_static(b"abc")).contains("needs 8 bytes, the file has 3"));
    }

    #[test]
    fn data_cut_off() {
        refused(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 7, "truncated: tensor a");
    }

    #[test]
    fn data_left_over() {
        refused(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 5, "1 bytes at the end");
    }

    #[test]
    fn overlap_and_hole() {
        let two = |at: &str| {
            format!(
                r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},"b":{{"dtype":"U8","shape":[4],"data_offsets":[{at}]}}}}"#
            )
        };
        refused(&two("2,6"), 6, "tensor b: its data is at 2..6, but the data before it ends at 4");
        refused(&two("5,9"), 9, "tensor b: its data is at 5..9");
        refused(&two("4,1"), 8, "tensor b");
    }

    #[test]
    fn shape_that_does_not_fit_its_bytes() {
        refused(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, "[3] of F32 does not take the 8 bytes");
    }

    #[test]
    fn shape_that_overflows() {
        let huge = format!(r#"{{"a":{{"dtype":"F32","shape":[{0},{0}],"data_offsets":[0,8]}}}}"#, u64::MAX);
        refused(&huge, 8, "tensor a: shape");
        let wraps = format!(r#"{{"a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,8]}}}}"#, (1_u64 << 62) + 2);
        refused(&wraps, 8, "tensor a: shape");
    }

    #[test]
    fn lengths_that_overflow_together() {
        let step = u64::MAX / 8;
        let entries: Vec<String> = (0..8)
            .map(|i| {
                format!(r#""t{i}":{{"dtype":"U8","shape":[{step}],"data_offsets":[{},{}]}}"#, i * step, (i + 1) * step)
            })
            .collect();
        refused(&format!("{{{}}}", entries.join(",")), 8, "truncated: tensor t0");
    }

    #[test]
    fn one_name_twice() {
        let twice = r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
        refused(twice, 0, "tensor a: it is there twice");
    }

    #[test]
    fn unknown_element_type_names_the_tensor() {
        refused(r#"{"w":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, 4, "tensor w: unknown variant `F31`");
    }

    #[test]
    fn header_that_is_not_an_object() {
        refused("[1,2]", 0, "bad safetensors header");
        refused(&"[".repeat(100_000), 0, "bad safetensors header");
        refused("{\"a\":\u{7}", 0, "bad safetensors header");
        refused(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "tensor a");
        refused(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} x"#, 4, "bad safetensors header");
    }
}
