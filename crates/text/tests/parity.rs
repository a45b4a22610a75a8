//! Every tokenizer of `parity/tokenizers/cases` gives the answers that the transformers library gave (`golden/`):
//! ids, tokens, offsets, segments, words, truncation, windows, decoded text. `make.py` there makes both.

use std::path::{Path, PathBuf};

use ptm_text::dataset::{Dataset, Measured, Options, Survey, TextToText, Yardstick};
use ptm_text::{EncodeOptions, Encoding, Input, Side, Tokenizer, Truncation};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/tokenizers")
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn digits<T>(values: &[T], digit: impl Fn(&T) -> Option<u32>) -> String {
    values.iter().map(|v| digit(v).map_or("-".to_owned(), |d| d.to_string())).collect()
}

/// The encoding as `make.py` writes it; what the golden answer leaves out is left out.
fn answer(tokenizer: &Tokenizer, encoding: &Encoding, golden: &Value) -> Value {
    let mut all = serde_json::json!({
        "ids": encoding.ids,
        "tokens": encoding.tokens,
        "offsets": encoding.offsets.iter().flat_map(|&(a, b)| [a, b]).collect::<Vec<_>>(),
        "segments": digits(&encoding.segments, |&s| Some(s)),
        "special": digits(&encoding.special, |&s| Some(u32::from(s))),
        "words": encoding.words.iter().map(|w| w.map_or(-1, i64::from)).collect::<Vec<_>>(),
        "sequence": digits(&encoding.sequence, |s| s.map(u32::from)),
    });
    if golden.get("tokens").is_none() && golden.get("offsets").is_some() {
        // Left out where they are those of the ids.
        let plain: Vec<String> = encoding.ids.iter().map(|&id| tokenizer.token(id).unwrap_or_default()).collect();
        assert_eq!(encoding.tokens, plain);
    }
    all.as_object_mut().unwrap().retain(|key, _| golden.get(key).is_some());
    all
}

struct Report {
    name: String,
    wrong: Vec<String>,
    checked: usize,
}

impl Report {
    fn check(&mut self, what: &str, ours: &Value, expected: &Value) {
        self.checked += 1;
        if ours != expected {
            let difference = match (ours, expected) {
                (Value::Object(a), Value::Object(b)) => {
                    let wrong = b.iter().filter(|(key, value)| a.get(*key) != Some(value));
                    let lines = wrong.map(|(key, value)| format!("\n    {key}: {}\n    expected {value}", a[key]));
                    lines.collect::<Vec<_>>().concat()
                }
                _ => format!("\n    {ours}\n    expected {expected}"),
            };
            self.wrong.push(format!("{}: {what}:{difference}", self.name));
        }
    }
}

#[test]
fn answers_are_those_of_transformers() {
    let inputs = json(&folder().join("inputs.json"));
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let texts: Vec<String> = inputs["texts"].as_array().unwrap().iter().map(text).collect();
    let mut wrong = Vec::new();
    let mut checked = 0;
    let mut folders = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder().join("golden")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 20, "golden files are missing");
    for file in files {
        let golden = json(&file);
        let base = golden.get("base").map(|b| json(&folder().join("golden").join(b.as_str().unwrap())));
        // Beside a base, null stands for "as there"; bases are not nested deeper than their own nulls allow.
        let list = |part: &str| -> Vec<Value> {
            let own = golden[part].as_array().unwrap();
            own.iter()
                .enumerate()
                .map(|(i, v)| if v.is_null() { base.as_ref().unwrap()[part][i].clone() } else { v.clone() })
                .collect()
        };
        for name in golden["folders"].as_array().unwrap() {
            let name = text(name);
            folders += 1;
            let mut report = Report { name: name.clone(), wrong: Vec::new(), checked: 0 };
            let tokenizer = Tokenizer::from_dir(&folder().join("cases").join(&name)).unwrap();
            assert_eq!(tokenizer.vocab_size() as u64, golden["vocab_size"].as_u64().unwrap(), "{name}");
            let special = tokenizer.special();
            for (role, found) in [
                ("bos", &special.bos),
                ("eos", &special.eos),
                ("unk", &special.unk),
                ("sep", &special.sep),
                ("pad", &special.pad),
                ("cls", &special.cls),
                ("mask", &special.mask),
            ] {
                let ours = found.as_ref().map_or(Value::Null, |s| serde_json::json!([s.text, s.id]));
                report.check(role, &ours, golden["special"].get(role).unwrap_or(&Value::Null));
            }
            let options = EncodeOptions::default();
            let refs: Vec<Input> = texts.iter().map(Input::from).collect();
            let batch = tokenizer.encode_batch(&refs, &options).unwrap();
            let (golden_texts, decoded, joined) = (list("texts"), list("decoded"), list("joined"));
            for (i, encoding) in batch.iter().enumerate() {
                report.check(
                    &format!("text {i} {:?}", texts[i]),
                    &answer(&tokenizer, encoding, &golden_texts[i]),
                    &golden_texts[i],
                );
                let ids: Vec<u32> =
                    golden_texts[i]["ids"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect();
                let ours = serde_json::json!([tokenizer.decode(&ids, false), tokenizer.decode(&ids, true)]);
                report.check(&format!("decoded {i}"), &ours, &decoded[i]);
                let tokens: Vec<String> = ids.iter().map(|&id| tokenizer.token(id).unwrap()).collect();
                let ours = Value::from(tokenizer.convert_tokens_to_string(&tokens));
                let expected = if joined[i] == "same" { &decoded[i][0] } else { &joined[i] };
                report.check(&format!("joined {i}"), &ours, expected);
            }
            let pairs = list("pairs");
            for (i, pair) in inputs["pairs"].as_array().unwrap().iter().enumerate() {
                let (first, second) = (text(&pair[0]), text(&pair[1]));
                let encoding = tokenizer.encode_pair(&first, &second, &options).unwrap();
                report.check(&format!("pair {i}"), &answer(&tokenizer, &encoding, &pairs[i]), &pairs[i]);
            }
            for (i, golden) in list("cuts").iter().enumerate() {
                let cut = &inputs["cuts"][i];
                let max = cut[3].as_u64().unwrap() as usize;
                let options = EncodeOptions {
                    truncation: match cut[2].as_str().unwrap() {
                        "only_first" => Truncation::OnlyFirst { max },
                        "only_second" => Truncation::OnlySecond { max },
                        _ => Truncation::Longest { max },
                    },
                    stride: cut[4].as_u64().unwrap() as usize,
                    windows: cut[5].as_bool().unwrap(),
                    side: Some(if cut[6] == "left" { Side::Left } else { Side::Right }),
                    ..EncodeOptions::default()
                };
                let first = text(&cut[0]);
                let encoding = match cut[1].as_str() {
                    Some(second) => tokenizer.encode_pair(&first, second, &options).unwrap(),
                    None => tokenizer.encode(&first, &options).unwrap(),
                };
                let golden = golden.as_array().unwrap();
                let ours: Vec<&Encoding> = encoding.windows().collect();
                report.check(&format!("cut {i}: windows"), &ours.len().into(), &golden.len().into());
                for (w, (ours, golden)) in ours.iter().zip(golden).enumerate() {
                    report.check(&format!("cut {i}, window {w}"), &answer(&tokenizer, ours, golden), golden);
                }
            }
            checked += report.checked;
            if !report.wrong.is_empty() {
                eprintln!("{name}: {} of {} differ", report.wrong.len(), report.checked);
            }
            wrong.extend(report.wrong);
        }
    }
    eprintln!("{checked} answers of {folders} folders");
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong[..wrong.len().min(400)].join("\n"));
}

