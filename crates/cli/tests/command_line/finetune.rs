//! `ptm finetune`: a tiny model learns, is stopped in every way, and goes on with the same bits.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use burn::prelude::Device;
use ptm_models::heads::MaskedLmHead;
use ptm_models::{EncoderConfig, Model};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{alone, json, printed, ptm};

const WORDS: [&str; 14] =
    ["the", "film", "was", "a", "story", "of", "good", "great", "lovely", "bad", "poor", "dull", "not", "and"];

/// A folder with a model of random weights, labelled sentences and a recipe.
pub fn workplace() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    random(&dir.path().join("tiny"), 32, 2);
    for (name, rows) in [("train.jsonl", 160), ("dev.jsonl", 40)] {
        fs::write(dir.path().join(name), sentences(rows)).unwrap();
    }
    let recipe = "task = 'classification'\nmodel = 'tiny'\noutput = 'out'\nseed = 3\n\
         [data]\ntrain = 'train.jsonl'\nvalidation = 'dev.jsonl'\n\
         [run]\nsteps = 60\n[optimizer]\nname = 'adamw'\nlr = 5e-3\n[batch]\nsize = 8\n\
         [evaluate]\nevery = 20\n[checkpoint]\nevery = 4\nbest = false\n[log]\nevery = 1\n";
    fs::write(dir.path().join("recipe.toml"), recipe).unwrap();
    dir
}

/// A BERT of random weights.
fn random(model: &Path, width: usize, layers: usize) {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let config = format!(
        r#"{{"model_type": "bert", "vocab_size": {}, "hidden_size": {width}, "num_hidden_layers": {layers},
            "num_attention_heads": 2, "intermediate_size": {}, "max_position_embeddings": 40}}"#,
        special.len() + WORDS.len(),
        2 * width
    );
    let config = EncoderConfig::from_bytes(config.as_bytes()).unwrap();
    Model::<MaskedLmHead>::random(config, 7, &Device::flex()).unwrap().save(model).unwrap();
    let vocabulary: Vec<&str> = special.into_iter().chain(WORDS).collect();
    fs::write(model.join("vocab.txt"), vocabulary.join("\n")).unwrap();
}

pub fn sentences(rows: usize) -> String {
    let mut text = String::new();
    for row in 0..rows {
        let good = row % 2 == 0;
        let word = WORDS[if good { 6 } else { 9 } + row / 2 % 3];
        let tail = ["", " of the film", " and a story"][row / 6 % 3];
        let label = if good { "positive" } else { "negative" };
        writeln!(text, r#"{{"text": "the story was {word}{tail}", "label": "{label}"}}"#).unwrap();
    }
    text
}

pub fn finetune(dir: &Path, more: &[&str]) -> assert_cmd::Command {
    let mut command = ptm();
    command.current_dir(dir).args(["finetune", "recipe.toml", "--threads", "2"]).args(more);
    command
}

/// Everything of a run that has to be the same, however often it was stopped: losses, metrics, weights, moments.
fn traces(output: &Path, step: u64) -> BTreeMap<String, String> {
    let log = fs::read_to_string(output.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("tokens_per_second");
        line.to_string()
    });
    let mut traces = BTreeMap::from([("log".to_owned(), lines.collect::<Vec<_>>().join("\n"))]);
    for name in ["model.safetensors", "training/optimizer.safetensors"] {
        let bytes = fs::read(output.join(format!("checkpoint-{step}")).join(name)).unwrap();
        traces.insert(name.to_owned(), format!("{:x}", Sha256::digest(bytes)));
    }
    traces
}

fn checkpoints(output: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(output) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut steps: Vec<u64> = names.filter_map(|name| name.strip_prefix("checkpoint-")?.parse().ok()).collect();
    steps.sort_unstable();
    steps
}

#[test]
fn a_classifier_learns_and_is_opened_by_the_other_commands() {
    let dir = workplace();
    let result = json(&mut finetune(dir.path(), &["--json", "--set", "checkpoint.best=true"]));
    assert_eq!((&result["steps"], &result["epochs"]), (&Value::from(60), &Value::from(3.0)));
    assert_eq!(result["best"]["value"], 1.0, "{result}");
    let model = dir.path().join("out/model");
    let config: Value = serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"][0], "BertForSequenceClassification");
    assert_eq!(config["id2label"]["1"], "positive");
    let opened = Model::<ptm_models::heads::SequenceHead>::open(&model, &Device::flex()).unwrap();
    assert!(opened.unused.is_empty(), "{:?}", opened.unused);
    assert!(model.join("vocab.txt").is_file() && !model.join("training").exists());
    // what is finished stays so
    let again = json(&mut finetune(dir.path(), &["--json", "--set", "checkpoint.best=true"]));
    assert_eq!(again["steps"], 60);
}

