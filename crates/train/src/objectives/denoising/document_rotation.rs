//! Document rotation (Lewis et al. 2020, §2.2): the text begins at a uniformly chosen token; what came before follows
//! its end.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::super::draws::happens;
use super::{Noisy, Token};

/// `noisy`, with probability `rate` from a random token on.
pub(super) fn apply(noisy: Noisy, rate: f64, random: &mut ChaCha8Rng) -> Noisy {
    if noisy.ids.is_empty() || !happens(rate, random) {
        return noisy;
    }
    let start = random.random_range(0..noisy.ids.len());
    turned(noisy, start)
}

/// `noisy` from the token at `start` on.
pub(super) fn turned(noisy: Noisy, start: usize) -> Noisy {
    if start == 0 {
        return noisy;
    }
    let mut tokens: Vec<Token> = noisy.tokens().map(|token| Token { corrupted: true, ..token }).collect();
    tokens.rotate_left(start);
    tokens.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::draws::tests::{chi_square, random};
    use super::super::tests::noisy;
    use super::*;

    /// By hand: "A B C. D E." from C on is "C. D E. A B", three sentences now.
    #[test]
    fn what_came_before_follows_the_end() {
        let text = Noisy { sentences: vec![0, 3], ..noisy(5) };
        let made = turned(text.clone(), 2);
        assert_eq!((made.ids, made.sentences), (vec![102, 103, 104, 100, 101], vec![0, 1, 3]));
        assert_eq!(made.corrupted, [true; 5]);
        assert_eq!(turned(text.clone(), 0), text);
    }

    #[test]
    fn any_token_may_be_the_first() {
        let (mut random, mut counts) = (random(1), [0_u64; 20]);
        for _ in 0..100_000 {
            let made = apply(noisy(20), 1.0, &mut random);
            let first = made.ids[0] - 100;
            assert!((0..20).all(|i| made.ids[i] == 100 + (first + i as u32) % 20));
            counts[first as usize] += 1;
        }
        assert!(chi_square(&counts, &[0.05; 20]) < 43.8, "{counts:?}");
    }

    #[test]
    fn so_many_texts_turn() {
        let (mut random, mut counts) = (random(4), [0_u64; 2]);
        for _ in 0..100_000 {
            counts[usize::from(apply(noisy(20), 0.4, &mut random) == noisy(20))] += 1;
        }
        // one in twenty that turn begins with its first token all the same
        assert!(chi_square(&counts, &[0.4 * 0.95, 1.0 - 0.4 * 0.95]) < 10.8, "{counts:?}");
    }

    #[test]
    fn sentences_turn_along() {
        let mut random = random(2);
        let made = apply(noisy(25), 1.0, &mut random);
        let starts: Vec<u32> = made.sentences[1..].iter().map(|&place| made.ids[place]).collect();
        assert!(starts.iter().all(|id| [100, 110, 120].contains(id)) && !starts.is_empty());
        assert_eq!(apply(noisy(25), 1e-12, &mut random), noisy(25));
    }
}
