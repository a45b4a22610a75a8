//! How much of a long text is enough when its end is cut off anyway: up to a space at which no tokenizer of the known
//! kinds looks across. Where that cannot be said of a tokenizer, the whole text is encoded.

use tokenizers::{
    NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper,
};

/// Where a text may end early without a change to the tokens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaks {
    /// Nowhere that is known.
    None,
    /// Before a single space between two letters or digits.
    Spaces,
    /// There, and between two Chinese characters.
    SpacesAndHan,
}

impl Breaks {
    /// What the parts of a tokenizer allow.
    pub fn of(tokenizer: &tokenizers::Tokenizer) -> Self {
        let added: Vec<String> =
            tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
        let (normalizer, pre_tokenizer) = (tokenizer.get_normalizer(), tokenizer.get_pre_tokenizer());
        // a token that was added is found across any border
        let spaces = !added.iter().any(|token| token.contains(char::is_whitespace))
            && normalizer.is_none_or(keeps_spaces)
            && pre_tokenizer.is_some_and(|p| splits(p) == Some(true))
            && two_words(normalizer, pre_tokenizer);
        let han = matches!(normalizer, Some(NormalizerWrapper::BertNormalizer(n)) if n.handle_chinese_chars)
            && matches!(pre_tokenizer, Some(PreTokenizerWrapper::BertPreTokenizer(_)))
            && added.iter().all(|token| token.is_ascii());
        match (spaces, han) {
            (false, _) => Self::None,
            (true, false) => Self::Spaces,
            (true, true) => Self::SpacesAndHan,
        }
    }

    /// The last such place in the second half of the first `size` bytes.
    pub fn before(self, text: &str, size: usize) -> Option<usize> {
        if self == Self::None {
            return None;
        }
        let end = text.floor_char_boundary(size);
        let mut after = None;
        let mut second_after = None;
        for (at, c) in text[..end].char_indices().rev().take_while(|&(at, _)| at >= size / 2) {
            if let Some(next) = after {
                let place = at + c.len_utf8();
                if self == Self::SpacesAndHan && is_han(c) && is_han(next) {
                    return Some(place);
                }
                if next == ' ' && is_plain(c) && second_after.is_some_and(is_plain) {
                    return Some(place);
                }
            }
            second_after = after.replace(c);
        }
        None
    }
}

/// Whether a normaliser works on characters or their neighbours, and never across a single space.
fn keeps_spaces(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::BertNormalizer(_)
        | NormalizerWrapper::StripNormalizer(_)
        | NormalizerWrapper::StripAccents(_)
        | NormalizerWrapper::NFC(_)
        | NormalizerWrapper::NFD(_)
        | NormalizerWrapper::NFKC(_)
        | NormalizerWrapper::NFKD(_)
        | NormalizerWrapper::Lowercase(_)
        | NormalizerWrapper::Nmt(_)
        | NormalizerWrapper::Precompiled(_)
        | NormalizerWrapper::Prepend(_) => true,
        NormalizerWrapper::Sequence(all) => all.as_ref().iter().all(keeps_spaces),
        NormalizerWrapper::Replace(replace) => {
            // its pattern is not public
            let Ok(value) = serde_json::to_value(replace) else { return false };
            let pattern = &value["pattern"];
            pattern["Regex"] == " {2,}"
                || pattern["String"].as_str().is_some_and(|text| !text.contains(char::is_whitespace))
                    && !replace.content.contains(char::is_whitespace)
        }
        NormalizerWrapper::ByteLevel(_) => false,
    }
}

/// Whether a pre-tokeniser divides at every single space: no if it leaves that to others, `None` if what it does is
/// not known, or it takes the spaces away from those that follow.
fn splits(pre_tokenizer: &PreTokenizerWrapper) -> Option<bool> {
    match pre_tokenizer {
        PreTokenizerWrapper::BertPreTokenizer(_)
        | PreTokenizerWrapper::Whitespace(_)
        | PreTokenizerWrapper::WhitespaceSplit(_) => Some(true),
        PreTokenizerWrapper::Metaspace(metaspace) => metaspace.split.then_some(true),
        PreTokenizerWrapper::ByteLevel(bytes) => bytes.use_regex.then_some(true),
        PreTokenizerWrapper::Punctuation(_) | PreTokenizerWrapper::Digits(_) => Some(false),
        PreTokenizerWrapper::Sequence(all) => {
            let mut divided = false;
            for one in all.as_ref() {
                // once words are apart, what is done within each cannot reach another
                divided = divided || splits(one)?;
            }
            Some(divided)
        }
        _ => None,
    }
}

