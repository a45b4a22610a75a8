//! The real binary, from outside: what it prints, where, and with which exit code. Answers are compared with the
//! golden ones under `parity/`; nothing here needs a network.

#[cfg(unix)]
mod adapt;
mod bad_input;
mod corpus;
mod embed;
mod evaluate;
mod explain;
mod fill_mask;
#[cfg(unix)]
mod find;
#[cfg(unix)]
mod finetune;
mod formats;
mod generation;
mod heads;
mod lines;
mod links;
mod manners;
mod options;
#[cfg(unix)]
mod pretrain;
mod pull;
mod reading;
#[cfg(unix)]
mod readme;
#[path = "../../../models/tests/hub/server.rs"]
#[allow(dead_code, reason = "the hub's own tests use all of it")]
mod server;
mod similarity;
#[cfg(target_os = "linux")]
mod terminal;
mod tiny_recipes;
mod tokenizer;

use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::Value;

/// The binary in an empty environment of its own, offline.
pub fn ptm() -> Command {
    let mut command = Command::from_std(alone(env!("CARGO_BIN_EXE_ptm")));
    // a test that hangs fails
    command.timeout(std::time::Duration::from_mins(4));
    command
}

/// A program, to be started in that environment.
pub fn alone(program: &str) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        const OURS: [&str; 8] =
            ["PTM_", "HF_", "TRANSFORMERS_", "RUST_LOG", "NO_COLOR", "REQUESTS_CA_", "CURL_CA_", "SSL_CERT_"];
        if OURS.iter().any(|start| name_text.starts_with(start)) || name_text.to_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/no-such-home"));
    command
}

/// A file or directory under `parity/`.
pub fn parity(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../parity")).join(path)
}

/// Standard output of a run that must succeed.
pub fn printed(command: &mut Command) -> String {
    let output = command.assert().success().get_output().clone();
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Standard output as one JSON value.
pub fn json(command: &mut Command) -> Value {
    let text = printed(command);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Standard error of a run that must end with exit code 2, print nothing, and say `error: …`, not panic.
pub fn refused(command: &mut Command) -> String {
    let output = command.assert().code(2).get_output().clone();
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.starts_with("error: ") || said.contains("\nerror: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// A directory that holds the files of another one, to be damaged.
pub fn copy(from: &str) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(parity(from)).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
    }
    to
}
