//! Many inputs: what cannot be answered has its error in its place, Ctrl-C keeps what is done, and a later run goes on.

use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::{Value, json};

use super::{parity, ptm, refused};

/// The commands whose inputs are texts, with a small model each and a text for it.
const COMMANDS: [(&str, &str, &[&str], &str); 6] = [
    ("fill-mask", "pipelines/bert", &[], "The capital of France is [MASK]."),
    ("embed", "sentence/mean", &[], "A man is eating food."),
    ("classify", "pipelines/heads/bert-sequence", &[], "A man is eating food."),
    ("generate", "pipelines/generation/gpt2", &["--max-new-tokens", "6", "--do-sample", "true"], "The tower is"),
    ("summarize", "pipelines/generation/t5", &["--max-new-tokens", "6"], "The tower is tall. It is in Paris."),
    ("translate", "pipelines/generation/bart", &["--max-new-tokens", "6"], "The tower is tall."),
];

fn command(name: &str, model: &str, more: &[&str]) -> Command {
    let mut command = ptm();
    command.args([name, "--json"]).args(more).arg("-m").arg(parity(model));
    command
}

/// Lines of JSON, and standard error.
fn lines(command: &mut Command, code: i32) -> (Vec<Value>, String) {
    let output = command.assert().code(code).get_output().clone();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    (lines.collect(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn errors_stand_in_their_places() {
    for (name, model, more, text) in COMMANDS {
        let mut input = format!("{text}\n").into_bytes();
        input.extend(b"\xff\xfe not UTF-8\n");
        input.extend(format!("{{\"body\": \"{text}\"}}\n{{\"text\": \"{text}\"}}\n{{\"text\": 3}}\n{text}\n").bytes());
        let (read, said) = lines(command(name, model, more).write_stdin(input), 2);
        assert_eq!(read.len(), 6, "{name}: {read:?}");
        let errors: Vec<Option<&str>> = read.iter().map(|line| line.get("error").and_then(Value::as_str)).collect();
        let holds = |place: usize, wanted: &[&str]| {
            let error = errors[place].unwrap_or_else(|| panic!("{name}, {place}: no error"));
            assert!(wanted.iter().all(|wanted| error.contains(wanted)), "{name}: {error}");
        };
        holds(1, &["line 2", "UTF-8"]);
        holds(2, &["line 3", "\"text\""]);
        holds(4, &["line 5", "\"text\""]);
        assert!(errors[0].is_none() && errors[3].is_none() && errors[5].is_none(), "{name}: {read:?}");
        assert!(said.contains("3 of 6 inputs could not be answered"), "{name}: {said}");
        if name != "generate" {
            assert!(read[0] == read[3] && read[0] == read[5], "{name}: the same text, the same answer");
        }
    }
}

/// The commands that read pairs, with the keys of both.
const PAIRS: [(&str, &str, [&str; 2]); 3] = [
    ("nli", "pipelines/heads/bert-sequence", ["premise", "hypothesis"]),
    ("qa", "pipelines/heads/bert-span", ["question", "context"]),
    ("similarity", "sentence/mean", ["a", "b"]),
];

#[test]
fn errors_of_pairs_stand_in_their_places() {
    let (one, other) = ("Where is the tower?", "The tower is in Paris.");
    for (name, model, [first, second]) in PAIRS {
        let whole = json!({first: one, second: other}).to_string();
        let mut input = format!("{whole}\n").into_bytes();
        input.extend(b"\xff\xfe not UTF-8\n");
        input.extend(format!("{}\n{one}\t{other}\na\tb\tc\n{whole}\n", json!({first: one, "text": other})).bytes());
        let (read, said) = lines(command(name, model, &[]).write_stdin(input), 2);
        assert_eq!(read.len(), 6, "{name}: {read:?}");
        let errors: Vec<Option<&str>> = read.iter().map(|line| line.get("error").and_then(Value::as_str)).collect();
        let holds = |place: usize, wanted: &[&str]| {
            let error = errors[place].unwrap_or_else(|| panic!("{name}, {place}: no error"));
            assert!(wanted.iter().all(|wanted| error.contains(wanted)), "{name}: {error}");
            assert!(!error.contains("--key"), "{name} has no --key: {error}");
        };
        holds(1, &["line 2", "UTF-8"]);
        holds(2, &["line 3", &format!("there is no \"{second}\""), "\"text\""]);
        holds(4, &["line 5", "one tab"]);
        assert!(errors[0].is_none() && read[0] == read[3] && read[0] == read[5], "{name}: {read:?}");
        assert!(said.contains("3 of 6 inputs could not be answered"), "{name}: {said}");
        // the same as columns
        let csv = format!("{second},id,{first}\n\"{other}\",1,{one}\n");
        let (columns, _) = lines(command(name, model, &["--format", "csv"]).write_stdin(csv), 0);
        assert_eq!(columns, read[..1], "{name}");
    }
}

/// A ranking goes on beside lines that can't be read; a file has the score of each line in its place, and is gone on with.
#[test]
fn rankings_have_error_records() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("scores.jsonl");
    let input: &'static [u8] =
        b"someone is having lunch\n\xff\n{\"body\": \"x\"}\nthe sky is blue\n{\"text\": \"a man eats\"}\n";
    for (name, model) in [
        ("rerank", "sentence/mean"),
        ("rerank", "pipelines/heads/bert-one"),
        ("similarity", "sentence/mean"),
        ("similarity", "sentence/prompts"),
    ] {
        let query = ["--query", "a man eats"];
        let answer = |input: &'static [u8], more: &[&str], code| {
            let mut command = ptm();
            command.arg(name).args(query).args(more).arg("-m").arg(parity(model)).write_stdin(input);
            let output = command.assert().code(code).get_output().clone();
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
        };
        let run = |more: &[&str], code| answer(input, more, code);
        let (shown, said) = run(&["--json"], 2);
        let ranking: Vec<Value> = serde_json::from_str(&shown).unwrap();
        assert!(said.contains("2 of 5 inputs could not be answered"), "{name}: {said}");
        let scores: Vec<f64> = ranking.iter().map_while(|one| one["score"].as_f64()).collect();
        assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{name}: {ranking:?}");
        for (place, index, wanted) in [(3, 1, "line 2: not UTF-8"), (4, 2, "line 3: there is no \"text\"")] {
            assert_eq!(ranking[place]["index"], index, "{name}");
            assert!(ranking[place]["error"].as_str().unwrap().contains(wanted), "{name}: {ranking:?}");
        }
        let (shown, said) = run(&[], 2);
        assert!(shown.lines().count() == 3 && said.matches("error: standard input").count() == 2, "{name}: {said}");
        assert_eq!(
            serde_json::from_str::<Vec<Value>>(&run(&["--json", "--top-k", "1"], 2).0).unwrap().len(),
            3,
            "{name}"
        );

        let path = output.to_str().unwrap();
        run(&["--output", path], 2);
        let whole = std::fs::read_to_string(&output).unwrap();
        let read: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let indices: Vec<Option<u64>> = read.iter().map(|line| line["index"].as_u64()).collect();
        assert_eq!(indices, [Some(0), None, None, Some(3), Some(4)], "{name}: {whole}");
        assert!(read[1]["error"].is_string() && read[2]["error"].is_string(), "{name}: {whole}");
        for score in ranking.iter().filter(|one| one["score"].is_number()) {
            let same = &read[score["index"].as_u64().unwrap() as usize];
            super::fill_mask::close(same, score);
        }
        let beginning = input.split_inclusive(|&byte| byte == b'\n').take(3).map(<[u8]>::len).sum::<usize>();
        answer(&input[..beginning], &["--output", path], 2);
        let part = std::fs::read_to_string(&output).unwrap();
        assert_eq!(part.lines().count(), 3, "{name}: {part}");
        std::fs::write(&output, format!("{part}{{\"ind")).unwrap();
        // what the earlier run could not answer is told again
        let (_, said) = run(&["--output", path, "--resume"], 2);
        assert!(said.contains("2 answers written after 3 of an earlier run"), "{name}: {said}");
        assert!(said.contains("2 of 5 inputs could not be answered"), "{name}: {said}");
        let again = std::fs::read_to_string(&output).unwrap();
        assert!(again.starts_with(&part), "{name}: {again}");
        again.lines().zip(&read).for_each(|(line, wanted)| {
            super::fill_mask::close(&serde_json::from_str(line).unwrap(), wanted);
        });
    }
    // arguments, too
    let file = dir.path().join("pairs.jsonl");
    for (name, more) in [("similarity", &["a", "a", "b"][..]), ("rerank", &["--query", "a", "a", "b"])] {
        ptm().arg(name).args(more).arg("--output").arg(&file).assert().success().stdout("");
        let lines = std::fs::read_to_string(&file).unwrap();
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        let score = if name == "rerank" { &first["score"] } else { &first };
        assert!(lines.lines().count() == 2 && score.as_f64().unwrap() > 0.999, "{lines}");
    }
}

/// What only the model can refuse: the neighbours are answered as they are without it.
#[test]
fn texts_that_a_model_refuses() {
    let long = "tower ".repeat(3000);
    for (name, model, more, text, wrong, wanted) in [
        ("fill-mask", "pipelines/bert", &[][..], COMMANDS[0].3, "no mask here", "No mask_token ([MASK]) found"),
        ("fill-mask", "pipelines/bert", &[], COMMANDS[0].3, &format!("[MASK] {long}"), "the model reads 48"),
        ("generate", "pipelines/generation/gpt2", COMMANDS[3].2, "The tower is", &long, "128 positions"),
    ] {
        let all = [text, wrong, text, text, wrong].join("\n");
        let (read, _) = lines(command(name, model, more).write_stdin(all), 2);
        let places: Vec<bool> = read.iter().map(|line| line.get("error").is_some()).collect();
        assert_eq!(places, [false, true, false, false, true], "{name}: {read:?}");
        assert!(read[1]["error"].as_str().unwrap().contains(wanted), "{name}: {}", read[1]);
        // the draws of a line depend on its number alone
        let (alone, _) = lines(command(name, model, more).write_stdin([text; 5].join("\n")), 0);
        for place in [0, 2, 3] {
            super::fill_mask::close(&read[place], &alone[place]);
        }
    }
}

/// What cannot be read is found out before anything of an earlier run is lost.
#[test]
fn a_missing_file_leaves_answers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, new) = (dir.path().join("kept.jsonl"), dir.path().join("new.jsonl"));
    std::fs::write(&kept, "[1]\n").unwrap();
    for file in [dir.path().join("none.txt"), dir.path().to_owned()] {
        for output in [&kept, &new] {
            let mut command = ptm();
            command.args(["fill-mask", "--file"]).arg(&file).arg("--output").arg(output);
            refused(command.arg("-m").arg(parity("pipelines/bert")));
        }
    }
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "[1]\n");
    assert!(!new.exists());
}

