//! `ptm corpus`: text of every kind becomes the same corpus, what is damaged or stopped is told.

use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Stdio;

use serde_json::json as value;

use crate::{json, printed, ptm, refused};

fn tokenizer() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/all-MiniLM-L6-v2"))
}

fn pack(texts: &[&Path], output: &Path, more: &[&str]) -> assert_cmd::Command {
    let mut command = ptm();
    command.args(["corpus", "pack", "--json"]).args(texts).args(more);
    command.arg("--output").arg(output).arg("--tokenizer").arg(tokenizer());
    command
}

#[test]
fn every_format_gives_the_same_corpus() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let texts = ["The first one. It has two sentences.", "A [MASK] is only text here.", "Dr. Smith is out."];
    std::fs::write(at("a.txt"), texts.join("\n\n")).unwrap();
    std::fs::write(at("b.text"), texts.join("\n")).unwrap();
    std::fs::write(at("c.jsonl"), texts.map(|text| value!({"body": text}).to_string()).join("\n")).unwrap();
    std::fs::create_dir(at("d")).unwrap();
    for (number, text) in texts.iter().enumerate() {
        std::fs::write(at("d").join(number.to_string()), text).unwrap();
    }
    let first = json(&mut pack(&[&at("a.txt")], &at("1"), &[]));
    assert_eq!((&first["documents"], &first["sentences"]), (&value!(3), &value!(4)));
    assert_eq!((&first["id_bytes"], &first["text_bytes"]), (&value!(2), &value!(texts.concat().len())));
    assert_eq!(first["tokenizer"]["size"], 30522);
    for (name, more) in [
        ("b.text", &["--documents", "lines"][..]),
        ("c.jsonl", &["--text-key", "body"]),
        ("d", &["--documents", "files", "--threads", "1"]),
    ] {
        let other = json(&mut pack(&[&at(name)], &at(&format!("of-{name}")), more));
        assert_eq!(other["fingerprint"], first["fingerprint"], "{name}");
    }
    // several inputs follow each other
    let both = json(&mut pack(&[&at("a.txt"), &at("c.jsonl")], &at("2"), &["--text-key", "body"]));
    assert_eq!(both["documents"], 6);

    let info = json(ptm().args(["corpus", "info", "--json", "--validation", "1"]).arg(at("1")));
    assert_eq!(info["fingerprint"], first["fingerprint"]);
    assert_eq!(info["validation"]["documents"], 3);
    assert_eq!(
        info["lengths"]["sentences"]["histogram"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bin| bin[1].as_u64().unwrap())
            .sum::<u64>(),
        4
    );
    let text = printed(ptm().args(["corpus", "info"]).arg(at("1")));
    assert!(text.contains("3 documents, 4 sentences") && text.contains("every checksum is right"), "{text}");
    let text = printed(
        ptm()
            .args(["corpus", "pack"])
            .arg(at("a.txt"))
            .arg("--output")
            .arg(at("3"))
            .arg("--tokenizer")
            .arg(tokenizer()),
    );
    assert!(text.contains(" MB/s") && text.contains("bytes a token"), "{text}");
}

#[test]
fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("a.txt"), "One.\n\nTwo.").unwrap();
    json(&mut pack(&[&at("a.txt")], &at("corpus"), &[]));
    assert!(refused(&mut pack(&[&at("a.txt")], &at("corpus"), &[])).contains("is not empty"));
    assert!(refused(&mut pack(&[&at("none.txt")], &at("x"), &[])).contains("none.txt"));
    assert!(!at("x").exists(), "nothing is begun for what cannot be read");
    std::fs::write(at("latin.txt"), b"fine\n\n\xe9t\xe9\n").unwrap();
    assert!(refused(&mut pack(&[&at("latin.txt")], &at("y"), &[])).contains("latin.txt, line 3, is not UTF-8"));
    let info = |name: &str| {
        let mut command = ptm();
        command.args(["corpus", "info"]).arg(at(name));
        command
    };
    assert!(refused(&mut info("y")).contains("is unfinished"));
    // what is unfinished can be made again
    json(&mut pack(&[&at("a.txt")], &at("y"), &[]));
    std::fs::write(at("blank.txt"), " \n\n").unwrap();
    assert!(refused(&mut pack(&[&at("blank.txt")], &at("z"), &[])).contains("holds no documents"));
    assert!(refused(&mut info("none")).contains("none"));
    assert!(refused(info("corpus").args(["--validation", "2"])).contains("from 0 to 1"));
    let shard = at("corpus").join("shard-00000.bin");
    let mut bytes = std::fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    assert!(refused(&mut info("corpus")).contains("checksum"));
}

