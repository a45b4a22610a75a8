//! Random choices that several objectives make: so many of so many, words as units, counts from rates. All are
//! functions of the generator they are given.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// `count` of the numbers below `total`, each set equally likely: true where chosen, `[total]`.
pub(crate) fn choose(total: usize, count: usize, random: &mut ChaCha8Rng) -> Vec<bool> {
    let mut chosen: Vec<bool> = (0..total).map(|i| i < count).collect();
    chosen.shuffle(random);
    chosen
}

/// The numbers below `total` in random order.
pub(crate) fn permutation(total: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..total).collect();
    order.shuffle(random);
    order
}

/// How many of `total` a rate means: rounded as the T5 code rounds, at least one of anything.
pub(crate) fn count_of(total: usize, rate: f64) -> usize {
    ((total as f64 * rate).round_ties_even() as usize).clamp(usize::from(total > 0), total)
}

/// Whether something happens that does so with this probability.
pub(crate) fn happens(probability: f64, random: &mut ChaCha8Rng) -> bool {
    random.random::<f64>() < probability
}

/// The places of true.
pub(crate) fn places(flags: &[bool]) -> Vec<usize> {
    (0..flags.len()).filter(|&place| flags[place]).collect()
}

/// The stretches of true: where each begins and ends.
pub(crate) fn runs(flags: &[bool]) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut start = None;
    for (place, &flag) in flags.iter().chain([&false]).enumerate() {
        match (flag, start) {
            (true, None) => start = Some(place),
            (false, Some(begun)) => {
                runs.push((begun, place));
                start = None;
            }
            _ => {}
        }
    }
    runs
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::SeedableRng;

    use super::*;

    pub(crate) fn random(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// Pearson's statistic for counts against the probabilities they should follow.
    pub(crate) fn chi_square(counts: &[u64], probabilities: &[f64]) -> f64 {
        let total: u64 = counts.iter().sum();
        let terms = counts.iter().zip(probabilities).map(|(&count, p)| {
            let expected = total as f64 * p;
            (count as f64 - expected).powi(2) / expected
        });
        terms.sum()
    }

    #[test]
    fn every_subset_is_as_likely() {
        let mut random = random(1);
        let mut counts = [0_u64; 8];
        for _ in 0..100_000 {
            let chosen = choose(3, 2, &mut random);
            counts[chosen.iter().fold(0, |n, &flag| 2 * n + usize::from(flag))] += 1;
        }
        // 2 degrees of freedom: 13.8 at one in a thousand
        assert!(chi_square(&[counts[3], counts[5], counts[6]], &[1.0 / 3.0; 3]) < 13.8, "{counts:?}");
        assert_eq!(counts[3] + counts[5] + counts[6], 100_000);
    }

    #[test]
    fn stretches_are_found_to_the_end() {
        assert_eq!(runs(&[true, false, true, true]), [(0, 1), (2, 4)]);
        assert!(runs(&[false]).is_empty() && runs(&[]).is_empty());
    }

    #[test]
    fn halves_round_to_even() {
        assert_eq!([count_of(10, 0.25), count_of(14, 0.25), count_of(2, 0.1), count_of(0, 0.5)], [2, 4, 1, 0]);
    }
}
