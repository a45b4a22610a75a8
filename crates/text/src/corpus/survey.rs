//! What a packed corpus holds: how long documents and sentences are, and how many of them a split holds out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Corpus, Error, Split};
use crate::dataset::{Spread, spread};

/// Lengths in tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lengths {
    /// The usual figures.
    pub spread: Spread,
    /// `(most, count)`: how many have at most so many tokens, and more than the entry before. Powers of two.
    pub histogram: Vec<(usize, u64)>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Survey {
    /// Of documents.
    pub documents: Lengths,
    /// Of sentences.
    pub sentences: Lengths,
    /// Documents that the split holds out.
    pub validation: u64,
    /// Their tokens.
    pub validation_tokens: u64,
}

impl Survey {
    /// Reads `corpus` through. `heard` hears how many documents are done, and says whether to go on.
    ///
    /// # Errors
    /// When a document is damaged.
    pub fn of(corpus: &Corpus, split: Split, heard: &mut dyn FnMut(u64) -> bool) -> Result<Self, Error> {
        let (mut documents, mut sentences) = (BTreeMap::new(), BTreeMap::new());
        let mut this = Self::default();
        for number in 0..corpus.len() {
            let document = corpus.document(number)?;
            *documents.entry(document.ids.len()).or_default() += 1;
            for sentence in document.each_sentence() {
                *sentences.entry(sentence.len()).or_default() += 1;
            }
            if split.is_validation(corpus.hash(number)?) {
                this.validation += 1;
                this.validation_tokens += document.ids.len() as u64;
            }
            if number % 1024 == 0 && !heard(number) {
                break;
            }
        }
        this.documents = lengths(&documents);
        this.sentences = lengths(&sentences);
        Ok(this)
    }
}

fn lengths(counts: &BTreeMap<usize, u64>) -> Lengths {
    let mut histogram: BTreeMap<usize, u64> = BTreeMap::new();
    for (&length, &count) in counts {
        *histogram.entry(length.next_power_of_two()).or_default() += count;
    }
    Lengths { spread: spread(counts), histogram: histogram.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::super::writer::tests::corpus;
    use super::*;

    #[test]
    fn lengths_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        // seven lengths from 1 to 7, ten of each; sentences of 3 and what is left
        let corpus = corpus(dir.path(), 70, 50, 1000);
        let survey = Survey::of(&corpus, Split::new(0.5, 0).unwrap(), &mut |_| true).unwrap();
        assert_eq!(survey.documents.histogram, [(1, 10), (2, 10), (4, 20), (8, 30)]);
        let spread = survey.documents.spread;
        assert_eq!((spread.least, spread.median, spread.most, spread.mean), (1, 4, 7, 4.0));
        assert_eq!(survey.sentences.histogram, [(1, 30), (2, 20), (4, 70)]);
        assert!((20..50).contains(&survey.validation) && survey.validation_tokens < corpus.tokens());
    }
}
