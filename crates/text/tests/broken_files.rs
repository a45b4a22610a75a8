//! Broken and hostile model directories give an error that names the file and the place; no panic, no hang.
//! Also the odd but legal: files without configuration, texts of ten megabytes on one line.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use ptm_text::{EncodeOptions, Error, Tokenizer, TokenizerFiles, Truncation};

fn case(kind: &str) -> TokenizerFiles<'static> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/tokenizers/cases");
    TokenizerFiles::read(&folder.join(kind)).unwrap()
}

fn bytes(text: &str) -> Cow<'static, [u8]> {
    Cow::Owned(text.as_bytes().to_vec())
}

#[track_caller]
fn refused(files: &TokenizerFiles<'_>, words: &[&str]) {
    let message = Tokenizer::from_files(files).expect_err("must be refused").to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn nothing_there() {
    let e = Tokenizer::from_dir(Path::new("no/such/model")).unwrap_err();
    assert!(e.to_string().contains("no/such/model"), "{e}");
    let empty = std::env::temp_dir().join(format!("ptm-text-empty-{}", std::process::id()));
    std::fs::create_dir_all(&empty).unwrap();
    let e = Tokenizer::from_dir(&empty).unwrap_err();
    std::fs::remove_dir_all(&empty).unwrap();
    assert!(matches!(e, Error::NoTokenizer { .. }), "{e}");
    refused(&TokenizerFiles { vocab_json: Some(bytes("{}")), ..Default::default() }, &["holds no tokenizer"]);
}

#[test]
fn broken_tokenizer_json() {
    let whole = case("bert/fast").tokenizer_json.unwrap();
    for end in [0, 1, 100, whole.len() / 2, whole.len() - 3] {
        let files = TokenizerFiles { tokenizer_json: Some(Cow::Borrowed(&whole[..end])), ..Default::default() };
        refused(&files, &["tokenizer.json", "line"]);
    }
    for (text, words) in [
        ("[]", &["tokenizer.json"][..]),
        ("{}", &["model"]),
        (r#"{"version": "1.0", "model": {"type": "Nonsense"}}"#, &["tokenizer.json"]),
        (
            r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}}"#,
            &["model.merges[0]", "together"],
        ),
        (
            r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "c"]]}}"#,
            &["model.merges[0]", "\"c\""],
        ),
        (
            r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 99999999999}, "merges": []}}"#,
            &["model.vocab.a"],
        ),
        (r#"{"version": "1.0", "model": {"vocab": {"a": -1}, "merges": []}}"#, &["model.vocab.a"]),
        (r#"{"version": "1.0", "model": {"type": "BPE", "vocab": [], "merges": []}}"#, &["model.vocab"]),
        (
            r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 4, "b": 1, "c": 4}, "merges": []}}"#,
            &["model.vocab", "id 4", "\"a\" and \"c\""],
        ),
        (
            r#"{"version": "1.0", "model": {"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "",
                "max_input_chars_per_word": 9, "vocab": {"u": 0, "x": 1, "y": 1}}}"#,
            &["model.vocab", "id 1", "\"x\" and \"y\""],
        ),
        (
            r#"{"version": "1.0", "model": {"type": "WordLevel", "unk_token": "u", "vocab": {"u": 0, "v": 0}}}"#,
            &["model.vocab", "id 0"],
        ),
        (r#"{"version": "1.0", "model": {"type": "WordLevel", "unk_token": "u", "vocab": 3}}"#, &["tokenizer.json"]),
        (
            r#"{"version": "1.0", "model": {"type": "Unigram", "unk_id": 7, "vocab": [["a", 0.0]]}}"#,
            &["tokenizer.json"],
        ),
        (
            r#"{"version": "1.0", "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAE="},
                "model": {"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "",
                          "max_input_chars_per_word": 9, "vocab": {"u": 0}}}"#,
            &["precompiled_charsmap"],
        ),
    ] {
        refused(&TokenizerFiles { tokenizer_json: Some(bytes(text)), ..Default::default() }, words);
    }
}

