//! Replaced-token detection (Clark et al. 2020, §2): a generator fills hidden places by drawing from what it foretells, and a
//! discriminator says of every token whether it is the original. What is drawn, models decide; here are the hidden places,
//! and the random numbers by which tokens are drawn.

use ptm_kernels::softmax::softmax;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::masked_lm::{MaskedLm, MaskedLmConfig};
use super::masking::Masked;
use super::{Text, Vocabulary, draws};
use crate::error::{Error, Result};

/// What is hidden from the generator, and how much the discriminator counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplacedTokenConfig {
    /// The share of tokens that are hidden from the generator.
    pub rate: f64,
    /// The share of those that become the mask; the rest is kept (the authors' code: 0.85).
    pub masked: f64,
    /// Whether the pieces of a word are hidden together.
    pub whole_words: bool,
    /// What the discriminator's loss is multiplied by.
    pub weight: f64,
    /// Divides the generator's logits where tokens are drawn.
    pub temperature: f64,
    /// The generator's width as a share of the discriminator's, in whole heads (paper: 1/4 to 1/2).
    pub generator: f64,
    /// Whether a text of several sentences is two segments, as nine in ten are in the authors' code: `[CLS] A [SEP] B [SEP]`,
    /// B what follows A, each about half of it. Otherwise what distinguishes segments is not learnt, which tasks of two
    /// texts then have to learn.
    pub segments: bool,
}

impl Default for ReplacedTokenConfig {
    fn default() -> Self {
        Self {
            rate: 0.15,
            masked: 1.0,
            whole_words: false,
            weight: 50.0,
            temperature: 1.0,
            generator: 0.25,
            segments: false,
        }
    }
}

/// A text for both models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detection {
    /// What the generator reads and foretells.
    pub masked: Masked,
    /// For each place that it foretells where in its distribution the token is drawn, from 0 to below 1.
    pub draws: Vec<f64>,
}

impl Detection {
    /// What the discriminator reads when the generator says `drawn`, and which of it is not the original. A token that was
    /// drawn and is the original's counts as original.
    ///
    /// # Panics
    /// When there is not one token a hidden place.
    pub fn replaced(&self, drawn: &[u32]) -> (Vec<u32>, Vec<bool>) {
        assert_eq!(drawn.len(), self.masked.chosen.len(), "a token a hidden place");
        let original = self.masked.original();
        let mut ids = original.clone();
        self.masked.chosen.iter().zip(drawn).for_each(|(&place, &id)| ids[place] = id);
        let replaced = ids.iter().zip(&original).map(|(id, original)| id != original).collect();
        (ids, replaced)
    }

    /// What a generator draws that knows only how often each token occurs in the text: enough to show the objective.
    pub fn drawn_by_frequency(&self) -> Vec<u32> {
        let original = self.masked.original();
        let mut logits = vec![f32::NEG_INFINITY; original.iter().max().map_or(0, |&id| id as usize + 1)];
        // what frames the text is never hidden, and so never foretold
        for id in &original[1..original.len().max(2) - 1] {
            let count = original.iter().filter(|other| *other == id).count();
            logits[*id as usize] = (count as f32).ln();
        }
        drawn(logits.repeat(self.draws.len()), 1.0, &self.draws)
    }
}

/// Replaced-token detection with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct ReplacedTokenDetection {
    config: ReplacedTokenConfig,
    masked_lm: MaskedLm,
}

impl ReplacedTokenDetection {
    /// # Errors
    /// When a number is out of range, or the vocabulary lacks a token.
    pub fn new(config: ReplacedTokenConfig, vocabulary: &Vocabulary) -> Result<Self> {
        for (key, number) in [("objective.weight", config.weight), ("objective.temperature", config.temperature)] {
            if !(number > 0.0 && number.is_finite()) {
                return Err(Error::recipe(key, format!("is {number}, but should be above 0")));
            }
        }
        if !(config.generator > 0.0 && config.generator <= 1.0) {
            let problem = format!("is {}, but should be a share above 0 and up to 1", config.generator);
            return Err(Error::recipe("objective.generator", problem));
        }
        let (rate, masked, whole_words) = (config.rate, config.masked, config.whole_words);
        let hidden = MaskedLmConfig { rate, masked, random: 0.0, whole_words, ..MaskedLmConfig::default() };
        Ok(Self { masked_lm: MaskedLm::new(hidden, vocabulary)?, config })
    }

    /// The settings.
    pub fn config(&self) -> &ReplacedTokenConfig {
        &self.config
    }

    /// One example.
    ///
    /// # Errors
    /// As [`MaskedLm::corrupt`].
    pub fn corrupt(&self, text: &Text<'_>, random: &mut ChaCha8Rng) -> Result<Detection> {
        let masked = match self.divided(text, random) {
            Some(place) => self.masked_lm.corrupt_pair(text.ids.split_at(place), random)?,
            None => self.masked_lm.corrupt(text, random)?,
        };
        let draws = masked.chosen.iter().map(|_| random.random()).collect();
        Ok(Detection { masked, draws })
    }

