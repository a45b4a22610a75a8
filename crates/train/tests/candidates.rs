//! Whole evaluations of small random models of several families, from a directory and a file to a report.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use ptm_models::heads::{ChoiceHead, Head, LanguageModelHead, SequenceHead, SpanHead, TokenHead};
use ptm_models::{Bart, Body, Configuration, Decoder, Encoder, Model, Pass, T5, Xlnet};
use ptm_text::{EncodeOptions, Packed, PositionStyle, Tokenizer};
use ptm_train::evaluate::{Candidate, EvaluateOptions, Evaluation, Predictions, ReportOptions, evaluate};
use ptm_train::recipe::Task;
use serde_json::{Map, Value, json};

const VOCABULARY: usize = 30_522;

fn tokenizer_files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/all-MiniLM-L6-v2")
}

/// A random model with the tokenizer of the built-in one.
fn model<H: Head<B>, B: Body>(config: Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let Value::Object(config) = config else { panic!("an object") };
    let config = B::Config::from_json(config).unwrap();
    Model::<H, B>::random(config, 3, &Device::flex()).unwrap().save(dir.path()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(tokenizer_files().join(name), dir.path().join(name)).unwrap();
    }
    dir
}

fn with(base: Value, more: Value) -> Value {
    let (Value::Object(mut base), Value::Object(more)) = (base, more) else { panic!("objects") };
    base.extend(more);
    Value::Object(base)
}

fn bert(more: Value) -> Value {
    let base = json!({"model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64, "initializer_range": 0.5});
    with(base, more)
}

fn labels(names: &[&str]) -> Value {
    let map: Map<String, Value> = names.iter().enumerate().map(|(i, name)| (i.to_string(), json!(name))).collect();
    json!({ "id2label": map })
}

fn run(dir: &Path, data: &str, name: &str) -> ptm_train::Result<Evaluation> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, data).unwrap();
    let candidate = Candidate::open(dir)?;
    let mut last = (0, 0);
    let done =
        evaluate(&candidate, dir, &[file], &EvaluateOptions::default(), &mut |done, total| last = (done, total))?;
    assert!(last.0 == last.1 && last.0 > 0, "{last:?}");
    Ok(done)
}

fn main_metric(evaluation: &Evaluation) -> (&'static str, f64) {
    evaluation.report(&ReportOptions { resamples: 5, ..ReportOptions::default() }).main().unwrap()
}

const RATED: &str = "text,label\nThe cat sat on the mat.,yes\nA dog,no\nOnce upon a time,YES\n42 is a number!,0\n";

#[test]
fn classes_are_those_of_the_model_called_by_hand() {
    let dir = model::<SequenceHead, Encoder>(bert(labels(&["yes", "no"])));
    let found = run(dir.path(), RATED, "data.csv").unwrap();
    let model = Model::<SequenceHead, Encoder>::open(dir.path(), &Device::flex()).unwrap().model;
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    let mut right = 0;
    for (text, gold) in [("The cat sat on the mat.", 0), ("A dog", 1), ("Once upon a time", 0), ("42 is a number!", 0)]
    {
        let packed =
            Packed::from_encodings(&[tokenizer.encode(text, &EncodeOptions::default()).unwrap()], PositionStyle::Zero);
        let logits = ptm_ops::read_f32(model.logits(&(&packed.unwrap()).into(), &Pass::eval()).unwrap());
        right += usize::from(usize::from(logits[1] > logits[0]) == gold);
    }
    assert_eq!(main_metric(&found), ("accuracy", right as f64 / 4.0));
    assert_eq!(found.lengths[1], 4);
    let same = found.compare(&found, 20, 0).unwrap();
    assert!(same.iter().all(|metric| metric.difference == 0.0));
}

#[test]
fn a_long_text_is_cut_and_counted() {
    let dir = model::<SequenceHead, Encoder>(bert(labels(&["yes", "no"])));
    let found = run(dir.path(), &format!("text,label\n{},yes\nshort,no\n", "word ".repeat(100)), "data.csv").unwrap();
    assert_eq!((found.truncated, found.lengths[0]), (1, 102));
}

