//! Beam search: the best sequences as a whole, by keeping the best beginnings at each step. Scores, lengths and the three
//! ways of stopping as in `transformers` 4.57; drawn beams too (stochastic beams, Kool et al. 2019).

use rayon::prelude::*;

use super::draws::Draws;
use super::process::{best_first, log_softmax, log_sum};
use super::search::{Finish, Given, Next, Scores, Search, Spoken, TokenScore};
use super::settings::EarlyStopping;
use crate::error::Result;

/// A search with beams.
pub(crate) struct Beams<'a> {
    given: Given<'a>,
    count: usize,
    length_penalty: f32,
    early: EarlyStopping,
    returned: usize,
    draws: Option<Draws>,
    open: Vec<Beam>,
    finished: Vec<Spoken>,
    begun: bool,
    improvable: bool,
    /// The tokens that were said last by beams that nothing but the length may have ended.
    said: Vec<u32>,
    /// Whether these are one group of several.
    is_group: bool,
}

/// An open or just extended beginning.
#[derive(Clone)]
struct Beam {
    /// The prompt and what was said.
    tokens: Vec<u32>,
    /// The sum of the logarithms of its tokens' probabilities.
    score: f32,
    logprobs: Vec<TokenScore>,
}

/// A beginning with one more token.
struct Candidate {
    parent: usize,
    token: u32,
    score: f32,
}

impl<'a> Beams<'a> {
    /// `count` beams, of which the `returned` best are given back; `draws` where tokens are drawn.
    pub fn new(
        given: Given<'a>,
        count: usize,
        returned: usize,
        length_penalty: f32,
        early: EarlyStopping,
        draws: Option<Draws>,
    ) -> Self {
        let first = Beam { tokens: given.prompt.clone(), score: 0.0, logprobs: Vec::new() };
        Self {
            given,
            count,
            length_penalty,
            early,
            returned,
            draws,
            open: vec![first],
            finished: Vec::new(),
            begun: false,
            improvable: true,
            said: Vec::new(),
            is_group: false,
        }
    }

    /// The same as one group of several, which is judged as groups have always been.
    pub fn group(self) -> Self {
        Self { is_group: true, ..self }
    }

    fn length(&self, beam: &Beam) -> usize {
        beam.tokens.len() - self.given.prompt.len()
    }

    fn over_length(&self, score: f32, length: usize) -> f32 {
        score / (length as f32).powf(self.length_penalty)
    }

    /// The best continuations of all open beams, best first, or so many that were drawn; `others` cost `penalty` each.
    fn candidates(
        &mut self,
        scores: &mut Scores<'_>,
        others: &[u32],
        penalty: f32,
        keep: usize,
    ) -> Result<Vec<Candidate>> {
        let draws = self.draws.is_some();
        let given = &self.given;
        let rows = self.open.par_iter().zip(scores.logits.par_chunks_exact_mut(scores.vocabulary));
        let of_row = |(parent, (beam, row)): (usize, (&Beam, &mut [f32]))| {
            log_softmax(row);
            others.iter().for_each(|&token| row[token as usize] -= penalty);
            given.process(&beam.tokens, row)?;
            let best = if draws {
                row.iter().copied().enumerate().filter(|(_, score)| *score > f32::NEG_INFINITY).collect()
            } else {
                best_first(row, keep)
            };
            let candidate = |(token, score)| Candidate { parent, token: token as u32, score: score + beam.score };
            Ok(best.into_iter().map(candidate).collect())
        };
        let of_rows: Vec<Vec<Candidate>> = rows.enumerate().map(of_row).collect::<Result<_>>()?;
        let mut all: Vec<Candidate> = of_rows.into_iter().flatten().collect();
        let order = |a: &Candidate, b: &Candidate| {
            b.score.total_cmp(&a.score).then((a.parent, a.token).cmp(&(b.parent, b.token)))
        };
        if let Some(draws) = &mut self.draws {
            let draws = draws.at(self.open[0].tokens.len() << 24);
            let mut drawn: Vec<(f32, Candidate)> = all.into_iter().map(|c| (c.score + draws.gumbel(), c)).collect();
            drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
            all = drawn.into_iter().map(|(_, candidate)| candidate).collect();
        } else {
            all.sort_by(order);
        }
        all.truncate(keep);
        Ok(all)
    }

