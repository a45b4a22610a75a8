//! What is reported of predictions: metrics with intervals, a table of labels, confusion, calibration, scores by
//! length, errors, the worst first.

use serde::Serialize;

use crate::metrics::calibration::Bin;
use crate::metrics::{Counts, bootstrap};

/// Gold and predictions of some rows, of which metrics can be computed for any choice of rows, repeated ones too.
pub trait Evaluated {
    /// What it evaluates, for messages: `text classification`.
    const TASK: &'static str;

    /// How many rows there are.
    fn rows(&self) -> usize;

    /// The metrics of these rows, the one that is quoted first. NaN where one is undefined.
    fn metrics(&self, rows: &[usize]) -> Vec<(&'static str, f64)>;

    /// How good a row's prediction is, from 0 to 1.
    fn score(&self, row: usize) -> f64;

    /// How bad it is, for ordering errors; by default by the score.
    fn badness(&self, row: usize) -> f64 {
        1.0 - self.score(row)
    }

    /// Gold and prediction of a row, for people.
    fn shown(&self, row: usize) -> (String, String);

    /// Each label's name and counts, where there are labels.
    fn labels(&self) -> Vec<(String, Counts)> {
        Vec::new()
    }

    /// What was taken for what, `[gold][predicted]` in the order of [`Self::labels`].
    fn confusion(&self) -> Option<Vec<Vec<u64>>> {
        None
    }

    /// Confidence against accuracy.
    fn calibration(&self) -> Option<Vec<Bin>> {
        None
    }

    /// The rows of `self`, then those of `other`, which has predictions for the same gold.
    #[must_use]
    fn joined(&self, other: &Self) -> Self;
}

/// What a report holds beside the metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReportOptions {
    /// Samples of the bootstrap; 0 for no intervals. Default: 1000.
    pub resamples: usize,
    /// What an interval holds with. Default: 0.95.
    pub level: f64,
    /// Of the bootstrap's random numbers. Default: 0.
    pub seed: u64,
    /// How many errors are listed. Default: 20.
    pub errors: usize,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self { resamples: 1000, level: 0.95, seed: 0, errors: 20 }
    }
}

/// A metric with its interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Its value; none where it is undefined.
    pub value: Option<f64>,
    /// Where it lies with the probability asked for: the lower end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The upper end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// A label's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelRow {
    /// Its name.
    pub label: String,
    /// Right of those given.
    pub precision: f64,
    /// Right of those to be given.
    pub recall: f64,
    /// The harmonic mean.
    pub f1: f64,
    /// How often it is gold.
    pub support: u64,
}

/// Rows of about one length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lengths {
    /// Tokens, from.
    pub from: usize,
    /// Tokens, up to and with.
    pub to: usize,
    /// How many rows.
    pub rows: usize,
    /// Their mean score.
    pub score: f64,
}

/// A wrong prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mistake {
    /// Which row, from 1.
    pub row: usize,
    /// What was read.
    pub text: String,
    /// What it should have been.
    pub gold: String,
    /// What it was.
    pub predicted: String,
    /// How good that is, 0 to 1.
    pub score: f64,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What was evaluated.
    pub task: &'static str,
    /// On how many rows.
    pub rows: usize,
    /// The metrics, the one that is quoted first.
    pub metrics: Vec<Figure>,
    /// Each label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelRow>,
    /// What was taken for what, gold by predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Count, mean confidence and accuracy of predictions of about one confidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Vec<(u64, f64, f64)>>,
    /// By length in tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lengths: Vec<Lengths>,
    /// How many rows are not entirely right.
    pub wrong: usize,
    /// The worst of them.
    pub errors: Vec<Mistake>,
}

/// Groups of rows by length.
const GROUPS: usize = 6;

impl Report {
    /// Computes a report. `texts` and `lengths` (in tokens) are of the same rows; either may be empty.
    pub fn new<E: Evaluated>(of: &E, texts: &[String], lengths: &[usize], options: &ReportOptions) -> Self {
        let all: Vec<usize> = (0..of.rows()).collect();
        let intervals = intervals(of, options);
        let figure = |(i, (name, value)): (usize, (&'static str, f64))| {
            let found: Option<bootstrap::Interval> = intervals.get(i).copied().flatten();
            let value = value.is_finite().then_some(value);
            let found = found.filter(|_| value.is_some());
            Figure { name, value, low: found.map(|i| i.low), high: found.map(|i| i.high) }
        };
        let metrics = of.metrics(&all).into_iter().enumerate().map(figure).collect();
        let label = |(label, counts): (String, Counts)| LabelRow {
            label,
            precision: counts.precision(),
            recall: counts.recall(),
            f1: counts.f1(),
            support: counts.gold,
        };
        let mut wrong: Vec<usize> = all.iter().copied().filter(|&row| of.score(row) < 1.0).collect();
        wrong.sort_by(|&a, &b| of.badness(b).total_cmp(&of.badness(a)));
        let mistake = |&row: &usize| {
            let (gold, predicted) = of.shown(row);
            let text = texts.get(row).cloned().unwrap_or_default();
            Mistake { row: row + 1, text, gold, predicted, score: of.score(row) }
        };
        Self {
            task: E::TASK,
            rows: of.rows(),
            metrics,
            labels: of.labels().into_iter().map(label).collect(),
            confusion: of.confusion(),
            calibration: of
                .calibration()
                .map(|bins| bins.iter().map(|bin| (bin.count, bin.confidence, bin.accuracy)).collect()),
            lengths: by_length(of, lengths),
            wrong: wrong.len(),
            errors: wrong.iter().take(options.errors).map(mistake).collect(),
        }
    }

    /// A metric's value by name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|figure| figure.name == name)?.value
    }

    /// The metric that is quoted: name and value.
    pub fn main(&self) -> Option<(&'static str, f64)> {
        let figure = self.metrics.first()?;
        Some((figure.name, figure.value?))
    }
}

/// One interval a metric, from the same samples.
fn intervals<E: Evaluated>(of: &E, options: &ReportOptions) -> Vec<Option<bootstrap::Interval>> {
    samples(of, options).into_iter().map(|values| bootstrap::of_samples(values, options.level)).collect()
}

/// For each metric its values on the bootstrap's samples of rows.
pub(super) fn samples<E: Evaluated>(of: &E, options: &ReportOptions) -> Vec<Vec<f64>> {
    let mut samples: Vec<Vec<f64>> = Vec::new();
    let _ = bootstrap::interval(of.rows(), options.resamples, options.level, options.seed, |rows| {
        for (i, (_, value)) in of.metrics(rows).into_iter().enumerate() {
            if samples.len() <= i {
                samples.push(Vec::new());
            }
            samples[i].push(value);
        }
        0.0
    });
    samples
}

fn by_length<E: Evaluated>(of: &E, lengths: &[usize]) -> Vec<Lengths> {
    if lengths.len() != of.rows() {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| lengths[row]);
    let mut groups: Vec<Lengths> = Vec::new();
    let size = order.len().div_ceil(GROUPS).max(1);
    // rows of one length stay together
    for row in order {
        let new = groups.last().is_none_or(|group| group.rows >= size && group.to != lengths[row]);
        if new {
            groups.push(Lengths { from: lengths[row], to: lengths[row], rows: 0, score: 0.0 });
        }
        if let Some(group) = groups.last_mut() {
            group.to = lengths[row];
            group.rows += 1;
            group.score += of.score(row);
        }
    }
    groups.iter_mut().for_each(|group| group.score /= group.rows as f64);
    groups
}
