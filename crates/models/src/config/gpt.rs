//! The configuration of GPT and GPT-2, in their own spelling (`n_embd`) and in everybody's (`hidden_size`).

use ptm_ops::Activation;
use serde_json::{Map, Value};

use super::fields::{Fields, INNER, LAYERS, ROWS, WIDTH, field};
use super::shared::{activation, architectures, labels, problem_type};
use super::write::{begun, put, put_activation, put_labels, put_number, put_size, spelled};
use super::{ClassifierStyle, Configuration, Family, Kind, ProblemType};
use crate::error::Result;

/// How much smaller the new weights are that write to the residual stream (Radford et al. 2019, §2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResidualInit {
    /// By `1/√(2·layers)`, one for each addition to the stream, as in the released code.
    #[default]
    Additions,
    /// By `1/√layers`, as the paper may be read.
    Layers,
    /// Not at all.
    Plain,
}

impl ResidualInit {
    const NAMES: [(&str, Self); 3] = [("additions", Self::Additions), ("layers", Self::Layers), ("plain", Self::Plain)];

    fn read(fields: &Fields<'_>) -> Result<Self> {
        let Some((name, text)) = fields.text(&["residual_init"])? else { return Ok(Self::default()) };
        let known = Self::NAMES.iter().find(|(name, _)| *name == text);
        known
            .map(|(_, init)| *init)
            .ok_or_else(|| field(name, format!("{text:?} is unknown; there are additions, layers and plain")))
    }
}

/// Everything about a decoder that its weights don't say.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
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
    /// Width of the feed-forward layer, `F`; four times `H` unless the file says otherwise.
    pub intermediate_size: usize,
    /// The feed-forward layer's activation.
    pub activation: Activation,
    /// Dropout after the embeddings.
    pub embedding_dropout: f32,
    /// Dropout of what a block adds to the residual stream.
    pub hidden_dropout: f32,
    /// Dropout of attention probabilities.
    pub attention_dropout: f32,
    /// Dropout before the labels of tokens.
    pub classifier_dropout: f32,
    /// Rows of the position embedding.
    pub max_positions: usize,
    /// Added to variances in LayerNorm.
    pub norm_eps: f32,
    /// Whether scores are divided by the root of the head's width.
    pub scale_scores: bool,
    /// Whether layer `i`, counted from 0, also divides its scores by `i + 1`.
    pub scale_by_layer: bool,
    /// Standard deviation of new weights.
    pub initializer_range: f32,
    /// How new weights that write to the residual stream differ, `residual_init`; the first GPT's don't.
    pub residual_init: ResidualInit,
    /// The padding token's id, where there is one; classifiers read the last token that is not it.
    pub pad_token_id: Option<u32>,
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

impl DecoderConfig {
    /// Width of one attention head, `D`.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.heads
    }

    /// What layer `layer`, counted from 0, multiplies its scores by.
    pub fn scale(&self, layer: usize) -> f32 {
        let scale = if self.scale_scores { 1.0 / (self.head_size() as f32).sqrt() } else { 1.0 };
        if self.scale_by_layer { scale / (layer + 1) as f32 } else { scale }
    }

    fn read(raw: Map<String, Value>) -> Result<Self> {
        let family = Family::of_kind(Kind::Decoder, &raw)?;
        let first = family == Family::Gpt;
        let fields = Fields(&raw);
        for name in ["add_cross_attention", "is_encoder_decoder"] {
            if fields.flag(name, false)? {
                return Err(field(name, format!("{} is supported as a decoder alone", family.model_type())));
            }
        }
        if fields.get(&["pruned_heads"]).is_some_and(|(_, heads)| heads.as_object().is_none_or(|map| !map.is_empty())) {
            return Err(field("pruned_heads", "models with pruned heads are not supported"));
        }
        let hidden_size = fields.positive(&["n_embd", "hidden_size"], 768, WIDTH)?;
        let heads = fields.positive(&["n_head", "num_attention_heads"], 12, WIDTH)?;
        if hidden_size % heads != 0 {
            let problem = format!("should be a multiple of the {heads} attention heads, not {hidden_size}");
            return Err(field("n_embd", problem));
        }
        let intermediate_size =
            if first { 4 * hidden_size } else { fields.positive(&["n_inner"], 4 * hidden_size, INNER)? };
        let hidden_dropout = fields.rate(&["resid_pdrop"], 0.1)?;
        let config = Self {
            family,
            vocab_size: fields.positive(&["vocab_size"], if first { 40478 } else { 50257 }, ROWS)?,
            hidden_size,
            layers: fields.size(&["n_layer", "num_hidden_layers"], 12, LAYERS)?,
            heads,
            intermediate_size,
            activation: if first {
                first_activation(&fields)?
            } else {
                activation(&fields, &["activation_function"], Activation::GeluTanh)?
            },
            embedding_dropout: fields.rate(&["embd_pdrop"], 0.1)?,
            hidden_dropout,
            attention_dropout: fields.rate(&["attn_pdrop"], 0.1)?,
            classifier_dropout: fields.rate(&["classifier_dropout", "hidden_dropout"], 0.1)?,
            max_positions: fields.positive(
                &["n_positions", "max_position_embeddings"],
                if first { 512 } else { 1024 },
                ROWS,
            )?,
            norm_eps: fields.number(&["layer_norm_epsilon"], 1e-5)?,
            scale_scores: first || fields.flag("scale_attn_weights", true)?,
            scale_by_layer: !first && fields.flag("scale_attn_by_inverse_layer_idx", false)?,
            initializer_range: fields.number(&["initializer_range"], 0.02)?,
            residual_init: ResidualInit::read(&fields)?,
            pad_token_id: match fields.get(&["pad_token_id"]) {
                // -1 was written for "none"
                Some((_, id)) if id.as_i64() == Some(-1) => None,
                Some(_) => Some(fields.size(&["pad_token_id"], 0, ROWS)? as u32),
                None => None,
            },
            tied: fields.flag("tie_word_embeddings", true)?,
            labels: labels(&fields, 2)?,
            problem_type: problem_type(&fields)?,
            architectures: architectures(&raw),
            raw: Map::new(),
        };
        // only the order of products in half precision depends on it; here scores are f32
        fields.flag("reorder_and_upcast_attn", false)?;
        Ok(Self { raw, ..config })
    }
}

