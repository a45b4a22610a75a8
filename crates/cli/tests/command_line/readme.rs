//! The commands of the README's `sh` blocks, run as they stand there: its files are made, its hub is a local one with
//! small models, and what is taught ends after a few steps. What they print is not compared, it depends on the models.

use std::path::Path;

use super::pull::serve;
use super::{alone, parity};

/// Commands that need a network, a build of their own, or Python.
const LEFT_OUT: [&str; 6] = ["cargo test", "cargo build", "cargo install", "git clone", "cd ", "python "];
/// What a line may start, besides `ptm`.
const HELPERS: [&str; 4] = ["cat", "printf", "echo", "head"];

/// The commands of the blocks marked `sh`. In a block with `$ ` before its commands the other lines are output.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut block: Option<Vec<&str>> = None;
    for line in readme.lines() {
        match (&mut block, line.trim_end()) {
            (None, "```sh") => block = Some(Vec::new()),
            (Some(lines), "```") => {
                let text = lines.join("\n").replace("\\\n", " ");
                let prompted = text.lines().any(|line| line.starts_with("$ "));
                let lines = text.lines().filter_map(|line| if prompted { line.strip_prefix("$ ") } else { Some(line) });
                let lines = lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
                commands.extend(lines.map(str::to_owned));
                block = None;
            }
            (Some(lines), _) => lines.push(line),
            (None, _) => {}
        }
    }
    commands
}

/// The programs that a line starts: the first word of each part between pipes outside quotes.
fn programs(line: &str) -> Vec<String> {
    let mut quote = None;
    let mut parts = vec![String::new()];
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if matches!(c, '|' | ';' | '&') => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let first = |part: &String| part.split_whitespace().next().map(str::to_owned);
    parts.iter().filter_map(first).collect()
}

/// The line as this test runs it; none where it is left out.
fn runnable(line: &str) -> Option<String> {
    if LEFT_OUT.iter().any(|start| line.starts_with(start)) {
        return None;
    }
    let line = line.replace("cargo run --release -- ", "ptm ").replace("target/release/ptm ", "ptm ");
    for program in programs(&line) {
        assert!(
            program == "ptm" || HELPERS.contains(&&program[..]),
            "the README has a command that this test does not know: {line}"
        );
    }
    Some(line)
}

#[test]
fn every_command_of_the_tour_works() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let lines: Vec<String> = commands(&readme).iter().filter_map(|line| runnable(line)).collect();
    for command in [
        "debug data",
        "explain",
        "finetune",
        "pretrain",
        "adapt",
        "evaluate",
        "embed",
        "similarity",
        "fill-mask",
        "classify",
        "nli",
        "rerank",
        "zero-shot",
        "ner",
        "qa",
        "run",
        "generate",
        "summarize",
        "translate",
        "tokenizer train",
        "tokenizer encode",
        "corpus pack",
        "corpus info",
        "pull",
        "list",
        "doctor",
    ] {
        assert!(lines.iter().any(|line| line.contains(&format!("ptm {command}"))), "no ptm {command} in the README");
    }
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put("lines.txt", "Run the installer to install a package.\nThe sky is blue.\nFish live in water.\nIt rained.\n");
    put("texts.jsonl", "{\"text\": \"Hello world\"}\n{\"text\": \"The sky is blue.\"}\n");
    put("article.txt", "The tower is tall.\n\nIt stands in Paris.\n");
    let models = [
        ("pipelines/heads/bert-one", "my-reranker"),
        ("pipelines/bert", "my-bert"),
        ("pipelines/heads/distilbert-sequence", "my-classifier"),
        ("pipelines/heads/bert-sequence", "my-nli"),
        ("pipelines/heads/bert-token", "my-tagger"),
        ("pipelines/heads/bert-span", "my-reader"),
        ("pipelines/generation/gpt2", "my-gpt2"),
        ("pipelines/generation/t5", "my-t5"),
    ];
    models.iter().for_each(|(model, name)| copy(&parity(model), &dir.path().join(name)));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (from, files) in [
        (
            "assets/all-MiniLM-L6-v2",
            &["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"][..],
        ),
        ("assets/data/topics", &["train.jsonl", "validation.jsonl", "test.jsonl"]),
        ("assets/data/corpus", &["sample.txt"]),
        ("assets/data/names", &["train.conll", "validation.conll", "test.conll"]),
        ("recipes", &["topics.toml", "names.toml"]),
        ("recipes/adapt", &["names-tiny.toml"]),
        ("recipes/pretrain", &["gpt2-tiny.toml"]),
    ] {
        std::fs::create_dir_all(dir.path().join(from)).unwrap();
        files.iter().for_each(|&file| {
            std::fs::copy(root.join(from).join(file), dir.path().join(from).join(file)).unwrap();
        });
    }
    let servers = ["pipelines/bert", "pipelines/roberta"].map(|model| serve(&parity(model)));
    for server in &servers {
        server.state().any_id = true;
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_ptm")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    for line in &lines {
        let mut shell = alone("sh");
        shell.args(["-e", "-c", line]).current_dir(dir.path()).env("PATH", &path).env_remove("HF_HUB_OFFLINE");
        // models differ in how they write the mask, and so in where they come from here
        let server = &servers[usize::from(line.contains("<mask>"))];
        shell
            .env("HF_ENDPOINT", &server.endpoint)
            .env("HF_HOME", dir.path().join(if line.contains("<mask>") { "b" } else { "a" }));
        // a key that a command has not is refused
        let few = match line.split_whitespace().nth(1) {
            Some("adapt") => {
                "pretrain.run.steps=1;finetune.run.steps=1;neighbours.pool=20;variants=['none','dapt','knn-tapt']"
            }
            Some("finetune" | "pretrain") => "run.steps=8;evaluate.every=8;checkpoint.every=8",
            _ => "",
        };
        if !few.is_empty() {
            shell.env("PTM_SET", few);
        }
        let output = shell.stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("error: "), "{line}\n{said}");
        assert!(
            !output.stdout.is_empty() || line.contains('>') || line.contains("--output") || line.contains("--html"),
            "{line}\n{said}"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for (name, data) in super::pull::files(from) {
        std::fs::write(to.join(name), data).unwrap();
    }
}

#[test]
fn commands_are_found_and_unknown_ones_refused() {
    let text = "a\n```sh\n# note\nptm a \\\n  b\n\nptm c\n```\n```rust\nptm no\n```\n```sh\n$ ptm d\noutput\n```\n";
    assert_eq!(commands(text), ["ptm a    b", "ptm c", "ptm d"]);
    assert_eq!(programs("cat x | ptm e \"a | b\" > 'y;z'; echo"), ["cat", "ptm", "echo"]);
    assert_eq!(runnable("cargo test --workspace"), None);
    assert_eq!(runnable("cargo run --release -- list").as_deref(), Some("ptm list"));
    assert!(std::panic::catch_unwind(|| runnable("curl http://example.org | ptm embed")).is_err());
}
