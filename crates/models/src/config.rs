//! `config.json` of the encoder families as published, in old and new spellings, read into one configuration.
//! Fields that change nothing here (task parameters, versions) are kept and written back as they were.

use std::path::Path;

use ptm_ops::Activation;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A family of encoders. What differs between them is the spelling of names and a few options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// BERT, and SpanBERT, whose checkpoints are BERT's.
    Bert,
    /// RoBERTa.
    Roberta,
    /// XLM-RoBERTa: RoBERTa with a SentencePiece vocabulary.
    XlmRoberta,
    /// DistilBERT.
    DistilBert,
    /// ELECTRA, generator or discriminator.
    Electra,
    /// ERNIE 1.0 to 3.0 as in `transformers`, with or without task ids.
    Ernie,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Bert, Self::Roberta, Self::XlmRoberta, Self::DistilBert, Self::Electra, Self::Ernie];

    /// The `model_type` of `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
            Self::DistilBert => "distilbert",
            Self::Electra => "electra",
            Self::Ernie => "ernie",
        }
    }

    /// How `transformers` begins the names of this family's classes.
    pub fn class_prefix(self) -> &'static str {
        match self {
            Self::Bert => "Bert",
            Self::Roberta => "Roberta",
            Self::XlmRoberta => "XLMRoberta",
            Self::DistilBert => "DistilBert",
            Self::Electra => "Electra",
            Self::Ernie => "Ernie",
        }
    }

    /// Whether names and heads are RoBERTa's.
    pub fn is_roberta(self) -> bool {
        matches!(self, Self::Roberta | Self::XlmRoberta)
    }

    fn from_json(json: &Map<String, Value>) -> Result<Self> {
        let known = || Self::ALL.iter().map(|family| family.model_type()).collect();
        if let Some(found) = json.get("model_type").filter(|value| !value.is_null()) {
            let found = found.as_str().ok_or_else(|| field("model_type", "should be a string"))?;
            return Self::ALL
                .into_iter()
                .find(|family| family.model_type() == found)
                .ok_or_else(|| Error::UnknownFamily { found: found.into(), known: known() });
        }
        // configurations from before 2020 have no model_type; the architecture names the family as well
        let class = json.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
        let by_class = class.and_then(|class| {
            Self::ALL.into_iter().find(|family| {
                class.strip_prefix(family.class_prefix()).is_some_and(|rest| rest == "Model" || rest.starts_with("For"))
            })
        });
        by_class.ok_or_else(|| {
            let problem = "is missing, and architectures doesn't tell the family either; \
                           add the family's name, for instance \"model_type\": \"bert\"";
            field("model_type", problem)
        })
    }
}

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
    /// Dropout after embeddings, attention output and feed-forward.
    pub hidden_dropout: f32,
    /// Dropout of attention probabilities.
    pub attention_dropout: f32,
    /// Dropout before a classifier.
    pub classifier_dropout: f32,
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

fn field(field: &'static str, problem: impl Into<String>) -> Error {
    Error::ConfigField { field, problem: problem.into() }
}

/// Sizes beyond this are lies or attacks: they would overflow or fill memory before any tensor is compared.
const LARGEST: u64 = 1 << 31;

