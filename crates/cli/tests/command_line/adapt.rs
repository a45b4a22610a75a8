//! `ptm adapt`: a tiny model goes on with pretraining in every way, learns a task, is stopped, goes on, and a table says
//! what it gained.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::finetune::{sentences, workplace as with_model};
use crate::{alone, json, parity, printed, ptm, refused};

/// The tiny model of the tests of fine-tuning with its labelled sentences, text of its domain, and a recipe.
fn workplace() -> TempDir {
    let dir = with_model();
    let mut text = String::new();
    for number in 0..60 {
        let words = ["good", "bad", "great", "poor", "dull", "lovely"];
        let (word, other) = (words[number % 6], words[number / 6 % 6]);
        write!(text, "The film was a {word} story of {other} and not {word}. A story was {word}.\n\n").unwrap();
    }
    // what a row of the task says
    text.push_str("And the story was good of the film.\n");
    fs::write(dir.path().join("domain.txt"), text).unwrap();
    fs::write(dir.path().join("test.jsonl"), sentences(24)).unwrap();
    let recipe = "output = 'out'\nmodel = 'tiny'\ntest = 'test.jsonl'\nseeds = [0, 1]\n\
         [domain]\ntext = 'domain.txt'\n[neighbours]\nk = 2\nmodel = 'EMBED'\n\
         [pretrain.batch]\nsize = 8\nlength = 16\n[pretrain.optimizer]\nname = 'adamw'\nlr = 1e-3\n\
         [dapt.run]\nsteps = 6\n[dapt.corpus]\nvalidation = 0.2\n[tapt.run]\nsteps = 5\n[knn-tapt.run]\nsteps = 4\n\
         [finetune]\nrecipe = 'recipe.toml'\n[finetune.run]\nsteps = 10\n[finetune.evaluate]\nevery = 5\n";
    let recipe = recipe.replace("EMBED", &parity("sentence/mean").display().to_string());
    fs::write(dir.path().join("adapt.toml"), recipe).unwrap();
    dir
}

fn adapt(dir: &Path, more: &[&str]) -> assert_cmd::Command {
    let mut command = ptm();
    command.current_dir(dir).args(["adapt", "adapt.toml", "--threads", "2"]).args(more);
    command
}

/// The table without what differs from run to run.
fn numbers(mut table: Value) -> Value {
    for line in table["lines"].as_array_mut().unwrap() {
        if let Some(pretrained) = line["pretrained"].as_object_mut() {
            pretrained.remove("seconds");
        }
    }
    table.as_object_mut().unwrap().remove("files");
    table
}