    /// Tokens that frame a text.
    pub fn frame(&self) -> usize {
        if self.config.segments { 3 } else { 2 }
    }

    /// Where a text is divided in two, if it is: at one of the ends of the sentence in its middle.
    fn divided(&self, text: &Text<'_>, random: &mut ChaCha8Rng) -> Option<usize> {
        const ALONE: f64 = 0.1;
        let length = text.ids.len();
        let inner: Vec<usize> = text.borders().collect();
        if !self.config.segments || inner.is_empty() || draws::happens(ALONE, random) {
            return None;
        }
        let behind = inner.partition_point(|&at| at <= length / 2);
        let ends = &inner[behind.saturating_sub(1)..inner.len().min(behind + 1)];
        ends.choose(random).copied()
    }
}

/// For each row of `logits`, `[m, V]`, the token at its draw (0 to below 1) of the softmax by `temperature`, `[m]`.
///
/// # Panics
/// When there is not a row a draw.
pub fn drawn(mut logits: Vec<f32>, temperature: f64, draws: &[f64]) -> Vec<u32> {
    if draws.is_empty() {
        return Vec::new();
    }
    let width = logits.len() / draws.len();
    assert!(width > 0 && logits.len() == width * draws.len(), "a row a draw");
    if temperature != 1.0 {
        logits.par_iter_mut().for_each(|logit| *logit = (f64::from(*logit) / temperature) as f32);
    }
    let shares = softmax(&logits, width);
    shares.par_chunks_exact(width).zip(draws).map(|(shares, &draw)| place(shares, draw)).collect()
}

/// Where the sum of `shares` first exceeds `draw` of the whole.
fn place(shares: &[f32], draw: f64) -> u32 {
    let mut left = draw * shares.iter().map(|&share| f64::from(share)).sum::<f64>();
    let mut last = 0;
    for (id, &share) in shares.iter().enumerate() {
        if share > 0.0 {
            last = id;
            left -= f64::from(share);
            if left < 0.0 {
                break;
            }
        }
    }
    last as u32
}

#[cfg(test)]
mod tests {
    use super::super::draws::tests::{chi_square, random};
    use super::super::tests::{text, vocabulary};
    use super::*;

    fn objective(config: ReplacedTokenConfig) -> ReplacedTokenDetection {
        ReplacedTokenDetection::new(config, &vocabulary()).unwrap()
    }

    /// By hand: two of four tokens are hidden; of what is drawn for them one is the original.
    #[test]
    fn a_token_that_was_drawn_right_is_original() {
        let masked =
            Masked { ids: vec![3, 4, 12, 4, 14, 1], segments: vec![0; 6], chosen: vec![1, 3], targets: vec![11, 13] };
        let (ids, replaced) = Detection { masked, draws: vec![0.0; 2] }.replaced(&[11, 20]);
        assert_eq!(ids, [3, 11, 12, 20, 14, 1]);
        assert_eq!(replaced, [false, false, false, true, false, false]);
    }

