//! Text infilling (Lewis et al. 2020, §2.2): spans with Poisson lengths become one mask each; a span of no token puts a
//! mask between two. The spans never overlap, so that exactly the wanted share is gone; the authors' code lets them, and
//! loses somewhat less.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use serde::{Deserialize, Serialize};

use super::super::draws;
use super::{Noisy, Token};
use crate::error::{Error, Result};

/// How spans are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextInfilling {
    /// The share of the tokens, or words, that spans take.
    pub rate: f64,
    /// λ, the mean length of a span.
    pub mean_span: f64,
    /// Whether spans are of whole words, and their lengths count words, as in the authors' code.
    pub whole_words: bool,
}

impl Default for TextInfilling {
    fn default() -> Self {
        Self { rate: 0.3, mean_span: 3.0, whole_words: false }
    }
}

impl TextInfilling {
    pub(super) fn check(&self) -> Result<()> {
        // above a hundred a Poisson span is longer than any sentence; below a half most are empty, and a text grows by a mask
        // for each
        if (0.5..=100.0).contains(&self.mean_span) {
            return Ok(());
        }
        let problem = format!("the mean span of infilling should be from 0.5 to 100, not {}", self.mean_span);
        Err(Error::recipe("objective.noises", problem))
    }

    /// The lengths of the spans that take `budget` units together, as they are drawn: the last is cut to what is left.
    fn lengths(&self, budget: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
        let poisson = Poisson::new(self.mean_span).expect("a mean that was checked");
        let mut lengths = Vec::new();
        let mut left = budget;
        while left > 0 {
            let length = (poisson.sample(random) as usize).min(left);
            left -= length;
            lengths.push(length);
        }
        lengths
    }

    pub(super) fn apply(&self, noisy: Noisy, mask: u32, random: &mut ChaCha8Rng) -> Noisy {
        let tokens: Vec<Token> = noisy.tokens().collect();
        let starts = starts(&tokens, self.whole_words);
        let units = starts.len() - 1;

        let mut lengths = self.lengths(draws::count_of(units, self.rate), random);
        // the one that was cut may stand anywhere
        lengths.shuffle(random);
        let kept = units - lengths.iter().sum::<usize>();
        // spans and kept units in a row: every arrangement without overlap is as likely
        let is_span = draws::choose(kept + lengths.len(), lengths.len(), random);
        filled(&tokens, &starts, lengths, &is_span, mask)
    }
}

/// Where units, words or tokens, begin, and where the last ends.
pub(super) fn starts(tokens: &[Token], whole_words: bool) -> Vec<usize> {
    let begins = |place: &usize| *place == 0 || !whole_words || tokens[*place].begins_word;
    (0..tokens.len()).filter(begins).chain([tokens.len()]).collect()
}