/// The first GPT's activations by name; its `gelu` is what others call `gelu_new`.
const FIRST: [(&str, Activation); 4] = [
    ("gelu", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
];

fn first_activation(fields: &Fields<'_>) -> Result<Activation> {
    let Some((name, text)) = fields.text(&["afn"])? else { return Ok(Activation::GeluTanh) };
    let known = FIRST.iter().find(|(name, _)| *name == text);
    known
        .map(|(_, activation)| *activation)
        .ok_or_else(|| field(name, format!("{text:?} is not an activation of the first GPT: gelu, relu, silu, swish")))
}

impl Configuration for DecoderConfig {
    const KIND: Kind = Kind::Decoder;

    fn from_json(raw: Map<String, Value>) -> Result<Self> {
        Self::read(raw)
    }

    fn to_json(&self, architecture: &str) -> Map<String, Value> {
        let mut json = begun(&self.raw, self.family, architecture, self.tied);
        put_size(&mut json, &["vocab_size"], self.vocab_size);
        put_size(&mut json, &["n_embd", "hidden_size"], self.hidden_size);
        put_size(&mut json, &["n_layer", "num_hidden_layers"], self.layers);
        put_size(&mut json, &["n_head", "num_attention_heads"], self.heads);
        put_size(&mut json, &["n_positions", "max_position_embeddings"], self.max_positions);
        put_number(&mut json, &["embd_pdrop"], self.embedding_dropout);
        put_number(&mut json, &["resid_pdrop"], self.hidden_dropout);
        put_number(&mut json, &["attn_pdrop"], self.attention_dropout);
        put_number(&mut json, &["layer_norm_epsilon"], self.norm_eps);
        put_number(&mut json, &["initializer_range"], self.initializer_range);
        if self.family == Family::Gpt {
            let same = |name: &str| FIRST.contains(&(name, self.activation));
            let name =
                FIRST.iter().find(|(name, _)| same(name)).map_or_else(|| spelled(self.activation), |(name, _)| name);
            put(&mut json, &["afn"], name.into(), |old| old.as_str().is_some_and(same));
        } else {
            if self.intermediate_size != 4 * self.hidden_size || json.get("n_inner").is_some_and(|n| !n.is_null()) {
                put_size(&mut json, &["n_inner"], self.intermediate_size);
            }
            put_activation(&mut json, &["activation_function"], self.activation);
            if self.residual_init != ResidualInit::default() || json.contains_key("residual_init") {
                let name = ResidualInit::NAMES.iter().find(|(_, init)| *init == self.residual_init);
                put(&mut json, &["residual_init"], name.map_or("additions", |(name, _)| name).into(), |_| false);
            }
            json.insert("scale_attn_weights".into(), self.scale_scores.into());
            json.insert("scale_attn_by_inverse_layer_idx".into(), self.scale_by_layer.into());
            if self.classifier_dropout != 0.1 || json.contains_key("classifier_dropout") {
                put_number(&mut json, &["classifier_dropout"], self.classifier_dropout);
            }
        }
        match self.pad_token_id {
            Some(id) => put_size(&mut json, &["pad_token_id"], id as usize),
            None => drop(json.remove("pad_token_id")),
        }
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
        let rows = (self.vocab_size + self.max_positions) as u64;
        let layer = 4 * (hidden + 1) * hidden + 2 * hidden * inner + inner + 5 * hidden;
        let last = if self.family == Family::Gpt2 { 2 * hidden } else { 0 };
        rows * hidden + layer * self.layers as u64 + last
    }

    /// GPT-2 makes what its blocks add to the residual stream smaller the more of them there are (Radford et al. 2019).
    fn deviation(&self, path: &str) -> f32 {
        let adds = path.ends_with("attention.output.weight") || path.ends_with("down.weight");
        let additions = match self.residual_init {
            ResidualInit::Additions => 2 * self.layers,
            ResidualInit::Layers => self.layers,
            ResidualInit::Plain => 1,
        };
        if adds && self.family == Family::Gpt2 {
            self.initializer_range / (additions as f32).sqrt()
        } else {
            self.initializer_range
        }
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { dense: false, activation: Activation::None, dropout: 0.0, dropout_first: false, bias: false }
    }

    fn token_dropout(&self) -> f32 {
        self.classifier_dropout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DecoderConfig> {
        DecoderConfig::from_json(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_first_gpts_gelu_is_the_tanh_one() {
        let first = read(r#"{"model_type":"openai-gpt","afn":"gelu"}"#).unwrap();
        assert_eq!((first.activation, first.max_positions), (Activation::GeluTanh, 512));
        assert_eq!(first.to_json("X")["afn"], "gelu");
        let second = read(r#"{"model_type":"gpt2","activation_function":"gelu"}"#).unwrap();
        assert_eq!((second.activation, second.max_positions), (Activation::Gelu, 1024));
    }

    #[test]
    fn both_spellings_are_one() {
        let own = read(r#"{"architectures":["GPT2LMHeadModel"],"n_embd":32,"n_head":4,"n_layer":3,"n_positions":9}"#);
        let common = read(
            r#"{"model_type":"gpt2","hidden_size":32,"num_attention_heads":4,"num_hidden_layers":3,"max_position_embeddings":9}"#,
        );
        for config in [own.unwrap(), common.unwrap()] {
            assert_eq!((config.hidden_size, config.heads, config.layers, config.max_positions), (32, 4, 3, 9));
            assert_eq!(config.intermediate_size, 128);
        }
    }

    #[test]
    fn scores_shrink_with_depth_where_asked() {
        let config = read(r#"{"model_type":"gpt2","n_embd":64,"n_head":4,"scale_attn_by_inverse_layer_idx":true}"#);
        assert_eq!(config.unwrap().scale(2), 0.25 / 3.0);
        let config = read(r#"{"model_type":"gpt2","n_embd":64,"n_head":4,"scale_attn_weights":false}"#);
        assert_eq!(config.unwrap().scale(2), 1.0);
    }

    #[test]
    fn what_writes_to_the_residual_stream_begins_smaller() {
        let deviation = |init: &str, path: &str| {
            let text = format!(r#"{{"model_type":"gpt2","n_layer":8,"initializer_range":0.2{init}}}"#);
            read(&text).unwrap().deviation(path)
        };
        let down = "body.layers.3.down.weight";
        assert_eq!(deviation("", down), 0.05);
        assert_eq!(deviation(r#","residual_init":"layers""#, down), 0.2 / 8_f32.sqrt());
        assert_eq!(deviation(r#","residual_init":"plain""#, down), 0.2);
        assert_eq!(deviation("", "body.layers.3.up.weight"), 0.2);
        let json = read(r#"{"model_type":"gpt2","residual_init":"layers"}"#).unwrap().to_json("X");
        assert_eq!(json["residual_init"], "layers");
        assert!(!read(r#"{"model_type":"gpt2"}"#).unwrap().to_json("X").contains_key("residual_init"));
    }

    #[test]
    fn bad_values_name_their_field() {
        for (text, part) in [
            (r#"{"model_type":"bert"}"#, "this needs a decoder"),
            (r#"{"model_type":"gpt2","n_embd":30}"#, "multiple of the 12"),
            (r#"{"model_type":"gpt2","add_cross_attention":true}"#, "add_cross_attention"),
            (r#"{"model_type":"gpt2","activation_function":"mish"}"#, "mish"),
            (r#"{"model_type":"gpt2","residual_init":"half"}"#, "half"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
