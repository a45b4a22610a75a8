//! Fine-tuning as a whole: every head learns a small task on a model of random weights, micro-batches add up, and the
//! options that change a step take part.

mod continued;
mod formulas;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use burn::prelude::Device;
use ptm_models::heads::{Bare, Head, LanguageModelHead, MaskedLmHead};
use ptm_models::{Bart, Body, Configuration, Decoder, Encoder, Model, T5, Xlnet};
use ptm_text::Tokenizer;
use ptm_train::evaluate::{Candidate, EvaluateOptions, ReportOptions, evaluate};
use ptm_train::finetune::{Limits, finetune};
use ptm_train::journal;
use ptm_train::objective::Judgement;
use ptm_train::recipe::Recipe;
use ptm_train::training::{Outcome, Progress, Watch};
use serde_json::{Value, json};
use tempfile::TempDir;

const WORDS: [&str; 20] = [
    "the", "cat", "dog", "sat", "ran", "on", "mat", "road", "red", "blue", "small", "big", "is", "was", "where", "who",
    "good", "bad", "and", "a",
];

/// Nobody looks on.
struct Nobody;

impl Watch for Nobody {
    fn stop(&self) -> bool {
        false
    }

    fn note(&mut self, _: &str) {}

    fn step(&mut self, _: &Progress) {}

    fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
}

/// A model of random weights with a tokenizer of whole words; a text ends with `</s>`, and begins with `<s>` where
/// `begins` says so.
fn model<H: Head<B>, B: Body>(dir: &Path, config: Value, begins: bool) {
    let Value::Object(config) = config else { panic!("an object") };
    let config = B::Config::from_json(config).unwrap();
    Model::<H, B>::random(config, 5, &Device::flex()).unwrap().save(dir).unwrap();
    let special = ["<pad>", "<unk>", "<s>", "</s>"];
    let vocabulary: serde_json::Map<String, Value> =
        special.iter().chain(&WORDS).enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, text)| {
            json!({"id": id, "content": text, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false})
        })
        .collect();
    let piece = |kind: &str, id: &str, segment: u32| json!({kind: {"id": id, "type_id": segment}});
    let (start, a, b) = (piece("SpecialToken", "<s>", 0), piece("Sequence", "A", 0), piece("Sequence", "B", 1));
    let end = |segment| piece("SpecialToken", "</s>", segment);
    let begin = if begins { vec![start] } else { vec![] };
    let single: Vec<Value> = begin.iter().cloned().chain([a.clone(), end(0)]).collect();
    let pair: Vec<Value> = begin.iter().cloned().chain([a, end(0), b, end(1)]).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {
            "<s>": {"id": "<s>", "ids": [2], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [3], "tokens": ["</s>"]}}},
        "decoder": null, "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let roles = json!({"cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
                       "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"});
    fs::write(dir.join("tokenizer_config.json"), roles.to_string()).unwrap();
}

fn bert(dir: &Path) {
    let config = json!({"model_type": "bert", "vocab_size": 24, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 48, "initializer_range": 0.1});
    model::<MaskedLmHead, Encoder>(dir, config, true);
}

fn gpt2(dir: &Path) {
    let config = json!({"model_type": "gpt2", "vocab_size": 24, "n_embd": 32, "n_layer": 2, "n_head": 2,
        "n_positions": 48, "initializer_range": 0.1});
    model::<LanguageModelHead, Decoder>(dir, config, true);
}

fn bart(dir: &Path) {
    let config = json!({"model_type": "bart", "vocab_size": 24, "d_model": 32, "encoder_layers": 1,
        "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64, "max_position_embeddings": 48, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
        "decoder_start_token_id": 3, "init_std": 0.1});
    model::<LanguageModelHead, Bart>(dir, config, true);
}

fn mbart(dir: &Path) {
    // room for the languages, which the tokenizer's class adds
    let config = json!({"model_type": "mbart", "vocab_size": 64, "d_model": 32, "encoder_layers": 1,
        "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64, "max_position_embeddings": 48, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
        "init_std": 0.1});
    model::<LanguageModelHead, Bart>(dir, config, false);
    let roles = json!({"cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>",
                       "unk_token": "<unk>", "tokenizer_class": "MBartTokenizer", "src_lang": "en_XX",
                       "tgt_lang": "ro_RO"});
    fs::write(dir.join("tokenizer_config.json"), roles.to_string()).unwrap();
}

