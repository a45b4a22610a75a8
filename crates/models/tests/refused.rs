//! Model directories and batches that don't fit: each is refused with an error that names the file, the field or
//! tensor and a way out; none panics, hangs or fills the memory.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use ptm_models::files::{Weights, write_safetensors};
use ptm_models::heads::{
    Bare, ChoiceHead, Head, LanguageModelHead, MaskedLmHead, NextSentenceHead, ReplacedTokenHead, SequenceHead,
    SpanHead, Targets, TokenHead,
};
use ptm_models::{
    Bart, Body, Configuration, Decoder, Encoder, EncoderConfig, Error, Input, Model, Pair, Pass, Rows, T5, Xlnet,
};
use ptm_ops::Mask;
use ptm_text::{Packed, PositionStyle};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

fn dump(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/dumps").join(case)
}

fn open<H: Head>(case: &str) -> Model<H> {
    Model::open(&dump(case), &Device::flex()).unwrap().model
}

/// A directory like the dump `case` with other fields and other tensors.
fn changed(case: &str, fields: &Value, tensor: impl Fn(&str, &mut Vec<usize>) -> bool) -> TempDir {
    let dir = TempDir::new().unwrap();
    let config = std::fs::read(dump(case).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    for (name, value) in fields.as_object().unwrap() {
        config[name] = value.clone();
    }
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let weights = Weights::open(&dump(case)).unwrap();
    let mut tensors = Vec::new();
    for name in weights.names() {
        let mut shape = weights.get(name).unwrap().shape;
        if tensor(name, &mut shape) {
            let elements = shape.iter().product();
            tensors.push((name.to_owned(), shape, vec![0.0_f32; elements]));
        }
    }
    write_safetensors(&dir.path().join("model.safetensors"), tensors).unwrap();
    dir
}

fn says<H: Head>(dir: &TempDir, parts: &[&str]) {
    says_over::<H, Encoder>(dir, parts);
}

fn says_over<H: Head<B>, B: Body>(dir: &TempDir, parts: &[&str]) {
    let error = Model::<H, B>::open(dir.path(), &Device::flex()).expect_err("refused").to_string();
    let place = dir.path().display().to_string();
    for part in parts.iter().chain([&place.as_str()]) {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

fn all(_: &str, _: &mut Vec<usize>) -> bool {
    true
}

#[test]
fn a_tensor_of_another_shape() {
    let cases: [(&str, &str, &str); 6] = [
        ("bert.embeddings.word_embeddings.weight", "[65, 16]", "vocab_size"),
        ("bert.embeddings.position_embeddings.weight", "[17, 16]", "max_position_embeddings"),
        ("bert.embeddings.token_type_embeddings.weight", "[3, 16]", "type_vocab_size"),
        ("bert.encoder.layer.1.intermediate.dense.weight", "[33, 16]", "intermediate_size"),
        ("bert.encoder.layer.0.attention.self.key.bias", "[17]", "hidden_size"),
        ("classifier.weight", "[4, 16]", "id2label"),
    ];
    for (tensor, found, field) in cases {
        let dir = changed("bert-sequence", &json!({}), |name, shape| {
            shape[0] += usize::from(name == tensor);
            true
        });
        says::<SequenceHead>(&dir, &["model.safetensors", tensor, found, field, "config.json"]);
    }
    // the same number of elements is not the same shape
    let dir = changed("bert-sequence", &json!({}), |name, shape| {
        if name == "bert.embeddings.word_embeddings.weight" {
            *shape = vec![64 * 16];
        }
        true
    });
    says::<SequenceHead>(&dir, &["[1024]", "[64, 16]"]);
}

/// A tensor that several parameters share is named once, with its own shape.
#[test]
fn shared_tensors() {
    let tensor = "transformer.h.1.attn.c_attn.weight";
    let dir = changed("gpt2-lm", &json!({}), |name, shape| {
        *shape.last_mut().unwrap() += usize::from(name == tensor);
        true
    });
    says_over::<LanguageModelHead, Decoder>(&dir, &[tensor, "[16, 49]", "[16, 48]", "config.json"]);
    let dir = changed("gpt2-lm", &json!({}), |name, _| name != tensor);
    says_over::<LanguageModelHead, Decoder>(&dir, &["a tensor is missing", tensor]);
}

/// What isn't what it says: a family of another kind, a size that others contradict, a source without its end.
#[test]
fn encoder_decoders() {
    let dir = changed("bart-lm", &json!({"model_type": "t5"}), all);
    says_over::<LanguageModelHead, Bart>(&dir, &["\"t5\" is an encoder-decoder of T5's make", "bart, mbart, marian"]);
    let dir = changed("bart-lm", &json!({"decoder_attention_heads": 3}), all);
    says_over::<LanguageModelHead, Bart>(&dir, &["d_model", "decoder_attention_heads, 3"]);
    let dir = changed("t5-lm", &json!({"relative_attention_num_buckets": 16}), all);
    let table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    says_over::<LanguageModelHead, T5>(&dir, &[table, "[32, 4]", "[16, 4]", "relative_attention_num_buckets"]);
    // sizes that nobody can have: refused before anything is made
    let sizes = json!({"max_position_embeddings": 1 << 24, "vocab_size": 1 << 24});
    says_over::<LanguageModelHead, Bart>(&changed("marian-lm", &sizes, all), &["model.shared.weight", "vocab_size"]);

    let model = Model::<SequenceHead, Bart>::open(&dump("bart-sequence"), &Device::flex()).unwrap().model;
    let batch = |ids: &[u32]| Packed::from_ids(&[ids], PositionStyle::Offset(2)).unwrap();
    let (source, target) = (batch(&[0, 5, 6]), batch(&[2, 0, 5]));
    let error = model.logits(&Pair { source: &source, target: &target }, &Pass::eval()).unwrap_err().to_string();
    assert!(error.contains("without token 2, which ends it"), "{error}");
    let two = Packed::from_ids(&[[5], [2]], PositionStyle::Offset(2)).unwrap();
    let error = model.body.forward(&Pair { source: &two, target: &target }, &Rows::All, &Pass::eval()).unwrap_err();
    assert!(error.to_string().contains("1 targets for 2 sources"), "{error}");
}

/// Every field of every kind of configuration with values that it shouldn't have: read or refused, never a panic, and
/// what is read either fits the weights or says what doesn't.
#[test]
fn fields_of_any_value() {
    fn check<B: Body>(case: &str) {
        let dir = dump(case);
        let weights = Weights::open(&dir).unwrap();
        let config: Map<String, Value> =
            serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
        let values = [
            json!(null),
            json!(true),
            json!(false),
            json!(-1),
            json!(0),
            json!(1),
            json!(3),
            json!(1 << 16),
            json!(1_u64 << 40),
            json!(0.5),
            json!(1e300),
            json!("gelu"),
            json!([]),
            json!({}),
            json!({"0": "a"}),
        ];
        let mut read = 0;
        for name in config.keys() {
            for value in &values {
                let mut changed = config.clone();
                changed[name] = value.clone();
                let Ok(config) = B::Config::from_json(changed) else { continue };
                let again = B::Config::from_json(config.to_json("X"));
                assert!(again.is_ok(), "{case}: {name} {value} is written as what can't be read: {again:?}");
                let _ = config.parameters();
                if let Err(error) = Model::<Bare, B>::from_weights(config, &weights, &Device::flex(), None) {
                    assert!(!error.to_string().is_empty(), "{case}: {name} {value}");
                }
                read += 1;
            }
        }
        assert!(read > config.len(), "{case}: hardly anything was read");
    }
    check::<Encoder>("bert-hidden");
    check::<Encoder>("distilbert-hidden");
    check::<Encoder>("electra-hidden");
    check::<Encoder>("ernie-hidden");
    check::<Decoder>("gpt-hidden");
    check::<Decoder>("gpt2-hidden");
    check::<Bart>("bart-hidden");
    check::<Bart>("mbart-hidden");
    check::<Bart>("marian-hidden");
    check::<T5>("t5-hidden");
    check::<T5>("mt5-hidden");
    check::<Xlnet>("xlnet-hidden");
}

#[test]
fn missing_tensors() {
    let key = "bert.encoder.layer.1.attention.self.key.weight";
    let dir = changed("bert-sequence", &json!({}), |name, _| name != key);
    says::<SequenceHead>(&dir, &["a tensor is missing", key, "incomplete"]);
    let dir = changed("bert-sequence", &json!({}), |name, _| !name.starts_with("classifier"));
    says::<SequenceHead>(&dir, &["2 tensors are missing", "classifier.weight", "not this head", "trained for it"]);
    // weights of another family
    let dir = changed("roberta-sequence", &json!({"model_type": "bert"}), all);
    says::<SequenceHead>(&dir, &["another architecture", "such as classifier.dense.bias"]);
    let dir = changed("bert-sequence", &json!({}), |_, _| false);
    says::<SequenceHead>(&dir, &["tensors are missing: bert.embeddings.word_embeddings.weight"]);
}

#[test]
fn fields_that_are_wrong_name_the_file() {
    for (fields, parts) in [
        (json!({"model_type": null, "architectures": null}), ["model_type", "add the family's name"]),
        (json!({"model_type": "llama"}), ["model_type \"llama\"", "ptm knows bert"]),
        (json!({"num_attention_heads": 0}), ["num_attention_heads", "should not be 0"]),
        (json!({"num_attention_heads": 3}), ["hidden_size", "multiple of the 3 attention heads"]),
        (json!({"hidden_size": "16"}), ["hidden_size", "whole number"]),
        (json!({"hidden_size": 1.5}), ["hidden_size", "whole number"]),
        (json!({"vocab_size": 1u64 << 40}), ["vocab_size", "whole number from 0 to"]),
        (json!({"num_hidden_layers": 2_000_000_000}), ["num_hidden_layers", "whole number from 0 to"]),
        (json!({"layer_norm_eps": 1e39}), ["layer_norm_eps", "not negative"]),
        (json!({"initializer_range": 1e39}), ["initializer_range", "not negative"]),
        (json!({"hidden_dropout_prob": 1.0}), ["hidden_dropout_prob", "below 1"]),
        (json!({"id2label": {"0": "a", "2": "b"}}), ["id2label", "from 0 to 1"]),
        (json!({"id2label": {"0": "a", "00": "b"}}), ["id2label", "each once"]),
        (json!({"id2label": ["a"]}), ["id2label", "object"]),
        (json!({"id2label": {}}), ["id2label", "is empty"]),
        (json!({"id2label": null, "num_labels": 1 << 30}), ["num_labels", "whole number from 0 to"]),
        (json!({"problem_type": "ranking"}), ["problem_type", "multi_label_classification"]),
        (json!({"pruned_heads": {"0": [1]}}), ["pruned_heads", "not supported"]),
        (json!({"position_embedding_type": "relative_key"}), ["position_embedding_type", "absolute"]),
    ] {
        let error = {
            let dir = changed("bert-sequence", &fields, all);
            let error = Model::<SequenceHead>::open(dir.path(), &Device::flex()).expect_err(&fields.to_string());
            assert!(error.to_string().contains(&dir.path().join("config.json").display().to_string()), "{error}");
            error.to_string()
        };
        assert!(parts.iter().all(|part| error.contains(part)), "{fields}: {error}");
    }
    let dir = changed("roberta-mlm", &json!({"pad_token_id": 15}), all);
    says::<MaskedLmHead>(&dir, &["max_position_embeddings", "no position after that of padding, 15"]);
    let dir = changed("distilbert-qa", &json!({"qa_dropout": 5}), all);
    says::<SpanHead>(&dir, &["qa_dropout", "below 1"]);
    let dir = changed("electra-choice", &json!({"summary_type": "mean"}), all);
    says::<ChoiceHead>(&dir, &["summary_type", "\"mean\""]);
    assert!(Model::<Bare>::open(dir.path(), &Device::flex()).is_ok(), "only multiple choice summarises");
}

/// Python writes NaN where JSON has none.
#[test]
fn no_number_and_no_json() {
    let dir = changed("bert-sequence", &json!({}), all);
    for text in [&b"{\"model_type\": \"bert\", \"layer_norm_eps\": NaN}"[..], b"", b"\xff\xfe", b"[]", b"{\"a\":1e999}"]
    {
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        says::<SequenceHead>(&dir, &["config.json", "not a valid configuration"]);
    }
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    says::<SequenceHead>(&dir, &["config.json", "beside its weights"]);
    std::fs::create_dir(dir.path().join("config.json")).unwrap();
    says::<SequenceHead>(&dir, &["config.json", "not a file"]);
}

#[cfg(unix)]
#[test]
fn a_configuration_without_end() {
    let dir = TempDir::new().unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("config.json")).unwrap();
    says::<SequenceHead>(&dir, &["config.json", "not a file"]);
    let path = dir.path().join("huge");
    std::fs::create_dir(&path).unwrap();
    std::fs::File::create(path.join("config.json")).unwrap().set_len(1 << 40).unwrap();
    let error = EncoderConfig::from_dir(&path).unwrap_err().to_string();
    assert!(error.contains("larger than any configuration"), "{error}");
}

/// A new head is made for a body that is there, not for the sizes that a configuration claims.
#[test]
fn sizes_that_would_fill_the_memory() {
    let claims = json!({"hidden_size": 1 << 16, "num_attention_heads": 1 << 4, "num_hidden_layers": 4096});
    let dir = changed("bert-sequence", &claims, |_, _| false);
    let error = Model::<SequenceHead>::open_with_new_head(dir.path(), 1, &Device::flex()).unwrap_err();
    assert!(matches!(error, Error::MissingTensors { .. }), "{error}");
    let config = EncoderConfig::from_dir(dir.path()).unwrap();
    let error = Model::<SequenceHead>::random(config, 1, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("parameters is more than") && error.contains("hidden_size"), "{error}");
}

#[test]
fn the_count_of_parameters_is_that_of_the_model() {
    for case in ["bert-hidden", "distilbert-hidden", "electra-hidden", "ernie-hidden", "roberta-hidden"] {
        let model = open::<Bare>(case);
        let counted: usize = model.named_parameters().iter().map(|p| p.values.len()).sum();
        assert_eq!(model.config().parameters(), counted as u64, "{case}");
    }
}

fn batch() -> Packed {
    Packed { ids: vec![5, 6, 7, 8], positions: vec![0, 1, 0, 1], segments: vec![0; 4], offsets: vec![0, 2, 4] }
}

fn refused<T>(result: Result<T, Error>, part: &str) {
    match result {
        Err(Error::Input(problem)) => assert!(problem.contains(part), "{part:?} is not in: {problem}"),
        Err(other) => panic!("{part}: {other}"),
        Ok(_) => panic!("{part}: accepted"),
    }
}

#[test]
fn batches_that_do_not_fit() {
    let model = open::<Bare>("bert-hidden");
    let run = |batch: &Packed| model.body.forward(&batch.into(), &Rows::First, &Pass::eval());
    assert!(run(&batch()).is_ok());
    refused(run(&Packed { ids: vec![5, 6, 64, 8], ..batch() }), "token id 64 is beyond the model's 64: the tokenizer");
    refused(run(&Packed { positions: vec![0, 1, 0, 16], ..batch() }), "position 16");
    refused(run(&Packed { segments: vec![0, 0, 2, 0], ..batch() }), "segment id 2");
    refused(run(&Packed { segments: vec![0; 3], ..batch() }), "3 segments");
    refused(run(&Packed { positions: vec![0; 5], ..batch() }), "5 positions");
    for offsets in [vec![], vec![0], vec![0, 5], vec![0, 0, 4], vec![0, 3, 2, 4], vec![1, 4], vec![0, 2, 4, 4]] {
        refused(run(&Packed { offsets, ..batch() }), "offsets should rise from 0 to 4");
    }
    let packed = batch();
    let with =
        |mask: Mask, rows: Rows| model.body.forward(&Input { batch: &packed, tasks: None, mask }, &rows, &Pass::eval());
    refused(with(Mask::Keys(vec![true; 3].into()), Rows::All), "3 entries, the batch asks for 4");
    refused(with(Mask::Full(vec![true; 16].into()), Rows::All), "asks for 8");
    refused(with(Mask::Prefix(vec![1].into()), Rows::All), "asks for 2");
    refused(with(Mask::None, Rows::Chosen(vec![2, 1].into())), "ascend");
    refused(with(Mask::None, Rows::Chosen(vec![4].into())), "below the batch's 4");
    let ernie = open::<Bare>("ernie-hidden");
    for tasks in [vec![0; 3], vec![3; 4]] {
        let input = Input { batch: &packed, tasks: Some(tasks.into()), mask: Mask::None };
        refused(ernie.body.forward(&input, &Rows::All, &Pass::eval()), "task ids for 4 tokens");
    }
    // no sequence at all is a batch
    let hidden = run(&Packed::default()).unwrap();
    assert_eq!(hidden.dims(), [0, 16]);
}

#[test]
fn labels_that_do_not_fit() {
    let packed = batch();
    let (input, pass) = (Input::from(&packed), Pass::eval());
    let rows = vec![1, 2].into();
    let model = open::<MaskedLmHead>("bert-mlm");
    refused(model.loss(&input, &rows, &vec![1].into(), 1.0, &pass), "1 labels were given where 2");
    refused(model.loss(&input, &rows, &vec![1, 64].into(), 1.0, &pass), "label 64 is beyond the model's 64");
    let model = open::<NextSentenceHead>("bert-nsp");
    refused(model.loss(&input, &vec![0, 2].into(), &pass), "label 2 is beyond the model's 2");
    let model = open::<SequenceHead>("bert-sequence");
    refused(model.loss(&input, &Targets::Label(vec![0, 3].into()), &pass), "label 3");
    refused(model.loss(&input, &Targets::Labels(vec![0.0; 2]), &pass), "2 sequences of 3 labels");
    let model = open::<TokenHead>("bert-token");
    refused(model.loss(&input, &rows, &vec![0, 3].into(), &pass), "label 3");
    let model = open::<SpanHead>("bert-qa");
    refused(model.loss(&input, &vec![0, 2].into(), &vec![1, 1].into(), &pass), "token 2 of a sequence of 2");
    refused(model.loss(&input, &vec![0].into(), &vec![1, 1].into(), &pass), "1 labels were given");
    let model = open::<ChoiceHead>("bert-choice");
    for choices in [0, 3] {
        refused(model.logits(&input, choices, &pass), "choices for every example");
    }
    refused(model.loss(&input, 2, &vec![2].into(), &pass), "label 2 is beyond");
    let model = open::<ReplacedTokenHead>("electra-rtd");
    refused(model.loss(&input, &[true], &pass), "1 flags for 4 tokens");
}
