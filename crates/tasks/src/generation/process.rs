//! What changes the scores of the next token before one is chosen: small values that compose, one a file, applied in
//! the order of `transformers`' `generate`.

mod bad_words;
mod cutoff;
mod decay;
mod forced;
mod min_length;
mod min_p;
mod ngrams;
mod penalties;
mod repetition;
mod suppress;
mod temperature;
mod top_k;
mod top_p;
mod typical;

use std::fmt::Debug;

pub use bad_words::BadWords;
pub use cutoff::{EpsilonCutoff, EtaCutoff};
pub use decay::DecayToEnd;
pub use forced::{ForcedFirst, ForcedLast};
pub use min_length::MinLength;
pub use min_p::MinP;
pub use ngrams::{NoRepeatedNgrams, NoSourceNgrams};
pub use penalties::CountPenalties;
pub use repetition::{RepetitionPenalty, SourcePenalty};
pub use suppress::{Suppress, SuppressAtBeginning};
pub use temperature::Temperature;
pub use top_k::TopK;
pub use top_p::TopP;
pub use typical::Typical;

use super::settings::Settings;

/// What a processor knows of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Which of the inputs of the call it answers.
    pub input: usize,
    /// All tokens so far: the prompt, or the start of a decoder beside an encoder, and what was said.
    pub tokens: &'a [u32],
    /// How many of them were given.
    pub given: usize,
    /// What the encoder reads; the prompt where there is none.
    pub source: &'a [u32],
    /// How many tokens there may be in all.
    pub max_length: usize,
}

impl Context<'_> {
    /// How many tokens were said.
    pub fn said(&self) -> usize {
        self.tokens.len() - self.given
    }
}

/// Changes the scores of the next token, `[V]`; minus infinity forbids one. Callers may have their own, see
/// [`super::Generate::processors`].
pub trait Process: Debug + Send + Sync {
    /// What a message calls it that says who forbade every token: its type, unless it says another.
    fn name(&self) -> String {
        format!("{self:?}").chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    }

    /// Changes `scores` in place.
    fn process(&self, context: &Context<'_>, scores: &mut [f32]);
}

/// Makes a distribution of scores: their logarithms sum to one as probabilities.
#[derive(Clone, Copy, Debug)]
pub struct Normalize;

impl Process for Normalize {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        log_softmax(scores);
    }
}

/// The processors that `settings` ask for, in order; those that only sampling uses come last. `ends` are the tokens
/// that end a sequence.
pub fn processors(settings: &Settings, ends: &[u32]) -> Vec<Box<dyn Process>> {
    let mut all = searching(settings, ends);
    all.extend(drawing(settings, ends.len()));
    all
}

/// Those of every search, before the caller's own.
pub(crate) fn searching(settings: &Settings, ends: &[u32]) -> Vec<Box<dyn Process>> {
    let s = settings;
    let mut all: Vec<Box<dyn Process>> = Vec::new();
    let ends = || ends.to_vec();
    let mut add = |yes: bool, make: &dyn Fn() -> Box<dyn Process>| {
        if yes {
            all.push(make());
        }
    };
    add(s.encoder_repetition_penalty != 1.0, &|| Box::new(SourcePenalty(s.encoder_repetition_penalty)));
    add(s.repetition_penalty != 1.0, &|| Box::new(RepetitionPenalty(s.repetition_penalty)));
    add(s.presence_penalty != 0.0 || s.frequency_penalty != 0.0, &|| {
        Box::new(CountPenalties { presence: s.presence_penalty, frequency: s.frequency_penalty })
    });
    add(s.no_repeat_ngram_size > 0, &|| Box::new(NoRepeatedNgrams(s.no_repeat_ngram_size)));
    add(s.encoder_no_repeat_ngram_size > 0, &|| Box::new(NoSourceNgrams(s.encoder_no_repeat_ngram_size)));
    if let Some(words) = &s.bad_words_ids {
        add(true, &|| Box::new(BadWords::new(words, &ends())));
    }
    let some = !ends().is_empty();
    add(some && s.min_length > 0 && s.min_new_tokens.is_none(), &|| {
        Box::new(MinLength { least: s.min_length, of_new: false, ends: ends() })
    });
    add(some && s.min_new_tokens.is_some_and(|least| least > 0), &|| {
        Box::new(MinLength { least: s.min_new_tokens.unwrap_or(0), of_new: true, ends: ends() })
    });
    if let Some(first) = s.forced_bos_token_id {
        add(true, &|| Box::new(ForcedFirst(first)));
    }
    if let Some(last) = &s.forced_eos_token_id {
        add(true, &|| Box::new(ForcedLast(last.to_vec())));
    }
    if let Some((start, factor)) = s.exponential_decay_length_penalty {
        add(true, &|| Box::new(DecayToEnd { start, factor, ends: ends() }));
    }
    if let Some(tokens) = &s.suppress_tokens {
        add(true, &|| Box::new(Suppress(tokens.clone())));
    }
    if let Some(tokens) = &s.begin_suppress_tokens {
        add(true, &|| {
            Box::new(SuppressAtBeginning { tokens: tokens.clone(), after_first: s.forced_bos_token_id.is_some() })
        });
    }
    all
}

