//! `ptm fill-mask`, against the answers of the transformers pipeline.

use serde_json::Value;

use super::{json, parity, printed, ptm, refused};

/// Equal JSON, numbers but for rounding.
pub fn close(a: &Value, b: &Value) {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| close(a, b));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{a:?} {b:?}");
            a.values().zip(b.values()).for_each(|(a, b)| close(a, b));
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-4 * b.abs().max(1e-3), "{a} {b}");
        }
        _ => assert_eq!(a, b),
    }
}

/// The first golden case whose input is one text without parameters.
fn golden(family: &str) -> (String, Value) {
    let cases = std::fs::read(parity(&format!("pipelines/{family}/fill-mask.json"))).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    let plain = |case: &&Value| {
        case["inputs"].is_string() && case["output"].is_array() && case["parameters"] == serde_json::json!({})
    };
    let case = cases.iter().find(plain).unwrap();
    (case["inputs"].as_str().unwrap().to_owned(), case["output"].clone())
}

#[test]
fn the_pipelines_shape() {
    for family in ["bert", "roberta", "distilbert", "electra"] {
        let (text, wanted) = golden(family);
        let model = parity(&format!("pipelines/{family}"));
        let one = json(ptm().args(["fill-mask", "--json", &text, "--model"]).arg(&model));
        close(&one, &wanted);
        let two = json(ptm().args(["fill-mask", "--json", "--top-k", "5", &text, &text, "--model"]).arg(&model));
        close(&two, &Value::Array(vec![wanted.clone(), wanted.clone()]));
        let lines =
            printed(ptm().args(["fill-mask", "--json", "-m"]).arg(&model).write_stdin(format!("{text}\n{text}\n")));
        assert_eq!(lines.lines().count(), 2);
        lines.lines().for_each(|line| close(&serde_json::from_str(line).unwrap(), &wanted));
    }
}

#[test]
fn options() {
    let model = parity("pipelines/bert");
    let text = "The capital of France is [MASK].";
    let value = json(ptm().args(["fill-mask", "--json", "--top-k", "1", text, "-m"]).arg(&model));
    assert_eq!(value.as_array().unwrap().len(), 1);
    let value = json(ptm().args(["fill-mask", "--json", "--targets", "east,come", text, "-m"]).arg(&model));
    let mut words: Vec<&str> = value.as_array().unwrap().iter().map(|g| g["token_str"].as_str().unwrap()).collect();
    words.sort_unstable();
    assert_eq!(words, ["come", "east"]);
    let shown = printed(ptm().args(["fill-mask", "--targets", "east", text, "-m"]).arg(&model));
    assert!(shown.contains("The capital of France is east."), "{shown}");
}

/// Where words begin with a space, that of a target counts.
#[test]
fn targets_with_a_space_in_front() {
    let text = "The capital of France is <mask>.";
    let values = |targets: &str| {
        let model = parity("pipelines/roberta");
        json(ptm().args(["fill-mask", "--json", "--targets", targets, text, "-m"]).arg(&model))
    };
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|guess| guess["token_str"].as_str().unwrap().to_owned()).collect()
    };
    let mut with_space = words(&values(" city, the"));
    with_space.sort();
    assert_eq!(with_space, [" city", " the"]);
}

/// A tokenizer whose files say that there is no mask.
#[test]
fn a_tokenizer_without_a_mask() {
    let dir = super::copy("pipelines/bert");
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let path = dir.path().join(name);
        let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        file["mask_token"] = Value::Null;
        std::fs::write(&path, file.to_string()).unwrap();
    }
    let said = refused(ptm().args(["fill-mask", "a [MASK]", "-m"]).arg(dir.path()));
    assert!(said.contains("the tokenizer does not define a mask_token"), "{said}");
}

/// Without --model the built-in one answers.
#[test]
fn built_in() {
    let text = "Paris is the [MASK] of France.";
    let value = json(ptm().args(["fill-mask", "--json", text]));
    let guesses = value.as_array().unwrap();
    assert_eq!((guesses.len(), &guesses[0]["token_str"]), (5, &"capital".into()), "{value}");
    assert_eq!(guesses[0]["sequence"], "paris is the capital of france.");
    let shown = printed(ptm().args(["fill-mask", "--top-k", "1", text]));
    assert!(shown.contains("Paris is the capital of France."), "{shown}");
    let effective = printed(ptm().args(["fill-mask", "--print-config", "--top-k", "3"]));
    assert!(effective.contains("top_k"), "{effective}");
}

#[test]
fn refusals() {
    let model = parity("pipelines/bert");
    let said = refused(ptm().args(["fill-mask", "a [MASK]", "--revision", "main"]));
    assert!(said.contains("--revision") && said.contains("--model"), "{said}");
    let said = refused(ptm().args(["fill-mask", "no mask here", "-m"]).arg(&model));
    assert!(said.contains("No mask_token ([MASK]) found on the input"), "{said}");
    let long = format!("[MASK] {}", "word ".repeat(3000));
    refused(ptm().args(["fill-mask", &long, "-m"]).arg(&model));
    ptm().args(["fill-mask", "--truncate", &long, "-m"]).arg(&model).assert().success();
    refused(ptm().args(["fill-mask", "[MASK]", "--top-k", "100000000", "-m"]).arg(&model));
}
