//! Runs that are stopped go on with the same bits; nothing depends on the number of threads.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use ptm_train::Error;
use ptm_train::objective::Judgement;
use ptm_train::pretrain::pretrain;
use ptm_train::training::{Progress, Watch};
use serde_json::Value;

use crate::workplace::{
    BART, BERT, CONTINUAL, DISTILBERT, ELECTRA, ERNIE, GPT2, KNOWLEDGE, ROBERTA, SENTENCES, T5, Until, Workplace, XLNET,
};

/// The lines of a run's log without what depends on time, and the bytes of its weights.
fn traces(output: &Path, step: u64) -> (Vec<Value>, Vec<u8>, Vec<u8>) {
    let log = fs::read_to_string(output.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("tokens_per_second");
        line
    });
    let file = |name: &str| fs::read(output.join(format!("checkpoint-{step}")).join(name)).unwrap();
    (lines.collect(), file("model.safetensors"), file("training/optimizer.safetensors"))
}

/// Two corpora with weights, phases of other lengths and batches, steps of several micro-batches, a moving average.
const RICH: [&str; 4] = [
    "corpus.weights=[3.0, 1.0]",
    "batch.accumulate=2",
    "batch.phases=[{until = 4, length = 12, size = 3}, {until = 7, tokens = 100}]",
    "run.average=0.9",
];

#[test]
fn runs_that_are_stopped_go_on_with_the_same_bits() {
    let place = Workplace::new();
    let corpora = format!("corpus.packed=['{}', '{}']", place.path("one").display(), place.path("two").display());
    let more: Vec<&str> = RICH.into_iter().chain([corpora.as_str(), "evaluate.every=5"]).collect();
    let families = [("gpt2", GPT2), ("t5", T5), ("xlnet", XLNET), ("roberta", ROBERTA), ("electra", ELECTRA)];
    let own = [
        ("bert", BERT),
        ("sentences", BERT),
        ("order", BERT),
        ("spanbert", BERT),
        ("ernie", ERNIE),
        ("ernie-2", ERNIE),
    ];
    let others = [("bart", BART), ("distilbert", DISTILBERT), ("t5-mixture", T5), ("bart-mixture", BART)];
    let formats = [("full", ROBERTA), ("doc", ROBERTA), ("across", GPT2)];
    let published = [("t5-apart", T5), ("electra-segments", ELECTRA)];
    let variants = [("bert_style", T5), ("mass_style", T5), ("deshuffling", T5), ("iid_dropped", BART)];
    let mixture = place.mixture("");
    for (name, model) in families.into_iter().chain(own).chain(others).chain(formats).chain(published).chain(variants) {
        let objective = match name {
            "t5-mixture" | "bart-mixture" => Some(mixture.as_str()),
            "spanbert" => Some("objective.name=span_masking"),
            "ernie-2" => Some(CONTINUAL),
            "bert" => Some("objective.name=next_sentence"),
            "sentences" => Some(SENTENCES),
            "order" => Some("objective.name=sentence_order"),
            "ernie" => Some(KNOWLEDGE),
            "full" => Some("objective={name='masked_lm',format='full_sentences'}"),
            "doc" => Some("objective={name='masked_lm',format='doc_sentences'}"),
            "across" => Some("objective={name='causal_lm',across_documents=true}"),
            "t5-apart" => Some("objective={name='span_corruption',across_documents=false}"),
            "electra-segments" => Some("objective={name='replaced_token_detection',segments=true}"),
            "bert_style" => Some("objective.name=bert_style"),
            "mass_style" => Some("objective.name=mass_style"),
            "deshuffling" => Some("objective.name=deshuffling"),
            "iid_dropped" => Some("objective.name=iid_dropped"),
            _ => None,
        };
        let segments = (name == "ernie-2").then_some("model.config.type_vocab_size=4");
        let more: Vec<&str> = more.iter().copied().chain(objective).chain(segments).collect();
        let whole = place.recipe(&format!("{name}-whole"), model, 12, &more);
        place.run(&whole);
        let parts = place.recipe(&format!("{name}-parts"), model, 12, &more);
        for stop in [1, 4, 5, 9] {
            let stopped = pretrain(&parts, &place.sources(), false, &mut Until(stop, 0));
            assert!(matches!(stopped, Err(Error::Stopped)), "{name} at {stop}");
        }
        place.run(&parts);
        assert!(traces(&whole.output, 12) == traces(&parts.output, 12), "{name}");
        // and whatever the number of threads
        let set: Vec<&str> = more.iter().copied().chain(["corpus.workers=3"]).collect();
        let others = place.recipe(&format!("{name}-others"), model, 12, &set);
        place.run(&others);
        assert!(traces(&whole.output, 12) == traces(&others.output, 12), "{name}");
    }
}

/// Says to stop when it was asked so many times.
struct Asked(Cell<u64>);

impl Watch for Asked {
    fn stop(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() == 0
    }

    fn note(&mut self, _: &str) {}

    fn step(&mut self, _: &Progress) {}

    fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
}

/// A run is stopped between the micro-batches of a step, which then begins again.
#[test]
fn steps_that_were_begun_begin_again() {
    let place = Workplace::new();
    let more = ["batch.accumulate=6", "checkpoint.every=1"];
    let whole = place.recipe("whole", ROBERTA, 4, &more);
    place.run(&whole);
    let parts = place.recipe("parts", ROBERTA, 4, &more);
    let (mut within, mut asked) = (0, 0);
    loop {
        asked += 1;
        assert!(asked < 200);
        match pretrain(&parts, &place.sources(), false, &mut Asked(Cell::new(asked))) {
            Err(Error::Stopped) => {
                // before its first step a run has nothing to keep
                within += u32::from(!parts.output.join("checkpoint-1").exists());
            }
            ended => break drop(ended.unwrap()),
        }
    }
    assert!(within > 2, "stopped in the first step {within} times");
    assert!(traces(&whole.output, 4) == traces(&parts.output, 4));
}

