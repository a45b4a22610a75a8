//! Next sentence prediction (Devlin et al. 2019, §3.1, task 2) and sentence order (Lan et al. 2020, §3.1): two segments, of
//! which a model says whether the second follows the first, beside the tokens that are hidden in both. (ALBERT hides up to
//! three words in a row; here tokens or words are hidden one by one.)

use std::ops::Range;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::masked_lm::{Format, MaskedLm, MaskedLmConfig};
use super::masking::Masked;
use super::{Text, Vocabulary, draws};
use crate::error::{Error, Result};

/// What the second segment is when it doesn't follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// Of another document: BERT's next sentence prediction.
    #[default]
    Random,
    /// The one before: ALBERT's sentence order.
    Swapped,
}

/// What a segment is (Liu et al. 2019, §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// As many sentences as fit: SEGMENT-PAIR.
    #[default]
    Segments,
    /// One sentence: SENTENCE-PAIR. Such pairs are far shorter than sequences, and batches have more of them.
    Sentences,
}

/// How pairs are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NextSentenceConfig {
    /// What is hidden.
    pub masking: MaskedLmConfig,
    /// What a segment is.
    pub unit: Unit,
    /// The share of pairs whose second segment doesn't follow; above 0, none follows in a text of one sentence.
    pub negatives: f64,
    /// The share of pairs that are made shorter, of as many sentences as have a random length.
    pub short: f64,
}

impl Default for NextSentenceConfig {
    fn default() -> Self {
        Self { masking: MaskedLmConfig::default(), unit: Unit::Segments, negatives: 0.5, short: 0.1 }
    }
}

/// Two segments with hidden tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentencePair {
    /// The tokens of both.
    pub masked: Masked,
    /// 0: the second follows the first; 1: it doesn't.
    pub label: u32,
}

/// Next sentence prediction, or sentence order, with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct NextSentence {
    config: NextSentenceConfig,
    otherwise: Otherwise,
    masked_lm: MaskedLm,
}

/// What frames a pair: `[CLS] A [SEP] B [SEP]`.
pub const FRAME: usize = 3;

