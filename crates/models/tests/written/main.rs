//! What we write is what we read: every dump's model, and a checkpoint of every age, is saved, opened again and
//! compared bit for bit; `formats.rs` and `old_names.rs` open checkpoints of other ages. Where `PTM_PYTHON` names an
//! interpreter that has `transformers`, that opens them as well.

mod formats;
mod old_names;
#[path = "../reference/mod.rs"]
mod reference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::prelude::*;
use ptm_models::files::Weights;
use ptm_models::heads::{Head, MaskedLmHead, Pooler, TokenHead};
use ptm_models::{Body, Configuration, Encoder, EncoderConfig, Model};
use reference::{Batch, Case, FAMILIES, Reference, Tested, cases, difference, dumps, with_head};
use tempfile::TempDir;

/// The repository's folder of references.
fn parity() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity")
}

/// The bits of every parameter by the name it is written under.
fn bits<H: Head<B>, B: Body>(model: &Model<H, B>) -> BTreeMap<String, (Vec<usize>, Vec<u32>)> {
    let named = model.named_parameters().into_iter();
    // several parameters may lie in one tensor
    let named = named.map(|p| (format!("{} {:?}", p.name, p.layout), p));
    named.map(|(name, p)| (name, (p.shape, p.values.iter().map(|x| x.to_bits()).collect()))).collect()
}

/// Everything that a configuration says, but what it was read from.
fn said(config: &impl Configuration) -> String {
    // what was read comes last, after the classes that saved it
    let said = format!("{config:?}");
    said.split(", architectures: ").next().expect("something").to_owned()
}

