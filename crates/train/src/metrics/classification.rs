//! Accuracy, confusion, precision, recall and F1 of labels, as scikit-learn computes them (where nothing is divided by
//! nothing the result is 0).

use super::ratio;

/// How often a label was right, wrongly given and missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given and right.
    pub right: u64,
    /// Given in all.
    pub given: u64,
    /// Right to be given, in all.
    pub gold: u64,
}

impl Counts {
    /// Right of those given.
    pub fn precision(&self) -> f64 {
        ratio(self.right as f64, self.given as f64)
    }

    /// Right of those that should be given.
    pub fn recall(&self) -> f64 {
        ratio(self.right as f64, self.gold as f64)
    }

    /// The harmonic mean of the two.
    pub fn f1(&self) -> f64 {
        ratio(2.0 * self.right as f64, (self.given + self.gold) as f64)
    }
}

/// Precision, recall and F1 over several labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Of those given.
    pub precision: f64,
    /// Of those to be given.
    pub recall: f64,
    /// The average of F1, or F1 of the sums.
    pub f1: f64,
}

impl Averages {
    /// Of all decisions together.
    pub fn micro(counts: &[Counts]) -> Self {
        let sum = counts.iter().fold(Counts::default(), |sum, one| Counts {
            right: sum.right + one.right,
            given: sum.given + one.given,
            gold: sum.gold + one.gold,
        });
        Self { precision: sum.precision(), recall: sum.recall(), f1: sum.f1() }
    }

    /// The mean over labels, each as important as the others.
    pub fn macro_(counts: &[Counts]) -> Self {
        Self::mean(counts, |_| 1.0)
    }

    /// The mean over labels, each as important as it is frequent.
    pub fn weighted(counts: &[Counts]) -> Self {
        Self::mean(counts, |one| one.gold as f64)
    }

    fn mean(counts: &[Counts], weight: impl Fn(&Counts) -> f64) -> Self {
        let total: f64 = counts.iter().map(&weight).sum();
        let mean = |score: fn(&Counts) -> f64| ratio(counts.iter().map(|c| weight(c) * score(c)).sum(), total);
        Self { precision: mean(Counts::precision), recall: mean(Counts::recall), f1: mean(Counts::f1) }
    }
}

/// The share of predictions that are right. 0 for none.
///
/// # Panics
/// When the two differ in length.
pub fn accuracy<T: PartialEq>(gold: &[T], predicted: &[T]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "a prediction for each");
    let right = gold.iter().zip(predicted).filter(|(a, b)| a == b).count();
    ratio(right as f64, gold.len() as f64)
}

/// What was taken for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    labels: usize,
    cells: Vec<u64>,
}

impl Confusion {
    /// Counts predictions of labels `0..labels`.
    ///
    /// # Panics
    /// When the two differ in length, or a label is out of range.
    pub fn new(gold: &[usize], predicted: &[usize], labels: usize) -> Self {
        assert_eq!(gold.len(), predicted.len(), "a prediction for each");
        let mut cells = vec![0; labels * labels];
        for (&gold, &predicted) in gold.iter().zip(predicted) {
            assert!(gold < labels && predicted < labels, "labels are below {labels}");
            cells[gold * labels + predicted] += 1;
        }
        Self { labels, cells }
    }

    /// How many labels there are.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// How often `gold` was taken for `predicted`.
    pub fn count(&self, gold: usize, predicted: usize) -> u64 {
        self.cells[gold * self.labels + predicted]
    }

    /// Each label's counts.
    pub fn counts(&self) -> Vec<Counts> {
        let all = 0..self.labels;
        let count = |label| Counts {
            right: self.count(label, label),
            given: all.clone().map(|gold| self.count(gold, label)).sum(),
            gold: all.clone().map(|predicted| self.count(label, predicted)).sum(),
        };
        all.clone().map(count).collect()
    }

    /// The counts of those labels that occur in gold or predictions: what averages are over.
    pub fn seen(&self) -> Vec<Counts> {
        self.counts().into_iter().filter(|counts| counts.gold + counts.given > 0).collect()
    }
}

/// The counts of each label where any number of them may be given, `[rows][labels]`.
///
/// # Panics
/// When the two differ in shape.
pub fn multi_label_counts(gold: &[Vec<bool>], predicted: &[Vec<bool>], labels: usize) -> Vec<Counts> {
    assert_eq!(gold.len(), predicted.len(), "a prediction for each");
    let mut counts = vec![Counts::default(); labels];
    for (gold, predicted) in gold.iter().zip(predicted) {
        assert!(gold.len() == labels && predicted.len() == labels, "a value for each of {labels} labels");
        for (count, (&gold, &predicted)) in counts.iter_mut().zip(gold.iter().zip(predicted)) {
            count.right += u64::from(gold && predicted);
            count.given += u64::from(predicted);
            count.gold += u64::from(gold);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_table() {
        let confusion = Confusion::new(&[0, 0, 1, 2], &[0, 1, 1, 1], 4);
        let counts = confusion.counts();
        assert_eq!(counts[1], Counts { right: 1, given: 3, gold: 1 });
        assert_eq!((counts[1].precision(), counts[1].recall(), counts[1].f1()), (1.0 / 3.0, 1.0, 0.5));
        assert_eq!(confusion.seen().len(), 3);
        assert_eq!(Averages::micro(&counts).f1, 0.5);
        assert_eq!(Averages::macro_(&[]), Averages::default());
    }
}