impl NextSentence {
    /// # Errors
    /// When a share is out of range, or the vocabulary lacks a token.
    pub fn new(config: NextSentenceConfig, otherwise: Otherwise, vocabulary: &Vocabulary) -> Result<Self> {
        for (key, share) in [("objective.negatives", config.negatives), ("objective.short", config.short)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::recipe(key, format!("is {share}, but should be a share from 0 to 1")));
            }
        }
        if config.masking.format != Format::default() {
            let problem = "is for sequences without pairs, of masked_lm: what a segment is says objective.unit";
            return Err(Error::recipe("objective.masking.format", problem));
        }
        let masked_lm = MaskedLm::new(config.masking.clone(), vocabulary).map_err(of_masking)?;
        Ok(Self { config, otherwise, masked_lm })
    }

    /// The settings.
    pub fn config(&self) -> &NextSentenceConfig {
        &self.config
    }

    /// Whether pairs need a text of another document.
    pub fn needs_other(&self) -> bool {
        self.otherwise == Otherwise::Random
    }

    /// One pair of at most `length` tokens with what frames it. Segments are whole sentences, so that no order shows in where
    /// they were cut; a text of one sentence is divided at a random token where there is nothing else to make a pair of.
    /// `other` is a text of another document, without which every second segment follows. (BERT's code fills a pair with
    /// sentences until it has too much and cuts what is, and puts back those that a random second segment displaced; here a
    /// text fits already, and another pass over the corpus divides it elsewhere.)
    ///
    /// # Errors
    /// When the text has fewer than two tokens, `length` has no room for two, or all tokens are special.
    pub fn corrupt(
        &self,
        text: &Text<'_>,
        other: Option<&Text<'_>>,
        length: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<SentencePair> {
        let room = length.saturating_sub(FRAME);
        if text.ids.len() < 2 || room < 2 {
            let problem = "a pair of sentences needs two tokens and a length of at least five";
            return Err(Error::Input(format!("{problem}: the text has {}, the length is {length}", text.ids.len())));
        }
        let sentences;
        let text = if draws::happens(self.config.short, random) {
            let part = shorter(text, random.random_range(2..=room), random);
            sentences = starts(text).filter(|at| part.contains(at)).map(|at| at - part.start).collect::<Vec<_>>();
            Text { ids: &text.ids[part], sentences: &sentences }
        } else {
            Text { ids: text.ids, sentences: text.sentences }
        };
        let (first, second) = self.divide(&text, random);
        let alone = text.borders().next().is_none();
        let is_random = self.otherwise == Otherwise::Random && other.is_some_and(|other| !other.ids.is_empty());
        // one sentence has no second that follows it, as in BERT's code
        let negative = match self.otherwise {
            Otherwise::Random => {
                let may = is_random && self.config.negatives > 0.0;
                may && (alone || draws::happens(self.config.negatives, random))
            }
            Otherwise::Swapped => draws::happens(self.config.negatives, random),
        };
        let (mut first, mut second) = match (negative, other) {
            (true, Some(other)) if is_random => {
                let (first, wanted) =
                    if alone { (text.ids, text.ids.len().min(room / 2)) } else { (first, second.len()) };
                (first, self.elsewhere(other, wanted, room.saturating_sub(first.len()), random))
            }
            (true, _) => (second, first),
            (false, _) => (first, second),
        };
        // as BERT's code: one token at a time from the longer one, at either end
        while first.len() + second.len() > room {
            let longer = if first.len() > second.len() { &mut first } else { &mut second };
            *longer = if draws::happens(0.5, random) { &longer[1..] } else { &longer[..longer.len() - 1] };
        }
        let masked = self.masked_lm.corrupt_pair((first, second), random)?;
        Ok(SentencePair { masked, label: u32::from(negative) })
    }

    /// Two neighbours: what is before a random boundary of sentences and what follows, or a sentence and the next one.
    fn divide<'a>(&self, text: &Text<'a>, random: &mut ChaCha8Rng) -> (&'a [u32], &'a [u32]) {
        let starts: Vec<usize> = text.borders().collect();
        if starts.is_empty() {
            return text.ids.split_at(random.random_range(1..text.ids.len()));
        }
        let number = random.random_range(0..starts.len());
        let at = starts[number];
        match self.config.unit {
            Unit::Segments => text.ids.split_at(at),
            Unit::Sentences => {
                let before = if number == 0 { 0 } else { starts[number - 1] };
                let end = starts.get(number + 1).copied().unwrap_or(text.ids.len());
                (&text.ids[before..at], &text.ids[at..end])
            }
        }
    }

    /// Whole sentences from a random one on that have about so many tokens as are `wanted`, and no more than `room` if that
    /// can be; or one sentence.
    fn elsewhere<'a>(&self, other: &Text<'a>, wanted: usize, room: usize, random: &mut ChaCha8Rng) -> &'a [u32] {
        let mut bounds: Vec<usize> = starts(other).collect();
        let sentences = bounds.len();
        bounds.push(other.ids.len());
        match self.config.unit {
            Unit::Sentences => {
                let number = random.random_range(0..sentences);
                &other.ids[bounds[number]..bounds[number + 1]]
            }
            Unit::Segments => {
                // where enough follows, as behind the first segment
                let enough = bounds[..sentences].partition_point(|&start| other.ids.len() - start >= wanted).max(1);
                let fit = |number: &usize| bounds[number + 1] - bounds[*number] <= room;
                let fitting: Vec<usize> = (0..enough).filter(fit).collect();
                let first = fitting.choose(random).copied().unwrap_or_else(|| random.random_range(0..enough));
                let start = bounds[first];
                let size = |number: &usize| bounds[*number] - start;
                let mut last = (first + 1..=sentences).find(|number| size(number) >= wanted).unwrap_or(sentences);
                while last > first + 1
                    && (size(&last) > room || wanted.abs_diff(size(&last)) > wanted.abs_diff(size(&(last - 1))))
                {
                    last -= 1;
                }
                &other.ids[start..bounds[last]]
            }
        }
    }
}

