//! A run that was stopped goes on with the same bits: with every optimizer and way to divide batches, in the midst of its
//! data, and where it was stopped while it was judged. What it must not go on with is refused.

use std::cell::Cell;
use std::fs;

use ptm_train::Error;
use ptm_train::finetune::finetune;
use ptm_train::journal;
use ptm_train::objective::Judgement;
use ptm_train::recipe::Recipe;
use ptm_train::training::{Progress, Watch};
use serde_json::{Value, json};

use crate::{ANIMALS, Nobody, Until, Workplace, bert, rows, sentences, tensors};

fn many(count: usize) -> String {
    rows(count, |random| {
        let (good, animal) = (random.below(2), ANIMALS[random.below(2)]);
        let (word, label) = [("good", "yes"), ("bad", "no")][good];
        let more = ["", "and big ", "and big and small "][random.below(3)];
        json!({"text": format!("the {animal} is {more}{word}"), "label": label})
    })
}

impl Workplace {
    fn state(&self, output: &str, step: u64) -> Value {
        let path = self.0.path().join(output).join(format!("checkpoint-{step}/training/state.json"));
        serde_json::from_slice(&fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
    }

    /// Steps in one go and in two, the first up to `until`; whether all that is left of both is the same.
    fn continues(&self, name: &str, more: &[&str], until: u64, steps: u64) {
        let all: Vec<String> =
            [format!("run.steps={steps}"), "evaluate.every=1000".into(), "checkpoint.best=false".into()]
                .into_iter()
                .chain(more.iter().map(|&one| one.to_owned()))
                .collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let model = self.0.path().join("model");
        let [whole, parts] = ["whole", "parts"].map(|part| format!("{name}-{part}"));
        let recipe = |output: &str| self.recipe("classification", output, &all);
        let run = |recipe: &Recipe, watch: &mut dyn Watch| finetune(recipe, &model, false, watch);
        run(&recipe(&whole), &mut Nobody).unwrap_or_else(|error| panic!("{name}: {error}"));
        let stopped = run(&recipe(&parts), &mut Until(until, Cell::new(0)));
        assert!(matches!(stopped, Err(Error::Stopped)), "{name}: {stopped:?}");
        let cursor = &self.state(&parts, until)["cursor"];
        assert!(cursor["row"].as_u64().unwrap() > 0 && cursor["step"].as_u64().unwrap() > 0, "{name}: {cursor}");
        run(&recipe(&parts), &mut Nobody).unwrap();
        assert_eq!(self.losses(&parts), self.losses(&whole), "{name}");
        let files = ["model.safetensors", "training/optimizer.safetensors", "training/learning/model.safetensors"];
        for file in files {
            let [one, two] =
                [&whole, &parts].map(|run| self.0.path().join(run).join(format!("checkpoint-{steps}/{file}")));
            assert_eq!(one.is_file(), two.is_file(), "{name}: {file}");
            assert!(!one.is_file() || tensors(&one) == tensors(&two), "{name}: {file}");
        }
    }
}

#[test]
fn every_optimizer_goes_on_in_the_midst_of_its_data() {
    let place = Workplace::new(bert, &many(160));
    let size = "batch.size=2";
    for (name, more) in [
        ("adamw", &["regularize.dropout=0.1"][..]),
        ("lamb", &["optimizer.name='lamb'"]),
        ("adafactor", &["optimizer.name='adafactor'", "optimizer.lr=1e-3"]),
        ("relative", &["optimizer.name='adafactor'", "optimizer.warmup_init=true", "schedule.name='constant'"]),
        ("sgd", &["optimizer.name='sgd'", "optimizer.nesterov=true"]),
        ("lion", &["optimizer.name='lion'", "optimizer.lr=3e-4"]),
        ("average", &["run.average=0.9"]),
    ] {
        let all: Vec<&str> = [size].into_iter().chain(more.iter().copied()).collect();
        place.continues(name, &all, 40, 60);
    }
}

#[test]
fn every_way_to_divide_batches_goes_on() {
    let place = Workplace::new(bert, &many(1300));
    place.continues("accumulate", &["batch.size=1", "batch.accumulate=2", "regularize.dropout=0.1"], 40, 50);
    place.continues("tokens", &["batch={tokens=60}"], 110, 120);
    let both = ["batch={tokens=30}", "batch.accumulate=2", "run.average=0.9", "optimizer.name='lamb'"];
    place.continues("both", &both, 110, 120);
}

/// Stops once, when it is asked after a step.
struct Once {
    at: u64,
    step: Cell<u64>,
    said: Cell<bool>,
    judged: u64,
}

impl Watch for Once {
    fn stop(&self) -> bool {
        self.step.get() == self.at && !self.said.replace(true)
    }

