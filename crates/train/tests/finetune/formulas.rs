//! Options of fine-tuning by what they say they do: the fast gradient method and R-Drop by their formulas, groups of
//! parameters by their rates, the limit of time by its schedule; and what each of them can't go together with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use ptm_models::files::{Weights, write_safetensors};
use ptm_train::Error;
use ptm_train::batch_search::find_batch;
use ptm_train::finetune::finetune;
use ptm_train::objective::Judgement;
use ptm_train::recipe::Recipe;
use ptm_train::training::{Progress, Watch};
use serde_json::json;

use crate::{ANIMALS, COLOURS, Nobody, PLACES, Workplace, bert, mbart, rows, sentences, tensors};

/// Plain gradient descent: what a step takes from the weights is its rate times the gradients.
const PLAIN: [&str; 7] = [
    "optimizer.name='sgd'",
    "optimizer.momentum=0.0",
    "optimizer.lr=1.0",
    "schedule.name='constant'",
    "run.clip=0.0",
    "checkpoint.best=false",
    "evaluate.every=1000",
];

const WORDS: &str = "bert.embeddings.word_embeddings.weight";

type Numbers = BTreeMap<String, Vec<f32>>;

/// The tensors of the encoder without its pooler, which begins anew.
fn encoder(file: &Path) -> Numbers {
    let weights = Weights::open_file(file).unwrap();
    let names = weights.names().filter(|name| name.starts_with("bert.") && !name.contains("pooler"));
    names.map(|name| (name.to_owned(), weights.get(name).unwrap().to_f32().unwrap())).collect()
}

fn difference(a: &Numbers, b: &Numbers) -> Numbers {
    let minus = |name: &String, values: &[f32]| values.iter().zip(&b[name]).map(|(x, y)| x - y).collect();
    a.iter().map(|(name, values)| (name.clone(), minus(name, values))).collect()
}

/// The most that numbers of these names differ by.
fn apart(a: &Numbers, b: &Numbers, of: impl Fn(&str) -> bool) -> f32 {
    let both = difference(a, b);
    assert!(both.keys().any(|name| of(name)));
    both.iter().filter(|(name, _)| of(name)).flat_map(|(_, values)| values).fold(0.0, |most, x| x.abs().max(most))
}

#[test]
fn the_fast_gradient_method_adds_the_gradients_of_moved_words() {
    const DISTANCE: f32 = 0.5;
    let place = Workplace::new(bert, &sentences());
    let path = |name: &str| place.0.path().join(name);
    // the gradients of one step from the weights of a directory
    let gradients = |source: &str, output: &str, more: &[&str]| {
        let all: Vec<&str> = ["run.steps=1"].iter().chain(&PLAIN).chain(more).copied().collect();
        let recipe = place.recipe("classification", output, &all);
        finetune(&recipe, &path(source), false, &mut Nobody).unwrap();
        let before = encoder(&path(source).join("model.safetensors"));
        difference(&before, &encoder(&path(output).join("checkpoint-1/model.safetensors")))
    };
    let plain = gradients("model", "plain", &[]);
    let both = gradients("model", "both", &[&format!("regularize.fgm={DISTANCE}")]);

    let norm = plain[WORDS].iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
    fs::create_dir(path("moved")).unwrap();
    for entry in fs::read_dir(path("model")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path("moved").join(entry.file_name())).unwrap();
    }
    let weights = Weights::open(&path("model")).unwrap();
    let moved = weights.names().map(|name| {
        let view = weights.get(name).unwrap();
        let mut values = view.to_f32().unwrap();
        if name == WORDS {
            values.iter_mut().zip(&plain[WORDS]).for_each(|(value, slope)| *value += DISTANCE * slope / norm);
        }
        (name.to_owned(), view.shape.clone(), values)
    });
    write_safetensors(&path("moved/model.safetensors"), moved.collect::<Vec<_>>()).unwrap();
    let there = gradients("moved", "there", &[]);

    let sum = plain.iter().map(|(name, values)| {
        let sum = values.iter().zip(&there[name]).map(|(a, b)| a + b).collect();
        (name.clone(), sum)
    });
    let off = apart(&both, &sum.collect(), |_| true);
    assert!(off < 1e-5, "they differ by {off}");
    assert!(apart(&plain, &there, |_| true) > 1e-3, "the words hardly moved");
}

