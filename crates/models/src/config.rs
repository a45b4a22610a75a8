//! `config.json` of the families as published, in old and new spellings, read into one configuration a kind of body;
//! that of the encoders is here.
//! Fields that change nothing here (task parameters, versions) are kept and written back as they were.

mod bart;
mod family;
mod fields;
mod gpt;
mod shared;
mod t5;
mod write;
mod xlnet;

use std::path::Path;

use ptm_ops::Activation;
use serde_json::{Map, Value};

pub use self::bart::{BartConfig, StackSize};
pub use self::family::{Family, Kind};
pub(crate) use self::fields::field;
use self::fields::{Fields, INNER, LAYERS, ROWS, WIDTH};
pub use self::gpt::{DecoderConfig, ResidualInit};
pub(crate) use self::shared::classes_of;
pub use self::shared::{ClassifierStyle, Configuration};
use self::shared::{activation, architectures, labels, parse, problem_type, read_file};
pub use self::t5::T5Config;
pub use self::xlnet::{Summary, XlnetConfig};
use crate::error::Result;

/// How a classifier's labels are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemType {
    /// One number or more, squared error.
    Regression,
    /// One of the labels, softmax.
    SingleLabel,
    /// Any of the labels, a sigmoid each.
    MultiLabel,
}

impl ProblemType {
    fn name(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::SingleLabel => "single_label_classification",
            Self::MultiLabel => "multi_label_classification",
        }
    }
}

/// Everything about an encoder that its weights don't say.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// The family, `model_type`.
    pub family: Family,
    /// Rows of the word embedding, `V`.
    pub vocab_size: usize,
    /// Width of the hidden states, `H`.
    pub hidden_size: usize,
    /// Width of the embeddings, `E`; differs from `H` in ELECTRA alone.
    pub embedding_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads, `A`; `H` is a multiple of it.
    pub heads: usize,
    /// Width of the feed-forward layer, `F`.
    pub intermediate_size: usize,
    /// The feed-forward layer's activation.
    pub activation: Activation,
    /// Dropout after embeddings, attention output (not in DistilBERT) and feed-forward.
    pub hidden_dropout: f32,
    /// Dropout of attention probabilities.
    pub attention_dropout: f32,
    /// Dropout before a classifier.
    pub classifier_dropout: f32,
    /// Dropout before the scores of multiple choice.
    pub choice_dropout: f32,
    /// Dropout before the start and end of answers; DistilBERT alone has one.
    pub span_dropout: f32,
    /// Rows of the position embedding.
    pub max_positions: usize,
    /// Rows of the segment embedding; 0 where there is none (DistilBERT).
    pub segments: usize,
    /// Rows of ERNIE's task embedding; 0 where there is none.
    pub tasks: usize,
    /// Added to variances in LayerNorm.
    pub norm_eps: f32,
    /// Standard deviation of new weights.
    pub initializer_range: f32,
    /// The padding token's id; RoBERTa counts positions from the one after it.
    pub pad_token_id: u32,
    /// Whether the output embedding of masked language models is the word embedding.
    pub tied: bool,
    /// Names of the labels, in order.
    pub labels: Vec<String>,
    /// How labels are to be read, where the file says so.
    pub problem_type: Option<ProblemType>,
    /// The classes that saved it, `architectures`.
    pub architectures: Vec<String>,
    /// The file as it was read; fields that ptm doesn't use survive in it.
    pub raw: Map<String, Value>,
}

