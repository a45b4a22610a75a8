//! `ptm classify`, `nli`, `zero-shot`, `ner`, `qa`, `rerank` and `run`: the shapes of the transformers pipelines, many
//! inputs with wrong ones among them, runs that go on, and what cannot be answered.

use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::{Value, json};

use super::{json, parity, printed, ptm, refused};

fn model(name: &str) -> PathBuf {
    parity(&format!("pipelines/heads/{name}"))
}

/// The answer of the pipeline to a case without a changed configuration.
fn golden(name: &str, task: &str, inputs: &Value, parameters: &Value) -> Value {
    let cases = std::fs::read(model(name).join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    let fits = |case: &&Value| {
        case["task"] == task
            && case["inputs"] == *inputs
            && case["parameters"] == *parameters
            && case["config"].is_null()
    };
    cases.iter().find(fits).expect("such a case")["output"].clone()
}

fn close(a: &Value, b: &Value) {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| close(a, b));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{a:?} {b:?}");
            a.values().zip(b.values()).for_each(|(a, b)| close(a, b));
        }
        (Value::Number(x), Value::Number(y)) if x.is_f64() => {
            assert!((x.as_f64().unwrap() - y.as_f64().unwrap()).abs() <= 1e-4, "{x} {y}");
        }
        _ => assert_eq!(a, b),
    }
}

fn command(name: &str, directory: &str, more: &[&str]) -> Command {
    let mut command = ptm();
    command.arg(name).arg("-m").arg(model(directory)).args(more);
    command
}

const CLARA: &str = "My name is Clara and I live in Berkeley, California.";
const WOLFGANG: &str = "wolfgang works at the hugging face company in new york city";

