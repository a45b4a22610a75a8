//! Masked language modelling (Devlin et al. 2019, §3.1; Liu et al. 2019, §4.1): some tokens are hidden and foretold from
//! all others. Static: each text has a few patterns, served in turn; dynamic: a fresh one whenever it is served.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::masking::{Masked, Masking, choose, instead, units};
use super::{Text, Vocabulary};
use crate::error::{Error, Result};

/// What is hidden, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskedLmConfig {
    /// The share of tokens that are chosen.
    pub rate: f64,
    /// The share of the chosen ones that become the mask.
    pub masked: f64,
    /// The share that becomes a random token; what remains is kept.
    pub random: f64,
    /// Whether the pieces of a word are chosen together.
    pub whole_words: bool,
    /// The most tokens that are chosen in one example; 0 for no bound. BERT has 20 for 128 tokens, 77 for 512.
    pub most: usize,
    /// Static masking: so many patterns a text, in turn (BERT: 10), and as many orders in which texts come, so that what
    /// several of them make together comes again too. 0 is dynamic: a fresh one each time.
    pub patterns: u64,
    /// What pretraining makes sequences of.
    pub format: Format,
}

/// What a sequence is made of. RoBERTa's (Liu et al. 2019, §4.2) but those of pairs, which are
/// [`super::next_sentence::Unit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// So many tokens of one document, wherever its sentences end. The default, and no format of RoBERTa's.
    #[default]
    Stretches,
    /// As many whole sentences as fit, of one document and the next, with a separator between two: FULL-SENTENCES, by which
    /// RoBERTa's models were trained.
    FullSentences,
    /// As many whole sentences as fit, of one document: DOC-SENTENCES. Where documents are short, batches have more of them:
    /// `batch.size` sequences mean as many tokens as these would have at their full length.
    DocSentences,
}

impl Default for MaskedLmConfig {
    fn default() -> Self {
        Self {
            rate: 0.15,
            masked: 0.8,
            random: 0.1,
            whole_words: false,
            most: 0,
            patterns: 0,
            format: Format::Stretches,
        }
    }
}

/// Masked language modelling with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct MaskedLm {
    config: MaskedLmConfig,
    masking: Masking,
    vocabulary: Vocabulary,
    cls: u32,
    sep: u32,
}

impl MaskedLm {
    /// # Errors
    /// When a share is out of range, or the vocabulary lacks a token or cannot tell words that should stay whole.
    pub fn new(config: MaskedLmConfig, vocabulary: &Vocabulary) -> Result<Self> {
        if !(config.rate > 0.0 && config.rate <= 1.0) {
            let problem = format!("is {}, but should be a share above 0 and up to 1", config.rate);
            return Err(Error::recipe("objective.rate", problem));
        }
        if config.whole_words {
            vocabulary.tells_words()?;
        }
        let masking = Masking::new(config.masked, config.random, vocabulary)?;
        let (cls, sep) = (vocabulary.cls()?, vocabulary.sep()?);
        Ok(Self { config, masking, vocabulary: vocabulary.clone(), cls, sep })
    }

    /// The settings.
    pub fn config(&self) -> &MaskedLmConfig {
        &self.config
    }

    /// One example: the text between the tokens that begin and end a sequence.
    ///
    /// # Errors
    /// When the text has no token that could be hidden.
    pub fn corrupt(&self, text: &Text<'_>, random: &mut ChaCha8Rng) -> Result<Masked> {
        let ids = self.framed(text);
        let segments = vec![0; ids.len()];
        self.hide(ids, segments, random)
    }

    /// One example of two segments: `[CLS] A [SEP] B [SEP]`.
    ///
    /// # Errors
    /// When they have no token that could be hidden.
    pub(crate) fn corrupt_pair(&self, (a, b): (&[u32], &[u32]), random: &mut ChaCha8Rng) -> Result<Masked> {
        let ids = [&[self.cls], a, &[self.sep], b, &[self.sep]].concat();
        let segments = (0..ids.len()).map(|place| u32::from(place > a.len() + 1)).collect();
        self.hide(ids, segments, random)
    }

