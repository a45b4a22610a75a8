//! `ptm evaluate` and `ptm debug data`, on a small random model and samples of real data.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use ptm_models::heads::{Head, SequenceHead, SpanHead, TokenHead};
use ptm_models::{Encoder, EncoderConfig, Model};
use serde_json::{Map, Value, json};

use super::{json, printed, ptm, refused};

fn assets(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets").join(path)
}

/// A random classifier of two labels.
fn model(seed: u64) -> tempfile::TempDir {
    random::<SequenceHead>(seed, &["same", "other"])
}

/// A small random model.
fn random<H: Head<Encoder>>(seed: u64, labels: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let labels: Map<String, Value> = labels.iter().enumerate().map(|(i, &l)| (i.to_string(), l.into())).collect();
    let Value::Object(config) = json!({"model_type": "bert", "vocab_size": 30522, "hidden_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64,
        "initializer_range": 0.5, "id2label": labels})
    else {
        unreachable!()
    };
    let config = EncoderConfig::from_json(config).unwrap();
    Model::<H, Encoder>::random(config, seed, &Device::flex()).unwrap().save(dir.path()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(assets("all-MiniLM-L6-v2").join(name), dir.path().join(name)).unwrap();
    }
    dir
}

#[test]
fn a_model_is_judged() {
    let (model, data) = (model(1), assets("data/senses"));
    let found = json(ptm().args(["evaluate", "--json", "--resamples", "50"]).arg(model.path()).arg(&data));
    assert_eq!((&found["rows"], &found["task"]), (&json!(500), &json!("text classification")));
    let accuracy = &found["metrics"][0];
    assert_eq!(accuracy["name"], "accuracy");
    let value = accuracy["value"].as_f64().unwrap();
    assert!((0.3..0.7).contains(&value), "{value}");
    assert!(accuracy["low"].as_f64().unwrap() < value && accuracy["high"].as_f64().unwrap() > value);
    assert_eq!(found["confusion"].as_array().unwrap().len(), 2);
    assert_eq!(found["errors"].as_array().unwrap().len(), 5);
    let some = json(ptm().args(["evaluate", "--json", "--limit", "7"]).arg(model.path()).arg(data.join("test.jsonl")));
    assert_eq!(some["rows"], 7);
    let text = printed(ptm().args(["evaluate", "--resamples", "50"]).arg(model.path()).arg(&data));
    assert!(
        text.contains("text classification · 500 rows") && text.contains(&format!("accuracy     {value:.4}")),
        "{text}"
    );
    assert!(text.contains("the worst first"), "{text}");
}

#[test]
fn thresholds_decide_the_exit_code() {
    let model = model(1);
    let run = |threshold: &str| {
        let mut command = ptm();
        command.args(["evaluate", "--limit", "20", "--resamples", "0", "--threshold", threshold]);
        command.arg(model.path()).arg(assets("data/senses")).assert().get_output().clone()
    };
    assert_eq!(run("0").status.code(), Some(0));
    let missed = run("accuracy=1.01");
    assert_eq!(missed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missed.stderr).contains("below the threshold 1.01"));
    assert_eq!(run("loss=0.0001").status.code(), Some(1));
    assert_eq!(run("loss=1000").status.code(), Some(0));
    assert_eq!(run("bleu=1").status.code(), Some(2));
}

#[test]
fn two_models_and_a_report() {
    let (one, two) = (model(1), model(2));
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut command = ptm();
    command.args(["evaluate", "--json", "--resamples", "50", "--against"]).arg(two.path());
    let found = json(command.arg("--report").arg(&report).arg(one.path()).arg(assets("data/senses")));
    let difference = &found["against"]["differences"][0];
    assert_eq!(difference["name"], "accuracy");
    assert_eq!(difference["second"], found["metrics"][0]["value"]);
    assert!(difference["p"].as_f64().unwrap() > 0.0);
    let html = std::fs::read_to_string(report.join("report.html")).unwrap();
    assert!(html.contains("Compared") && html.matches("<svg").count() == 3);
    for name in ["confusion.svg", "reliability.svg", "lengths.svg", "report.json"] {
        assert!(report.join(name).is_file(), "{name}");
    }
    let page = folder.path().join("page.html");
    let mut command = ptm();
    command.args(["evaluate", "--limit", "20", "--resamples", "0", "--report"]).arg(&page).arg(one.path());
    command.arg(assets("data/senses")).assert().success();
    assert!(std::fs::read_to_string(page).unwrap().starts_with("<!doctype html>"));
}

