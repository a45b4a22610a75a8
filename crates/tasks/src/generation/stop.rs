//! What ends a sequence: an end token, a stop string, the greatest length.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ptm_text::Tokenizer;

use super::search::Finish;

/// What ends a sequence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends<'a> {
    /// Tokens.
    pub tokens: Arc<[u32]>,
    /// Texts, with what says how tokens are written.
    pub strings: Option<(Arc<[String]>, &'a Tokenizer)>,
    /// How long it may take.
    pub time: Option<Time>,
    /// The end of what stands before it: a stop string may begin there.
    pub before: Arc<[u32]>,
}

/// So many tokens of what stands before are looked at: more than a stop string has.
const BEFORE: usize = 256;

/// A time after which nothing more is said; it begins with the first token.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    most: Duration,
    begun: Arc<OnceLock<Instant>>,
}

impl Time {
    /// So many seconds, or endless ones.
    pub fn new(seconds: f64) -> Self {
        let most = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Self { most, begun: Arc::default() }
    }

    fn is_over(&self) -> bool {
        self.begun.get_or_init(Instant::now).elapsed() >= self.most
    }
}

impl Ends<'_> {
    /// The same for another input, after `prompt`, whose time has not begun.
    pub fn anew(&self, prompt: &[u32]) -> Self {
        let time = self.time.as_ref().map(|time| Time { most: time.most, begun: Arc::default() });
        let before =
            if self.strings.is_some() { prompt[prompt.len().saturating_sub(BEFORE)..].into() } else { Arc::default() };
        Self { time, before, ..self.clone() }
    }

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
        if given + said.len() >= max_length {
            return Some(Finish::Length);
        }
        self.time.as_ref().is_some_and(Time::is_over).then_some(Finish::Time)
    }

    /// Whether a stop string ends within the last token.
    fn says_stop(&self, said: &[u32]) -> bool {
        let Some((strings, tokenizer)) = &self.strings else { return false };
        let longest = strings.iter().map(String::len).max().unwrap_or(0);
        let mut text: Vec<u8> = Vec::new();
        let mut last = 0;
        // from the end as many tokens as the longest string may reach over
        for (back, &token) in said.iter().rev().chain(self.before.iter().rev()).enumerate() {
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