    /// The text between the tokens that begin and end a sequence.
    pub(crate) fn framed(&self, text: &Text<'_>) -> Vec<u32> {
        std::iter::once(self.cls).chain(text.ids.iter().copied()).chain([self.sep]).collect()
    }

    /// Hides tokens of a sequence that is framed already.
    ///
    /// # Errors
    /// When it has no token that could be hidden.
    pub fn hide(&self, ids: Vec<u32>, segments: Vec<u32>, random: &mut ChaCha8Rng) -> Result<Masked> {
        let units = units(&ids, self.config.whole_words, &self.vocabulary);
        self.hide_units(ids, segments, units, false, random)
    }

    /// Hides some of `units`; a fate is drawn for each token, or where `together` for each unit.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn hide_units(
        &self,
        ids: Vec<u32>,
        segments: Vec<u32>,
        units: Vec<Range<usize>>,
        together: bool,
        random: &mut ChaCha8Rng,
    ) -> Result<Masked> {
        if units.is_empty() {
            return Err(Error::Input("a text has no token that could be hidden: all are special".into()));
        }
        let most = Some(self.config.most).filter(|&most| most > 0);
        let mut chosen = choose(units.clone(), self.config.rate, most, random);
        if chosen.is_empty() {
            // every word is longer than all that may be hidden, but something has to be foretold
            let rate = self.config.rate;
            chosen = instead(units, &ids, (rate, most), &self.vocabulary, |tokens| choose(tokens, rate, most, random));
        }
        Ok(self.masking.hide(ids, segments, &chosen, together, random))
    }
}

#[cfg(test)]
mod tests {
    use super::super::draws::tests::{chi_square, random};
    use super::super::tests::{text, vocabulary};
    use super::super::vocabulary::tests::with_words;
    use super::*;

    fn objective(config: MaskedLmConfig) -> MaskedLm {
        MaskedLm::new(config, &vocabulary()).unwrap()
    }

    /// By hand: of two tokens at a rate of one half one is hidden, always by the mask.
    #[test]
    fn a_worked_example() {
        let config = MaskedLmConfig { rate: 0.5, masked: 1.0, random: 0.0, ..MaskedLmConfig::default() };
        for seed in 0..20 {
            let made = objective(config.clone()).corrupt(&text(&[11, 12]), &mut random(seed)).unwrap();
            let masked = |ids: &[u32], place: usize, target: u32| Masked {
                ids: ids.to_vec(),
                segments: vec![0; 4],
                chosen: vec![place],
                targets: vec![target],
            };
            assert!([masked(&[3, 4, 12, 1], 1, 11), masked(&[3, 11, 4, 1], 2, 12)].contains(&made), "{made:?}");
            assert_eq!(made.original(), [3, 11, 12, 1]);
        }
    }

    #[test]
    fn so_many_tokens_anywhere_and_never_special_ones() {
        // a special token within the text
        let ids: Vec<u32> = (20..30).chain([1]).chain(30..40).collect();
        let (objective, mut random) = (objective(MaskedLmConfig::default()), random(1));
        let (mut counts, mut fates) = ([0_u64; 23], [0_u64; 3]);
        for _ in 0..33_334 {
            let made = objective.corrupt(&text(&ids), &mut random).unwrap();
            assert_eq!((made.chosen.len(), made.ids.len()), (3, 23));
            for (&place, &target) in made.chosen.iter().zip(&made.targets) {
                counts[place] += 1;
                let is = made.ids[place];
                fates[if is == 4 {
                    0
                } else if is == target {
                    2
                } else {
                    1
                }] += 1;
            }
            assert_eq!(made.original()[1..22], ids);
        }
        assert_eq!([counts[0], counts[11], counts[22]], [0; 3], "a special token was hidden");
        let words: Vec<u64> = counts.into_iter().filter(|&count| count > 0).collect();
        // 19 degrees of freedom: 43.8 at one in a thousand
        assert!(words.len() == 20 && chi_square(&words, &[0.05; 20]) < 43.8, "{counts:?}");
        // a random token is the token itself once in 130
        let same = 0.1 / 130.0;
        assert!(chi_square(&fates, &[0.8, 0.1 - same, 0.1 + same]) < 13.8, "{fates:?}");
    }

