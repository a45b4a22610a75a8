//! What holds for every command: help, completions, exit codes, pipes, doctor, list.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::{alone, json, parity, printed, ptm, refused};

#[test]
fn help_has_examples() {
    for command in ["classify", "nli", "zero-shot", "ner", "qa", "rerank", "run"] {
        let help = printed(ptm().args([command, "--help"]));
        assert!(help.contains("Examples:") && help.contains(&format!("ptm {command}")), "{help}");
    }
    for command in [
        "adapt",
        "embed",
        "similarity",
        "fill-mask",
        "pretrain",
        "pull",
        "list",
        "doctor",
        "corpus",
        "tokenizer",
        "completions",
    ] {
        let help = printed(ptm().args([command, "--help"]));
        assert!(help.contains("Example") && help.contains(&format!("ptm {command}")), "{help}");
    }
    assert!(printed(ptm().arg("--version")).starts_with("ptm "));
    assert!(printed(ptm().args(["completions", "bash"])).contains("fill-mask"));
}

#[test]
fn wrong_usage_is_an_error() {
    for arguments in [
        &["embed", "--bogus"][..],
        &["nonsense"],
        &["embed", "a", "--threads", "0"],
        &["embed", "a", "--threads", "100000"],
        &["embed", "a", "--batch-tokens", "0"],
        &["embed", "a", "--normalize", "maybe"],
        &["embed", "a", "--file", "b"],
        &["embed", "a", "--prompt", "x", "--prompt-name", "y"],
        &["completions", "dos"],
    ] {
        refused(ptm().args(arguments));
    }
    // an environment variable is checked as its flag is
    refused(ptm().args(["embed", "a"]).env("PTM_THREADS", "many"));
}

/// Answers come while the stream is still open, and a reader who leaves early is no error.
#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = alone(env!("CARGO_BIN_EXE_ptm"))
        .args(["embed", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    writeln!(to, "one text").unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    assert!(line.starts_with('[') && line.ends_with("]\n"), "{line}");
    drop(from);
    // the write may fail once the program has ended
    let _ = writeln!(to, "another text");
    drop(to);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A disk that is full is an error, which names what could not be written.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    for arguments in [&["embed", "a"][..], &["embed", "a", "--json"], &["list"]] {
        let mut run = alone(env!("CARGO_BIN_EXE_ptm"));
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = run.args(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with("error: standard output: cannot write: "), "{said}");
    }
}

#[test]
fn a_dash_is_standard_input() {
    let wanted = printed(ptm().args(["embed", "--json"]).write_stdin("Hello\n"));
    assert_eq!(printed(ptm().args(["embed", "--json", "-"]).write_stdin("Hello\n")), wanted);
    assert_eq!(printed(ptm().args(["embed", "--json", "--file", "-"]).write_stdin("Hello\n")), wanted);
    let lines = printed(ptm().args(["similarity", "--query", "Hello", "-"]).write_stdin("Hello\nBye\n"));
    assert_eq!(lines.lines().count(), 2);
}

/// Ctrl-C in the middle of a long run: the batch in hand is finished, nothing is said.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_long_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lines.txt");
    std::fs::write(&file, "The capital of France is [MASK].\n".repeat(100_000)).unwrap();
    for (command, model) in [("embed", "sentence/mean"), ("fill-mask", "pipelines/bert")] {
        let mut run = alone(env!("CARGO_BIN_EXE_ptm"));
        run.args([command, "--json", "--quiet", "--model"]).arg(parity(model)).arg("--file").arg(&file);
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with('['));
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let seen = lines.map_while(Result::ok).count();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{command}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(seen < 99_000, "{command}: {seen} answers after the signal");
    }
}

#[test]
fn threads_change_nothing() {
    let text = "A man is eating food.";
    let one = printed(ptm().args(["similarity", "--threads", "1", text, "Hello"]));
    assert_eq!(one, printed(ptm().args(["similarity", "--threads", "3", text, "Hello"])));
}

#[test]
fn timing_is_a_table_on_standard_error() {
    let similarity = || {
        let mut command = ptm();
        command.args(["similarity", "A man is eating food.", "Hello"]);
        command
    };
    let output = similarity().env("PTM_TIMING", "1").assert().success().get_output().clone();
    let table = String::from_utf8(output.stderr).unwrap();
    assert!(table.starts_with("kernel ") && table.lines().last().unwrap().starts_with("all "), "{table}");
    for kind in ["product", "attention", "norm", "embedding"] {
        let line = table.lines().find(|line| line.starts_with(kind)).unwrap_or_else(|| panic!("{kind}: {table}"));
        let calls: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(calls > 0, "{table}");
    }
    // the answer stays alone, and without the variable there is no table
    similarity().assert().success().stdout(output.stdout).stderr("");
}

#[test]
fn doctor_names_the_versions_in_use() {
    let crates = &json(ptm().args(["doctor", "--json"]))["crates"];
    assert!(crates["safetensors"].as_str().unwrap().starts_with("0.8."), "{crates}");
    assert!(crates["burn"].is_string() && crates["tokenizers"].is_string(), "{crates}");
}

#[test]
fn doctor_never_shows_the_token() {
    let token = "hf_verysecretverysecret";
    let value = json(ptm().args(["doctor", "--json", "--threads", "1"]).env("HF_TOKEN", token));
    assert_eq!(value["threads"], 1);
    assert_eq!(value["offline"], true);
    assert_eq!(value["token"]["present"], true);
    assert!(value["f32_gflops"].as_f64().unwrap() > 0.0);
    assert!(value["embedded"][0]["name"].as_str().unwrap().contains("MiniLM"));
    assert_eq!(value["embedded"][1]["name"], "minilm-fill-mask");
    let text = printed(ptm().arg("doctor").env("HF_TOKEN", token));
    assert!(!value.to_string().contains(token) && !text.contains(token) && text.contains("HF_TOKEN"), "{text}");
}

#[test]
fn list_shows_the_cache() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(json(ptm().args(["list", "--json"]).env("HF_HOME", home.path())), serde_json::json!([]));
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let model = home.path().join("hub/models--org--name");
    let snapshot = model.join("snapshots").join(commit);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(model.join("refs")).unwrap();
    std::fs::create_dir_all(model.join("blobs")).unwrap();
    std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    std::fs::write(model.join("refs/main"), commit).unwrap();
    let value = json(ptm().args(["list", "--json"]).env("HF_HOME", home.path()));
    assert_eq!(value[0]["id"], "org/name");
    assert_eq!(value[0]["revisions"][0]["commit"], commit);
    let text = printed(ptm().arg("list").env("HF_HOME", home.path()));
    assert!(text.contains("org/name") && text.contains("main (0123456)"), "{text}");
}

#[test]
fn offline_and_not_cached() {
    let said = refused(ptm().args(["pull", "org/name"]));
    assert!(said.contains("org/name") && said.contains("OFFLINE"), "{said}");
    refused(ptm().args(["pull", "../../etc"]));
    refused(ptm().args(["embed", "a", "--model", "no/such/directory/here"]));
}