impl EncoderConfig {
    /// Reads `config.json` of the directory `dir`.
    ///
    /// # Errors
    /// When the file can't be read, isn't JSON, is of a family that ptm doesn't know, or holds impossible values.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        read_file(dir, Self::from_json)
    }

    /// Reads the bytes of a `config.json`.
    ///
    /// # Errors
    /// As [`Self::from_dir`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_json(parse(bytes)?)
    }

    /// Reads a parsed `config.json`.
    ///
    /// # Errors
    /// As [`Self::from_dir`].
    pub fn from_json(raw: Map<String, Value>) -> Result<Self> {
        let family = Family::of_kind(Kind::Encoder, &raw)?;
        let fields = Fields(&raw);
        for name in ["is_decoder", "add_cross_attention", "is_encoder_decoder"] {
            if fields.flag(name, false)? {
                return Err(field(name, format!("{} is supported as an encoder only", family.model_type())));
            }
        }
        if let Some((name, kind)) = fields.text(&["position_embedding_type"])?
            && kind != "absolute"
        {
            return Err(field(name, format!("{kind:?} is not supported; only \"absolute\" is")));
        }
        if fields.get(&["pruned_heads"]).is_some_and(|(_, heads)| heads.as_object().is_none_or(|map| !map.is_empty())) {
            return Err(field("pruned_heads", "models with pruned heads are not supported"));
        }
        let distil = family == Family::DistilBert;
        let hidden_size =
            fields.positive(&["hidden_size", "dim"], if family == Family::Electra { 256 } else { 768 }, WIDTH)?;
        let heads = fields.positive(
            &["num_attention_heads", "n_heads"],
            if family == Family::Electra { 4 } else { 12 },
            WIDTH,
        )?;
        if hidden_size % heads != 0 {
            let problem = format!("should be a multiple of the {heads} attention heads, not {hidden_size}");
            return Err(field("hidden_size", problem));
        }
        let embedding_size = match family {
            Family::Electra => fields.positive(&["embedding_size"], 128, WIDTH)?,
            _ => hidden_size,
        };
        let hidden_dropout = fields.rate(&["hidden_dropout_prob", "dropout"], 0.1)?;
        let classifier_dropout = match family {
            Family::DistilBert => fields.rate(&["seq_classif_dropout"], 0.2)?,
            _ => fields.rate(&["classifier_dropout"], hidden_dropout)?,
        };
        let tasks = if family == Family::Ernie && fields.flag("use_task_id", false)? {
            fields.positive(&["task_type_vocab_size"], 3, ROWS)?
        } else {
            0
        };
        let choice_dropout = match family {
            Family::Roberta | Family::XlmRoberta => hidden_dropout,
            Family::Electra => fields.rate(&["summary_last_dropout"], 0.1)?,
            _ => classifier_dropout,
        };
        let max_positions = fields.positive(&["max_position_embeddings"], 512, ROWS)?;
        let pad_token_id = fields.size(&["pad_token_id"], usize::from(family.is_roberta()), ROWS)?;
        if family.is_roberta() && max_positions <= pad_token_id + 1 {
            let problem = format!("{max_positions} leaves no position after that of padding, {pad_token_id}");
            return Err(field("max_position_embeddings", problem));
        }
        let inner = if family == Family::Electra { 1024 } else { 3072 };
        let config = Self {
            family,
            vocab_size: fields.positive(
                &["vocab_size"],
                if family == Family::Roberta { 50265 } else { 30522 },
                ROWS,
            )?,
            hidden_size,
            embedding_size,
            layers: fields.size(&["num_hidden_layers", "n_layers"], if distil { 6 } else { 12 }, LAYERS)?,
            heads,
            intermediate_size: fields.positive(&["intermediate_size", "hidden_dim"], inner, INNER)?,
            activation: activation(&fields, &["hidden_act", "activation"], Activation::Gelu)?,
            hidden_dropout,
            attention_dropout: fields.rate(&["attention_probs_dropout_prob", "attention_dropout"], 0.1)?,
            classifier_dropout,
            choice_dropout,
            span_dropout: if distil { fields.rate(&["qa_dropout"], 0.1)? } else { 0.0 },
            max_positions,
            segments: if distil { 0 } else { fields.positive(&["type_vocab_size"], 2, ROWS)? },
            tasks,
            norm_eps: if distil { 1e-12 } else { fields.number(&["layer_norm_eps"], 1e-12)? },
            initializer_range: fields.number(&["initializer_range"], 0.02)?,
            pad_token_id: pad_token_id as u32,
            tied: fields.flag("tie_word_embeddings", true)?,
            labels: labels(&fields, 2)?,
            problem_type: problem_type(&fields)?,
            architectures: architectures(&raw),
            raw: Map::new(),
        };
        Ok(Self { raw, ..config })
    }

    /// How position ids run: from 0, or after the padding id in RoBERTa.
    pub fn positions(&self) -> ptm_text::PositionStyle {
        if self.family.is_roberta() {
            ptm_text::PositionStyle::AfterPadding { pad_id: self.pad_token_id }
        } else {
            ptm_text::PositionStyle::Zero
        }
    }

    /// How many tokens a sequence may have.
    pub fn max_length(&self) -> usize {
        match self.positions() {
            ptm_text::PositionStyle::AfterPadding { pad_id } => self.max_positions.saturating_sub(pad_id as usize + 1),
            _ => self.max_positions,
        }
    }

    /// Dropout after the attention's output layer: DistilBERT has none.
    pub fn attention_output_dropout(&self) -> f32 {
        if self.family == Family::DistilBert { 0.0 } else { self.hidden_dropout }
    }

    /// Parameters of the encoder, without heads.
    pub fn parameters(&self) -> u64 {
        let [width, hidden, inner] = [self.embedding_size, self.hidden_size, self.intermediate_size].map(|n| n as u64);
        let rows = (self.vocab_size + self.max_positions + self.segments + self.tasks) as u64;
        let project = if width == hidden { 0 } else { (width + 1) * hidden };
        let layer = 4 * (hidden + 1) * hidden + 2 * hidden * inner + inner + 5 * hidden;
        (rows + 2) * width + project + layer * self.layers as u64
    }

    /// Width of one attention head, `D`.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.heads
    }
}

impl Configuration for EncoderConfig {
    const KIND: Kind = Kind::Encoder;

    fn from_json(raw: Map<String, Value>) -> Result<Self> {
        Self::from_json(raw)
    }

    fn to_json(&self, architecture: &str) -> Map<String, Value> {
        self.to_json(architecture)
    }

    fn family(&self) -> Family {
        self.family
    }

    fn positions(&self) -> ptm_text::PositionStyle {
        self.positions()
    }

