//! A configuration as JSON: the file it was read from, with what may have changed since brought up to date.

use ptm_ops::Activation;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::{EncoderConfig, Family, ProblemType, activation};

/// The name that files give an activation.
pub(super) fn spelled(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::Relu => "relu",
        Activation::Silu => "silu",
        Activation::Tanh => "tanh",
        Activation::None => "linear",
    }
}

/// An f32 as the shortest decimal that means it: 0.1, not 0.10000000149011612.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// Sets a field under each of its names that the file uses, else under the first. A value that means the same stays
/// as it was spelled.
pub(super) fn put(json: &mut Map<String, Value>, names: &[&str], value: Value, same: impl Fn(&Value) -> bool) {
    let mut there = false;
    for &name in names {
        if let Some(old) = json.get_mut(name).filter(|old| !old.is_null()) {
            there = true;
            if !same(old) {
                *old = value.clone();
            }
        }
    }
    if !there {
        json.insert(names[0].into(), value);
    }
}

pub(super) fn put_size(json: &mut Map<String, Value>, names: &[&str], size: usize) {
    put(json, names, size.into(), |old| old.as_u64() == Some(size as u64));
}

pub(super) fn put_number(json: &mut Map<String, Value>, names: &[&str], value: f32) {
    put(json, names, number(value), |old| old.as_f64().is_some_and(|old| old as f32 == value));
}

pub(super) fn put_activation(json: &mut Map<String, Value>, names: &[&str], value: Activation) {
    put(json, names, spelled(value).into(), |old| {
        let one = Map::from_iter([("activation".to_owned(), old.clone())]);
        activation(&Fields(&one), &["activation"], Activation::Gelu).is_ok_and(|old| old == value)
    });
}

/// The file as it was read, with what is said of every family: its name, the class, tied weights, precision.
pub(super) fn begun(raw: &Map<String, Value>, family: Family, architecture: &str, tied: bool) -> Map<String, Value> {
    let mut json = raw.clone();
    json.insert("model_type".into(), family.model_type().into());
    json.insert("architectures".into(), vec![architecture].into());
    json.insert("tie_word_embeddings".into(), tied.into());
    // weights are written as f32, whatever they were; newer files call the field dtype
    let dtype = if json.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    json.insert(dtype.into(), "float32".into());
    if json.contains_key("torch_dtype") {
        json.insert("torch_dtype".into(), "float32".into());
    }
    json
}

pub(super) fn put_labels(json: &mut Map<String, Value>, labels: &[String], problem_type: Option<ProblemType>) {
    let labels = || labels.iter().enumerate();
    let id2label: Map<_, _> = labels().map(|(id, label)| (id.to_string(), label.as_str().into())).collect();
    let label2id: Map<_, _> = labels().map(|(id, label)| (label.clone(), id.into())).collect();
    // files say it in either way, and these would contradict the names
    json.remove("num_labels");
    json.remove("_num_labels");
    json.insert("id2label".into(), id2label.into());
    json.insert("label2id".into(), label2id.into());
    match problem_type {
        Some(kind) => json.insert("problem_type".into(), kind.name().into()),
        None => json.remove("problem_type"),
    };
}

impl EncoderConfig {
    /// The configuration as JSON, for `config.json`: what was read, with every field that ptm knows brought up to
    /// date. `architecture` is the class that `transformers` is to open it with.
    pub fn to_json(&self, architecture: &str) -> Map<String, Value> {
        let distil = self.family == Family::DistilBert;
        let mut json = begun(&self.raw, self.family, architecture, self.tied);
        self.put_body(&mut json, distil);
        self.put_dropouts(&mut json, distil);
        put_labels(&mut json, &self.labels, self.problem_type);
        json
    }

    fn put_body(&self, json: &mut Map<String, Value>, distil: bool) {
        let ours = |new: &'static str, old: &'static str| if distil { [old, new] } else { [new, old] };
        put_size(json, &["vocab_size"], self.vocab_size);
        put_size(json, &ours("hidden_size", "dim"), self.hidden_size);
        put_size(json, &ours("num_hidden_layers", "n_layers"), self.layers);
        put_size(json, &ours("num_attention_heads", "n_heads"), self.heads);
        put_size(json, &ours("intermediate_size", "hidden_dim"), self.intermediate_size);
        put_size(json, &["max_position_embeddings"], self.max_positions);
        put_size(json, &["pad_token_id"], self.pad_token_id as usize);
        if self.family == Family::Electra {
            put_size(json, &["embedding_size"], self.embedding_size);
        }
        if !distil {
            put_size(json, &["type_vocab_size"], self.segments);
            put_number(json, &["layer_norm_eps"], self.norm_eps);
        }
        if self.family == Family::Ernie {
            json.insert("use_task_id".into(), (self.tasks > 0).into());
            if self.tasks > 0 {
                put_size(json, &["task_type_vocab_size"], self.tasks);
            }
        }
        put_activation(json, &ours("hidden_act", "activation"), self.activation);
        put_number(json, &["initializer_range"], self.initializer_range);
    }

