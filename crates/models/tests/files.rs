//! Model files as other programs write them, from the committed checkpoints of several ages.

use std::path::{Path, PathBuf};

use ptm_models::files::{Dtype, Error, Weights};

fn formats() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/formats")
}

fn open(case: &str) -> Weights {
    Weights::open(&formats().join(case)).unwrap()
}

/// Every tensor of `case` has the value that `gamma-beta` holds, within `bound` of it, relative to the largest.
fn same_values(case: &str, bound: f32) {
    let (reference, weights) = (open("position-ids"), open(case));
    let mut compared = 0;
    for name in weights.names() {
        let current = name.replace(".gamma", ".weight").replace(".beta", ".bias");
        let Some(expected) = reference.get(&current) else { panic!("{case}: {name} is unknown") };
        let found = weights.get(name).unwrap();
        assert_eq!(found.shape, expected.shape, "{case}: {name}");
        for (a, b) in found.to_f32().unwrap().iter().zip(expected.to_f32().unwrap()) {
            assert!((a - b).abs() <= bound * b.abs().max(0.1), "{case}: {name}: {a} where {b} is expected");
        }
        compared += 1;
    }
    assert!(compared > 30, "{case}: only {compared} tensors");
}

#[test]
fn pytorch_before_1_6() {
    same_values("as-2019", 0.0);
}

#[test]
fn pytorch_zip() {
    same_values("bin-zip", 0.0);
}

#[test]
fn pytorch_strided_views_of_shared_storage() {
    same_values("bin-views", 0.0);
}

#[test]
fn pytorch_parameters() {
    same_values("bin-parameters", 0.0);
}

#[test]
fn pytorch_shards() {
    same_values("bin-sharded", 0.0);
}

#[test]
fn safetensors_shards() {
    same_values("safetensors-sharded", 0.0);
}

#[test]
fn half_precisions() {
    assert_eq!(open("f16").get("cls.predictions.bias").unwrap().dtype, Dtype::F16);
    same_values("f16", 1e-3);
    same_values("bf16", 8e-3);
    same_values("bin-bf16", 8e-3);
}

#[test]
fn buffers_of_whole_numbers() {
    let ids = open("position-ids").get("bert.embeddings.position_ids").unwrap();
    assert_eq!(ids.to_i64().unwrap(), (0..16).collect::<Vec<_>>());
    assert!(matches!(ids.f32_bytes().unwrap_err(), Error::Dtype { found: Dtype::I64, .. }));
}

#[test]
fn no_weights_says_what_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = Weights::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("looked for model.safetensors, model.safetensors.index.json, pytorch_model.bin"), "{error}");
    let error = Weights::open(&dir.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("check the spelling"), "{error}");
}

#[test]
fn files_that_are_no_weights_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let says = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Weights::open_file(&path).unwrap_err().to_string()
    };
    assert!(says("a.safetensors", b"").contains("the file is empty"));
    assert!(says("a.safetensors", b"version https://git-lfs.github.com/spec/v1\n").contains("git lfs pull"));
    assert!(says("a.bin", b"<!DOCTYPE html><html>").contains("a web page"));
    assert!(says("a.bin", b"\x1f\x8b\x08 something compressed").contains("not a file that torch.save writes"));
    assert!(says("a.safetensors", &[0xff; 100]).contains("claims a length"));
    assert!(matches!(Weights::open_file(dir.path()).unwrap_err(), Error::NotAFile { .. }));
}

#[test]
fn an_index_that_lies() {
    let dir = tempfile::tempdir().unwrap();
    let says = |index: &str| {
        std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        Weights::open(dir.path()).unwrap_err().to_string()
    };
    assert!(says(r#"{"weight_map":{"w":"../../etc/passwd"}}"#).contains("not a file beside it"));
    assert!(says(r#"{"weight_map":{"w":"/etc/passwd"}}"#).contains("not a file beside it"));
    assert!(says(r#"{"weight_map":{"w":".."}}"#).contains("not a file beside it"));
    assert!(says(r#"{"weight_map":{"w":""}}"#).contains("not a file beside it"));
    assert!(says(r#"{"weight_map":{"w":"gone.safetensors"}}"#).contains("names gone.safetensors, which is missing"));
    assert!(says(r#"{"weights":{}}"#).contains("not a valid index"));
    // itself as its own shard
    assert!(says(r#"{"weight_map":{"w":"model.safetensors.index.json"}}"#).contains("model.safetensors.index.json"));
    let case = formats().join("f16/model.safetensors");
    std::fs::copy(case, dir.path().join("one.safetensors")).unwrap();
    assert!(
        says(r#"{"weight_map":{"w":"one.safetensors"}}"#).contains("tensor w is in one.safetensors, but it is not")
    );
}

/// `metadata`, `total_size` in it, and other fields may be missing or more; a shard may not.
#[test]
fn an_index_is_as_good_as_its_map() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("model");
    std::fs::create_dir_all(dir.join("inner")).unwrap();
    let (case, index) = (formats().join("safetensors-sharded"), dir.join("model.safetensors.index.json"));
    for entry in std::fs::read_dir(&case).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
    }
    let whole: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    let (count, map) = (Weights::open(&case).unwrap().len(), &whole["weight_map"]);
    for other in [
        serde_json::json!({ "weight_map": map }),
        serde_json::json!({ "metadata": {}, "weight_map": map }),
        serde_json::json!({ "metadata": { "total_size": 1.5, "total_parameters": 7 }, "more": 1, "weight_map": map }),
    ] {
        std::fs::write(&index, other.to_string()).unwrap();
        assert_eq!(Weights::open(&dir).unwrap().len(), count, "{other}");
    }
    let shards: std::collections::BTreeSet<&str> =
        map.as_object().unwrap().values().filter_map(|v| v.as_str()).collect();
    assert!(shards.len() > 1);
    for shard in shards {
        std::fs::rename(dir.join(shard), dir.join("away")).unwrap();
        let error = Weights::open(&dir).unwrap_err().to_string();
        assert!(error.contains("index.json") && error.contains(&format!("names {shard}, which is missing")), "{error}");
        std::fs::rename(dir.join("away"), dir.join(shard)).unwrap();
    }
    // what lies elsewhere is not read, though it is there
    for place in ["../outside.safetensors", "inner/model.safetensors"] {
        std::fs::copy(formats().join("f16/model.safetensors"), dir.join(place)).unwrap();
        let map = serde_json::json!({ "weight_map": { "cls.predictions.bias": place } });
        std::fs::write(&index, map.to_string()).unwrap();
        assert!(Weights::open(&dir).unwrap_err().to_string().contains("not a file beside it"), "{place}");
    }
}

#[test]
fn truncated_anywhere_is_an_error() {
    for case in ["f16/model.safetensors", "as-2019/pytorch_model.bin", "bin-zip/pytorch_model.bin"] {
        let whole = std::fs::read(formats().join(case)).unwrap();
        for length in (0..whole.len()).step_by(61).chain([whole.len() - 1]) {
            let cut = whole[..length].to_vec();
            assert!(Weights::from_bytes(cut, "cut.bin").is_err(), "{case} cut to {length}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(matches!(Weights::open(dir.path()).unwrap_err(), Error::NotAFile { .. }));
    }
    assert!(matches!(Weights::open_file(Path::new("/dev/zero")).unwrap_err(), Error::NotAFile { .. }));
}