#[test]
fn recipes_are_printed_with_their_defaults() {
    let dir = workplace();
    let text = printed(&mut finetune(dir.path(), &["--print-config", "--set", "optimizer.lr=0.5"]));
    for expected in ["lr = 0.5", "beta2 = 0.999\n", "[tune]", "train = \"all\""] {
        assert!(text.contains(expected), "{text}");
    }
    let refused = finetune(dir.path(), &["--set", "optimizer.learning_rate=1"]).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("learning_rate"), "{said}");
    assert!(!dir.path().join("out").exists());
}

#[test]
fn another_recipe_or_other_data_is_no_continuation() {
    let dir = workplace();
    finetune(dir.path(), &["--quiet"]).assert().success();
    let said = |command: &mut assert_cmd::Command| {
        String::from_utf8_lossy(&command.assert().code(2).get_output().stderr).into_owned()
    };
    let other = said(&mut finetune(dir.path(), &["--set", "optimizer.lr=2e-3"]));
    assert!(other.contains("optimizer.lr was 0.005"), "{other}");
    fs::write(dir.path().join("train.jsonl"), sentences(162)).unwrap();
    let other = said(&mut finetune(dir.path(), &[]));
    assert!(other.contains("other data"), "{other}");
    finetune(dir.path(), &["--quiet", "--afresh"]).assert().success();
}

/// A run in the background.
fn start(dir: &Path, more: &[&str]) -> std::process::Child {
    let mut command = alone(env!("CARGO_BIN_EXE_ptm"));
    command.current_dir(dir).args(["finetune", "recipe.toml", "--threads", "2", "--quiet"]).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The traces of a run that nobody disturbs.
fn undisturbed(dir: &Path) -> BTreeMap<String, String> {
    finetune(dir, &["--quiet", "--set", "output=whole"]).assert().success();
    traces(&dir.join("whole"), 60)
}

#[test]
fn killed_at_random_moments_it_goes_on_with_the_same_bits() {
    let dir = workplace();
    let whole = undisturbed(dir.path());
    let output = dir.path().join("out");
    let lines = || fs::read_to_string(output.join("log.jsonl")).map_or(0, |log| log.lines().count() as u64);
    let (mut kills, mut random) = (0, 1_u64);
    while !output.join("model").exists() {
        assert!(kills < 200, "no progress: {:?}", checkpoints(&output));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // some steps behind the newest checkpoint, and somewhere within a step or its checkpoint
        let until = checkpoints(&output).pop().unwrap_or(0) + (random >> 33) % 9;
        let mut child = start(dir.path(), &[]);
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_mins(1) {
            if lines() > until {
                sleep(Duration::from_micros((random >> 40) % 6000));
                break;
            }
            sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 5, "the run was hardly ever killed");
    assert_eq!(traces(&output, 60), whole, "after {kills} kills");
}

#[test]
fn ctrl_c_writes_a_checkpoint_and_the_run_goes_on() {
    let dir = workplace();
    let whole = undisturbed(dir.path());
    let output = dir.path().join("out");
    let more = ["--set", "checkpoint.every=1000"];
    let mut child = start(dir.path(), &more);
    while !output.join("log.jsonl").exists() || fs::read_to_string(output.join("log.jsonl")).unwrap().is_empty() {
        sleep(Duration::from_millis(2));
    }
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let stopped = checkpoints(&output);
    assert!(matches!(stopped[..], [step] if step < 60), "{stopped:?}");
    let report = fs::read_to_string(output.join("report.html")).unwrap();
    assert!(report.contains("not finished") && report.contains("rows of "), "{report}");
    finetune(dir.path(), &["--quiet"]).args(more).assert().success();
    assert_eq!(traces(&output, 60), whole);
}

#[test]
fn a_full_disk_is_an_error_and_the_run_goes_on() {
    let dir = workplace();
    let whole = undisturbed(dir.path());
    let output = dir.path().join("out");
    // files may grow to so many blocks of 512 bytes, no further: too few for the moments, enough for the log
    let script = "trap '' XFSZ; ulimit -f 120; exec \"$0\" finetune recipe.toml --threads 2 --quiet";
    let mut limited = alone("bash");
    limited.current_dir(dir.path()).args(["-c", script, env!("CARGO_BIN_EXE_ptm")]);
    let failed = limited.output().unwrap();
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot write") || said.contains("write"), "{said}");
    assert_eq!(checkpoints(&output), [0; 0]);
    let left: Vec<PathBuf> = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| !path.to_string_lossy().contains(".making")), "{left:?}");
    finetune(dir.path(), &["--quiet"]).assert().success();
    assert_eq!(traces(&output, 60), whole);
}