/// The same rows as Parquet, in every compression and in groups, and as JSONL give the same corpus.
#[test]
fn parquet_is_packed_as_other_tables_are() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let row = |i: usize| value!({"text": format!("row {i} {}", "é".repeat(i % 5)), "label": i % 3}).to_string();
    std::fs::write(at("rows.jsonl"), (0..50).map(row).collect::<Vec<_>>().join("\n")).unwrap();
    let first = json(&mut pack(&[&at("rows.jsonl")], &at("of-jsonl"), &[]));
    assert_eq!(first["documents"], 50);
    let files = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../parity/data"));
    for name in ["none", "snappy", "gzip", "lz4", "groups"] {
        let file = files.join(format!("{name}.parquet"));
        let packed = json(&mut pack(&[&file], &at(name), &["--text-key", "text"]));
        assert_eq!(packed["fingerprint"], first["fingerprint"], "{name}");
    }
    // several tables of other kinds follow each other
    let both = json(&mut pack(&[&files.join("none.parquet"), &at("rows.jsonl")], &at("both"), &[]));
    assert_eq!((&both["documents"], &both["sentences"]), (&value!(100), &value!(100)));
    // what is wrong is named by its row
    let refusal = refused(&mut pack(&[&files.join("nulls.parquet")], &at("x"), &[]));
    assert!(refusal.contains("nulls.parquet, row 8: the column for text is empty here"), "{refusal}");
    let refusal = refused(&mut pack(&[&files.join("none.parquet")], &at("y"), &["--text-key", "body"]));
    assert!(refusal.contains("none.parquet, row 1: there is no column \"body\""), "{refusal}");
    let refusal = refused(&mut pack(&[&files.join("none.parquet")], &at("z"), &["--spans-key", "label"]));
    assert!(refusal.contains("none.parquet, row 1: label should be a list of spans, found 0"), "{refusal}");
    let damaged = std::fs::read(files.join("none.parquet")).unwrap();
    std::fs::write(at("damaged.parquet"), &damaged[..damaged.len() - 7]).unwrap();
    assert!(refused(&mut pack(&[&at("damaged.parquet")], &at("w"), &[])).contains("damaged.parquet"));
}