/// An error in the settings of masks, which are those of `objective.masking` here.
fn of_masking(error: Error) -> Error {
    match error {
        Error::Recipe { place, problem } => {
            Error::Recipe { place: place.replace("objective.", "objective.masking."), problem }
        }
        other => other,
    }
}

/// Where sentences begin in a text that isn't empty: the first at 0.
fn starts(text: &Text<'_>) -> impl Iterator<Item = usize> {
    [0].into_iter().chain(text.borders())
}

/// The place of whole sentences, two at least, that have so many tokens as are `wanted`, in a text that has more; of one of
/// one sentence its first tokens.
fn shorter(text: &Text<'_>, wanted: usize, random: &mut ChaCha8Rng) -> Range<usize> {
    let length = text.ids.len();
    let bounds: Vec<usize> = starts(text).chain([length]).collect();
    let sentences = bounds.len() - 1;
    if sentences == 1 {
        return 0..length.min(wanted);
    }
    let enough = bounds[..sentences - 1].partition_point(|&start| length - start >= wanted).max(1);
    let first = random.random_range(0..enough);
    let last = (first + 2..=sentences).find(|&number| bounds[number] - bounds[first] >= wanted);
    bounds[first]..bounds[last.unwrap_or(sentences)]
}

#[cfg(test)]
mod tests {
    use super::super::draws::tests::{chi_square, random};
    use super::super::tests::vocabulary;
    use super::*;

    fn objective(otherwise: Otherwise, config: NextSentenceConfig) -> NextSentence {
        NextSentence::new(config, otherwise, &vocabulary()).unwrap()
    }

    fn whole() -> NextSentenceConfig {
        NextSentenceConfig { short: 0.0, ..NextSentenceConfig::default() }
    }

    const DRAWS: u64 = 100_000;
    const DOCUMENT: Text<'_> = Text { ids: &[20, 21, 22, 23, 24, 25, 26, 27, 28], sentences: &[0, 3, 5] };
    const OTHER: Text<'_> = Text { ids: &[60, 61, 62, 63, 64, 65, 66, 67, 68, 69], sentences: &[0, 4, 6, 9] };

    /// By hand: three sentences can be divided in two ways. In place of the last two, of six tokens, the other document has
    /// six from its first sentence on and from its second; in place of the last, of four, it has four from the first, five
    /// from the second, which are nearer than two, and four from the third.
    #[test]
    fn segments_are_of_whole_sentences() {
        let objective = objective(Otherwise::Random, whole());
        let (mut counts, mut random) = ([0_u64; 7], random(1));
        for _ in 0..DRAWS {
            let made = objective.corrupt(&DOCUMENT, Some(&OTHER), 32, &mut random).unwrap();
            let ids = made.masked.original();
            let possible: [(u32, &[u32]); 7] = [
                (0, &[3, 20, 21, 22, 1, 23, 24, 25, 26, 27, 28, 1]),
                (0, &[3, 20, 21, 22, 23, 24, 1, 25, 26, 27, 28, 1]),
                (1, &[3, 20, 21, 22, 1, 60, 61, 62, 63, 64, 65, 1]),
                (1, &[3, 20, 21, 22, 1, 64, 65, 66, 67, 68, 69, 1]),
                (1, &[3, 20, 21, 22, 23, 24, 1, 60, 61, 62, 63, 1]),
                (1, &[3, 20, 21, 22, 23, 24, 1, 64, 65, 66, 67, 68, 1]),
                (1, &[3, 20, 21, 22, 23, 24, 1, 66, 67, 68, 69, 1]),
            ];
            let which = possible.iter().position(|one| *one == (made.label, &ids[..]));
            counts[which.unwrap_or_else(|| panic!("{made:?}"))] += 1;
            let end = ids.iter().position(|&id| id == 1).unwrap();
            assert!(made.masked.segments.iter().enumerate().all(|(at, &segment)| segment == u32::from(at > end)));
        }
        let chances = [0.25, 0.25, 0.125, 0.125, 0.25 / 3.0, 0.25 / 3.0, 0.25 / 3.0];
        // 6 degrees of freedom: 22.5 at one in a thousand
        assert!(chi_square(&counts, &chances) < 22.5, "{counts:?}");
    }