/// Ctrl-C in the middle of a file, then `--resume`: the same bytes as of a run that nobody stopped.
#[cfg(unix)]
#[test]
fn a_stopped_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (input, whole) = (dir.path().join("in.txt"), dir.path().join("whole.jsonl"));
    let scores = [
        ("rerank", "sentence/mean", &["--query", "He eats."][..], "A man is eating food."),
        ("similarity", "sentence/mean", &[], "A man is eating food.\tHe eats."),
    ];
    for (name, model, more, text) in COMMANDS.into_iter().chain(scores) {
        let count = if matches!(name, "generate" | "summarize" | "translate") { 400 } else { 3000 };
        let texts: Vec<String> = (0..count).map(|i| format!("{} {text}", "It is so. ".repeat(i % 3))).collect();
        std::fs::write(&input, texts.join("\n")).unwrap();
        let run = |output: &PathBuf, more_still: &[&str]| {
            let mut run = super::alone(env!("CARGO_BIN_EXE_ptm"));
            // few at a time, so that there is something to stop
            run.args([name, "--quiet", "--batch-tokens", "100"])
                .args(more)
                .args(more_still)
                .arg("-m")
                .arg(parity(model));
            run.arg("--file").arg(&input).arg("--output").arg(output);
            run
        };
        assert!(run(&whole, &[]).status().unwrap().success());
        let wanted = std::fs::read(&whole).unwrap();
        assert_eq!(wanted.iter().filter(|&&byte| byte == b'\n').count(), count);
        let part = dir.path().join(format!("{name}.jsonl"));
        let mut child = run(&part, &[]).spawn().unwrap();
        let begin = std::time::Instant::now();
        while std::fs::metadata(&part).map_or(0, |file| file.len()) == 0 {
            assert!(child.try_wait().unwrap().is_none(), "{name}: ended before it was stopped");
            assert!(begin.elapsed().as_secs() < 120, "{name}: nothing is written");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}");
        let kept = std::fs::read(&part).unwrap();
        assert!(!kept.is_empty() && kept.len() < wanted.len(), "{name}: {} of {}", kept.len(), wanted.len());
        assert!(wanted.starts_with(&kept), "{name}: what is kept is the beginning");
        assert!(run(&part, &["--resume"]).status().unwrap().success());
        assert!(std::fs::read(&part).unwrap() == wanted, "{name}: not the same as without a stop");
    }
}

