//! Texts or pairs with one label each, or with any number of them.

use super::Evaluated;
use crate::metrics::calibration::{BINS, Bin, expected_error, reliability};
use crate::metrics::classification::multi_label_counts;
use crate::metrics::{Averages, Confusion, Counts, accuracy, matthews};

/// One label a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes {
    gold: Vec<usize>,
    predicted: Vec<usize>,
    /// Of gold and of the prediction.
    probabilities: Vec<(f64, f64)>,
    labels: Vec<String>,
}

impl Classes {
    /// From the probabilities of all labels, `[rows][labels]`; the first of equals is the prediction.
    ///
    /// # Panics
    /// When the numbers of rows or labels don't agree.
    pub fn new(gold: Vec<usize>, probabilities: &[Vec<f32>], labels: Vec<String>) -> Self {
        assert_eq!(gold.len(), probabilities.len(), "a prediction for each");
        let mut this = Self { gold, predicted: Vec::new(), probabilities: Vec::new(), labels };
        for (&gold, row) in this.gold.iter().zip(probabilities) {
            assert!(row.len() == this.labels.len() && gold < row.len(), "a probability for each label");
            let best = (0..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
            this.predicted.push(best);
            this.probabilities.push((f64::from(row[gold]), f64::from(row[best])));
        }
        this
    }
}

impl Evaluated for Classes {
    const TASK: &'static str = "text classification";

    fn rows(&self) -> usize {
        self.gold.len()
    }

    /// Accuracy; F1 of the second of two labels; macro and weighted F1; Matthews; the mean loss; the calibration
    /// error.
    fn metrics(&self, rows: &[usize]) -> Vec<(&'static str, f64)> {
        let gold: Vec<usize> = rows.iter().map(|&row| self.gold[row]).collect();
        let predicted: Vec<usize> = rows.iter().map(|&row| self.predicted[row]).collect();
        let confusion = Confusion::new(&gold, &predicted, self.labels.len());
        let seen = confusion.seen();
        let mut metrics = vec![("accuracy", accuracy(&gold, &predicted))];
        if self.labels.len() == 2 {
            metrics.push(("f1", confusion.counts()[1].f1()));
        }
        let loss: f64 = rows.iter().map(|&row| self.badness(row)).sum();
        let confidences: Vec<f64> = rows.iter().map(|&row| self.probabilities[row].1).collect();
        let right: Vec<bool> = rows.iter().map(|&row| self.gold[row] == self.predicted[row]).collect();
        metrics.extend([
            ("f1_macro", Averages::macro_(&seen).f1),
            ("f1_weighted", Averages::weighted(&seen).f1),
            ("matthews", matthews(&confusion)),
            ("loss", loss / rows.len() as f64),
            ("calibration_error", expected_error(&reliability(&confidences, &right, BINS))),
        ]);
        metrics
    }

    fn score(&self, row: usize) -> f64 {
        f64::from(u8::from(self.gold[row] == self.predicted[row]))
    }

    /// The loss, so that what was wrong with the most confidence comes first.
    fn badness(&self, row: usize) -> f64 {
        -self.probabilities[row].0.max(1e-45).ln()
    }

    fn shown(&self, row: usize) -> (String, String) {
        let predicted = &self.labels[self.predicted[row]];
        (self.labels[self.gold[row]].clone(), format!("{predicted} ({:.2})", self.probabilities[row].1))
    }

    fn labels(&self) -> Vec<(String, Counts)> {
        let counts = Confusion::new(&self.gold, &self.predicted, self.labels.len()).counts();
        self.labels.iter().cloned().zip(counts).collect()
    }

    fn confusion(&self) -> Option<Vec<Vec<u64>>> {
        let confusion = Confusion::new(&self.gold, &self.predicted, self.labels.len());
        let all = 0..self.labels.len();
        Some(all.clone().map(|gold| all.clone().map(|predicted| confusion.count(gold, predicted)).collect()).collect())
    }

    fn calibration(&self) -> Option<Vec<Bin>> {
        let confidences: Vec<f64> = self.probabilities.iter().map(|p| p.1).collect();
        let right: Vec<bool> = self.gold.iter().zip(&self.predicted).map(|(a, b)| a == b).collect();
        Some(reliability(&confidences, &right, BINS))
    }

    fn joined(&self, other: &Self) -> Self {
        Self {
            gold: [&self.gold[..], &other.gold].concat(),
            predicted: [&self.predicted[..], &other.predicted].concat(),
            probabilities: [&self.probabilities[..], &other.probabilities].concat(),
            labels: self.labels.clone(),
        }
    }
}

/// Any number of labels a row.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSets {
    gold: Vec<Vec<bool>>,
    predicted: Vec<Vec<bool>>,
    labels: Vec<String>,
}

impl LabelSets {
    /// From the probabilities of all labels, `[rows][labels]`; those of at least `threshold` are given.
    ///
    /// # Panics
    /// When the numbers of rows or labels don't agree.
    pub fn new(gold: Vec<Vec<bool>>, probabilities: &[Vec<f32>], labels: Vec<String>, threshold: f32) -> Self {
        assert_eq!(gold.len(), probabilities.len(), "a prediction for each");
        let predicted: Vec<Vec<bool>> =
            probabilities.iter().map(|row| row.iter().map(|&p| p >= threshold).collect()).collect();
        let fits = gold.iter().chain(&predicted).all(|row| row.len() == labels.len());
        assert!(fits, "a value for each label");
        Self { gold, predicted, labels }
    }

    fn names(&self, row: &[bool]) -> String {
        let names = row.iter().zip(&self.labels).filter(|(given, _)| **given).map(|(_, name)| name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}

impl Evaluated for LabelSets {
    const TASK: &'static str = "multi-label classification";

    fn rows(&self) -> usize {
        self.gold.len()
    }

    /// F1 micro, macro and weighted; the share of rows whose labels are all right.
    fn metrics(&self, rows: &[usize]) -> Vec<(&'static str, f64)> {
        let gold: Vec<Vec<bool>> = rows.iter().map(|&row| self.gold[row].clone()).collect();
        let predicted: Vec<Vec<bool>> = rows.iter().map(|&row| self.predicted[row].clone()).collect();
        let counts = multi_label_counts(&gold, &predicted, self.labels.len());
        vec![
            ("f1_micro", Averages::micro(&counts).f1),
            ("f1_macro", Averages::macro_(&counts).f1),
            ("f1_weighted", Averages::weighted(&counts).f1),
            ("accuracy", accuracy(&gold, &predicted)),
        ]
    }

    fn score(&self, row: usize) -> f64 {
        let counts = multi_label_counts(&self.gold[row..=row], &self.predicted[row..=row], self.labels.len());
        // nothing to give and nothing given is right
        if self.gold[row] == self.predicted[row] { 1.0 } else { Averages::micro(&counts).f1 }
    }

    fn shown(&self, row: usize) -> (String, String) {
        (self.names(&self.gold[row]), self.names(&self.predicted[row]))
    }

    fn labels(&self) -> Vec<(String, Counts)> {
        let counts = multi_label_counts(&self.gold, &self.predicted, self.labels.len());
        self.labels.iter().cloned().zip(counts).collect()
    }

    fn joined(&self, other: &Self) -> Self {
        Self {
            gold: [&self.gold[..], &other.gold].concat(),
            predicted: [&self.predicted[..], &other.predicted].concat(),
            labels: self.labels.clone(),
        }
    }
}
