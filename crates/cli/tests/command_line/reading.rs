//! How texts are read, in one manner by all commands; and what is said where a text is cut.

use assert_cmd::Command;
use serde_json::{Value, json};

use super::{json as answer, parity, printed, ptm, refused};

/// The commands that read texts, with a small model each and a text for it.
const COMMANDS: [(&str, &str, &[&str], &str); 8] = [
    ("fill-mask", "pipelines/bert", &[], "The capital, of France is [MASK]."),
    ("embed", "sentence/mean", &[], "A man is eating, \"food\"."),
    ("classify", "pipelines/heads/bert-sequence", &[], "A man is eating, food."),
    ("zero-shot", "pipelines/heads/bert-sequence", &["--labels", "a,b"], "A man is eating, food."),
    ("ner", "pipelines/heads/bert-token", &[], "A man is eating, food."),
    ("generate", "pipelines/generation/gpt2", &["--max-new-tokens", "6", "--do-sample", "false"], "The tower, is"),
    ("summarize", "pipelines/generation/t5", &["--max-new-tokens", "6"], "The tower, is tall. It is in Paris."),
    ("translate", "pipelines/generation/bart", &["--max-new-tokens", "6"], "The tower, is tall."),
];

fn command(name: &str, model: &str, more: &[&str]) -> Command {
    let mut command = ptm();
    command.arg(name).args(more).arg("-m").arg(parity(model));
    command
}

#[test]
fn every_command_reads_every_format() {
    let dir = tempfile::tempdir().unwrap();
    for (name, model, more, text) in COMMANDS {
        let run = |more_still: &[&str], input: &str| {
            let all = [&["--json", "--quiet"], more, more_still].concat();
            let lines = printed(command(name, model, &all).write_stdin(input.to_owned()));
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        };
        let wanted = run(&[], &format!("{text}\n{text}\n"));
        assert_eq!(wanted.len(), 2, "{name}");
        let object = json!({"text": text, "id": 1});
        let quoted = text.replace('"', "\"\"");
        for (format, content) in [
            ("jsonl", format!("{object}\n{object}\n")),
            ("csv", format!("id,text\n1,\"{quoted}\"\n2,\"{quoted}\"\n")),
            ("tsv", format!("id\ttext\n1\t{text}\n2\t{text}\n")),
            ("lines", format!("{text}\n{text}\n")),
        ] {
            assert_eq!(run(&["--format", format], &content), wanted, "{name}, {format} on standard input");
            let named = dir.path().join(format!("a.{format}"));
            std::fs::write(&named, &content).unwrap();
            assert_eq!(run(&["--file", named.to_str().unwrap()], ""), wanted, "{name}, {format} by its ending");
            let other = dir.path().join("a.data");
            std::fs::write(&other, &content).unwrap();
            let file = ["--file", other.to_str().unwrap(), "--format", format];
            assert_eq!(run(&file, ""), wanted, "{name}, {format} of a file with another ending");
        }
        // one text of all lines, of each file one
        let lines = format!("{text}\n\n{text}\n");
        let whole = run(&["--format", "text"], &lines);
        let as_object = run(&[], &json!({"text": lines.trim_end()}).to_string());
        assert_eq!(whole, as_object, "{name}");
        let file = dir.path().join("a.txt");
        std::fs::write(&file, &lines).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(
            run(&["--format", "text", "--file", file, "-f", file], ""),
            [whole.clone(), whole].concat(),
            "{name}"
        );
        // a brace is none of JSON where lines are text
        let braced = text.replace("A ", "{").replace("The ", "{");
        assert_eq!(run(&["--format", "lines"], &braced), run(&[], &json!({"text": braced}).to_string()), "{name}");
    }
    let said = refused(command("classify", COMMANDS[2].1, &["--format", "xml"]).write_stdin("a"));
    assert!(said.contains("jsonl, csv, tsv, lines, text"), "{said}");
    let said = refused(command("embed", COMMANDS[1].1, &["--format", "text"]).write_stdin("\n \n"));
    assert!(said.contains("the input holds no text"), "{said}");
    let said = refused(command("embed", COMMANDS[1].1, &["--format", "text"]).write_stdin(b"a\n\xff".to_vec()));
    assert!(said.contains("standard input: not UTF-8 at byte 3"), "{said}");
}