#[test]
fn the_pipelines_shapes() {
    let classify = |more: &[&str]| json(&mut command("classify", "bert-sequence", &[&["--json"], more].concat()));
    let wanted =
        |inputs: Value, parameters: Value| golden("bert-sequence", "text-classification", &inputs, &parameters);
    close(&classify(&[CLARA]), &wanted(json!(CLARA), json!({})));
    close(&classify(&[CLARA, "--top-k", "2"]), &wanted(json!(CLARA), json!({"top_k": 2})));
    close(&classify(&[CLARA, WOLFGANG, "--top-k", "all"]), &wanted(json!([CLARA, WOLFGANG]), json!({"top_k": null})));
    let pair = json!({"text": CLARA, "text_pair": WOLFGANG});
    close(&classify(&[CLARA, "--text-pair", WOLFGANG]), &wanted(pair.clone(), json!({})));
    let nli = ["--json", "--premise", CLARA, "--hypothesis", WOLFGANG, "--top-k", "2"];
    close(&json(&mut command("nli", "bert-sequence", &nli)), &wanted(pair, json!({"top_k": 2})));

    let topics = json!({"candidate_labels": ["politics", "the city", "food and drink"]});
    let chosen = json(&mut command(
        "zero-shot",
        "bert-sequence",
        &["--json", "--labels", "politics,the city,food and drink", CLARA],
    ));
    close(&chosen, &golden("bert-sequence", "zero-shot-classification", &json!(CLARA), &topics));

    for strategy in ["none", "simple", "max"] {
        let found = json(&mut command("ner", "bert-token", &["--json", "--aggregation-strategy", strategy, WOLFGANG]));
        let wanted = json!({"aggregation_strategy": strategy});
        close(&found, &golden("bert-token", "token-classification", &json!(WOLFGANG), &wanted));
    }

    let cases = std::fs::read(model("bert-span").join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    let asked = &cases[0]["inputs"];
    let (question, context) = (asked["question"].as_str().unwrap(), asked["context"].as_str().unwrap());
    let qa = |more: &[&str]| {
        json(&mut command(
            "qa",
            "bert-span",
            &[&["--json", "--question", question, "--context", context], more].concat(),
        ))
    };
    close(&qa(&[]), &cases[0]["output"]);
    close(&qa(&["--top-k", "3"]), &golden("bert-span", "question-answering", asked, &json!({"top_k": 3})));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.txt"), context).unwrap();
    let mut from_file = command("qa", "bert-span", &["--json", "--question", question, "--context-file"]);
    close(&json(from_file.arg(dir.path().join("c.txt"))), &cases[0]["output"]);
    let line =
        printed(command("qa", "bert-span", &["--json"]).write_stdin(format!("{asked}\n{question}\t{context}\n")));
    line.lines().for_each(|line| close(&serde_json::from_str(line).unwrap(), &cases[0]["output"]));
    assert_eq!(line.lines().count(), 2);
}

#[test]
fn readers_see_entities_and_answers_where_they_stand() {
    let shown = printed(&mut command("ner", "bert-token", &["--aggregation-strategy", "simple", WOLFGANG]));
    let first =
        golden("bert-token", "token-classification", &json!(WOLFGANG), &json!({"aggregation_strategy": "simple"}));
    let label = first[0]["entity_group"].as_str().unwrap();
    assert!(shown.lines().next().unwrap().contains(&format!(" {label}]")) && !shown.contains('\x1b'), "{shown}");
    let shown = printed(&mut command(
        "qa",
        "bert-span",
        &["--question", "Where?", "--context", "It is in New York City, they said."],
    ));
    assert!(shown.starts_with("Where?\n") && shown.contains("New York"), "{shown}");
    let shown = printed(&mut command("classify", "bert-sequence", &["--top-k", "all", CLARA]));
    assert!(
        shown.contains(CLARA) && ["entailment", "neutral", "contradiction"].iter().all(|l| shown.contains(l)),
        "{shown}"
    );
}

/// A wrong line has an error in its place, the rest is answered, and the exit code says so.
#[test]
fn wrong_lines_have_error_records() {
    let mut lines = format!("{CLARA}\n").into_bytes();
    lines.extend(b"b\xe9b\xe9\n{\"body\": \"x\"}\n{\"text\"\n");
    lines.extend(format!("{}\n", json!({"text": CLARA})).bytes());
    lines.extend(format!("word {}\n", "word ".repeat(100)).bytes());
    for (name, directory, more) in [
        ("classify", "bert-sequence", &["--json"][..]),
        ("zero-shot", "bert-sequence", &["--json", "--labels", "a,b"]),
        ("ner", "bert-token", &["--json"]),
    ] {
        let output = command(name, directory, more).write_stdin(lines.clone()).assert().code(2).get_output().clone();
        let answers: Vec<Value> =
            String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), 6, "{name}: {answers:?}");
        assert_eq!(answers[0], answers[4], "{name}");
        for (place, wanted) in
            [(1, "line 2: not UTF-8"), (2, "line 3: there is no \"text\""), (3, "line 4: not a JSON object")]
        {
            let error = answers[place]["error"].as_str().unwrap();
            assert!(error.starts_with("standard input, ") && error.contains(wanted), "{name}: {error}");
        }
        // only labels of whole texts need the whole text
        assert_eq!(answers[5]["error"].is_string(), name == "classify", "{name}: {}", answers[5]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("inputs could not be answered"), "{said}");
    }
}

