//! Numbers: similarity, ratings.

use super::Evaluated;
use crate::metrics::{pearson, spearman};

/// A number a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratings {
    gold: Vec<f64>,
    predicted: Vec<f64>,
    /// The width of the gold numbers, which errors are measured by.
    width: f64,
}

impl Ratings {
    /// Gold and predictions.
    ///
    /// # Panics
    /// When there are not as many of both.
    pub fn new(gold: Vec<f64>, predicted: Vec<f64>) -> Self {
        assert_eq!(gold.len(), predicted.len(), "a prediction for each");
        let (low, high) = gold.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
        let width = if high > low { high - low } else { 1.0 };
        Self { gold, predicted, width }
    }
}

impl Evaluated for Ratings {
    const TASK: &'static str = "regression";

    fn rows(&self) -> usize {
        self.gold.len()
    }

    /// Pearson's and Spearman's correlation, mean squared and mean absolute error.
    fn metrics(&self, rows: &[usize]) -> Vec<(&'static str, f64)> {
        let gold: Vec<f64> = rows.iter().map(|&row| self.gold[row]).collect();
        let predicted: Vec<f64> = rows.iter().map(|&row| self.predicted[row]).collect();
        let mean = |error: fn(f64) -> f64| {
            gold.iter().zip(&predicted).map(|(a, b)| error(a - b)).sum::<f64>() / rows.len() as f64
        };
        vec![
            ("pearson", pearson(&gold, &predicted).unwrap_or(f64::NAN)),
            ("spearman", spearman(&gold, &predicted).unwrap_or(f64::NAN)),
            ("squared_error", mean(|error| error * error)),
            ("absolute_error", mean(f64::abs)),
        ]
    }

    /// 1 less the error's share of the gold numbers' width.
    fn score(&self, row: usize) -> f64 {
        1.0 - ((self.gold[row] - self.predicted[row]).abs() / self.width).min(1.0)
    }

    fn badness(&self, row: usize) -> f64 {
        (self.gold[row] - self.predicted[row]).abs()
    }

    fn shown(&self, row: usize) -> (String, String) {
        (format!("{:.3}", self.gold[row]), format!("{:.3}", self.predicted[row]))
    }

    fn joined(&self, other: &Self) -> Self {
        Self::new([&self.gold[..], &other.gold].concat(), [&self.predicted[..], &other.predicted].concat())
    }
}
