//! Labelled data as people have them, from the command: read, learnt from, judged by.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use burn::prelude::Device;
use ptm_models::heads::LanguageModelHead;
use ptm_models::{Bart, Body, Configuration, Decoder, Model};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::finetune::workplace;
use super::{json as answer, parity, printed, ptm};

/// Trains for four steps on `train` by a recipe with `more`; gives the result.
fn learn(dir: &TempDir, task: &str, train: &str, more: &str) -> Value {
    let recipe = format!(
        "task = '{task}'\nmodel = 'tiny'\noutput = 'out'\n[run]\nsteps = 4\n[batch]\nsize = 8\n[evaluate]\nevery = 4\n\
         [data]\ntrain = '{train}'\nvalidation = '{train}'\n{more}"
    );
    fs::write(dir.path().join("recipe.toml"), recipe).unwrap();
    let mut command = ptm();
    command.current_dir(dir.path()).args(["finetune", "recipe.toml", "--json", "--quiet", "--threads", "2"]);
    let found = answer(&mut command);
    assert_eq!(found["steps"], 4);
    found
}

/// What `ptm evaluate` says of the model that was just trained.
fn judge(dir: &TempDir, data: &str, more: &[&str]) -> Value {
    let mut command = ptm();
    command.current_dir(dir.path()).args(["evaluate", "out/model", data, "--json", "--resamples", "0"]).args(more);
    answer(&mut command)
}

fn survey(dir: &TempDir, data: &str) -> Value {
    answer(ptm().current_dir(dir.path()).args(["debug", "data", data, "--json"]))
}

fn labels(found: &Value) -> Vec<&str> {
    let mut labels: Vec<&str> = found["labels"].as_array().unwrap().iter().filter_map(|row| row[0].as_str()).collect();
    labels.sort_unstable();
    labels
}

#[test]
fn commas_quotes_and_line_ends_in_csv_and_tsv() {
    let dir = workplace();
    let mut csv = "text,label\n".to_owned();
    for row in 0..20 {
        let word = ["good", "bad"][row % 2];
        writeln!(csv, "\"the film, \"\"{word}\"\",\nwas a story of {row}\",{}", ["yes", "\"no, not\""][row % 2])
            .unwrap();
    }
    fs::write(dir.path().join("a.csv"), &csv).unwrap();
    let found = survey(&dir, "a.csv");
    assert_eq!((&found["rows"], labels(&found)), (&json!(20), vec!["no, not", "yes"]), "{found}");
    let text = printed(ptm().current_dir(dir.path()).args(["debug", "data", "a.csv", "--show", "1"]));
    assert!(text.contains("the film, \"good\","), "{text}");
    learn(&dir, "classification", "a.csv", "");
    let judged = judge(&dir, "a.csv", &[]);
    assert_eq!((&judged["rows"], &judged["metrics"][0]["name"]), (&json!(20), &json!("accuracy")));
    // a header of other names, and a TSV whose text holds quotes and commas
    let mut tsv = "stars\tbody\n".to_owned();
    (0..12).for_each(|row| writeln!(tsv, "{}\t\"the \"\"film\"\", was good\"", row % 3).unwrap());
    fs::write(dir.path().join("b.tsv"), tsv).unwrap();
    fs::remove_dir_all(dir.path().join("out")).unwrap();
    learn(
        &dir,
        "classification",
        "b.tsv",
        "columns = { text = 'body', label = 'stars' }\nlabel_names = ['x', 'y', 'z']\n",
    );
    let more = ["--column", "text=body", "--column", "label=stars", "--label-names", "x,y,z"];
    let judged = judge(&dir, "b.tsv", &more);
    assert_eq!((&judged["rows"], &judged["labels"][2]["label"]), (&json!(12), &json!("z")));
}

#[test]
fn parquet() {
    let dir = workplace();
    fs::copy(parity("data/groups.parquet"), dir.path().join("a.parquet")).unwrap();
    let found = survey(&dir, "a.parquet");
    assert_eq!((&found["rows"], labels(&found)), (&json!(50), vec!["0", "1", "2"]), "{found}");
    learn(&dir, "classification", "a.parquet", "");
    assert_eq!(judge(&dir, "a.parquet", &[])["rows"], 50);
}