    /// Adds a finished sequence if it is among the best.
    fn finish_one(&mut self, spoken: Spoken) {
        self.finished.push(spoken);
        // a stable order: those that were there first stay first among equals
        self.finished.sort_by(|a, b| b.score.unwrap_or_default().total_cmp(&a.score.unwrap_or_default()));
        self.finished.truncate(self.count);
    }

    /// Whether an open beam may become better than the finished ones; `top` is the best score of all continuations, by
    /// which `transformers` judges groups.
    fn may_improve(&self, top: f32) -> bool {
        let Some(best) = self.open.first() else { return false };
        if self.finished.len() < self.count {
            return true;
        }
        let length = if self.early == EarlyStopping::Never && self.length_penalty > 0.0 {
            self.given.max_length - self.given.prompt.len()
        } else {
            self.length(best)
        };
        let worst = self.finished.last().and_then(|spoken| spoken.score).unwrap_or(f32::NEG_INFINITY);
        self.over_length(if self.is_group { top } else { best.score }, length) > worst
    }
}

impl Beams<'_> {
    /// Goes on; `others` are what other groups say at this place, each of which costs `penalty`.
    ///
    /// # Errors
    /// When nothing may be said and nothing was found.
    pub fn go_on(&mut self, mut scores: Scores<'_>, others: &[u32], penalty: f32) -> Result<Vec<Next>> {
        let width = scores.vocabulary;
        self.begun = true;
        self.said.clear();
        let raw = self.given.top_logprobs.map(|_| scores.logits.to_vec());
        // enough that as many are left if the best all end
        let keep = self.count * (1 + self.given.ends.tokens.len()).max(2);
        let candidates = self.candidates(&mut scores, others, penalty, keep)?;
        if let (true, true, Some(beam)) = (candidates.is_empty(), self.finished.is_empty(), self.open.first()) {
            return Err(self.given.nothing_left(&beam.tokens, width));
        }
        let top = candidates.first().map_or(f32::NEG_INFINITY, |best| best.score);
        let full = self.finished.len() >= self.count && self.early == EarlyStopping::Full;
        let mut open: Vec<(usize, Beam)> = Vec::new();
        for (place, candidate) in candidates.into_iter().enumerate() {
            let parent = &self.open[candidate.parent];
            let mut beam = Beam { score: candidate.score, ..parent.clone() };
            beam.tokens.push(candidate.token);
            if let Some(raw) = &raw {
                let row = &raw[candidate.parent * width..][..width];
                beam.logprobs.extend(self.given.token_score(row, log_sum(row), candidate.token));
            }
            let given = self.given.prompt.len();
            let finish = self.given.ends.of(&beam.tokens[given..], given, self.given.max_length);
            if matches!(finish, None | Some(Finish::Length)) && self.said.len() < self.count {
                self.said.push(candidate.token);
            }
            let Some(finish) = finish else {
                open.push((candidate.parent, beam));
                continue;
            };
            // of the rest some would only be there to go on with
            if place < self.count && !full && self.improvable {
                let tokens = beam.tokens[given..].to_vec();
                let score = Some(self.over_length(beam.score, tokens.len()));
                self.finish_one(Spoken { tokens, finish, score, logprobs: beam.logprobs });
            }
        }
        // of those that were drawn the best go on
        open.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        open.truncate(self.count);
        let parents: Vec<usize> = open.iter().map(|&(parent, _)| parent).collect();
        self.open = open.into_iter().map(|(_, beam)| beam).collect();
        self.improvable &= self.may_improve(top);
        let full = self.finished.len() >= self.count && self.early == EarlyStopping::Full;
        if !self.improvable || full {
            self.open.clear();
        }
        let last = |beam: &Beam| *beam.tokens.last().expect("one was said");
        let next = self.open.iter().zip(parents);
        Ok(next.map(|(beam, parent)| Next { parent, forget: 0, tokens: vec![last(beam)] }).collect())
    }

    /// What was said last, by the beams that go on and those that reached their length.
    pub fn said(&self) -> &[u32] {
        &self.said
    }

    /// How many hypotheses are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

impl Search for Beams<'_> {
    fn advance(&mut self, scores: Scores<'_>) -> Result<Vec<Next>> {
        self.go_on(scores, &[], 0.0)
    }

    fn finish(&mut self) -> Vec<Spoken> {
        self.finished.truncate(self.returned);
        std::mem::take(&mut self.finished)
    }

    fn width(&self) -> usize {
        if self.begun { self.open.len() } else { self.count }
    }
}
