//! The configuration of XLNet.

use std::path::Path;

use ptm_ops::Activation;
use serde_json::{Map, Value};

use super::fields::{Fields, INNER, LAYERS, ROWS, WIDTH, field};
use super::shared::{activation, architectures, labels, problem_type};
use super::write::{begun, put_activation, put_labels, put_number, put_size};
use super::{ClassifierStyle, Configuration, Family, Kind, ProblemType};
use crate::error::Result;

/// Which hidden state stands for a sequence in classification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// The last, where XLNet's `<cls>` stands.
    Last,
    /// The first.
    First,
    /// The mean of all.
    Mean,
}

/// Everything about an XLNet that its weights don't say.
#[derive(Clone, Debug)]
pub struct XlnetConfig {
    /// The family, `model_type`.
    pub family: Family,
    /// Rows of the word embedding, `V`.
    pub vocab_size: usize,
    /// Width of the hidden states, `H`.
    pub hidden_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads, `A`; `H` is a multiple of it.
    pub heads: usize,
    /// Width of the feed-forward layer, `F`.
    pub intermediate_size: usize,
    /// The feed-forward layer's activation.
    pub activation: Activation,
    /// Dropout, the same everywhere in the body.
    pub dropout: f32,
    /// Dropout between a classifier's dense layer and its labels.
    pub summary_dropout: f32,
    /// Which hidden state a classifier reads.
    pub summary: Summary,
    /// Whether a classifier has a dense layer before its labels.
    pub summary_dense: bool,
    /// The activation of that layer; without it, of the hidden state itself.
    pub summary_activation: Activation,
    /// Whether a row sees nothing after it, whatever the order (`attn_type` `uni`).
    pub causal: bool,
    /// Whether all rows see equally far back into the memory.
    pub same_length: bool,
    /// Whether the second half of a batch reads its text backwards, as in pretraining.
    pub backward_half: bool,
    /// Distances beyond it count as it; 0 for none.
    pub clamp_length: usize,
    /// How many hidden states the memory keeps, all if 0.
    pub memory_length: usize,
    /// How many of a segment's first hidden states go into the memory, all if 0.
    pub reuse_length: usize,
    /// Added to variances in LayerNorm.
    pub norm_eps: f32,
    /// Standard deviation of new weights.
    pub initializer_range: f32,
    /// Whether the output embedding is the word embedding.
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

fn summary(fields: &Fields<'_>) -> Result<Summary> {
    let Some((name, text)) = fields.text(&["summary_type"])? else { return Ok(Summary::Last) };
    match text {
        // nobody says where else the class token stands
        "last" | "cls_index" => Ok(Summary::Last),
        "first" => Ok(Summary::First),
        "mean" => Ok(Summary::Mean),
        other => Err(field(name, format!("{other:?} is not a summary that ptm has: last, first, mean, cls_index"))),
    }
}

impl XlnetConfig {
    /// Width of one attention head, `D`.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.heads
    }

    fn read(raw: Map<String, Value>) -> Result<Self> {
        let family = Family::of_kind(Kind::Xlnet, &raw)?;
        let fields = Fields(&raw);
        let hidden_size = fields.positive(&["d_model", "hidden_size"], 1024, WIDTH)?;
        let heads = fields.positive(&["n_head", "num_attention_heads"], 16, WIDTH)?;
        if hidden_size % heads != 0 || !hidden_size.is_multiple_of(2) {
            let problem = format!("should be even and a multiple of the {heads} attention heads, not {hidden_size}");
            return Err(field("d_model", problem));
        }
        let head_size = fields.size(&["d_head"], hidden_size / heads, WIDTH)?;
        if head_size * heads != hidden_size {
            return Err(field("d_head", format!("should be {}, not {head_size}", hidden_size / heads)));
        }
        let causal = match fields.text(&["attn_type"])? {
            None | Some((_, "bi")) => false,
            Some((_, "uni")) => true,
            Some((name, other)) => return Err(field(name, format!("{other:?} is unknown; there are bi and uni"))),
        };
        // -1 was written for "none"
        let length = |name: &'static str, default| match fields.get(&[name]) {
            Some((_, value)) if value.as_i64().is_some_and(|length| length < 0) => Ok(0),
            _ => fields.size(&[name], default, ROWS),
        };
        let summary_activation = match fields.get(&["summary_activation"]) {
            Some(_) => activation(&fields, &["summary_activation"], Activation::Tanh)?,
            None if raw.contains_key("summary_activation") => Activation::None,
            None => Activation::Tanh,
        };
        let config = Self {
            family,
            vocab_size: fields.positive(&["vocab_size"], 32000, ROWS)?,
            hidden_size,
            layers: fields.size(&["n_layer", "num_hidden_layers"], 24, LAYERS)?,
            heads,
            intermediate_size: fields.positive(&["d_inner"], 4096, INNER)?,
            activation: activation(&fields, &["ff_activation"], Activation::Gelu)?,
            dropout: fields.rate(&["dropout"], 0.1)?,
            summary_dropout: fields.rate(&["summary_last_dropout"], 0.1)?,
            summary: summary(&fields)?,
            summary_dense: fields.flag("summary_use_proj", true)?,
            summary_activation,
            causal,
            same_length: fields.flag("same_length", false)?,
            backward_half: fields.flag("bi_data", false)?,
            clamp_length: length("clamp_len", 0)?,
            // null is "all", which is not what files mean that don't say
            memory_length: if raw.get("mem_len").is_some_and(Value::is_null) { 0 } else { length("mem_len", 512)? },
            reuse_length: length("reuse_len", 0)?,
            norm_eps: fields.number(&["layer_norm_eps"], 1e-12)?,
            initializer_range: fields.number(&["initializer_range"], 0.02)?,
            tied: fields.flag("tie_word_embeddings", true)?,
            labels: labels(&fields, 2)?,
            problem_type: problem_type(&fields)?,
            architectures: architectures(&raw),
            raw: Map::new(),
        };
        Ok(Self { raw, ..config })
    }
}