#[test]
fn conll_columns() {
    let dir = workplace();
    let mut conll = "-DOCSTART- -X- O O\n\n".to_owned();
    for row in 0..16 {
        let words = [("the", "O"), ("film", "B-THING"), ("was", "O"), (["good", "bad"][row % 2], "B-QUALITY")];
        words.iter().for_each(|(word, tag)| writeln!(conll, "{word} X Y {tag}").unwrap());
        conll.push('\n');
    }
    fs::write(dir.path().join("a.conll"), conll).unwrap();
    let found = survey(&dir, "a.conll");
    assert_eq!((&found["rows"], &found["task"]), (&json!(16), &json!("tokens")), "{found}");
    learn(&dir, "tokens", "a.conll", "");
    let judged = judge(&dir, "a.conll", &[]);
    assert_eq!((&judged["rows"], &judged["metrics"][0]["name"]), (&json!(16), &json!("f1")), "{judged}");
}

/// Both versions of SQuAD: of the second some questions have no answer.
#[test]
fn squad_one_and_two() {
    for version in ["1.1", "2.0"] {
        let dir = workplace();
        let paragraphs: Vec<Value> = (0..8)
            .map(|row| {
                let word = ["good", "bad"][row % 2];
                let context = format!("the film was {word} and the story was a great story");
                let mut qas = vec![json!({"id": format!("{row}-a"), "question": "the film was",
                    "answers": [{"text": word, "answer_start": 13}]})];
                if version == "2.0" {
                    qas[0]["is_impossible"] = json!(false);
                    qas.push(json!({"id": format!("{row}-b"), "question": "not the film", "is_impossible": true,
                        "answers": [], "plausible_answers": [{"text": "film", "answer_start": 4}]}));
                }
                json!({"context": context, "qas": qas})
            })
            .collect();
        let squad = json!({"version": version, "data": [{"title": "films", "paragraphs": paragraphs}]});
        fs::write(dir.path().join("a.json"), squad.to_string()).unwrap();
        let rows = if version == "2.0" { 16 } else { 8 };
        let found = survey(&dir, "a.json");
        assert_eq!((&found["rows"], &found["task"]), (&json!(rows), &json!("questions")), "{found}");
        let learnt = learn(&dir, "questions", "a.json", "max_length = 32\nstride = 8\n");
        assert_eq!(learnt["last"]["best_f1"].is_number(), version == "2.0", "{learnt}");
        let judged = judge(&dir, "a.json", &[]);
        assert_eq!(judged["rows"], rows);
        let names: Vec<&str> =
            judged["metrics"].as_array().unwrap().iter().filter_map(|metric| metric["name"].as_str()).collect();
        assert!(names.contains(&"f1") && names.contains(&"exact"), "{names:?}");
    }
}

#[test]
fn a_data_set_of_the_hubs_cache_is_learnt_from() {
    let dir = workplace();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("hub/datasets--org--films");
    let snapshot = folder.join("snapshots/0123abcd/data");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(folder.join("refs")).unwrap();
    fs::write(folder.join("refs/main"), "0123abcd").unwrap();
    fs::copy(dir.path().join("train.jsonl"), snapshot.join("train-00000-of-00001.jsonl")).unwrap();
    fs::copy(dir.path().join("dev.jsonl"), snapshot.join("validation-00000-of-00001.jsonl")).unwrap();
    let mut command = ptm();
    command.current_dir(dir.path()).env("HF_HOME", home.path()).args(["finetune", "recipe.toml", "--json", "--quiet"]);
    command.args(["--set", "run.steps=4", "--set", "data.train=org/films", "--set", "data.validation=org/films"]);
    let found = answer(&mut command);
    // 4 steps of 8 are a fifth of 160 rows: the part train
    assert_eq!((&found["steps"], &found["epochs"]), (&json!(4), &json!(0.2)), "{found}");
    assert!(found["last"]["accuracy"].is_number());
}

const WORDS: [&str; 10] = ["the", "cat", "dog", "red", "blue", "sat", "on", "mat", "a", "was"];

