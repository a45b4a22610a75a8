//! One token after the other: the likeliest, or one that is drawn; several independent sequences of one prompt. Guesses
//! of what comes next are read along and kept as far as they are what would have been said: the distribution stays
//! that of the model (Leviathan et al. 2023).

use super::draft::{Draft, Guess};
use super::draws::Draws;
use super::process::{best_first, log_sum};
use super::search::{Given, Next, Scores, Search, Spoken, TokenScore};
use crate::error::Result;

/// Greedy search or sampling.
pub(crate) struct Sample<'a> {
    given: Given<'a>,
    /// Whether tokens are drawn.
    draws: bool,
    open: Vec<Line>,
    /// How many sequences are to be begun of the prompt.
    to_begin: usize,
    first: u64,
    seed: u64,
    done: Vec<(usize, Spoken)>,
    draft: Option<Box<dyn Draft + 'a>>,
}

/// An open sequence.
struct Line {
    number: usize,
    /// The prompt and what was said.
    tokens: Vec<u32>,
    logprobs: Vec<TokenScore>,
    draws: Draws,
    /// What was guessed to come next, which the model has read.
    guesses: Vec<Guess>,
}

impl<'a> Sample<'a> {
    /// `count` sequences; the caller numbers inputs by `input`, so that each has random numbers of its own.
    pub fn new(
        given: Given<'a>,
        draws: bool,
        seed: u64,
        input: u64,
        count: usize,
        draft: Option<Box<dyn Draft + 'a>>,
    ) -> Self {
        let first = input.wrapping_mul(count as u64);
        Self { given, draws, open: Vec::new(), to_begin: count, first, seed, done: Vec::new(), draft }
    }

    fn begin(&mut self) {
        for number in 0..std::mem::take(&mut self.to_begin) {
            self.open.push(Line {
                number,
                tokens: self.given.prompt.clone(),
                logprobs: Vec::new(),
                draws: Draws::new(self.seed, self.first.wrapping_add(number as u64)),
                guesses: Vec::new(),
            });
        }
    }

    /// The token after `line`, of which `logits` are the scores, and whether it is what was guessed.
    fn choose(&self, line: &mut Line, logits: &mut [f32], guess: Option<&Guess>) -> Result<(u32, bool)> {
        let shift = if self.given.top_logprobs.is_some() { log_sum(logits) } else { 0.0 };
        let raw = self.given.top_logprobs.map(|_| logits.to_vec());
        self.given.process(&line.tokens, logits)?;
        let place = line.tokens.len() - self.given.prompt.len();
        let token = if self.draws {
            let draws = line.draws.at(place);
            match guess {
                None => draw(logits, draws),
                Some(guess) => draw_or_keep(logits, guess, draws),
            }
        } else {
            best_first(logits, 1).first().map(|&(token, _)| token as u32)
        };
        // a model that gives no number is noticed by the scheduler; here everything was forbidden
        let token = token.ok_or_else(|| self.given.nothing_left(&line.tokens, logits.len()))?;
        if let Some(raw) = raw {
            line.logprobs.extend(self.given.token_score(&raw, shift, token));
        }
        Ok((token, guess.is_some_and(|guess| guess.token == token)))
    }
}

/// A token by its scores; none if all are forbidden.
fn draw(scores: &mut [f32], draws: &mut Draws) -> Option<u32> {
    weights(scores).then(|| draws.weighted(scores.iter().copied()) as u32)
}

/// Turns scores into weights of which the largest is one; says whether there is one at all.
fn weights(scores: &mut [f32]) -> bool {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // what grew beyond all numbers is all there is
    let weight = |score: f32| if top == f32::INFINITY { f32::from(score == top) } else { (score - top).exp().max(0.0) };
    scores.iter_mut().for_each(|score| *score = weight(*score));
    top > f32::NEG_INFINITY
}