impl Configuration for XlnetConfig {
    const KIND: Kind = Kind::Xlnet;

    fn from_json(raw: Map<String, Value>) -> Result<Self> {
        Self::read(raw)
    }

    fn to_json(&self, architecture: &str) -> Map<String, Value> {
        let mut json = begun(&self.raw, self.family, architecture, self.tied);
        put_size(&mut json, &["vocab_size"], self.vocab_size);
        put_size(&mut json, &["d_model", "hidden_size"], self.hidden_size);
        put_size(&mut json, &["n_layer", "num_hidden_layers"], self.layers);
        put_size(&mut json, &["n_head", "num_attention_heads"], self.heads);
        put_size(&mut json, &["d_head"], self.head_size());
        put_size(&mut json, &["d_inner"], self.intermediate_size);
        put_activation(&mut json, &["ff_activation"], self.activation);
        put_number(&mut json, &["dropout"], self.dropout);
        put_number(&mut json, &["summary_last_dropout"], self.summary_dropout);
        if summary(&Fields(&json)).ok() != Some(self.summary) {
            let name = match self.summary {
                Summary::Last => "last",
                Summary::First => "first",
                Summary::Mean => "mean",
            };
            json.insert("summary_type".into(), name.into());
        }
        json.insert("summary_use_proj".into(), self.summary_dense.into());
        if self.summary_activation == Activation::None {
            json.insert("summary_activation".into(), Value::Null);
        } else {
            put_activation(&mut json, &["summary_activation"], self.summary_activation);
        }
        json.insert("attn_type".into(), if self.causal { "uni" } else { "bi" }.into());
        json.insert("same_length".into(), self.same_length.into());
        json.insert("bi_data".into(), self.backward_half.into());
        for (name, length, none) in [
            ("clamp_len", self.clamp_length, Value::from(-1)),
            ("mem_len", self.memory_length, Value::from(0)),
            ("reuse_len", self.reuse_length, Value::Null),
        ] {
            json.insert(name.into(), if length > 0 { length.into() } else { none });
        }
        put_number(&mut json, &["layer_norm_eps"], self.norm_eps);
        put_number(&mut json, &["initializer_range"], self.initializer_range);
        put_labels(&mut json, &self.labels, self.problem_type);
        json
    }

    fn family(&self) -> Family {
        self.family
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
        let [hidden, inner] = [self.hidden_size, self.intermediate_size].map(|n| n as u64);
        let layer = 5 * hidden * hidden + 2 * hidden * inner + inner + 10 * hidden;
        (self.vocab_size as u64 + 1) * hidden + layer * self.layers as u64
    }

    fn deviation(&self, _: &str) -> f32 {
        self.initializer_range
    }

    /// In `transformers` such a model fails on an odd number of texts and gives nothing for one.
    fn check_answers(&self, dir: &Path) -> Result<()> {
        if !self.backward_half {
            return Ok(());
        }
        let problem = "the second half of every batch is read from its end, as in pretraining, so what is made of a text \
                       depends on the texts beside it: set it to false";
        Err(field("bi_data", problem).in_file(&dir.join("config.json")))
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle {
            dense: self.summary_dense,
            activation: self.summary_activation,
            dropout: self.summary_dropout,
            dropout_first: false,
            bias: true,
        }
    }

    fn token_dropout(&self) -> f32 {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<XlnetConfig> {
        XlnetConfig::from_json(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn lengths_may_be_none() {
        let config = read(r#"{"model_type":"xlnet","clamp_len":-1,"mem_len":null,"reuse_len":null}"#).unwrap();
        assert_eq!((config.clamp_length, config.memory_length, config.reuse_length), (0, 0, 0), "all is kept");
        assert_eq!(read(r#"{"model_type":"xlnet"}"#).unwrap().memory_length, 512);
        let json = config.to_json("X");
        assert_eq!(json["clamp_len"], -1);
        assert!(json["reuse_len"].is_null());
        let again = XlnetConfig::from_json(json).unwrap();
        assert_eq!((again.clamp_length, again.memory_length), (0, 0));
    }

    #[test]
    fn summaries_are_what_files_say() {
        let config = read(r#"{"model_type":"xlnet","summary_type":"mean","summary_activation":null}"#).unwrap();
        assert_eq!((config.summary, config.summary_activation), (Summary::Mean, Activation::None));
        let again = XlnetConfig::from_json(config.to_json("X")).unwrap();
        assert_eq!((again.summary, again.summary_activation), (Summary::Mean, Activation::None));
        let config = read(r#"{"model_type":"xlnet","summary_use_proj":false}"#).unwrap();
        assert_eq!((config.summary, config.summary_dense), (Summary::Last, false));
        assert!(read(r#"{"model_type":"xlnet","summary_type":"attn"}"#).is_err());
    }

    #[test]
    fn bad_values_name_their_field() {
        for (text, part) in [
            (r#"{"model_type":"t5"}"#, "this needs"),
            (r#"{"model_type":"xlnet","d_model":30}"#, "multiple of the 16"),
            (r#"{"model_type":"xlnet","d_head":7}"#, "d_head"),
            (r#"{"model_type":"xlnet","attn_type":"both"}"#, "attn_type"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
