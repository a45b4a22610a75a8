//! Contrastive search (Su et al. 2022): of the likeliest tokens the one that is likely and whose hidden state is least like
//! any before, `(1 - α) · p - α · max cos`.

use super::process::{best_first, log_sum};
use super::search::{Given, Next, Scores, Search, Spoken, TokenScore};
use crate::error::Result;

/// A contrastive search.
pub(crate) struct Contrastive<'a> {
    given: Given<'a>,
    candidates: usize,
    alpha: f32,
    /// The prompt and what was said.
    tokens: Vec<u32>,
    logprobs: Vec<TokenScore>,
    /// Hidden states of all that was read and stays, scaled to length one, `[n, H]`.
    seen: Vec<f32>,
    /// The candidates that the model is reading, with their probabilities.
    reading: Vec<(u32, f32, Option<TokenScore>)>,
    done: Option<Spoken>,
}

impl<'a> Contrastive<'a> {
    /// Among so many candidates, `alpha` the weight of being unlike.
    pub fn new(given: Given<'a>, candidates: usize, alpha: f32) -> Self {
        let tokens = given.prompt.clone();
        Self {
            given,
            candidates,
            alpha,
            tokens,
            logprobs: Vec::new(),
            seen: Vec::new(),
            reading: Vec::new(),
            done: None,
        }
    }

    /// The candidate whose hidden state `[k, H]` is chosen.
    fn choose(&self, hidden: &[f32]) -> usize {
        let width = hidden.len() / self.reading.len();
        let value = |(place, (_, share, _)): (usize, &(u32, f32, Option<TokenScore>))| {
            let own = &hidden[place * width..][..width];
            let cosine = |seen: &[f32]| seen.iter().zip(own).map(|(a, b)| a * b).sum::<f32>();
            let likeness = self.seen.chunks_exact(width).map(cosine).fold(f32::NEG_INFINITY, f32::max);
            (1.0 - self.alpha) * share - self.alpha * likeness
        };
        let mut values = self.reading.iter().enumerate().map(value).enumerate();
        let first = values.next().expect("there are candidates");
        values.fold(first, |best, next| if next.1 > best.1 { next } else { best }).0
    }
}

/// Rows of `width` scaled to length one.
fn units(rows: &[f32], width: usize) -> Vec<f32> {
    let mut rows = rows.to_vec();
    for row in rows.chunks_exact_mut(width) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    rows
}

impl Search for Contrastive<'_> {
    fn advance(&mut self, scores: Scores<'_>) -> Result<Vec<Next>> {
        let vocabulary = scores.vocabulary;
        let mut parent = 0;
        if self.reading.is_empty() {
            self.seen = units(scores.hidden, scores.hidden.len() / self.given.prompt.len());
        } else {
            let width = scores.hidden.len() / self.reading.len();
            let hidden = units(scores.hidden, width);
            parent = self.choose(&hidden);
            self.seen.extend_from_slice(&hidden[parent * width..][..width]);
            let (token, _, score) = self.reading.swap_remove(parent);
            self.tokens.push(token);
            self.logprobs.extend(score);
        }
        let given = self.given.prompt.len();
        let said = &self.tokens[given..];
        if let Some(finish) = self.given.ends.of(said, given, self.given.max_length) {
            let (tokens, logprobs) = (said.to_vec(), std::mem::take(&mut self.logprobs));
            self.done = Some(Spoken { tokens, finish, score: None, logprobs });
            return Ok(Vec::new());
        }
        let logits = &mut scores.logits[parent * vocabulary..][..vocabulary];
        let raw = self.given.top_logprobs.map(|_| logits.to_vec());
        self.given.process(&self.tokens, logits)?;
        let shift = log_sum(logits);
        let best = best_first(logits, self.candidates).into_iter();
        let candidate = |(token, score): (usize, f32)| {
            let own = raw.as_ref().and_then(|raw| self.given.token_score(raw, log_sum(raw), token as u32));
            (token as u32, (score - shift).exp(), own)
        };
        self.reading = best.map(candidate).collect();
        if self.reading.is_empty() {
            return Err(self.given.nothing_left(&self.tokens, vocabulary));
        }
        Ok(self.reading.iter().map(|&(token, ..)| Next { parent, forget: 0, tokens: vec![token] }).collect())
    }

    fn finish(&mut self) -> Vec<Spoken> {
        self.done.take().into_iter().collect()
    }

    fn wants_hidden(&self) -> bool {
        true
    }

    fn width(&self) -> usize {
        self.candidates
    }

    fn said(&self) -> Option<&[u32]> {
        Some(&self.tokens[self.given.prompt.len()..])
    }
}
