//! Classification of texts and tokens, zero-shot classification and question answering against the answers of the
//! pipelines of `transformers` (`parity/pipelines/heads/make.py`): every option, every family that has the head.

use std::path::{Path, PathBuf};

use ptm_tasks::{
    Aggregation, Function, Question, QuestionAnswering, QuestionAnsweringOptions, TextClassification,
    TextClassificationOptions, TokenClassification, TokenClassificationOptions, Top, ZeroShot, ZeroShotOptions,
    split_labels,
};
use ptm_text::Input;
use serde_json::{Value, json};

/// Equal JSON, scores within 1e-4, keys in the same order.
fn same(ours: &Value, theirs: &Value, at: &str) {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{at}: length of {ours} and {theirs}");
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| same(a, b, &format!("{at}[{i}]")));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{at}: {ours}, should be {theirs}");
            a.iter().for_each(|(key, value)| same(value, &b[key], &format!("{at}.{key} of {ours} and {theirs}")));
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            assert!((a - b).abs() <= 1e-4, "{at}: {a}, should be {b}");
        }
        _ => assert_eq!(ours, theirs, "{at}"),
    }
}

/// The directory, or a copy whose configuration has other values.
fn model(dir: &Path, changed: &Value) -> (PathBuf, Option<tempfile::TempDir>) {
    let Value::Object(changed) = changed else { return (dir.to_owned(), None) };
    let copy = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(dir).expect("a model directory").map(Result::unwrap) {
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
    }
    let path = copy.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(changed.clone());
    std::fs::write(&path, config.to_string()).unwrap();
    (copy.path().to_owned(), Some(copy))
}

fn number(parameters: &Value, name: &str) -> Option<usize> {
    parameters[name].as_u64().map(|n| n as usize)
}

/// A text, or several.
fn texts(inputs: &Value) -> Vec<&str> {
    match inputs {
        Value::Array(list) => list.iter().map(|text| text.as_str().expect("a text")).collect(),
        one => vec![one.as_str().expect("a text")],
    }
}

type Answers = ptm_tasks::Result<Vec<ptm_tasks::Result<Value>>>;

fn values<T: serde::Serialize>(answers: ptm_tasks::Result<Vec<ptm_tasks::Result<T>>>) -> Answers {
    let value =
        |answer: ptm_tasks::Result<T>| answer.map(|answer| serde_json::to_value(answer).expect("it serialises"));
    Ok(answers?.into_iter().map(value).collect())
}

fn classify(dir: &Path, inputs: &Value, parameters: &Value) -> Answers {
    let one = |input: &Value| match input {
        Value::String(text) => (text.clone(), None),
        pair => (pair["text"].as_str().unwrap().to_owned(), pair["text_pair"].as_str().map(str::to_owned)),
    };
    let inputs: Vec<(String, Option<String>)> = match inputs {
        Value::Array(list) => list.iter().map(one).collect(),
        input => vec![one(input)],
    };
    let inputs: Vec<Input<'_>> = inputs
        .iter()
        .map(|(text, pair)| pair.as_ref().map_or(Input::Text(text), |pair| Input::Pair(text, pair)))
        .collect();
    let options = TextClassificationOptions {
        function_to_apply: parameters["function_to_apply"].as_str().map(|name| match name {
            "sigmoid" => Function::Sigmoid,
            "softmax" => Function::Softmax,
            _ => Function::None,
        }),
        top_k: parameters.get("top_k").map(|_| Top::from(number(parameters, "top_k"))),
        truncate: parameters["truncation"] == true,
        ..TextClassificationOptions::default()
    };
    values(TextClassification::open(dir)?.classify(&inputs, &options, &mut |_| {}))
}

