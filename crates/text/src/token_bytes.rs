//! The bytes that a token stands for within a text, for matching text while it is generated: decoding token by token
//! would lose characters that are divided among tokens.

use serde_json::Value;
use tokenizers::{DecoderWrapper, Tokenizer};

/// How tokens become bytes, as a tokenizer's decoder says.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenBytes {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
enum Rule {
    /// Each character stands for a byte (GPT-2).
    ByteLevel,
    /// A text stands for another.
    Replace(String, String),
    /// `<0x0A>` is a byte.
    ByteFallback,
    /// A piece begins a word unless it has this prefix (WordPiece).
    Prefix(String),
    /// A piece ends a word if it has this suffix (GPT).
    Suffix(String),
}

impl TokenBytes {
    /// The rules of `tokenizer`'s decoder; of another, as it is.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let decoder = tokenizer.get_decoder();
        let mut rules = Vec::new();
        if let Some(value) = decoder.and_then(|decoder: &DecoderWrapper| serde_json::to_value(decoder).ok()) {
            collect(&value, &mut rules);
        }
        Self { rules }
    }

    /// Those of SentencePiece: `▁` is a space.
    pub fn sentencepiece() -> Self {
        Self { rules: vec![Rule::Replace("▁".into(), " ".into())] }
    }

    /// The bytes of the token that the vocabulary spells `token`.
    pub fn bytes(&self, token: &str) -> Vec<u8> {
        let mut text = token.to_owned();
        for rule in &self.rules {
            match rule {
                Rule::ByteLevel => return text.chars().flat_map(byte_of).collect(),
                Rule::ByteFallback => {
                    let hex = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
                    if let Some(byte) =
                        hex.filter(|hex| hex.len() == 2).and_then(|hex| u8::from_str_radix(hex, 16).ok())
                    {
                        return vec![byte];
                    }
                }
                Rule::Replace(from, to) => text = text.replace(from.as_str(), to),
                Rule::Prefix(prefix) => {
                    text = text.strip_prefix(prefix.as_str()).map_or_else(|| format!(" {text}"), str::to_owned);
                }
                Rule::Suffix(suffix) => {
                    text = text.strip_suffix(suffix.as_str()).map_or_else(|| text.clone(), |text| format!("{text} "));
                }
            }
        }
        text.into_bytes()
    }
}

fn collect(decoder: &Value, rules: &mut Vec<Rule>) {
    let text = |key: &str, other: &str| decoder.get(key).and_then(Value::as_str).unwrap_or(other).to_owned();
    match decoder.get("type").and_then(Value::as_str).unwrap_or_default() {
        "ByteLevel" => rules.push(Rule::ByteLevel),
        "Metaspace" => rules.push(Rule::Replace(text("replacement", "▁"), " ".into())),
        "ByteFallback" => rules.push(Rule::ByteFallback),
        "WordPiece" => rules.push(Rule::Prefix(text("prefix", "##"))),
        "BPEDecoder" => rules.push(Rule::Suffix(text("suffix", "</w>"))),
        "Replace" => {
            if let Some(from) = decoder.pointer("/pattern/String").and_then(Value::as_str) {
                rules.push(Rule::Replace(from.to_owned(), text("content", "")));
            }
        }
        "Sequence" => {
            let parts = decoder.get("decoders").and_then(Value::as_array);
            parts.into_iter().flatten().for_each(|part| collect(part, rules));
        }
        _ => {}
    }
}

/// The byte that a character of a byte-level vocabulary stands for (Radford et al. 2019): printable Latin-1 characters
/// for themselves, the others from 256 on in order. Characters beyond are themselves.
pub(crate) fn byte_of(c: char) -> Vec<u8> {
    let own = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = c as u32;
    if own(code) {
        return vec![code as u8];
    }
    let others = (0..256).filter(|&byte| !own(byte));
    match code.checked_sub(256).and_then(|place| others.clone().nth(place as usize)) {
        Some(byte) => vec![byte as u8],
        None => c.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes(decoder: Value, token: &str) -> String {
        let mut rules = Vec::new();
        collect(&decoder, &mut rules);
        String::from_utf8_lossy(&TokenBytes { rules }.bytes(token)).into_owned()
    }

    #[test]
    fn each_kind_of_vocabulary() {
        let level = json!({"type": "ByteLevel"});
        assert_eq!(bytes(level.clone(), "ĠtheĊ"), " the\n");
        assert_eq!(bytes(level.clone(), "Ã©"), "é");
        assert_eq!(TokenBytes { rules: vec![Rule::ByteLevel] }.bytes("Ã"), [0xc3]);
        assert_eq!(bytes(level, "Ń"), String::from_utf8_lossy(&[0xad]));
        assert_eq!(bytes(json!({"type": "Metaspace", "replacement": "▁"}), "▁the"), " the");
        let llama = json!({"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]});
        assert_eq!((bytes(llama.clone(), "<0x41>").as_str(), bytes(llama, "▁x").as_str()), ("A", " x"));
        assert_eq!(bytes(json!({"type": "WordPiece", "prefix": "##"}), "##ing"), "ing");
        assert_eq!(bytes(json!({"type": "WordPiece", "prefix": "##"}), "the"), " the");
        assert_eq!(bytes(json!({"type": "BPEDecoder", "suffix": "</w>"}), "the</w>"), "the ");
    }
}
