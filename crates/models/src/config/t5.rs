//! The configuration of T5 (1.0, 1.1, Flan), ByT5, which is one of them, and mT5.

use ptm_ops::Activation;
use serde_json::{Map, Value};

use super::fields::{Fields, INNER, LAYERS, ROWS, WIDTH, field};
use super::shared::{activation, architectures, labels, problem_type};
use super::write::{begun, put, put_labels, put_number, put_size, spelled};
use super::{ClassifierStyle, Configuration, Family, Kind, ProblemType};
use crate::error::{Error, Result};

/// Everything about a T5 that its weights don't say.
#[derive(Clone, Debug)]
pub struct T5Config {
    /// The family, `model_type`.
    pub family: Family,
    /// Rows of the word embedding, `V`.
    pub vocab_size: usize,
    /// Width of the hidden states, `H`.
    pub hidden_size: usize,
    /// The encoder's layers.
    pub encoder_layers: usize,
    /// The decoder's layers.
    pub decoder_layers: usize,
    /// Number of attention heads, `A`.
    pub heads: usize,
    /// Width of one attention head, `D`; `A·D` need not be `H`.
    pub head_size: usize,
    /// Width of the feed-forward layer, `F`.
    pub intermediate_size: usize,
    /// The feed-forward layer's activation.
    pub activation: Activation,
    /// Whether the activated product gates another (1.1 and later).
    pub gated: bool,
    /// Rows of the table of relative positions.
    pub buckets: usize,
    /// The distance from which on all share the last bucket.
    pub max_distance: usize,
    /// Dropout, the same everywhere.
    pub dropout: f32,
    /// Dropout of classifiers.
    pub classifier_dropout: f32,
    /// Added to mean squares in the norm.
    pub norm_eps: f32,
    /// What the deviations of new weights are multiplied by.
    pub initializer_factor: f32,
    /// The padding token's id.
    pub pad_token_id: u32,
    /// The id that ends a sequence; classifiers read the last one.
    pub eos_token_id: u32,
    /// What the decoder begins with.
    pub decoder_start_token_id: u32,
    /// Whether the output embedding is the word embedding; hidden states are scaled down then.
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

/// `relu` or `gated-gelu`: the activation and whether it gates.
fn feed_forward(fields: &Fields<'_>, default: (Activation, bool)) -> Result<(Activation, bool)> {
    const NAME: &str = "feed_forward_proj";
    let Some((_, text)) = fields.text(&[NAME])? else { return Ok(default) };
    let (gated, name) = text.strip_prefix("gated-").map_or((false, text), |name| (true, name));
    // 1.1's files say gelu and mean its approximation
    let name = if gated && name == "gelu" { "gelu_new" } else { name };
    let one = Map::from_iter([(NAME.to_owned(), Value::from(name))]);
    Ok((activation(&Fields(&one), &[NAME], Activation::Relu)?, gated))
}

impl T5Config {
    /// Width of all heads together.
    pub fn inner_size(&self) -> usize {
        self.heads * self.head_size
    }

    /// What the decoder reads to say `target`: the target moved right by one, behind the token that starts it.
    ///
    /// # Errors
    /// When the target is empty.
    pub fn shifted(&self, target: &[u32]) -> Result<Vec<u32>> {
        let Some((_, before)) = target.split_last() else {
            return Err(Error::Input("an empty target: it holds at least the token that ends it".into()));
        };
        Ok(std::iter::once(self.decoder_start_token_id).chain(before.iter().copied()).collect())
    }

