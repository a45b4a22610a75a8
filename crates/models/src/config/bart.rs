//! The configuration of BART, mBART and Marian.

use ptm_ops::Activation;
use ptm_text::PositionStyle;
use serde_json::{Map, Value};

use super::fields::{Fields, INNER, LAYERS, ROWS, WIDTH, field};
use super::shared::{activation, architectures, labels, problem_type};
use super::write::{begun, put_activation, put_labels, put_number, put_size};
use super::{ClassifierStyle, Configuration, Family, Kind, ProblemType};
use crate::error::{Error, Result};

/// One of the two stacks.
#[derive(Clone, Copy, Debug)]
pub struct StackSize {
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads, `A`; `H` is a multiple of it.
    pub heads: usize,
    /// Width of the feed-forward layer, `F`.
    pub intermediate_size: usize,
    /// The probability that a training step leaves a layer out (LayerDrop, Fan et al. 2020).
    pub layer_drop: f32,
}

/// Everything about an encoder-decoder of BART's make that its weights don't say.
#[derive(Clone, Debug)]
pub struct BartConfig {
    /// The family, `model_type`.
    pub family: Family,
    /// Rows of the source's word embedding.
    pub vocab_size: usize,
    /// Rows of the target's word embedding, `V`.
    pub target_vocab_size: usize,
    /// Whether source and target have one word embedding. Marian may have two; the others do where `tied` is false.
    pub shared: bool,
    /// Width of the hidden states, `H`.
    pub hidden_size: usize,
    /// The encoder's size.
    pub encoder: StackSize,
    /// The decoder's size.
    pub decoder: StackSize,
    /// The feed-forward layer's activation.
    pub activation: Activation,
    /// Dropout after the embeddings and of what a block adds to the residual stream.
    pub hidden_dropout: f32,
    /// Dropout of attention probabilities.
    pub attention_dropout: f32,
    /// Dropout after the feed-forward layer's activation.
    pub activation_dropout: f32,
    /// Dropout of classifiers.
    pub classifier_dropout: f32,
    /// How many positions there are; BART's and mBART's embedding has two rows more, its first.
    pub max_positions: usize,
    /// Whether word embeddings are multiplied by the root of their width.
    pub scale_embedding: bool,
    /// Standard deviation of new weights.
    pub initializer_range: f32,
    /// The padding token's id; its embedding learns from the output alone.
    pub pad_token_id: u32,
    /// The id that ends a sequence; classifiers read the last one.
    pub eos_token_id: u32,
    /// What the decoder begins with; mBART, which has none, begins with the last token of the target, its language.
    pub decoder_start_token_id: Option<u32>,
    /// Whether the output embedding is the target's word embedding.
    pub tied: bool,
    /// Names of the labels, in order.
    pub labels: Vec<String>,
    /// How labels are to be read, where the file says so.
    pub problem_type: Option<ProblemType>,
    /// The classes that saved it, `architectures`.
    pub architectures: Vec<String>,
    /// The file as it was read; fields that ptm doesn't use survive in it, those of generation among them.
    pub raw: Map<String, Value>,
}

