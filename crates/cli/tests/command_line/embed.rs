//! `ptm embed`.

use serde_json::Value;

use super::{copy, json, parity, printed, ptm, refused};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn arguments_give_a_list_of_vectors() {
    for texts in [&["one text"][..], &["one text", "another text"]] {
        let value = json(ptm().args(["embed", "--json"]).args(texts));
        let vectors = value.as_array().unwrap();
        assert_eq!(vectors.len(), texts.len());
        for vector in vectors {
            assert_eq!(vector.as_array().unwrap().len(), 384);
            assert!((length(&numbers(vector)) - 1.0).abs() < 1e-4);
        }
    }
}

#[test]
fn streams_give_a_vector_a_line_in_order() {
    let texts = ["A man is eating food.", "a much longer text, so that batches are formed in another order", "Hello"];
    let wanted = json(ptm().args(["embed", "--json"]).args(texts));
    let stream = format!("{}\n\n{{\"body\": \"{}\", \"id\": 7}}\r\n{}", texts[0], texts[1], texts[2]);
    let lines = printed(ptm().args(["embed", "--json", "--key", "body"]).write_stdin(stream));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for (line, wanted) in lines.iter().zip(wanted.as_array().unwrap()) {
        for (a, b) in numbers(line).iter().zip(numbers(wanted)) {
            assert!((a - b).abs() < 1e-5);
        }
    }
}

#[test]
fn a_model_of_ones_own() {
    let model = parity("sentence/mean");
    let lengths = [("true", true), ("false", false)].map(|(normalize, one)| {
        let value = json(ptm().args(["embed", "--json", "Hello", "--normalize", normalize, "--model"]).arg(&model));
        let length = length(&numbers(&value[0]));
        assert_eq!((length - 1.0).abs() < 1e-4, one, "{length}");
        value[0].as_array().unwrap().len()
    });
    assert_eq!(lengths[0], lengths[1]);
    // the same through the environment
    let value = json(ptm().args(["embed", "Hello"]).env("PTM_MODEL", &model).env("PTM_JSON", "1"));
    assert_eq!(value[0].as_array().unwrap().len(), lengths[0]);
}

#[test]
fn prompts() {
    let model = parity("sentence/prompts");
    let embed = |text: &str, more: &[&str]| json(ptm().args(["embed", "--json", text, "-m"]).arg(&model).args(more));
    let by_name = embed("Hello", &["--prompt-name", "query"]);
    assert_eq!(by_name, embed("Hello", &["--prompt", "query: "]));
    assert_ne!(by_name, embed("Hello", &[]));
    let said = refused(ptm().args(["embed", "Hello", "--prompt-name", "nonsense", "-m"]).arg(&model));
    assert!(said.contains("nonsense") && said.contains("query"), "{said}");
}

#[test]
fn files_of_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        let path = dir.path().join(name);
        ptm().args(["embed", "--quiet", "a", "b", "--output"]).arg(&path).assert().success().stdout("").stderr("");
        std::fs::read(path).unwrap()
    };
    let npy = read("v.npy");
    assert!(npy.starts_with(b"\x93NUMPY\x01\0") && npy.len() % 64 == 0 && npy.len() > 2 * 384 * 4);
    let jsonl = String::from_utf8(read("v.jsonl")).unwrap();
    let first: Vec<f32> = serde_json::from_str(jsonl.lines().next().unwrap()).unwrap();
    assert_eq!((jsonl.lines().count(), first.len()), (2, 384));
    assert_eq!(npy[npy.len() - 2 * 384 * 4..][..4], first[0].to_le_bytes());
    let safetensors = read("v.safetensors");
    let header = String::from_utf8_lossy(&safetensors[8..200]).into_owned();
    assert!(header.contains("\"embeddings\"") && header.contains("[2,384]"), "{header}");
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["v.jsonl", "v.jsonl.run", "v.npy", "v.safetensors"], "nothing half-written is left");

    let said = refused(ptm().args(["embed", "a", "--output", "vectors.txt"]));
    assert!(said.contains(".npy"), "{said}");
    let said = refused(ptm().args(["embed", "a", "--resume", "--output"]).arg(dir.path().join("w.npy")));
    assert!(said.contains("only a file of lines"), "{said}");
    refused(ptm().args(["embed", "a", "--output"]).arg(dir.path().join("missing/v.npy")));
}

#[test]
fn readers_see_the_model_and_the_text() {
    let text = printed(ptm().args(["embed", "The cat sits outside."]));
    assert!(text.contains("all-MiniLM-L6-v2") && text.contains("384"), "{text}");
    assert!(text.contains("The cat sits outside.") && !text.contains('\x1b'), "{text}");
}

/// Models with a decoder give their encoder's vectors; token by token, what the pipeline of transformers gives.
#[test]
fn encoder_decoders() {
    for model in ["sentence/t5-dense", "sentence/marian-no-modules", "sentence/bart-no-modules"] {
        let value = json(ptm().args(["embed", "--json", "A man is eating food.", "--model"]).arg(parity(model)));
        assert!(!numbers(&value[0]).is_empty(), "{model}");
    }
    let model = parity("pipelines/generation/bart");
    let cases: Value = serde_json::from_slice(&std::fs::read(model.join("features.json")).unwrap()).unwrap();
    let text = cases[0]["text"].as_str().unwrap();
    let value = json(ptm().args(["embed", "--tokens", "--json", text, "--model"]).arg(&model));
    let (ours, theirs) = (value.as_array().unwrap(), cases[0]["output"].as_array().unwrap());
    assert_eq!(ours[0].as_array().unwrap().len(), theirs[0].as_array().unwrap().len());
    for (a, b) in numbers(&ours[0][1]).iter().zip(numbers(&theirs[0][1])) {
        assert!((a - b).abs() < 1e-4, "{a}, should be {b}");
    }
    // an encoder that was saved alone is for vectors, a decoder has none
    let alone = copy("sentence/marian-encoder");
    std::fs::remove_file(alone.path().join("modules.json")).unwrap();
    let value = json(ptm().arg("run").arg(alone.path()).args(["A man is eating food.", "--json"]));
    assert_eq!(numbers(&value[0]).len(), 16);
    let said = refused(ptm().args(["embed", "x", "--model"]).arg(parity("dumps/bart-causal")));
    assert!(said.contains("tensors are missing: embed_positions.weight"), "{said}");
}
