//! fill-mask against the answers of the pipeline of `transformers` (`parity/pipelines/make.py`): every option, the
//! families that have the head, errors too.

use std::path::{Path, PathBuf};

use ptm_tasks::{FillMask, FillMaskOptions};
use serde_json::Value;

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/pipelines").join(family)
}

/// Equal JSON, numbers within 1e-4, keys in the same order.
fn same(ours: &Value, theirs: &Value, at: &str) {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{at}: length");
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| same(a, b, &format!("{at}[{i}]")));
        }
        (Value::Object(a), Value::Object(b)) => {
            let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(a), keys(b), "{at}: keys");
            a.iter().for_each(|(key, value)| same(value, &b[key], &format!("{at}.{key}")));
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            assert!((a - b).abs() <= 1e-4, "{at}: {a}, should be {b}");
        }
        _ => assert_eq!(ours, theirs, "{at}"),
    }
}

fn check(family: &str) {
    let dir = folder(family);
    let model = FillMask::open(&dir).expect("a model directory");
    let cases = std::fs::read(dir.join("fill-mask.json")).expect("golden answers");
    let cases: Vec<Value> = serde_json::from_slice(&cases).expect("valid JSON");
    let mut compared = 0;
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        let parameters = &case["parameters"];
        let kwargs = &parameters["tokenizer_kwargs"];
        if !kwargs["padding"].is_null() || (!kwargs["max_length"].is_null() && kwargs["truncation"] != true) {
            continue; // packed batches have no padding to compare
        }
        let texts: Vec<&str> = match &case["inputs"] {
            Value::String(text) => vec![text],
            list => list.as_array().expect("texts").iter().map(|t| t.as_str().expect("a text")).collect(),
        };
        let targets = match &parameters["targets"] {
            Value::Null => None,
            Value::String(word) => Some(vec![word.clone()]),
            list => {
                let list = list.as_array().expect("words");
                Some(list.iter().map(|word| word.as_str().expect("a word").to_owned()).collect())
            }
        };
        if kwargs["max_length"].is_u64() {
            continue; // the length to cut to is the model's here
        }
        let options = FillMaskOptions {
            top_k: parameters["top_k"].as_u64().map(|k| k as usize),
            targets,
            truncate: kwargs["truncation"] == true,
            ..FillMaskOptions::default()
        };
        let answer = model.fill(&texts, &options, &mut |_| {});
        if let Some(error) = case.get("error") {
            let message = answer.err().unwrap_or_else(|| panic!("{family}, {name}: should fail")).to_string();
            let expected = error["message"].as_str().expect("a message");
            if expected.starts_with("No mask_token") || expected.starts_with("At least") {
                assert!(message.starts_with(expected), "{family}, {name}: {message}");
            }
        } else {
            let answer = answer.unwrap_or_else(|error| panic!("{family}, {name}: {error}"));
            // the pipeline unwraps a list of one
            let ours = if texts.len() == 1 { serde_json::to_value(&answer[0]) } else { serde_json::to_value(&answer) };
            same(&ours.expect("answers serialise"), &case["output"], &format!("{family}, {name}"));
        }
        compared += 1;
    }
    assert!(compared >= 40, "{compared} cases of {}", cases.len());
}

#[test]
fn bert() {
    check("bert");
}

#[test]
fn roberta() {
    check("roberta");
}

#[test]
fn distilbert() {
    check("distilbert");
}

#[test]
fn electra() {
    check("electra");
}

#[test]
fn ernie() {
    check("ernie");
}

#[test]
fn xlm_roberta() {
    check("xlmr");
}

/// An encoder-decoder says the text whole, the masks filled.
#[test]
fn bart() {
    check("bart");
}

#[test]
fn mbart() {
    check("mbart");
}

#[test]
fn a_stop_comes_between_batches() {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    let model = FillMask::open(&folder("bert")).expect("a model directory");
    let text = format!("The capital of France is {}.", model.mask_token());
    let texts = vec![text.as_str(); 5];
    let stop = AtomicBool::new(false);
    // a batch a text
    let options = FillMaskOptions { batch_tokens: Some(1), stop: Some(&stop), ..FillMaskOptions::default() };
    let mut heard = Vec::new();
    assert_eq!(model.fill(&texts, &options, &mut |done| heard.push(done)).expect("answers").len(), 5);
    assert_eq!(heard, [1, 2, 3, 4, 5]);
    heard.clear();
    let stopped = model.fill(&texts, &options, &mut |done| {
        heard.push(done);
        stop.store(done == 2, SeqCst);
    });
    assert!(matches!(stopped, Err(ptm_tasks::Error::Stopped)) && heard == [1, 2], "{heard:?}");
}
