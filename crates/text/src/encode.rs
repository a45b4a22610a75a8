//! Encoding one text or pair: tokens, truncation into windows, special tokens around, offsets in code points.
//! Truncation and windows follow the tokenizers library, but per call, so that one tokenizer serves many threads.
//! No padding: see `packed.rs`.

use std::collections::HashSet;
use std::sync::OnceLock;

use tokenizers::models::ModelWrapper;
use tokenizers::models::unigram::Unigram;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{Encoding as Raw, PostProcessor};

use crate::beginning::Breaks;
use crate::encoding::Encoding;
use crate::{Error, Marian};

/// What to shorten when there are too many tokens. `max` counts the special tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// Nothing: the whole text.
    #[default]
    None,
    /// The longer text of a pair, then both.
    Longest {
        /// Most tokens of the result.
        max: usize,
    },
    /// Only the first text; an error where that is not enough.
    OnlyFirst {
        /// Most tokens of the result.
        max: usize,
    },
    /// Only the second text; an error where that is not enough, or where there is none.
    OnlySecond {
        /// Most tokens of the result.
        max: usize,
    },
}

/// Which end of a text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The beginning goes.
    Left,
    /// The end goes.
    Right,
}

/// How to encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Put the model's special tokens around the text. Default: yes.
    pub add_special_tokens: bool,
    /// Default: none.
    pub truncation: Truncation,
    /// Tokens that a window repeats from the one before. Only with `windows`. Default: 0.
    pub stride: usize,
    /// Keep what was cut as further windows in [`Encoding::overflow`]. Default: no.
    pub windows: bool,
    /// The end to cut. Default: as the tokenizer's files say, else the right.
    pub side: Option<Side>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { add_special_tokens: true, truncation: Truncation::None, stride: 0, windows: false, side: None }
    }
}

impl EncodeOptions {
    /// At most `max` tokens, the longer text shortened first.
    pub fn truncated(max: usize) -> Self {
        Self { truncation: Truncation::Longest { max }, ..Self::default() }
    }
}

/// One input of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// One text.
    Text(&'a str),
    /// Two texts, as for questions with their context.
    Pair(&'a str, &'a str),
}

impl<'a> From<&'a str> for Input<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Input<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<(&'a str, &'a str)> for Input<'a> {
    fn from((first, second): (&'a str, &'a str)) -> Self {
        Self::Pair(first, second)
    }
}

/// The parts that encode; shared by all threads.
#[derive(Clone)]
pub(crate) struct Encoder {
    /// Without post-processor, truncation and padding: these are applied here.
    pub tokenizer: tokenizers::Tokenizer,
    /// The same, but what spells a special token in a text stays text; made when it is needed.
    pub literal: OnceLock<tokenizers::Tokenizer>,
    pub frame: Option<PostProcessorWrapper>,
    pub marian: Option<Marian>,
    /// The end of a text whose tokens are bytes, of which those that make no text are left out (ByT5).
    pub bytes_end: Option<u32>,
    pub side: Side,
    /// Where a text that is cut may end before it is encoded.
    pub breaks: Breaks,
}

/// A text that is cut is encoded up to so many bytes a token at first, and no less than [`LEAST_BYTES`].
const BYTES_A_TOKEN: usize = 16;
const LEAST_BYTES: usize = 4096;
/// Tokens that end so near to where a text was cut early are not trusted.
const MARGIN: usize = 256;

/// Windows may repeat tokens up to this count, or four times the text's.
const MOST_WINDOW_TOKENS: usize = 1 << 24;

impl Encoder {
    pub fn encode(&self, input: Input<'_>, options: &EncodeOptions) -> Result<Encoding, Error> {
        let (first, second) = match input {
            Input::Text(text) => (text, None),
            Input::Pair(first, second) => (first, Some(second)),
        };
        let first = match self.most_tokens(second.is_some(), options) {
            Some(most) => self.beginning(first, most)?,
            None => self.raw(first)?,
        };
        let mut second = second.map(|text| self.raw(text)).transpose()?;
        if let Some(raw) = &mut second {
            raw.set_type_ids(vec![1; raw.len()]);
        }
        let (first, second) = self.truncate(first, second, options)?;
        let framed = self.put_in_frame(first, second, options.add_special_tokens)?;
        Ok(convert(&framed))
    }