    fn note(&mut self, _: &str) {}

    fn step(&mut self, progress: &Progress) {
        self.step.set(progress.step);
        self.said.set(false);
    }

    fn judged(&mut self, _: u64, _: &Judgement, _: bool) {
        self.judged += 1;
    }
}

#[test]
fn what_was_stopped_while_it_was_judged_is_judged_when_it_goes_on() {
    let place = Workplace::new(bert, &sentences());
    for (average, at) in [("run.average=0.0", 6), ("run.average=0.9", 6), ("run.average=0.0", 12)] {
        let more = ["run.steps=12", "evaluate.every=6", average];
        let name = |part: &str| format!("{part}-{at}-{average}");
        let whole = place.run("classification", &name("whole"), &more);
        let recipe = place.recipe("classification", &name("parts"), &more);
        let go = |watch: &mut Once| finetune(&recipe, &place.0.path().join("model"), false, watch);
        let mut watch = Once { at, step: Cell::new(0), said: Cell::new(false), judged: 0 };
        assert!(matches!(go(&mut watch), Err(Error::Stopped)));
        // it gave up in the midst of judging
        assert_eq!(watch.judged, at / 6 - 1);
        let state = place.state(&name("parts"), at);
        assert_eq!((state["judged"].as_u64(), &state["finished"]), (Some(at - 6), &json!(false)));
        let mut watch = Once { at: 0, step: Cell::new(99), said: Cell::new(false), judged: 0 };
        let outcome = go(&mut watch).unwrap();
        assert_eq!((watch.judged, &outcome.state.best), (2 - (at / 6 - 1), &whole.state.best));
        assert_eq!((outcome.state.judged, outcome.judgement), (12, whole.judgement));
        let judged = |run: &str| {
            let lines = journal::lines(&place.0.path().join(name(run)).join(journal::LOG)).unwrap();
            lines.into_iter().filter(|line| line.get("eval").is_some()).collect::<Vec<_>>()
        };
        assert_eq!(judged("parts"), judged("whole"));
        assert!(!judged("whole").is_empty());
        assert_eq!(place.losses(&name("parts")), place.losses(&name("whole")));
    }
}

#[test]
fn who_stops_at_once_waits_for_no_step() {
    let place = Workplace::new(bert, &sentences());
    // while labels are looked for, while they are counted, and while steps are counted
    for (name, more) in [
        ("labels", &["seed=1"][..]),
        ("weights", &["loss.class_weights='balanced'", "data.label_names=['no','yes']"]),
        ("epoch", &["batch={tokens=64}", "data.label_names=['no','yes']"]),
    ] {
        let mut recipe = place.recipe("classification", name, more);
        recipe.run.steps = None;
        let stopped = finetune(&recipe, &place.0.path().join("model"), false, &mut Until(0, Cell::new(0)));
        assert!(matches!(stopped, Err(Error::Stopped)), "{name}: {stopped:?}");
        assert!(!place.0.path().join(name).join("checkpoint-1").exists(), "{name}");
    }
}

#[test]
fn other_data_of_the_same_size_is_no_continuation() {
    let place = Workplace::new(bert, &sentences());
    let path = |name: &str| place.0.path().join(name);
    for changed in ["train.jsonl", "validation.jsonl"] {
        for name in ["train.jsonl", "validation.jsonl"] {
            fs::write(path(name), sentences()).unwrap();
        }
        let mut recipe =
            place.recipe("classification", &format!("out-{changed}"), &["run.steps=4", "evaluate.every=4"]);
        (recipe.data.train, recipe.data.validation) = (vec![path("train.jsonl")], vec![path("validation.jsonl")]);
        let go = |watch: &mut dyn Watch| finetune(&recipe, &path("model"), false, watch);
        assert!(matches!(go(&mut Until(2, Cell::new(0))), Err(Error::Stopped)));
        let edited = sentences().replacen("cat", "dog", 1);
        assert_eq!(edited.len(), sentences().len());
        fs::write(path(changed), edited).unwrap();
        let said = go(&mut Nobody).unwrap_err().to_string();
        assert!(said.contains("other data"), "{said}");
        fs::write(path(changed), sentences()).unwrap();
        go(&mut Nobody).unwrap();
    }
}
