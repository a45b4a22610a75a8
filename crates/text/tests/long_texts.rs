//! A long text whose end is cut off is encoded in part; what stays is what the whole text gives. Windows are made of the
//! whole text, so their first is what the short way must find.

use std::path::{Path, PathBuf};

use ptm_text::{EncodeOptions, Tokenizer, Truncation};

/// Every tokenizer of `parity/tokenizers/cases`.
fn tokenizers() -> Vec<(String, Tokenizer)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/tokenizers/cases");
    let list = |dir: &Path| -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    };
    let dirs = list(&folder).into_iter().flat_map(|kind| list(&kind));
    dirs.map(|dir| (dir.display().to_string(), Tokenizer::from_dir(&dir).unwrap())).collect()
}

/// Words, marks and blanks in an order that `seed` gives; `plain` are mostly words with single spaces between.
fn text(seed: u32, plain: bool, bytes: usize) -> String {
    const WORDS: &[&str] = &[
        "the",
        "license",
        "naïve",
        "a",
        "I",
        "running",
        "Straße",
        "ΟΔΟΣ",
        "слово",
        "שלום",
        "كتاب",
        "हिंदी",
        "ภาษา",
        "한국어",
        "中文字符",
        "かな",
        "x86",
        "1000",
        "don't",
        "e\u{301}te\u{301}",
        "pneumonoultramicroscopicsilicovolcanoconiosis",
    ];
    const OTHER: &[&str] = &[
        "  ",
        "\u{301}",
        " \u{301}",
        "\t",
        "\u{a0}",
        "\u{200d}",
        " ¨",
        "\u{3000}",
        "[MASK]",
        "<mask>",
        " <mask> ",
        "</s>",
        "``",
        "''",
        "...",
        " , ",
        "▁",
        " ▁",
        "##",
        "Ġ",
        "👩\u{200d}💻",
        "ﬁ",
        "½",
        "İ",
        "ﷺ",
        "'s",
        "1,000",
        "\u{feff}",
        "<extra_id_0>",
        "\u{0}",
        "中",
        "文",
        "\u{600}",
        "≠",
        "\u{338}",
        ">>fra<<",
        "\u{e33}",
        "\u{94d}",
    ];
    let mut state = seed;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let mut text = String::new();
    while text.len() < bytes {
        if next(if plain { 40 } else { 2 }) == 0 {
            text.push_str(OTHER[next(OTHER.len())]);
        } else {
            text.push_str(WORDS[next(WORDS.len())]);
            text.push_str(if next(9) == 0 { "" } else { " " });
        }
    }
    text
}

#[test]
fn what_stays_is_what_the_whole_text_gives() {
    for (name, tokenizer) in tokenizers() {
        for seed in 0..4 {
            let text = text(seed, seed % 2 == 0, 10_000);
            for (truncation, add_special_tokens) in [
                (Truncation::Longest { max: 8 }, true),
                (Truncation::Longest { max: 57 }, false),
                (Truncation::OnlyFirst { max: 200 }, true),
            ] {
                let options = EncodeOptions { truncation, add_special_tokens, ..EncodeOptions::default() };
                let windows = EncodeOptions { windows: true, ..options.clone() };
                let mut whole = tokenizer.encode(&text, &windows).unwrap();
                assert!(!whole.overflow.is_empty(), "{name}");
                whole.overflow.clear();
                assert!(tokenizer.encode(&text, &options).unwrap() == whole, "{name} {seed} {options:?}");
            }
        }
    }
}
