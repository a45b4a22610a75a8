//! Feature extraction against the pipeline of transformers (`parity/pipelines/features.py`).

use std::path::Path;

use ptm_tasks::{FeatureExtraction, FeatureExtractionOptions};
use serde_json::Value;

#[test]
fn tokens_have_the_references_vectors() {
    let generators = ["gpt2", "bart", "mbart", "marian", "t5", "xlnet"].map(|family| format!("generation/{family}"));
    let encoders = ["bert", "distilbert", "electra", "roberta"].map(str::to_owned);
    for family in encoders.into_iter().chain(generators) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/pipelines").join(&family);
        let cases: Value = serde_json::from_slice(&std::fs::read(dir.join("features.json")).unwrap()).unwrap();
        let cases = cases.as_array().unwrap();
        let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
        let model = FeatureExtraction::open(&dir).unwrap();
        let all = model.extract(&texts, &FeatureExtractionOptions::default(), &mut |_| {}).unwrap();
        for (case, features) in cases.iter().zip(all) {
            let ours = serde_json::to_value(features.unwrap()).unwrap();
            let (ours, theirs) = (ours.as_array().unwrap(), case["output"].as_array().unwrap());
            assert_eq!((ours.len(), theirs.len()), (1, 1));
            let (ours, theirs) = (ours[0].as_array().unwrap(), theirs[0].as_array().unwrap());
            assert_eq!(ours.len(), theirs.len(), "{family}: {}", case["text"]);
            for (a, b) in
                ours.iter().flat_map(|v| v.as_array().unwrap()).zip(theirs.iter().flat_map(|v| v.as_array().unwrap()))
            {
                assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() <= 1e-4, "{family}: {a}, should be {b}");
            }
        }
        let long = "city ".repeat(200);
        let both = model.extract(&["a", &long], &FeatureExtractionOptions::default(), &mut |_| {}).unwrap();
        // T5 and XLNet know no position that is too far
        let endless = family.ends_with("/t5") || family.ends_with("/xlnet");
        assert!(both[0].is_ok() && both[1].is_ok() == endless, "{family}");
        assert!(both[1].as_ref().err().is_none_or(|error| error.to_string().contains("reads at most")), "{family}");
    }
}

/// GPT-2 frames texts with nothing.
#[test]
fn a_text_without_tokens_has_an_error_of_its_own() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/pipelines/generation/gpt2");
    let model = FeatureExtraction::open(&dir).unwrap();
    let both = model.extract(&["", "a"], &FeatureExtractionOptions::default(), &mut |_| {}).unwrap();
    assert!(both[0].as_ref().unwrap_err().to_string().contains("no token that the model knows"));
    assert_eq!(both[1].as_ref().unwrap().vectors.len(), 1);
    let vectors = ptm_tasks::Embedder::open(&dir).unwrap();
    let error = vectors.embed(&["a", ""], &ptm_tasks::EmbedOptions::default(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("no token that the model knows: \"\""), "{error}");
}
