//! Random numbers of a generation: each is a function of (seed, sequence, place), so that a text doesn't depend on what
//! is generated beside it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The random numbers of one sequence.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    numbers: ChaCha8Rng,
}

/// Numbers that one place may need: a draw, and the guesses that speculation tests.
const A_PLACE: u128 = 16;

impl Draws {
    /// Of sequence `number`.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut numbers = ChaCha8Rng::seed_from_u64(seed);
        numbers.set_stream(number);
        Self { numbers }
    }

    /// Goes to the numbers of the token at `place`.
    pub fn at(&mut self, place: usize) -> &mut Self {
        self.numbers.set_word_pos(place as u128 * A_PLACE);
        self
    }

    /// A number in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.numbers.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A token by weights, of which none is negative and one positive.
    pub fn weighted(&mut self, weights: impl Iterator<Item = f32> + Clone) -> usize {
        let total: f64 = weights.clone().map(f64::from).sum();
        let mut left = self.unit() * total;
        let mut last = 0;
        for (token, weight) in weights.enumerate().filter(|&(_, weight)| weight > 0.0) {
            last = token;
            left -= f64::from(weight);
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// A number of the standard Gumbel distribution: adding one to each score and taking the greatest draws without
    /// replacement (Kool et al. 2019).
    pub fn gumbel(&mut self) -> f32 {
        let unit = ((self.numbers.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -(-unit.ln()).ln() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_its_numbers() {
        let mut draws = Draws::new(1, 2);
        let first = draws.at(3).unit();
        assert_ne!(first, draws.unit());
        assert_eq!(first, Draws::new(1, 2).at(3).unit());
        assert_ne!(first, Draws::new(1, 3).at(3).unit());
        assert_ne!(first, Draws::new(2, 2).at(3).unit());
        assert_ne!(first, draws.at(4).unit());
    }

    #[test]
    fn weights_are_what_is_drawn() {
        let mut counts = [0_u32; 4];
        for place in 0..20_000 {
            counts[Draws::new(5, 0).at(place).weighted([1.0, 0.0, 2.0, 5.0].into_iter())] += 1;
        }
        // chi-square with two degrees of freedom: 13.8 at one in a thousand
        let chi: f64 = [(0, 2500.0), (2, 5000.0), (3, 12_500.0)]
            .map(|(i, expected): (usize, f64)| (f64::from(counts[i]) - expected).powi(2) / expected)
            .iter()
            .sum();
        assert!(counts[1] == 0 && chi < 13.8, "{counts:?} {chi}");
    }
}
