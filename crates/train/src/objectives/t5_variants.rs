//! The corruptions that the T5 paper compares with span corruption (Raffel et al. 2020, §3.3.1 and §3.3.2, tables 3 to
//! 5): each makes a source and a target of the same text.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::denoised::Denoised;
use super::draws::{self, happens};
use super::span_corruption::{SpanCorruption, SpanCorruptionConfig};
use super::{Text, Vocabulary};
use crate::error::{Error, Result};

/// Which of the paper's corruptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// The text is cut at a random place: what comes before is read, what comes after is said.
    PrefixLm,
    /// Of the chosen tokens nine in ten are masked and one becomes a random one; the whole text is said.
    BertStyle,
    /// The chosen tokens are masked; the whole text is said.
    MassStyle,
    /// The tokens come in random order; the whole text is said.
    Deshuffling,
    /// A sentinel stands for each stretch of chosen tokens, and the target spells them.
    IidSpans,
    /// The chosen tokens drop out and are said.
    IidDropped,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::PrefixLm, Self::BertStyle, Self::MassStyle, Self::Deshuffling, Self::IidSpans, Self::IidDropped];
}

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VariantConfig {
    /// The probability of each token to be chosen; of no account where none are.
    pub rate: f64,
}

impl Default for VariantConfig {
    fn default() -> Self {
        Self { rate: 0.15 }
    }
}

/// Share of the chosen tokens that BERT-style corruption replaces by random ones.
const RANDOM: f64 = 0.1;

/// One of the corruptions, with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct T5Variant {
    variant: Variant,
    rate: f64,
    spans: SpanCorruption,
    /// The tokens that may replace another: all but special ones.
    words: Vec<u32>,
}

impl T5Variant {
    /// `rate` is the probability of each token to be chosen, where tokens are.
    ///
    /// # Errors
    /// When the rate is not between 0 and 1, or the vocabulary lacks sentinels or a token that ends a text.
    pub fn new(variant: Variant, rate: f64, vocabulary: &Vocabulary) -> Result<Self> {
        let spans = SpanCorruption::new(SpanCorruptionConfig { rate, ..Default::default() }, vocabulary)?;
        let words = vocabulary.words();
        if words.is_empty() {
            return Err(Error::Input("every token of the tokenizer is special: there is none to learn".into()));
        }
        Ok(Self { variant, rate, spans, words })
    }

    /// # Errors
    /// When the text has fewer than two tokens, or the vocabulary fewer sentinels than the text needs.
    pub fn corrupt(&self, text: &Text<'_>, random: &mut ChaCha8Rng) -> Result<Denoised> {
        let ids = text.ids;
        if ids.len() < 2 {
            return Err(Error::Input(format!("a text of {} tokens: corrupting needs two at least", ids.len())));
        }
        // T5 has no mask; the published code takes the first sentinel
        let mask = self.spans.sentinels[0];
        let made = match self.variant {
            Variant::PrefixLm => {
                let (source, target) = ids.split_at(random.random_range(1..ids.len()));
                Denoised { source: source.to_vec(), target: target.to_vec(), corrupted: Vec::new() }
            }
            Variant::Deshuffling => {
                let order = draws::permutation(ids.len(), random);
                let corrupted = (0..ids.len()).filter(|&place| order[place] != place).collect();
                Denoised { source: order.iter().map(|&place| ids[place]).collect(), target: ids.to_vec(), corrupted }
            }
            Variant::BertStyle | Variant::MassStyle => {
                let share = if self.variant == Variant::BertStyle { RANDOM } else { 0.0 };
                let mut made = Denoised { source: ids.to_vec(), target: ids.to_vec(), corrupted: Vec::new() };
                for place in draws::places(&self.chosen(ids.len(), random)) {
                    made.source[place] = if happens(share, random) {
                        self.words[random.random_range(0..self.words.len())]
                    } else {
                        mask
                    };
                    made.corrupted.push(place);
                }
                made
            }
            Variant::IidSpans => return self.spans.split(ids, &self.chosen(ids.len(), random)),
            Variant::IidDropped => {
                let chosen = self.chosen(ids.len(), random);
                let of = |wanted: bool| -> Vec<u32> {
                    ids.iter().zip(&chosen).filter(|(_, chosen)| **chosen == wanted).map(|(id, _)| *id).collect()
                };
                Denoised { source: of(false), target: of(true), corrupted: Vec::new() }
            }
        };
        Ok(made.ended(None, self.spans.eos))
    }

