//! Pretraining as a whole: every family learns from packed text, from fresh weights and from a directory; runs that are
//! stopped go on with the same bits; nothing depends on the number of threads.

use std::fs;
use std::path::{Path, PathBuf};

use ptm_text::Tokenizer;
use ptm_text::corpus::{Corpus, Document, Order, Part, Split, TokenizedBy, Writer};
use ptm_train::Error;
use ptm_train::objective::Judgement;
use ptm_train::pretrain::{Recipe, Sources, pretrain};
use ptm_train::training::{Outcome, Progress, Watch};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Ids: five special ones, words, sentinels.
const FIRST_WORD: u32 = 5;
const WORDS: u32 = 24;
const SENTINELS: u32 = 20;

/// Looks on, and stops after a step.
struct Until(u64, u64);

impl Watch for Until {
    fn stop(&self) -> bool {
        self.1 == self.0
    }

    fn note(&mut self, _: &str) {}

    fn step(&mut self, progress: &Progress) {
        self.1 = progress.step;
    }

    fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
}

/// A tokenizer of whole words, and two corpora of documents in which each word says what follows.
struct Workplace(TempDir);

impl Workplace {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        tokenizer(&dir.path().join("tokenizer"), WORDS);
        let this = Self(dir);
        this.corpus("one", 160, 0);
        this.corpus("two", 60, 7);
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Documents in which each word is followed by the next but one, and every tenth time by another.
    fn corpus(&self, name: &str, documents: u64, first: u64) {
        self.write(name, first, documents, |number, i, _| first + number * 5 + 2 * i + i / 10);
    }

    /// Documents of four words each, two of them in the first half and two in the second.
    fn topics(&self, name: &str) {
        self.write(name, 0, 300, |number, i, length| {
            let either = (number * 2_654_435_761 + i * 40_503) >> 7 & 1;
            4 * (number % 6) + 2 * (2 * i / length) + either
        });
    }

    fn write(&self, name: &str, first: u64, documents: u64, word: impl Fn(u64, u64, u64) -> u64) {
        let by = TokenizedBy::of(&Tokenizer::from_dir(&self.path("tokenizer")).unwrap()).unwrap();
        let mut writer = Writer::create(&self.path(name), by).unwrap();
        for number in 0..documents {
            let length = 5 + (number * 13) % 60;
            let ids = (0..length).map(|i| FIRST_WORD + (word(number, i, length) % u64::from(WORDS)) as u32).collect();
            let sentences = (0..length as usize).step_by(9).collect();
            writer
                .add(&Document { number, ids, sentences, spans: Vec::new() }, (first << 32) + number, length)
                .unwrap();
        }
        writer.finish().unwrap();
    }

    /// A recipe of so many steps for a model of these fields.
    fn recipe(&self, output: &str, model: &str, steps: u64, more: &[&str]) -> Recipe {
        let path = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "output = '{}'\n[model]\nconfig = {{ {model} }}\ntokenizer = '{}'\n[corpus]\npacked = '{}'\n\
             validation = 0.15\njudged = 60\n[run]\nsteps = {steps}\n[optimizer]\nname = 'adamw'\nlr = 5e-3\n\
             [batch]\nsize = 8\nlength = 32\n[evaluate]\nevery = {steps}\n[log]\nevery = 1\nhtml = false\ntensorboard = false\n\
             [checkpoint]\nevery = 1000\n",
            path(output),
            path("tokenizer"),
            path("one"),
        );
        let more: Vec<String> = more.iter().map(|&one| one.to_owned()).collect();
        Recipe::parse(&text, "recipe", &more).unwrap()
    }

    /// Rows of a task: a word, and the one that is so many behind.
    fn rows(&self, name: &str, rows: u64, behind: u64) -> PathBuf {
        let row = |number: u64| {
            let (from, to) = (number % u64::from(WORDS), (number + behind) % u64::from(WORDS));
            json!({"from": format!("word{from}"), "to": format!("word{to}")}).to_string()
        };
        let path = self.path(name);
        fs::write(&path, (0..rows).map(row).collect::<Vec<_>>().join("\n")).unwrap();
        path
    }

    /// A mixture of two tasks beside the text: the next word, behind a token that is in no text, and one further on.
    fn mixture(&self, more: &str) -> String {
        let (near, far) = (self.rows("near.jsonl", 120, 1), self.rows("far.jsonl", 480, 9));
        format!(
            "objective={{name='mixture',{more}tasks=[\
             {{name='near',source='near: {{from}}',target='{{to}}',train='{near}',validation='{near}'}},\
             {{name='far',source='{{from}} {{from}}',target='word0 {{to}}',train='{far}',validation='{far}'}}]}}",
            near = near.display(),
            far = far.display(),
        )
    }

    fn sources(&self) -> Sources {
        Sources { tokenizer: Some(self.path("tokenizer")), ..Sources::default() }
    }

    fn run(&self, recipe: &Recipe) -> Outcome {
        pretrain(recipe, &self.sources(), false, &mut Until(0, 1)).unwrap()
    }

    fn fails(&self, recipe: &Recipe) -> String {
        pretrain(recipe, &self.sources(), false, &mut Until(0, 1)).unwrap_err().to_string()
    }
}