/// What early files say outright and the family's name says today: the fields, and their values in a family.
fn fixed(family: Family) -> [(&'static str, bool); 4] {
    let (before, positions) = (family == Family::MBart, family == Family::Marian);
    [
        ("normalize_before", before),
        ("add_final_layer_norm", before),
        ("normalize_embedding", family != Family::Marian),
        ("static_position_embeddings", positions),
    ]
}

impl BartConfig {
    /// Whether norms stand before each block and one after the last.
    pub fn norms_first(&self) -> bool {
        self.family == Family::MBart
    }

    /// Rows of the position embedding that come before position 0's.
    pub fn position_offset(&self) -> usize {
        if self.family == Family::Marian { 0 } else { 2 }
    }

    /// What the decoder reads to say `target`: the target moved right by one, behind the token that starts it.
    ///
    /// # Errors
    /// When the target is empty.
    pub fn shifted(&self, target: &[u32]) -> Result<Vec<u32>> {
        let Some((&last, before)) = target.split_last() else {
            return Err(Error::Input("an empty target: it holds at least the token that ends it".into()));
        };
        Ok(std::iter::once(self.decoder_start_token_id.unwrap_or(last)).chain(before.iter().copied()).collect())
    }

    fn read(raw: Map<String, Value>) -> Result<Self> {
        let family = Family::of_kind(Kind::Bart, &raw)?;
        let marian = family == Family::Marian;
        let fields = Fields(&raw);
        for (name, expected) in fixed(family) {
            if fields.flag(name, expected)? != expected {
                return Err(field(name, format!("{} has it {expected} always", family.model_type())));
            }
        }
        let hidden_size = fields.positive(&["d_model", "hidden_size"], 1024, WIDTH)?;
        let stack = |layers, heads, inner, drop| -> Result<StackSize> {
            let size = StackSize {
                layers: fields.size(&[layers], 12, LAYERS)?,
                heads: fields.positive(&[heads], 16, WIDTH)?,
                intermediate_size: fields.positive(&[inner], 4096, INNER)?,
                layer_drop: fields.rate(&[drop], 0.0)?,
            };
            if hidden_size % size.heads != 0 {
                let problem = format!("should be a multiple of {heads}, {}, not {hidden_size}", size.heads);
                return Err(field("d_model", problem));
            }
            Ok(size)
        };
        let tied = fields.flag("tie_word_embeddings", true)?;
        // but in Marian the two sides have one embedding as long as the output has it too
        let shared = if marian { fields.flag("share_encoder_decoder_embeddings", true)? } else { tied };
        let vocab_size = fields.positive(&["vocab_size"], if marian { 58101 } else { 50265 }, ROWS)?;
        let token = |name, default| -> Result<u32> { Ok(fields.size(&[name], default, ROWS)? as u32) };
        let start = match family {
            Family::MBart => None,
            Family::Marian => Some(token("decoder_start_token_id", 58100)?),
            _ => Some(token("decoder_start_token_id", 2)?),
        };
        let config = Self {
            family,
            vocab_size,
            target_vocab_size: if shared || !marian {
                vocab_size
            } else {
                fields.positive(&["decoder_vocab_size"], vocab_size, ROWS)?
            },
            shared,
            hidden_size,
            encoder: stack("encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "encoder_layerdrop")?,
            decoder: stack("decoder_layers", "decoder_attention_heads", "decoder_ffn_dim", "decoder_layerdrop")?,
            activation: activation(&fields, &["activation_function"], Activation::Gelu)?,
            hidden_dropout: fields.rate(&["dropout"], 0.1)?,
            attention_dropout: fields.rate(&["attention_dropout"], 0.0)?,
            activation_dropout: fields.rate(&["activation_dropout"], 0.0)?,
            classifier_dropout: fields.rate(&["classifier_dropout", "classif_dropout"], 0.0)?,
            max_positions: fields.positive(&["max_position_embeddings"], 1024, ROWS)?,
            scale_embedding: fields.flag("scale_embedding", false)?,
            initializer_range: fields.number(&["init_std"], 0.02)?,
            pad_token_id: token("pad_token_id", if marian { 58100 } else { 1 })?,
            eos_token_id: token("eos_token_id", if marian { 0 } else { 2 })?,
            decoder_start_token_id: start,
            tied,
            labels: labels(&fields, if family == Family::Bart { 3 } else { 2 })?,
            problem_type: problem_type(&fields)?,
            architectures: architectures(&raw),
            raw: Map::new(),
        };
        Ok(Self { raw, ..config })
    }
}

impl Configuration for BartConfig {
    const KIND: Kind = Kind::Bart;

    fn from_json(raw: Map<String, Value>) -> Result<Self> {
        Self::read(raw)
    }

    fn to_json(&self, architecture: &str) -> Map<String, Value> {
        let mut json = begun(&self.raw, self.family, architecture, self.tied);
        put_size(&mut json, &["vocab_size"], self.vocab_size);
        put_size(&mut json, &["d_model", "hidden_size"], self.hidden_size);
        for (size, [layers, heads, inner]) in [
            (self.encoder, ["encoder_layers", "encoder_attention_heads", "encoder_ffn_dim"]),
            (self.decoder, ["decoder_layers", "decoder_attention_heads", "decoder_ffn_dim"]),
        ] {
            put_size(&mut json, &[layers], size.layers);
            put_size(&mut json, &[heads], size.heads);
            put_size(&mut json, &[inner], size.intermediate_size);
        }
        // files also say it in everybody's words
        if json.contains_key("num_hidden_layers") {
            put_size(&mut json, &["num_hidden_layers"], self.encoder.layers);
        }
        if self.family == Family::Marian {
            json.insert("share_encoder_decoder_embeddings".into(), self.shared.into());
            put_size(&mut json, &["decoder_vocab_size"], self.target_vocab_size);
        } else {
            put_number(&mut json, &["classifier_dropout", "classif_dropout"], self.classifier_dropout);
        }
        put_activation(&mut json, &["activation_function"], self.activation);
        put_number(&mut json, &["encoder_layerdrop"], self.encoder.layer_drop);
        put_number(&mut json, &["decoder_layerdrop"], self.decoder.layer_drop);
        put_number(&mut json, &["dropout"], self.hidden_dropout);
        put_number(&mut json, &["attention_dropout"], self.attention_dropout);
        put_number(&mut json, &["activation_dropout"], self.activation_dropout);
        put_size(&mut json, &["max_position_embeddings"], self.max_positions);
        json.insert("scale_embedding".into(), self.scale_embedding.into());
        put_number(&mut json, &["init_std"], self.initializer_range);
        put_size(&mut json, &["pad_token_id"], self.pad_token_id as usize);
        put_size(&mut json, &["eos_token_id"], self.eos_token_id as usize);
        if let Some(start) = self.decoder_start_token_id {
            put_size(&mut json, &["decoder_start_token_id"], start as usize);
        }
        put_labels(&mut json, &self.labels, self.problem_type);
        let alone = architecture.ends_with("ForCausalLM");
        json.insert("is_encoder_decoder".into(), (!alone).into());
        if alone || json.contains_key("is_decoder") {
            json.insert("is_decoder".into(), alone.into());
        }
        json
    }

    fn family(&self) -> Family {
        self.family
    }

    fn positions(&self) -> PositionStyle {
        match self.position_offset() {
            0 => PositionStyle::Zero,
            offset => PositionStyle::Offset(offset as u32),
        }
    }

    fn output_size(&self) -> usize {
        self.target_vocab_size
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
        let hidden = self.hidden_size as u64;
        let words = if self.shared { self.vocab_size } else { self.vocab_size + self.target_vocab_size } as u64;
        let stack = |size: StackSize, attentions: u64| {
            let inner = size.intermediate_size as u64;
            let attention = 4 * (hidden + 1) * hidden + 2 * hidden;
            (attentions * attention + 2 * hidden * inner + inner + 3 * hidden) * size.layers as u64
        };
        let positions = if self.family == Family::Marian { 0 } else { 2 * (self.max_positions as u64 + 2) + 4 };
        let last = if self.norms_first() { 4 * hidden } else { 0 };
        (words + positions) * hidden + stack(self.encoder, 1) + stack(self.decoder, 2) + last
    }

    fn deviation(&self, _: &str) -> f32 {
        self.initializer_range
    }

    fn zero_row(&self) -> Option<u32> {
        Some(self.pad_token_id)
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle {
            dense: true,
            activation: Activation::Tanh,
            dropout: self.classifier_dropout,
            dropout_first: true,
            bias: true,
        }
    }

    fn token_dropout(&self) -> f32 {
        self.classifier_dropout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BartConfig> {
        BartConfig::from_json(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_decoder_reads_what_was_said_before() {
        let bart = read(r#"{"model_type":"bart"}"#).unwrap();
        assert_eq!(bart.shifted(&[7, 8, 2]).unwrap(), [2, 7, 8]);
        let mbart = read(r#"{"model_type":"mbart"}"#).unwrap();
        assert_eq!(mbart.shifted(&[7, 2, 9]).unwrap(), [9, 7, 2]);
        assert!(bart.shifted(&[]).is_err());
    }

    #[test]
    fn early_files_say_what_the_family_is() {
        assert!(read(r#"{"model_type":"bart","normalize_before":false,"normalize_embedding":true}"#).is_ok());
        assert!(read(r#"{"model_type":"mbart","normalize_before":true,"add_final_layer_norm":true}"#).is_ok());
        assert!(
            read(r#"{"model_type":"marian","static_position_embeddings":true,"normalize_embedding":false}"#).is_ok()
        );
        let message = read(r#"{"model_type":"bart","normalize_before":true}"#).unwrap_err().to_string();
        assert!(message.contains("normalize_before"), "{message}");
    }

    #[test]
    fn two_vocabularies_are_marians() {
        let two =
            r#"{"model_type":"marian","vocab_size":9,"decoder_vocab_size":7,"share_encoder_decoder_embeddings":false}"#;
        let config = read(two).unwrap();
        assert_eq!((config.vocab_size, config.target_vocab_size, config.shared), (9, 7, false));
        let config = read(&two.replace("false", "true")).unwrap();
        assert_eq!((config.target_vocab_size, config.shared), (9, true));
        let untied = read(r#"{"model_type":"bart","vocab_size":9,"tie_word_embeddings":false}"#).unwrap();
        assert_eq!((untied.target_vocab_size, untied.shared, untied.tied), (9, false, false));
    }

    #[test]
    fn a_decoder_alone_says_so() {
        let config = read(r#"{"model_type":"bart","is_encoder_decoder":true}"#).unwrap();
        assert_eq!(config.to_json("BartForCausalLM")["is_encoder_decoder"], false);
        assert_eq!(config.to_json("BartModel")["is_encoder_decoder"], true);
    }
}
