//! `ptm pretrain`: a tiny model goes on learning from packed text, is stopped, goes on, and is opened by other commands.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

use crate::{alone, json, parity, printed, ptm};

const STEPS: u64 = 40;

/// A folder with packed text and a recipe for the decoder of the pipelines' goldens.
fn workplace() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for number in 0..120 {
        let animal = ["cat", "dog", "bird", "fish"][number % 4];
        write!(text, "The {animal} sat on mat {number}. It was a good {animal}. Then it ran home.\n\n").unwrap();
    }
    fs::write(dir.path().join("text.txt"), text).unwrap();
    let model = parity("pipelines/generation/gpt2");
    let pack = ["corpus", "pack", "text.txt", "--output", "packed", "--tokenizer"];
    printed(ptm().current_dir(dir.path()).args(pack).arg(&model));
    let recipe = format!(
        "output = 'out'\nseed = 3\n[model]\nfrom = '{}'\n[corpus]\npacked = 'packed'\nvalidation = 0.1\n\
         [batch]\nsize = 4\nlength = 32\n[run]\nsteps = {STEPS}\n[optimizer]\nname = 'adamw'\nlr = 3e-3\n\
         [evaluate]\nevery = 20\n[checkpoint]\nevery = 10\nbest = false\n[log]\nevery = 1\n",
        model.display()
    );
    fs::write(dir.path().join("recipe.toml"), recipe).unwrap();
    dir
}

fn pretrain(dir: &Path, more: &[&str]) -> assert_cmd::Command {
    let mut command = ptm();
    command.current_dir(dir).args(["pretrain", "recipe.toml", "--threads", "2"]).args(more);
    command
}

#[test]
fn a_decoder_learns_and_is_opened_by_the_other_commands() {
    let dir = workplace();
    let result = json(&mut pretrain(dir.path(), &["--json", "--set", "run.steps=300", "--set", "optimizer.lr=1e-2"]));
    assert_eq!(result["steps"], 300);
    let (loss, unigram) = (result["last"]["loss"].as_f64().unwrap(), result["last"]["unigram_loss"].as_f64().unwrap());
    assert!(loss < 0.7 * unigram, "{result}");
    assert!(dir.path().join("out/report.html").is_file());
    let model = dir.path().join("out/model");
    assert!(model.join("config.json").is_file() && !model.join("training").exists());
    let said = printed(ptm().args(["generate", "The cat", "--max-new-tokens", "5", "--model"]).arg(&model));
    assert!(said.starts_with("The cat"), "{said}");
}

#[test]
fn recipes_are_printed_and_unknown_keys_refused() {
    let dir = workplace();
    let text = printed(&mut pretrain(dir.path(), &["--print-config", "--set", "batch.accumulate=4"]));
    for expected in ["accumulate = 4", "judged = 1000", "beta2 = 0.999\n", "train = \"all\""] {
        assert!(text.contains(expected), "{text}");
    }
    let refused = pretrain(dir.path(), &["--set", "corpus.pakced=x"]).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("pakced"), "{said}");
    assert!(!dir.path().join("out").exists());
}

#[test]
fn ctrl_c_writes_a_checkpoint_and_the_run_goes_on() {
    let dir = workplace();
    let weights = |output: &str| fs::read(dir.path().join(output).join("model/model.safetensors")).unwrap();
    pretrain(dir.path(), &["--quiet", "--set", "output=whole"]).assert().success();
    let log = dir.path().join("out/log.jsonl");
    let more = ["--set", "checkpoint.every=1000"];
    let mut command = alone(env!("CARGO_BIN_EXE_ptm"));
    command.current_dir(dir.path()).args(["pretrain", "recipe.toml", "--threads", "2", "--quiet"]).args(more);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while fs::read_to_string(&log).unwrap_or_default().is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it learnt");
        sleep(Duration::from_millis(2));
    }
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!dir.path().join("out/model").exists());
    pretrain(dir.path(), &["--quiet"]).args(more).assert().success();
    assert!(weights("out") == weights("whole"));
}