fn zero_shot(dir: &Path, inputs: &Value, parameters: &Value) -> Answers {
    let labels = &parameters["candidate_labels"];
    let options = ZeroShotOptions {
        candidate_labels: labels
            .as_str()
            .map_or_else(|| texts(labels).into_iter().map(str::to_owned).collect(), split_labels),
        hypothesis_template: parameters["hypothesis_template"].as_str().map(str::to_owned),
        multi_label: parameters["multi_label"].as_bool(),
        ..ZeroShotOptions::default()
    };
    values(ZeroShot::open(dir)?.classify(&texts(inputs), &options, &mut |_| {}))
}

fn entities(dir: &Path, inputs: &Value, parameters: &Value) -> Answers {
    let options = TokenClassificationOptions {
        aggregation_strategy: parameters["aggregation_strategy"].as_str().map(|name| match name {
            "simple" => Aggregation::Simple,
            "first" => Aggregation::First,
            "average" => Aggregation::Average,
            "max" => Aggregation::Max,
            _ => Aggregation::None,
        }),
        ignore_labels: parameters.get("ignore_labels").map(|list| texts(list).into_iter().map(str::to_owned).collect()),
        stride: number(parameters, "stride"),
        ..TokenClassificationOptions::default()
    };
    values(TokenClassification::open(dir)?.classify(&texts(inputs), &options, &mut |_| {}))
}

fn answers(dir: &Path, inputs: &Value, parameters: &Value) -> Answers {
    let (questions, contexts) = (texts(&inputs["question"]), texts(&inputs["context"]));
    let asked: Vec<Question<'_>> = questions
        .iter()
        .enumerate()
        .map(|(i, question)| Question { question, context: contexts[i.min(contexts.len() - 1)] })
        .collect();
    let options = QuestionAnsweringOptions {
        top_k: number(parameters, "top_k"),
        doc_stride: number(parameters, "doc_stride"),
        max_answer_len: number(parameters, "max_answer_len"),
        max_seq_len: number(parameters, "max_seq_len"),
        max_question_len: number(parameters, "max_question_len"),
        handle_impossible_answer: parameters["handle_impossible_answer"].as_bool(),
        align_to_words: parameters["align_to_words"].as_bool(),
        ..QuestionAnsweringOptions::default()
    };
    values(QuestionAnswering::open(dir)?.answer(&asked, &options, &mut |_| {}))
}

/// The shape that the pipeline gives to the answers of a call.
fn shaped(task: &str, inputs: &Value, parameters: &Value, changed: &Value, mut answers: Vec<Value>) -> Value {
    let is_list = match task {
        // a list of one question is one question
        "question-answering" => answers.len() > 1,
        // a text alone gives a list even so, unless it has one already
        "text-classification" if inputs.is_string() && parameters.get("top_k").is_none() => {
            assert!(changed.get("return_all_scores").is_none() || answers[0].is_array());
            true
        }
        _ => inputs.is_array(),
    };
    if is_list { Value::Array(answers) } else { answers.remove(0) }
}

fn check(name: &str, least: usize) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/pipelines/heads").join(name);
    let cases = std::fs::read(dir.join("cases.json")).expect("golden answers");
    let cases: Vec<Value> = serde_json::from_slice(&cases).expect("valid JSON");
    assert!(cases.len() >= least, "{name}: {} cases", cases.len());
    for case in &cases {
        let (task, inputs, parameters) = (case["task"].as_str().unwrap(), &case["inputs"], &case["parameters"]);
        let (dir, _held) = model(&dir, &case["config"]);
        let at = format!("{name}: {task} {inputs} {parameters} {}", case["config"]);
        let ours = match task {
            "text-classification" => classify(&dir, inputs, parameters),
            "zero-shot-classification" => zero_shot(&dir, inputs, parameters),
            "token-classification" => entities(&dir, inputs, parameters),
            _ => answers(&dir, inputs, parameters),
        };
        let ours = ours.and_then(|all| all.into_iter().collect::<ptm_tasks::Result<Vec<Value>>>());
        match (ours, case.get("error")) {
            (Ok(ours), None) => same(&shaped(task, inputs, parameters, &case["config"], ours), &case["output"], &at),
            (Err(_), Some(_)) => {}
            (Ok(ours), Some(error)) => panic!("{at}: {ours:?}, should fail: {error}"),
            (Err(error), None) => panic!("{at}: {error}"),
        }
    }
}