/// A model of random weights with a tokenizer of whole words.
fn words<B: Body>(dir: &Path, config: Value)
where
    LanguageModelHead: ptm_models::heads::Head<B>,
{
    let Value::Object(config) = config else { panic!("an object") };
    let config = B::Config::from_json(config).unwrap();
    Model::<LanguageModelHead, B>::random(config, 5, &Device::flex()).unwrap().save(dir).unwrap();
    let special = ["<pad>", "<unk>", "<s>", "</s>"];
    let vocabulary: serde_json::Map<String, Value> =
        special.iter().chain(&WORDS).enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let token = |(id, text): (usize, &&str)| {
        json!({"id": id, "content": text, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false})
    };
    let added: Vec<Value> = special.iter().enumerate().map(token).collect();
    let piece = |kind: &str, id: &str| json!({kind: {"id": id, "type_id": 0}});
    let text = [piece("SpecialToken", "<s>"), piece("Sequence", "A"), piece("SpecialToken", "</s>")];
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {"type": "TemplateProcessing", "single": text, "pair": text, "special_tokens": {
            "<s>": {"id": "<s>", "ids": [2], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [3], "tokens": ["</s>"]}}},
        "decoder": null, "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let roles = json!({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
                       "tokenizer_class": "PreTrainedTokenizerFast"});
    fs::write(dir.join("tokenizer_config.json"), roles.to_string()).unwrap();
}

#[test]
fn plain_lines_are_foretold() {
    let dir = tempfile::tempdir().unwrap();
    words::<Decoder>(
        &dir.path().join("tiny"),
        json!({"model_type": "gpt2", "vocab_size": 14, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}),
    );
    fs::write(dir.path().join("a.txt"), "the cat sat on the mat\n\nthe red dog sat on a mat\n".repeat(8)).unwrap();
    let learnt = learn(&dir, "language-model", "a.txt", "");
    assert!(learnt["last"]["perplexity"].as_f64().unwrap() > 1.0, "{learnt}");
    let judged = judge(&dir, "a.txt", &[]);
    assert_eq!((&judged["rows"], &judged["metrics"][0]["name"]), (&json!(16), &json!("perplexity")), "{judged}");
}

/// A translation that can be learnt entirely: scores are low before, and those of equal texts after.
#[test]
fn texts_that_are_written_are_scored() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"model_type": "bart", "vocab_size": 14, "d_model": 32, "encoder_layers": 1,
        "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64, "max_position_embeddings": 32, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
        "decoder_start_token_id": 3, "forced_eos_token_id": null, "init_std": 0.1, "dropout": 0.0});
    words::<Bart>(&dir.path().join("tiny"), config);
    let mut rows = String::new();
    for row in 0..32 {
        let (colour, animal) = (["red", "blue"][row % 2], ["cat", "dog"][row / 2 % 2]);
        let target = format!("the {colour} {animal} sat on a mat");
        writeln!(rows, "{}", json!({"source": format!("{animal} {colour}"), "target": target})).unwrap();
    }
    fs::write(dir.path().join("a.jsonl"), rows).unwrap();
    let score = |model: &str| -> serde_json::Map<String, Value> {
        let mut command = ptm();
        command.current_dir(dir.path()).args(["evaluate", model, "a.jsonl", "--json", "--resamples", "0"]);
        let found = answer(command.args(["--num-beams", "1", "--max-new-tokens", "12"]));
        assert_eq!(found["rows"], 32);
        let metrics = found["metrics"].as_array().unwrap();
        metrics.iter().map(|metric| (metric["name"].as_str().unwrap().to_owned(), metric["value"].clone())).collect()
    };
    let before = score("tiny");
    assert!(before["bleu"].as_f64().unwrap() < 50.0 && before["exact_match"] == 0.0, "{before:?}");
    let more = "[optimizer]\nname = 'adamw'\nlr = 3e-3\n";
    let recipe = format!(
        "task = 'text-to-text'\nmodel = 'tiny'\noutput = 'out'\n[data]\ntrain = 'a.jsonl'\n[run]\nsteps = 250\n\
         [batch]\nsize = 16\n{more}"
    );
    fs::write(dir.path().join("recipe.toml"), recipe).unwrap();
    ptm().current_dir(dir.path()).args(["finetune", "recipe.toml", "--quiet"]).assert().success();
    let after = score("out/model");
    for (name, value) in
        [("bleu", 100.0), ("chrf", 100.0), ("rouge1", 1.0), ("rouge2", 1.0), ("rougeL", 1.0), ("exact_match", 1.0)]
    {
        assert!((after[name].as_f64().unwrap() - value).abs() < 1e-6, "{name}: {after:?}");
    }
}