    fn put_dropouts(&self, json: &mut Map<String, Value>, distil: bool) {
        let ours = |new: &'static str, old: &'static str| if distil { [old, new] } else { [new, old] };
        put_number(json, &ours("hidden_dropout_prob", "dropout"), self.hidden_dropout);
        put_number(json, &ours("attention_probs_dropout_prob", "attention_dropout"), self.attention_dropout);
        if distil {
            put_number(json, &["seq_classif_dropout"], self.classifier_dropout);
            put_number(json, &["qa_dropout"], self.span_dropout);
        } else if self.classifier_dropout != self.hidden_dropout || json.contains_key("classifier_dropout") {
            // null stands for the body's dropout, whatever that is
            let inherits = json.get("classifier_dropout").is_none_or(Value::is_null);
            if !inherits || self.classifier_dropout != self.hidden_dropout {
                put_number(json, &["classifier_dropout"], self.classifier_dropout);
            }
        }
        if self.family == Family::Electra {
            put_number(json, &["summary_last_dropout"], self.choice_dropout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> EncoderConfig {
        EncoderConfig::from_bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn unknown_fields_survive() {
        let json = read(r#"{"model_type":"bert","my_note":[1,2]}"#).to_json("BertModel");
        assert_eq!(json["my_note"], serde_json::json!([1, 2]));
        assert_eq!(json["architectures"], serde_json::json!(["BertModel"]));
    }

    #[test]
    fn what_changed_is_written_under_the_names_that_the_file_uses() {
        for (text, field) in [
            (r#"{"model_type":"bert","num_hidden_layers":12}"#, "num_hidden_layers"),
            (r#"{"model_type":"bert"}"#, "num_hidden_layers"),
            (r#"{"model_type":"distilbert","n_layers":6}"#, "n_layers"),
            (r#"{"model_type":"distilbert","num_hidden_layers":6}"#, "num_hidden_layers"),
            (r#"{"model_type":"distilbert"}"#, "n_layers"),
        ] {
            let mut config = read(text);
            config.layers = 3;
            config.attention_dropout = 0.3;
            let json = config.to_json("X");
            assert_eq!(json[field], 3, "{text}");
            let again = EncoderConfig::from_json(json).unwrap();
            assert_eq!((again.layers, again.attention_dropout), (3, 0.3), "{text}");
        }
    }

    #[test]
    fn what_did_not_change_stays_as_it_was_spelled() {
        let text = r#"{"model_type":"bert","hidden_act":"gelu_fast","layer_norm_eps":1e-5,"hidden_dropout_prob":0.10,
            "classifier_dropout":null,"problem_type":null,"num_labels":3}"#;
        let json = read(text).to_json("BertModel");
        assert_eq!(json["hidden_act"], "gelu_fast");
        assert_eq!(json["layer_norm_eps"], 1e-5);
        assert_eq!(json["hidden_dropout_prob"], 0.1);
        assert_eq!(json["attention_probs_dropout_prob"], 0.1);
        assert!(json["classifier_dropout"].is_null());
        assert!(!json.contains_key("num_labels"));
        assert_eq!(json["id2label"]["2"], "LABEL_2");
    }

    #[test]
    fn weights_are_said_to_be_what_they_are() {
        for (field, text) in [
            ("torch_dtype", r#"{"model_type":"bert","torch_dtype":"float16"}"#),
            ("dtype", r#"{"model_type":"bert","dtype":"bfloat16"}"#),
            ("torch_dtype", r#"{"model_type":"bert"}"#),
        ] {
            let json = read(text).to_json("BertModel");
            assert_eq!(json[field], "float32", "{text}");
            assert_eq!(json.keys().filter(|key| key.ends_with("dtype")).count(), 1, "{text}");
        }
    }
}