    #[test]
    fn order_is_swapped_half_the_time() {
        let config = NextSentenceConfig { unit: Unit::Sentences, ..whole() };
        let objective = objective(Otherwise::Swapped, config);
        let (mut counts, mut random) = ([0_u64; 4], random(1));
        for _ in 0..DRAWS {
            let made = objective.corrupt(&DOCUMENT, None, 32, &mut random).unwrap();
            let possible: [(u32, &[u32]); 4] = [
                (0, &[3, 20, 21, 22, 1, 23, 24, 1]),
                (1, &[3, 23, 24, 1, 20, 21, 22, 1]),
                (0, &[3, 23, 24, 1, 25, 26, 27, 28, 1]),
                (1, &[3, 25, 26, 27, 28, 1, 23, 24, 1]),
            ];
            let ids = made.masked.original();
            counts[possible.iter().position(|one| *one == (made.label, &ids[..])).unwrap()] += 1;
        }
        assert!(chi_square(&counts, &[0.25; 4]) < 16.3, "{counts:?}");
    }

    #[test]
    fn a_tenth_is_shorter_and_each_length_as_likely() {
        // each token is a sentence, so that every length can be
        let (ids, sentences): (Vec<u32>, Vec<usize>) = ((10..47).collect(), (0..37).collect());
        let text = Text { ids: &ids, sentences: &sentences };
        let (far, more): (Vec<u32>, Vec<usize>) = ((50..130).collect(), (0..80).collect());
        let other = Text { ids: &far, sentences: &more };
        let objective = objective(Otherwise::Random, NextSentenceConfig::default());
        let (mut lengths, mut random) = ([[0_u64; 36]; 2], random(1));
        for _ in 0..DRAWS {
            let made = objective.corrupt(&text, Some(&other), 40, &mut random).unwrap();
            let length = made.masked.ids.len();
            assert!((5..=40).contains(&length));
            let inner = made.masked.original()[1..].iter().filter(|&&id| id == 1).count();
            assert_eq!(inner, 2, "two separators");
            lengths[made.label as usize][length - 5] += 1;
        }
        // a tenth is of any length that there is, the longest too; those that follow and those that don't alike
        let mut expected = [0.05 / 36.0; 72];
        (expected[35], expected[71]) = (0.45 + 0.05 / 36.0, 0.45 + 0.05 / 36.0);
        // 71 degrees of freedom: 112 at one in a thousand
        assert!(chi_square(lengths.as_flattened(), &expected) < 112.0, "{lengths:?}");
    }