#[test]
fn a_disk_that_fills_up_later_leaves_the_last_checkpoint_good() {
    let dir = workplace();
    let whole = undisturbed(dir.path());
    let output = dir.path().join("out");
    let mut child = start(dir.path(), &[]);
    while checkpoints(&output).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "too late");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = checkpoints(&output);
    let script = "trap '' XFSZ; ulimit -f 120; exec \"$0\" finetune recipe.toml --threads 2 --quiet";
    let mut limited = alone("bash");
    limited.current_dir(dir.path()).args(["-c", script, env!("CARGO_BIN_EXE_ptm")]);
    assert_eq!(limited.output().unwrap().status.code(), Some(2));
    assert_eq!(checkpoints(&output), before);
    let run = finetune(dir.path(), &[]).assert().success();
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(said.contains(&format!("going on after step {}", before[before.len() - 1])), "{said}");
    assert_eq!(traces(&output, 60), whole);
}

/// What the steps waited for their data is a line of its own beside the kernels.
#[test]
fn the_timing_table_counts_the_waiting() {
    let dir = workplace();
    let more = ["--quiet", "--set", "run.steps=12", "--set", "evaluate.every=12"];
    let run = finetune(dir.path(), &more).env("PTM_TIMING", "1").assert().success();
    let table = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    let calls = |kind: &str| -> u64 {
        let line = table.lines().find(|line| line.starts_with(kind)).unwrap_or_else(|| panic!("{kind}: {table}"));
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert_eq!(calls("data "), 12, "{table}");
    assert!(calls("product ") > 100 && calls("optimizer ") >= 12, "{table}");
}

/// Texts are tokenised ahead of the steps, which wait for the first of them only.
#[test]
fn the_steps_do_not_wait_for_their_data() {
    let dir = workplace();
    // steps of some size, though far smaller than those of any real model
    random(&dir.path().join("tiny"), 192, 4);
    let more = ["--quiet", "--set", "run.steps=60", "--set", "evaluate.every=60", "--set", "checkpoint.every=60"];
    let run = finetune(dir.path(), &more).env("PTM_TIMING", "1").assert().success();
    let table = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    let seconds = |kind: &str| -> f64 {
        let line = table.lines().find(|line| line.starts_with(kind)).unwrap_or_else(|| panic!("{kind}: {table}"));
        line.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    assert!(seconds("data ") < 0.15 * seconds("all "), "{table}");
}

/// Memory does not grow with the file: a run holds what it shuffles at a time, and what it is about to learn from.
#[cfg(target_os = "linux")]
#[test]
fn a_file_is_never_in_memory() {
    const ROWS: usize = 40_000;
    let peak = |rows: usize| -> u64 {
        let dir = workplace();
        let tail = " of a film and a story".repeat(100);
        let mut file = std::io::BufWriter::new(fs::File::create(dir.path().join("train.jsonl")).unwrap());
        for row in 0..rows {
            let (word, label) = [("good", "positive"), ("bad", "negative")][row % 2];
            std::io::Write::write_fmt(
                &mut file,
                format_args!("{{\"text\": \"the story {row} was {word}{tail}\", \"label\": \"{label}\"}}\n"),
            )
            .unwrap();
        }
        drop(file);
        let more = ["--set", "run.steps=3", "--set", "evaluate.every=3", "--set", "data.window_mib=4"];
        let mut child = start(dir.path(), &more);
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let told = fs::read_to_string(&status).unwrap_or_default();
            let line = told.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            peak = line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(peak);
            sleep(Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());
        peak
    };
    let size = (ROWS * 2200 / 1024) as u64;
    let (small, large) = (peak(600), peak(ROWS));
    assert!(large < small + size / 3, "{small} kB, with a file of {size} kB {large} kB");
}

#[test]
fn a_damaged_checkpoint_is_reported_and_the_one_before_used() {
    let dir = workplace();
    let whole = undisturbed(dir.path());
    let output = dir.path().join("out");
    let mut child = start(dir.path(), &[]);
    while checkpoints(&output).len() < 2 {
        assert!(child.try_wait().unwrap().is_none(), "too late");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let newest = checkpoints(&output).pop().unwrap();
    let weights = output.join(format!("checkpoint-{newest}/model.safetensors"));
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let run = finetune(dir.path(), &[]).assert().success();
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(said.contains(&format!("checkpoint-{newest}: model.safetensors is not as it was written")), "{said}");
    assert_eq!(traces(&output, 60), whole);
}