fn t5(dir: &Path) {
    let config = json!({"model_type": "t5", "vocab_size": 24, "d_model": 32, "d_kv": 16, "num_layers": 1,
        "num_heads": 2, "d_ff": 64, "pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 0,
        "relative_attention_num_buckets": 8});
    model::<LanguageModelHead, T5>(dir, config, false);
}

fn xlnet(dir: &Path) {
    let config = json!({"model_type": "xlnet", "vocab_size": 24, "d_model": 32, "n_layer": 1, "n_head": 2,
        "d_inner": 64, "initializer_range": 0.1});
    model::<Bare, Xlnet>(dir, config, false);
}

/// The same sequence of numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }
}

const ANIMALS: [&str; 2] = ["cat", "dog"];
const PLACES: [&str; 2] = ["mat", "road"];
const COLOURS: [&str; 2] = ["red", "blue"];

fn rows(count: usize, row: impl Fn(&mut Random) -> Value) -> String {
    let mut random = Random(9);
    (0..count).fold(String::new(), |mut text, _| {
        writeln!(text, "{}", row(&mut random)).unwrap();
        text
    })
}

struct Workplace(TempDir);

impl Workplace {
    fn new(model: fn(&Path), data: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        model(&dir.path().join("model"));
        fs::write(dir.path().join("data.jsonl"), data).unwrap();
        Self(dir)
    }

    fn recipe(&self, task: &str, output: &str, more: &[&str]) -> Recipe {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let text = format!(
            "task = '{task}'\nmodel = '{}'\noutput = '{}'\n[data]\ntrain = '{}'\nvalidation = '{}'\n\
             [run]\nsteps = 120\n[optimizer]\nname = 'adamw'\nlr = 3e-3\n[batch]\nsize = 16\n\
             [log]\nevery = 1\n[regularize]\ndropout = 0.0\n[evaluate]\nevery = 120\n",
            path("model"),
            path(output),
            path("data.jsonl"),
            path("data.jsonl"),
        );
        let overrides: Vec<String> = more.iter().map(|&one| one.to_owned()).collect();
        Recipe::parse(&text, "recipe.toml", &overrides).unwrap()
    }