    /// The tokens of one text, offsets in code points, ids of the model.
    fn raw(&self, text: &str) -> Result<Raw, Error> {
        let mut raw = self.in_bytes(text)?;
        count_in_code_points(text, raw.get_offsets_mut());
        Ok(raw)
    }

    /// The ids of a text in which nothing is a special token, with the byte of the text where each token ends.
    pub fn literally(&self, text: &str) -> Result<(Vec<u32>, Vec<(usize, usize)>), Error> {
        let raw = match &self.marian {
            Some(marian) => marian.encode(text, false),
            None => self.literal().encode(text, false).map_err(|e| Error::Encode { reason: e.to_string() })?,
        };
        Ok((raw.get_ids().to_vec(), raw.get_offsets().to_vec()))
    }

    fn literal(&self) -> &tokenizers::Tokenizer {
        self.literal.get_or_init(|| {
            let mut literal = self.tokenizer.clone();
            literal.set_encode_special_tokens(true);
            // a unigram model finds special tokens among its pieces, too
            if let ModelWrapper::Unigram(model) = literal.get_model()
                && let Some(model) = without_special(model, &literal)
            {
                literal.with_model(model);
            }
            literal
        })
    }

    /// The tokens of one text, offsets in bytes.
    fn in_bytes(&self, text: &str) -> Result<Raw, Error> {
        match &self.marian {
            Some(marian) => Ok(marian.encode(text, true)),
            None => self.tokenizer.encode(text, false).map_err(|e| Error::Encode { reason: e.to_string() }),
        }
    }

    /// So many tokens of a text are looked at, where its end is cut off.
    fn most_tokens(&self, pair: bool, options: &EncodeOptions) -> Option<usize> {
        // windows keep all; of a pair the lengths of both say which is cut
        let whole = pair || options.windows || options.side.unwrap_or(self.side) == Side::Left;
        match options.truncation {
            Truncation::Longest { max } | Truncation::OnlyFirst { max } if !whole => Some(max),
            _ => None,
        }
    }

    /// The tokens of a text, as [`Self::raw`] has them; of a long one at least the first `most + 1`.
    fn beginning(&self, text: &str, most: usize) -> Result<Raw, Error> {
        let mut size = most.saturating_mul(BYTES_A_TOKEN).max(LEAST_BYTES);
        while size < text.len() / 2 {
            if let Some(end) = self.breaks.before(text, size) {
                let part = &text[..end];
                let mut raw = self.in_bytes(part)?;
                if raw.get_offsets().get(most).is_some_and(|&(_, to)| to + MARGIN <= end) {
                    count_in_code_points(part, raw.get_offsets_mut());
                    return Ok(raw);
                }
            }
            size = size.saturating_mul(4);
        }
        self.raw(text)
    }

    fn truncate(&self, first: Raw, second: Option<Raw>, options: &EncodeOptions) -> Result<(Raw, Option<Raw>), Error> {
        let (Truncation::Longest { max } | Truncation::OnlyFirst { max } | Truncation::OnlySecond { max }) =
            options.truncation
        else {
            return Ok((first, second));
        };
        let added = match &self.frame {
            Some(frame) if options.add_special_tokens => frame.added_tokens(second.is_some()),
            _ => 0,
        };
        let stride = options.stride;
        let fail = |reason| Error::Truncation { max, added, stride, reason };
        let Some(budget) = max.checked_sub(added) else {
            return Err(fail("the special tokens alone are more: allow a longer result"));
        };
        let (n1, n2) = (first.len(), second.as_ref().map_or(0, Raw::len));
        let Some(excess) = (n1 + n2).checked_sub(budget).filter(|&n| n > 0) else {
            return Ok((first, second));
        };
        let too_short = "cutting the chosen text is not enough: cut the longest, or allow a longer result";
        let (keep1, keep2) = match options.truncation {
            Truncation::OnlyFirst { .. } if n1 > excess || (n1 == excess && budget == 0) => (n1 - excess, n2),
            Truncation::OnlySecond { .. } if second.is_none() => {
                return Err(fail("only the second text may be cut, but there is none"));
            }
            Truncation::OnlySecond { .. } if n2 > excess => (n1, n2 - excess),
            Truncation::OnlyFirst { .. } | Truncation::OnlySecond { .. } => {
                return Err(fail(too_short));
            }
            _ if second.is_none() => (budget, 0),
            _ => longest_first(n1, n2, budget),
        };
        let side = options.side.unwrap_or(self.side);
        if !options.windows {
            return Ok((cut(first, keep1, side), second.map(|s| cut(s, keep2, side))));
        }
        let mut windows = 1_usize;
        for (length, keep) in [(n1, keep1), (n2, keep2)] {
            if keep < length {
                if stride >= keep.max(1) {
                    return Err(fail("each window must advance: use a stride smaller than the room for the text"));
                }
                windows = windows.saturating_mul(1 + (length - keep).div_ceil((keep - stride).max(1)));
            }
        }
        let tokens = windows.saturating_mul(max);
        let limit = MOST_WINDOW_TOKENS.max((n1 + n2).saturating_mul(4));
        if tokens > limit {
            return Err(Error::TooManyWindows { tokens, limit });
        }
        let direction = match side {
            Side::Left => TruncationDirection::Left,
            Side::Right => TruncationDirection::Right,
        };
        let windowed = |mut raw: Raw, keep: usize| {
            raw.truncate(keep, stride, direction);
            raw
        };
        Ok((windowed(first, keep1), second.map(|s| windowed(s, keep2))))
    }