macro_rules! golden {
    ($($test:ident: $name:literal, $least:literal;)*) => {
        $(#[test]
        fn $test() {
            check($name, $least);
        })*
    };
}

golden! {
    bert_texts: "bert-sequence", 50;
    bert_one_label: "bert-one", 30;
    bert_tokens: "bert-token", 50;
    bert_answers: "bert-span", 40;
    distilbert_texts: "distilbert-sequence", 50;
    distilbert_tokens: "distilbert-token", 50;
    distilbert_answers: "distilbert-span", 40;
    electra_texts: "electra-sequence", 50;
    electra_tokens: "electra-token", 50;
    electra_answers: "electra-span", 40;
    ernie_texts: "ernie-sequence", 50;
    ernie_tokens: "ernie-token", 50;
    ernie_answers: "ernie-span", 40;
    roberta_texts: "roberta-sequence", 50;
    roberta_tokens: "roberta-token", 50;
    roberta_answers: "roberta-span", 40;
    gpt2_texts: "gpt2-sequence", 50;
    gpt2_tokens: "gpt2-token", 50;
    gpt2_answers: "gpt2-span", 40;
    xlmr_texts: "xlmr-sequence", 50;
    xlmr_tokens: "xlmr-token", 50;
    xlmr_answers: "xlmr-span", 40;
    gpt_texts: "gpt-sequence", 50;
    mbart_texts: "mbart-sequence", 50;
    mbart_answers: "mbart-span", 40;
    mt5_texts: "mt5-sequence", 50;
    mt5_tokens: "mt5-token", 50;
    mt5_answers: "mt5-span", 40;
    bart_texts: "bart-sequence", 50;
    bart_answers: "bart-span", 40;
    t5_texts: "t5-sequence", 50;
    t5_tokens: "t5-token", 50;
    t5_answers: "t5-span", 40;
    xlnet_texts: "xlnet-sequence", 50;
    xlnet_tokens: "xlnet-token", 50;
    xlnet_answers: "xlnet-span", 40;
}

#[test]
fn parameters_have_origins() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/pipelines/heads/bert-span");
    let stored = json!({"task_specific_params": {"question-answering": {"top_k": 2, "max_answer_len": 4}}});
    let (dir, _held) = model(&dir, &stored);
    let model = QuestionAnswering::open(&dir).unwrap();
    let options = QuestionAnsweringOptions { max_answer_len: Some(3), ..QuestionAnsweringOptions::default() };
    let effective: Vec<(String, Value, String)> = model
        .effective(&options)
        .unwrap()
        .into_iter()
        .map(|one| (one.name.to_owned(), one.value, one.origin.to_string()))
        .collect();
    let find = |name: &str| effective.iter().find(|one| one.0 == name).unwrap();
    assert_eq!(
        (&find("top_k").1, &find("max_answer_len").1, &find("doc_stride").1),
        (&json!(2), &json!(3), &json!(24))
    );
    assert_eq!(find("top_k").2, "config.json, task_specific_params.question-answering");
    assert_eq!((&*find("max_answer_len").2, &*find("doc_stride").2), ("given", "default"));
    let asked = [Question { question: "Where?", context: "In New York City, said the company." }];
    assert_eq!(model.answer(&asked, &options, &mut |_| {}).unwrap()[0].as_ref().unwrap().all().len(), 2);
}

/// What would be said of a text would depend on the texts beside it.
#[test]
fn half_of_a_batch_read_backwards_is_refused() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/pipelines/heads/xlnet-sequence");
    let (dir, _held) = model(&dir, &json!({"bi_data": true}));
    let error = TextClassification::open(&dir).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("config.json: bi_data: the second half of every batch"), "{error}");
    assert!(error.contains(&dir.display().to_string()) && error.contains("set it to false"), "{error}");
}
