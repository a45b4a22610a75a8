//! What all ways of choosing tokens have in common: a search holds the open hypotheses of one input, is given the
//! scores of what comes next, and says what each becomes.

use std::fmt;

use super::constraint::Constraint;
use super::engine::Allowed;
use super::process::{Context, Process, allow};
use crate::error::{Error, Result};

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It said an end.
    End,
    /// It is as long as it may be.
    Length,
    /// It said one of the stop strings.
    Stop,
    /// It took as long as it may.
    Time,
}

impl fmt::Display for Finish {
    /// As inference servers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "eos_token",
            Self::Length => "length",
            Self::Stop => "stop_sequence",
            Self::Time => "time",
        })
    }
}

/// A token that was said, and what else was likely.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenScore {
    /// The logarithm of its probability as the model has it, before anything changed the scores.
    pub logprob: f32,
    /// The likeliest tokens with theirs.
    pub alternatives: Vec<(u32, f32)>,
}

/// A sequence that was generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Spoken {
    /// What was said, the end included.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// Of a beam: the sum of the logarithms of its tokens' probabilities over its length to the length penalty.
    pub score: Option<f32>,
    /// One for each token, if asked for.
    pub logprobs: Vec<TokenScore>,
}

/// What an open hypothesis becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// The hypothesis that it continues, by its place among those that were open.
    pub parent: usize,
    /// How many of the tokens that the model has read of it don't count.
    pub forget: usize,
    /// What the model reads next; it gives scores after each of them.
    pub tokens: Vec<u32>,
}

/// The scores that a step gives a search.
pub(crate) struct Scores<'a> {
    /// Of what comes next, `[R, V]`: for each open hypothesis as many rows as it asked for tokens; at the beginning one
    /// row, after the prompt.
    pub logits: &'a mut [f32],
    /// The hidden states of the same rows, `[R, H]`, at the beginning those of the whole prompt; where a search wants
    /// them.
    pub hidden: &'a [f32],
    /// `V`.
    pub vocabulary: usize,
}

/// A way of choosing tokens.
pub(crate) trait Search: Send {
    /// Goes on: what the open hypotheses become; none when the search is over.
    ///
    /// # Errors
    /// When nothing may be said and nothing was found.
    fn advance(&mut self, scores: Scores<'_>) -> Result<Vec<Next>>;

    /// The sequences that were found, best first; once the search is over.
    fn finish(&mut self) -> Vec<Spoken>;

    /// Whether it reads hidden states.
    fn wants_hidden(&self) -> bool {
        false
    }

    /// How many hypotheses may be open at once.
    fn width(&self) -> usize;

    /// How many rows of scores a step may want.
    fn score_rows(&self) -> usize {
        self.width()
    }

    /// How many models remember the tokens: the one that speaks, and one that guesses.
    fn memories(&self) -> usize {
        1
    }

    /// What the only hypothesis has said so far, for streaming; none where it may still change.
    fn said(&self) -> Option<&[u32]> {
        None
    }
}

/// What does not change while an input is continued.
pub(crate) struct Given<'a> {
    /// Which of the caller's inputs it is.
    pub input: usize,
    /// What the text is to be like.
    pub constraint: Option<&'a Constraint>,
    /// The caller's function of what may follow.
    pub allowed: Option<&'a Allowed<'a>>,
    /// What changes the scores after them, in order: of every search, …
    pub searching: &'a [Box<dyn Process>],
    /// … the caller's own, …
    pub callers: &'a [&'a dyn Process],
    /// … and of drawing.
    pub drawing: &'a [Box<dyn Process>],
    /// What ends a sequence.
    pub ends: super::stop::Ends<'a>,
    /// What a decoder was given.
    pub prompt: Vec<u32>,
    /// What an encoder reads; the prompt where there is none.
    pub source: Vec<u32>,
    /// How many tokens there may be in all.
    pub max_length: usize,
    /// Alternatives to give with each token's log-probability.
    pub top_logprobs: Option<usize>,
}

impl Given<'_> {
    /// Changes the `scores` of what comes after `tokens`.
    ///
    /// # Errors
    /// When the caller's function allows nothing.
    pub fn process(&self, tokens: &[u32], scores: &mut [f32]) -> Result<()> {
        let context = self.context(tokens);
        if let Some(list) = self.listed(tokens)? {
            allow(scores, &list);
        }
        self.steps().for_each(|step| step.process(&context, scores));
        Ok(())
    }

    fn context<'c>(&'c self, tokens: &'c [u32]) -> Context<'c> {
        let (given, source, max_length) = (self.prompt.len(), &*self.source, self.max_length);
        Context { input: self.input, tokens, given, source, max_length }
    }

    /// What the caller's function allows after `tokens`, if it says.
    fn listed(&self, tokens: &[u32]) -> Result<Option<Vec<u32>>> {
        let list = self.allowed.and_then(|allowed| allowed(self.input, tokens));
        if list.as_ref().is_some_and(Vec::is_empty) {
            let problem = format!(
                "the function of allowed tokens allows none as token {} of the answer to input {}: let it name one, such \
                 as an end, or none at all for any",
                self.place(tokens),
                self.input
            );
            return Err(Error::Input(problem));
        }
        Ok(list)
    }

    fn steps(&self) -> impl Iterator<Item = &dyn Process> {
        fn each(list: &[Box<dyn Process>]) -> impl Iterator<Item = &dyn Process> {
            list.iter().map(|step| &**step)
        }
        let constraint = self.constraint.map(|constraint| constraint as &dyn Process);
        let callers = self.callers.iter().map(|step| *step as &dyn Process);
        constraint.into_iter().chain(each(self.searching)).chain(callers).chain(each(self.drawing))
    }

    /// Which token of the answer comes after `tokens`, from one.
    fn place(&self, tokens: &[u32]) -> usize {
        tokens.len() - self.prompt.len() + 1
    }

    /// The error of a text that can't go on after `tokens`: who forbids what, of `vocabulary` tokens.
    pub fn nothing_left(&self, tokens: &[u32], vocabulary: usize) -> Error {
        let context = self.context(tokens);
        let mut scores = vec![0.0; vocabulary];
        let possible = |scores: &[f32]| scores.iter().filter(|score| **score > f32::NEG_INFINITY).count();
        let (mut left, mut who) = (vocabulary, Vec::new());
        if let Ok(Some(list)) = self.listed(tokens) {
            allow(&mut scores, &list);
            left = possible(&scores);
            who.push("the function of allowed tokens".to_owned());
        }
        for step in self.steps() {
            step.process(&context, &mut scores);
            let now = possible(&scores);
            if now < left {
                who.push(step.name());
            }
            left = now;
        }
        Error::Input(format!(
            "nothing may be said as token {} of the answer to input {}: every token is forbidden, by {}; allow some, or leave \
             out what forbids them",
            self.place(tokens),
            self.input,
            if who.is_empty() { "scores that leave all numbers".to_owned() } else { who.join(" and ") }
        ))
    }

    /// What the model itself thinks of `token`, if asked for; `logits` are as it gave them.
    pub fn token_score(&self, logits: &[f32], shift: f32, token: u32) -> Option<TokenScore> {
        let count = self.top_logprobs?;
        let best = super::process::best_first(logits, count).into_iter();
        let alternatives = best.map(|(token, score)| (token as u32, score - shift)).collect();
        Some(TokenScore { logprob: logits[token as usize] - shift, alternatives })
    }
}