    fn put_in_frame(&self, mut first: Raw, mut second: Option<Raw>, add_special_tokens: bool) -> Result<Raw, Error> {
        if let Some(frame) = &self.frame {
            // a text that has its end already gets no second one
            if let Some(end) = self.bytes_end.filter(|_| add_special_tokens) {
                for raw in [Some(&mut first), second.as_mut()].into_iter().flatten() {
                    if raw.get_ids().last() == Some(&end) {
                        raw.truncate(raw.len() - 1, 0, TruncationDirection::Right);
                        raw.take_overflowing();
                    }
                }
            }
            return frame
                .process(first, second, add_special_tokens)
                .map_err(|e| Error::Encode { reason: e.to_string() });
        }
        let Some(mut second) = second else {
            return Ok(first);
        };
        let mut first = first;
        for (i, raw) in [&mut first, &mut second].into_iter().enumerate() {
            raw.set_sequence_id(i);
            for window in raw.get_overflowing_mut() {
                window.set_sequence_id(i);
            }
        }
        first.merge_with(second, false);
        Ok(first)
    }
}

/// The model with special pieces that no text can have.
fn without_special(model: &Unigram, tokenizer: &tokenizers::Tokenizer) -> Option<Unigram> {
    let special: HashSet<String> = tokenizer
        .get_added_tokens_decoder()
        .into_values()
        .filter(|token| token.special)
        .map(|token| token.content)
        .collect();
    let value = serde_json::to_value(model).ok()?;
    let unknown = value["unk_id"].as_u64().map(|id| id as usize);
    let pieces = model.iter().enumerate();
    let pieces = pieces.map(|(id, (piece, score))| {
        let hidden = special.contains(piece) && Some(id) != unknown;
        // made of what Unicode sets aside as no characters
        (if hidden { format!("\u{10ffff}{id}\u{10fffe}") } else { piece.clone() }, *score)
    });
    Unigram::from(pieces.collect(), unknown, model.byte_fallback()).ok()
}

/// How many tokens of each text stay when the longer is shortened first.
fn longest_first(n1: usize, n2: usize, budget: usize) -> (usize, usize) {
    let (short, swap) = if n1 > n2 { (n2, true) } else { (n1, false) };
    let mut keep = if short > budget { (short, short) } else { (short, short.max(budget - short)) };
    if keep.0 + keep.1 > budget {
        keep = (budget / 2, budget / 2 + budget % 2);
    }
    if swap { (keep.1, keep.0) } else { keep }
}

/// Keeps `keep` tokens without making windows of the rest.
fn cut(raw: Raw, keep: usize, side: Side) -> Raw {
    let length = raw.len();
    if keep >= length {
        return raw;
    }
    let range = match side {
        Side::Right => 0..keep,
        Side::Left => length - keep..length,
    };
    Raw::new(
        raw.get_ids()[range.clone()].to_vec(),
        raw.get_type_ids()[range.clone()].to_vec(),
        raw.get_tokens()[range.clone()].to_vec(),
        raw.get_word_ids()[range.clone()].to_vec(),
        raw.get_offsets()[range.clone()].to_vec(),
        raw.get_special_tokens_mask()[range.clone()].to_vec(),
        raw.get_attention_mask()[range].to_vec(),
        Vec::new(),
        no_ranges(),
    )
}