    /// What is learnt from lengths and ends alone is nothing: whether the second segment follows, or comes first, shows
    /// neither in how long it is nor in what its sentences begin and end with.
    #[test]
    fn classes_differ_in_nothing_but_what_is_said() {
        // sentences of three to eleven tokens; each begins with 5 and ends with 6
        let mut random = random(7);
        let mut document = |length: usize| {
            let (mut ids, mut sentences) = (Vec::new(), Vec::new());
            while ids.len() < length {
                sentences.push(ids.len());
                let inner = random.random_range(1..10);
                ids.extend([5].into_iter().chain((0..inner).map(|_| 20)).chain([6]));
            }
            (ids, sentences)
        };
        let documents: Vec<_> = (0..40).map(|_| document(300)).collect();
        for (otherwise, unit, short) in [
            (Otherwise::Random, Unit::Segments, 0.0),
            (Otherwise::Random, Unit::Segments, 1.0),
            (Otherwise::Random, Unit::Sentences, 0.1),
            (Otherwise::Swapped, Unit::Segments, 0.0),
            (Otherwise::Swapped, Unit::Segments, 1.0),
            (Otherwise::Swapped, Unit::Sentences, 0.1),
        ] {
            let objective = objective(otherwise, NextSentenceConfig { unit, short, ..whole() });
            let (mut random, mut sizes) = (super::super::draws::tests::random(11), [[0.0; 2]; 2]);
            for draw in 0..20_000 {
                let ((ids, sentences), (far, more)) = (&documents[draw % 40], &documents[(draw + 1 + draw / 40) % 40]);
                // as they are cut: whole sentences, as many as fit
                let end = *sentences.iter().rfind(|&&start| start <= 61).unwrap();
                let inner: Vec<usize> = sentences.iter().copied().filter(|&start| start < end).collect();
                let text = Text { ids: &ids[..end], sentences: &inner };
                let other = Text { ids: far, sentences: more };
                let made = objective.corrupt(&text, Some(&other), 64, &mut random).unwrap();
                let all = made.masked.original();
                let middle = all.iter().position(|&id| id == 1).unwrap();
                let parts = [&all[1..middle], &all[middle + 1..all.len() - 1]];
                assert!(parts.iter().all(|part| part.first() == Some(&5) && part.last() == Some(&6)), "{all:?}");
                let sums = &mut sizes[made.label as usize];
                sums[0] += 1.0;
                sums[1] += parts[1].len() as f64;
            }
            let [follows, other] = sizes.map(|[count, sum]| sum / count);
            assert!((follows / other - 1.0).abs() < 0.08, "{otherwise:?} {unit:?} {short}: {follows} and {other}");
        }
    }

    /// By hand: three tokens and four in room for five. The longer one loses one at either end, and then, of equals, the second
    /// another.
    #[test]
    fn what_is_too_long_loses_either_end() {
        let text = Text { ids: &[20, 21, 22, 30, 31, 32, 33], sentences: &[0, 3] };
        let config = NextSentenceConfig { negatives: 0.0, ..whole() };
        let (objective, mut random, mut counts) = (objective(Otherwise::Random, config), random(1), [0_u64; 3]);
        let seconds: [&[u32]; 3] = [&[30, 31], &[31, 32], &[32, 33]];
        for _ in 0..DRAWS {
            let made = objective.corrupt(&text, None, 5 + FRAME, &mut random).unwrap().masked.original();
            assert_eq!(made[..5], [3, 20, 21, 22, 1]);
            counts[seconds.iter().position(|second| *second == &made[5..7]).unwrap()] += 1;
        }
        // 2 degrees of freedom: 13.8 at one in a thousand
        assert!(chi_square(&counts, &[0.25, 0.5, 0.25]) < 13.8, "{counts:?}");
    }

    #[test]
    fn formats_are_for_sequences_without_pairs() {
        let masking = MaskedLmConfig { format: Format::FullSentences, ..MaskedLmConfig::default() };
        let config = NextSentenceConfig { masking, ..whole() };
        let error = NextSentence::new(config, Otherwise::Random, &vocabulary()).unwrap_err().to_string();
        assert!(error.contains("objective.masking.format") && error.contains("objective.unit"), "{error}");
    }

    #[test]
    fn one_sentence_is_divided_or_gets_another() {
        let text = Text { ids: &[20, 21, 22], sentences: &[0] };
        let next = objective(Otherwise::Random, whole());
        for seed in 0..50 {
            let made = next.corrupt(&text, Some(&OTHER), 32, &mut random(seed)).unwrap();
            assert!(made.label == 1 && made.masked.original().starts_with(&[3, 20, 21, 22, 1]));
            let made = next.corrupt(&text, None, 32, &mut random(seed)).unwrap();
            assert!(made.label == 0 && made.masked.ids.len() == 6);
        }
        let config = NextSentenceConfig { negatives: 0.0, ..whole() };
        let never = objective(Otherwise::Random, config).corrupt(&text, Some(&OTHER), 32, &mut random(1)).unwrap();
        assert_eq!((never.label, never.masked.ids.len()), (0, 6), "none is asked for");
        let one = Text { ids: &[20], sentences: &[0] };
        assert!(next.corrupt(&one, None, 32, &mut random(1)).is_err());
        assert!(next.corrupt(&text, None, 4, &mut random(1)).is_err());
    }
}
