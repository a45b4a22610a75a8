//! Sentence distance (Sun et al. 2020, ERNIE 2.0, §4.2.2): two sentences that are neighbours in a document, or of the same
//! document but no neighbours, or of two documents; a model says which.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::classified::Classified;
use super::{Text, Vocabulary, draws};
use crate::error::{Error, Result};

/// It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentenceDistanceConfig {}

/// What the classes are called.
pub const CLASSES: [&str; 3] = ["adjacent", "same document", "other document"];

/// What frames a pair: `[CLS] A [SEP] B [SEP]`.
pub const FRAME: usize = 3;

/// Sentence distance with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct SentenceDistance {
    cls: u32,
    sep: u32,
}

impl SentenceDistance {
    /// # Errors
    /// When the vocabulary lacks a token.
    pub fn new(_: &SentenceDistanceConfig, vocabulary: &Vocabulary) -> Result<Self> {
        Ok(Self { cls: vocabulary.cls()?, sep: vocabulary.sep()? })
    }

    /// One pair of at most `length` tokens with what frames it. Every class that can be made is as likely: the first needs
    /// two sentences, the second three, the third a text of another document. Sentences that are too long lose tokens at
    /// either end, one at a time the longer one.
    ///
    /// # Errors
    /// When no class can be made, or `length` has no room for two tokens.
    pub fn corrupt(
        &self,
        text: &Text<'_>,
        other: Option<&Text<'_>>,
        length: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<Classified> {
        let room = length.saturating_sub(FRAME);
        let own = sentences(text);
        let others = other.map(sentences).unwrap_or_default();
        let possible = [own.len() > 1, own.len() > 2, !own.is_empty() && !others.is_empty()];
        let Some(&label) = draws::places(&possible).choose(random).filter(|_| room > 1) else {
            let problem = "needs a text of two sentences, or another document, and a length of at least five";
            return Err(Error::Input(format!("sentence distance {problem}: give a longer text")));
        };
        let (mut first, mut second) = match label {
            0 => {
                let at = random.random_range(1..own.len());
                (own[at - 1], own[at])
            }
            1 => loop {
                // in either order
                let (a, b) = (random.random_range(0..own.len()), random.random_range(0..own.len()));
                if a.abs_diff(b) > 1 {
                    break (own[a], own[b]);
                }
            },
            _ => (own[random.random_range(0..own.len())], others[random.random_range(0..others.len())]),
        };
        while first.len() + second.len() > room {
            let longer = if first.len() > second.len() { &mut first } else { &mut second };
            *longer = if draws::happens(0.5, random) { &longer[1..] } else { &longer[..longer.len() - 1] };
        }
        let made = Classified::of_parts(self.cls, self.sep, &[first, second], label as u32);
        Ok(Classified { classes: &CLASSES, ..made })
    }
}

/// The sentences of a text.
fn sentences<'a>(text: &Text<'a>) -> Vec<&'a [u32]> {
    let starts: Vec<usize> = text.sentences.iter().copied().filter(|&at| at < text.ids.len()).collect();
    let ends = starts.iter().skip(1).copied().chain([text.ids.len()]);
    starts.iter().zip(ends).map(|(&from, to)| &text.ids[from..to]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::draws::tests::{chi_square, random};
    use super::super::tests::vocabulary;
    use super::*;

    fn objective() -> SentenceDistance {
        SentenceDistance::new(&SentenceDistanceConfig {}, &vocabulary()).unwrap()
    }

    const DOCUMENT: Text<'_> = Text { ids: &[20, 21, 22, 23, 24], sentences: &[0, 2, 3] };
    const OTHER: Text<'_> = Text { ids: &[60, 61, 62], sentences: &[0, 2] };

    /// By hand, over 1e5 draws: all pairs of three sentences and of two of another document, each class as often.
    #[test]
    fn pairs_are_neighbours_or_apart_or_of_two_documents() {
        let possible: [(u32, &[u32]); 10] = [
            (0, &[3, 20, 21, 1, 22, 1]),
            (0, &[3, 22, 1, 23, 24, 1]),
            (1, &[3, 20, 21, 1, 23, 24, 1]),
            (1, &[3, 23, 24, 1, 20, 21, 1]),
            (2, &[3, 20, 21, 1, 60, 61, 1]),
            (2, &[3, 20, 21, 1, 62, 1]),
            (2, &[3, 22, 1, 60, 61, 1]),
            (2, &[3, 22, 1, 62, 1]),
            (2, &[3, 23, 24, 1, 60, 61, 1]),
            (2, &[3, 23, 24, 1, 62, 1]),
        ];
        let (objective, mut random, mut counts) = (objective(), random(1), [0_u64; 10]);
        for _ in 0..100_000 {
            let made = objective.corrupt(&DOCUMENT, Some(&OTHER), 32, &mut random).unwrap();
            let found = possible.iter().position(|one| *one == (made.labels[0], &made.ids[..]));
            counts[found.unwrap_or_else(|| panic!("{made:?}"))] += 1;
            let end = made.ids.iter().position(|&id| id == 1).unwrap();
            assert!(made.segments.iter().enumerate().all(|(at, &segment)| segment == u32::from(at > end)));
        }
        let shares: Vec<f64> =
            possible.iter().map(|(label, _)| if *label == 2 { 1.0 / 18.0 } else { 1.0 / 6.0 }).collect();
        // 9 degrees of freedom: 27.9 at one in a thousand
        assert!(chi_square(&counts, &shares) < 27.9, "{counts:?}");
    }

    #[test]
    fn what_cannot_be_made_is_not() {
        let objective = objective();
        let labels = |text: &Text<'_>, other: Option<&Text<'_>>| {
            let mut seen = [false; 3];
            for seed in 0..100 {
                seen[objective.corrupt(text, other, 32, &mut random(seed)).unwrap().labels[0] as usize] = true;
            }
            seen
        };
        assert_eq!(labels(&DOCUMENT, None), [true, true, false]);
        assert_eq!(labels(&OTHER, Some(&DOCUMENT)), [true, false, true]);
        let one = Text { ids: &[20], sentences: &[0] };
        assert_eq!(labels(&one, Some(&OTHER)), [false, false, true]);
        assert!(objective.corrupt(&one, None, 32, &mut random(1)).is_err());
        assert!(objective.corrupt(&DOCUMENT, None, 4, &mut random(1)).is_err());
    }

    #[test]
    fn nothing_is_longer_than_it_may_be() {
        let ids: Vec<u32> = (20..120).collect();
        let text = Text { ids: &ids, sentences: &[0, 30, 35] };
        for seed in 0..200 {
            let made = objective().corrupt(&text, Some(&OTHER), 24, &mut random(seed)).unwrap();
            assert!(made.ids.len() <= 24 && made.ids.iter().filter(|&&id| id == 1).count() == 2);
            assert!(made.ids.split(|&id| id == 1).take(2).all(|part| !part.is_empty()));
        }
    }
}
