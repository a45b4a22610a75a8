//! Input and models that cannot be used: one sentence on standard error and exit code 2.

use std::fs;
use std::path::Path;

use super::{copy, json, parity, ptm, refused};

#[test]
fn nothing_to_read() {
    for command in [&["embed"][..], &["similarity"], &["similarity", "--query", "x"]] {
        for input in ["", "\n", " \n\t\n"] {
            assert!(refused(ptm().args(command).write_stdin(input)).contains("the input holds no"));
        }
    }
    refused(ptm().args(["embed", ""]));
    refused(ptm().args(["similarity", "a", " "]));
}

#[test]
fn text_that_is_not_utf8() {
    let output = ptm().arg("embed").write_stdin(b"fine\nb\xe9b\xe9\n".to_vec()).assert().code(2).get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("standard input, line 2") && said.contains("UTF-8"), "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("fine"), "the rest goes on");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("latin.txt");
    fs::write(&file, b"\xff\n").unwrap();
    let said = refused(ptm().args(["embed", "--file"]).arg(&file));
    assert!(said.contains("latin.txt, line 1"), "{said}");
}

#[test]
fn lines_that_are_not_what_they_should_be() {
    for (line, wanted) in
        [("{\"body\": \"x\"}", "--key"), ("{\"text\": 1}", "no string"), ("{\"text\"", "not a JSON object")]
    {
        let said = refused(ptm().arg("embed").write_stdin(format!("\n{line}\n")));
        assert!(said.contains("standard input, line 2") && said.contains(wanted), "{said}");
    }
    // NaN is no JSON, and a plain line is none either
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("texts.jsonl");
    for line in ["{\"text\": NaN}", "plain"] {
        fs::write(&file, line).unwrap();
        let said = refused(ptm().args(["embed", "--file"]).arg(&file));
        assert!(said.contains("texts.jsonl, line 1: not a JSON object") && said.contains(".jsonl file is"), "{said}");
    }
    // as deep as a hostile line may be
    refused(ptm().arg("embed").write_stdin(format!("{{\"text\": {}", "[".repeat(200_000))));
}

#[test]
fn missing_files_and_forbidden_directories() {
    let dir = tempfile::tempdir().unwrap();
    let said = refused(ptm().args(["embed", "--file"]).arg(dir.path().join("no.txt")));
    assert!(said.contains("no.txt"), "{said}");
    refused(ptm().args(["embed", "--file"]).arg(dir.path()));
    refused(ptm().args(["embed", "a", "--model"]).arg(dir.path()));
    let file = dir.path().join("model.safetensors");
    fs::write(&file, "").unwrap();
    let said = refused(ptm().args(["embed", "a", "--model"]).arg(&file));
    assert!(said.contains("is a file; give the directory"), "{said}");
    fs::remove_file(&file).unwrap();
    // before anything is computed
    let said = refused(ptm().args(["embed", "a", "--output"]).arg(dir.path().join("none/v.npy")));
    assert!(said.contains("there is no directory"), "{said}");
    let folder = dir.path().join("v.npy");
    fs::create_dir(&folder).unwrap();
    let said = refused(ptm().args(["embed", "a", "--output"]).arg(&folder));
    assert!(said.contains("this is a directory"), "{said}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o000)).unwrap();
        refused(ptm().args(["embed", "a", "--model"]).arg(dir.path()));
        // the superuser may write anywhere
        if fs::write(dir.path().join("probe"), "").is_err() {
            refused(ptm().args(["embed", "a", "--output"]).arg(dir.path().join("v.npy")));
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn ten_megabytes_on_one_line() {
    let line = "word ".repeat(2 << 20);
    let value = json(ptm().args(["embed", "--json"]).write_stdin(line));
    assert_eq!(value.as_array().unwrap().len(), 384);
    let line = "x".repeat(10 << 20);
    json(ptm().args(["embed", "--json"]).write_stdin(line));
}

fn refuses_model(dir: &Path, wanted: &str) {
    for arguments in [&["embed", "hello"][..], &["fill-mask", "the [MASK]"]] {
        let said = refused(ptm().args(arguments).arg("--model").arg(dir));
        assert!(said.contains(wanted), "{arguments:?} {wanted}: {said}");
    }
}

fn edit_config(dir: &Path, edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let path = dir.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(config.as_object_mut().unwrap());
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn configurations() {
    let dir = copy("pipelines/bert");
    edit_config(dir.path(), |config| {
        config.insert("model_type".into(), "mystery".into());
        config.insert("architectures".into(), serde_json::json!(["MysteryModel"]));
    });
    refuses_model(dir.path(), "mystery");
    edit_config(dir.path(), |config| {
        config.remove("model_type");
        config.remove("architectures");
    });
    refuses_model(dir.path(), "model_type");
    fs::write(dir.path().join("config.json"), "{\"model_type\": ").unwrap();
    refuses_model(dir.path(), "config.json");
    fs::remove_file(dir.path().join("config.json")).unwrap();
    refuses_model(dir.path(), "config.json");
}

#[test]
fn weights() {
    let dir = copy("pipelines/bert");
    let path = dir.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refuses_model(dir.path(), "model.safetensors");
    let mut lying = whole.clone();
    lying[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    fs::write(&path, &lying).unwrap();
    refuses_model(dir.path(), "model.safetensors");
    // a tensor of the wrong shape
    fs::write(&path, &whole).unwrap();
    edit_config(dir.path(), |config| {
        config.insert("intermediate_size".into(), 7.into());
    });
    refuses_model(dir.path(), "intermediate");
    fs::remove_file(&path).unwrap();
    refuses_model(dir.path(), "safetensors");
}

/// JSON has no NaN: a model that computes it is an error, not a `null`.
#[test]
fn weights_that_hold_nan() {
    for (model, commands) in [
        ("sentence/mean", &[&["embed", "a"][..], &["similarity", "a", "b"], &["similarity", "--query", "a", "b"]][..]),
        ("pipelines/bert", &[&["fill-mask", "a [MASK]"], &["fill-mask", "a [MASK] [MASK]", "--targets", "the"]]),
    ] {
        let dir = copy(model);
        if let Ok(pooling) = fs::read(parity(model).join("1_Pooling/config.json")) {
            fs::create_dir(dir.path().join("1_Pooling")).unwrap();
            fs::write(dir.path().join("1_Pooling/config.json"), pooling).unwrap();
        }
        let path = dir.path().join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..start]).unwrap();
        let (_, bias) =
            header.as_object().unwrap().iter().find(|(name, _)| name.ends_with("0.output.dense.bias")).unwrap();
        let at = start + bias["data_offsets"][0].as_u64().unwrap() as usize;
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        for command in commands {
            for json in [&["--json"][..], &[]] {
                let said = refused(ptm().args(*command).args(json).arg("--model").arg(dir.path()));
                assert!(said.contains("not finite") && said.contains("\"a"), "{said}");
            }
        }
    }
}

#[test]
fn a_tokenizer_with_ids_beyond_the_embedding() {
    let dir = copy("pipelines/bert");
    // the fast tokenizer's file would win over the words added here
    fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    let path = dir.path().join("vocab.txt");
    let mut words = fs::read_to_string(&path).unwrap();
    words.extend((0..50).map(|i| format!("extra{i}\n")));
    fs::write(&path, words).unwrap();
    refuses_model(dir.path(), "vocab");
}