#[test]
fn bags_of_words_beat_a_random_model() {
    let mut command = ptm();
    command.args(["evaluate", "--json", "--resamples", "100", "--baseline"]).arg(assets("data/senses"));
    let found = json(command.arg(model(1).path()).arg(assets("data/senses/test.jsonl")));
    assert_eq!(found["against"]["model"], "bags of words");
    let accuracy = found["against"]["report"]["metrics"][0]["value"].as_f64().unwrap();
    assert!((0.4..0.7).contains(&accuracy), "{accuracy}");
}

#[test]
fn taggers_and_readers_have_their_baselines() {
    let baseline = |model: tempfile::TempDir, data: &str, train: &str| {
        let data = assets(data);
        let mut command = ptm();
        command.args(["evaluate", "--json", "--resamples", "20", "--baseline"]).arg(data.join(train));
        json(command.arg(model.path()).arg(&data))["against"].clone()
    };
    let value = |found: &Value, at: usize| found["report"]["metrics"][at]["value"].as_f64().unwrap();
    let tags = random::<TokenHead>(1, &["O", "B-NAME", "I-NAME"]);
    let found = baseline(tags, "data/names", "train.conll");
    assert_eq!(found["model"], "each word's most frequent tag");
    assert_eq!(found["report"]["metrics"][0]["name"], "f1");
    assert!((0.25..0.7).contains(&value(&found, 0)), "{found}");
    let found = baseline(random::<SpanHead>(1, &["x", "y"]), "data/answers", "train.jsonl");
    assert_eq!(found["model"], "shared words and shapes");
    assert!((30.0..90.0).contains(&value(&found, 0)), "{found}");
}

#[test]
fn what_does_not_fit_is_said() {
    let model = model(1);
    let run = |more: &[&str], data: &Path| refused(ptm().arg("evaluate").args(more).arg(model.path()).arg(data));
    let said = run(&[], &assets("data/topics"));
    assert!(said.contains("the model has same, other"), "{said}");
    let said = run(&["--column", "text=body"], &assets("data/senses"));
    assert!(said.contains("there is no column \"body\" for text") && said.contains("line 1"), "{said}");
    assert!(run(&["--format", "xml"], &assets("data/senses")).contains("no such format"));
    assert!(run(&[], Path::new("no/such")).contains("no data set of that name"));
    assert!(run(&["--max-length", "65"], &assets("data/senses")).contains("8 to 64"));
    let said = refused(ptm().arg("evaluate").arg(assets("all-MiniLM-L6-v2")).arg(assets("data/senses")));
    assert!(said.contains("cannot be evaluated"), "{said}");
    assert!(run(&["--revision", "v1"], &assets("data/senses")).contains("--revision v1 does not apply"));
}

/// A home of the hub's cache with the data set `org/senses`.
fn hub() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("hub/datasets--org--senses");
    let snapshot = folder.join("snapshots/0123abcd");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::write(folder.join("refs/main"), "0123abcd").unwrap();
    std::fs::copy(assets("data/senses/test.jsonl"), snapshot.join("test.jsonl")).unwrap();
    home
}

#[test]
fn a_data_set_of_the_hubs_cache() {
    let (model, home) = (model(1), hub());
    let mut command = ptm();
    command.env("HF_HOME", home.path()).args(["evaluate", "--json", "--resamples", "0"]).arg(model.path());
    assert_eq!(json(command.arg("org/senses"))["rows"], 500);
    // a recipe names it in the same way
    let recipe = home.path().join("recipe.toml");
    let text = format!(
        "task = \"classification\"\nmodel = {}\noutput = \"out\"\n[data]\ntrain = \"org/senses\"\nsplit = \"test\"\n",
        json!(model.path())
    );
    std::fs::write(&recipe, text).unwrap();
    let found = json(ptm().env("HF_HOME", home.path()).args(["debug", "data", "--json"]).arg(&recipe));
    // the model has 64 positions
    assert_eq!((&found["rows"], &found["max_length"]), (&json!(500), &json!(64)));
}

