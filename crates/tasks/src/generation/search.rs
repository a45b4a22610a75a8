//! What all ways of choosing tokens have in common: a search holds the open hypotheses of one input, is given the
//! scores of what comes next, and says what each becomes.

use std::fmt;

use super::process::{Context, Process};

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It said an end.
    End,
    /// It is as long as it may be.
    Length,
    /// It said one of the stop strings.
    Stop,
}

impl fmt::Display for Finish {
    /// As inference servers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "eos_token",
            Self::Length => "length",
            Self::Stop => "stop_sequence",
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
    fn advance(&mut self, scores: Scores<'_>) -> Vec<Next>;

    /// The sequences that were found, best first; once the search is over.
    fn finish(&mut self) -> Vec<Spoken>;

    /// Whether it reads hidden states.
    fn wants_hidden(&self) -> bool {
        false
    }

    /// How many hypotheses may be open at once.
    fn width(&self) -> usize;

    /// What the only hypothesis has said so far, for streaming; none where it may still change.
    fn said(&self) -> Option<&[u32]> {
        None
    }
}

/// What does not change while an input is continued.
pub(crate) struct Given<'a> {
    /// What changes the scores, in order.
    pub processors: &'a [Box<dyn Process>],
    /// Those that only this input has: a constraint.
    pub own: Vec<Box<dyn Process + 'a>>,
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
    pub fn process(&self, tokens: &[u32], scores: &mut [f32]) {
        let context = Context { tokens, given: self.prompt.len(), source: &self.source, max_length: self.max_length };
        for processor in self.own.iter().map(|p| &**p).chain(self.processors.iter().map(|p| &**p)) {
            processor.process(&context, scores);
        }
    }

    /// What the model itself thinks of `token`, if asked for; `logits` are as it gave them.
    pub fn token_score(&self, logits: &[f32], shift: f32, token: u32) -> Option<TokenScore> {
        let count = self.top_logprobs?;
        let best = super::process::best_first(logits, count).into_iter();
        let alternatives = best.map(|(token, score)| (token as u32, score - shift)).collect();
        Some(TokenScore { logprob: logits[token as usize] - shift, alternatives })
    }
}
