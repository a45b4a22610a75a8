//! Text while it is generated: what can be shown of the tokens so far without taking it back, never half a character. All
//! parts together are the text as it is decoded at once.

use ptm_text::{Tokenizer, clean_up};

/// The text of a growing list of tokens.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// The tokens that were given, and what was said so far.
    tokens: Vec<u32>,
    given: usize,
    /// Whether English spaces before punctuation go.
    cleans: bool,
    /// Tokens before this one no longer change what follows.
    settled: usize,
    /// Tokens whose text is part of `text`.
    read: usize,
    /// The text of all tokens that were read, before anything is cleaned.
    text: String,
    /// Characters of the cleaned text that were given out, or belong to what was given.
    shown: usize,
}

impl<'a> TextStream<'a> {
    /// After the tokens `given`, whose text is not part of what is said; `cleans` says whether English spaces before
    /// punctuation go, as [`Tokenizer::decode_with`] has it.
    pub fn new(tokenizer: &'a Tokenizer, given: &[u32], cleans: bool) -> Self {
        let text = tokenizer.decode_with(given, true, false);
        let shown = if cleans { clean_up(&text).chars().count() } else { text.chars().count() };
        let (tokens, read) = (given.to_vec(), given.len());
        Self { tokenizer, tokens, given: read, cleans, settled: 0, read, text, shown }
    }

    /// What the text has more than the last time, after all these tokens that were said; nothing while the last character
    /// isn't whole.
    pub fn more(&mut self, said: &[u32]) -> String {
        self.read(said, false);
        let end = if self.cleans { settled(&self.text) } else { self.text.len() };
        let text = &self.text[..end];
        let text = if self.cleans { clean_up(text) } else { text.to_owned() };
        self.beyond(&text)
    }

    /// What is left at the end, also of a character that never became whole.
    pub fn rest(&mut self, said: &[u32]) -> String {
        self.read(said, true);
        let text = if self.cleans { clean_up(&self.text) } else { self.text.clone() };
        self.beyond(&text)
    }

    /// Adds the text of what was said since the last time.
    fn read(&mut self, said: &[u32], is_end: bool) {
        self.tokens.truncate(self.given);
        self.tokens.extend_from_slice(said);
        let before = self.tokenizer.decode_with(&self.tokens[self.settled..self.read], true, false);
        let now = self.tokenizer.decode_with(&self.tokens[self.settled..], true, false);
        if now == before || now.ends_with(char::REPLACEMENT_CHARACTER) && !is_end {
            return;
        }
        // a character that was begun in what was given becomes whole in the place of its mark
        let same =
            before.char_indices().zip(now.chars()).find(|((_, a), b)| a != b).map_or(before.len(), |((at, _), _)| at);
        self.text.truncate(self.text.len().saturating_sub(before.len() - same));
        self.text.push_str(now.get(same..).unwrap_or_default());
        // what comes first in a text may lose a space: where nothing is before it, more is decoded
        if !self.tokenizer.decode_with(&self.tokens[self.read..], true, false).is_empty() {
            self.settled = self.read;
        }
        self.read = self.tokens.len();
    }

    fn beyond(&mut self, text: &str) -> String {
        let more: String = text.chars().skip(self.shown).collect();
        self.shown += more.chars().count();
        more
    }
}

/// Where the text ends that stays the same once it is cleaned, whatever follows: before spaces, and before what may become
/// a contraction or loses its spaces.
fn settled(text: &str) -> usize {
    let mut end = text.len();
    loop {
        let before = &text[..end];
        let word = before.rfind(' ').map_or(0, |at| at + 1);
        let is_last = end == text.len();
        let may_change = match &before[word..] {
            "" | "'" | "n" => true,
            "n'" | "'v" | "'r" | "v" | "r" => is_last,
            _ => false,
        };
        if !may_change || word == 0 {
            return end;
        }
        end = before[..word].trim_end_matches(' ').len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text of these characters, cut anywhere: what is settled is the beginning of what is cleaned in the end.
    #[test]
    fn what_is_settled_stays() {
        const LETTERS: [char; 9] = [' ', '\'', 'n', 't', 's', 'v', 'e', '.', 'x'];
        let mut count = 0;
        for length in 1..=6_u32 {
            for mut number in 0..9_usize.pow(length) {
                let mut text = String::from("x");
                for _ in 0..length {
                    text.push(LETTERS[number % 9]);
                    number /= 9;
                }
                let whole = clean_up(&text);
                for cut in 1..text.len() {
                    let part = &text[..cut];
                    let part = clean_up(&part[..settled(part)]);
                    assert!(whole.starts_with(&part), "{text:?} cut at {cut}: {part:?}, in the end {whole:?}");
                }
                count += 1;
            }
        }
        assert!(count > 500_000);
        assert_eq!(["a b", "a ", "a n", "a '", "a 'v", "a n ' ", "ab'"].map(settled), [3, 1, 1, 1, 1, 1, 3]);
    }
}