/// Memory is that of what is in hand, not of the text: 44 MB more of it take far less than that.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_the_same_however_much_there_is() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    // long words are one token each, which is quick
    let body = format!("{} ", "x".repeat(120)).repeat(14);
    let peak = |megabytes: usize| {
        let (file, output) = (dir.path().join(format!("{megabytes}.txt")), dir.path().join(megabytes.to_string()));
        let mut to = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
        for number in 0..megabytes * 1_000_000 / body.len() {
            write!(to, "Document number {number}. {body}\nIts end.\n\n").unwrap();
        }
        to.flush().unwrap();
        let mut run = crate::alone(env!("CARGO_BIN_EXE_ptm"));
        run.args(["corpus", "pack", "--quiet", "--threads", "2", "--shard-mib", "1"]).arg(&file);
        run.arg("--output").arg(&output).arg("--tokenizer").arg(tokenizer());
        let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0_u64;
        loop {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let own = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = own.and_then(|own| own.trim().strip_suffix(" kB")?.parse().ok());
            peak = peak.max(kilobytes.unwrap_or(0));
            if let Some(ended) = child.try_wait().unwrap() {
                assert!(ended.success());
                return peak / 1024;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    };
    let (small, large) = (peak(6), peak(50));
    println!("{small} MiB of 6 MB of text, {large} MiB of 50 MB");
    assert!(small > 10 && large < small + 32, "{small} MiB of 6 MB of text, {large} MiB of 50 MB");
}

/// Texts that bring their entities are packed with them and learnt from; without the key they are packed as before.
#[test]
fn spans_are_packed_and_learnt_from() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let row = |n: u32| {
        let text = format!("Zoë met number {n} in New York, and on the whole she liked it.");
        let found = |part: &str| text[..text.find(part).unwrap()].chars().count();
        let span =
            |part: &str, kind: &str| value!({"start": found(part), "end": found(part) + part.len(), "kind": kind});
        value!({"text": text, "own": [span("New York", "entity"), span("on the whole", "phrase")]}).to_string()
    };
    let rows: Vec<String> = (0..60).map(row).collect();
    std::fs::write(at("a.jsonl"), rows.join("\n")).unwrap();
    let packed = json(&mut pack(&[&at("a.jsonl")], &at("spans"), &["--spans-key", "own"]));
    assert_eq!(packed["spans"], value!({"phrase": 60, "entity": 60}));
    let plain = json(&mut pack(&[&at("a.jsonl")], &at("plain"), &[]));
    assert_eq!(plain["spans"], value!({"phrase": 0, "entity": 0}));
    assert_ne!(packed["fingerprint"], plain["fingerprint"]);
    assert!(!at("plain").join("spans-00000.bin").exists());
    let said = printed(ptm().args(["corpus", "info"]).arg(at("spans")));
    assert!(said.contains("60 phrases and 60 entities") && said.contains("every checksum is right"), "{said}");

    let recipe = |corpus: &str| {
        let text = format!(
            "output = {:?}\n[model]\ntokenizer = {:?}\n[model.config]\nmodel_type = \"ernie\"\nhidden_size = 16\n\
             num_hidden_layers = 1\nnum_attention_heads = 2\nintermediate_size = 32\nmax_position_embeddings = 64\n\
             [objective]\nname = \"knowledge_masking\"\nspans = [\"phrase\", \"entity\"]\n[corpus]\npacked = {:?}\n\
             validation = 0.1\n[run]\nsteps = 6\n[optimizer]\nname = \"adamw\"\n",
            at("run"),
            tokenizer(),
            at(corpus)
        );
        std::fs::write(at("recipe.toml"), text).unwrap();
        let mut command = ptm();
        command.args(["pretrain", "--quiet"]).arg(at("recipe.toml"));
        command
    };
    assert!(refused(&mut recipe("plain")).contains("objective.spans"));
    printed(&mut recipe("spans"));
    assert!(at("run").join("model/model.safetensors").is_file());

    // what is wrong is named with file, line and key
    let wrong = value!({"text": "A b.", "own": [{"start": 0, "end": 9, "kind": "entity"}]}).to_string();
    std::fs::write(at("b.jsonl"), format!("{}\n{wrong}\n", rows[0])).unwrap();
    let said = |more: &[&str]| refused(&mut pack(&[&at("b.jsonl")], &at("w"), more));
    assert!(said(&["--spans-key", "own"]).contains("b.jsonl, line 2: own[0] ends at 9"));
    assert!(said(&["--spans-key", "other"]).contains("line 1: there is no key \"other\""));
    std::fs::write(at("c.txt"), "Plain.").unwrap();
    let refusal = refused(&mut pack(&[&at("c.txt")], &at("w"), &["--spans-key", "own"]));
    assert!(refusal.contains("c.txt is plain text"), "{refusal}");
}

/// Ctrl-C in the middle leaves a directory that is not taken for a corpus, and the next run makes it whole.
#[cfg(unix)]
#[test]
fn ctrl_c_leaves_it_unfinished() {
    let dir = tempfile::tempdir().unwrap();
    let (file, output) = (dir.path().join("a.txt"), dir.path().join("corpus"));
    std::fs::write(&file, "The capital of France is Paris.\n\n".repeat(1_000_000)).unwrap();
    let mut run = crate::alone(env!("CARGO_BIN_EXE_ptm"));
    run.args(["corpus", "pack"]).arg(&file).arg("--output").arg(&output).arg("--tokenizer").arg(tokenizer());
    let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !output.join("corpus.unfinished").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(130), 0));
    let said = refused(ptm().args(["corpus", "info"]).arg(&output));
    assert!(said.contains("is unfinished"), "{said}");
    std::fs::write(&file, "Short.").unwrap();
    assert_eq!(json(&mut pack(&[&file], &output, &[]))["documents"], 1);
}