/// Those that come last, where there are so many `ends`: what is drawn from, and as what.
pub(crate) fn drawing(settings: &Settings, ends: usize) -> Vec<Box<dyn Process>> {
    let s = settings;
    let mut all: Vec<Box<dyn Process>> = Vec::new();
    let mut add = |yes: bool, make: &dyn Fn() -> Box<dyn Process>| {
        if yes {
            all.push(make());
        }
    };
    if s.do_sample {
        // a beam needs a token beside the ends to go on with
        let keep = if s.num_beams > 1 { ends + 1 } else { 1 };
        add(s.temperature != 1.0, &|| Box::new(Temperature(s.temperature)));
        add(s.top_k > 0, &|| Box::new(TopK(s.top_k.max(keep))));
        add(s.top_p < 1.0, &|| Box::new(TopP { mass: s.top_p, keep }));
        if let Some(share) = s.min_p {
            add(true, &|| Box::new(MinP { share, keep }));
        }
        add(s.typical_p < 1.0, &|| Box::new(Typical { mass: s.typical_p, keep }));
        add(s.epsilon_cutoff > 0.0 && s.epsilon_cutoff < 1.0, &|| {
            Box::new(EpsilonCutoff { least: s.epsilon_cutoff, keep })
        });
        add(s.eta_cutoff > 0.0 && s.eta_cutoff < 1.0, &|| Box::new(EtaCutoff { epsilon: s.eta_cutoff, keep }));
    }
    add(s.renormalize_logits, &|| Box::new(Normalize));
    all
}

/// Forbids `tokens`; those that the model doesn't know are forbidden anyway.
pub(crate) fn forbid(scores: &mut [f32], tokens: &[u32]) {
    for &token in tokens {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Forbids all but `tokens`.
pub(crate) fn allow(scores: &mut [f32], tokens: &[u32]) {
    let kept: Vec<(u32, f32)> =
        tokens.iter().filter_map(|&token| Some((token, *scores.get(token as usize)?))).collect();
    scores.fill(f32::NEG_INFINITY);
    kept.into_iter().for_each(|(token, score)| scores[token as usize] = score);
}

/// Logarithms of the probabilities that `scores` stand for.
pub(crate) fn log_softmax(scores: &mut [f32]) {
    let shift = log_sum(scores);
    scores.iter_mut().for_each(|score| *score -= shift);
}

/// The logarithm of the sum of `scores`' exponentials.
pub(crate) fn log_sum(scores: &[f32]) -> f32 {
    ptm_kernels::softmax::log_sum(scores)
}

/// Forbids all tokens that `keep` says no to, but never the `least` with the best scores.
fn keep_where(scores: &mut [f32], least: usize, keep: impl Fn(usize, f32) -> bool) {
    let spared: Vec<usize> = best_first(scores, least).into_iter().map(|(token, _)| token).collect();
    for (token, score) in scores.iter_mut().enumerate() {
        if !keep(token, *score) && !spared.contains(&token) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// The `count` best tokens with their scores, best first; lower tokens first among equals. Forbidden ones are left out.
pub(crate) fn best_first(scores: &[f32], count: usize) -> Vec<(usize, f32)> {
    if count == 0 {
        return Vec::new();
    }
    if count > 64 {
        let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let mut all: Vec<(usize, f32)> =
            scores.iter().copied().enumerate().filter(|&(_, score)| score > f32::NEG_INFINITY).collect();
        if count < all.len() {
            all.select_nth_unstable_by(count - 1, order);
            all.truncate(count);
        }
        all.sort_unstable_by(order);
        return all;
    }
    // those found so far, best first: most blocks have nothing above the last of them, and are passed over at once
    let mut best: Vec<(usize, f32)> = Vec::with_capacity(count.min(scores.len()) + 1);
    ptm_kernels::softmax::blocks_above(scores, f32::NEG_INFINITY, |first, block| {
        for (place, &score) in block.iter().enumerate() {
            let last = if best.len() < count { f32::NEG_INFINITY } else { best[count - 1].1 };
            if score > last {
                let at = best.partition_point(|&(_, other)| other >= score);
                best.insert(at, (first + place, score));
                best.truncate(count);
            }
        }
        if best.len() < count { f32::NEG_INFINITY } else { best[count - 1].1 }
    });
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_found_however_many() {
        let scores: Vec<f32> = (0..3000).map(|i| ((i * 37 % 1000) as f32 * 0.5).sin()).collect();
        let mut sorted: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for count in [0, 1, 2, 8, 64, 65, 500, 3000, 4000] {
            assert_eq!(best_first(&scores, count), sorted[..count.min(3000)], "{count}");
        }
        assert_eq!(best_first(&[f32::NEG_INFINITY, 1.0], 2), [(1, 1.0)]);
        assert_eq!(best_first(&[f32::NEG_INFINITY; 2], 1), []);
    }
}