#[test]
fn sources_and_targets_are_described_as_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let row = json!({"source": "one two", "target": "three four five"});
    std::fs::write(folder.path().join("rows.jsonl"), format!("{row}\n{row}\n")).unwrap();
    let recipe = folder.path().join("recipe.toml");
    let (minilm, data) = (json!(assets("all-MiniLM-L6-v2")), json!(folder.path().join("rows.jsonl")));
    let text = format!(
        "task = \"text-to-text\"\nmodel = {minilm}\noutput = \"out\"\n[data]\ntrain = {data}\nprefix = \"say: \"\n\
         max_target = 4\n"
    );
    std::fs::write(&recipe, text).unwrap();
    let found = json(ptm().args(["debug", "data", "--json"]).arg(&recipe));
    // [CLS] say : one two [SEP], [CLS] three four five [SEP]
    assert_eq!((&found["lengths"]["most"], &found["targets"]["lengths"]["most"]), (&json!(6), &json!(5)));
    assert_eq!((&found["longer"], &found["targets"]["longer"]), (&json!(0), &json!(2)));
    assert_eq!(found["examples"][0]["tokens"][1], "say");
    let text = printed(ptm().args(["debug", "data"]).arg(&recipe));
    assert!(text.contains("tokens of targets  5 to 5") && text.contains("longer than 4  2 of 2"), "{text}");
}

#[test]
fn data_are_described() {
    let minilm = assets("all-MiniLM-L6-v2");
    let mut command = ptm();
    command.args(["debug", "data", "--json", "--max-length", "16", "--model"]).arg(&minilm);
    let found = json(command.arg(assets("data/topics/test.jsonl")));
    assert_eq!(
        (&found["rows"], &found["task"], &found["unit"]),
        (&json!(586), &json!("classification"), &json!("tokens"))
    );
    assert_eq!(found["labels"].as_array().unwrap().len(), 12);
    assert!(found["longer"].as_u64().unwrap() > 50 && found["lengths"]["most"].as_u64().unwrap() > 16);
    assert_eq!(found["examples"][0]["tokens"][0], "[CLS]");
    let text = printed(ptm().args(["debug", "data", "--show", "1"]).arg(assets("data/names/test.conll")));
    assert!(text.contains("test.conll · tokens") && text.contains("B-NAME") && text.contains("/O"), "{text}");
    let text = printed(ptm().args(["debug", "data"]).arg(assets("data/answers/test.jsonl")));
    assert!(text.contains("questions") && text.contains("without an answer"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.jsonl");
    let rows = [
        "{\"text\": \"a\", \"label\": \"x\"}",
        "{\"text\": \"a\", \"label\": \"y\"}",
        "{\"text\": \"\", \"label\": \"x\"}",
        "{\"label\": \"z\"}",
    ];
    std::fs::write(
        &file,
        rows.join(
            "
",
        ),
    )
    .unwrap();
    let text = printed(ptm().args(["debug", "data"]).arg(&file));
    assert!(
        text.contains("with another label  1") && text.contains("empty  1") && text.contains("cannot be read  1"),
        "{text}"
    );
    refused(ptm().args(["debug", "data", "--task", "poetry"]).arg(&file));
}

#[test]
fn a_recipe_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    let paths = [assets("all-MiniLM-L6-v2"), assets("data/topics/train.jsonl"), assets("data/topics/validation.jsonl")];
    let [model, train, validation] = paths.map(|path| json!(path));
    let text = format!(
        "task = \"classification\"\nmodel = {model}\noutput = \"out\"\n[data]\ntrain = {train}\nvalidation = {validation}\n\
         max_length = 32\n"
    );
    std::fs::write(&recipe, text).unwrap();
    let found = json(ptm().args(["debug", "data", "--json"]).arg(&recipe));
    assert_eq!(
        (&found[0]["rows"], &found[1]["rows"], &found[0]["max_length"]),
        (&json!(1800), &json!(240), &json!(32))
    );
    let text = printed(ptm().args(["debug", "data"]).arg(&recipe));
    assert!(text.contains("train: ") && text.contains("validation: ") && text.contains("longer than 32"), "{text}");
}
