//! How encoders' objectives hide tokens (Devlin et al. 2019, §3.1): which units of a text are chosen, and what stands in
//! their place: mostly the mask, sometimes a random token, sometimes the token itself.

use std::ops::Range;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Vocabulary, draws};
use crate::error::{Error, Result};

/// A text with hidden tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// What is read, `[n]`.
    pub ids: Vec<u32>,
    /// The segment of each token, `[n]`.
    pub segments: Vec<u32>,
    /// The places that are predicted, ascending, `[m]`.
    pub chosen: Vec<usize>,
    /// What stood there, `[m]`.
    pub targets: Vec<u32>,
}

impl Masked {
    /// The text as it was.
    pub fn original(&self) -> Vec<u32> {
        let mut ids = self.ids.clone();
        self.chosen.iter().zip(&self.targets).for_each(|(&place, &target)| ids[place] = target);
        ids
    }
}

/// What becomes of a chosen unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Every token becomes the mask.
    Mask,
    /// Every token becomes a random one.
    Random,
    /// Nothing changes, but it is predicted all the same.
    Keep,
}

/// What stands in the place of chosen tokens.
#[derive(Clone, Debug)]
pub struct Masking {
    mask: u32,
    words: Vec<u32>,
    masked: f64,
    random: f64,
}

impl Masking {
    /// `masked` and `random` are the shares of chosen units that become the mask, and random tokens; the rest is kept.
    ///
    /// # Errors
    /// When they are no shares, or the vocabulary has no mask, or no words.
    pub fn new(masked: f64, random: f64, vocabulary: &Vocabulary) -> Result<Self> {
        for (key, share) in [("objective.masked", masked), ("objective.random", random), ("", masked + random)] {
            // so much may rounding add to a sum of shares
            if !(0.0..=1.0 + 1e-9).contains(&share) {
                let (key, problem) = if key.is_empty() {
                    ("objective.random", format!("is {random}, and objective.masked {masked}: they exceed 1 together"))
                } else {
                    (key, format!("is {share}, but should be a share from 0 to 1"))
                };
                return Err(Error::recipe(key, problem));
            }
        }
        let words = vocabulary.words();
        if words.is_empty() {
            return Err(Error::Input("the tokenizer has no tokens that are not special".into()));
        }
        Ok(Self { mask: vocabulary.mask()?, words, masked, random })
    }

    /// What becomes of the next unit.
    pub fn fate(&self, random: &mut ChaCha8Rng) -> Fate {
        let draw: f64 = random.random();
        if draw < self.masked {
            Fate::Mask
        } else if draw < self.masked + self.random {
            Fate::Random
        } else {
            Fate::Keep
        }
    }

    /// What stands in a token's place; a random token is any that is not special, all equally likely.
    pub fn replace(&self, id: u32, fate: Fate, random: &mut ChaCha8Rng) -> u32 {
        match fate {
            Fate::Mask => self.mask,
            Fate::Random => self.words[random.random_range(0..self.words.len())],
            Fate::Keep => id,
        }
    }

    /// Hides the tokens of `units` in `ids`. A fate is drawn for each token, or where `together` for each unit.
    ///
    /// # Panics
    /// When a unit ends behind the text.
    pub fn hide(
        &self,
        ids: Vec<u32>,
        segments: Vec<u32>,
        units: &[Range<usize>],
        together: bool,
        random: &mut ChaCha8Rng,
    ) -> Masked {
        let mut chosen: Vec<(usize, u32)> = Vec::new();
        let mut made = Masked { ids, segments, ..Masked::default() };
        for unit in units {
            let fate = together.then(|| self.fate(random));
            for place in unit.clone() {
                let id = made.ids[place];
                chosen.push((place, id));
                let fate = fate.unwrap_or_else(|| self.fate(random));
                made.ids[place] = self.replace(id, fate, random);
            }
        }
        chosen.sort_unstable();
        (made.chosen, made.targets) = chosen.into_iter().unzip();
        made
    }
}

/// The units that can be chosen in `ids`: tokens that are not special, or whole words of them.
pub(crate) fn units(ids: &[u32], whole_words: bool, vocabulary: &Vocabulary) -> Vec<Range<usize>> {
    let mut units: Vec<Range<usize>> = Vec::new();
    for (place, &id) in ids.iter().enumerate() {
        if vocabulary.is_special(id) {
            continue;
        }
        match units.last_mut() {
            Some(word) if whole_words && word.end == place && !vocabulary.begins_word(id) => word.end += 1,
            _ => units.push(place..place + 1),
        }
    }
    units
}

/// Units in random order until they have so many tokens as the rate means, at least one and at most `most`. One that would
/// make it more is left out, as in BERT's code.
pub(crate) fn choose(
    mut units: Vec<Range<usize>>,
    rate: f64,
    most: Option<usize>,
    random: &mut ChaCha8Rng,
) -> Vec<Range<usize>> {
    let total: usize = units.iter().map(ExactSizeIterator::len).sum();
    let count = draws::count_of(total, rate).min(most.unwrap_or(usize::MAX));
    units.shuffle(random);
    let mut left = count;
    units.retain(|unit| {
        let fits = unit.len() <= left;
        left -= if fits { unit.len() } else { 0 };
        fits
    });
    units
}

#[cfg(test)]
mod tests {
    use super::super::draws::tests::{chi_square, random};
    use super::super::tests::vocabulary;
    use super::*;

    #[test]
    fn eighty_ten_ten() {
        let masking = Masking::new(0.8, 0.1, &vocabulary()).unwrap();
        let (mut random, mut counts, mut words) = (random(3), [0_u64; 3], [0_u64; 130]);
        for _ in 0..100_000 {
            let fate = masking.fate(&mut random);
            counts[fate as usize] += 1;
            match (fate, masking.replace(20, fate, &mut random)) {
                (Fate::Mask, id) => assert_eq!(id, 4),
                (Fate::Keep, id) => assert_eq!(id, 20),
                // never a special token: the words of this vocabulary are 10 to 139
                (Fate::Random, id) => words[id as usize - 10] += 1,
            }
        }
        // 2 degrees of freedom: 13.8 at one in a thousand
        assert!(chi_square(&counts, &[0.8, 0.1, 0.1]) < 13.8, "{counts:?}");
        // 129: 184.0
        assert!(chi_square(&words, &[1.0 / 130.0; 130]) < 184.0, "{words:?}");
    }

    #[test]
    fn shares_are_shares() {
        for (masked, random) in [(1.1, 0.0), (-0.1, 0.5), (0.8, 0.3), (f64::NAN, 0.1)] {
            let message = Masking::new(masked, random, &vocabulary()).unwrap_err().to_string();
            assert!(message.contains("objective."), "{message}");
        }
        assert!(Masking::new(0.9, 0.1, &vocabulary()).is_ok());
    }

    #[test]
    fn units_that_would_be_too_many_are_left_out() {
        let units = vec![0..1, 1..6, 6..7, 7..8];
        for seed in 0..50 {
            let chosen = choose(units.clone(), 0.5, None, &mut random(seed));
            let tokens: usize = chosen.iter().map(ExactSizeIterator::len).sum();
            // four of eight: the long unit never fits
            assert_eq!((tokens, chosen.contains(&(1..6))), (3, false));
            assert_eq!(choose(units.clone(), 0.9, Some(1), &mut random(seed)).len(), 1);
        }
        assert!(choose(Vec::new(), 0.5, None, &mut random(1)).is_empty());
    }
}