#[test]
fn broken_vocabularies() {
    let bert = case("bert/oldest");
    refused(&TokenizerFiles { vocab_txt: Some(bytes("a\nb\n")), ..bert.clone() }, &["vocab.txt", "[UNK]"]);
    refused(
        &TokenizerFiles { vocab_txt: Some(Cow::Borrowed(b"[UNK]\n\xff\xfe\n")), ..bert.clone() },
        &["vocab.txt", "line 2"],
    );
    refused(&TokenizerFiles { vocab_txt: None, ..bert }, &["vocab.txt", "missing"]);
    let roberta = case("roberta/oldest");
    refused(&TokenizerFiles { merges_txt: None, ..roberta.clone() }, &["merges.txt", "missing"]);
    refused(
        &TokenizerFiles { merges_txt: Some(bytes("#v\nzz qq\n")), ..roberta.clone() },
        &["merges.txt", "line 2", "zz"],
    );
    refused(&TokenizerFiles { vocab_json: Some(bytes("{\"a\": 0,\n")), ..roberta.clone() }, &["vocab.json", "line 2"]);
    refused(&TokenizerFiles { vocab_json: Some(bytes(r#"{"a": 0, "b": 0}"#)), ..roberta }, &["vocab.json", "`b`"]);
    let t5 = case("t5/oldest");
    let model = t5.sentencepiece.clone().unwrap();
    for end in (0..model.len()).step_by(97) {
        // Cut between two pieces it may still be a model: it must only not panic.
        let _ =
            Tokenizer::from_files(&TokenizerFiles { sentencepiece: Some(Cow::Borrowed(&model[..end])), ..t5.clone() });
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    refused(&TokenizerFiles { sentencepiece: Some(bytes(pointer)), ..t5 }, &["spiece.model", "SentencePiece"]);
    let marian = case("marian/oldest");
    refused(&TokenizerFiles { vocab_json: Some(bytes(r#"{"<unk>": 0}"#)), ..marian }, &["vocab.json", "<pad>"]);
}

#[test]
fn every_changed_byte_of_a_sentencepiece_model() {
    let t5 = case("t5/oldest");
    let model = t5.sentencepiece.clone().unwrap().into_owned();
    for (i, flip) in (0..model.len()).step_by(211).flat_map(|i| [(i, 0x01), (i, 0x80), (i, 0xff)]) {
        let mut changed = model.clone();
        changed[i] ^= flip;
        let files = TokenizerFiles { sentencepiece: Some(Cow::Owned(changed)), ..t5.clone() };
        if let Ok(tokenizer) = Tokenizer::from_files(&files) {
            let _ = tokenizer.encode("Hello ﬁne ｗorld <extra_id_0> ½", &EncodeOptions::default());
        }
    }
}

#[test]
fn broken_configuration() {
    let bert = case("bert/oldest");
    for (text, words) in [
        (r#"{"do_lower_case": "yes"}"#, &["tokenizer_config.json", "do_lower_case"][..]),
        (r#"{"model_max_length": "long"}"#, &["model_max_length"]),
        (r#"{"model_max_length": -5}"#, &["model_max_length"]),
        (r#"{"tokenizer_class": 3}"#, &["tokenizer_class"]),
        (r#"{"truncation_side": "top"}"#, &["truncation_side"]),
        (r#"{"cls_token": {"lstrip": true}}"#, &["cls_token.content"]),
        (r#"{"cls_token": null}"#, &["cls_token"]),
        (r#"{"tokenizer_class": "LlamaTokenizer"}"#, &["LlamaTokenizer", "tokenizer.json"]),
        ("{", &["tokenizer_config.json", "line 1"]),
    ] {
        refused(&TokenizerFiles { tokenizer_config: Some(bytes(text)), ..bert.clone() }, words);
    }
    refused(&TokenizerFiles { config: Some(bytes("nonsense")), ..bert.clone() }, &["config.json"]);
    refused(
        &TokenizerFiles { special_tokens_map: Some(bytes(r#"{"pad_token": 1}"#)), ..bert.clone() },
        &["special_tokens_map.json", "pad_token"],
    );
    refused(&TokenizerFiles { added_tokens: Some(bytes(r#"{"x": "1"}"#)), ..bert }, &["added_tokens.json", "`x`"]);
}

#[test]
fn files_alone_name_their_family() {
    for (kind, class) in [
        ("bert/oldest", "BertTokenizer"),
        ("roberta/oldest", "RobertaTokenizer"),
        ("gpt2/oldest", "GPT2Tokenizer"),
        ("t5/oldest", "T5Tokenizer"),
        ("xlnet/oldest", "XLNetTokenizer"),
        ("albert/oldest", "AlbertTokenizer"),
        ("xlm-roberta/oldest", "XLMRobertaTokenizer"),
        ("marian/oldest", "MarianTokenizer"),
    ] {
        let tokenizer = Tokenizer::from_files(&TokenizerFiles { config: None, ..case(kind) }).unwrap();
        assert_eq!(tokenizer.class(), Some(class));
    }
}

#[test]
fn limits_and_lengths() {
    let tokenizer = Tokenizer::from_files(&case("bert/oldest")).unwrap();
    assert_eq!(tokenizer.model_max_length(), None);
    assert_eq!(Tokenizer::from_files(&case("bert/old")).unwrap().model_max_length(), None, "1e30 is no limit");
    assert_eq!(Tokenizer::from_files(&case("marian/oldest")).unwrap().model_max_length(), Some(512));
    let files = TokenizerFiles { tokenizer_config: Some(bytes(r#"{"max_len": 512}"#)), ..case("bert/oldest") };
    assert_eq!(Tokenizer::from_files(&files).unwrap().model_max_length(), Some(512));
    assert_eq!(tokenizer.max_id() as usize + 1, tokenizer.vocab_size());
    assert_eq!(tokenizer.continuing_subword_prefix(), Some("##"));
    assert_eq!(Tokenizer::from_files(&case("roberta/oldest")).unwrap().continuing_subword_prefix(), None);

    let cut = |truncation, stride, windows| {
        let options = EncodeOptions { truncation, stride, windows, ..EncodeOptions::default() };
        tokenizer.encode_pair("one two three four", "five six", &options)
    };
    assert!(matches!(cut(Truncation::Longest { max: 2 }, 0, false), Err(Error::Truncation { .. })));
    assert_eq!(cut(Truncation::Longest { max: 3 }, 0, false).unwrap().len(), 3, "only special tokens");
    assert!(matches!(cut(Truncation::OnlySecond { max: 5 }, 0, false), Err(Error::Truncation { .. })));
    assert!(matches!(cut(Truncation::Longest { max: 9 }, 5, true), Err(Error::Truncation { .. })));
    let one = EncodeOptions { truncation: Truncation::OnlySecond { max: 4 }, ..EncodeOptions::default() };
    assert!(matches!(tokenizer.encode("one two three four", &one), Err(Error::Truncation { .. })));
}

#[test]
fn windows_do_not_fill_the_memory() {
    let tokenizer = Tokenizer::from_files(&case("bert/oldest")).unwrap();
    let text = "license ".repeat(100_000);
    let options = EncodeOptions {
        truncation: Truncation::Longest { max: 2_000 },
        stride: 1_997,
        windows: true,
        ..EncodeOptions::default()
    };
    assert!(matches!(tokenizer.encode(&text, &options), Err(Error::TooManyWindows { .. })));
}

#[test]
fn megabytes_on_one_line() {
    for (kind, size) in [
        ("bert/oldest", 10_000_000),
        ("gpt2/oldest", 10_000_000),
        ("t5/oldest", 2_000_000),
        ("marian/oldest", 2_000_000),
    ] {
        let part = size / 4;
        // words at the end alone, so that no early end is found
        let text =
            ["x".repeat(part), " ".repeat(part), "!?".repeat(part / 2), "the license naïve 中文 ".repeat(part / 28)]
                .concat();
        let tokenizer = Tokenizer::from_files(&case(kind)).unwrap();
        let start = Instant::now();
        let encoding = tokenizer.encode(&text, &EncodeOptions::truncated(64)).unwrap();
        let took = start.elapsed();
        eprintln!("{kind:24} {took:?}");
        assert_eq!(encoding.len(), 64);
        // Far above what a slow machine needs, far below what quadratic time would take.
        assert!(took < Duration::from_mins(5), "{kind}: {took:?}");
    }
}