/// The guess with probability `min(1, p/q)`, else a token of what `p` has beyond `q`: together, one drawn from `p`.
fn draw_or_keep(scores: &mut [f32], guess: &Guess, draws: &mut Draws) -> Option<u32> {
    if !weights(scores) {
        return None;
    }
    let total: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|weight| *weight /= total);
    let token = guess.token as usize;
    let q = guess.distribution.as_ref().map_or(1.0, |q| q[token]);
    if draws.unit() * f64::from(q) < f64::from(scores[token]) {
        return Some(guess.token);
    }
    match &guess.distribution {
        None => scores[token] = 0.0,
        Some(q) => scores.iter_mut().zip(q).for_each(|(p, q)| *p = (*p - q).max(0.0)),
    }
    // rounding may leave nothing of a distribution that equals the guess's
    let some = scores.iter().any(|&weight| weight > 0.0);
    Some(if some { draws.weighted(scores.iter().copied()) as u32 } else { guess.token })
}

impl Search for Sample<'_> {
    fn advance(&mut self, scores: Scores<'_>) -> Result<Vec<Next>> {
        let width = scores.vocabulary;
        let beginning = self.to_begin > 0;
        if beginning {
            self.begin();
        }
        let mut lines = std::mem::take(&mut self.open);
        let mut next = Vec::with_capacity(lines.len());
        let mut row = 0;
        let mut of_prompt = if beginning && lines.len() > 1 { scores.logits.to_vec() } else { Vec::new() };
        for (parent, mut line) in lines.drain(..).enumerate() {
            let guesses = std::mem::take(&mut line.guesses);
            let mut kept = 0;
            let ended = loop {
                let at = (row + kept) * width;
                let logits = if of_prompt.is_empty() {
                    &mut scores.logits[at..at + width]
                } else {
                    of_prompt.copy_from_slice(scores.logits);
                    &mut of_prompt[..]
                };
                let (token, as_guessed) = self.choose(&mut line, logits, guesses.get(kept))?;
                line.tokens.push(token);
                let said = &line.tokens[self.given.prompt.len()..];
                let ended = self.given.ends.of(said, self.given.prompt.len(), self.given.max_length);
                if ended.is_some() || !as_guessed {
                    break ended;
                }
                kept += 1;
            };
            row += guesses.len() + 1;
            if let Some(finish) = ended {
                let tokens = line.tokens[self.given.prompt.len()..].to_vec();
                self.done.push((line.number, Spoken { tokens, finish, score: None, logprobs: line.logprobs }));
                continue;
            }
            let last = *line.tokens.last().expect("one was said");
            let mut tokens = vec![last];
            if let Some(draft) = &mut self.draft {
                // one less than may still be said, which the model says itself
                let room = (self.given.max_length - line.tokens.len()).saturating_sub(1);
                line.guesses = draft.guess(line.number, &line.tokens, room, &self.given, &mut line.draws);
                tokens.extend(line.guesses.iter().map(|guess| guess.token));
            }
            let parent = if beginning { 0 } else { parent };
            next.push(Next { parent, forget: guesses.len() - kept, tokens });
            self.open.push(line);
        }
        Ok(next)
    }

    fn finish(&mut self) -> Vec<Spoken> {
        self.done.sort_by_key(|&(number, _)| number);
        std::mem::take(&mut self.done).into_iter().map(|(_, spoken)| spoken).collect()
    }

    fn width(&self) -> usize {
        self.to_begin.max(self.open.len())
    }

    fn score_rows(&self) -> usize {
        self.width().saturating_mul(self.draft.as_ref().map_or(0, |draft| draft.most()).saturating_add(1))
    }

    fn memories(&self) -> usize {
        1 + usize::from(self.draft.as_ref().is_some_and(|draft| draft.remembers()))
    }

    fn said(&self) -> Option<&[u32]> {
        match (&self.open[..], &self.done[..]) {
            ([line], []) => Some(&line.tokens[self.given.prompt.len()..]),
            ([], [(_, spoken)]) => Some(&spoken.tokens),
            _ => None,
        }
    }
}
