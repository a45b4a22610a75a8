//! Sentence reordering (Sun et al. 2020, ERNIE 2.0, §4.2.2): a text is divided into 1 to m segments, which are permuted, and a
//! model says which permutation it was: one of k classes, k = 1! + 2! + … + m!. The paper names no m; here it is 3 unless said
//! otherwise.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::classified::Classified;
use super::{Text, Vocabulary, draws};
use crate::error::{Error, Result};

/// How texts are divided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SentenceReorderingConfig {
    /// The most segments, m.
    pub segments: usize,
}

impl Default for SentenceReorderingConfig {
    fn default() -> Self {
        Self { segments: 3 }
    }
}

/// Sentence reordering with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct SentenceReordering {
    config: SentenceReorderingConfig,
    cls: u32,
    sep: u32,
}

fn factorial(n: usize) -> usize {
    (1..=n).product()
}

impl SentenceReordering {
    /// # Errors
    /// When the number of segments is out of range, or the vocabulary lacks a token.
    pub fn new(config: SentenceReorderingConfig, vocabulary: &Vocabulary) -> Result<Self> {
        if !(2..=6).contains(&config.segments) {
            let problem = format!("is {}, but should be from 2 to 6: six have 873 classes", config.segments);
            return Err(Error::recipe("objective.segments", problem));
        }
        Ok(Self { config, cls: vocabulary.cls()?, sep: vocabulary.sep()? })
    }

    /// The settings.
    pub fn config(&self) -> &SentenceReorderingConfig {
        &self.config
    }

    /// The number of classes, k.
    pub fn classes(&self) -> usize {
        (1..=self.config.segments).map(factorial).sum()
    }

    /// The most tokens that frame a text: `[CLS] A [SEP] B [SEP] C [SEP]`.
    pub fn frame(&self) -> usize {
        self.config.segments + 1
    }

    /// The class of segments of which `order` says where each stood: first by their number, then in the order of the
    /// dictionary.
    pub fn class(order: &[usize]) -> u32 {
        let fewer: usize = (1..order.len()).map(factorial).sum();
        let rank = order.iter().enumerate().map(|(place, own)| {
            let smaller = order[place + 1..].iter().filter(|later| *later < own).count();
            smaller * factorial(order.len() - 1 - place)
        });
        (fewer + rank.sum::<usize>()) as u32
    }

    /// Where each segment of a class stood: what [`Self::class`] numbers.
    pub fn order(class: u32) -> Vec<usize> {
        let (mut rank, mut count) = (class as usize, 1);
        while rank >= factorial(count) {
            rank -= factorial(count);
            count += 1;
        }
        let mut left: Vec<usize> = (0..count).collect();
        let next = |later: usize| {
            let place = rank / factorial(later);
            rank %= factorial(later);
            left.remove(place)
        };
        (0..count).rev().map(next).collect()
    }

