//! The tiny recipes of pretraining, run as their comments say: each family learns more of held-out documents than how
//! often tokens occur.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{printed, ptm};

/// The commands in the comment that opens a recipe.
fn commands(recipe: &str) -> Vec<Vec<String>> {
    let opening = recipe.lines().take_while(|line| line.starts_with('#'));
    let lines = opening.filter_map(|line| line.strip_prefix("#   ptm "));
    // no more of a shell is used than quotes around the last word
    let words = |line: &str| {
        let (plain, quoted) = line.split_once(" \"").unwrap_or((line, ""));
        let quoted = quoted.strip_suffix('"').map(str::to_owned);
        plain.split(' ').map(str::to_owned).chain(quoted).collect()
    };
    lines.map(words).collect()
}

#[test]
fn every_family_learns_as_its_recipe_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = tempfile::tempdir().unwrap();
    for name in ["assets/data/corpus", "assets/data/topics", "assets/data/senses", "recipes/pretrain"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
        for entry in fs::read_dir(root.join(name)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, dir.path().join(name).join(path.file_name().unwrap())).unwrap();
        }
    }
    let mut seen = 0;
    for entry in fs::read_dir(dir.path().join("recipes/pretrain")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !name.ends_with("-tiny") {
            continue;
        }
        let commands = commands(&fs::read_to_string(&path).unwrap());
        assert_eq!(commands[2], ["pretrain", &format!("recipes/pretrain/{name}.toml")], "{name}");
        for command in commands {
            printed(ptm().current_dir(dir.path()).args(command).args(["--threads", "2", "--quiet"]));
        }
        let log = fs::read_to_string(dir.path().join("runs").join(&name).join("log.jsonl")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let judged: Vec<(f64, f64)> =
            lines.filter_map(|line| Some((foretold(&line)?, find(&line, "unigram_loss")?))).collect();
        let (first, last) = (judged[0], judged[judged.len() - 1]);
        println!("{name}: {:.3} to {:.3}, unigram {:.3}", first.0, last.0, last.1);
        assert!(judged.len() >= 10 && last.0 < first.0 - 0.3 && last.0 < 0.95 * last.1, "{name}: {judged:?}");
        seen += 1;
    }
    assert!(seen >= 8, "{seen}");
}

/// What foretelling tokens loses, which is the whole loss or its first part.
fn foretold(line: &Value) -> Option<f64> {
    ["generator_loss", "masked_loss", "knowledge_masking_loss", "loss"].into_iter().find_map(|key| find(line, key))
}

/// A number of a line of the log, wherever it stands.
fn find(line: &Value, key: &str) -> Option<f64> {
    let object = line.as_object()?;
    object.get(key).and_then(Value::as_f64).or_else(|| object.values().find_map(|value| find(value, key)))
}