/// A file that is an input too is not written, whatever it is called, and neither is one for which there is no answer.
#[test]
fn inputs_and_earlier_answers_are_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let texts = "a film\nanother\n";
    for name in ["a.txt", "empty.txt", "kept.jsonl"] {
        std::fs::write(at(name), if name == "empty.txt" { "" } else { texts }).unwrap();
    }
    std::os::unix::fs::symlink(at("a.txt"), at("link.txt")).unwrap();
    std::fs::hard_link(at("a.txt"), at("same.txt")).unwrap();
    let run = |more: &[&str]| {
        let mut command = ptm();
        refused(command.arg("classify").arg("-m").arg(parity("pipelines/heads/bert-sequence")).args(more))
    };
    let spelt = format!("{}/./a.txt", dir.path().display());
    for output in [at("a.txt"), at("link.txt"), at("same.txt"), spelt] {
        assert!(run(&["--file", &at("a.txt"), "--output", &output]).contains("this is an input too"), "{output}");
        assert_eq!(std::fs::read_to_string(at("a.txt")).unwrap(), texts);
    }
    assert!(run(&["--file", &at("empty.txt"), "--output", &at("kept.jsonl")]).contains("holds no text"));
    assert_eq!(std::fs::read_to_string(at("kept.jsonl")).unwrap(), texts);
    assert!(run(&["--file", &at("a.txt"), "--output", "/dev/null"]).contains("no regular file"));
    assert!(run(&["--file", &at("a.txt"), "--output", "-"]).contains("standard output"));
}

/// What a model says of an input names the place of that.
#[test]
fn errors_name_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blank.txt");
    std::fs::write(&file, format!("\n\na\n\n{}\n", "word ".repeat(300))).unwrap();
    for more in [&[][..], &["--json"]] {
        let mut command = ptm();
        command.arg("classify").arg("-m").arg(parity("pipelines/heads/bert-sequence")).arg("--file").arg(&file);
        let output = command.args(more).assert().code(2).get_output().clone();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("blank.txt, line 5: a text has"), "{said}");
    }
}