#[test]
fn runs_go_on_where_they_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.csv"), dir.path().join("out.jsonl"));
    let rows: Vec<String> = (0..600).map(|i| format!("{i},\"word {i}, and more\"")).collect();
    std::fs::write(&input, format!("id,text\n{}\n", rows.join("\n"))).unwrap();
    let run = |more: &[&str]| {
        let mut command = command("classify", "bert-sequence", more);
        command.arg("--file").arg(&input).arg("--output").arg(&output).assert().success();
        std::fs::read_to_string(&output).unwrap()
    };
    let whole = run(&[]);
    assert_eq!(whole.lines().count(), 600);
    // as a run that was killed in the middle of a line leaves it
    std::fs::write(&input, format!("id,text\n{}\n", rows[..301].join("\n"))).unwrap();
    let part = run(&[]);
    std::fs::write(&input, format!("id,text\n{}\n", rows.join("\n"))).unwrap();
    std::fs::write(&output, format!("{part}{{\"lab")).unwrap();
    assert_eq!(run(&["--resume"]), whole);
    assert_eq!(run(&["--resume"]), whole);
    // by other options, to other inputs or of another command, answers are not gone on with
    let other = |name: &str, model: &str, more: &[&str]| {
        let mut command = command(name, model, more);
        let said = refused(command.arg("--resume").arg("--file").arg(&input).arg("--output").arg(&output));
        assert_eq!(std::fs::read_to_string(&output).unwrap(), whole);
        said
    };
    assert!(other("classify", "bert-sequence", &["--top-k", "1"]).contains("top-k was not given then, is \"1\" now"));
    assert!(other("ner", "bert-token", &[]).contains("ptm classify then, ptm ner now"));
    std::fs::write(&input, format!("id,text\n{}\n", rows[..600].join("\n").replace("word 7,", "word 8,"))).unwrap();
    assert!(other("classify", "bert-sequence", &[]).contains("its 600 answers are to other inputs"));
    std::fs::write(&input, format!("id,text\n{}\n", rows[..9].join("\n"))).unwrap();
    assert!(other("classify", "bert-sequence", &[]).contains("it holds 600 answers, but there are 9 inputs"));
    refused(command("classify", "bert-sequence", &["a", "--resume"]).env("PTM_QUIET", "1"));
    let said = refused(command("ner", "bert-token", &["a", "--output"]).arg(dir.path().join("none/x")));
    assert!(said.contains("there is no directory"), "{said}");
}

#[test]
fn parameters_are_printed_with_their_origin() {
    let dir = super::copy("pipelines/heads/bert-span");
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["task_specific_params"] = json!({"question-answering": {"top_k": 2}});
    std::fs::write(&path, config.to_string()).unwrap();
    let print = |more: &[&str]| json(ptm().args(["qa", "--json", "--print-config", "-m"]).arg(dir.path()).args(more));
    let printed = print(&["--max-answer-len", "7"]);
    assert_eq!(printed["top_k"], json!({"value": 2, "from": "config.json, task_specific_params.question-answering"}));
    assert_eq!(printed["max_answer_len"], json!({"value": 7, "from": "given by --max-answer-len"}));
    assert_eq!(printed["max_seq_len"], json!({"value": 48, "from": "default"}));
    assert_eq!(print(&["--top-k", "3"])["top_k"]["from"], "given by --top-k");
}