    #[test]
    fn whole_words_stay_whole() {
        // words of one, two and three pieces: 100 and above go on
        let vocabulary = with_words(|id| id < 100);
        let config = MaskedLmConfig { rate: 0.3, whole_words: true, ..MaskedLmConfig::default() };
        let objective = MaskedLm::new(config, &vocabulary).unwrap();
        let ids = [20, 21, 101, 22, 102, 103, 23, 24, 104, 25];
        let words = [1..2, 2..4, 4..7, 7..8, 8..10, 10..11];
        // the words of each order that fit in three tokens, one after the other: how likely each set of them is
        let mut expected = [0.0; 64];
        for order in orders(6) {
            let (mut set, mut left) = (0_usize, 3);
            for word in order {
                if words[word].len() <= left {
                    set |= 1 << word;
                    left -= words[word].len();
                }
            }
            expected[set] += 1.0 / 720.0;
        }
        let (mut counts, mut random) = ([0_u64; 64], random(1));
        for _ in 0..100_000 {
            let made = objective.corrupt(&text(&ids), &mut random).unwrap();
            let mut set = 0;
            for (number, word) in words.iter().enumerate() {
                let hidden = word.clone().filter(|place| made.chosen.contains(place)).count();
                assert!(hidden == 0 || hidden == word.len(), "{made:?}");
                set |= usize::from(hidden > 0) << number;
            }
            counts[set] += 1;
        }
        let possible: Vec<usize> = (0..64).filter(|&set| expected[set] > 0.0).collect();
        assert_eq!(possible.iter().map(|&set| counts[set]).sum::<u64>(), 100_000, "{counts:?}");
        let of = |set: &usize| (counts[*set], expected[*set]);
        let (counts, expected): (Vec<u64>, Vec<f64>) = possible.iter().map(of).unzip();
        // the long word alone, each of six pairs of a long and a short one, the three short ones: seven degrees of freedom
        assert_eq!(counts.len(), 8);
        assert!(chi_square(&counts, &expected) < 24.3, "{counts:?} {expected:?}");
    }

    /// All orders of the numbers below `count`.
    fn orders(count: usize) -> Vec<Vec<usize>> {
        if count == 0 {
            return vec![Vec::new()];
        }
        let insert = |order: Vec<usize>| {
            (0..count).map(move |place| {
                let mut order = order.clone();
                order.insert(place, count - 1);
                order
            })
        };
        orders(count - 1).into_iter().flat_map(insert).collect()
    }

    #[test]
    fn predictions_are_bounded_and_never_none() {
        let config = MaskedLmConfig { most: 2, rate: 0.5, ..MaskedLmConfig::default() };
        let ids: Vec<u32> = (20..60).collect();
        let made = objective(config).corrupt(&text(&ids), &mut random(1)).unwrap();
        assert_eq!(made.chosen.len(), 2);
        let vocabulary = with_words(|id| id == 20);
        let config = MaskedLmConfig { whole_words: true, ..MaskedLmConfig::default() };
        let made = MaskedLm::new(config.clone(), &vocabulary).unwrap().corrupt(&text(&ids), &mut random(1)).unwrap();
        assert_eq!(made.chosen.len(), 6, "one word of all tokens, of which 15 % are hidden");
        let words = |begins: fn(u32) -> bool, most: usize| {
            let config = MaskedLmConfig { most, ..config.clone() };
            let words = MaskedLm::new(config, &with_words(begins)).unwrap();
            words.corrupt(&text(&ids), &mut random(1)).unwrap().chosen.len()
        };
        let (two, four): (fn(u32) -> bool, fn(u32) -> bool) = (|id| id % 20 == 0, |id| id % 10 == 0);
        assert_eq!([words(two, 0), words(four, 0), words(four, 8)], [6, 10, 6], "words of 20, and of 10, and too many");
        let config = MaskedLmConfig { most: 2, ..config };
        let made = MaskedLm::new(config, &vocabulary).unwrap().corrupt(&text(&ids), &mut random(1)).unwrap();
        assert_eq!(made.chosen.len(), 2, "no more than may be");
        let special = objective(MaskedLmConfig::default()).corrupt(&text(&[1, 3]), &mut random(1));
        assert!(special.unwrap_err().to_string().contains("special"));
    }
}
