//! Guesses of what comes next, for a model to read along with the last token: by looking up what followed the same
//! tokens before (Saxena 2023), or by a smaller model (Leviathan et al. 2023).

use std::cell::RefCell;

use super::draws::Draws;
use super::process::log_softmax;
use super::search::Given;
use super::speaker::{Memory as _, Speaker};
use crate::error::Result;

/// A guessed token.
#[derive(Clone, Debug)]
pub(crate) struct Guess {
    pub token: u32,
    /// The probabilities of all tokens that it was drawn from; none if it was not drawn.
    pub distribution: Option<Vec<f32>>,
}

/// Something that guesses.
pub(crate) trait Draft: Send {
    /// How many tokens it guesses at most.
    fn most(&self) -> usize;

    /// Whether it remembers the tokens of every sequence itself.
    fn remembers(&self) -> bool {
        false
    }

    /// At most `room` tokens that may follow `tokens`, of sequence `number`.
    fn guess(&mut self, number: usize, tokens: &[u32], room: usize, given: &Given<'_>, draws: &mut Draws)
    -> Vec<Guess>;
}

/// What followed the last tokens where they occurred before, the source included.
pub(crate) struct Lookup {
    /// Tokens that are guessed.
    pub count: usize,
    /// The longest sequence of tokens that is looked for.
    pub ngram: usize,
}

impl Draft for Lookup {
    fn most(&self) -> usize {
        self.count
    }

    fn guess(&mut self, _: usize, tokens: &[u32], room: usize, given: &Given<'_>, _: &mut Draws) -> Vec<Guess> {
        let count = self.count.min(room);
        for n in (1..=self.ngram.min(tokens.len())).rev() {
            let last = &tokens[tokens.len() - n..];
            for text in [tokens, &given.source] {
                let followed = |&at: &usize| text[at..].starts_with(last) && at + n < text.len();
                if let Some(at) = (0..text.len().saturating_sub(n)).find(followed) {
                    let found = &text[at + n..text.len().min((at + n).saturating_add(count))];
                    return found.iter().map(|&token| Guess { token, distribution: None }).collect();
                }
            }
        }
        Vec::new()
    }
}

/// A smaller model with the same vocabulary, for one sequence.
pub(crate) struct DraftModel<'a, S: Speaker> {
    pub speaker: &'a S,
    /// Tokens that are guessed.
    pub count: usize,
    /// Whether guesses are drawn, as the sequence's tokens are.
    pub draws: bool,
    memory: Option<S::Memory>,
    read: Vec<u32>,
    /// The first error, after which there are no more guesses.
    pub failed: RefCell<Option<crate::error::Error>>,
}

impl<'a, S: Speaker> DraftModel<'a, S> {
    pub fn new(speaker: &'a S, count: usize, draws: bool) -> Self {
        Self { speaker, count, draws, memory: None, read: Vec::new(), failed: RefCell::new(None) }
    }

    fn run(&mut self, tokens: &[u32], count: usize, given: &Given<'_>, draws: &mut Draws) -> Result<Vec<Guess>> {
        if self.memory.is_none() {
            let source: &[u32] = &given.source;
            self.memory = Some(self.speaker.begin(&[source])?);
        }
        let memory = self.memory.as_mut().expect("it was made");
        // what was guessed and not said is forgotten, the last token read again if need be
        let same = tokens.iter().zip(&self.read).take_while(|(a, b)| a == b).count().min(tokens.len() - 1);
        memory.forget(&[self.read.len() - same]);
        self.read.truncate(same);
        let mut all = tokens.to_vec();
        let mut guesses = Vec::with_capacity(count);
        for _ in 0..count {
            let hidden = self.speaker.read(memory, &[&all[self.read.len()..]], false)?;
            self.read = all.clone();
            let mut scores = self.speaker.logits(hidden);
            // what this model alone can't go on with, or nobody, is not guessed
            if scores.iter().any(|score| !score.is_finite()) || given.process(&all, &mut scores).is_err() {
                break;
            }
            if super::process::best_first(&scores, 1).is_empty() {
                break;
            }
            let guess = if self.draws {
                log_softmax(&mut scores);
                scores.iter_mut().for_each(|score| *score = score.exp());
                // of each place the number that the sequence leaves to guesses: what was guessed there before and not
                // looked at decided nothing
                let token = draws.at(all.len() - given.prompt.len() + (1 << 40)).weighted(scores.iter().copied());
                Guess { token: token as u32, distribution: Some(scores) }
            } else {
                let best = super::process::best_first(&scores, 1);
                let Some(&(token, _)) = best.first() else { break };
                Guess { token: token as u32, distribution: None }
            };
            all.push(guess.token);
            guesses.push(guess);
            if given.ends.tokens.contains(all.last().expect("one was added")) {
                break;
            }
        }
        Ok(guesses)
    }
}

impl<S: Speaker + Sync> Draft for DraftModel<'_, S> {
    fn most(&self) -> usize {
        self.count
    }

    fn remembers(&self) -> bool {
        true
    }

    fn guess(&mut self, _: usize, tokens: &[u32], room: usize, given: &Given<'_>, draws: &mut Draws) -> Vec<Guess> {
        if self.failed.borrow().is_some() {
            return Vec::new();
        }
        let count = self.count.min(room);
        self.run(tokens, count, given, draws).unwrap_or_else(|error| {
            tracing::warn!("the draft model guesses no more: {error}");
            *self.failed.borrow_mut() = Some(error);
            Vec::new()
        })
    }
}