    /// One example. The number of segments is uniform from 1 to m, or to the number of sentences if that is less; segments
    /// are of whole sentences.
    ///
    /// # Errors
    /// When the text has fewer than two sentences.
    pub fn corrupt(&self, text: &Text<'_>, random: &mut ChaCha8Rng) -> Result<Classified> {
        let starts: Vec<usize> = text.borders().collect();
        if starts.is_empty() {
            return Err(Error::Input(
                "sentences can be reordered where there are two at least: give a longer text".into(),
            ));
        }
        let count = random.random_range(1..=self.config.segments.min(starts.len() + 1));
        let divided = draws::choose(starts.len(), count - 1, random);
        let mut bounds = vec![0];
        bounds.extend(draws::places(&divided).into_iter().map(|number| starts[number]));
        bounds.push(text.ids.len());
        let segments: Vec<&[u32]> = bounds.windows(2).map(|pair| &text.ids[pair[0]..pair[1]]).collect();
        let order = draws::permutation(count, random);
        let parts: Vec<&[u32]> = order.iter().map(|&number| segments[number]).collect();
        Ok(Classified::of_parts(self.cls, self.sep, &parts, Self::class(&order)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::draws::tests::{chi_square, random};
    use super::super::tests::vocabulary;
    use super::*;

    fn objective(segments: usize) -> SentenceReordering {
        SentenceReordering::new(SentenceReorderingConfig { segments }, &vocabulary()).unwrap()
    }

    #[test]
    fn every_permutation_has_a_class() {
        let orders: [&[usize]; 9] =
            [&[0], &[0, 1], &[1, 0], &[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]];
        for (class, order) in (0..).zip(orders) {
            assert_eq!(SentenceReordering::class(order), class, "{order:?}");
            assert_eq!(SentenceReordering::order(class), order, "{class}");
        }
        assert_eq!([2, 3, 4].map(|most| objective(most).classes()), [3, 9, 33]);
        assert_eq!(SentenceReordering::class(&[3, 2, 1, 0]), 32);
        for segments in [0, 1, 7] {
            assert!(SentenceReordering::new(SentenceReorderingConfig { segments }, &vocabulary()).is_err());
        }
    }

    /// By hand: two sentences are one segment, or two in either order.
    #[test]
    fn a_worked_example() {
        let text = Text { ids: &[20, 21, 22, 23], sentences: &[0, 3] };
        let possible: [(u32, &[u32], &[u32]); 3] = [
            (0, &[3, 20, 21, 22, 23, 1], &[0; 6]),
            (1, &[3, 20, 21, 22, 1, 23, 1], &[0, 0, 0, 0, 0, 1, 1]),
            (2, &[3, 23, 1, 20, 21, 22, 1], &[0, 0, 0, 1, 1, 1, 1]),
        ];
        let mut counts = [0_u64; 3];
        let (objective, mut random) = (objective(3), random(1));
        for _ in 0..100_000 {
            let made = objective.corrupt(&text, &mut random).unwrap();
            assert_eq!((&made.places[..], made.labels.len()), (&[0][..], 1));
            let found = possible.iter().position(|one| *one == (made.labels[0], &made.ids[..], &made.segments[..]));
            counts[found.unwrap_or_else(|| panic!("{made:?}"))] += 1;
        }
        assert!(chi_square(&counts, &[0.5, 0.25, 0.25]) < 13.8, "{counts:?}");
    }

    /// Over 1e5 draws: each number of segments as often, each permutation of so many too, and nothing is lost.
    #[test]
    fn classes_are_as_likely_as_defined() {
        let ids: Vec<u32> = (20..40).collect();
        let text = Text { ids: &ids, sentences: &[0, 4, 5, 11, 16] };
        let (objective, mut random, mut counts, mut places) = (objective(3), random(1), [0_u64; 9], [0_u64; 20]);
        for _ in 0..100_000 {
            let made = objective.corrupt(&text, &mut random).unwrap();
            counts[made.labels[0] as usize] += 1;
            let segments: Vec<&[u32]> = made.ids[1..made.ids.len() - 1].split(|&id| id == 1).collect();
            if segments.len() == 2 {
                places[segments.iter().map(|segment| segment[0]).max().unwrap() as usize - 20] += 1;
            }
            let mut words: Vec<u32> = segments.concat();
            words.sort_unstable();
            assert_eq!(words, ids);
        }
        let third = 1.0 / 3.0;
        let shares: Vec<f64> = [(1, third), (2, third / 2.0), (6, third / 6.0)]
            .into_iter()
            .flat_map(|(count, share)| std::iter::repeat_n(share, count))
            .collect();
        // 8 degrees of freedom: 26.1 at one in a thousand
        assert!(chi_square(&counts, &shares) < 26.1, "{counts:?}");
        let starts = [4, 5, 11, 16].map(|start| places[start]);
        assert_eq!(starts.iter().sum::<u64>(), places.iter().sum::<u64>(), "a segment begins within a sentence");
        assert!(chi_square(&starts, &[0.25; 4]) < 16.3, "{starts:?}");
    }

    #[test]
    fn one_sentence_has_no_order() {
        let text = Text { ids: &[20, 21], sentences: &[0] };
        assert!(objective(3).corrupt(&text, &mut random(1)).unwrap_err().to_string().contains("two"));
    }
}
