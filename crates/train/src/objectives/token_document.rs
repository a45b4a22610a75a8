//! Token-document relation (Sun et al. 2020, ERNIE 2.0, §4.2.1): of every token of a segment a model says whether it is in
//! another segment of the same document too.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::classified::Classified;
use super::{Text, Vocabulary};
use crate::error::{Error, Result};

/// It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenDocumentConfig {}

/// What the classes are called.
pub const CLASSES: [&str; 2] = ["only here", "elsewhere too"];

/// The token-document relation with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct TokenDocument {
    cls: u32,
    sep: u32,
    vocabulary: Vocabulary,
}

impl TokenDocument {
    /// # Errors
    /// When the vocabulary lacks a token.
    pub fn new(_: &TokenDocumentConfig, vocabulary: &Vocabulary) -> Result<Self> {
        Ok(Self { cls: vocabulary.cls()?, sep: vocabulary.sep()?, vocabulary: vocabulary.clone() })
    }

    /// One example: a segment whose document has the tokens `elsewhere` before and after it. Nothing is drawn.
    ///
    /// # Errors
    /// When the segment has no token but special ones, or there is nothing elsewhere.
    pub fn classify(&self, segment: &[u32], elsewhere: &[&[u32]]) -> Result<Classified> {
        let known: HashSet<u32> = elsewhere.iter().flat_map(|ids| ids.iter().copied()).collect();
        let made = Classified::of_parts(self.cls, self.sep, &[segment], 0);
        let places: Vec<usize> =
            (0..made.ids.len()).filter(|&place| !self.vocabulary.is_special(made.ids[place])).collect();
        if places.is_empty() || known.is_empty() {
            let problem = "a segment's tokens are looked for in the rest of its document";
            return Err(Error::Input(format!("{problem}: one of both is empty; give a longer text")));
        }
        let labels = places.iter().map(|&place| u32::from(known.contains(&made.ids[place]))).collect();
        Ok(Classified { places, labels, classes: &CLASSES, ..made })
    }

    /// The same of the first half of a text, by sentences where it has several.
    ///
    /// # Errors
    /// As [`Self::classify`].
    pub fn halved(&self, text: &Text<'_>) -> Result<Classified> {
        let starts: Vec<usize> = text.borders().collect();
        let at = starts.get(starts.len() / 2).copied().unwrap_or(text.ids.len() / 2);
        let (segment, rest) = text.ids.split_at(at);
        self.classify(segment, &[rest])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::vocabulary;
    use super::*;

    /// By hand: 20 and 22 are elsewhere, before or behind; the special token is not asked for.
    #[test]
    fn a_worked_example() {
        let objective = TokenDocument::new(&TokenDocumentConfig {}, &vocabulary()).unwrap();
        let made = objective.classify(&[20, 21, 1, 22, 20], &[&[30, 20], &[22, 31]]).unwrap();
        assert_eq!(made.ids, [3, 20, 21, 1, 22, 20, 1]);
        assert_eq!((made.places.clone(), made.labels.clone()), (vec![1, 2, 4, 5], vec![1, 0, 1, 1]));
        assert_eq!(made.labels.iter().map(|&label| made.said(label)).next().unwrap(), "elsewhere too");
        let halves = objective.halved(&Text { ids: &[20, 21, 22, 20, 30], sentences: &[0, 3] }).unwrap();
        assert_eq!((halves.ids.len(), halves.labels), (5, vec![1, 0, 0]));
        assert!(objective.classify(&[1, 3], &[&[20]]).is_err());
        assert!(objective.classify(&[20], &[]).is_err());
        assert!(objective.halved(&Text { ids: &[20], sentences: &[0] }).is_err());
    }
}
