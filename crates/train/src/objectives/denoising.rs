//! Denoising (BART; Lewis et al. 2020, §2.2): noises one after the other, each in a file of its own, and the whole text
//! as the target. The released model's were all sentences in random order, then infilling of 30 % of the tokens.

mod document_rotation;
mod sentence_permutation;
mod text_infilling;
mod token_deletion;
mod token_masking;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use self::text_infilling::TextInfilling;

use super::denoised::Denoised;
use super::{Text, Vocabulary};
use crate::error::{Error, Result};

/// One noise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Noise {
    /// This share of the tokens is masked.
    TokenMasking {
        /// The share.
        rate: f64,
    },
    /// This share of the tokens vanishes; where, the model has to find out.
    TokenDeletion {
        /// The share.
        rate: f64,
    },
    /// Spans become a mask each, also empty ones.
    TextInfilling(TextInfilling),
    /// This share of the sentences change places with each other, all if 1.
    SentencePermutation {
        /// The share.
        rate: f64,
    },
    /// With this probability the text begins at a random token, and what stood before follows its end.
    DocumentRotation {
        /// The probability.
        rate: f64,
    },
}

impl Noise {
    /// The rate, by whatever name.
    fn rate(&self) -> f64 {
        match self {
            Self::TextInfilling(infilling) => infilling.rate,
            Self::TokenMasking { rate }
            | Self::TokenDeletion { rate }
            | Self::SentencePermutation { rate }
            | Self::DocumentRotation { rate } => *rate,
        }
    }

    fn check(&self) -> Result<()> {
        if !(self.rate() > 0.0 && self.rate() <= 1.0) {
            return Err(Error::recipe("objective.noises", format!("a rate should be above 0 and at most 1: {self:?}")));
        }
        match self {
            Self::TextInfilling(infilling) => infilling.check(),
            _ => Ok(()),
        }
    }
}

/// Which noises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenoisingConfig {
    /// The noises in their order; by default the released model's.
    pub noises: Vec<Noise>,
}

impl Default for DenoisingConfig {
    fn default() -> Self {
        Self { noises: released() }
    }
}

/// The released model's noises.
pub fn released() -> Vec<Noise> {
    vec![Noise::SentencePermutation { rate: 1.0 }, Noise::TextInfilling(TextInfilling::default())]
}

/// A text on its way through the noises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Noisy {
    ids: Vec<u32>,
    /// Whether a token is not the text's, or moved.
    corrupted: Vec<bool>,
    /// Where sentences begin; the first is 0.
    sentences: Vec<usize>,
    /// Whether a word begins here.
    begins_word: Vec<bool>,
}

/// A token of [`Noisy`].
#[derive(Clone, Copy)]
struct Token {
    id: u32,
    corrupted: bool,
    begins_sentence: bool,
    begins_word: bool,
}

impl Noisy {
    fn new(text: &Text<'_>, vocabulary: &[bool]) -> Self {
        let begins = |id: u32| vocabulary.get(id as usize).copied().unwrap_or(true);
        Self {
            ids: text.ids.to_vec(),
            corrupted: vec![false; text.ids.len()],
            sentences: text.sentences.to_vec(),
            begins_word: text.ids.iter().map(|&id| begins(id)).collect(),
        }
    }

    fn tokens(&self) -> impl Iterator<Item = Token> {
        (0..self.ids.len()).map(|place| Token {
            id: self.ids[place],
            corrupted: self.corrupted[place],
            begins_sentence: place == 0 || self.sentences.binary_search(&place).is_ok(),
            begins_word: self.begins_word[place],
        })
    }
}

impl FromIterator<Token> for Noisy {
    fn from_iter<I: IntoIterator<Item = Token>>(tokens: I) -> Self {
        let mut made = Self::default();
        for token in tokens {
            if token.begins_sentence || made.ids.is_empty() {
                made.sentences.push(made.ids.len());
            }
            made.ids.push(token.id);
            made.corrupted.push(token.corrupted);
            made.begins_word.push(token.begins_word);
        }
        made
    }
}