    fn run(&self, task: &str, output: &str, more: &[&str]) -> Outcome {
        let recipe = self.recipe(task, output, more);
        finetune(&recipe, &self.0.path().join("model"), false, &mut Nobody).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The losses of all steps.
    fn losses(&self, output: &str) -> Vec<f64> {
        let lines = journal::lines(&self.0.path().join(output).join(journal::LOG)).unwrap();
        lines.iter().filter_map(|line| line.get("loss")?.as_f64()).collect()
    }
}

/// Trains, and says that the task is learnt by `metric`.
fn learns(name: &str, model: fn(&Path), task: &str, data: &str, metric: &str, least: f64, more: &[&str]) {
    let place = Workplace::new(model, data);
    let outcome = place.run(task, "out", more);
    let found = outcome.judgement.unwrap().get(metric).unwrap();
    let better = Judgement::is_better(metric, found, Some(least));
    assert!(better, "{name}: {task}: {metric} is {found}, not {least}; losses {:?}", place.losses("out"));
    assert!(place.0.path().join("out/report.html").is_file());
}

fn sentences() -> String {
    rows(64, |random| {
        let (good, animal) = (random.below(2), ANIMALS[random.below(2)]);
        let (word, label) = [("good", "yes"), ("bad", "no")][good];
        json!({"text": format!("the {animal} is {word}"), "label": label})
    })
}

#[test]
fn every_body_classifies() {
    for (name, model) in [("bert", bert as fn(&Path)), ("gpt2", gpt2), ("bart", bart), ("t5", t5), ("xlnet", xlnet)] {
        learns(name, model, "classification", &sentences(), "accuracy", 0.95, &[]);
    }
}

#[test]
fn several_labels_and_numbers() {
    let labels = rows(64, |random| {
        let (colour, animal) = (random.below(2), random.below(2));
        let all = [["warm", "cold"][colour], ANIMALS[animal]];
        // cats go without a label of their own
        let labels = &all[..=animal];
        let text = format!("a {} {}", COLOURS[colour], ANIMALS[animal]);
        json!({"text": text, "labels": labels})
    });
    learns("bert", bert, "multi-label", &labels, "f1_micro", 0.95, &[]);
    let numbers = rows(64, |random| {
        let (size, animal) = (random.below(2), random.below(2));
        let text = format!("the {} {}", ["small", "big"][size], ANIMALS[animal]);
        json!({"text": text, "label": 0.5 + size as f64 + 0.25 * animal as f64})
    });
    learns("bert", bert, "regression", &numbers, "pearson", 0.95, &[]);
    learns("gpt2", gpt2, "regression", &numbers, "pearson", 0.95, &[]);
}

#[test]
fn words_get_their_tags() {
    let data = rows(64, |random| {
        let (animal, place) = (ANIMALS[random.below(2)], PLACES[random.below(2)]);
        let colour = COLOURS[random.below(2)];
        let words = ["the", animal, "sat", "on", "the", colour, place];
        json!({"words": words, "tags": ["O", "B-ANIMAL", "O", "O", "O", "B-PLACE", "I-PLACE"]})
    });
    for (name, model) in [("bert", bert as fn(&Path)), ("gpt2", gpt2), ("t5", t5), ("xlnet", xlnet)] {
        learns(name, model, "tokens", &data, "f1", 0.95, &[]);
    }
}

/// Sentences that are longer than the model reads are judged as a whole, as `ptm evaluate` does it.
#[test]
fn every_word_of_a_long_sentence_is_judged() {
    let data = rows(32, |random| {
        let words: Vec<&str> = (0..14).map(|_| WORDS[random.below(WORDS.len())]).collect();
        // the second half is another matter than the first
        let tag = |(at, word): (usize, &&str)| match (at > 7, ANIMALS.contains(word), PLACES.contains(word)) {
            (false, true, _) => "B-ANIMAL",
            (true, _, true) => "B-PLACE",
            _ => "O",
        };
        json!({"words": words, "tags": words.iter().enumerate().map(tag).collect::<Vec<_>>()})
    });
    let place = Workplace::new(bert, &data);
    let outcome = place.run("tokens", "out", &["run.steps=40", "evaluate.every=40", "data.max_length=8"]);
    let candidate = Candidate::open(&outcome.model).unwrap();
    let options = EvaluateOptions { max_length: Some(8), ..EvaluateOptions::default() };
    let data = [place.0.path().join("data.jsonl")];
    let found = evaluate(&candidate, &outcome.model, &data, &options, &mut |_, _| {}).unwrap();
    let report = found.report(&ReportOptions { resamples: 0, ..ReportOptions::default() });
    let judged = outcome.judgement.unwrap();
    for name in ["f1", "precision", "recall", "accuracy"] {
        let figure = report.metrics.iter().find(|figure| figure.name == name).and_then(|figure| figure.value).unwrap();
        let on_the_way = judged.get(name).unwrap();
        assert!((figure - on_the_way).abs() < 1e-9, "{name}: {on_the_way} on the way, {figure} afterwards");
    }
}

#[test]
fn answers_are_found_in_windows() {
    let data = rows(96, |random| {
        let (animal, place) = (ANIMALS[random.below(2)], PLACES[random.below(2)]);
        let filler = "and a big small ".repeat(random.below(3));
        let id = random.below(1 << 30).to_string();
        let context = format!("{filler}the {animal} sat on the {place}");
        let (question, text) = [("who sat", animal), ("where sat", place), ("who is good", "")][random.below(3)];
        let answers = match context.find(text) {
            Some(start) if !text.is_empty() => json!({"text": [text], "answer_start": [start]}),
            _ => json!({"text": [], "answer_start": []}),
        };
        json!({"id": id, "question": question, "context": context, "answers": answers})
    });
    for (name, model) in [("bert", bert as fn(&Path)), ("bart", bart), ("xlnet", xlnet)] {
        let more = ["run.steps=400", "evaluate.every=400", "data.max_length=16", "data.stride=4"];
        learns(name, model, "questions", &data, "f1", 0.9, &more);
    }
}

#[test]
fn one_of_several_is_chosen() {
    let data = rows(96, |random| {
        let colour = random.below(2);
        let choices = [["red", "blue"], ["blue", "red"]][random.below(2)];
        let right = choices.iter().position(|choice| *choice == COLOURS[colour]).unwrap();
        let context = format!("the {} cat is", COLOURS[colour]);
        json!({"context": context, "choices": choices, "label": right})
    });
    learns("bert", bert, "choice", &data, "accuracy", 0.9, &["run.steps=400", "evaluate.every=400"]);
}

#[test]
fn texts_are_said() {
    let data = rows(64, |random| {
        let (colour, animal) = (COLOURS[random.below(2)], ANIMALS[random.below(2)]);
        json!({"source": format!("{animal} {colour}"), "target": format!("the {colour} {animal}")})
    });
    for (name, model) in [("bart", bart as fn(&Path)), ("t5", t5)] {
        let more = ["run.steps=400", "evaluate.every=400", "data.prefix='a '"];
        learns(name, model, "text-to-text", &data, "accuracy", 0.9, &more);
    }
    let text = rows(64, |random| {
        let text = format!("the {} sat on the mat", ANIMALS[random.below(2)]);
        json!({"text": text})
    });
    learns("gpt2", gpt2, "language-model", &text, "perplexity", 1.4, &[]);
}

/// Whoever asks the model writes sources as training read them.
#[test]
fn the_prefix_of_sources_stays_with_the_model() {
    let data = rows(16, |random| json!({"source": ANIMALS[random.below(2)], "target": "good"}));
    let place = Workplace::new(t5, &data);
    let more = ["run.steps=2", "evaluate.every=2", "data.prefix='the big '"];
    let taught = place.run("text-to-text", "out", &more).model;
    let config: Value = serde_json::from_slice(&fs::read(taught.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["prefix"], "the big ");
    let candidate = Candidate::open(&taught).unwrap();
    let lengths = |prefix: Option<&str>| {
        let generation = serde_json::Map::from_iter([("max_new_tokens".to_owned(), json!(4))]);
        let options = EvaluateOptions { prefix: prefix.map(str::to_owned), generation, ..EvaluateOptions::default() };
        let data = [place.0.path().join("data.jsonl")];
        evaluate(&candidate, &taught, &data, &options, &mut |_, _| {}).unwrap()
    };
    let own = lengths(None);
    // the prefix, the animal, the end
    assert_eq!(own.lengths, [4; 16]);
    assert_eq!(own, lengths(Some("the big ")));
    assert_eq!(lengths(Some("")).lengths, [2; 16]);
}

#[test]
fn examples_are_as_long_as_the_model_reads_and_no_longer_than_usual() {
    let limits = |model: fn(&Path), given: Option<usize>| {
        let dir = tempfile::tempdir().unwrap();
        model(dir.path());
        let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
        Limits::of_dir(dir.path(), &tokenizer, given, 128).map(|limits| (limits.max_length, limits.max_target))
    };
    // two rows of RoBERTa's table of positions are no positions
    let roberta = |dir: &Path| {
        let config = json!({"model_type": "roberta", "vocab_size": 24, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "intermediate_size": 8, "max_position_embeddings": 34, "pad_token_id": 1});
        model::<MaskedLmHead, Encoder>(dir, config, true);
    };
    assert_eq!(limits(roberta, None).unwrap(), (32, 32));
    assert_eq!(limits(bert, Some(20)).unwrap(), (20, 48));
    assert_eq!(limits(t5, None).unwrap(), (512, 128));
    assert_eq!(limits(t5, Some(800)).unwrap(), (800, 128));
    assert!(limits(bert, Some(49)).unwrap_err().to_string().contains("more than the 48"));
}

#[test]
fn metrics_that_the_data_cannot_have_are_refused_before_the_run() {
    let refused = |task: &str, data: &str, metric: &str| {
        let place = Workplace::new(bert, data);
        let recipe = place.recipe(task, "out", &[&format!("evaluate.metric='{metric}'")]);
        let error = finetune(&recipe, &place.0.path().join("model"), false, &mut Nobody).unwrap_err().to_string();
        assert!(!place.0.path().join("out").join(journal::LOG).exists(), "{error}");
        error
    };
    let speech = rows(8, |_| json!({"words": ["the", "cat", "sat"], "tags": ["DET", "NOUN", "VERB"]}));
    let said = refused("tokens", &speech, "f1");
    assert!(said.contains("evaluate.metric") && said.contains("accuracy, loss"), "{said}");
    let answers = json!({"text": ["cat"], "answer_start": [4]});
    let asked = rows(8, |_| json!({"id": "1", "question": "who", "context": "the cat sat", "answers": answers}));
    let said = refused("questions", &asked, "best_f1");
    assert!(said.contains("evaluate.metric") && said.contains("without an answer"), "{said}");
}

#[test]
fn micro_batches_add_up() {
    let place = Workplace::new(bert, &sentences());
    let steps = ["run.steps=12", "batch.group=false", "evaluate.every=12", "loss.class_weights=[1.0, 3.0]"];
    place.run("classification", "one", &steps);
    let more: Vec<&str> = steps.into_iter().chain(["batch.size=2", "batch.accumulate=8"]).collect();
    place.run("classification", "eight", &more);
    let (one, eight) = (place.losses("one"), place.losses("eight"));
    assert_eq!((one.len(), eight.len()), (12, 12));
    for (a, b) in one.iter().zip(&eight) {
        assert!((a - b).abs() < 1e-6, "{one:?}\n{eight:?}");
    }
}

#[test]
fn what_comes_does_not_depend_on_threads() {
    let place = Workplace::new(bert, &sentences());
    let run = |output: &str, workers: &str| {
        place.run("classification", output, &["run.steps=10", "regularize.dropout=0.1", workers]);
        place.losses(output)
    };
    assert_eq!(run("one", "data.workers=1"), run("three", "data.workers=3"));
}

#[test]
fn layers_computed_twice_change_no_bit() {
    for (name, model) in [("bert", bert as fn(&Path)), ("gpt2", gpt2), ("bart", bart), ("t5", t5), ("xlnet", xlnet)] {
        let place = Workplace::new(model, &sentences());
        let run = |output: &str, more: &str| {
            place.run("classification", output, &["run.steps=3", "regularize.dropout=0.2", "evaluate.every=3", more]);
            place.losses(output)
        };
        let (plain, again) = (run("plain", "seed=1"), run("again", "run.gradient_checkpointing=true"));
        assert_ne!(plain, again, "{name}: seeds take part");
        assert_eq!(run("same", "run.gradient_checkpointing=false"), again, "{name}");
    }
}

#[test]
fn options_take_part() {
    let place = Workplace::new(bert, &sentences());
    let run = |name: &str, more: &[&str]| {
        let all: Vec<&str> = ["run.steps=30", "evaluate.every=30"].into_iter().chain(more.iter().copied()).collect();
        let outcome = place.run("classification", name, &all);
        let losses = place.losses(name);
        assert!(losses.iter().all(|loss| loss.is_finite()));
        (losses, outcome.judgement.unwrap().get("loss").unwrap())
    };
    let (plain, judged) = run("plain", &[]);
    for (name, more) in [
        ("fgm", &["regularize.fgm=0.5"][..]),
        ("smooth", &["loss.label_smoothing=0.1"]),
        ("focal", &["loss.focal=2.0"]),
        ("balanced", &["loss.class_weights='balanced'"]),
        ("r_drop", &["regularize.r_drop=1.0", "regularize.dropout=0.1"]),
        ("dropouts", &["regularize.dropouts=4", "regularize.dropout=0.1"]),
        ("clip", &["run.clip=0.01", "optimizer.name='sgd'"]),
        ("head", &["tune.train='head'"]),
        ("gradual", &["tune.train='gradual'", "tune.thaw_every=5"]),
        ("lamb", &["optimizer.name='lamb'"]),
        ("adafactor", &["optimizer.name='adafactor'", "optimizer.lr=1e-3"]),
    ] {
        let (losses, _) = run(name, more);
        assert_ne!(losses, plain, "{name} changes nothing");
    }
    // an average of the weights is judged in place of them, and learns as they do
    let (losses, averaged) = run("average", &["run.average=0.9"]);
    assert_eq!(losses, plain);
    assert_ne!(averaged, judged);
    assert!(place.0.path().join("average/checkpoint-30/training/learning/model.safetensors").is_file());
    // multi-sample dropout without dropout is the loss itself
    let (losses, _) = run("same", &["regularize.dropouts=4"]);
    assert!(losses.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-4), "{losses:?}\n{plain:?}");
}

/// Stops after so many steps.
struct Until(u64, Cell<u64>);

impl Watch for Until {
    fn stop(&self) -> bool {
        self.1.get() >= self.0
    }