    fn read(raw: Map<String, Value>) -> Result<Self> {
        let family = Family::of_kind(Kind::T5, &raw)?;
        let multilingual = family == Family::MT5;
        let fields = Fields(&raw);
        let encoder_layers =
            fields.size(&["num_layers", "num_hidden_layers"], if multilingual { 8 } else { 6 }, LAYERS)?;
        let default = if multilingual { (Activation::GeluTanh, true) } else { (Activation::Relu, false) };
        let (activation, gated) = feed_forward(&fields, default)?;
        let token = |name, default| -> Result<u32> { Ok(fields.size(&[name], default, ROWS)? as u32) };
        let pad_token_id = token("pad_token_id", 0)?;
        let buckets = fields.positive(&["relative_attention_num_buckets"], 32, ROWS)?;
        if buckets < 4 {
            return Err(field("relative_attention_num_buckets", format!("should be 4 at least, not {buckets}")));
        }
        let max_distance = fields.positive(&["relative_attention_max_distance"], 128, ROWS)?;
        if max_distance <= buckets / 2 {
            let problem = format!("should be beyond the {} distances with buckets of their own", buckets / 2);
            return Err(field("relative_attention_max_distance", problem));
        }
        let config = Self {
            family,
            vocab_size: fields.positive(&["vocab_size"], if multilingual { 250_112 } else { 32128 }, ROWS)?,
            hidden_size: fields.positive(&["d_model", "hidden_size"], 512, WIDTH)?,
            encoder_layers,
            decoder_layers: fields.size(&["num_decoder_layers"], encoder_layers, LAYERS)?,
            heads: fields.positive(&["num_heads", "num_attention_heads"], if multilingual { 6 } else { 8 }, WIDTH)?,
            head_size: fields.positive(&["d_kv", "head_dim"], 64, WIDTH)?,
            intermediate_size: fields.positive(&["d_ff"], if multilingual { 1024 } else { 2048 }, INNER)?,
            activation,
            gated,
            buckets,
            max_distance,
            dropout: fields.rate(&["dropout_rate"], 0.1)?,
            classifier_dropout: fields.rate(&["classifier_dropout"], 0.0)?,
            norm_eps: fields.number(&["layer_norm_epsilon"], 1e-6)?,
            initializer_factor: fields.number(&["initializer_factor"], 1.0)?,
            pad_token_id,
            eos_token_id: token("eos_token_id", 1)?,
            decoder_start_token_id: token("decoder_start_token_id", pad_token_id as usize)?,
            tied: fields.flag("tie_word_embeddings", !multilingual)?,
            labels: labels(&fields, 2)?,
            problem_type: problem_type(&fields)?,
            architectures: architectures(&raw),
            raw: Map::new(),
        };
        Ok(Self { raw, ..config })
    }
}

impl Configuration for T5Config {
    const KIND: Kind = Kind::T5;

    fn from_json(raw: Map<String, Value>) -> Result<Self> {
        Self::read(raw)
    }

    fn to_json(&self, architecture: &str) -> Map<String, Value> {
        let mut json = begun(&self.raw, self.family, architecture, self.tied);
        put_size(&mut json, &["vocab_size"], self.vocab_size);
        put_size(&mut json, &["d_model", "hidden_size"], self.hidden_size);
        put_size(&mut json, &["num_layers", "num_hidden_layers"], self.encoder_layers);
        put_size(&mut json, &["num_decoder_layers"], self.decoder_layers);
        put_size(&mut json, &["num_heads", "num_attention_heads"], self.heads);
        put_size(&mut json, &["d_kv", "head_dim"], self.head_size);
        put_size(&mut json, &["d_ff"], self.intermediate_size);
        put_size(&mut json, &["relative_attention_num_buckets"], self.buckets);
        put_size(&mut json, &["relative_attention_max_distance"], self.max_distance);
        let proj = match (self.gated, self.activation) {
            (true, Activation::GeluTanh) => "gated-gelu".to_owned(),
            (true, activation) => format!("gated-{}", spelled(activation)),
            (false, activation) => spelled(activation).to_owned(),
        };
        put(&mut json, &["feed_forward_proj"], proj.into(), |old| {
            let one = Map::from_iter([("feed_forward_proj".to_owned(), old.clone())]);
            feed_forward(&Fields(&one), (Activation::None, false)).is_ok_and(|old| old == (self.activation, self.gated))
        });
        // what transformers derives from it and writes beside it
        if json.contains_key("is_gated_act") {
            json.insert("is_gated_act".into(), self.gated.into());
            json.insert("dense_act_fn".into(), spelled(self.activation).into());
        }
        put_number(&mut json, &["dropout_rate"], self.dropout);
        put_number(&mut json, &["classifier_dropout"], self.classifier_dropout);
        put_number(&mut json, &["layer_norm_epsilon"], self.norm_eps);
        put_number(&mut json, &["initializer_factor"], self.initializer_factor);
        put_size(&mut json, &["pad_token_id"], self.pad_token_id as usize);
        put_size(&mut json, &["eos_token_id"], self.eos_token_id as usize);
        put_size(&mut json, &["decoder_start_token_id"], self.decoder_start_token_id as usize);
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
        let [hidden, inner, wide] = [self.hidden_size, self.inner_size(), self.intermediate_size].map(|n| n as u64);
        let feed = (if self.gated { 3 } else { 2 }) * hidden * wide + hidden;
        let stack = |layers: usize, attentions: u64| {
            (attentions * (4 * hidden * inner + hidden) + feed) * layers as u64
                + hidden
                + (self.buckets * self.heads) as u64
        };
        self.vocab_size as u64 * hidden + stack(self.encoder_layers, 1) + stack(self.decoder_layers, 2)
    }

