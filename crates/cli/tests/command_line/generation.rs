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
    // languages are words for a translation
    let mut run = ptm();
    run.arg("run").arg(model("mbart")).args(["A tower", "--from", "en_XX", "--to", "ro_RO", "--max-new-tokens", "3"]);
    let done = run.assert().success();
    let said = String::from_utf8_lossy(&done.get_output().stderr);
    assert!(said.contains("text2text-generation, as ptm translate") && !said.contains("no languages"), "{said}");
    let mut unnamed = ptm();
    unnamed.args(["translate", "A tower", "--max-new-tokens", "3", "-m"]).arg(model("mbart"));
    let said = String::from_utf8(unnamed.assert().success().get_output().stderr.clone()).unwrap();
    assert!(said.contains("no languages were named: the text is read as en_XX"), "{said}");
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
    assert_eq!(printed(generate(&["--stream"]).write_stdin(texts.join("\n"))), printed_all);
    for (name, command) in [
        ("xlnet", "generate"),
        ("bart", "summarize"),
        ("t5", "summarize"),
        ("mbart", "translate"),
        ("marian", "translate"),
        ("t5", "generate"),
    ] {
        let say = |text: &str, more: &[&str]| {
            let mut run = ptm();
            run.args([command, text, "--quiet", "--num-beams", "1", "--max-new-tokens", "12"]).args(more);
            printed(run.arg("-m").arg(model(name)))
        };
        // the last is longer than some of the models read
        for text in [texts[0], texts[1], &format!("{} ", texts[3]).repeat(if name == "xlnet" { 2 } else { 12 })] {
            let seen = say(text, &["--stream"]);
            assert_eq!(seen, say(text, &[]), "{name}, {command}");
            assert!(!seen.trim().is_empty(), "{name}");
        }
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
    assert_eq!(print(&["--num-beams", "2"])["num_beams"], json!({"value": 2, "from": "given by --num-beams"}));
    let env =
        json(ptm().args(["summarize", "--print-config", "--json", "-m"]).arg(model("t5")).env("PTM_NUM_BEAMS", "5"));
    assert_eq!(print(&["--length-penalty", "0.7"])["length_penalty"]["value"].to_string(), "0.7");
    assert_eq!(env["num_beams"], json!({"value": 5, "from": "given by PTM_NUM_BEAMS"}));
    let shown = printed(ptm().args(["generate", "--print-config", "-m"]).arg(model("gpt2")));
    assert!(
        shown.lines().any(|line| line.starts_with("temperature") && line.contains("default of the task")),
        "{shown}"
    );
}