fn tokenizer(dir: &Path, words: u32) {
    fs::create_dir(dir).unwrap();
    let special = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"];
    let sentinels: Vec<String> = (0..SENTINELS).map(|i| format!("<extra_id_{i}>")).collect();
    let words = (0..words).map(|i| format!("word{i}"));
    let all = special.iter().map(|&token| token.to_owned()).chain(words).chain(sentinels.clone());
    let vocabulary: serde_json::Map<String, Value> = all.enumerate().map(|(id, token)| (token, json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    });
    fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let roles = json!({"cls_token": "<s>", "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
        "mask_token": "<mask>", "pad_token": "<pad>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"});
    fs::write(dir.join("tokenizer_config.json"), roles.to_string()).unwrap();
}

const BERT: &str = "model_type = 'bert', hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2, \
    intermediate_size = 64, max_position_embeddings = 64, initializer_range = 0.1, hidden_dropout_prob = 0.0, \
    attention_probs_dropout_prob = 0.0";
const ROBERTA: &str = "model_type = 'roberta', hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2, \
    intermediate_size = 64, max_position_embeddings = 64, initializer_range = 0.1, hidden_dropout_prob = 0.05, \
    type_vocab_size = 1, attention_probs_dropout_prob = 0.05";
const DISTILBERT: &str = "model_type = 'distilbert', dim = 32, n_layers = 2, n_heads = 2, hidden_dim = 64, \
    max_position_embeddings = 64, initializer_range = 0.1, dropout = 0.0, attention_dropout = 0.0";
const ERNIE: &str = "model_type = 'ernie', hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2, \
    intermediate_size = 64, max_position_embeddings = 64, initializer_range = 0.1, hidden_dropout_prob = 0.0, \
    attention_probs_dropout_prob = 0.0";
const KNOWLEDGE: &str = "objective={name='knowledge_masking',phrases=['word1 word3 word5','word8 word10'],\
    entities=['word2 word4','word16']}";
const GPT2: &str = "model_type = 'gpt2', n_embd = 32, n_layer = 1, n_head = 2, n_positions = 64, initializer_range = 0.1, \
    embd_pdrop = 0.05, resid_pdrop = 0.05, attn_pdrop = 0.05";
const BART: &str = "model_type = 'bart', d_model = 32, encoder_layers = 1, decoder_layers = 1, encoder_attention_heads = 2, \
    decoder_attention_heads = 2, encoder_ffn_dim = 64, decoder_ffn_dim = 64, max_position_embeddings = 64, init_std = 0.1, \
    dropout = 0.0";
const T5: &str = "model_type = 't5', d_model = 32, d_kv = 16, num_layers = 1, num_heads = 2, d_ff = 64, \
    relative_attention_num_buckets = 8, dropout_rate = 0.0";
