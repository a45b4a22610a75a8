//! How sure a number is: percentile bootstrap intervals (Efron), and two paired tests of the difference between two
//! models on the same examples, bootstrap (Koehn 2004) and permutation (approximate randomization, Noreen 1989).
//! For any metric: the caller computes it of chosen examples.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Below so many examples all exchanges are tried instead of random ones.
const EXACT: usize = 14;

/// The interval that holds the metric with probability `level`, from `resamples` samples with replacement of `n`
/// examples. `metric` gets the numbers of the chosen examples. None without an example or where the metric is not
/// finite.
pub fn interval(
    n: usize,
    resamples: usize,
    level: f64,
    seed: u64,
    mut metric: impl FnMut(&[usize]) -> f64,
) -> Option<Interval> {
    if n == 0 || resamples == 0 {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = vec![0; n];
    let mut values = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        rows.iter_mut().for_each(|row| *row = below(n, &mut random));
        values.push(metric(&rows));
    }
    of_samples(values, level)
}

/// The interval that holds the share `level` of samples, as many on either side. None without a sample or where one is
/// not finite.
pub fn of_samples(mut samples: Vec<f64>, level: f64) -> Option<Interval> {
    if samples.is_empty() || !samples.iter().all(|value| value.is_finite()) {
        return None;
    }
    samples.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Some(Interval { low: quantile(&samples, tail), high: quantile(&samples, 1.0 - tail) })
}

/// The interval of a mean.
pub fn mean_interval(values: &[f64], resamples: usize, level: f64, seed: u64) -> Option<Interval> {
    interval(values.len(), resamples, level, seed, |rows| mean(rows.iter().map(|&row| values[row]), rows.len()))
}

/// Of a paired test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// The second model's metric less the first's.
    pub difference: f64,
    /// Where the difference lies with probability 0.95, by bootstrap.
    pub interval: Interval,
    /// The share of samples in which the second is not better than the first (or not worse, where it is worse).
    pub bootstrap: f64,
    /// How likely a difference at least as large is if exchanging the two models' answers made no difference; two-sided.
    pub permutation: f64,
}

/// Compares two models on `n` examples. `metric` gets pairs of an example's number and whether the second model's
/// answer to it counts, and gives the metric of those answers. None without an example or where it is not finite.
pub fn paired(n: usize, rounds: usize, seed: u64, mut metric: impl FnMut(&[(usize, bool)]) -> f64) -> Option<Paired> {
    paired_all(n, rounds, seed, |rows| vec![metric(rows)]).pop().flatten()
}

/// The same for several metrics at once, from the same samples.
pub fn paired_all(
    n: usize,
    rounds: usize,
    seed: u64,
    mut metrics: impl FnMut(&[(usize, bool)]) -> Vec<f64>,
) -> Vec<Option<Paired>> {
    if n == 0 || rounds == 0 {
        return Vec::new();
    }
    let mut differences = |pick: &mut dyn FnMut(usize) -> (usize, bool)| -> Vec<f64> {
        let mut rows: Vec<(usize, bool)> = (0..n).map(pick).collect();
        let first = metrics(&rows);
        rows.iter_mut().for_each(|(_, second)| *second = !*second);
        metrics(&rows).iter().zip(first).map(|(second, first)| second - first).collect()
    };
    let observed = differences(&mut |row| (row, false));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let sampled: Vec<Vec<f64>> = (0..rounds).map(|_| differences(&mut |_| (below(n, &mut random), false))).collect();
    let exchanged: Vec<Vec<f64>> = if n <= EXACT {
        (0..1usize << n).map(|set| differences(&mut |row| (row, set >> row & 1 == 1))).collect()
    } else {
        (0..rounds).map(|_| differences(&mut |row| (row, random.next_u32() >> 31 == 1))).collect()
    };
    // where not all assignments were tried, the observed one is one of the possible ones
    let own = usize::from(n > EXACT);
    let result = |(metric, &difference): (usize, &f64)| {
        let mut values: Vec<f64> = sampled.iter().map(|sample| sample[metric]).collect();
        let against = values.iter().filter(|&&d| if difference >= 0.0 { d <= 0.0 } else { d >= 0.0 }).count();
        let finite = difference.is_finite() && values.iter().all(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        // rounding must not decide between equals
        let least = difference.abs() * (1.0 - 1e-12) - 1e-300;
        let extreme = exchanged.iter().filter(|all| all[metric].abs() >= least).count();
        finite.then(|| Paired {
            difference,
            interval: Interval { low: quantile(&values, 0.025), high: quantile(&values, 0.975) },
            bootstrap: against as f64 / rounds as f64,
            permutation: (extreme + own) as f64 / (exchanged.len() + own) as f64,
        })
    };
    observed.iter().enumerate().map(result).collect()
}

/// Compares two models by the mean of a score an example.
///
/// # Panics
/// When the two differ in length.
pub fn paired_means(first: &[f64], second: &[f64], rounds: usize, seed: u64) -> Option<Paired> {
    assert_eq!(first.len(), second.len(), "both models' scores of the same examples");
    paired(first.len(), rounds, seed, |rows| {
        mean(rows.iter().map(|&(row, second_counts)| if second_counts { second[row] } else { first[row] }), rows.len())
    })
}

fn mean(values: impl Iterator<Item = f64>, n: usize) -> f64 {
    values.sum::<f64>() / n as f64
}

/// Linear between neighbours, as NumPy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (sorted[high] - sorted[low]) * part
}

fn below(n: usize, random: &mut ChaCha8Rng) -> usize {
    ((u128::from(random.next_u64()) * n as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        // means of 60 throws of a die that shows 1 with probability 0.3
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut inside = 0;
        for round in 0..300 {
            let throws: Vec<f64> = (0..60).map(|_| f64::from(u8::from(below(10, &mut random) < 3))).collect();
            let found = mean_interval(&throws, 300, 0.9, round).unwrap();
            inside += usize::from(found.low <= 0.3 && 0.3 <= found.high);
        }
        assert!((250..=285).contains(&inside), "{inside}");
    }

    #[test]
    fn a_difference_is_found_and_none_is_not() {
        let first: Vec<f64> = (0..200).map(|i| f64::from(i % 10 < 6)).collect();
        let second: Vec<f64> = (0..200).map(|i| f64::from(i % 10 < 8)).collect();
        let better = paired_means(&first, &second, 500, 3).unwrap();
        assert!((better.difference - 0.2).abs() < 1e-9 && better.permutation < 0.01 && better.bootstrap < 0.01);
        assert!(better.interval.low > 0.1 && better.interval.high < 0.3);
        let same = paired_means(&first, &first, 200, 3).unwrap();
        assert_eq!((same.difference, same.permutation), (0.0, 1.0));
        assert!(paired_means(&[], &[], 200, 3).is_none());
    }

    #[test]
    fn few_examples_are_tested_exactly() {
        // all three differences positive: 2 of 8 assignments are as extreme
        let found = paired_means(&[0.0, 0.0, 0.0], &[1.0, 2.0, 3.0], 10, 0).unwrap();
        assert_eq!(found.permutation, 0.25);
    }
}