    /// Each token by itself, at the rate.
    fn chosen(&self, length: usize, random: &mut ChaCha8Rng) -> Vec<bool> {
        (0..length).map(|_| happens(self.rate, random)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{text, vocabulary};
    use super::draws::tests::{chi_square, random};
    use super::*;

    fn of(variant: Variant) -> T5Variant {
        T5Variant::new(variant, 0.15, &vocabulary()).unwrap()
    }

    fn ids(length: u32) -> Vec<u32> {
        (0..length).map(|i| 20 + i % 60).collect()
    }

    #[test]
    fn prefixes_are_cut_anywhere_with_the_same_probability() {
        let (objective, ids) = (of(Variant::PrefixLm), ids(6));
        let (mut random, mut counts) = (random(1), [0_u64; 5]);
        for _ in 0..100_000 {
            let made = objective.corrupt(&text(&ids), &mut random).unwrap();
            let cut = made.source.len() - 1;
            assert_eq!([&made.source[..cut], &made.target[..6 - cut]].concat(), ids);
            counts[cut - 1] += 1;
        }
        assert!(chi_square(&counts, &[0.2; 5]) < 18.5, "{counts:?}");
    }

    #[test]
    fn tokens_are_chosen_one_by_one_at_the_rate() {
        let (v, ids) = (vocabulary(), ids(1000));
        let mask = v.sentinels().unwrap()[0];
        for (variant, share) in [(Variant::BertStyle, 0.9), (Variant::MassStyle, 1.0)] {
            let (objective, mut random) = (of(variant), random(2));
            let (mut chosen, mut masked) = (0_u64, 0_u64);
            for _ in 0..200 {
                let made = objective.corrupt(&text(&ids), &mut random).unwrap();
                assert_eq!(made.target[..1000], ids);
                for (place, id) in made.source[..1000].iter().enumerate() {
                    let is_chosen = made.corrupted.binary_search(&place).is_ok();
                    assert!(is_chosen || *id == ids[place]);
                    assert!(*id == mask || !v.is_special(*id), "a special token in place of a word");
                }
                chosen += made.corrupted.len() as u64;
                masked += made.source.iter().filter(|id| **id == mask).count() as u64;
            }
            assert!(chi_square(&[chosen, 200_000 - chosen], &[0.15, 0.85]) < 10.8, "{chosen}");
            if share < 1.0 {
                assert!(chi_square(&[masked, chosen - masked], &[share, 1.0 - share]) < 10.8, "{masked} of {chosen}");
            } else {
                assert_eq!(masked, chosen);
            }
        }
    }

    #[test]
    fn dropped_and_kept_tokens_are_the_text() {
        let ids: Vec<u32> = (20..90).collect();
        let mut random = random(4);
        for _ in 0..20 {
            let made = of(Variant::IidDropped).corrupt(&text(&ids), &mut random).unwrap();
            let mut both = [&made.source[..made.source.len() - 1], &made.target[..made.target.len() - 1]].concat();
            both.sort_unstable();
            assert_eq!(both, ids);
            let made = of(Variant::Deshuffling).corrupt(&text(&ids), &mut random).unwrap();
            assert_ne!(made.source, made.target);
            let mut sorted = made.source[..70].to_vec();
            sorted.sort_unstable();
            assert_eq!((sorted, &made.target[..70]), (ids.clone(), &ids[..]));
            let made = of(Variant::IidSpans).corrupt(&text(&ids), &mut random).unwrap();
            let words = |ids: &[u32]| ids.iter().filter(|id| (20..90).contains(*id)).count();
            assert_eq!(words(&made.source) + words(&made.target), 70);
            assert_eq!(made.source.len() - 1 - words(&made.source), made.target.len() - 1 - words(&made.target));
        }
    }

    #[test]
    fn every_variant_has_a_name_of_its_own() {
        let names: Vec<String> = Variant::ALL.map(|v| serde_json::to_string(&v).unwrap()).to_vec();
        assert_eq!(names[0], r#""prefix_lm""#);
        assert_eq!(names[5], r#""iid_dropped""#);
    }
}