/// The name of a file is a text like any other, but nobody is left in doubt.
#[test]
fn a_file_is_not_a_text() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("article.txt"), "The tower is tall.").unwrap();
    let embed = |more: &[&str]| {
        let output =
            ptm().current_dir(dir.path()).args(["embed", "article.txt", "--json"]).args(more).assert().success();
        String::from_utf8(output.get_output().stderr.clone()).unwrap()
    };
    let said = embed(&[]);
    assert!(said.contains("\"article.txt\" is taken as a text; --file article.txt reads the file"), "{said}");
    assert_eq!(embed(&["--quiet"]), "");
}

/// A warning for each text that is cut, whatever cuts it; none for those that are read whole.
#[test]
fn what_is_cut_off_is_said() {
    let long = "It is so tall. ".repeat(60);
    for (name, model, more, text) in [
        ("fill-mask", "pipelines/bert", &["--truncate"][..], format!("The [MASK]. {long}")),
        ("classify", "pipelines/heads/bert-sequence", &["--truncate"], long.clone()),
        ("zero-shot", "pipelines/heads/bert-sequence", &["--labels", "a,much longer"], long.clone()),
        ("ner", "pipelines/heads/bert-token", &[], long.clone()),
        ("rerank", "pipelines/heads/bert-one", &["--query", "Who?"], long.clone()),
        ("summarize", "pipelines/generation/bart", &["--truncate", "--max-new-tokens", "6"], long.clone()),
        (
            "generate",
            "pipelines/generation/gpt2",
            &["--truncate", "--max-new-tokens", "6", "--do-sample", "false"],
            long.clone(),
        ),
    ] {
        let short = text.split_inclusive(". ").next().unwrap().replace("The [MASK]. ", "The [MASK].");
        let said = |more_still: &[&str]| {
            let mut run = command(name, model, &[&["--json"], more, more_still].concat());
            let output = run.write_stdin(format!("{text}\n{short}\n{text}\n")).assert().success().get_output().clone();
            String::from_utf8(output.stderr).unwrap()
        };
        let warnings = said(&[]);
        assert_eq!(warnings.matches("cut off").count(), 2, "{name}: {warnings}");
        assert_eq!(said(&["--quiet"]), "", "{name}");
    }
    // how many, where many are expected to be
    let texts = format!("{long}\na\n{long}\n");
    for name in ["embed", "similarity"] {
        let mut run = command(name, "sentence/mean", if name == "embed" { &[] } else { &["--query", "a"] });
        let output = run.write_stdin(texts.clone()).assert().success().get_output().clone();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("2 of 3 texts are longer than the"), "{name}: {said}");
    }
    let mut qa = command("qa", "pipelines/heads/bert-span", &["--max-question-len", "3"]);
    let output = qa.write_stdin("Where is the tower?\tIt is here.\n").assert().success().get_output().clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("max_question_len is 3"));
}

#[test]
fn a_prefix_must_leave_room() {
    let prefix = "word ".repeat(300);
    let said = refused(&mut command("summarize", "pipelines/generation/bart", &["The tower.", "--prefix", &prefix]));
    assert!(said.contains("the prefix alone makes") && said.contains("give a shorter prefix"), "{said}");
    let said = refused(&mut command(
        "summarize",
        "pipelines/generation/bart",
        &["The tower.", "--truncate", "--prefix", &prefix],
    ));
    assert!(said.contains("the prefix alone makes"), "{said}");
    let said = refused(&mut command("embed", "sentence/mean", &["The tower.", "--prompt", &prefix]));
    assert!(said.contains("the prompt alone makes"), "{said}");
}

/// 1 MB of text is divided and answered, in bounded time.
#[test]
fn a_megabyte_is_summarized() {
    let text = "The tower is the tallest structure in the city, and stands in its middle. ".repeat(14_000);
    assert!(text.len() > 1_000_000);
    let begun = std::time::Instant::now();
    let more = ["--json", "--quiet", "--format", "text", "--num-beams", "1", "--max-new-tokens", "6"];
    let value = answer(command("summarize", "pipelines/generation/bart", &more).write_stdin(text));
    let summary = value[0]["summary_text"].as_str().unwrap();
    assert!(summary.split(' ').count() > 1000, "{} characters", summary.len());
    assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
}