#[test]
fn one_command_makes_the_table() {
    let dir = workplace();
    let table = json(&mut adapt(dir.path(), &["--json", "--quiet"]));
    let lines = table["lines"].as_array().unwrap();
    let names: Vec<&str> = lines.iter().map(|line| line["variant"].as_str().unwrap()).collect();
    assert_eq!(names, ["none", "dapt", "tapt", "knn-tapt", "dapt+tapt"]);
    assert_eq!((&table["metric"], &table["rows"]), (&"accuracy".into(), &24.into()));
    for line in lines {
        assert_eq!(line["values"].as_array().unwrap().len(), 2, "{line}");
        let found = &line["estimate"];
        let number = |name: &str| found[name].as_f64().unwrap();
        assert!(number("low") <= number("mean") && number("mean") <= number("high"), "{line}");
        assert_eq!(line["difference"].is_null(), line["variant"] == "none", "{line}");
    }
    let made = |at: usize, name: &str| lines[at]["pretrained"][name].clone();
    assert_eq!([1, 2, 3, 4].map(|at| made(at, "steps")), [6, 5, 4, 5]);
    assert!(made(0, "steps").is_null() && made(1, "loss").is_f64() && made(2, "loss").is_null());
    // eighteen rows differ, and they have neighbours of their own
    assert_eq!(made(2, "documents"), 18);
    assert!(made(3, "documents").as_u64() > made(2, "documents").as_u64());
    let out = dir.path().join("out");
    // models that learnt the task are not kept, those that went on with pretraining are, without their checkpoints
    assert!(out.join("dapt/pretraining/model/config.json").is_file() && !out.join("dapt/seed-0/model").exists());
    let kept = fs::read_dir(out.join("dapt/pretraining")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(kept.into_iter().all(|name| !name.to_string_lossy().starts_with("checkpoint-")));
    for name in ["table.md", "table.html", "table.json"] {
        let text = fs::read_to_string(out.join(name)).unwrap();
        assert!(text.contains("knn-tapt"), "{text}");
    }
    // neighbours are as near as they say, and say nothing that a row says
    let found = fs::read_to_string(out.join("neighbours.jsonl")).unwrap();
    let mut found = found.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let summary = found.next().unwrap();
    assert_eq!((&summary["k"], &summary["rows"]), (&2.into(), &18.into()));
    assert!(summary["candidates"].as_u64() > Some(20), "{summary}");
    assert_eq!((&table["domain_left_out"], &summary["left_out"]), (&1.into(), &0.into()));
    assert_eq!(made(1, "documents"), 60);
    let rows: BTreeSet<String> = fs::read_to_string(dir.path().join("train.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    for row in found {
        let near = row["neighbours"].as_array().unwrap();
        assert_eq!(near.len(), 2, "{row}");
        assert!(near[0]["score"].as_f64() >= near[1]["score"].as_f64() && near[0]["text"] != near[1]["text"]);
        for one in near {
            let text = one["text"].as_str().unwrap();
            assert!(rows.iter().all(|row| !text.contains(row.as_str())), "{text}");
        }
    }
    // what is done stays so, and can be widened
    let begun = Instant::now();
    let again = printed(&mut adapt(dir.path(), &["--quiet"]));
    assert!(again.contains("over none") && again.contains("dapt+tapt"), "{again}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let wider = json(&mut adapt(
        dir.path(),
        &["--json", "--quiet", "--set", "variants=['none','1nn-tapt']", "--set", "seeds=[0,1,2]"],
    ));
    let values = |table: &Value| table["lines"][0]["values"].as_array().unwrap()[..2].to_vec();
    assert_eq!(values(&wider), values(&table));
    assert_eq!(wider["lines"][1]["values"].as_array().unwrap().len(), 3);
    let other = refused(&mut adapt(dir.path(), &["--quiet", "--set", "dapt.run.steps=7"]));
    assert!(other.contains("another comparison") && other.contains("dapt.run.steps"), "{other}");
    let afresh = &["--json", "--quiet", "--afresh", "--set", "variants=['none']", "--set", "seeds=[0]"];
    assert_eq!(json(&mut adapt(dir.path(), afresh))["lines"][0]["values"][0], table["lines"][0]["values"][0]);
    assert!(!out.join("dapt").exists() && !out.join("domain").exists());
}

#[test]
fn ctrl_c_anywhere_and_the_comparison_goes_on() {
    let dir = workplace();
    let few = [
        "--set",
        "variants=['none','knn-tapt']",
        "--set",
        "seeds=[0]",
        "--set",
        "finetune.run.steps=30",
        "--set",
        "domain.with_rows=true",
    ];
    let whole = json(&mut adapt(dir.path(), &[&few[..], &["--json", "--quiet", "--set", "output=whole"]].concat()));
    // in the middle of learning, and of pretraining
    for place in ["none/seed-0/log.jsonl", "knn-tapt/pretraining/log.jsonl"] {
        let mut command = alone(env!("CARGO_BIN_EXE_ptm"));
        command.current_dir(dir.path()).args(["adapt", "adapt.toml", "--threads", "2", "--quiet"]).args(few);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !dir.path().join("out").join(place).exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before {place}");
            sleep(Duration::from_millis(1));
        }
        assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(130), "{place}");
        assert!(!dir.path().join("out/table.md").exists());
    }
    let parts = json(&mut adapt(dir.path(), &[&few[..], &["--json", "--quiet"]].concat()));
    // the whole domain was searched, and what a row says was no candidate
    assert_eq!((&whole["domain_left_out"], &whole["neighbours"][1]), (&0.into(), &1.into()), "{whole}");
    assert_eq!(numbers(parts), numbers(whole));
}

#[test]
fn recipes_are_printed_and_mistakes_refused_before_anything_is_made() {
    let dir = workplace();
    let text = printed(&mut adapt(dir.path(), &["--print-config", "--set", "pretrain.batch.accumulate=3"]));
    for expected in ["# knn-tapt", "accumulate = 3", "steps = 6", "task = \"classification\"", "judged = 1000"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for (set, expected) in [
        ("dapt.run.stepz=3", "stepz"),
        ("neighbors.k=3", "neighbors"),
        ("test=nowhere.jsonl", "nowhere.jsonl"),
        ("model=nowhere", "nowhere"),
        ("neighbours.model=nowhere", "nowhere"),
        ("domain.text=nowhere", "nowhere"),
        ("domain={packed='tiny'}", "tiny"),
        ("finetune.recipe=nowhere.toml", "nowhere.toml"),
        ("metric=beauty", "beauty"),
    ] {
        let said = refused(&mut adapt(dir.path(), &["--quiet", "--set", "variants=['none','dapt']", "--set", set]));
        assert!(said.contains(expected), "{set}: {said}");
        let made = dir.path().join("out").join("dapt");
        assert!(!made.exists() || set.starts_with("metric"), "{set}");
    }
}