    fn output_size(&self) -> usize {
        self.vocab_size
    }

    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn tied(&self) -> bool {
        self.tied
    }

    fn parameters(&self) -> u64 {
        self.parameters()
    }

    fn deviation(&self, _: &str) -> f32 {
        self.initializer_range
    }

    fn zero_row(&self) -> Option<u32> {
        Some(self.pad_token_id)
    }

    /// BERT's dense layer is its pooler, DistilBERT's a `pre_classifier`; RoBERTa and ELECTRA also drop out before it.
    fn classifier(&self) -> ClassifierStyle {
        let (activation, dropout_first) = match self.family {
            Family::Roberta | Family::XlmRoberta => (Activation::Tanh, true),
            Family::DistilBert => (Activation::Relu, false),
            Family::Electra => (Activation::Gelu, true),
            _ => (Activation::Tanh, false),
        };
        ClassifierStyle { dense: true, activation, dropout: self.classifier_dropout, dropout_first, bias: true }
    }

    /// DistilBERT's token classifier has the body's dropout, not that of its sequence classifier.
    fn token_dropout(&self) -> f32 {
        if self.family == Family::DistilBert { self.hidden_dropout } else { self.classifier_dropout }
    }

    fn span_dropout(&self) -> f32 {
        self.span_dropout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<EncoderConfig> {
        EncoderConfig::from_bytes(text.as_bytes())
    }

    #[test]
    fn old_and_new_spellings_are_one() {
        let old =
            read(r#"{"architectures":["DistilBertForMaskedLM"],"dim":32,"n_heads":4,"n_layers":3,"hidden_dim":64}"#);
        let new = read(
            r#"{"model_type":"distilbert","hidden_size":32,"num_attention_heads":4,"num_hidden_layers":3,"intermediate_size":64}"#,
        );
        let (old, new) = (old.unwrap(), new.unwrap());
        assert_eq!((old.hidden_size, old.heads, old.layers, old.intermediate_size), (32, 4, 3, 64));
        assert_eq!((new.hidden_size, new.heads, new.layers, new.intermediate_size), (32, 4, 3, 64));
        assert_eq!((old.segments, new.classifier_dropout), (0, 0.2));
    }

    #[test]
    fn labels_come_in_order_of_their_ids() {
        let config = read(r#"{"model_type":"bert","id2label":{"1":"B","0":"A","2":3}}"#).unwrap();
        assert_eq!(config.labels, ["A", "B", "3"]);
        assert_eq!(read(r#"{"model_type":"bert","num_labels":3}"#).unwrap().labels[2], "LABEL_2");
    }

    #[test]
    fn bad_values_name_their_field() {
        for (text, part) in [
            ("{}", "model_type"),
            (r#"{"model_type":"llama"}"#, "llama"),
            (r#"{"model_type":7}"#, "model_type"),
            (r#"{"model_type":"bert","hidden_size":-1}"#, "hidden_size"),
            (r#"{"model_type":"bert","hidden_size":99999999999999}"#, "hidden_size"),
            (r#"{"model_type":"bert","num_attention_heads":0}"#, "num_attention_heads"),
            (r#"{"model_type":"bert","num_attention_heads":5}"#, "multiple of the 5"),
            (r#"{"model_type":"bert","hidden_act":"mish"}"#, "mish"),
            (r#"{"model_type":"bert","hidden_dropout_prob":1.5}"#, "hidden_dropout_prob"),
            (r#"{"model_type":"bert","position_embedding_type":"relative_key"}"#, "relative_key"),
            (r#"{"model_type":"bert","is_decoder":true}"#, "is_decoder"),
            (r#"{"model_type":"bert","id2label":{"7":"x"}}"#, "id2label"),
            ("[1]", "not a valid configuration"),
            ("{\"model_type\":", "not a valid configuration"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn every_place_has_the_dropout_of_its_family() {
        let rates = |family: &str| {
            let text = format!(
                r#"{{"model_type":"{family}","hidden_dropout_prob":0.3,"classifier_dropout":0.4,"seq_classif_dropout":0.5,
                    "summary_last_dropout":0.6,"qa_dropout":0.7}}"#
            );
            let config = read(&text).unwrap();
            [config.attention_output_dropout(), config.classifier_dropout, config.choice_dropout, config.span_dropout]
        };
        assert_eq!(rates("bert"), [0.3, 0.4, 0.4, 0.0]);
        assert_eq!(rates("ernie"), [0.3, 0.4, 0.4, 0.0]);
        assert_eq!(rates("roberta"), [0.3, 0.4, 0.3, 0.0]);
        assert_eq!(rates("electra"), [0.3, 0.4, 0.6, 0.0]);
        assert_eq!(rates("distilbert"), [0.0, 0.5, 0.5, 0.7]);
        assert_eq!(read(r#"{"model_type":"bert"}"#).unwrap().classifier_dropout, 0.1);
    }

    #[test]
    fn roberta_counts_positions_after_padding() {
        let config = read(r#"{"model_type":"roberta","max_position_embeddings":514}"#).unwrap();
        assert_eq!((config.pad_token_id, config.max_length()), (1, 512));
    }
}
