//! What ends a sequence: an end token, a stop string, the greatest length.

use std::sync::Arc;

use ptm_text::Tokenizer;

use super::search::Finish;

/// What ends a sequence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends<'a> {
    /// Tokens.
    pub tokens: Arc<[u32]>,
    /// Texts, with what says how tokens are written.
    pub strings: Option<(Arc<[String]>, &'a Tokenizer)>,
}

impl Ends<'_> {
    /// Why a sequence that has said `said` ends, if it does; it may not be longer than `max_length` with its `given`
    /// tokens.
    pub fn of(&self, said: &[u32], given: usize, max_length: usize) -> Option<Finish> {
        let last = said.last()?;
        if self.tokens.contains(last) {
            return Some(Finish::End);
        }
        if self.says_stop(said) {
            return Some(Finish::Stop);
        }
        (given + said.len() >= max_length).then_some(Finish::Length)
    }

    /// Whether a stop string ends within the last token.
    fn says_stop(&self, said: &[u32]) -> bool {
        let Some((strings, tokenizer)) = &self.strings else { return false };
        let longest = strings.iter().map(String::len).max().unwrap_or(0);
        let mut text: Vec<u8> = Vec::new();
        let mut last = 0;
        // from the end as many tokens as the longest string may reach over
        for (back, &token) in said.iter().rev().enumerate() {
            let bytes = tokenizer.token_bytes(token);
            text.splice(0..0, bytes.iter().copied());
            if back == 0 {
                last = text.len();
            }
            if text.len() >= longest + last {
                break;
            }
        }
        let begins = text.len() - last;
        strings.iter().any(|stop| {
            let stop = stop.as_bytes();
            text.windows(stop.len()).enumerate().any(|(at, part)| part == stop && at + stop.len() > begins)
        })
    }
}