/// The tokens, whose units begin at `starts` and end at its last, with a mask for each span: spans, of `lengths` units, and
/// kept units take turns as `is_span` says.
pub(super) fn filled(tokens: &[Token], starts: &[usize], lengths: Vec<usize>, is_span: &[bool], mask: u32) -> Noisy {
    let mut lengths = lengths.into_iter();
    let mut unit = 0;
    let mut made = Vec::with_capacity(tokens.len());
    for &is_span in is_span {
        let taken = if is_span { lengths.next().unwrap_or(0) } else { 1 };
        let own = &tokens[starts[unit]..starts[unit + taken]];
        unit += taken;
        if is_span {
            // a sentence that lost its first token begins with what stands for it
            let begins_sentence = own.iter().any(|token| token.begins_sentence);
            made.push(Token { id: mask, corrupted: true, begins_sentence, begins_word: true });
        } else {
            made.extend_from_slice(own);
        }
    }
    made.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::Text;
    use super::super::super::draws::tests::{chi_square, random};
    use super::super::tests::noisy;
    use super::*;

    const MASK: u32 = 4;

    /// By hand: of seven tokens, the second and third are a span, and one of no token stands before the last.
    #[test]
    fn a_mask_stands_for_each_span() {
        let tokens: Vec<Token> = noisy(7).tokens().collect();
        let starts: Vec<usize> = (0..=7).collect();
        let is_span = [false, true, false, false, false, true, false];
        let made = filled(&tokens, &starts, vec![2, 0], &is_span, MASK);
        assert_eq!(made.ids, [100, MASK, 103, 104, 105, MASK, 106]);
        assert_eq!(draws::places(&made.corrupted), [1, 5]);
    }

    #[test]
    fn exactly_the_share_is_gone() {
        let mut random = random(1);
        for length in [1, 2, 10, 97, 1000] {
            let made = TextInfilling::default().apply(noisy(length), MASK, &mut random);
            let left: Vec<u32> = made.ids.iter().copied().filter(|id| *id != MASK).collect();
            assert_eq!(left.len(), length as usize - draws::count_of(length as usize, 0.3));
            assert!(left.is_sorted());
            assert_eq!(made.ids.len() - left.len(), made.corrupted.iter().filter(|flag| **flag).count());
        }
    }

    /// λ = 3, also for the spans of no token: 1e5 spans against Poisson's probabilities.
    #[test]
    fn spans_have_poisson_lengths() {
        let infilling = TextInfilling::default();
        let (mut random, mut counts) = (random(2), [0_u64; 10]);
        let mut drawn = 0;
        while drawn < 100_000 {
            let lengths = infilling.lengths(3000, &mut random);
            // the last was cut
            for length in &lengths[..lengths.len() - 1] {
                counts[(*length).min(9)] += 1;
            }
            drawn += lengths.len() - 1;
        }
        let mut probabilities: Vec<f64> = Vec::new();
        let mut p = (-3.0_f64).exp();
        for k in 0..9 {
            probabilities.push(p);
            p *= 3.0 / (k + 1) as f64;
        }
        probabilities.push(1.0 - probabilities.iter().sum::<f64>());
        // 9 degrees of freedom: 27.9 at one in a thousand
        assert!(chi_square(&counts, &probabilities) < 27.9, "{counts:?}");
    }

    /// Where two spans of one and two tokens, and none else, stand in a text of six tokens: every arrangement of them and
    /// the three kept tokens is as likely, the one that was cut before the other as often as behind it.
    #[test]
    fn every_arrangement_is_as_likely() {
        let infilling = TextInfilling { rate: 0.5, ..TextInfilling::default() };
        let (mut random, mut counts) = (random(5), std::collections::BTreeMap::<Vec<u32>, u64>::new());
        for _ in 0..400_000 {
            let made = infilling.apply(noisy(6), MASK, &mut random);
            *counts.entry(made.ids).or_default() += 1;
        }
        // the spans apart, so that each arrangement gives another text
        let apart = |ids: &[u32]| {
            let places: Vec<usize> = (0..ids.len()).filter(|&place| ids[place] == MASK).collect();
            matches!(places[..], [a, b] if b > a + 1)
        };
        let lost = |ids: &[u32]| {
            let second = ids.iter().rposition(|id| *id == MASK).unwrap();
            let before = if second == 0 { 99 } else { ids[second - 1] };
            ids.get(second + 1).copied().unwrap_or(106) - before - 1
        };
        let of = |length: u32| -> Vec<u64> {
            counts.iter().filter(|(ids, _)| apart(ids) && lost(ids) == length).map(|(_, count)| *count).collect()
        };
        // of three kept tokens and two spans apart from each other ten arrangements but four
        let (one_last, two_last) = (of(1), of(2));
        assert_eq!((one_last.len(), two_last.len()), (6, 6));
        let all = [one_last, two_last].concat();
        // 11 degrees of freedom: 31.3 at one in a thousand
        assert!(all.iter().sum::<u64>() > 50_000 && chi_square(&all, &[1.0 / 12.0; 12]) < 31.3, "{all:?}");
    }

    #[test]
    fn every_part_of_a_text_loses_as_much() {
        let (mut random, mut counts) = (random(3), [0_u64; 10]);
        let (mut masks, mut spans) = (0, 0);
        for _ in 0..500 {
            let made = TextInfilling::default().apply(noisy(400), MASK, &mut random);
            let left: Vec<usize> =
                made.ids.iter().filter(|id| **id != MASK).map(|id| (*id - 100) as usize / 40).collect();
            (0..10).for_each(|part| counts[part] += 40 - left.iter().filter(|of| **of == part).count() as u64);
            masks += made.ids.len() - left.len();
            spans += made.sentences.len();
        }
        // those at the ends lose a little less, for fewer spans reach them
        let mean = 500.0 * 12.0;
        assert!(counts.iter().all(|&count| (count as f64 / mean - 1.0).abs() < 0.06), "{counts:?}");
        // one mask for three tokens; those that are put in between count none
        assert!((masks as f64 / (500.0 * 40.0) - 1.0).abs() < 0.05, "{masks}");
        assert!(spans > 500 * 39, "sentences that lost their beginnings are sentences still");
    }

    #[test]
    fn whole_words_stay_whole() {
        // words of three tokens
        let ids: Vec<u32> = (0..90).collect();
        let begins: Vec<bool> = (0..90).map(|id| id % 3 == 0).collect();
        let infilling = TextInfilling { whole_words: true, ..TextInfilling::default() };
        let mut random = random(4);
        for _ in 0..200 {
            let noisy = Noisy::new(&Text { ids: &ids, sentences: &[0] }, &begins);
            let made = infilling.apply(noisy, 1000, &mut random);
            let left: Vec<u32> = made.ids.into_iter().filter(|id| *id != 1000).collect();
            assert_eq!(left.len(), 63);
            assert!(left.chunks(3).all(|word| word[0] % 3 == 0 && word[2] == word[0] + 2), "{left:?}");
        }
    }
}
