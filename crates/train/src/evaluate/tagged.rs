//! Tags of words: entities by seqeval's rule where tags say where entities begin, else each word by itself.

use std::collections::BTreeMap;

use super::Evaluated;
use crate::metrics::{Averages, Counts, entity_scores};

/// Tags a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    words: Vec<Vec<String>>,
    gold: Vec<Vec<String>>,
    predicted: Vec<Vec<String>>,
    entities: bool,
}

impl Tags {
    /// Sentences with gold and predicted tags.
    ///
    /// # Panics
    /// When the numbers of sentences, words or tags don't agree.
    pub fn new(words: Vec<Vec<String>>, gold: Vec<Vec<String>>, predicted: Vec<Vec<String>>) -> Self {
        assert!(words.len() == gold.len() && words.len() == predicted.len(), "tags for each sentence");
        let fits = (0..words.len()).all(|i| words[i].len() == gold[i].len() && words[i].len() == predicted[i].len());
        assert!(fits, "a tag for each word");
        let is_chunk = |tag: &String| ["B-", "I-", "E-", "S-"].iter().any(|start| tag.starts_with(start));
        let tags = || gold.iter().flatten();
        let entities = tags().any(is_chunk) && tags().all(|tag| tag == "O" || is_chunk(tag));
        Self { words, gold, predicted, entities }
    }

    fn counts(&self, rows: &[usize]) -> BTreeMap<&str, Counts> {
        let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
        for &row in rows {
            for (gold, predicted) in self.gold[row].iter().zip(&self.predicted[row]) {
                counts.entry(gold).or_default().gold += 1;
                counts.entry(predicted).or_default().given += 1;
                counts.entry(gold).or_default().right += u64::from(gold == predicted);
            }
        }
        counts
    }

    fn pick(from: &[Vec<String>], rows: &[usize]) -> Vec<Vec<String>> {
        rows.iter().map(|&row| from[row].clone()).collect()
    }
}

impl Evaluated for Tags {
    const TASK: &'static str = "token classification";

    fn rows(&self) -> usize {
        self.gold.len()
    }

    /// Of entities F1, precision, recall and macro F1, and the accuracy of words; of other tags accuracy and F1.
    fn metrics(&self, rows: &[usize]) -> Vec<(&'static str, f64)> {
        if self.entities {
            let found = entity_scores(&Self::pick(&self.gold, rows), &Self::pick(&self.predicted, rows));
            return vec![
                ("f1", found.micro.f1),
                ("precision", found.micro.precision),
                ("recall", found.micro.recall),
                ("f1_macro", found.macro_.f1),
                ("accuracy", found.accuracy),
            ];
        }
        let counts: Vec<Counts> = self.counts(rows).into_values().collect();
        vec![
            ("accuracy", Averages::micro(&counts).f1),
            ("f1_macro", Averages::macro_(&counts).f1),
            ("f1_weighted", Averages::weighted(&counts).f1),
        ]
    }

    /// The share of words that are right.
    fn score(&self, row: usize) -> f64 {
        crate::metrics::accuracy(&self.gold[row], &self.predicted[row])
    }

    fn badness(&self, row: usize) -> f64 {
        (1.0 - self.score(row)) * self.gold[row].len() as f64
    }

    /// The words that are wrong with their tags.
    fn shown(&self, row: usize) -> (String, String) {
        let wrong: Vec<usize> =
            (0..self.gold[row].len()).filter(|&i| self.gold[row][i] != self.predicted[row][i]).collect();
        let list = |tags: &[Vec<String>]| {
            let pair = |&i: &usize| format!("{}/{}", self.words[row][i], tags[row][i]);
            wrong.iter().map(pair).collect::<Vec<_>>().join(" ")
        };
        (list(&self.gold), list(&self.predicted))
    }

    fn labels(&self) -> Vec<(String, Counts)> {
        if self.entities {
            return entity_scores(&self.gold, &self.predicted).kinds;
        }
        let all: Vec<usize> = (0..self.rows()).collect();
        self.counts(&all).into_iter().map(|(tag, counts)| (tag.to_owned(), counts)).collect()
    }

    fn joined(&self, other: &Self) -> Self {
        Self {
            words: [&self.words[..], &other.words].concat(),
            gold: [&self.gold[..], &other.gold].concat(),
            predicted: [&self.predicted[..], &other.predicted].concat(),
            entities: self.entities,
        }
    }
}
