//! Text that a regular expression describes, or one of a list of phrases (Willard and Louf 2023): at each step the tokens
//! that keep a match possible, found by running a deterministic automaton over the vocabulary.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ptm_text::Tokenizer;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};

use super::process::{Context, Process};
use crate::error::{Error, Result};

/// Bytes that an automaton may take.
const MOST: usize = 64 << 20;

/// What a text is to be. A space before it and after it is free, since that is how tokens begin words.
pub struct Constraint {
    pattern: String,
    automaton: dense::DFA<Vec<u32>>,
    /// The bytes of each token.
    tokens: Vec<Vec<u8>>,
    ends: Vec<u32>,
    /// The tokens that each state allows, as they were found.
    allowed: Mutex<HashMap<StateID, Arc<[u32]>>>,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl Constraint {
    /// Text that `pattern` matches from its beginning to its end. `ends` are the tokens that end it, of a model with
    /// `vocabulary` tokens.
    ///
    /// # Errors
    /// When the pattern is none, takes too large an automaton, or there is no end.
    pub fn regex(pattern: &str, tokenizer: &Tokenizer, vocabulary: usize, ends: &[u32]) -> Result<Self> {
        if ends.is_empty() {
            return Err(Error::Option("a constraint needs a token that ends the text: give eos_token_id".into()));
        }
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .match_kind(MatchKind::All)
            .dfa_size_limit(Some(MOST))
            .determinize_size_limit(Some(MOST));
        let automaton = dense::Builder::new().configure(config).build(&format!(" ?(?:{pattern}) ?"));
        let automaton = automaton.map_err(|error| {
            let mut reasons = vec![error.to_string()];
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                reasons.push(error.to_string());
                source = error.source();
            }
            Error::Option(format!("the regular expression {pattern:?} can't be used: {}", reasons.join(": ")))
        })?;
        let tokens = (0..vocabulary as u32).map(|id| tokenizer.token_bytes(id)).collect();
        Ok(Self { pattern: pattern.to_owned(), automaton, tokens, ends: ends.to_vec(), allowed: Mutex::default() })
    }

    /// One of these texts.
    ///
    /// # Errors
    /// As [`Self::regex`], and when there is none.
    pub fn one_of(phrases: &[&str], tokenizer: &Tokenizer, vocabulary: usize, ends: &[u32]) -> Result<Self> {
        if phrases.is_empty() || phrases.iter().any(|phrase| phrase.trim().is_empty()) {
            return Err(Error::Option(
                "the phrases to choose from are none, or one is empty: give at least one".into(),
            ));
        }
        let escaped: Vec<String> = phrases.iter().map(|phrase| escape(phrase.trim())).collect();
        Self::regex(&escaped.join("|"), tokenizer, vocabulary, ends)
    }

    fn start(&self) -> StateID {
        let begin = start::Config::new().anchored(Anchored::Yes);
        self.automaton.start_state(&begin).expect("it was built anchored, without look-behind")
    }

    fn walk(&self, mut state: StateID, bytes: &[u8]) -> StateID {
        for &byte in bytes {
            state = self.automaton.next_state(state, byte);
            if self.automaton.is_dead_state(state) {
                break;
            }
        }
        state
    }

    /// Whether a match is still possible. The automaton says that there was one only after the byte that follows, so a
    /// state that is not dead may be beyond it.
    fn is_alive(&self, state: StateID) -> bool {
        let goes_on = |byte| !self.automaton.is_dead_state(self.automaton.next_state(state, byte));
        self.matches(state) || (!self.automaton.is_dead_state(state) && (0..=u8::MAX).any(goes_on))
    }

    /// Whether the text may end here.
    fn matches(&self, state: StateID) -> bool {
        self.automaton.is_match_state(self.automaton.next_eoi_state(state))
    }

    /// The tokens after which a match is still possible, and the ends where there is one.
    fn allowed(&self, state: StateID) -> Arc<[u32]> {
        let mut known = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(allowed) = known.get(&state) {
            return allowed.clone();
        }
        let goes_on = |&(id, bytes): &(usize, &Vec<u8>)| {
            !bytes.is_empty() && !self.ends.contains(&(id as u32)) && self.is_alive(self.walk(state, bytes))
        };
        let going_on = self.tokens.iter().enumerate().filter(goes_on).map(|(id, _)| id as u32);
        let matches = self.matches(state);
        let ends = self.ends.iter().copied().filter(|_| matches);
        let allowed: Arc<[u32]> = going_on.chain(ends).collect();
        known.insert(state, allowed.clone());
        allowed
    }

    /// The state after what was `said`.
    fn after(&self, said: &[u32]) -> StateID {
        let empty = Vec::new();
        let bytes = |id: &u32| self.tokens.get(*id as usize).unwrap_or(&empty);
        said.iter().fold(self.start(), |state, id| self.walk(state, bytes(id)))
    }
}

/// `text` as a regular expression that matches it alone.
fn escape(text: &str) -> String {
    text.chars().flat_map(|c| (c.is_ascii_punctuation().then_some('\\')).into_iter().chain([c])).collect()
}

impl Process for &Constraint {
    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        let allowed = self.allowed(self.after(&context.tokens[context.given..]));
        let kept: Vec<(u32, f32)> = allowed.iter().map(|&id| (id, scores[id as usize])).collect();
        scores.fill(f32::NEG_INFINITY);
        kept.into_iter().for_each(|(id, score)| scores[id as usize] = score);
    }
}
