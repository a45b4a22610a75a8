//! Feature extraction against the pipeline of transformers (`parity/pipelines/features.py`).

use std::path::Path;

use ptm_tasks::{FeatureExtraction, FeatureExtractionOptions};
use serde_json::Value;

#[test]
fn tokens_have_the_references_vectors() {
    for family in ["bert", "distilbert", "electra", "roberta"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/pipelines").join(family);
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
        assert!(both[0].is_ok() && both[1].as_ref().unwrap_err().to_string().contains("reads at most"));
    }
}
