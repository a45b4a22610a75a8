//! `ptm tokenizer`: a trained one is opened by the other commands, encoding and decoding show what it does.

use crate::{json, printed, ptm, refused};

#[test]
fn train_encode_decode() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let text = ["The cat sleeps near the river.", "A dog sleeps in the garden.", "The river is wide."];
    std::fs::write(at("a.txt"), text.join("\n\n").repeat(20)).unwrap();
    let train = |family: &str, output: &str, more: &[&str]| {
        let mut command = ptm();
        command.args(["tokenizer", "train", "--json", "--family", family]).args(more);
        command.arg(at("a.txt")).arg("--output").arg(at(output));
        command
    };
    for (family, size, files) in [("electra", "120", 4), ("bart", "320", 5), ("t5", "160", 3)] {
        let made = json(&mut train(family, family, &["--vocab-size", size]));
        assert_eq!(made["files"].as_array().unwrap().len(), files, "{family}");
        assert!(made["tokens"].as_u64().unwrap() <= size.parse().unwrap());
        json(&mut train(family, &format!("{family}-again"), &["--vocab-size", size, "--threads", "1"]));
        for file in made["files"].as_array().unwrap() {
            let read = |folder: String| std::fs::read(at(&folder).join(file.as_str().unwrap())).unwrap();
            assert!(read(family.to_owned()) == read(format!("{family}-again")), "{family} {file}");
        }
        let encode = |more: &[&str]| {
            let mut command = ptm();
            command.args(["tokenizer", "encode", "--tokenizer"]).arg(at(family)).args(more);
            command
        };
        let encoding = json(encode(&["--json", "--no-special"]).arg("the cat sleeps"));
        let ids: Vec<String> = encoding["ids"].as_array().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(encoding["offsets"].as_array().unwrap().len(), ids.len());
        let mut decode = ptm();
        decode.args(["tokenizer", "decode", "--tokenizer"]).arg(at(family)).args(&ids);
        assert_eq!(printed(&mut decode).trim(), "the cat sleeps", "{family}");
        let table = printed(&mut encode(&["the cat"]));
        assert!(table.contains("added") && table.contains("–7"), "{table}");
        // what was trained packs a corpus
        let mut pack = ptm();
        pack.args(["corpus", "pack", "--json"]).arg(at("a.txt")).arg("--tokenizer").arg(at(family));
        assert_eq!(json(pack.arg("--output").arg(at(&format!("{family}-corpus"))))["id_bytes"], 2);
    }
    assert!(refused(&mut train("bart", "bart", &["--vocab-size", "320"])).contains("is there already"));
    assert!(refused(&mut train("electra", "x", &["--vocab-size", "20"])).contains("too small"));
    assert!(refused(&mut train("gpt2", "x", &["--lowercase", "true"])).contains("case"));
    assert!(refused(&mut train("none", "x", &[])).contains("possible values"));
    std::fs::write(at("blank.txt"), " \n\n \n").unwrap();
    let mut blank = ptm();
    blank.args(["tokenizer", "train", "--family", "bert"]).arg(at("blank.txt")).arg("--output").arg(at("x"));
    assert!(refused(&mut blank).contains("no documents with words"));
    assert!(!at("x").exists());
    assert!(refused(&mut train("bert", "a.txt/x", &[])).contains("cannot make the directory"));
    let mut decode = ptm();
    decode.args(["tokenizer", "decode", "99999", "--tokenizer"]).arg(at("t5"));
    assert!(refused(&mut decode).contains("99999 is no token"));
}
