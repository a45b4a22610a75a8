//! What the runs need: a tokenizer of words, corpora in which each word says what follows, recipes of small models.

use std::fs;
use std::path::{Path, PathBuf};

use ptm_text::Tokenizer;
use ptm_text::corpus::{Document, TokenizedBy, Writer};
use ptm_train::objective::Judgement;
use ptm_train::pretrain::{Recipe, Sources, pretrain};
use ptm_train::training::{Outcome, Progress, Watch};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Ids: five special ones, words, sentinels.
pub const FIRST_WORD: u32 = 5;
pub const WORDS: u32 = 24;
pub const SENTINELS: u32 = 20;

/// Looks on, and stops after a step.
pub struct Until(pub u64, pub u64);

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
pub struct Workplace(TempDir);

impl Workplace {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        tokenizer(&dir.path().join("tokenizer"), WORDS);
        let this = Self(dir);
        this.corpus("one", 160, 0);
        this.corpus("two", 60, 7);
        this
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Documents in which each word is followed by the next but one, and every tenth time by another.
    pub fn corpus(&self, name: &str, documents: u64, first: u64) {
        self.write(name, first, documents, |number, i, _| first + number * 5 + 2 * i + i / 10);
    }

    /// Documents of four words each, two of them in the first half and two in the second.
    pub fn topics(&self, name: &str) {
        self.write(name, 0, 300, |number, i, length| {
            let either = (number * 2_654_435_761 + i * 40_503) >> 7 & 1;
            4 * (number % 6) + 2 * (2 * i / length) + either
        });
    }

    pub fn write(&self, name: &str, first: u64, documents: u64, word: impl Fn(u64, u64, u64) -> u64) {
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
    pub fn recipe(&self, output: &str, model: &str, steps: u64, more: &[&str]) -> Recipe {
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
    pub fn rows(&self, name: &str, rows: u64, behind: u64) -> PathBuf {
        let row = |number: u64| {
            let (from, to) = (number % u64::from(WORDS), (number + behind) % u64::from(WORDS));
            json!({"from": format!("word{from}"), "to": format!("word{to}")}).to_string()
        };
        let path = self.path(name);
        fs::write(&path, (0..rows).map(row).collect::<Vec<_>>().join("\n")).unwrap();
        path
    }

    /// A mixture of two tasks beside the text: the next word, behind a token that is in no text, and one further on.
    pub fn mixture(&self, more: &str) -> String {
        let (near, far) = (self.rows("near.jsonl", 120, 1), self.rows("far.jsonl", 480, 9));
        format!(
            "objective={{name='mixture',{more}tasks=[\
             {{name='near',source='near: {{from}}',target='{{to}}',train='{near}',validation='{near}'}},\
             {{name='far',source='{{from}} {{from}}',target='word0 {{to}}',train='{far}',validation='{far}'}}]}}",
            near = near.display(),
            far = far.display(),
        )
    }

    pub fn sources(&self) -> Sources {
        Sources { tokenizer: Some(self.path("tokenizer")), ..Sources::default() }
    }

    pub fn run(&self, recipe: &Recipe) -> Outcome {
        pretrain(recipe, &self.sources(), false, &mut Until(0, 1)).unwrap()
    }

    pub fn fails(&self, recipe: &Recipe) -> String {
        pretrain(recipe, &self.sources(), false, &mut Until(0, 1)).unwrap_err().to_string()
    }
}

pub fn tokenizer(dir: &Path, words: u32) {
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

pub const BERT: &str = "model_type = 'bert', hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2, \
    intermediate_size = 64, max_position_embeddings = 64, initializer_range = 0.1, hidden_dropout_prob = 0.0, \
    attention_probs_dropout_prob = 0.0";
pub const ROBERTA: &str = "model_type = 'roberta', hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2, \
    intermediate_size = 64, max_position_embeddings = 64, initializer_range = 0.1, hidden_dropout_prob = 0.05, \
    type_vocab_size = 1, attention_probs_dropout_prob = 0.05";
pub const DISTILBERT: &str = "model_type = 'distilbert', dim = 32, n_layers = 2, n_heads = 2, hidden_dim = 64, \
    max_position_embeddings = 64, initializer_range = 0.1, dropout = 0.0, attention_dropout = 0.0";
pub const ERNIE: &str = "model_type = 'ernie', hidden_size = 32, num_hidden_layers = 2, num_attention_heads = 2, \
    intermediate_size = 64, max_position_embeddings = 64, initializer_range = 0.1, hidden_dropout_prob = 0.0, \
    attention_probs_dropout_prob = 0.0";
pub const KNOWLEDGE: &str = "objective={name='knowledge_masking',phrases=['word1 word3 word5','word8 word10'],\
    entities=['word2 word4','word16']}";
pub const GPT2: &str = "model_type = 'gpt2', n_embd = 32, n_layer = 1, n_head = 2, n_positions = 64, initializer_range = 0.1, \
    embd_pdrop = 0.05, resid_pdrop = 0.05, attn_pdrop = 0.05";
pub const BART: &str = "model_type = 'bart', d_model = 32, encoder_layers = 1, decoder_layers = 1, encoder_attention_heads = 2, \
    decoder_attention_heads = 2, encoder_ffn_dim = 64, decoder_ffn_dim = 64, max_position_embeddings = 64, init_std = 0.1, \
    dropout = 0.0";
pub const T5: &str = "model_type = 't5', d_model = 32, d_kv = 16, num_layers = 1, num_heads = 2, d_ff = 64, \
    relative_attention_num_buckets = 8, dropout_rate = 0.0";
pub const ELECTRA: &str = "model_type = 'electra', embedding_size = 32, hidden_size = 64, num_hidden_layers = 2, \
    num_attention_heads = 4, intermediate_size = 128, max_position_embeddings = 64, initializer_range = 0.1, \
    hidden_dropout_prob = 0.05, attention_probs_dropout_prob = 0.05";
pub const XLNET: &str = "model_type = 'xlnet', d_model = 32, n_layer = 2, n_head = 2, d_inner = 64, initializer_range = 0.1, \
    dropout = 0.0";

/// ERNIE 2.0: a task more in each of four stages.
pub const CONTINUAL: &str = "objective={name='continual',tasks=[\
    {objective={name='knowledge_masking',phrases=['word1 word3']},steps=[6,3,2,4]},\
    {objective={name='sentence_reordering'},steps=[0,3,2,4]},\
    {objective={name='token_document'},steps=[0,0,2,4]},\
    {objective={name='sentence_distance'},steps=[0,0,0,4]}]}";

/// RoBERTa's SENTENCE-PAIR.
pub const SENTENCES: &str = "objective={name='next_sentence',unit='sentences'}";