/// Lengths of targets are those that a model learns.
fn surveyed(file: &Path, tokenizer: &Tokenizer, rows: &[Value]) {
    let lines = rows.iter().map(|row| serde_json::json!({"source": row["text"], "target": row["text"]}).to_string());
    std::fs::write(file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let data = Dataset::<TextToText>::open(&[file.to_owned()], &Options::default()).unwrap();
    let yardstick = Yardstick { tokenizer: Some(tokenizer), ..Yardstick::default() };
    let survey = Survey::of(&data, yardstick, &mut |_| true).unwrap();
    let tokens = |key: &str| rows.iter().map(|row| row[key].as_array().unwrap().len() as f64).sum::<f64>();
    let sum = |measured: &Measured| measured.lengths.mean * measured.texts as f64;
    assert!((sum(&survey.read) - tokens("source")).abs() < 1e-6);
    assert!((sum(&survey.targets.unwrap()) - tokens("target")).abs() < 1e-6);
}

/// Texts that a decoder is to say, `text_target` of the transformers library: `parity/tokenizers/targets.py`.
#[test]
fn target_texts() {
    let folder = folder();
    let golden = json(&folder.join("targets/golden.json"));
    let dir = tempfile::tempdir().unwrap();
    for (class, rows) in golden.as_object().unwrap() {
        let place = dir.path().join(class);
        std::fs::create_dir(&place).unwrap();
        let copy = |from: &str| {
            let from = folder.join(from);
            std::fs::copy(&from, place.join(from.file_name().unwrap())).unwrap();
        };
        let marian = class == "MarianTokenizer";
        if marian {
            copy("cases/marian/oldest/config.json");
            copy("cases/marian/oldest/source.spm");
        } else {
            copy("cases/mbart/oldest/sentencepiece.bpe.model");
            let class = class.trim_end_matches("Fast");
            let write = |languages: &str| {
                let config = format!(r#"{{"tokenizer_class": "{class}"{languages}}}"#);
                std::fs::write(place.join("tokenizer_config.json"), config).unwrap();
            };
            // who names no language learns of it before anything is learnt in a wrong one
            write("");
            let said = Tokenizer::from_dir(&place).unwrap().encode_target("a", &EncodeOptions::default());
            assert!(said.unwrap_err().to_string().contains("tgt_lang"));
            write(r#", "src_lang": "en_XX", "tgt_lang": "ro_RO""#);
        }
        if marian {
            copy("targets/vocab.json");
            let said = Tokenizer::from_dir(&place).unwrap().encode_target("a", &EncodeOptions::default());
            assert!(said.unwrap_err().to_string().contains("target.spm"));
            copy("targets/target.spm");
        }
        let tokenizer = Tokenizer::from_dir(&place).unwrap();
        let mut differ = 0;
        for row in rows.as_array().unwrap() {
            let text = row["text"].as_str().unwrap();
            let target = |options: &EncodeOptions| tokenizer.encode_target(text, options).unwrap().ids;
            let source = tokenizer.encode(text, &EncodeOptions::default()).unwrap().ids;
            assert_eq!(serde_json::json!(source), row["source"], "{class}: {text:?}");
            assert_eq!(serde_json::json!(target(&EncodeOptions::default())), row["target"], "{class}: {text:?}");
            assert_eq!(serde_json::json!(target(&EncodeOptions::truncated(5))), row["cut"], "{class}: {text:?}");
            differ += usize::from(row["source"] != row["target"]);
        }
        assert!(differ > rows.as_array().unwrap().len() / 2, "{class}: {differ}");
        surveyed(&place.join("rows.jsonl"), &tokenizer, rows.as_array().unwrap());
    }
}
