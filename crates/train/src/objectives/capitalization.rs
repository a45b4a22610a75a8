//! Capitalisation prediction (Sun et al. 2020, ERNIE 2.0, §4.2.1): words are read in small letters, and of each a model says
//! whether it had a capital. It takes a tokenizer that keeps case, and a word counts if that has tokens for it in small letters:
//! others would give themselves away.

use serde::{Deserialize, Serialize};

use super::classified::Classified;
use super::masking::units;
use super::{Text, Vocabulary};
use crate::error::{Error, Result};

/// It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapitalizationConfig {}

/// What the classes are called.
pub const CLASSES: [&str; 2] = ["small", "capital"];

/// Capitalisation prediction with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct Capitalization {
    cls: u32,
    sep: u32,
    vocabulary: Vocabulary,
}

impl Capitalization {
    /// # Errors
    /// When the vocabulary lacks a token, or capitals, or cannot tell words.
    pub fn new(_: &CapitalizationConfig, vocabulary: &Vocabulary) -> Result<Self> {
        vocabulary.tells_words()?;
        if !vocabulary.has_capitals() {
            let problem = "the tokenizer has no capitals, which this objective asks for";
            let way = "take one that keeps case (ptm tokenizer train --lowercase false makes one)";
            return Err(Error::Input(format!("{problem}: {way}")));
        }
        Ok(Self { cls: vocabulary.cls()?, sep: vocabulary.sep()?, vocabulary: vocabulary.clone() })
    }

    /// Whether a text has a word that counts.
    pub fn has_words(&self, text: &Text<'_>) -> bool {
        self.classify(text).is_ok()
    }

    /// One example: the class of a word stands at its first token. Nothing is drawn.
    ///
    /// # Errors
    /// When the text has no word that counts.
    pub fn classify(&self, text: &Text<'_>) -> Result<Classified> {
        let mut made = Classified::of_parts(self.cls, self.sep, &[text.ids], 0);
        (made.places, made.labels, made.classes) = (Vec::new(), Vec::new(), &CLASSES);
        for word in units(&made.ids, true, &self.vocabulary) {
            let small: Option<Vec<u32>> =
                made.ids[word.clone()].iter().map(|&id| self.vocabulary.in_small_letters(id)).collect();
            if let (Some(capital), Some(small)) = (self.vocabulary.capital(made.ids[word.start]), small) {
                made.places.push(word.start);
                made.labels.push(u32::from(capital));
                made.ids[word].copy_from_slice(&small);
            }
        }
        if made.places.is_empty() {
            return Err(Error::Input("the text has no word that could have a capital: give another".into()));
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::tests::{cased, playing};
    use super::*;

    /// By hand; ids 5 to 12 are `paris`, `Paris`, `in`, `Mc`, `mc`, `##Don`, `##don`, `Rome`; 13 is `.`
    #[test]
    fn a_worked_example() {
        let objective = Capitalization::new(&CapitalizationConfig {}, &cased()).unwrap();
        // Paris in paris McDon Rome . mcDon
        let text = Text { ids: &[6, 7, 5, 8, 10, 12, 13, 9, 10], sentences: &[0] };
        let made = objective.classify(&text).unwrap();
        // Rome has no small letters and stays, uncounted
        assert_eq!(made.ids, [2, 5, 7, 5, 9, 11, 12, 13, 9, 11, 3]);
        assert_eq!((made.places, made.labels), (vec![1, 2, 3, 4, 8], vec![1, 0, 0, 1, 0]));
        let none = objective.classify(&Text { ids: &[12, 13], sentences: &[0] });
        assert!(none.unwrap_err().to_string().contains("no word"));
    }

    #[test]
    fn a_tokenizer_without_capitals_is_refused() {
        let error = Capitalization::new(&CapitalizationConfig {}, &playing()).unwrap_err().to_string();
        assert!(error.contains("no capitals"), "{error}");
    }
}