#[test]
fn wishes() {
    let base = |more: &[&str]| {
        printed(ptm().args(["generate", "--no-full-text", "The tower"]).args(more).arg("-m").arg(model("gpt2")))
    };
    let year = base(&["--regex", "[0-9]{4}"]);
    assert_eq!(year.trim().len(), 4, "{year:?}");
    assert!(
        ["in Paris", "on Sunday"]
            .contains(&base(&["--choices", "in Paris,on Sunday"]).trim_start().trim_end_matches('\n'))
    );
    let mut cut = ptm();
    cut.args(["generate", "The tower", "--regex", "[0-9]{14}", "--max-new-tokens", "3", "-m"]).arg(model("gpt2"));
    let said = String::from_utf8(cut.assert().success().get_output().stderr.clone()).unwrap();
    assert!(said.contains("ended before it was complete"), "{said}");
    let draw = |seed| base(&["--temperature", "3", "--max-new-tokens", "12", "--do-sample", "true", "--seed", seed]);
    assert_eq!(draw("3"), draw("3"));
    assert_ne!(draw("3"), draw("4"));
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

/// A search that is asked for needs no other flag to leave what files and tasks say of another.
#[test]
fn contrastive_and_diverse_searches() {
    let say = |command: &str, name: &str, more: &[&str]| {
        let words = [command, "The tower is the tallest", "--json", "--quiet", "--max-new-tokens", "12"];
        json(ptm().args(words).args(more).arg("-m").arg(model(name)))
    };
    let contrastive = ["--penalty-alpha", "0.9", "--top-k", "8"];
    // generate draws, and both of the others search by beams, where nobody says anything else
    for (command, name) in [("generate", "gpt2"), ("summarize", "bart"), ("summarize", "t5")] {
        let alone = say(command, name, &contrastive);
        let told = [&contrastive[..], &["--do-sample", "false", "--num-beams", "1"]].concat();
        assert_eq!(alone, say(command, name, &told), "{name}");
        let greedy = say(command, name, &["--do-sample", "false", "--num-beams", "1"]);
        assert_ne!(alone, greedy, "{name}");
        let mut print = ptm();
        print.args([command, "--print-config", "--json"]).args(contrastive).arg("-m").arg(model(name));
        let config = json(&mut print);
        assert_eq!(
            (&config["num_beams"]["value"], &config["do_sample"]["value"]),
            (&json!(1), &json!(false)),
            "{name}"
        );
    }
    let one_beam = [&contrastive[..], &["--stream"]].concat();
    let mut live = ptm();
    live.args(["generate", "The tower is the tallest", "--max-new-tokens", "12"]).args(one_beam);
    let shown = printed(live.arg("-m").arg(model("gpt2")));
    assert_eq!(json!(shown.trim_end_matches('\n')), say("generate", "gpt2", &contrastive)[0]["generated_text"]);

    let groups = |penalty: &str| {
        let more = ["--num-beams", "4", "--num-beam-groups", "2", "--diversity-penalty", penalty];
        let all = say("generate", "gpt2", &[&more[..], &["--num-return-sequences", "4"]].concat());
        let texts: Vec<String> =
            all.as_array().unwrap().iter().map(|one| one["generated_text"].as_str().unwrap().to_owned()).collect();
        assert_eq!(texts.len(), 4);
        texts.into_iter().collect::<std::collections::BTreeSet<_>>()
    };
    // without a penalty both groups find the same
    assert_eq!(groups("0.0").len(), 2);
    assert_eq!(groups("50.0").len(), 4);
    for (more, wanted) in [
        (&["--penalty-alpha", "0.6", "--num-beams", "2"][..], "contrastive search: leave num_beams"),
        (&["--penalty-alpha", "0.6", "--do-sample", "true"], "contrastive search"),
        (&["--penalty-alpha", "0.6", "--top-k", "all"], "chooses among top_k candidates"),
        (&["--num-beam-groups", "2"], "1 beams don't divide into 2 groups"),
        (&["--diversity-penalty", "1"], "set num_beam_groups"),
    ] {
        let said = refused(ptm().args(["generate", "The tower"]).args(more).arg("-m").arg(model("gpt2")));
        assert!(said.contains(wanted), "{more:?}: {said}");
    }
}

fn said_of_draft(draft: &str) -> String {
    let mut command = ptm();
    command.args(["generate", "The tower", "--draft-model", draft]).args(GREEDY).arg("-m").arg(model("gpt2"));
    refused(&mut command)
}

/// What is asked for and can't be is said: more answers than beams find, a shortest length beyond the longest.
#[test]
fn what_falls_short_is_said() {
    let said = |more: &[&str]| {
        let done =
            ptm().args(["summarize", "Yes", "--json"]).args(more).arg("-m").arg(model("bart")).assert().success();
        let output = done.get_output();
        let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
        (answers.as_array().unwrap().len(), String::from_utf8(output.stderr.clone()).unwrap())
    };
    let (count, told) = said(&["--num-beams", "3", "--num-return-sequences", "3", "--max-new-tokens", "2"]);
    assert!(count == 1 && told.contains("1 of 3: give more num_beams"), "{count} {told}");
    let short = |option: &str| said(&[option, "3"]).1;
    assert!(short("--max-new-tokens").contains("before the 5 of min_length"), "{}", short("--max-new-tokens"));
    assert!(short("--max-length").contains("min_length is 5"), "{}", short("--max-length"));
    assert!(!said(&["--max-length", "9"]).1.contains("min_length"));
}

#[test]
fn refusals() {
    let said = |more: &[&str]| refused(ptm().args(["generate", "The tower"]).args(more).arg("-m").arg(model("gpt2")));
    assert!(said(&["--max-new-tokens", "5000"]).contains("128 positions"));
    assert!(said(&["--min-length", "300"]).contains("min_length is 300, but the model has 128 positions"));
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
    for flag in ["--chat", "--no-full-text"] {
        let said = refused(ptm().args(["generate", "a text", flag, "-m"]).arg(model("bart")));
        assert!(said.contains(flag) && said.contains("answers with another"), "{said}");
    }
    let said = refused(ptm().args(["generate", "a text", "-m"]).arg(parity("pipelines/bert")));
    assert!(said.contains("text-generation needs a model with a language-model head"), "{said}");
    assert!(said.contains("it is for fill-mask"), "{said}");
    let said = refused(ptm().args(["summarize", "a text", "-m"]).arg(parity("pipelines/heads/t5-sequence")));
    assert!(said.contains("summarization needs") && said.contains("it is for natural-language-inference"), "{said}");
    let draft = parity("pipelines/heads/gpt2-token");
    let said = said_of_draft(draft.to_str().unwrap());
    assert!(said.contains("gpt2-token") && said.contains("it is for token-classification"), "{said}");
    let said = refused(ptm().args(["translate", "a text", "--from", "en", "--to", "fr", "-m"]).arg(model("t5")));
    assert!(said.contains("translation_en_to_de"), "{said}");
    assert!(refused(ptm().args(["summarize", "a text"])).contains("no model for summarize is built in"));
}