/// The noises with the tokens that they need.
#[derive(Clone, Debug)]
pub struct Denoising {
    noises: Vec<Noise>,
    mask: u32,
    bos: Option<u32>,
    eos: u32,
    begins_word: Vec<bool>,
}

impl Denoising {
    /// The noises in this order.
    ///
    /// # Errors
    /// When there is none, a setting is out of range, or the vocabulary lacks a mask, where noises need one, or a token that
    /// ends a text.
    pub fn new(noises: Vec<Noise>, vocabulary: &Vocabulary) -> Result<Self> {
        if noises.is_empty() {
            return Err(Error::recipe("objective.noises", "is empty: name a noise at least, as text_infilling"));
        }
        noises.iter().try_for_each(Noise::check)?;
        if noises.iter().any(|noise| matches!(noise, Noise::TextInfilling(infilling) if infilling.whole_words)) {
            vocabulary.tells_words()?;
        }
        let eos = vocabulary.eos()?;
        let has_masks =
            noises.iter().any(|noise| matches!(noise, Noise::TokenMasking { .. } | Noise::TextInfilling(_)));
        Ok(Self {
            // of no account where nothing becomes a mask
            mask: if has_masks { vocabulary.mask()? } else { eos },
            noises,
            bos: vocabulary.bos().ok(),
            eos,
            begins_word: vocabulary.begins_words().to_vec(),
        })
    }

    /// Whether nothing is changed in a text of one sentence.
    pub(crate) fn needs_sentences(&self) -> bool {
        self.noises.iter().all(|noise| matches!(noise, Noise::SentencePermutation { .. }))
    }

