//! Texts that were written: translations, summaries.

use super::Evaluated;
use crate::metrics::bleu::BleuStatistics;
use crate::metrics::chrf::{self, ChrfStatistics};
use crate::metrics::rouge::{RougeScores, rouge_of_best};
use crate::metrics::{BleuOptions, ChrfOptions, exact_match};

/// A text a row with its references.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    references: Vec<Vec<String>>,
    texts: Vec<String>,
    bleu: Vec<BleuStatistics>,
    chrf: Vec<ChrfStatistics>,
    rouge: Vec<RougeScores>,
    options: BleuOptions,
}

impl Generated {
    /// Texts with their references.
    ///
    /// # Panics
    /// When there are not as many of both.
    pub fn new(references: Vec<Vec<String>>, texts: Vec<String>, options: BleuOptions) -> Self {
        assert_eq!(references.len(), texts.len(), "references for each text");
        let both = || references.iter().zip(&texts);
        Self {
            bleu: both().map(|(references, text)| BleuStatistics::new(references, text, &options)).collect(),
            chrf: both().map(|(r, text)| chrf::statistics(r, text, &ChrfOptions::default())).collect(),
            rouge: both().map(|(references, text)| rouge_of_best(references, text, true)).collect(),
            references,
            texts,
            options,
        }
    }
}

impl Evaluated for Generated {
    const TASK: &'static str = "text generation";

    fn rows(&self) -> usize {
        self.texts.len()
    }

    /// BLEU and chrF of the whole in percent; ROUGE (with stems, means) and exact match as shares.
    fn metrics(&self, rows: &[usize]) -> Vec<(&'static str, f64)> {
        let mut bleu = BleuStatistics::default();
        let mut sums = vec![[0; 3]; ChrfOptions::default().char_order];
        for &row in rows {
            bleu.add(&self.bleu[row]);
            for (sum, found) in sums.iter_mut().zip(&self.chrf[row]) {
                (0..3).for_each(|i| sum[i] += found[i]);
            }
        }
        let mean = |kind: fn(&RougeScores) -> f64| {
            rows.iter().map(|&row| kind(&self.rouge[row])).sum::<f64>() / rows.len() as f64
        };
        let equal = rows.iter().filter(|&&row| self.references[row].contains(&self.texts[row])).count();
        vec![
            ("bleu", bleu.bleu(&self.options).score),
            ("chrf", chrf::score(&sums, &ChrfOptions::default())),
            ("rouge1", mean(|r| r.one.f)),
            ("rouge2", mean(|r| r.two.f)),
            ("rougeL", mean(|r| r.l.f)),
            ("rougeLsum", mean(|r| r.l_sum.f)),
            ("exact_match", equal as f64 / rows.len() as f64),
        ]
    }

    /// chrF of the row; 1 for a text that is a reference.
    fn score(&self, row: usize) -> f64 {
        let equal = exact_match(&self.references[row..=row], &self.texts[row..=row]) == 1.0;
        if equal { 1.0 } else { chrf::score(&self.chrf[row], &ChrfOptions::default()) / 100.0 }
    }

    fn shown(&self, row: usize) -> (String, String) {
        (self.references[row].join(" | "), self.texts[row].clone())
    }

    fn joined(&self, other: &Self) -> Self {
        Self {
            references: [&self.references[..], &other.references].concat(),
            texts: [&self.texts[..], &other.texts].concat(),
            bleu: [&self.bleu[..], &other.bleu].concat(),
            chrf: [&self.chrf[..], &other.chrf].concat(),
            rouge: [&self.rouge[..], &other.rouge].concat(),
            options: self.options,
        }
    }
}
