//! Two models on the same rows: for each metric the difference, where it lies, and how likely it is to be chance.

use serde::Serialize;

use super::Evaluated;
use crate::metrics::bootstrap;

/// The difference in one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The metric.
    pub name: &'static str,
    /// Of the first model.
    pub first: f64,
    /// Of the second.
    pub second: f64,
    /// Second less first.
    pub difference: f64,
    /// Where the difference lies with probability 0.95, by bootstrap: the lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How likely a difference as large is where the models don't differ: permutation test, two-sided.
    pub p: f64,
}

/// Compares `second` with `first` in all their metrics; those that are undefined somewhere are left out.
///
/// # Panics
/// When the two don't have the same number of rows.
pub fn compare<E: Evaluated>(first: &E, second: &E, rounds: usize, seed: u64) -> Vec<Comparison> {
    assert_eq!(first.rows(), second.rows(), "both models' predictions of the same rows");
    let n = first.rows();
    let all: Vec<usize> = (0..n).collect();
    let (of_first, of_second) = (first.metrics(&all), second.metrics(&all));
    let both = first.joined(second);
    let found = bootstrap::paired_all(n, rounds, seed, |rows| {
        let rows: Vec<usize> = rows.iter().map(|&(row, is_second)| if is_second { row + n } else { row }).collect();
        both.metrics(&rows).into_iter().map(|(_, value)| value).collect()
    });
    let mut comparisons = Vec::new();
    for (((name, first), (_, second)), paired) in of_first.into_iter().zip(of_second).zip(found) {
        comparisons.extend(paired.map(|paired| Comparison {
            name,
            first,
            second,
            difference: paired.difference,
            low: paired.interval.low,
            high: paired.interval.high,
            p: paired.permutation,
        }));
    }
    comparisons
}
