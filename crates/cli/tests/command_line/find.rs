//! `ptm finetune --find-lr` and `--find-batch`: what they say, what they write, and that nothing else is touched.

use std::fs;

use serde_json::Value;

use super::finetune::{finetune, workplace};
use super::{json, printed, refused};

#[test]
fn a_learning_rate_is_found() {
    let dir = workplace();
    let found = json(&mut finetune(dir.path(), &["--find-lr", "--find-steps", "60", "--json"]));
    let suggested = found["suggested"].as_f64().unwrap();
    // the recipe's own rate, with which the task is learnt, is 5e-3
    assert!((1e-4..5e-2).contains(&suggested), "{found}");
    let points = found["points"].as_array().unwrap();
    assert!(points.len() > 30 && points[0]["lr"].as_f64().unwrap() < 2e-7, "{found}");
    let rises = points.windows(2).all(|pair| pair[1]["lr"].as_f64() > pair[0]["lr"].as_f64());
    assert!(rises, "{found}");
    let mut left: Vec<String> = fs::read_dir(dir.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["find-lr.html", "find-lr.json"]);
    let written: Value = serde_json::from_slice(&fs::read(dir.path().join("out/find-lr.json")).unwrap()).unwrap();
    assert_eq!(written, found);
    assert!(fs::read_to_string(dir.path().join("out/find-lr.html")).unwrap().contains("<polyline"));
    let text = printed(&mut finetune(dir.path(), &["--find-lr", "--find-steps", "60"]));
    assert!(text.contains(&format!("optimizer.lr = {suggested:.1e}")), "{text}");
    // and a run begins as if nothing had been
    finetune(dir.path(), &["--quiet", "--set", "run.steps=4"]).assert().success();
}

#[cfg(target_os = "linux")]
#[test]
fn a_batch_is_found() {
    let dir = workplace();
    // texts of up to 32 tokens, enough for large batches
    fs::write(dir.path().join("train.jsonl"), super::finetune::sentences(4000)).unwrap();
    let run = |more: &[&str]| {
        let all: Vec<&str> = ["--find-batch", "--json", "--quiet"].iter().chain(more).copied().collect();
        json(&mut finetune(dir.path(), &all))
    };
    let small = run(&["--memory-limit", "100MB"]);
    let tried = small["tried"].as_array().unwrap();
    let peak = |tried: &Value| tried["peak_bytes"].as_u64().unwrap();
    let chosen = tried.iter().find(|tried| tried["tokens"] == small["tokens"]).unwrap();
    assert!(peak(chosen) <= 100_000_000, "{small}");
    assert!(tried.windows(2).all(|pair| peak(&pair[0]) <= peak(&pair[1])), "{small}");
    let large = run(&["--memory-limit", "200MB"]);
    assert!(large["tokens"].as_u64() > small["tokens"].as_u64(), "{small} {large}");
    assert!(!dir.path().join("out").exists());
    let said = refused(&mut finetune(dir.path(), &["--find-batch", "--memory-limit", "5MB"]));
    assert!(said.contains("the limit is 5 MB") && said.contains("gradient_checkpointing"), "{said}");
    assert!(refused(&mut finetune(dir.path(), &["--find-batch"])).contains("--memory-limit"));
    let text = printed(&mut finetune(dir.path(), &["--find-batch", "--memory-limit", "100MB"]));
    assert!(text.contains("write batch.tokens = "), "{text}");
}
