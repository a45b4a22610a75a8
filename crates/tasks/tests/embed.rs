//! Embeddings against sentence-transformers (`parity/sentence/make.py`): directories of every make, and the real
//! MiniLM that is part of the program.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ptm_tasks::{EmbedOptions, Embedder, cosine};
use safetensors::SafeTensors;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/sentence")
}

fn sentences() -> Vec<String> {
    let bytes = std::fs::read(folder().join("sentences.json")).expect("sentences");
    serde_json::from_slice(&bytes).expect("a list of strings")
}

/// Rows of matrices by name.
type Matrices = HashMap<String, Vec<Vec<f32>>>;

/// Rows of every matrix of a file, and its metadata.
fn golden(path: &Path) -> (Matrices, HashMap<String, String>) {
    let bytes = std::fs::read(path).expect("golden embeddings");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a valid file");
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(&bytes).expect("a valid file");
    let rows = |view: &safetensors::tensor::TensorView<'_>| {
        let values: Vec<f32> = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        values.chunks_exact(view.shape()[1]).map(<[f32]>::to_vec).collect()
    };
    (file.tensors().iter().map(|(name, view)| (name.clone(), rows(view))).collect(), metadata)
}

fn check(case: &Path) {
    let name = case.file_name().expect("a name").to_string_lossy();
    let (expected, metadata) = golden(&case.join("golden.safetensors"));
    let model = Embedder::open(case).unwrap_or_else(|error| panic!("{name}: {error}"));
    let count: usize = metadata["n"].parse().expect("a number");
    let sentences = sentences();
    let texts: Vec<&str> = sentences.iter().take(count).map(String::as_str).collect();
    for (variant, rows) in expected {
        let mut options = EmbedOptions::default();
        match variant.split_once('.') {
            Some(("prompt_name", name)) => options.prompt_name = Some(name.to_owned()),
            _ if variant == "prompt" => options.prompt = Some("Say it: ".into()),
            _ if variant == "normalized" => options.normalize = Some(true),
            _ => assert_eq!(variant, "default", "{name}"),
        }
        let ours = model.embed(&texts, &options, &mut |_| {}).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(ours.len(), rows.len());
        for (i, (ours, theirs)) in ours.iter().zip(&rows).enumerate() {
            assert_eq!(ours.len(), theirs.len(), "{name}, {variant}");
            assert_eq!(ours.len(), model.dimension(), "{name}, {variant}");
            let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{name}, {variant}, sentence {i} ({:?}): {worst}", texts[i]);
        }
    }
}

#[test]
fn directories_of_every_make() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).expect("a folder") {
        let path = entry.expect("a readable folder").path();
        if path.join("golden.safetensors").exists() {
            check(&path);
            count += 1;
        }
    }
    assert!(count >= 33, "{count} directories");
}

#[test]
fn the_embedded_model_is_the_real_one() {
    let (mut expected, _) = golden(&folder().join("minilm.safetensors"));
    let expected = expected.remove("embeddings").expect("embeddings");
    let sentences = sentences();
    let texts: Vec<&str> = sentences.iter().map(String::as_str).collect();
    let model = Embedder::embedded().expect("the assets are sound");
    let mut heard = Vec::new();
    let ours = model.embed(&texts, &EmbedOptions::default(), &mut |done| heard.push(done)).expect("texts");
    for (i, (ours, theirs)) in ours.iter().zip(&expected).enumerate() {
        let near = cosine(ours, theirs);
        assert!(near >= 0.999, "sentence {i}: {near}");
    }
    assert_eq!(heard.last(), Some(&texts.len()));
    assert!(heard.is_sorted());
}

#[test]
fn batches_of_any_size_give_the_same() {
    let model = Embedder::open(&folder().join("mean-normalize")).expect("a directory");
    let sentences = sentences();
    let texts: Vec<&str> = sentences.iter().take(12).map(String::as_str).collect();
    let run = |tokens| {
        let options = EmbedOptions { batch_tokens: Some(tokens), ..EmbedOptions::default() };
        model.embed(&texts, &options, &mut |_| {}).expect("texts")
    };
    for (a, b) in run(1).iter().zip(&run(1 << 20)) {
        let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }
}

#[test]
fn an_unknown_prompt_names_those_there_are() {
    let model = Embedder::open(&folder().join("prompts")).expect("a directory");
    let options = EmbedOptions { prompt_name: Some("nope".into()), ..EmbedOptions::default() };
    let message = model.embed(&["x"], &options, &mut |_| {}).expect_err("no such prompt").to_string();
    assert!(message.contains("nope") && message.contains("query"), "{message}");
}