    /// # Errors
    /// When the text has no token.
    pub fn corrupt(&self, text: &Text<'_>, random: &mut ChaCha8Rng) -> Result<Denoised> {
        if text.ids.is_empty() {
            return Err(Error::Input("a text without a token cannot be corrupted".into()));
        }
        let mut noisy = Noisy::new(text, &self.begins_word);
        for noise in &self.noises {
            noisy = match noise {
                Noise::TokenMasking { rate } => token_masking::apply(noisy, *rate, self.mask, random),
                Noise::TokenDeletion { rate } => token_deletion::apply(noisy, *rate, random),
                Noise::TextInfilling(infilling) => infilling.apply(noisy, self.mask, random),
                Noise::SentencePermutation { rate } => sentence_permutation::apply(&noisy, *rate, random),
                Noise::DocumentRotation { rate } => document_rotation::apply(noisy, *rate, random),
            };
        }
        let corrupted = super::draws::places(&noisy.corrupted);
        Ok(Denoised { source: noisy.ids, target: text.ids.to_vec(), corrupted }.ended(self.bos, self.eos))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::draws::tests::random;
    use super::super::tests::{numbers, vocabulary};
    use super::*;

    /// A text of sentences of ten tokens.
    pub(super) fn noisy(length: u32) -> Noisy {
        let ids: Vec<u32> = (0..length).map(|i| 100 + i).collect();
        let sentences: Vec<usize> = (0..length as usize).step_by(10).collect();
        Noisy::new(&Text { ids: &ids, sentences: &sentences }, &[])
    }

    #[test]
    fn the_target_is_the_text_whatever_the_noise() {
        let v = vocabulary();
        let ids: Vec<u32> = (20..80).collect();
        let sentences = [0, 7, 30, 31];
        let text = Text { ids: &ids, sentences: &sentences };
        let every = [
            Noise::TokenMasking { rate: 0.15 },
            Noise::TokenDeletion { rate: 0.15 },
            Noise::TextInfilling(TextInfilling::default()),
            Noise::SentencePermutation { rate: 1.0 },
            Noise::DocumentRotation { rate: 1.0 },
        ];
        let mut compositions: Vec<Vec<Noise>> = every.iter().map(|noise| vec![*noise]).collect();
        compositions.extend([every.to_vec(), released()]);
        for noises in compositions {
            let objective = Denoising::new(noises.clone(), &v).unwrap();
            let made = objective.corrupt(&text, &mut random(5)).unwrap();
            assert_eq!(made, objective.corrupt(&text, &mut random(5)).unwrap(), "seeded");
            assert_ne!(made, objective.corrupt(&text, &mut random(6)).unwrap());
            assert_eq!(made.target[1..=60], ids);
            assert_eq!((made.source[0], made.target[0]), (v.bos().unwrap(), v.bos().unwrap()));
            assert_ne!(made.source, made.target);
            // what is left of the text stands at most once
            let mut left: Vec<u32> = made.source.iter().copied().filter(|id| ids.contains(id)).collect();
            let count = left.len();
            left.sort_unstable();
            left.dedup();
            assert_eq!(left.len(), count, "{noises:?}");
        }
    }

    /// fairseq's noises one after the other, by the same draws; `parity/objectives/denoising.py` says what is compared.
    #[test]
    fn the_same_draws_make_the_published_noise() {
        let golden: Value = serde_json::from_str(include_str!("../../../../parity/objectives/denoising.json")).unwrap();
        let (numbers, ids) = (numbers::<usize>, numbers::<u32>);
        let mask = golden["mask"].as_u64().unwrap() as u32;
        let mut put_in = 0;
        for case in golden["cases"].as_array().unwrap() {
            let (whole, words, sentences) = (ids(&case["ids"]), numbers(&case["words"]), numbers(&case["sentences"]));
            let begins: Vec<bool> = (0..whole.len() + 100).map(|id| id >= 100 && words.contains(&(id - 100))).collect();
            let noisy = Noisy::new(&Text { ids: &whole, sentences: &sentences }, &begins);
            let moved = sentence_permutation::arranged(&noisy, &numbers(&case["order"]));
            assert_eq!(moved.ids, ids(&case["permuted"]));

            let tokens: Vec<Token> = moved.tokens().collect();
            let starts = text_infilling::starts(&tokens, words.len() < whole.len());
            assert_eq!(starts.len(), words.len() + 1);
            // spans and kept units as they take turns: the length of a span, or none
            let spans: Vec<Vec<usize>> = case["spans"].as_array().unwrap().iter().map(numbers).collect();
            let (mut row, mut unit) = (Vec::new(), 0);
            while unit < words.len() {
                let length = spans.iter().find(|span| span[0] == unit).map(|span| span[1]);
                unit += length.unwrap_or(1);
                row.push(length);
            }
            let inserts = numbers(&case["inserts"]);
            put_in += inserts.len();
            inserts.into_iter().for_each(|place| row.insert(place, Some(0)));
            let is_span: Vec<bool> = row.iter().map(Option::is_some).collect();
            let lengths = row.into_iter().flatten().collect();
            let filled = text_infilling::filled(&tokens, &starts, lengths, &is_span, mask);
            assert_eq!(filled.ids, ids(&case["infilled"]));

            let turned = document_rotation::turned(filled, case["offset"].as_u64().unwrap() as usize);
            assert_eq!(turned.ids, ids(&case["rotated"]));
        }
        assert!(put_in > 3, "spans of no token");
    }

    #[test]
    fn noises_are_read_as_they_are_written() {
        let noises: Vec<Noise> =
            serde_json::from_str(r#"[{"sentence_permutation":{"rate":1.0}},{"text_infilling":{}}]"#).unwrap();
        assert_eq!(noises, released());
        assert!(serde_json::from_str::<Noise>(r#"{"text_infilling":{"lambda":3}}"#).is_err());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let infilling =
            |rate, mean_span| Noise::TextInfilling(TextInfilling { rate, mean_span, ..TextInfilling::default() });
        for noises in
            [vec![], vec![Noise::TokenMasking { rate: 0.0 }], vec![infilling(0.3, -1.0)], vec![infilling(2.0, 3.0)]]
        {
            assert!(Denoising::new(noises.clone(), &vocabulary()).is_err(), "{noises:?}");
        }
        let objective = Denoising::new(released(), &vocabulary()).unwrap();
        assert!(objective.corrupt(&Text { ids: &[], sentences: &[] }, &mut random(0)).is_err());
    }
}
