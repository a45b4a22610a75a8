//! What holds of every tokenizer on any text: offsets inside it, lists of one length, windows that leave nothing out,
//! truncation within the limit, byte-level text that comes back unchanged.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use ptm_text::{EncodeOptions, Encoding, Input, Packed, PositionStyle, Side, Tokenizer, Truncation};

static TOKENIZERS: LazyLock<Vec<(&str, Tokenizer)>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/tokenizers/cases");
    [
        "bert/oldest",
        "bert-lower-accents/oldest",
        "roberta/old",
        "gpt2/bare",
        "t5/slow",
        "xlnet/oldest",
        "albert/fast",
        "xlm-roberta-bpe/oldest",
        "camembert-nfkc/oldest",
        "marian/oldest",
    ]
    .map(|kind| (kind, Tokenizer::from_dir(&folder.join(kind)).unwrap()))
    .into()
});

/// Texts of any characters, with those that tokenizers trip over more often than by chance.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-z]{1,6}",
        2 => Just(" ".to_owned()),
        2 => any::<char>().prop_map(String::from),
        1 => prop::sample::select(vec![
            "[MASK]", "<mask>", "</s>", "<unk>", "<new>", "▁", "##", "Ġ", "  ", "\n", "\t", "\0", "\u{301}", "\u{200d}",
            "👩‍💻", "中文", "ﬁ", "½", "İ", "ﷺ", ">>fra<<", "'s", "1,000", "\u{feff}", "<extra_id_0>",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

fn check(name: &str, tokenizer: &Tokenizer, encoding: &Encoding, texts: &[&str]) -> Result<(), TestCaseError> {
    let length = encoding.len();
    let lengths = [
        encoding.segments.len(),
        encoding.tokens.len(),
        encoding.offsets.len(),
        encoding.special.len(),
        encoding.words.len(),
        encoding.sequence.len(),
    ];
    prop_assert_eq!(lengths, [length; 6]);
    for i in 0..length {
        prop_assert!(encoding.ids[i] <= tokenizer.max_id(), "{}", name);
        prop_assert!(tokenizer.token(encoding.ids[i]).is_some(), "{}: id {}", name, encoding.ids[i]);
        let (start, end) = encoding.offsets[i];
        match encoding.sequence[i] {
            Some(s) => {
                let size = texts[s as usize].chars().count();
                prop_assert!(start <= end && end <= size, "{}: {:?} of {}", name, (start, end), size);
                prop_assert!(encoding.words[i].is_some() && !encoding.special[i]);
            }
            None => prop_assert!((start, end) == (0, 0) && encoding.special[i] && encoding.words[i].is_none()),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn offsets_lie_in_the_text(first in text(), second in text()) {
        for (name, tokenizer) in TOKENIZERS.iter() {
            let options = EncodeOptions::default();
            check(name, tokenizer, &tokenizer.encode(&first, &options).unwrap(), &[&first])?;
            let pair = tokenizer.encode_pair(&first, &second, &options).unwrap();
            check(name, tokenizer, &pair, &[&first, &second])?;
        }
    }

    #[test]
    fn windows_leave_nothing_out(text in text(), room in 1_usize..9, stride in 0_usize..8, left in any::<bool>()) {
        let stride = stride % room;
        for (name, tokenizer) in TOKENIZERS.iter() {
            let bare = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
            let whole = tokenizer.encode(&text, &bare).unwrap();
            let options = EncodeOptions {
                truncation: Truncation::OnlyFirst { max: room },
                stride,
                windows: true,
                side: Some(if left { Side::Left } else { Side::Right }),
                ..bare
            };
            let cut = tokenizer.encode(&text, &options).unwrap();
            let mut rebuilt: Vec<u32> = Vec::new();
            let windows: Vec<&Encoding> = cut.windows().collect();
            for (i, window) in windows.iter().enumerate() {
                check(name, tokenizer, window, &[&text])?;
                prop_assert!(window.len() <= room);
                if left {
                    let keep = window.len() - if i == 0 { 0 } else { stride.min(window.len()) };
                    rebuilt.splice(0..0, window.ids[..keep].iter().copied());
                } else {
                    let skip = if i == 0 { 0 } else { stride.min(window.len()) };
                    rebuilt.extend(&window.ids[skip..]);
                }
            }
            prop_assert_eq!(&rebuilt, &whole.ids, "{}", name);
            let short = tokenizer.encode(&text, &EncodeOptions { windows: false, stride: 0, ..options }).unwrap();
            prop_assert_eq!(&short.ids, &cut.ids);
            prop_assert!(short.overflow.is_empty());
        }
    }

    #[test]
    fn truncation_holds_its_limit(first in text(), second in text(), max in 4_usize..20) {
        for (name, tokenizer) in TOKENIZERS.iter() {
            let options = EncodeOptions::truncated(max);
            let whole = tokenizer.encode_pair(&first, &second, &EncodeOptions::default()).unwrap();
            let cut = tokenizer.encode_pair(&first, &second, &options).unwrap();
            prop_assert_eq!(cut.len(), whole.len().min(max), "{}", name);
            check(name, tokenizer, &cut, &[&first, &second])?;
        }
    }

    #[test]
    fn byte_level_text_comes_back(text in text()) {
        for kind in ["gpt2/bare", "roberta/old"] {
            let (_, tokenizer) = TOKENIZERS.iter().find(|(name, _)| *name == kind).unwrap();
            // The mask swallows spaces before it, by design.
            let text = text.replace("<mask>", "");
            let bare = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
            let ids = tokenizer.encode(&text, &bare).unwrap().ids;
            prop_assert_eq!(tokenizer.decode(&ids, false), text);
        }
    }

    #[test]
    fn batches_equal_single_texts(texts in prop::collection::vec(text(), 1..5)) {
        for (name, tokenizer) in TOKENIZERS.iter() {
            let options = EncodeOptions::default();
            let inputs: Vec<Input> = texts.iter().map(Input::from).collect();
            let batch = tokenizer.encode_batch(&inputs, &options).unwrap();
            for (text, encoding) in texts.iter().zip(&batch) {
                prop_assert_eq!(&tokenizer.encode(text, &options).unwrap(), encoding, "{}", name);
            }
            if batch.iter().all(|e| !e.is_empty()) {
                let packed = Packed::from_encodings(&batch, PositionStyle::Zero).unwrap();
                packed.validate().unwrap();
                prop_assert_eq!(packed.lengths(), batch.iter().map(Encoding::len).collect::<Vec<_>>());
            }
        }
    }
}