    #[test]
    fn a_share_is_hidden_by_the_mask_alone() {
        let ids: Vec<u32> = (20..60).collect();
        let made = objective(ReplacedTokenConfig::default()).corrupt(&text(&ids), &mut random(1)).unwrap();
        assert_eq!((made.masked.chosen.len(), made.draws.len()), (6, 6));
        assert!(made.masked.chosen.iter().all(|&place| made.masked.ids[place] == 4));
        assert!(made.draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let config = ReplacedTokenConfig { masked: 0.0, ..ReplacedTokenConfig::default() };
        let made = objective(config).corrupt(&text(&ids), &mut random(1)).unwrap();
        assert_eq!(made.masked.ids[1..41], ids);
    }

    /// Over 1e5 hidden tokens: any of the text is as likely, never a special one, 85 % are masked and the others stay.
    #[test]
    fn so_many_tokens_anywhere_and_never_special_ones() {
        let ids: Vec<u32> = (20..30).chain([1]).chain(30..40).collect();
        let config = ReplacedTokenConfig { masked: 0.85, ..ReplacedTokenConfig::default() };
        let (objective, mut random) = (objective(config), random(1));
        let (mut places, mut fates, mut tenths) = ([0_u64; 23], [0_u64; 2], [0_u64; 10]);
        for _ in 0..40_000 {
            let Detection { masked, draws } = objective.corrupt(&text(&ids), &mut random).unwrap();
            assert_eq!((masked.chosen.len(), draws.len()), (3, 3));
            assert_eq!(masked.original()[1..22], ids);
            for (&place, &target) in masked.chosen.iter().zip(&masked.targets) {
                places[place] += 1;
                assert!([4, target].contains(&masked.ids[place]));
                fates[usize::from(masked.ids[place] != 4)] += 1;
            }
            draws.iter().for_each(|draw| tenths[(10.0 * draw) as usize] += 1);
        }
        assert_eq!([places[0], places[11], places[22]], [0; 3], "a special token was hidden");
        let words: Vec<u64> = places.into_iter().filter(|&count| count > 0).collect();
        // 19 degrees of freedom: 43.8 at one in a thousand; 9: 27.9; 1: 10.8
        assert!(words.len() == 20 && chi_square(&words, &[0.05; 20]) < 43.8, "{words:?}");
        assert!(chi_square(&fates, &[0.85, 0.15]) < 10.8, "{fates:?}");
        assert!(chi_square(&tenths, &[0.1; 10]) < 27.9, "{tenths:?}");
    }

    /// By hand: of 11, 12, 11 and 13 the first half is 11, the third quarter 12.
    #[test]
    fn frequent_tokens_are_drawn_more_often() {
        let masked = Masked {
            ids: vec![3, 4, 4, 11, 4, 1],
            segments: vec![0; 6],
            chosen: vec![1, 2, 4],
            targets: vec![11, 12, 13],
        };
        let made = Detection { masked, draws: vec![0.49, 0.51, 0.99] };
        assert_eq!(made.drawn_by_frequency(), [11, 12, 13]);
        let draws = vec![0.8, 0.1, 0.6];
        assert_eq!(Detection { draws, ..made }.drawn_by_frequency(), [13, 11, 12]);
    }

    #[test]
    fn tokens_are_drawn_from_the_softmax() {
        let logits = [0.0, 1.0, f32::NEG_INFINITY, -1.0, 3.0];
        for temperature in [1.0, 2.0] {
            let mut random = random(5);
            let mut counts = [0_u64; 5];
            for _ in 0..100_000 {
                counts[drawn(logits.to_vec(), temperature, &[random.random()])[0] as usize] += 1;
            }
            let shares: Vec<f64> = logits.iter().map(|x| (f64::from(*x) / temperature).exp()).collect();
            let total: f64 = shares.iter().sum();
            let shares: Vec<f64> = [0, 1, 3, 4].map(|id| shares[id] / total).to_vec();
            assert_eq!(counts[2], 0);
            let counts = [0, 1, 3, 4].map(|id| counts[id]);
            // 3 degrees of freedom: 16.3 at one in a thousand
            assert!(chi_square(&counts, &shares) < 16.3, "{counts:?}");
        }
        assert_eq!(drawn(logits.repeat(2), 1.0, &[0.0, 1.0 - 1e-17]), [0, 4]);
    }

    /// By hand: of ten tokens in sentences of two, four, one and three the middle is in the second, of which either end
    /// divides; one text in ten is not divided.
    #[test]
    fn two_segments_meet_at_either_end_of_the_sentence_in_the_middle() {
        let text = Text { ids: &[20, 21, 22, 23, 24, 25, 26, 27, 28, 29], sentences: &[0, 2, 6, 7] };
        let config = ReplacedTokenConfig { segments: true, ..ReplacedTokenConfig::default() };
        let objective = ReplacedTokenDetection::new(config, &vocabulary()).unwrap();
        let (mut random, mut counts) = (random(3), [0_u64; 3]);
        for _ in 0..100_000 {
            let masked = objective.corrupt(&text, &mut random).unwrap().masked;
            let possible: [(&[u32], usize); 3] = [
                (&[3, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 1], 12),
                (&[3, 20, 21, 1, 22, 23, 24, 25, 26, 27, 28, 29, 1], 4),
                (&[3, 20, 21, 22, 23, 24, 25, 1, 26, 27, 28, 29, 1], 8),
            ];
            let which = possible.iter().position(|one| one.0 == masked.original()).unwrap();
            assert!(masked.segments.iter().enumerate().all(|(at, &own)| own == u32::from(at >= possible[which].1)));
            counts[which] += 1;
        }
        // 2 degrees of freedom: 13.8 at one in a thousand
        assert!(chi_square(&counts, &[0.1, 0.45, 0.45]) < 13.8, "{counts:?}");
        let one = Text { ids: &[20, 21], sentences: &[0] };
        assert_eq!(objective.corrupt(&one, &mut random).unwrap().masked.segments, [0; 4]);
    }

    #[test]
    fn settings_have_limits() {
        for config in [
            ReplacedTokenConfig { weight: 0.0, ..ReplacedTokenConfig::default() },
            ReplacedTokenConfig { temperature: f64::NAN, ..ReplacedTokenConfig::default() },
            ReplacedTokenConfig { generator: 0.0, ..ReplacedTokenConfig::default() },
            ReplacedTokenConfig { rate: 1.5, ..ReplacedTokenConfig::default() },
        ] {
            assert!(ReplacedTokenDetection::new(config, &vocabulary()).is_err());
        }
    }
}