#[test]
fn words_that_are_frozen_are_not_moved() {
    let place = Workplace::new(bert, &sentences());
    for more in
        [&["tune.train='head'"][..], &["tune.train=1"], &["tune.group=[{names='*word_embeddings*',frozen=true}]"]]
    {
        let all: Vec<&str> = ["regularize.fgm=0.5"].iter().chain(more).copied().collect();
        let recipe = place.recipe("classification", "frozen", &all);
        let said = finetune(&recipe, &place.0.path().join("model"), false, &mut Nobody).unwrap_err().to_string();
        assert!(said.starts_with("regularize.fgm"), "{said}");
    }
    // as long as they are
    let steps = |output: &str, fgm: &str| {
        let more = ["tune.train='gradual'", "tune.thaw_every=2", "run.steps=8", "evaluate.every=8", fgm];
        place.run("classification", output, &more);
        place.losses(output)
    };
    let (plain, moved) = (steps("plain", "regularize.fgm=0.0"), steps("moved", "regularize.fgm=0.5"));
    // layers thaw after steps 2 and 4, embeddings after step 6: its loss shows in step 8
    assert_eq!(plain[..7], moved[..7]);
    assert_ne!(plain[7], moved[7]);
}

#[test]
fn r_drop_weighs_the_disagreement_of_two_passes() {
    let place = Workplace::new(bert, &sentences());
    let first = |weight: &str| {
        let weight = format!("regularize.r_drop={weight}");
        place.run("classification", &weight, &["run.steps=1", "regularize.dropout=0.3", &weight]);
        place.losses(&weight)[0]
    };
    let (one, two, four) = (first("1.0"), first("2.0"), first("4.0"));
    assert!(two - one > 1e-4, "{one} {two}");
    assert!((four - one - 3.0 * (two - one)).abs() < 1e-5, "{one} {two} {four}");
    // passes without dropout agree
    let run = |output: &str, weight: &str| {
        place.run("classification", output, &["run.steps=8", "evaluate.every=8", weight]);
        place.losses(output)
    };
    let (plain, agreed) = (run("plain", "regularize.r_drop=0.0"), run("agreed", "regularize.r_drop=3.0"));
    assert!(plain.iter().zip(&agreed).all(|(a, b)| (a - b).abs() < 1e-4), "{plain:?}\n{agreed:?}");
}

#[test]
fn groups_learn_at_their_rate_from_their_step() {
    let place = Workplace::new(bert, &sentences());
    let more = ["run.steps=4", "checkpoint.every=1", "checkpoint.keep=9", "optimizer.lr=0.1"];
    let groups = "tune.group=[{names='bert.encoder.layer.0.*',lr=0.25},{names='bert.embeddings.*',frozen=true},\
                  {names='*.layer.1.attention.*',thaw_at=3}]";
    let run = |output: &str, groups: &[&str]| {
        let all: Vec<&str> = PLAIN.iter().chain(&more).chain(groups).copied().collect();
        place.run("classification", output, &all);
    };
    run("plain", &[]);
    run("groups", &[groups]);
    let at = |output: &str, step: u64| place.0.path().join(output).join(format!("checkpoint-{step}"));
    let weights = |output: &str, step: u64| encoder(&at(output, step).join("model.safetensors"));
    let begun = encoder(&place.0.path().join("model/model.safetensors"));
    let [plain, grouped] = ["plain", "groups"].map(|output| difference(&begun, &weights(output, 1)));
    let quarter = plain.iter().map(|(name, values)| (name.clone(), values.iter().map(|x| 0.25 * x).collect()));
    let lower = |name: &str| name.contains("layer.0.");
    assert!(apart(&grouped, &quarter.collect(), lower) < 1e-6 && apart(&grouped, &plain, lower) > 1e-4);
    // what is in no group learns as it did
    assert!(apart(&grouped, &plain, |name| name.contains("layer.1.output.")) < 1e-6);
    let embeddings = |name: &str| name.contains("embeddings");
    let attention = |name: &str| name.contains("layer.1.attention.");
    assert_eq!(apart(&weights("groups", 4), &begun, embeddings), 0.0);
    assert_eq!(apart(&weights("groups", 2), &begun, attention), 0.0);
    assert!(apart(&weights("groups", 3), &begun, attention) > 1e-6 && apart(&plain, &grouped, embeddings) > 1e-6);
    let moments = tensors(&at("groups", 4).join("training/optimizer.safetensors"));
    assert!(!moments.keys().any(|name| embeddings(name)), "{:?}", moments.keys());
}

/// When each step was made, and its rate.
#[derive(Default)]
struct Rates(Vec<(Instant, f64)>);

impl Watch for Rates {
    fn stop(&self) -> bool {
        false
    }

    fn note(&mut self, _: &str) {}