/// Reads fields under their old and new names.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, names: &[&'static str]) -> Option<(&'static str, &Value)> {
        names.iter().find_map(|&name| self.0.get(name).filter(|value| !value.is_null()).map(|value| (name, value)))
    }

    fn size(&self, names: &[&'static str], default: usize) -> Result<usize> {
        let Some((name, value)) = self.get(names) else { return Ok(default) };
        match value.as_u64() {
            Some(size) if size <= LARGEST => Ok(size as usize),
            _ => Err(field(name, format!("should be a whole number from 0 to {LARGEST}, not {value}"))),
        }
    }

    fn positive(&self, names: &[&'static str], default: usize) -> Result<usize> {
        match self.size(names, default)? {
            0 => Err(field(names[0], "should not be 0")),
            size => Ok(size),
        }
    }

    fn number(&self, names: &[&'static str], default: f32) -> Result<f32> {
        let Some((name, value)) = self.get(names) else { return Ok(default) };
        match value.as_f64() {
            Some(number) if number >= 0.0 && number.is_finite() => Ok(number as f32),
            _ => Err(field(name, format!("should be a number that is not negative, not {value}"))),
        }
    }

    fn rate(&self, names: &[&'static str], default: f32) -> Result<f32> {
        let rate = self.number(names, default)?;
        if rate < 1.0 { Ok(rate) } else { Err(field(names[0], format!("is a dropout rate below 1, not {rate}"))) }
    }

    fn flag(&self, name: &'static str, default: bool) -> Result<bool> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(field(name, format!("should be true or false, not {other}"))),
        }
    }

    fn text(&self, names: &[&'static str]) -> Result<Option<(&'static str, &str)>> {
        let Some((name, value)) = self.get(names) else { return Ok(None) };
        value.as_str().map(|text| Some((name, text))).ok_or_else(|| field(name, "should be a string"))
    }
}

fn activation(fields: &Fields<'_>) -> Result<Activation> {
    let Some((name, text)) = fields.text(&["hidden_act", "activation"])? else { return Ok(Activation::Gelu) };
    match text {
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_accurate" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        "tanh" => Ok(Activation::Tanh),
        other => Err(field(
            name,
            format!("{other:?} is not an activation that ptm has: gelu, gelu_new, relu, silu, swish, tanh"),
        )),
    }
}

fn labels(fields: &Fields<'_>) -> Result<Vec<String>> {
    let numbered = |count: usize| (0..count).map(|i| format!("LABEL_{i}")).collect::<Vec<_>>();
    // how many labels a file may declare before it is taken for damaged
    const MOST: usize = 1 << 20;
    if let Some((_, value)) = fields.get(&["id2label"]) {
        let map = value.as_object().ok_or_else(|| field("id2label", "should be an object from ids to names"))?;
        let mut labels = vec![None; map.len()];
        for (id, label) in map {
            let slot = id.parse::<usize>().ok().and_then(|id| labels.get_mut(id));
            let slot =
                slot.ok_or_else(|| field("id2label", format!("ids should run from 0 on; {id:?} doesn't fit")))?;
            // some published files have numbers for names
            *slot = Some(label.as_str().map_or_else(|| label.to_string(), str::to_owned));
        }
        return Ok(labels.into_iter().flatten().collect());
    }
    let count = fields.size(&["num_labels", "_num_labels"], 2)?;
    if count > MOST { Err(field("num_labels", format!("should not exceed {MOST}"))) } else { Ok(numbered(count)) }
}

fn problem_type(fields: &Fields<'_>) -> Result<Option<ProblemType>> {
    let Some((name, text)) = fields.text(&["problem_type"])? else { return Ok(None) };
    [ProblemType::Regression, ProblemType::SingleLabel, ProblemType::MultiLabel]
        .into_iter()
        .find(|kind| kind.name() == text)
        .map(Some)
        .ok_or_else(|| field(name, format!("{text:?} is unknown")))
}

impl EncoderConfig {
    /// Reads `config.json` of the directory `dir`.
    ///
    /// # Errors
    /// When the file can't be read, isn't JSON, is of a family that ptm doesn't know, or holds impossible values.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let bytes = std::fs::read(&path).map_err(|source| Error::Config { path: path.clone(), source })?;
        Self::from_bytes(&bytes).map_err(|error| match error {
            Error::ConfigSyntax { source, .. } => Error::ConfigSyntax { path, source },
            other => other,
        })
    }

    /// Reads the bytes of a `config.json`.
    ///
    /// # Errors
    /// As [`Self::from_dir`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let json = serde_json::from_slice(bytes)
            .map_err(|source| Error::ConfigSyntax { path: "config.json".into(), source })?;
        Self::from_json(json)
    }

    /// Reads a parsed `config.json`.
    ///
    /// # Errors
    /// As [`Self::from_dir`].
    pub fn from_json(raw: Map<String, Value>) -> Result<Self> {
        let family = Family::from_json(&raw)?;
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
        let distil = family == Family::DistilBert;
        let hidden_size =
            fields.positive(&["hidden_size", "dim"], if family == Family::Electra { 256 } else { 768 })?;
        let heads =
            fields.positive(&["num_attention_heads", "n_heads"], if family == Family::Electra { 4 } else { 12 })?;
        if hidden_size % heads != 0 {
            let problem = format!("should be a multiple of the {heads} attention heads, not {hidden_size}");
            return Err(field("hidden_size", problem));
        }
        let embedding_size = match family {
            Family::Electra => fields.positive(&["embedding_size"], 128)?,
            _ => hidden_size,
        };
        let hidden_dropout = fields.rate(&["hidden_dropout_prob", "dropout"], 0.1)?;
        let classifier_dropout = match family {
            Family::DistilBert => fields.rate(&["seq_classif_dropout"], 0.2)?,
            _ => fields.rate(&["classifier_dropout"], hidden_dropout)?,
        };
        let tasks = if family == Family::Ernie && fields.flag("use_task_id", false)? {
            fields.positive(&["task_type_vocab_size"], 3)?
        } else {
            0
        };
        let pad_token_id = fields.size(&["pad_token_id"], usize::from(family.is_roberta()))?;
        let config = Self {
            family,
            vocab_size: fields.positive(&["vocab_size"], if family.is_roberta() { 50265 } else { 30522 })?,
            hidden_size,
            embedding_size,
            layers: fields.size(&["num_hidden_layers", "n_layers"], if distil { 6 } else { 12 })?,
            heads,
            intermediate_size: fields
                .positive(&["intermediate_size", "hidden_dim"], if family == Family::Electra { 1024 } else { 3072 })?,
            activation: activation(&fields)?,
            hidden_dropout,
            attention_dropout: fields.rate(&["attention_probs_dropout_prob", "attention_dropout"], 0.1)?,
            classifier_dropout,
            max_positions: fields.positive(&["max_position_embeddings"], 512)?,
            segments: if distil { 0 } else { fields.positive(&["type_vocab_size"], 2)? },
            tasks,
            norm_eps: if distil { 1e-12 } else { fields.number(&["layer_norm_eps"], 1e-12)? },
            initializer_range: fields.number(&["initializer_range"], 0.02)?,
            pad_token_id: u32::try_from(pad_token_id).unwrap_or(u32::MAX),
            tied: fields.flag("tie_word_embeddings", true)?,
            labels: labels(&fields)?,
            problem_type: problem_type(&fields)?,
            architectures: match raw.get("architectures") {
                Some(Value::Array(list)) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
                _ => Vec::new(),
            },
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

    /// Width of one attention head, `D`.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.heads
    }

    /// The configuration as JSON, for `config.json`: what was read, with what ptm may change brought up to date.
    /// `architecture` is the class that `transformers` is to open it with.
    pub fn to_json(&self, architecture: &str) -> Map<String, Value> {
        let mut json = self.raw.clone();
        json.insert("model_type".into(), self.family.model_type().into());
        json.insert("architectures".into(), vec![architecture].into());
        let id2label: Map<_, _> =
            self.labels.iter().enumerate().map(|(id, label)| (id.to_string(), label.as_str().into())).collect();
        let label2id: Map<_, _> =
            self.labels.iter().enumerate().map(|(id, label)| (label.clone(), id.into())).collect();
        json.remove("num_labels");
        json.insert("id2label".into(), id2label.into());
        json.insert("label2id".into(), label2id.into());
        json.insert("vocab_size".into(), self.vocab_size.into());
        if let Some(kind) = self.problem_type {
            json.insert("problem_type".into(), kind.name().into());
        }
        json.entry("torch_dtype").or_insert_with(|| "float32".into());
        json
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
    fn unknown_fields_survive() {
        let config = read(r#"{"model_type":"bert","my_note":[1,2]}"#).unwrap();
        let json = config.to_json("BertModel");
        assert_eq!(json["my_note"], serde_json::json!([1, 2]));
        assert_eq!(json["architectures"], serde_json::json!(["BertModel"]));
    }

    #[test]
    fn roberta_counts_positions_after_padding() {
        let config = read(r#"{"model_type":"roberta","max_position_embeddings":514}"#).unwrap();
        assert_eq!((config.pad_token_id, config.max_length()), (1, 512));
    }
}