/// Which tokens belong to which text is set when the frame is put around.
pub(crate) fn no_ranges<K: std::hash::Hash + Eq, V, M: FromIterator<(K, V)>>() -> M {
    std::iter::empty().collect()
}

/// Byte offsets to code points. An end inside a character counts up to that character.
fn count_in_code_points(text: &str, offsets: &mut [(usize, usize)]) {
    if text.is_ascii() {
        return;
    }
    let mut before: Vec<u32> = Vec::with_capacity(text.len() + 1);
    let mut count = 0_u32;
    for c in text.chars() {
        before.extend(std::iter::repeat_n(count, c.len_utf8()));
        count += 1;
    }
    before.push(count);
    let last = before.len() - 1;
    for (start, end) in offsets {
        *start = before[(*start).min(last)] as usize;
        *end = before[(*end).min(last)] as usize;
    }
}

fn convert(raw: &Raw) -> Encoding {
    Encoding {
        ids: raw.get_ids().to_vec(),
        segments: raw.get_type_ids().to_vec(),
        tokens: raw.get_tokens().to_vec(),
        offsets: raw.get_offsets().to_vec(),
        special: raw.get_special_tokens_mask().iter().map(|&m| m != 0).collect(),
        words: raw.get_word_ids().to_vec(),
        sequence: raw.get_sequence_ids().into_iter().map(|s| s.map(|i| i as u8)).collect(),
        overflow: raw.get_overflowing().iter().map(convert).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_first_shares_the_budget() {
        assert_eq!(longest_first(10, 3, 8), (5, 3));
        assert_eq!(longest_first(3, 10, 8), (3, 5));
        assert_eq!(longest_first(10, 10, 7), (3, 4));
        assert_eq!(longest_first(12, 10, 7), (4, 3));
        assert_eq!(longest_first(4, 4, 1), (0, 1));
        assert_eq!(longest_first(4, 4, 0), (0, 0));
    }

    #[test]
    fn a_long_text_is_left_early() {
        let json = br#"{"version":"1.0","pre_tokenizer":{"type":"WhitespaceSplit"},"added_tokens":[],
            "model":{"type":"WordLevel","vocab":{"a":0,"b":1},"unk_token":"a"}}"#;
        let files =
            crate::TokenizerFiles { tokenizer_json: Some(json.as_slice().into()), ..crate::TokenizerFiles::default() };
        let encoder = crate::load::load(&files, "test").unwrap().encoder;
        let text = "a b ".repeat(10_000);
        let tokens = |most: usize| encoder.beginning(&text, most).unwrap().len();
        assert!((11..5000).contains(&tokens(10)), "{}", tokens(10));
        assert!(tokens(5000) > 5000);
        assert_eq!(tokens(19_999), 20_000);
        assert_eq!(tokens(usize::MAX), 20_000);
        // nowhere to stop at first, then too near to the end
        let text = ["x".repeat(9000), " b ".repeat(100), "b b ".repeat(30_000)].concat();
        let length = encoder.beginning(&text, 50).unwrap().len();
        assert!((51..60_000).contains(&length), "{length}");
        assert_eq!(encoder.beginning(&"x".repeat(90_000), 5).unwrap().len(), 1);
        // both texts of a pair count, windows need everything, and so does the end of a text
        let most = |pair, options: EncodeOptions| encoder.most_tokens(pair, &options);
        let cut = EncodeOptions::truncated(7);
        assert_eq!(most(false, cut.clone()), Some(7));
        assert_eq!(most(true, cut.clone()), None);
        assert_eq!(most(false, EncodeOptions { windows: true, ..cut.clone() }), None);
        assert_eq!(most(false, EncodeOptions { side: Some(Side::Left), ..cut.clone() }), None);
        assert_eq!(most(false, EncodeOptions::default()), None);
    }

    #[test]
    fn offsets_count_code_points() {
        let mut offsets = [(0, 1), (1, 3), (3, 7), (7, 7), (4, 5)];
        count_in_code_points("aü🦀", &mut offsets);
        assert_eq!(offsets, [(0, 1), (1, 2), (2, 3), (3, 3), (2, 2)]);
    }
}