const ELECTRA: &str = "model_type = 'electra', embedding_size = 32, hidden_size = 64, num_hidden_layers = 2, \
    num_attention_heads = 4, intermediate_size = 128, max_position_embeddings = 64, initializer_range = 0.1, \
    hidden_dropout_prob = 0.05, attention_probs_dropout_prob = 0.05";
const XLNET: &str = "model_type = 'xlnet', d_model = 32, n_layer = 2, n_head = 2, d_inner = 64, initializer_range = 0.1, \
    dropout = 0.0";

/// ERNIE 2.0: a task more in each of four stages.
const CONTINUAL: &str = "objective={name='continual',tasks=[\
    {objective={name='knowledge_masking',phrases=['word1 word3']},steps=[6,3,2,4]},\
    {objective={name='sentence_reordering'},steps=[0,3,2,4]},\
    {objective={name='token_document'},steps=[0,0,2,4]},\
    {objective={name='sentence_distance'},steps=[0,0,0,4]}]}";

/// RoBERTa's SENTENCE-PAIR.
const SENTENCES: &str = "objective={name='next_sentence',unit='sentences'}";

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
    let variants = [("bert_style", T5), ("mass_style", T5), ("deshuffling", T5), ("iid_dropped", BART)];
    let mixture = place.mixture("");
    for (name, model) in families.into_iter().chain(own).chain(others).chain(formats).chain(variants) {
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

#[test]
fn tasks_that_cannot_be_read_are_named() {
    let place = Workplace::new();
    let task = |more: &str| {
        let rows = place.rows("rows.jsonl", 30, 1).display().to_string();
        format!("objective={{name='mixture',tasks=[{{name='a',source='{{from}}',train='{rows}',{more}}}]}}")
    };
    fs::write(place.path("bad.jsonl"), "{\"from\": \"word1\"}\nword2\n").unwrap();
    let bad = format!("target='{{from}}',validation='{}'", place.path("bad.jsonl").display());
    for (model, set, said) in [
        (T5, task("target='{to}',validation='nowhere.jsonl'"), &["nowhere.jsonl"][..]),
        (T5, task("target='{other}'"), &["rows.jsonl, line 1", "task a", "\"other\"", "from, to"]),
        (T5, task(&bad), &["bad.jsonl", "line 2"]),
        (T5, task("target='{to}',max_target=1"), &["objective.tasks.max_target"]),
        (BERT, task("target='{to}'"), &["bert models learn by"]),
        (T5, "objective={name='mixture',tasks=[]}".into(), &["objective.tasks"]),
        (T5, task("target='{to}'").replace("tasks=", "text={name='masked_lm'},tasks="), &["t5 models learn by"]),
        (
            T5,
            task("target='{to}'").replace("tasks=", "rates={name='temperature',temperature=0.01},tasks="),
            &["objective.rates", "task a"],
        ),
    ] {
        let error = place.fails(&place.recipe("none", model, 5, &[&set]));
        assert!(said.iter().all(|said| error.contains(said)), "{set}: {error}");
        fs::remove_dir_all(place.path("none")).unwrap_or_default();
    }
    let recipe = place.recipe("none", T5, 5, &[&task("target='{to}'"), "evaluate.metric=a_loss"]);
    assert!(place.fails(&recipe).contains("evaluate.metric"), "a task without held-out rows is not judged");
}

/// Without another document no second segment is from elsewhere, and without a second sentence none follows.
#[test]
fn classes_that_would_not_come_are_named() {
    let place = Workplace::new();
    let held_out = Part::Validation(Split::new(0.2, 0).unwrap());
    let write = |name: &str, hash: fn(u64) -> u64, sentences: &[usize]| {
        let by = TokenizedBy::of(&Tokenizer::from_dir(&place.path("tokenizer")).unwrap()).unwrap();
        let mut writer = Writer::create(&place.path(name), by).unwrap();
        for number in 0..40 {
            // of the last corpus those that are learnt from have several windows
            let length = if name == "longer" && !held_out.holds(hash(number)) { 60 } else { 25 };
            let ids = (0..length).map(|i| FIRST_WORD + ((number + i) % u64::from(WORDS)) as u32).collect();
            let document = Document { number, ids, sentences: sentences.to_vec(), spans: Vec::new() };
            writer.add(&document, hash(number), 1).unwrap();
        }
        writer.finish().unwrap();
        format!("corpus={{packed='{}',validation=0.2}}", place.path(name).display())
    };
    let alike = write("alike", |_| 7, &[0, 10, 20]).replace("0.2", "0.0");
    let single = write("single", |number| number, &[0]);
    let several = write("several", |number| number, &[0, 15]);
    let longer = write("longer", |number| number, &[0, 15]);
    let path = |name: &str| place.path(name).display().to_string();
    let continual = |task: &str| {
        format!(
            "objective={{name='continual',tasks=[{{objective={{name='knowledge_masking'}},steps=[2]}},\
             {{objective={{name='{task}'}},steps=[2]}}]}}"
        )
    };
    let distance = continual("sentence_distance");
    let document = continual("token_document");
    let model = format!("{ERNIE}, type_vocab_size = 4");
    for (model, objective, packed, said) in [
        (BERT, "objective.name=next_sentence", &alike, "no two different documents"),
        (BERT, SENTENCES, &single, "fewer than 2 sentences"),
        (&model, &distance, &several, "fewer than 3 sentences"),
        (&model, &document, &longer, "nothing to judge token_document by"),
        (&model, &document, &several, "nothing to learn token_document from"),
    ] {
        let error = place.fails(&place.recipe("none", model, 2, &[objective, packed]));
        assert!(error.starts_with("corpus.") && error.contains(said), "{objective}: {error}");
    }
    // of several corpora one is enough, unless sequences are to come again
    let both = format!("corpus={{packed=['{}','{}'],validation=0.2}}", path("single"), path("several"));
    place.run(&place.recipe("both", BERT, 2, &[SENTENCES, &both]));
    let again = "objective={name='masked_lm',format='full_sentences',patterns=2}";
    assert!(place.fails(&place.recipe("none", BERT, 2, &[again, &both])).starts_with("objective.patterns"));
    place.run(&place.recipe("again", BERT, 2, &[again, &several]));
    for (name, objective, packed) in [
        ("all-follow", "objective={name='next_sentence',negatives=0.0}", &alike),
        ("none-elsewhere", "objective={name='next_sentence',negatives=0.0}", &several),
        ("order", "objective.name=sentence_order", &single),
        ("two", SENTENCES, &several),
    ] {
        place.run(&place.recipe(name, BERT, 2, &[objective, packed]));
    }
    let mut epochs = place.recipe("none", &model, 2, &[&continual("sentence_reordering"), "run.epochs=2.0"]);
    epochs.run.steps = None;
    assert!(place.fails(&epochs).starts_with("run.epochs"));
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

/// Micro-batches by tokens have room for the longest row of a task too.
#[test]
fn rows_fit_a_micro_batch() {
    let place = Workplace::new();
    let rows = place.path("long.jsonl");
    let row = json!({"from": vec!["word1"; 90].join(" "), "to": "word2"}).to_string();
    fs::write(&rows, row).unwrap();
    let mixture = format!(
        "objective={{name='mixture',text_share=0.5,tasks=[{{name='long',source='{{from}}',target='{{to}}',train='{}'}}]}}",
        rows.display()
    );
    let recipe = |tokens: usize| {
        place.recipe("rows", T5, 4, &[&mixture, &format!("batch={{tokens={tokens},length=20,accumulate=2}}")])
    };
    let error = place.fails(&recipe(90));
    assert!(error.starts_with("batch.tokens") && error.contains("91"), "{error}");
    place.run(&recipe(91));
}

#[test]
fn what_does_not_fit_is_said() {
    let place = Workplace::new();
    let recipe = |model: &str, more: &[&str]| place.recipe("none", model, 5, more);
    for (model, set, said) in [
        (GPT2, "batch.length=65", "batch.length"),
        (GPT2, "objective.name=span_corruption", "gpt2 models learn by causal_lm"),
        (T5, "objective.name=causal_lm", "span_corruption"),
        (XLNET, "objective.name=denoising", "permutation_lm"),
        (BERT, "objective.name=causal_lm", "bert models learn by masked_lm"),
        (BERT, "objective.name=replaced_token_detection", "next_sentence, sentence_order, span_masking"),
        (ELECTRA, "objective.name=denoising", "sentence_order, replaced_token_detection"),
        (ELECTRA, "objective={name='replaced_token_detection',generator=0.0}", "generator"),
        (BART, "objective.name=next_sentence", "bart models learn by denoising"),
        (DISTILBERT, "objective.name=next_sentence", "distilbert"),
        (ROBERTA, "objective.name=span_masking", "roberta models learn by masked_lm"),
        (BERT, "objective={name='span_masking',longest=0}", "objective.longest"),
        (ROBERTA, "batch.length=64", "batch.length"),
        (ERNIE, "objective.name=knowledge_masking", "objective.phrases"),
        (ERNIE, "objective={name='knowledge_masking',phrases='no.txt'}", "no.txt"),
        (
            ERNIE,
            "objective={name='knowledge_masking',phrases=['word1'],stages=[{hide='entities'}]}",
            "objective.stages",
        ),
        (ERNIE, "objective={name='knowledge_masking',spans=['entity']}", "objective.spans"),
        (ERNIE, CONTINUAL, "model.config.type_vocab_size"),
        (BERT, CONTINUAL, "bert models learn by"),
        (ERNIE, "objective={name='continual',tasks=[]}", "objective.tasks"),
        (ERNIE, "objective={name='continual',tasks=[{objective={name='sentence_distance'},steps=[1]}]}", "the first"),
        (ERNIE, "objective={name='continual',tasks=[{objective={name='masked_lm'},steps=[1]}]}", "tasks are"),
        (ERNIE, "objective={name='continual',tasks=[{objective={name='capitalization'},steps=[1]}]}", "no capitals"),
        (ERNIE, "objective.name=sentence_distance", "ernie models learn by"),
        (T5, "objective.name=knowledge_masking", "t5 models learn by"),
        (GPT2, "model.config.vocab_size=30", "model.tokenizer"),
        (GPT2, "model.config.model_type=gpt5", "gpt5"),
        (GPT2, "batch={tokens=16,length=32}", "batch.tokens"),
        (GPT2, "corpus.packed=nowhere", "nowhere"),
        (GPT2, "corpus.validation=0.0001", "validation"),
        (GPT2, "evaluate.metric=bleu", "evaluate.metric"),
        (T5, "batch={tokens=32,length=32}", "batch.tokens"),
        (XLNET, "batch.length=5000", "batch.length: 5000 tokens are more than the 4096"),
        (BART, "objective={name='denoising',noises=[{text_infilling={mean_span=0.1}}]}", "mean span"),
    ] {
        let error = place.fails(&recipe(model, &[set]));
        assert!(error.contains(said), "{set}: {error}");
        fs::remove_dir_all(place.path("none")).unwrap_or_default();
    }
    tokenizer(&place.path("other"), WORDS + 1);
    let sources = Sources { tokenizer: Some(place.path("other")), ..Sources::default() };
    let error = pretrain(&recipe(GPT2, &[]), &sources, false, &mut Until(0, 1)).unwrap_err().to_string();
    assert!(error.contains("packed with another tokenizer"), "{error}");
    assert!(Corpus::open(&place.path("one")).unwrap().len() == 160);
    // a token has become another: nothing about the shard's form is wrong
    let shard = place.path("one").join("shard-00000.bin");
    let mut bytes = fs::read(&shard).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&shard, bytes).unwrap();
    assert!(place.fails(&recipe(GPT2, &[])).contains("its checksum is not the one in corpus.json"));
}