    fn step(&mut self, progress: &Progress) {
        self.0.push((Instant::now(), progress.lr.unwrap()));
    }

    fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
}

#[test]
fn the_rate_reaches_nothing_when_the_time_is_over() {
    let place = Workplace::new(bert, &sentences());
    let mut recipe = place.recipe("classification", "out", &["run.minutes=0.04", "evaluate.every=100000"]);
    recipe.run.steps = None;
    let mut rates = Rates::default();
    finetune(&recipe, &place.0.path().join("model"), false, &mut rates).unwrap();
    let [.., (before, _), (end, last)] = rates.0[..] else { panic!("{} steps", rates.0.len()) };
    // no more of the peak is left than the last step takes of the time; warm-up makes the way down a little steeper
    let left = (end - before).as_secs_f64() / (60.0 * 0.04);
    assert!(last / 3e-3 <= left / 0.94 + 0.02, "{last} in the last {left} of the time");
    let peak = rates.0.iter().fold(0.0_f64, |most, (_, rate)| rate.max(most));
    assert!(peak > 2e-3, "{peak}");
}

#[test]
fn a_classifier_of_other_labels_gets_a_new_head() {
    let place = Workplace::new(bert, &sentences());
    let first = place.run("classification", "first", &[]);
    let data = rows(64, |random| {
        let (colour, animal) = (COLOURS[random.below(2)], ANIMALS[random.below(2)]);
        json!({"text": format!("the {colour} {animal}"), "label": format!("{colour} {animal}")})
    });
    fs::write(place.0.path().join("data.jsonl"), data).unwrap();
    let recipe = place.recipe("classification", "second", &["run.steps=200", "evaluate.every=200"]);
    let outcome = finetune(&recipe, &first.model, false, &mut Nobody).unwrap_or_else(|error| panic!("{error}"));
    assert!(outcome.judgement.unwrap().get("accuracy").unwrap() > 0.95);
    let weights = Weights::open(&outcome.model).unwrap();
    assert_eq!(weights.get("classifier.weight").unwrap().shape, [4, 32]);
}

#[test]
fn windows_advance_where_texts_are_cut_short() {
    let data = rows(24, |random| {
        let (animal, place) = (ANIMALS[random.below(2)], PLACES[random.below(2)]);
        let context = format!("{}the {animal} sat on the {place}", "and a big small ".repeat(6));
        let start = context.find(animal).unwrap();
        let answers = json!({"text": [animal], "answer_start": [start]});
        json!({"id": random.below(1 << 30).to_string(), "question": "who sat", "context": context, "answers": answers})
    });
    let place = Workplace::new(bert, &data);
    // the stride by default is longer than the texts
    place.run("questions", "out", &["run.steps=2", "evaluate.every=2", "data.max_length=16"]);
}

#[test]
fn targets_are_in_their_own_language() {
    let data = rows(64, |random| {
        let (colour, animal) = (COLOURS[random.below(2)], ANIMALS[random.below(2)]);
        json!({"source": format!("{animal} {colour}"), "target": format!("the {colour} {animal}")})
    });
    let place = Workplace::new(mbart, &data);
    let recipe = place.recipe("text-to-text", "out", &["run.steps=300", "evaluate.every=300"]);
    let model = place.0.path().join("model");
    let outcome = finetune(&recipe, &model, false, &mut Nobody).unwrap_or_else(|error| panic!("{error}"));
    assert!(outcome.judgement.unwrap().get("accuracy").unwrap() > 0.9);
    let roles = model.join("tokenizer_config.json");
    fs::write(&roles, fs::read_to_string(&roles).unwrap().replace("tgt_lang", "other")).unwrap();
    let said = finetune(&recipe, &model, true, &mut Nobody).unwrap_err().to_string();
    assert!(said.contains("tgt_lang"), "{said}");
}

#[test]
fn the_search_for_a_batch_tries_what_is_judged_too() {
    let place = Workplace::new(bert, &sentences());
    let mut recipe = place.recipe("classification", "out", &["evaluate.patience=3"]);
    let search = |recipe: &Recipe| {
        let found = find_batch(recipe, &place.0.path().join("model"), 1 << 40, &mut |_| false);
        found.unwrap_err().to_string()
    };
    assert_eq!(search(&recipe), Error::Stopped.to_string());
    let other = place.0.path().join("other.jsonl");
    fs::write(&other, sentences().replace("\"yes\"", "\"perhaps\"")).unwrap();
    recipe.data.validation = vec![other];
    assert!(search(&recipe).contains("perhaps"));
    assert!(!place.0.path().join("out").exists());
}