/// Saves the model of `dir` into `to` and compares the two.
fn save_and_compare<H: Case<B>, B: Tested>(dir: &Path, to: &Path, reference: &Reference) -> Model<H, B> {
    let name = dir.display().to_string();
    let model = Model::<H, B>::open(dir, &Device::flex()).unwrap_or_else(|e| panic!("{name}: {e}")).model;
    model.save(to).unwrap_or_else(|e| panic!("{name}: {e}"));
    let again = Model::<H, B>::open(to, &Device::flex()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(again.unused.is_empty() && again.new.is_empty(), "{name}: {:?} {:?}", again.unused, again.new);
    assert_eq!(bits(&model), bits(&again.model), "{name}: weights");
    assert_eq!(said(model.config()), said(again.model.config()), "{name}: configuration");
    let json = again.model.config().to_json(&model.architecture());
    assert_eq!(json["architectures"], serde_json::json!([model.architecture()]), "{name}");
    let batch = Batch::new(reference, &model.body);
    assert_eq!(H::outputs(&model, &batch), H::outputs(&again.model, &batch), "{name}: outputs");
    again.model
}

/// Every tensor of the file that we wrote is in the one we read, of the same shape and bits, and the other way round
/// but for what no model of this class has.
fn same_files(dir: &Path, to: &Path) {
    let (from, written) = (Weights::open(dir).expect("a dump"), Weights::open(to).expect("written before"));
    let name = dir.display();
    for tensor in written.names() {
        let theirs = from.get(tensor).unwrap_or_else(|| panic!("{name}: {tensor} is not in the dump"));
        let ours = written.get(tensor).expect("named by itself");
        assert_eq!((&ours.shape, ours.bytes()), (&theirs.shape, theirs.bytes()), "{name}: {tensor}");
    }
    let left: Vec<&str> = from.names().filter(|tensor| written.get(tensor).is_none()).collect();
    // source and target may have embeddings of their own, beside which one for both stays without use
    let apart = written.get("model.encoder.embed_tokens.weight").is_some();
    // a pooler that this head lacks, and positions that are computed
    let needless = |tensor: &&str| {
        tensor.contains("pooler")
            || tensor.ends_with("embed_positions.weight")
            || (apart && *tensor == "model.shared.weight")
    };
    assert!(left.iter().all(needless), "{name}: not written: {left:?}");
    assert_eq!(written.metadata().get("format").map(String::as_str), Some("pt"), "{name}");
}

#[test]
fn every_dump() {
    fn check<H: Case<B>, B: Tested>(dir: &Path, reference: &Reference) {
        let to = TempDir::new().expect("a temporary directory");
        let model = save_and_compare::<H, B>(dir, to.path(), reference);
        same_files(dir, to.path());
        let batch = Batch::new(reference, &model.body);
        let worst = difference(&dir.display().to_string(), &model, &batch, reference);
        assert!(worst <= 1e-4, "{}: outputs differ by {worst}", dir.display());
    }
    for case in FAMILIES.into_iter().flat_map(|(family, _)| cases(family)) {
        let reference = Reference::read(&case);
        with_head!(check, &case, &reference);
    }
}

/// Checkpoints of every age and format become the one that is written today.
#[test]
fn every_format() {
    let formats = parity().join("formats");
    let reference = Reference::read(&formats);
    let expected = Model::<MaskedLmHead>::open(&formats.join("position-ids"), &Device::flex()).expect("a checkpoint");
    let body = Model::<Pooler>::open(&formats.join("position-ids"), &Device::flex()).expect("a checkpoint");
    for case in [
        "as-2019",
        "gamma-beta",
        "position-ids",
        "bin-zip",
        "bin-views",
        "bin-parameters",
        "bin-sharded",
        "safetensors-sharded",
    ] {
        let to = TempDir::new().expect("a temporary directory");
        let model = save_and_compare::<MaskedLmHead, Encoder>(&formats.join(case), to.path(), &reference);
        assert_eq!(bits(&model), bits(&expected.model), "{case}");
        let mut files: Vec<_> =
            std::fs::read_dir(to.path()).expect("a folder").map(|e| e.expect("a file").file_name()).collect();
        files.sort();
        assert_eq!(files, ["config.json", "model.safetensors"], "{case}");
    }
    // a body alone, with and without the prefix that a model with a head gives its names
    for case in ["no-prefix", "position-ids", "as-2019"] {
        let to = TempDir::new().expect("a temporary directory");
        let model = save_and_compare::<Pooler, Encoder>(&formats.join(case), to.path(), &reference);
        assert_eq!(bits(&model), bits(&body.model), "{case}");
        let written = Weights::open(to.path()).expect("written before");
        assert!(written.get("embeddings.word_embeddings.weight").is_some(), "{case}: bare bodies have no prefix");
    }
    // half precision becomes f32, exactly
    for case in ["f16", "bf16", "bin-bf16"] {
        let to = TempDir::new().expect("a temporary directory");
        save_and_compare::<MaskedLmHead, Encoder>(&formats.join(case), to.path(), &reference);
    }
}

/// In shards as in one file: what is read is the same, and an index says where it lies.
#[test]
fn shards() {
    fn check<H: Case<B>, B: Tested>(dir: &Path, _: &Reference) {
        let to = TempDir::new().expect("a temporary directory");
        let model = Model::<H, B>::open(dir, &Device::flex()).expect("a dump").model;
        model.save_sharded(to.path(), 4000).expect("a folder that can be written");
        assert!(!to.path().join("model.safetensors").exists(), "{}", dir.display());
        let again =
            Model::<H, B>::open(to.path(), &Device::flex()).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        assert!(again.unused.is_empty() && again.new.is_empty(), "{}", dir.display());
        assert_eq!(bits(&model), bits(&again.model), "{}", dir.display());
        let index = std::fs::read(to.path().join("model.safetensors.index.json")).expect("an index");
        let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
        let weights = Weights::open(to.path()).expect("written before");
        assert_eq!(index["metadata"]["total_size"], weights.total_bytes());
        let names: Vec<&str> = index["weight_map"].as_object().expect("a map").keys().map(String::as_str).collect();
        assert_eq!(names, weights.names().collect::<Vec<_>>());
        // as one file again
        model.save(to.path()).expect("a folder that can be written");
        let mut files: Vec<_> =
            std::fs::read_dir(to.path()).expect("a folder").map(|e| e.expect("a file").file_name()).collect();
        files.sort();
        assert_eq!(files, ["config.json", "model.safetensors"], "{}", dir.display());
    }
    for case in FAMILIES.into_iter().filter_map(|(family, _)| cases(family).into_iter().next()) {
        with_head!(check, &case, &Reference::read(&case));
    }
}

/// A new head on a published body, with labels of its own, is written with them.
#[test]
fn new_labels() {
    let dir = parity().join("formats/no-prefix");
    let mut config = EncoderConfig::from_dir(&dir).expect("a body");
    config.labels = ["bad", "fair", "good", "great", "none"].map(str::to_owned).to_vec();
    let weights = Weights::open(&dir).expect("a body");
    let loaded = Model::<TokenHead>::from_weights(config, &weights, &Device::flex(), Some(5)).expect("a body");
    assert_eq!(loaded.new, ["classifier.weight", "classifier.bias"]);
    let to = TempDir::new().expect("a temporary directory");
    loaded.model.save(to.path()).expect("a folder that can be written");
    let again = Model::<TokenHead>::open(to.path(), &Device::flex()).expect("written before").model;
    assert_eq!(again.config().labels, ["bad", "fair", "good", "great", "none"]);
    assert_eq!(bits(&again), bits(&loaded.model));
}

/// With `PTM_PYTHON`: `transformers` opens every dump as we write it, every other one in shards, and gives the dump's outputs.
#[test]
fn transformers_opens_what_is_written() {
    fn write<H: Case<B>, B: Tested>(dir: &Path, _: &Reference, to: &Path, max_bytes: u64) {
        let model = Model::<H, B>::open(dir, &Device::flex()).expect("a dump").model;
        model.save_sharded(to, max_bytes).expect("a folder that can be written");
    }
    let Some(python) = std::env::var_os("PTM_PYTHON") else {
        println!("left out: PTM_PYTHON names no interpreter that has transformers");
        return;
    };
    let written = TempDir::new().expect("a temporary directory");
    for (number, case) in FAMILIES.into_iter().flat_map(|(family, _)| cases(family)).enumerate() {
        let to = written.path().join(case.file_name().expect("a name"));
        let max_bytes = if number % 2 == 0 { u64::MAX } else { 4000 };
        with_head!(write, &case, &Reference::read(&case), &to, max_bytes);
    }
    let script = parity().join("check_written.py");
    let ran = std::process::Command::new(python).arg(script).arg(dumps::folder()).arg(written.path()).output();
    let ran = ran.expect("PTM_PYTHON names an interpreter");
    let says = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    println!("{says}");
    assert!(ran.status.success(), "{says}");
}