#[test]
fn what_cannot_be_answered() {
    for (mut run, wanted) in [
        (
            command("qa", "bert-span", &["--question", "Where?", "--context", "Here.", "--max-seq-len", "49"]),
            "window larger than the 48 tokens",
        ),
        (
            command("qa", "bert-span", &["--question", &"word ".repeat(60), "--context", "Here it is."]),
            "shorten the question",
        ),
        (command("qa", "bert-span", &["--question", "Where?"]), "no context"),
        (command("zero-shot", "bert-sequence", &["a", "--labels", " , "]), "list of labels is empty"),
        (command("zero-shot", "bert-sequence", &["a", "--labels", &"Clara ".repeat(100)]), "shorten the label"),
        (command("zero-shot", "bert-sequence", &["a", "--labels", "x", "--hypothesis-template", "no"]), "no {}"),
        (
            command("ner", "bert-token", &["a", "--stride", "48", "--aggregation-strategy", "first"]),
            "not less than the 48",
        ),
        (command("ner", "bert-token", &["a", "--stride", "4", "--aggregation-strategy", "none"]), "than none"),
        (command("classify", "bert-sequence", &[&"word ".repeat(100)]), "the model reads 48"),
        (command("ner", "bert-span", &["a"]), "it is for question-answering"),
        (command("qa", "bert-token", &["--question", "a", "--context", "b"]), "it is for token-classification"),
        (command("classify", "bert-span", &["a"]), "it is for question-answering"),
        (command("rerank", "bert-sequence", &["--query", "a", "b"]), "a model for natural-language-inference"),
        (command("rerank", "bert-one", &["--query", "a", "b", "--function-to-apply", "softmax"]), "sigmoid or none"),
        (command("nli", "bert-one", &["--premise", "a", "--hypothesis", "b"]), "begins with \"entail\""),
        (command("fill-mask", "bert-token", &["a [MASK]"]), "it is for token-classification"),
    ] {
        let said = refused(&mut run);
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let said = refused(ptm().args(["ner", "a"]));
    assert!(said.contains("no model for ner is built in"), "{said}");
}

/// A context of 1 MB is read in windows.
#[test]
fn a_long_context() {
    let context = "The tower is in the city. ".repeat(40_000);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("context.txt");
    std::fs::write(&file, &context).unwrap();
    let answer =
        json(command("qa", "bert-span", &["--json", "--question", "Where is the tower?", "--context-file"]).arg(&file));
    let (start, end) = (answer["start"].as_u64().unwrap() as usize, answer["end"].as_u64().unwrap() as usize);
    assert_eq!(answer["answer"], context[start..end]);
}

#[test]
fn ranking() {
    let rank = |more: &[&str]| json(ptm().args(["rerank", "--json", "--query", "a man eats"]).args(more));
    let best = rank(&["the sky is blue", "someone is having lunch", "--top-k", "1"]);
    assert_eq!((best.as_array().unwrap().len(), &best[0]["index"]), (1, &json!(1)));
    let both = json(&mut command("rerank", "bert-one", &["--json", "--query", CLARA, "b", WOLFGANG, "c"]));
    let scores: Vec<f64> = both.as_array().unwrap().iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    // the score of the pair alone
    let pair = golden("bert-one", "text-classification", &json!({"text": CLARA, "text_pair": WOLFGANG}), &json!({}));
    let same = both.as_array().unwrap().iter().find(|one| one["index"] == 1).unwrap();
    close(&same["score"], &pair["score"]);
}

/// A mask that takes the space before it is a word without that.
#[test]
fn added_tokens_are_words_of_their_own() {
    let entities = json(&mut command("ner", "roberta-token", &["--json", "see <mask> here"]));
    let words: Vec<&str> = entities.as_array().unwrap().iter().map(|one| one["word"].as_str().unwrap()).collect();
    assert!(words.iter().all(|word| word.trim() == *word), "{words:?}");
    assert!(words.contains(&"<mask>"), "{words:?}");
}

#[test]
fn the_task_of_a_model() {
    for (directory, task, shown) in [
        ("bert-token", "token-classification, as ptm ner", "entity"),
        ("bert-one", "text-ranking, as ptm rerank", "index"),
    ] {
        let mut run = ptm();
        run.arg("run").arg(model(directory)).args(["--json", CLARA]);
        if directory == "bert-one" {
            run.args(["--query", "x"]);
        }
        let output = run.assert().success().get_output().clone();
        let (said, answer) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert!(said.contains(task), "{said}");
        assert!(answer.contains(shown), "{answer}");
    }
    // texts alone get the labels of models that are for pairs
    for directory in ["bert-sequence", "bert-one"] {
        let run =
            |words: &[&str]| json(ptm().args(["-q", words[0], words[1]]).arg(model(directory)).args(["--json", CLARA]));
        let labels = run(&["run", "--quiet"]);
        assert!(labels[0]["label"].is_string());
        assert_eq!(labels, run(&["classify", "-m"]));
    }
    let said = refused(ptm().arg("run").arg(model("bert-span")).arg(CLARA));
    assert!(said.contains("ptm qa takes --question and --context"), "{said}");
    let vectors = json(ptm().args(["run", "--quiet"]).arg(parity("sentence/mean")).args(["--json", "a text"]));
    assert!(vectors[0][0].is_f64());
    let filled = json(
        ptm().args(["run", "-q"]).arg(parity("pipelines/bert")).args(["--json", "The capital of France is [MASK]."]),
    );
    assert!(filled[0]["token_str"].is_string());
    refused(ptm().args(["run", "no/such/directory", "a"]));
}
