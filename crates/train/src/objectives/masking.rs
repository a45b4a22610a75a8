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
        let mut fate = Fate::Keep;
        hidden(ids, segments, units, |place, id, unit| {
            if !together || place == unit.start {
                fate = self.fate(random);
            }
            self.replace(id, fate, random)
        })
    }
}

/// The text with what `stands_for` each token of `units`, of which it hears the place, the id and the unit.
pub(super) fn hidden(
    ids: Vec<u32>,
    segments: Vec<u32>,
    units: &[Range<usize>],
    mut stands_for: impl FnMut(usize, u32, &Range<usize>) -> u32,
) -> Masked {
    let mut chosen: Vec<(usize, u32)> = Vec::new();
    let mut made = Masked { ids, segments, ..Masked::default() };
    for unit in units {
        for place in unit.clone() {
            let id = made.ids[place];
            chosen.push((place, id));
            made.ids[place] = stands_for(place, id, unit);
        }
    }
    chosen.sort_unstable();
    (made.chosen, made.targets) = chosen.into_iter().unzip();
    made
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

/// Units in random order until they have so many tokens as the rate means of those that are not special, at least one and at
/// most `most`. One that would make it more is left out, as in BERT's code; which counts what frames the text too, and hides
/// unknown tokens, which are special here.
pub(crate) fn choose(
    mut units: Vec<Range<usize>>,
    rate: f64,
    most: Option<usize>,
    random: &mut ChaCha8Rng,
) -> Vec<Range<usize>> {
    let total: usize = units.iter().map(ExactSizeIterator::len).sum();
    let count = draws::count_of(total, rate).min(most.unwrap_or(usize::MAX));
    units.shuffle(random);
    fitting(units, count)
}

/// What is hidden where all of `units` are longer than what the rate means: the shortest, or what `choose` takes of the
/// single tokens where that has more than twice as many, as in a text without spaces between its words, or more than `most`.
pub(crate) fn instead(
    units: Vec<Range<usize>>,
    ids: &[u32],
    (rate, most): (f64, Option<usize>),
    vocabulary: &Vocabulary,
    choose: impl FnOnce(Vec<Range<usize>>) -> Vec<Range<usize>>,
) -> Vec<Range<usize>> {
    let tokens = self::units(ids, false, vocabulary);
    let most = (2 * draws::count_of(tokens.len(), rate)).min(most.unwrap_or(usize::MAX));
    match units.into_iter().min_by_key(ExactSizeIterator::len) {
        Some(shortest) if shortest.len() <= most => vec![shortest],
        _ => choose(tokens),
    }
}

/// Those of the units, in their order, that have up to `count` tokens together.
fn fitting(mut units: Vec<Range<usize>>, count: usize) -> Vec<Range<usize>> {
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
    use serde_json::Value;

    use super::super::Text;
    use super::super::next_sentence::{NextSentence, NextSentenceConfig, Otherwise};
    use super::super::tests::{numbers, vocabulary};
    use super::super::vocabulary::tests::of_pieces;
    use super::*;

    /// What `parity/objectives/masking.py` wrote, and its vocabulary.
    fn golden() -> (Value, Vocabulary) {
        let golden: Value = serde_json::from_str(include_str!("../../../../parity/objectives/masking.json")).unwrap();
        let piece = |i: usize| if i.is_multiple_of(3) { format!("##piece{i}\n") } else { format!("word{i}\n") };
        let vocabulary = of_pieces(&(0..60).map(piece).collect::<String>());
        assert_eq!(golden["mask"].as_u64(), vocabulary.mask().ok().map(u64::from));
        (golden, vocabulary)
    }

    /// Hides `units` of `made` as the draws of a case say, and compares what is read and foretold.
    fn agrees(read: Vec<u32>, units: &[Range<usize>], case: &Value, vocabulary: &Vocabulary) {
        let masking = Masking::new(0.8, 0.1, vocabulary).unwrap();
        let [replaced, random, words] = ["replaced", "random", "words"].map(|key| numbers::<usize>(&case[key]));
        let segments = vec![0; read.len()];
        let made = hidden(read, segments, units, |place, id, _| match (replaced[place], random[place]) {
            (1, _) => masking.replace(id, Fate::Mask, &mut super::draws::tests::random(0)),
            (_, 1) => words[place] as u32,
            _ => masking.replace(id, Fate::Keep, &mut super::draws::tests::random(0)),
        });
        assert_eq!(made.ids, numbers::<u32>(&case["input_ids"]));
        let mut labels = vec![-100; made.ids.len()];
        made.chosen.iter().zip(&made.targets).for_each(|(&place, &id)| labels[place] = i64::from(id));
        assert_eq!(Value::from(labels), case["labels"]);
    }

    /// The tokens that were drawn, of `units`.
    fn drawn(units: Vec<Range<usize>>, case: &Value) -> Vec<Range<usize>> {
        let chosen = numbers::<usize>(&case["chosen"]);
        assert_eq!(units.iter().map(|unit| unit.start).collect::<Vec<_>>(), {
            let free = numbers::<usize>(&case["free"]);
            (0..free.len()).filter(|&place| free[place] == 1).collect::<Vec<_>>()
        });
        units.into_iter().filter(|unit| chosen[unit.start] == 1).collect()
    }

    /// transformers' collator for masked language modelling, given the same draws.
    #[test]
    fn the_same_draws_hide_the_same_tokens() {
        let (golden, vocabulary) = golden();
        for case in golden["tokens"].as_array().unwrap() {
            let read = numbers::<u32>(&case["ids"]);
            let units = drawn(units(&read, false, &vocabulary), case);
            agrees(read, &units, case, &vocabulary);
        }
    }

    /// transformers' collator for whole words, given the same order of words: which pieces are of one word, and which words
    /// are hidden. Its share is of all tokens, special ones too.
    #[test]
    fn the_same_order_hides_the_same_words() {
        let (golden, vocabulary) = golden();
        for case in golden["words"].as_array().unwrap() {
            let read = numbers::<u32>(&case["ids"]);
            let order: Vec<Vec<usize>> = case["order"].as_array().unwrap().iter().map(numbers).collect();
            let order: Vec<Range<usize>> = order.iter().map(|word| word[0]..word[0] + word.len()).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable_by_key(|word| word.start);
            assert_eq!(sorted, units(&read, true, &vocabulary));
            let count = super::draws::count_of(read.len(), case["rate"].as_f64().unwrap());
            agrees(read, &fitting(order, count), case, &vocabulary);
        }
    }

    /// transformers' collator for the order of sentences: frame, segments, label, and tokens by the same draws.
    #[test]
    fn the_same_draws_make_the_same_pairs() {
        let (golden, vocabulary) = golden();
        for case in golden["order"].as_array().unwrap() {
            let read = numbers::<u32>(&case["ids"]);
            let at = read.iter().position(|&id| id == 3).unwrap();
            let (a, b) = (&read[1..at], &read[at + 1..read.len() - 1]);
            let label = case["label"].as_u64().unwrap() as u32;
            // the text as the document has it
            let (first, second) = if label == 1 { (b, a) } else { (a, b) };
            let config =
                NextSentenceConfig { negatives: f64::from(label), short: 0.0, ..NextSentenceConfig::default() };
            let objective = NextSentence::new(config, Otherwise::Swapped, &vocabulary).unwrap();
            let whole = [first, second].concat();
            let text = Text { ids: &whole, sentences: &[0, first.len()] };
            let pair = objective.corrupt(&text, None, read.len(), &mut random(1)).unwrap();
            assert_eq!((pair.label, pair.masked.original()), (label, read.clone()));
            assert_eq!(pair.masked.segments, numbers::<u32>(&case["segments"]));
            let units = drawn(units(&read, false, &vocabulary), case);
            agrees(read, &units, case, &vocabulary);
        }
    }

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