#[test]
fn every_body_classifies() {
    let yes_no = || labels(&["yes", "no"]);
    let ends = json!({"bos_token_id": 101, "eos_token_id": 102, "pad_token_id": 0, "decoder_start_token_id": 102});
    let gpt2 = json!({"model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64,
        "pad_token_id": 0});
    let bart = json!({"model_type": "bart", "vocab_size": VOCABULARY, "d_model": 16, "encoder_layers": 1,
        "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
        "max_position_embeddings": 64});
    let t5 = json!({"model_type": "t5", "vocab_size": VOCABULARY, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1,
        "num_heads": 2});
    let xlnet = json!({"model_type": "xlnet", "vocab_size": VOCABULARY, "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32});
    let dirs = [
        model::<SequenceHead, Decoder>(with(gpt2, yes_no())),
        model::<SequenceHead, Bart>(with(with(bart, ends.clone()), yes_no())),
        model::<SequenceHead, T5>(with(with(t5, ends.clone()), yes_no())),
        model::<SequenceHead, Xlnet>(with(with(xlnet, ends), yes_no())),
    ];
    for dir in dirs {
        let found = run(dir.path(), RATED, "data.csv").unwrap();
        assert!(matches!(found.predictions, Predictions::Classes(_)));
        assert_eq!(main_metric(&found).0, "accuracy");
    }
}

#[test]
fn other_readings_of_sequences() {
    let several = with(labels(&["a", "b", "c"]), json!({"problem_type": "multi_label_classification"}));
    let dir = model::<SequenceHead, Encoder>(bert(several));
    let data = "{\"text\": \"x\", \"labels\": [\"a\", \"c\"]}\n{\"text\": \"y\", \"labels\": []}\n";
    assert_eq!(main_metric(&run(dir.path(), data, "data.jsonl").unwrap()).0, "f1_micro");
    let dir = model::<SequenceHead, Encoder>(bert(json!({"num_labels": 1})));
    let data = "sentence1\tsentence2\tscore\na\tb\t1.5\nc\td\t2\ne\tf g\t0\n";
    let found = run(dir.path(), data, "data.tsv").unwrap();
    assert_eq!((main_metric(&found).0, found.texts[0].as_str()), ("pearson", "a ‖ b"));
    let dir = model::<ChoiceHead, Encoder>(bert(json!({})));
    let data = "{\"context\": \"I ate\", \"choices\": [\"soup\", \"a car\"], \"label\": 0}\n\
                {\"context\": \"She drove\", \"choices\": [\"soup\", \"a car\", \"x\"], \"label\": 1}\n";
    assert_eq!(main_metric(&run(dir.path(), data, "data.jsonl").unwrap()).0, "accuracy");
}

#[test]
fn words_answers_and_texts() {
    let dir = model::<TokenHead, Encoder>(bert(labels(&["O", "B-X", "I-X"])));
    let found = run(dir.path(), "Anna B-X\nsleeps O\n\nwell O\n", "data.conll").unwrap();
    assert_eq!(main_metric(&found).0, "f1");
    let dir = model::<SpanHead, Encoder>(bert(json!({})));
    let data = "{\"question\": \"who?\", \"context\": \"Anna sleeps.\", \
                \"answers\": {\"text\": [\"Anna\"], \"answer_start\": [0]}}\n\
                {\"question\": \"where?\", \"context\": \"Anna sleeps.\", \"answers\": {\"text\": [], \"answer_start\": []}}\n";
    let found = run(dir.path(), data, "data.jsonl").unwrap();
    assert_eq!(main_metric(&found).0, "f1");
    let gpt2 = json!({"model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64});
    let dir = model::<LanguageModelHead, Decoder>(gpt2);
    let candidate = Candidate::open(dir.path()).unwrap();
    assert_eq!(candidate.task(), Task::LanguageModel);
    let text = "the cat sat on the mat and ".repeat(20);
    let found = run(dir.path(), &format!("{text}\nshort text\n"), "data.txt").unwrap();
    // a fresh model with small weights knows nothing
    let perplexity = main_metric(&found).1;
    assert!((perplexity / VOCABULARY as f64 - 1.0).abs() < 0.1, "{perplexity}");
    let Predictions::Texts(texts) = &found.predictions else { panic!("texts") };
    assert_eq!(texts.0[0].tokens as usize, found.lengths[0] - found.lengths[0].div_ceil(64));
    let model = Model::<LanguageModelHead, Decoder>::open(dir.path(), &Device::flex()).unwrap().model;
    let ids = candidate.tokenizer().encode("short text", &EncodeOptions::default()).unwrap().ids;
    let packed = Packed::from_ids(&[ids], PositionStyle::Zero).unwrap();
    let (rows, targets) = ptm_models::heads::next_tokens(&packed);
    let loss = model.loss(&packed, &rows, &targets, 1.0, &Pass::eval()).unwrap();
    let loss = f64::from(loss.into_scalar::<f32>());
    assert!((texts.0[1].loss - loss).abs() < 1e-4 * loss, "{} {loss}", texts.0[1].loss);
}

#[test]
fn what_does_not_fit_is_said() {
    let dir = model::<SequenceHead, Encoder>(bert(labels(&["yes", "no"])));
    let said = |data: &str| run(dir.path(), data, "data.csv").unwrap_err().to_string();
    let error = said("text,label\na,maybe\n");
    assert!(error.contains("\"maybe\"") && error.contains("yes, no"), "{error}");
    assert!(said("text,label\na,\n").contains("row 1 has no label"));
    assert!(said("text,mark\na,yes\n").contains("row 1 has no label"));
    let folder = model::<ptm_models::heads::MaskedLmHead, Encoder>(bert(json!({})));
    let error = Candidate::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("masked-lm"), "{error}");
    let xlnet = json!({"model_type": "xlnet", "vocab_size": VOCABULARY, "d_model": 16, "n_layer": 1, "n_head": 2,
        "d_inner": 32, "bi_data": true});
    let folder = model::<SequenceHead, Xlnet>(with(xlnet, labels(&["yes", "no"])));
    let error = Candidate::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json: bi_data") && error.contains("set it to false"), "{error}");
}
