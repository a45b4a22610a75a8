//! `ptm generate`, `ptm summarize` and `ptm translate`, against the answers of the transformers pipelines.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{alone, json, parity, printed, ptm, refused};

fn model(name: &str) -> PathBuf {
    parity(&format!("pipelines/generation/{name}"))
}

/// The golden case of a task whose input is one text, with these parameters.
fn golden(name: &str, task: &str, parameters: &Value) -> (String, Value) {
    let cases = std::fs::read(model(name).join("pipelines.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    let fits = |case: &&Value| case["task"] == task && case["inputs"].is_string() && case["parameters"] == *parameters;
    let case = cases.iter().find(fits).expect("such a case");
    (case["inputs"].as_str().unwrap().to_owned(), case["output"].clone())
}

const GREEDY: [&str; 4] = ["--do-sample", "false", "--max-new-tokens", "8"];

#[test]
fn the_pipelines_shapes() {
    let (text, wanted) = golden("gpt2", "text-generation", &json!({"max_new_tokens": 8, "do_sample": false}));
    let generate = |more: &[&str]| {
        let mut command = ptm();
        command.args(["generate", "--json"]).args(GREEDY).args(more).arg("-m").arg(model("gpt2"));
        command
    };
    assert_eq!(json(&mut generate(&[&text])), wanted);
    assert_eq!(json(&mut generate(&[&text, &text])), json!([wanted, wanted]));
    let lines = printed(generate(&[]).write_stdin(format!("{text}\n{}\n", json!({"text": text}))));
    assert_eq!(
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>(),
        [wanted.clone(), wanted.clone()]
    );
    let new = json(&mut generate(&[&text, "--no-full-text"]));
    let all = wanted[0]["generated_text"].as_str().unwrap();
    assert_eq!(new[0]["generated_text"].as_str().unwrap(), &all[text.len()..]);

    let (text, wanted) = golden("t5", "summarization", &json!({}));
    let summarize = ptm().args(["summarize", "--json", &text, "-m"]).arg(model("t5")).assert().success();
    assert_eq!(serde_json::from_slice::<Value>(&summarize.get_output().stdout).unwrap(), wanted);
    let (text, wanted) = golden("t5", "translation_en_to_de", &json!({}));
    let translate = |more: &[&str]| json(ptm().args(["translate", "--json", &text, "-m"]).arg(model("t5")).args(more));
    assert_eq!(translate(&["--from", "en", "--to", "de"]), wanted);
    assert_eq!(translate(&["--quiet"]), wanted, "the first languages that the model's files name");
}

/// An encoder-decoder is for `generate` too, and `run` finds every one's command.
#[test]
fn one_text_answered_by_another() {
    let (text, wanted) = golden("t5", "text2text-generation", &json!({}));
    assert_eq!(json(ptm().args(["generate", "--json", &text, "-m"]).arg(model("t5"))), wanted);
    for (name, task, command) in [
        ("t5", "text2text-generation", "generate"),
        ("bart", "text2text-generation", "generate"),
        ("marian", "translation", "translate"),
        ("gpt2", "text-generation", "generate"),
    ] {
        let mut run = ptm();
        run.arg("run").arg(model(name)).args(["A tower", "--json", "--num-beams", "1", "--max-new-tokens", "3"]);
        let done = run.args(["--do-sample", "false", "--threads", "1"]).assert().success();
        let (output, said) = (&done.get_output().stdout, String::from_utf8_lossy(&done.get_output().stderr));
        assert!(said.contains(&format!("{task}, as ptm {command}")), "{name}: {said}");
        let mut direct = ptm();
        direct.args([
            command,
            "--json",
            "A tower",
            "--num-beams",
            "1",
            "--max-new-tokens",
            "3",
            "--do-sample",
            "false",
        ]);
        assert_eq!(serde_json::from_slice::<Value>(output).unwrap(), json(direct.arg("-m").arg(model(name))));
    }
    // the revision is looked for before the command's words are understood
    let said = refused(ptm().args(["run", "nobody/nothing", "--revision", "v9", "A tower"]));
    assert!(said.contains("nobody/nothing") && said.contains("v9"), "{said}");
}

/// What is streamed is what is printed, and what is read from lines comes in their order.
#[test]
fn streams() {
    let texts = ["The tower is the tallest", "Café Müller", "Yes", "A man is eating food. He likes it"];
    let generate = |more: &[&str]| {
        let mut command = ptm();
        command.args(["generate"]).args(GREEDY).args(more).arg("-m").arg(model("gpt2"));
        command
    };
    let printed_all = printed(generate(&[]).write_stdin(texts.join("\n")));
    for text in texts {
        let one = printed(&mut generate(&[text]));
        assert!(one.starts_with(text), "{one}");
        assert_eq!(one, printed(&mut generate(&[text, "--stream"])));
    }
    let alone: String = texts.iter().map(|text| printed(&mut generate(&[text]))).collect();
    assert_eq!(printed_all, alone);
    assert_eq!(printed(generate(&["--batch-tokens", "1"]).write_stdin(texts.join("\n"))), alone);
}

/// Lines are answered while the stream is still open, in order, whatever can't be read or is too long in its place.
#[test]
fn lines_are_answered_as_they_come() {
    let mut child = alone(env!("CARGO_BIN_EXE_ptm"))
        .args(["generate", "--json", "--quiet", "--do-sample", "false", "--max-new-tokens", "2", "-m"])
        .arg(model("gpt2"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answer = || serde_json::from_str::<Value>(&from.next().unwrap().unwrap()).unwrap();
    for text in ["The tower", "Yes"] {
        writeln!(to, "{text}").unwrap();
        assert!(answer()[0]["generated_text"].as_str().unwrap().starts_with(text));
    }
    // more than are held at once, one of which is longer than the model reads
    let all: Vec<String> =
        (0..1500).map(|i| if i == 700 { "tower ".repeat(300) } else { format!("The tower {i}") }).collect();
    let (lines, writer) = (all.join("\n"), to);
    let writing = std::thread::spawn(move || {
        let mut to = writer;
        writeln!(to, "{lines}\n{{broken").unwrap();
    });
    for (i, text) in all.iter().enumerate() {
        let answer = answer();
        if i == 700 {
            assert!(answer["error"].as_str().unwrap().contains("128 positions"), "{answer}");
        } else {
            assert!(answer[0]["generated_text"].as_str().unwrap().starts_with(text), "{answer}");
        }
    }
    assert!(answer()["error"].as_str().unwrap().contains("line 1503: not a JSON object"));
    writing.join().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("2 of 1503 inputs"));
}

#[test]
fn values_and_where_they_come_from() {
    let print =
        |more: &[&str]| json(ptm().args(["summarize", "--print-config", "--json", "-m"]).arg(model("t5")).args(more));
    let config = print(&[]);
    assert_eq!(config["num_beams"], json!({"value": 3, "from": "config.json, task_specific_params.summarization"}));
    assert_eq!(config["prefix"]["value"], "summarize: ");
    assert_eq!(config["max_new_tokens"]["from"], "default of the task");
    assert_eq!(config["eos_token_id"]["from"], "generation_config.json");
    assert_eq!(print(&["--num-beams", "2"])["num_beams"], json!({"value": 2, "from": "given"}));
    let env =
        json(ptm().args(["summarize", "--print-config", "--json", "-m"]).arg(model("t5")).env("PTM_NUM_BEAMS", "5"));
    assert_eq!(env["num_beams"]["value"], 5);
    let shown = printed(ptm().args(["generate", "--print-config", "-m"]).arg(model("gpt2")));
    assert!(
        shown.lines().any(|line| line.starts_with("temperature") && line.contains("default of the task")),
        "{shown}"
    );
}

#[test]
fn wishes() {
    let base = |more: &[&str]| {
        printed(
            ptm()
                .args(["generate", "--no-full-text", "--seed", "3", "The tower"])
                .args(more)
                .arg("-m")
                .arg(model("gpt2")),
        )
    };
    let year = base(&["--regex", "[0-9]{4}"]);
    assert_eq!(year.trim().len(), 4, "{year:?}");
    assert!(["in Paris", "on Sunday"].contains(&base(&["--choices", "in Paris,on Sunday"]).trim()));
    let drawn = base(&["--temperature", "3", "--max-new-tokens", "12", "--do-sample", "true"]);
    assert_eq!(drawn, base(&["--temperature", "3", "--max-new-tokens", "12", "--do-sample", "true"]));
    let greedy = base(&["--do-sample", "false", "--max-new-tokens", "12"]);
    assert_eq!(greedy, base(&["--do-sample", "false", "--max-new-tokens", "12", "--prompt-lookup-num-tokens", "4"]));
    let draft = model("gpt2");
    let draft = draft.to_str().unwrap();
    assert_eq!(greedy, base(&["--do-sample", "false", "--max-new-tokens", "12", "--draft-model", draft]));
    let details = json(
        ptm()
            .args(["generate", "--json", "--top-logprobs", "2", "The tower"])
            .args(GREEDY)
            .arg("-m")
            .arg(model("gpt2")),
    );
    let tokens = details[0]["details"]["tokens"].as_array().unwrap().clone();
    assert!(!tokens.is_empty() && tokens.iter().all(|token| token["top_tokens"].as_array().unwrap().len() == 2));
    let chat =
        printed(ptm().args(["generate", "--chat", "What is a tower?"]).args(GREEDY).arg("-m").arg(model("gpt2")));
    assert!(!chat.contains("What is a tower?"), "{chat}");
}

#[test]
fn refusals() {
    let said = |more: &[&str]| refused(ptm().args(["generate", "The tower"]).args(more).arg("-m").arg(model("gpt2")));
    assert!(said(&["--max-new-tokens", "5000"]).contains("128 positions"));
    assert!(said(&["--top-p", "7"]).contains("top_p is 7"));
    assert!(said(&["--num-return-sequences", "3", "--do-sample", "false"]).contains("num_beams or do_sample"));
    assert!(said(&["--regex", "(["]).contains("regular expression"));
    assert!(said(&["--set", "beams=3"]).contains("no \"beams\""));
    assert!(said(&["--early-stopping", "soon"]).contains("never"));
    let long = "tower ".repeat(300);
    assert!(refused(ptm().args(["generate", &long, "-m"]).arg(model("gpt2"))).contains("128 positions"));
    ptm().args(["generate", "--truncate", &long, "--max-new-tokens", "4", "-m"]).arg(model("gpt2")).assert().success();
    let said = refused(ptm().args(["summarize", "a text", "-m"]).arg(model("gpt2")));
    assert!(said.contains("goes on with a text"), "{said}");
    for flag in ["--stream", "--chat", "--no-full-text"] {
        let said = refused(ptm().args(["generate", "a text", flag, "-m"]).arg(model("bart")));
        assert!(said.contains(flag) && said.contains("answers with another"), "{said}");
    }
    let said = refused(ptm().args(["generate", "a text", "-m"]).arg(parity("pipelines/bert")));
    assert!(said.contains("text is not generated with models of type bert"), "{said}");
    let said = refused(ptm().args(["translate", "a text", "--from", "en", "--to", "fr", "-m"]).arg(model("t5")));
    assert!(said.contains("translation_en_to_de"), "{said}");
    assert!(refused(ptm().args(["summarize", "a text"])).contains("no model for summarize is built in"));
}