/// Whether two words really come out as two: a table in a file may take the space away.
fn two_words(normalizer: Option<&NormalizerWrapper>, pre_tokenizer: Option<&PreTokenizerWrapper>) -> bool {
    let mut text = NormalizedString::from("a b");
    let Some(pre_tokenizer) = pre_tokenizer else { return false };
    if normalizer.is_some_and(|n| n.normalize(&mut text).is_err()) {
        return false;
    }
    let mut words = PreTokenizedString::from(text);
    pre_tokenizer.pre_tokenize(&mut words).is_ok()
        && words.get_splits(OffsetReferential::Normalized, OffsetType::Byte).len() == 2
}

/// Letters and digits that no neighbour changes: no marks, nothing that joins or is joined.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || is_han(c)
        || matches!(c,
            '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{24f}'  // Latin
            | '\u{391}'..='\u{3a1}' | '\u{3a3}'..='\u{3c9}'                   // Greek
            | '\u{400}'..='\u{481}' | '\u{48a}'..='\u{52f}'                   // Cyrillic
            | '\u{5d0}'..='\u{5ea}'                                           // Hebrew
            | '\u{620}'..='\u{63f}' | '\u{641}'..='\u{64a}'                   // Arabic
            | '\u{904}'..='\u{939}'                                           // Devanagari
            | '\u{e01}'..='\u{e30}'                                           // Thai
            | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}'               // kana
            | '\u{ac00}'..='\u{d7a3}') // Hangul
}

/// Chinese characters that BERT sets apart and no normal form changes.
fn is_han(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let at = |breaks: Breaks, text: &str| breaks.before(text, text.len());
        assert_eq!(at(Breaks::Spaces, "one two three"), Some(7));
        assert_eq!(at(Breaks::None, "one two three"), None);
        // spaces next to anything else may belong to it
        for text in
            ["one two, - three", "one  two  three", "x \u{301}b", "aaaa a\u{301} b", "a\tb", "a ", " a", "", "oneword"]
        {
            assert_eq!(at(Breaks::Spaces, text), None, "{text:?}");
        }
        assert_eq!(at(Breaks::SpacesAndHan, "中文字字"), Some(9));
        assert_eq!(at(Breaks::Spaces, "中文字字"), None);
        // within a character, and in the second half alone
        assert_eq!(Breaks::SpacesAndHan.before("中文字字字字", 17), Some(12));
        assert_eq!(Breaks::Spaces.before("a b cccccccccccc", 14), None);
    }

    #[test]
    fn what_is_not_known_is_not_trusted() {
        let of = |normalizer: &str, pre_tokenizer: &str| {
            let json = format!(
                r#"{{"version":"1.0","normalizer":{normalizer},"pre_tokenizer":{pre_tokenizer},"added_tokens":[],
                "model":{{"type":"WordLevel","vocab":{{"a":0}},"unk_token":"a"}}}}"#
            );
            Breaks::of(&json.parse().unwrap())
        };
        let (split, bert) = (r#"{"type":"WhitespaceSplit"}"#, r#"{"type":"BertPreTokenizer"}"#);
        let joined = r#"{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":false}"#;
        assert_eq!(of("null", split), Breaks::Spaces);
        assert_eq!(of("null", "null"), Breaks::None);
        assert_eq!(of("null", joined), Breaks::None);
        let sequence = |a: &str, b: &str| format!(r#"{{"type":"Sequence","pretokenizers":[{a},{b}]}}"#);
        assert_eq!(of("null", &sequence(split, joined)), Breaks::Spaces);
        assert_eq!(of("null", &sequence(joined, split)), Breaks::None);
        assert_eq!(of("null", &sequence(r#"{"type":"Digits","individual_digits":true}"#, split)), Breaks::Spaces);
        let replace = |pattern: &str| format!(r#"{{"type":"Replace","pattern":{pattern},"content":"x"}}"#);
        assert_eq!(of(&replace(r#"{"Regex":" {2,}"}"#), split), Breaks::Spaces);
        assert_eq!(of(&replace(r#"{"Regex":"a.*b"}"#), split), Breaks::None);
        assert_eq!(of(&replace(r#"{"String":"``"}"#), split), Breaks::Spaces);
        assert_eq!(of(&replace(r#"{"String":" "}"#), split), Breaks::None);
        let chinese = |yes: bool| {
            format!(
                r#"{{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":{yes},"strip_accents":null,"lowercase":true}}"#
            )
        };
        assert_eq!(of(&chinese(true), bert), Breaks::SpacesAndHan);
        assert_eq!(of(&chinese(false), bert), Breaks::Spaces);
        assert_eq!(of(&chinese(true), split), Breaks::Spaces);
    }
}