/// The numbers of a log's lines of steps.
fn told(output: &Path, name: &str) -> Vec<f64> {
    let log = fs::read_to_string(output.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line.get(name).and_then(Value::as_f64)).collect()
}

/// LAMB's mixed batches: a second length with a warm-up of its own, dropout off at the end.
#[test]
fn lamb_learns_over_two_lengths_and_goes_on_with_the_same_bits() {
    let place = Workplace::new();
    let more = [
        "optimizer={name='lamb',lr=1e-2}",
        "schedule={name='linear',warmup=0.25}",
        "batch={size=4,length=48,accumulate=2,phases=[{until=12,length=16,size=8,lr=1.4e-2,warmup=0.5},\
         {until=16}]}",
        "run.dropout_until=0.8",
    ];
    let whole = place.recipe("whole", ROBERTA, 20, &more);
    place.run(&whole);
    let rates = told(&whole.output, "lr");
    let expected = |step: usize| {
        let (peak, step, warm, total) = if step < 12 { (1.4e-2, step, 6.0, 12.0) } else { (1e-2, step - 12, 2.0, 8.0) };
        let step = step as f64;
        peak * if step < warm { step / warm } else { 1.0 - (step - warm) / (total - warm) }
    };
    assert_eq!(rates.len(), 20);
    for (step, rate) in rates.iter().enumerate() {
        assert!((rate - expected(step)).abs() < 1e-8, "{step}: {rate} is not {}", expected(step));
    }
    let parts = place.recipe("parts", ROBERTA, 20, &more);
    for stop in [5, 12, 14, 17] {
        let stopped = pretrain(&parts, &place.sources(), false, &mut Until(stop, 0));
        assert!(matches!(stopped, Err(Error::Stopped)), "at {stop}");
    }
    place.run(&parts);
    assert!(traces(&whole.output, 20) == traces(&parts.output, 20));
    // dropout made a difference as long as it was on, and none was left at the end
    let on = place.recipe("on", ROBERTA, 20, &more[..3]);
    place.run(&on);
    let (a, b) = (told(&whole.output, "loss"), told(&on.output, "loss"));
    assert!(a[..16] == b[..16] && a[16..20] != b[16..20], "{a:?} {b:?}");
}

/// GPT-3's way: batches that grow.
#[test]
fn batches_grow_and_runs_go_on_in_the_middle() {
    let place = Workplace::new();
    let more = ["batch.size=12", "batch.phases=[{until=3,size=2},{until=6,size=4},{until=9,size=8}]"];
    let whole = place.recipe("whole", GPT2, 12, &more);
    let outcome = place.run(&whole);
    // blocks of 32 tokens
    assert_eq!(outcome.state.tokens, 32 * 3 * (2 + 4 + 8 + 12));
    let parts = place.recipe("parts", GPT2, 12, &more);
    for stop in [2, 3, 7] {
        let stopped = pretrain(&parts, &place.sources(), false, &mut Until(stop, 0));
        assert!(matches!(stopped, Err(Error::Stopped)), "at {stop}");
    }
    place.run(&parts);
    assert!(traces(&whole.output, 12) == traces(&parts.output, 12));
}

/// A run of so many minutes ends by the clock, the time before it was stopped counted.
#[test]
fn time_goes_on_where_a_run_stopped() {
    const SECONDS: f64 = 3.0;
    let place = Workplace::new();
    let mut recipe = place.recipe("timed", GPT2, 1, &["evaluate.every=100000", "log.every=100000"]);
    (recipe.run.steps, recipe.run.minutes) = (None, Some(SECONDS / 60.0));
    let begun = std::time::Instant::now();
    let stopped = pretrain(&recipe, &place.sources(), false, &mut Until(3, 0));
    assert!(matches!(stopped, Err(Error::Stopped)));
    let outcome = place.run(&recipe);
    assert!(outcome.state.finished && outcome.state.step > 3, "{:?}", outcome.state);
    assert!(outcome.state.seconds >= SECONDS && outcome.state.seconds <= begun.elapsed().as_secs_f64());
    // what was finished by the clock stays so
    assert_eq!(place.run(&recipe).state.step, outcome.state.step);
}

/// A lexicon and rows of tasks are data as the corpora are: a run does not go on with others.
#[test]
fn runs_go_on_with_the_text_that_they_began_with() {
    let place = Workplace::new();
    let lexicon = place.path("phrases.txt");
    fs::write(&lexicon, "word1 word3\nword8 word10\n").unwrap();
    let knowledge = format!("objective={{name='knowledge_masking',phrases='{}'}}", lexicon.display());
    let mixture = place.mixture("");
    for (name, model, objective) in [("lexicon", ERNIE, &knowledge), ("rows", T5, &mixture)] {
        let recipe = place.recipe(name, model, 4, &[objective]);
        assert!(matches!(pretrain(&recipe, &place.sources(), false, &mut Until(2, 0)), Err(Error::Stopped)));
        fs::write(&lexicon, "word1 word3\nword8 word11\n").unwrap();
        place.rows("far.jsonl", 481, 9);
        assert!(place.fails(&recipe).contains("other data"), "{name}");
        fs::write(&lexicon, "word1 word3\n\nword8 word10\n").unwrap();
        place.rows("far.jsonl", 480, 9);
        place.run(&recipe);
    }
}