    fn note(&mut self, _: &str) {}

    fn step(&mut self, progress: &Progress) {
        self.1.set(progress.step);
    }

    fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
}

/// The tensors of a file, by name.
fn tensors(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect()
}

#[test]
fn layers_thaw_at_their_step_and_not_before() {
    let place = Workplace::new(bert, &sentences());
    let more = [
        "tune.train='gradual'",
        "tune.thaw_every=4",
        "run.steps=16",
        "checkpoint.every=4",
        "checkpoint.keep=9",
        "regularize.dropout=0.1",
        "checkpoint.best=false",
    ];
    place.run("classification", "whole", &more);
    let dir = |output: &str, step: u64| place.0.path().join(output).join(format!("checkpoint-{step}"));
    let begun = tensors(&place.0.path().join("model/model.safetensors"));
    // the head learns at once, the upper layer from step 5 on, the lower from 9 on, embeddings from 13 on
    for (step, frozen, moved) in [
        (4, &["bert.encoder.layer.1.", "bert.encoder.layer.0.", "bert.embeddings."][..], &[][..]),
        (8, &["bert.encoder.layer.0.", "bert.embeddings."], &["bert.encoder.layer.1."][..]),
        (12, &["bert.embeddings."], &["bert.encoder.layer.1.", "bert.encoder.layer.0."]),
        (16, &[], &["bert.encoder.layer.1.", "bert.encoder.layer.0.", "bert.embeddings.word"]),
    ] {
        let now = tensors(&dir("whole", step).join("model.safetensors"));
        let moments = tensors(&dir("whole", step).join("training/optimizer.safetensors"));
        let of = |part: &str| begun.iter().filter(|(name, _)| name.starts_with(part)).collect::<Vec<_>>();
        for part in frozen {
            assert!(!of(part).is_empty() && of(part).iter().all(|(name, data)| now[*name] == **data), "{step} {part}");
            assert!(!moments.keys().any(|name| name.contains(part)), "{step}: {:?}", moments.keys());
        }
        for part in moved {
            assert!(of(part).iter().all(|(name, data)| now[*name] != **data), "{step} {part}");
            assert!(moments.keys().any(|name| name.contains(part)), "{step}: {:?}", moments.keys());
        }
    }
    // stopped while one layer learns, and once more when two do
    let recipe = place.recipe("classification", "parts", &more);
    let go = |until: u64| finetune(&recipe, &place.0.path().join("model"), false, &mut Until(until, Cell::new(0)));
    assert!(go(6).is_err() && go(11).is_err());
    go(99).unwrap();
    assert_eq!(place.losses("parts"), place.losses("whole"));
    for file in ["model.safetensors", "training/optimizer.safetensors"] {
        assert_eq!(tensors(&dir("parts", 16).join(file)), tensors(&dir("whole", 16).join(file)), "{file}");
    }
}

#[test]
fn patience_ends_a_run() {
    let place = Workplace::new(bert, &sentences());
    let more = ["evaluate.every=5", "evaluate.patience=2", "optimizer.lr=0.0"];
    let outcome = place.run("classification", "out", &more);
    assert_eq!((outcome.state.step, outcome.state.waiting), (15, 2));
}

#[test]
fn time_ends_a_run() {
    let place = Workplace::new(bert, &sentences());
    let mut recipe = place.recipe("classification", "out", &["run.minutes=0.01", "log.every=100"]);
    recipe.run.steps = None;
    let outcome = finetune(&recipe, &place.0.path().join("model"), false, &mut Nobody).unwrap();
    assert!(outcome.state.finished && outcome.state.step > 1 && outcome.state.seconds >= 0.6, "{outcome:?}");
}

#[test]
fn mistakes_are_named() {
    let place = Workplace::new(bert, &sentences());
    let said = |task: &str, more: &[&str]| {
        let recipe = place.recipe(task, &format!("{task}-{}", more.len() + more.concat().len()), more);
        finetune(&recipe, &place.0.path().join("model"), false, &mut Nobody).unwrap_err().to_string()
    };
    assert!(said("text-to-text", &[]).contains("bert models cannot be fine-tuned for text-to-text"));
    assert!(said("classification", &["data.max_length=4096"]).contains("48"));
    assert!(said("classification", &["loss.class_weights=[1.0]"]).contains("no, yes"));
    assert!(said("classification", &["evaluate.metric='bleu'"]).contains("accuracy"));
    assert!(said("classification", &["optimizer.lr=1e30", "run.clip=0.0"]).contains("step"));
    assert!(said("regression", &[]).contains("data.jsonl"));
    let both_ways = |dir: &Path| {
        let config = json!({"model_type": "xlnet", "vocab_size": 24, "d_model": 32, "n_layer": 1, "n_head": 2,
            "d_inner": 64, "bi_data": true});
        model::<Bare, Xlnet>(dir, config, false);
    };
    let place = Workplace::new(both_ways, &sentences());
    let recipe = place.recipe("classification", "out", &[]);
    let error = finetune(&recipe, &place.0.path().join("model"), false, &mut Nobody).unwrap_err().to_string();
    assert!(error.contains("config.json: bi_data") && error.contains("set it to false"), "{error}");
}

/// The Trainer of `transformers` on the same data and initial weights, dropout off: `parity/training/finetune.py`.
#[test]
fn the_losses_are_those_of_transformers() {
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../parity/training/finetune"));
    let expected: Value = serde_json::from_slice(&fs::read(golden.join("losses.json")).unwrap()).unwrap();
    let output = tempfile::tempdir().unwrap();
    let path = |name: &str| golden.join(name).display().to_string();
    let text = format!(
        "task = 'classification'\nmodel = '{}'\noutput = '{}'\n[data]\ntrain = '{}'\nvalidation = '{}'\n\
         [run]\nsteps = 50\nclip = 1.0\n[optimizer]\nname = 'adamw'\nlr = 3e-3\nweight_decay = 0.01\n\
         [schedule]\nname = 'linear'\nwarmup = 0.06\n[batch]\nsize = 8\ngroup = false\nshuffle = false\n\
         [log]\nevery = 1\n[evaluate]\nevery = 50\n",
        path("model"),
        output.path().display(),
        path("train.jsonl"),
        path("validation.jsonl"),
    );
    let recipe = Recipe::parse(&text, "recipe.toml", &[]).unwrap();
    let outcome = finetune(&recipe, &golden.join("model"), false, &mut Nobody).unwrap();
    let lines = journal::lines(&output.path().join(journal::LOG)).unwrap();
    let losses: Vec<f64> = lines.iter().filter_map(|line| line.get("loss")?.as_f64()).collect();
    let wanted: Vec<f64> = expected["losses"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!((losses.len(), wanted.len()), (50, 50));
    let worst = losses.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-3, "they differ by {worst}:\n{losses:?}\n{wanted:?}");
    let judged = outcome.judgement.unwrap();
    assert!((judged.get("loss").unwrap() - expected["eval_loss"].as_f64().unwrap()).abs() < 1e-3);
    assert!((judged.get("accuracy").unwrap() - expected["eval_accuracy"].as_f64().unwrap()).abs() < 1e-12);
}