    /// Such that scores need no scale (Raffel et al. 2020; Mesh TensorFlow's initialisation).
    fn deviation(&self, path: &str) -> f32 {
        let [hidden, inner, wide] =
            [self.hidden_size, self.inner_size(), self.intermediate_size].map(|n| (n as f32).powf(-0.5));
        let is = |end: &str| path.ends_with(end);
        let deviation = match path {
            _ if is("word") || path == "head.decoder" => 1.0,
            _ if is(".query.weight") => hidden * (self.head_size as f32).powf(-0.5),
            _ if is("attention.output.weight") || is("cross.output.weight") => inner,
            _ if is("down.weight") => wide,
            _ => hidden,
        };
        self.initializer_factor * deviation
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

    fn read(text: &str) -> Result<T5Config> {
        T5Config::from_json(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn versions_differ_in_their_feed_forward() {
        let first = read(r#"{"model_type":"t5","num_layers":3}"#).unwrap();
        assert_eq!((first.activation, first.gated, first.tied), (Activation::Relu, false, true));
        assert_eq!((first.encoder_layers, first.decoder_layers), (3, 3));
        let later =
            read(r#"{"model_type":"t5","feed_forward_proj":"gated-gelu","tie_word_embeddings":false}"#).unwrap();
        assert_eq!((later.activation, later.gated, later.tied), (Activation::GeluTanh, true, false));
        assert_eq!(later.to_json("X")["feed_forward_proj"], "gated-gelu");
        let multilingual = read(r#"{"model_type":"mt5"}"#).unwrap();
        assert_eq!(
            (multilingual.activation, multilingual.gated, multilingual.tied),
            (Activation::GeluTanh, true, false)
        );
    }

    #[test]
    fn plain_gelu_is_exact() {
        let config = read(r#"{"model_type":"t5","feed_forward_proj":"gelu"}"#).unwrap();
        assert_eq!((config.activation, config.gated), (Activation::Gelu, false));
        assert_eq!(config.to_json("X")["feed_forward_proj"], "gelu");
    }

    #[test]
    fn bad_values_name_their_field() {
        for (text, part) in [
            (r#"{"model_type":"bart"}"#, "this needs"),
            (r#"{"model_type":"t5","feed_forward_proj":"gated-mish"}"#, "feed_forward_proj"),
            (r#"{"model_type":"t5","relative_attention_num_buckets":3}"#, "relative_attention_num_buckets"),
            (r#"{"model_type":"t5","relative_attention_max_distance":9}"#, "relative_attention_max_distance"),
            (r#"{"model_type":"t5","d_kv":0}"#, "d_kv"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
