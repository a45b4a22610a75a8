//! Pretraining as a whole: every family learns from packed text, from fresh weights and from a directory.

mod going_on;
mod refusals;
mod workplace;

use std::fs;

use ptm_text::Tokenizer;
use ptm_text::corpus::{Corpus, Order, Part, Split};
use ptm_train::Error;
use ptm_train::objective::Judgement;
use ptm_train::pretrain::{Recipe, Sources, pretrain};
use ptm_train::training::{Outcome, Progress, Watch};
use serde_json::{Value, json};
use workplace::{
    BART, BERT, DISTILBERT, ELECTRA, ERNIE, FIRST_WORD, GPT2, KNOWLEDGE, ROBERTA, SENTENCES, SENTINELS, T5, Until,
    WORDS, Workplace, XLNET, tokenizer,
};

#[test]
fn every_family_learns_more_than_how_often_tokens_occur() {
    let place = Workplace::new();
    for (name, model, most, more) in [
        ("gpt2", GPT2, 0.8, &[][..]),
        (
            "bert",
            BERT,
            0.9,
            &[
                "objective={name='masked_lm',patterns=5,whole_words=true}",
                "run.steps=400",
                "optimizer.lr=3e-3",
                "batch.size=24",
            ],
        ),
        ("roberta", ROBERTA, 0.8, &["run.steps=400", "optimizer.lr=3e-3", "batch.size=24"]),
        ("ernie", ERNIE, 0.9, &[KNOWLEDGE, "run.steps=400", "optimizer.lr=3e-3", "batch.size=24"]),
        ("distilbert", DISTILBERT, 0.8, &["run.steps=400", "optimizer.lr=3e-3", "batch.size=24"]),
        ("bart", BART, 0.8, &["objective.name=denoising"]),
        ("t5", T5, 0.8, &[]),
        ("t5-prefix", T5, 0.8, &["objective.name=prefix_lm"]),
        (
            "xlnet",
            XLNET,
            0.9,
            &["objective.name=permutation_lm", "objective.memory=16", "run.steps=400", "batch.size=16"],
        ),
    ] {
        let outcome = place.run(&place.recipe(name, model, 150, more));
        let judged = outcome.judgement.unwrap();
        let (loss, unigram) = (judged.get("loss").unwrap(), judged.get("unigram_loss").unwrap());
        println!("{name}: {loss:.3}, unigram {unigram:.3}, accuracy {:.3}", judged.get("accuracy").unwrap());
        assert!(loss < most * unigram && unigram < f64::from(WORDS + SENTINELS).ln() + 0.2, "{name}: {judged:?}");
        assert!(judged.get("accuracy").unwrap() > 0.1 && judged.get("perplexity").unwrap() > 1.0);
        // the model is whole: with its tokenizer, and of as many words
        assert_eq!(Tokenizer::from_dir(&outcome.model).unwrap().max_id() + 1, FIRST_WORD + WORDS + SENTINELS);
        let config: Value = serde_json::from_slice(&fs::read(outcome.model.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["vocab_size"], FIRST_WORD + WORDS + SENTINELS);
    }
}

/// Text and both tasks are learnt together and judged apart.
#[test]
fn tasks_are_learnt_beside_the_text() {
    let place = Workplace::new();
    for (name, model, more, usual) in [
        ("t5", T5, "rates={name='temperature',temperature=2,limit=400},", "span_corruption"),
        ("bart", BART, "text_share=0.4,rates={name='equal'},text={name='denoising'},", "denoising"),
    ] {
        let mixture = place.mixture(more);
        let set = [mixture.as_str(), "run.steps=600", "evaluate.every=300", "evaluate.metric=near_loss"];
        let recipe = place.recipe(name, model, 150, &set);
        // the recipe says all that there is to say, and is read again
        assert_eq!(Recipe::parse(&recipe.to_text(), "printed", &[]).unwrap(), recipe);
        let judged = place.run(&recipe).judgement.unwrap();
        println!("{name} ({usual}): {judged:?}");
        let get = |key: &str| judged.get(key).unwrap();
        for (task, most) in [("text", 0.9), ("near", 0.4), ("far", 0.4)] {
            let (loss, unigram) = (get(&format!("{task}_loss")), get(&format!("{task}_unigram_loss")));
            assert!(loss < most * unigram, "{name}, {task}: {loss} of {unigram}");
        }
        assert!(get("near_accuracy") > 0.8 && get("far_accuracy") > 0.8, "{judged:?}");
        let losses = ["text_loss", "near_loss", "far_loss"].map(get);
        let (least, most) =
            (losses.iter().fold(f64::MAX, |a, b| a.min(*b)), losses.iter().fold(0.0_f64, |a, b| a.max(*b)));
        assert!(get("loss") > least && get("loss") < most && get("loss") < 0.9 * get("unigram_loss"), "{judged:?}");
    }
}

/// A step that is one pass over the text, by a model that stays as it is, has the same loss again when the same tokens are
/// hidden: after as many passes as there are patterns.
#[test]
fn static_patterns_come_again() {
    let place = Workplace::new();
    // a window each: none is longer than 62 tokens
    place.corpus("few", 20, 0);
    let packed = format!("corpus.packed={}", place.path("few").display());
    let losses = |name: &str, patterns: u64| -> Vec<f64> {
        let objective = format!("objective={{name='masked_lm',patterns={patterns}}}");
        let set = [
            packed.as_str(),
            objective.as_str(),
            "corpus.validation=0.0",
            // windows are shuffled among the steps of a phase: a phase a step
            "batch={size=20,length=64,phases=[{until=1},{until=2},{until=3},{until=4},{until=5},{until=6},{until=7}]}",
            "optimizer.lr=1e-12",
        ];
        let recipe = place.recipe(name, BERT, 7, &set);
        place.run(&recipe);
        let log = fs::read_to_string(recipe.output.join("log.jsonl")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line["loss"].as_f64()).collect()
    };
    for (name, patterns) in [("three", 3), ("dynamic", 0)] {
        let losses = losses(name, patterns);
        assert_eq!(losses.len(), 7, "{losses:?}");
        for (one, a) in losses.iter().enumerate() {
            for (other, b) in losses.iter().enumerate().skip(one + 1) {
                let again = patterns > 0 && ((other - one) as u64).is_multiple_of(patterns);
                assert_eq!((a - b).abs() < 1e-5, again, "{name}: passes {one} and {other} of {losses:?}");
            }
        }
    }
}

/// Single tokens are more spans than there are sentinels now and then: the draw is made again, and the run goes on.
#[test]
fn draws_with_too_many_spans_are_made_again() {
    let place = Workplace::new();
    // of twenty sentinels sixteen are asked for in the mean by the longest texts, and more than twenty by one in sixty draws
    let set = ["objective={name='iid_spans',rate=0.5}", "batch={size=8,length=70}"];
    place.run(&place.recipe("often", T5, 300, &set));
    let error = place.fails(&place.recipe("always", T5, 40, &[set[0], "batch.length=128"]));
    assert!(error.contains("32 sentinels") && error.contains("batch.length"), "{error}");
}

#[test]
fn pairs_of_segments_are_told_apart_and_replaced_tokens_found() {
    let place = Workplace::new();
    place.topics("topics");
    let packed = format!("corpus.packed={}", place.path("topics").display());
    // judged once: the model that is kept is the one that was judged
    let long = ["run.steps=300", "evaluate.every=300", "optimizer.lr=3e-3", "batch.size=24"];
    let judged = |name: &str, model: &str, objective: &str| {
        let more: Vec<&str> = long.into_iter().chain([packed.as_str(), objective]).collect();
        let judged = place.run(&place.recipe(name, model, 150, &more)).judgement.unwrap();
        println!("{name}: {judged:?}");
        judged
    };
    for (name, objective) in
        [("next", "objective.name=next_sentence"), ("order", "objective.name=sentence_order"), ("two", SENTENCES)]
    {
        let judged = judged(name, BERT, objective);
        let get = |key: &str| judged.get(key).unwrap();
        assert!(get("masked_loss") < 0.9 * get("unigram_loss") && get("order_accuracy") > 0.7, "{name}: {judged:?}");
        assert!((get("loss") - get("masked_loss") - get("order_loss")).abs() < 1e-6);
    }
    let judged = judged("electra", ELECTRA, "objective={name='replaced_token_detection',generator=0.5}");
    let get = |key: &str| judged.get(key).unwrap();
    // 15 % are hidden at most: less is lost than by saying so of every token
    let ignorant = -(0.15_f64 * 0.15_f64.ln() + 0.85 * 0.85_f64.ln());
    assert!(get("generator_loss") < 0.9 * get("unigram_loss"), "{judged:?}");
    assert!(get("discriminator_loss") < 0.8 * 50.0 * ignorant, "{judged:?}");
    assert!((get("loss") - get("generator_loss") - get("discriminator_loss")).abs() < 1e-6);
    // both networks are saved, and gone on with
    let model = place.path("electra").join("model");
    let mut recipe = place.recipe("more", ELECTRA, 2, &["optimizer.lr=1e-5", packed.as_str()]);
    recipe.objective = serde_json::from_value(json!({"name": "replaced_token_detection", "generator": 0.5})).unwrap();
    recipe.model.from = Some(model.display().to_string());
    recipe.model.tokenizer = None;
    let sources = Sources { from: Some(model), ..Sources::default() };
    let more = pretrain(&recipe, &sources, false, &mut Until(0, 1)).unwrap().judgement.unwrap();
    assert!((more.get("generator_loss").unwrap() - get("generator_loss")).abs() < 0.05, "{more:?}");
    assert!((more.get("discriminator_loss").unwrap() - get("discriminator_loss")).abs() < 1.0, "{more:?}");
    // published, they are two directories: without the other one the run says what it lacks
    let (one, two) = (place.path("one-model"), place.path("two-models"));
    fs::rename(sources.from.as_ref().unwrap(), &one).unwrap();
    fs::rename(one.join("generator"), &two).unwrap();
    recipe.model.from = Some(one.display().to_string());
    recipe.output = place.path("published");
    let sources = Sources { from: Some(one), ..Sources::default() };
    let error = pretrain(&recipe, &sources, false, &mut Until(0, 1)).unwrap_err().to_string();
    assert!(error.starts_with("model.generator") && error.contains("has no folder generator"), "{error}");
    recipe.model.generator = Some(two.display().to_string());
    let sources = Sources { generator: Some(two), ..sources };
    let stopped = pretrain(&recipe, &sources, false, &mut Until(1, 0));
    assert!(matches!(stopped, Err(Error::Stopped)));
    // its checkpoint has both, wherever the first came from
    fs::rename(place.path("two-models"), place.path("elsewhere")).unwrap();
    fs::create_dir(place.path("two-models")).unwrap();
    fs::copy(place.path("elsewhere").join("config.json"), place.path("two-models").join("config.json")).unwrap();
    let outcome = pretrain(&recipe, &sources, false, &mut Until(0, 1)).unwrap();
    let published = outcome.judgement.clone().unwrap();
    assert!(published.metrics == more.metrics, "{published:?}");
    assert!(outcome.model.join("generator/model.safetensors").is_file());
}

#[test]
fn spans_are_foretold_from_their_places_and_from_outside() {
    let place = Workplace::new();
    let long = ["objective.name=span_masking", "run.steps=400", "optimizer.lr=3e-3", "batch.size=24"];
    let outcome = place.run(&place.recipe("spans", BERT, 150, &long));
    let judged = outcome.judgement.unwrap();
    let get = |key: &str| judged.get(key).unwrap();
    println!("{judged:?}");
    assert!(get("masked_loss") < 0.9 * get("unigram_loss"), "{judged:?}");
    // the boundary alone says less, but more than nothing
    assert!(get("boundary_loss") < 0.95 * get("unigram_loss"), "{judged:?}");
    assert!((get("loss") - get("masked_loss") - get("boundary_loss")).abs() < 1e-6);
    // what foretells from outside is saved with the model, and gone on with
    let from = outcome.model;
    let mut recipe = place.recipe("more", BERT, 2, &["objective.name=span_masking", "optimizer.lr=1e-5"]);
    recipe.model.from = Some(from.display().to_string());
    recipe.model.tokenizer = None;
    let sources = Sources { from: Some(from), ..Sources::default() };
    let more = pretrain(&recipe, &sources, false, &mut Until(0, 1)).unwrap().judgement.unwrap();
    assert!((more.get("boundary_loss").unwrap() - get("boundary_loss")).abs() < 0.05, "{more:?}");
}

/// Every task learns; the run is as long as its stages, and a second one goes on with a task more.
#[test]
fn tasks_come_one_after_the_other() {
    let place = Workplace::new();
    let model = format!("{ERNIE}, type_vocab_size = 4");
    let tasks = |second: u64, third: u64| {
        format!(
            "objective={{name='continual',tasks=[{{objective={{name='knowledge_masking'}},steps=[400,200]}},\
             {{objective={{name='sentence_reordering'}},steps=[0,{second}]}},\
             {{objective={{name='token_document'}},steps=[0,{third}]}}]}}"
        )
    };
    let more = ["optimizer.lr=3e-3", "batch.size=24", "evaluate.every=1000"];
    let first = tasks(250, 100);
    let mut recipe = place.recipe("first", &model, 1, &[&more[..], &[first.as_str()]].concat());
    recipe.run.steps = None;
    let outcome = place.run(&recipe);
    assert_eq!(outcome.state.step, 950);
    let judged = outcome.judgement.clone().unwrap();
    let get = |name: &str| judged.get(name).unwrap();
    println!("{judged:?}");
    assert!(get("knowledge_masking_loss") < 0.9 * get("unigram_loss"));
    // of nine classes, and what most tokens are
    assert!(get("sentence_reordering_accuracy") > 0.5 && get("token_document_loss") < 0.65);
    let sum =
        ["knowledge_masking_loss", "sentence_reordering_loss", "token_document_loss"].map(get).iter().sum::<f64>();
    assert!((get("loss") - sum).abs() < 1e-9);
    for file in ["config.json", "model.safetensors", "tasks.safetensors", "tokenizer.json"] {
        assert!(outcome.model.join(file).is_file(), "{file}");
    }
    // another task comes to what was learnt
    let more_tasks = "objective={name='continual',tasks=[{objective={name='knowledge_masking'},steps=[1]},\
        {objective={name='sentence_reordering'},steps=[1]},{objective={name='sentence_distance'},steps=[1]}]}";
    let from = format!("model.from={}", outcome.model.display());
    let mut recipe = place.recipe("second", &model, 3, &["optimizer.lr=1e-6", more_tasks, from.as_str()]);
    (recipe.model.tokenizer, recipe.model.config) = (None, None);
    let sources = Sources { from: Some(outcome.model.clone()), ..Sources::default() };
    let second = pretrain(&recipe, &sources, false, &mut Until(0, 1)).unwrap().judgement.unwrap();
    assert!((second.get("sentence_reordering_loss").unwrap() - get("sentence_reordering_loss")).abs() < 0.02);
    assert!(second.get("sentence_distance_loss").is_some());
}

#[test]
fn dropout_is_off_from_where_the_recipe_says() {
    let place = Workplace::new();
    let losses = |name: &str, more: &[&str]| -> Vec<f64> {
        place.run(&place.recipe(name, GPT2, 8, more));
        let log = fs::read_to_string(place.path(name).join("log.jsonl")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line["loss"].as_f64()).collect()
    };
    let all = losses("all", &[]);
    let half = losses("half", &["run.dropout_until=0.5"]);
    assert_eq!((all.len(), &all[..4]), (8, &half[..4]));
    assert_ne!(all[4..], half[4..]);
    let fields = ["embd_pdrop", "resid_pdrop", "attn_pdrop"].map(|field| format!("model.config.{field}=0.0"));
    assert_eq!(losses("off", &["run.dropout_until=0.0"]), losses("none", &fields.each_ref().map(String::as_str)));
}

/// Blocks of documents without a token that ends them: they are learnt from like others.
#[test]
fn text_without_an_end_is_learnt_from() {
    let place = Workplace::new();
    let config = place.path("tokenizer").join("tokenizer_config.json");
    let roles = json!({"unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"});
    fs::write(config, roles.to_string()).unwrap();
    let model = GPT2.replace("gpt2", "openai-gpt");
    place.corpus("bare", 160, 0);
    let packed = format!("corpus.packed={}", place.path("bare").display());
    let judged = place.run(&place.recipe("first", &model, 150, &["optimizer.lr=1e-2", &packed])).judgement.unwrap();
    assert!(judged.get("loss").unwrap() < 0.6 * judged.get("unigram_loss").unwrap(), "{judged:?}");
}

/// A corpus too small to hold a document out is learnt from; judged are the others, and all that they hold out.
#[test]
fn a_corpus_may_hold_nothing_out() {
    let place = Workplace::new();
    place.corpus("three", 2, 3);
    let [one, three] = ["one", "three"].map(|name| place.path(name).display().to_string());
    let judged = |name: &str, packed: &str| {
        place.run(&place.recipe(name, GPT2, 4, &[packed, "evaluate.every=1"])).judgement.unwrap()
    };
    let both = judged("both", &format!("corpus={{packed=['{one}','{three}'],validation=0.15,weights=[1,3]}}"));
    let alone = judged("alone", &format!("corpus={{packed='{one}',validation=0.15}}"));
    // the same text is judged, so that as much is known of it without a model
    assert!((both.get("unigram_loss").unwrap() - alone.get("unigram_loss").unwrap()).abs() < 0.5, "{both:?} {alone:?}");
    let text = Corpus::open(&place.path("three")).unwrap();
    let part = Part::Validation(Split::new(0.15, 0).unwrap());
    assert!(text.documents(part, Order::AsIs, 0).next().is_none(), "the test needs a corpus without");
}

#[test]
fn models_are_gone_on_with() {
    let place = Workplace::new();
    let first = place.run(&place.recipe("first", GPT2, 60, &[]));
    let loss = |outcome: &Outcome| outcome.judgement.as_ref().unwrap().get("loss").unwrap();
    let from = format!("model.from={}", first.model.display());
    let more = [from.as_str(), "model.config={resid_pdrop = 0.0}", "optimizer.lr=1e-5"];
    let mut recipe = place.recipe("second", GPT2, 2, &more);
    recipe.model.tokenizer = None;
    let sources = Sources { from: Some(first.model.clone()), ..Sources::default() };
    let second = pretrain(&recipe, &sources, false, &mut Until(0, 1)).unwrap();
    assert!((loss(&second) - loss(&first)).abs() < 0.05, "{} and {}", loss(&first), loss(&second));
    let config: Value = serde_json::from_slice(&fs::read(second.model.join("config.json")).unwrap()).unwrap();
    assert_eq!((&config["resid_pdrop"], &config["n_embd"]), (&json!(0.0), &json!(32)));
    // with another tokenizer its rows would stand for other tokens
    tokenizer(&place.path("other"), WORDS + 1);
    let other = Sources { tokenizer: Some(place.path("other")), ..sources.clone() };
    let error = pretrain(&recipe, &other, true, &mut Until(0, 1)).unwrap_err().to_string();
    assert!(error.contains("the id 29 is \"word24\" in it and \"<extra_id_0>\""), "{error}");
    let again = pretrain(&recipe, &sources, false, &mut Until(0, 1)).unwrap();
    assert_eq!(again.state.step, 2);
    // what was finished stays so, and begins again when told to
    let again = pretrain(&recipe, &sources, false, &mut Until(0, 1)).unwrap();
    assert_eq!((again.state.step, again.seconds), (2, 0.0));
    assert!(pretrain(&recipe, &sources, true, &mut Until(0, 1)).unwrap().seconds > 0.0);
}

#[test]
fn epochs_are_as_many_steps_as_the_text_gives() {
    let place = Workplace::new();
    let mixture = place.mixture("text_share=0.3,");
    for (name, model, more) in [
        ("within", T5, &["batch.size=5"][..]),
        ("beside", T5, &[mixture.as_str(), "batch.size=5"]),
        ("beside-tokens", T5, &[mixture.as_str(), "batch={tokens=100,length=20}"]),
        ("across", GPT2, &["batch.size=4"]),
        ("tokens", GPT2, &["batch={tokens=100,length=20}"]),
        ("both", XLNET, &["batch.size=9"]),
        ("full", ROBERTA, &["batch.size=5", "objective={name='masked_lm',format='full_sentences'}"]),
        ("doc", ROBERTA, &["batch.size=3", "objective={name='masked_lm',format='doc_sentences'}"]),
        ("sentences", BERT, &["batch.size=2", SENTENCES]),
    ] {
        let mut recipe = place.recipe(name, model, 1, more);
        (recipe.run.steps, recipe.run.epochs) = (None, 1.0);
        let state = place.run(&recipe).state;
        assert!((state.epochs - 1.0).abs() < 0.1, "{name}: {} epochs in {} steps", state.epochs, state.step);
    }
}

/// What a model's configuration doesn't read is said, for it may be misspelt, and nothing else is.
#[test]
fn keys_that_nothing_reads_are_said() {
    struct Noted(Vec<String>);
    impl Watch for Noted {
        fn stop(&self) -> bool {
            true
        }
        fn note(&mut self, note: &str) {
            self.0.push(note.to_owned());
        }
        fn step(&mut self, _: &Progress) {}
        fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
    }
    let place = Workplace::new();
    for model in [BERT, ROBERTA, DISTILBERT, ERNIE, GPT2, BART, T5, ELECTRA, XLNET] {
        for (more, said) in [("", false), (", num_hidden_layer = 3", true)] {
            let mut noted = Noted(Vec::new());
            let recipe = place.recipe("noted", &format!("{model}{more}"), 2, &[]);
            // stopped as soon as it begins
            drop(pretrain(&recipe, &place.sources(), true, &mut noted));
            let notes: Vec<_> = noted.0.iter().filter(|note| note.contains("is read by nothing")).collect();
            assert_eq!(notes.len(), usize::from(said), "{model}{more}: {notes:?}");
            assert!(notes.iter().all(|note| note.starts_with("model.config.num_hidden_layer ")), "{notes:?}");
        }
    }
}
