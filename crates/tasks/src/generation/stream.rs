//! Text while it is generated: what can be shown of the tokens so far without taking it back, never half a character.

use ptm_text::Tokenizer;

/// The text of a growing list of tokens.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// Tokens before this one no longer change what follows.
    settled: usize,
    /// Tokens whose text was given out.
    shown: usize,
}

impl<'a> TextStream<'a> {
    /// Nothing so far.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, settled: 0, shown: 0 }
    }

    /// What the text has more than the last time; nothing while the last character isn't whole.
    pub fn more(&mut self, tokens: &[u32]) -> String {
        let before = self.tokenizer.decode(&tokens[self.settled..self.shown], true);
        let now = self.tokenizer.decode(&tokens[self.settled..], true);
        if now.len() <= before.len() || now.ends_with(char::REPLACEMENT_CHARACTER) {
            return String::new();
        }
        let more = now.get(before.len()..).unwrap_or_default().to_owned();
        self.settled = self.shown;
        self.shown = tokens.len();
        more
    }

    /// What is left at the end, also of a character that never became whole.
    pub fn rest(&mut self, tokens: &[u32]) -> String {
        let before = self.tokenizer.decode(&tokens[self.settled..self.shown], true);
        let now = self.tokenizer.decode(&tokens[self.settled..], true);
        self.shown = tokens.len();
        now.get(before.len()..).unwrap_or_default().to_owned()
    }
}
