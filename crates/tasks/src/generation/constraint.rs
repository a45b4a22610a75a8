//! Text that a regular expression describes, or one of a list of phrases (Willard and Louf 2023): at each step the tokens
//! that keep a match possible, found by running a deterministic automaton over the vocabulary. A match is possible where
//! tokens, not only bytes, lead to one: many vocabularies can't spell everything.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use ptm_text::Tokenizer;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};

use super::process::{Context, Process, allow};
use crate::error::{Error, Result};

/// Bytes that an automaton may take.
const MOST: usize = 64 << 20;

/// What a text is to be. A space before it is free, since that is how tokens begin words, and one after it where tokens end
/// words with it.
pub struct Constraint {
    pattern: String,
    automaton: dense::DFA<Vec<u32>>,
    /// The bytes of each token.
    tokens: Vec<Vec<u8>>,
    ends: Vec<u32>,
    /// Whether each byte is a token, so that whatever bytes can spell tokens can.
    spells_bytes: bool,
    /// What was found so far.
    known: Mutex<Known>,
}

/// What is known of states.
#[derive(Default)]
struct Known {
    /// The tokens that each allows.
    allowed: HashMap<StateID, Arc<[u32]>>,
    /// Whether tokens lead to a match.
    ends: HashMap<StateID, bool>,
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
        let tokens: Vec<Vec<u8>> = (0..vocabulary as u32).map(|id| tokenizer.token_bytes(id)).collect();
        let ends_words = |token: &Vec<u8>| token.ends_with(b" ") && token.iter().any(|&byte| byte != b' ');
        let after = if tokens.iter().any(ends_words) { " ?" } else { "" };
        let automaton = dense::Builder::new().configure(config).build(&format!(" ?(?:{pattern}){after}"));
        let automaton = automaton.map_err(|error| {
            let mut reasons = vec![error.to_string()];
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                reasons.push(error.to_string());
                source = error.source();
            }
            Error::Option(format!("the regular expression {pattern:?} can't be used: {}", reasons.join(": ")))
        })?;
        let bytes: HashSet<u8> = tokens.iter().filter(|bytes| bytes.len() == 1).map(|bytes| bytes[0]).collect();
        let (pattern, ends, spells_bytes) = (pattern.to_owned(), ends.to_vec(), bytes.len() == 256);
        Ok(Self { pattern, automaton, tokens, ends, spells_bytes, known: Mutex::default() })
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

    /// Whether what was `said` is all that it is to be; an end may follow it.
    pub(super) fn is_complete(&self, said: &[u32]) -> bool {
        let said: Vec<u32> = said.iter().copied().filter(|id| !self.ends.contains(id)).collect();
        self.matches(self.after(&said))
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(allowed) = known.allowed.get(&state) {
            return allowed.clone();
        }
        let mut allowed = Vec::new();
        for (id, next) in self.steps(state) {
            if self.spells_bytes || self.leads_to_an_end(next, &mut known) {
                allowed.push(id);
            }
        }
        if self.matches(state) {
            allowed.extend(&self.ends);
        }
        let allowed: Arc<[u32]> = allowed.into();
        known.allowed.insert(state, allowed.clone());
        allowed
    }

    /// The tokens after which bytes could still spell a match, with the states after them.
    fn steps(&self, state: StateID) -> Vec<(u32, StateID)> {
        let ends: HashSet<u32> = self.ends.iter().copied().collect();
        let mut alive: HashMap<StateID, bool> = HashMap::new();
        let step = |(id, bytes): (usize, &Vec<u8>)| {
            if bytes.is_empty() || ends.contains(&(id as u32)) {
                return None;
            }
            let next = self.walk(state, bytes);
            alive.entry(next).or_insert_with(|| self.is_alive(next)).then_some((id as u32, next))
        };
        self.tokens.iter().enumerate().filter_map(step).collect()
    }

    /// Whether tokens lead from `state` to a match; depth first, so that a way is found soon where there is one.
    fn leads_to_an_end(&self, state: StateID, known: &mut Known) -> bool {
        // the states on the way from the first, each with what is left to try after it
        let mut way: Vec<(StateID, Vec<StateID>)> = Vec::new();
        let mut seen = HashSet::new();
        let mut next = Some(state);
        let found = loop {
            if let Some(state) = next.take() {
                match known.ends.get(&state) {
                    Some(true) => break true,
                    None if self.matches(state) => {
                        known.ends.insert(state, true);
                        break true;
                    }
                    None if seen.insert(state) => {
                        let steps: HashSet<StateID> = self.steps(state).into_iter().map(|(_, next)| next).collect();
                        way.push((state, steps.into_iter().collect()));
                    }
                    Some(false) | None => {}
                }
            }
            match way.last_mut() {
                None => break false,
                Some((_, left)) => match left.pop() {
                    Some(state) => next = Some(state),
                    None => drop(way.pop()),
                },
            }
        };
        if found {
            known.ends.extend(way.into_iter().map(|(state, _)| (state, true)));
        } else {
            // nothing that was seen leads anywhere
            known.ends.extend(seen.into_iter().map(|state| (state, false)));
        }
        found
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

impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the constraint {:?}", self.pattern)
    }
}

impl Process for Constraint {
    fn name(&self) -> String {
        self.to_string()
    }

    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        allow(scores, &self.allowed(self.after(&context.tokens[context.given..])));
    }
}
