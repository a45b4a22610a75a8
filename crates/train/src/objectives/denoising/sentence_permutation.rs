//! Sentence permutation (Lewis et al. 2020, §2.2): the text's sentences in random order.

use rand_chacha::ChaCha8Rng;

use super::super::draws;
use super::{Noisy, Token};

/// `noisy` with a share of its sentences, rounded up, in each other's places.
pub(super) fn apply(noisy: &Noisy, rate: f64, random: &mut ChaCha8Rng) -> Noisy {
    let count = noisy.sentences.len();
    let moving = ((count as f64 * rate).ceil() as usize).min(count);
    let mut order: Vec<usize> = (0..count).collect();
    let places = draws::places(&draws::choose(count, moving, random));
    for (place, from) in places.iter().zip(draws::permutation(moving, random)) {
        order[*place] = places[from];
    }
    arranged(noisy, &order)
}

/// The sentences in this order: `order[place]` is which of them stands there.
pub(super) fn arranged(noisy: &Noisy, order: &[usize]) -> Noisy {
    let tokens: Vec<Token> = noisy.tokens().collect();
    let end_of = |sentence: usize| noisy.sentences.get(sentence + 1).copied().unwrap_or(tokens.len());
    let sentences = order.iter().enumerate().flat_map(|(place, &from)| {
        tokens[noisy.sentences[from]..end_of(from)]
            .iter()
            .map(move |token| Token { corrupted: token.corrupted || place != from, ..*token })
    });
    sentences.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::draws::tests::{chi_square, random};
    use super::super::tests::noisy;
    use super::*;

    /// By hand: "A B. C D E. F." in the order third, first, second.
    #[test]
    fn sentences_come_as_they_are_ordered() {
        let text = Noisy { sentences: vec![0, 2, 5], ..noisy(6) };
        let made = arranged(&text, &[2, 0, 1]);
        assert_eq!((made.ids, made.sentences), (vec![105, 100, 101, 102, 103, 104], vec![0, 1, 3]));
        assert_eq!(made.corrupted, [true; 6]);
        let made = arranged(&text, &[0, 2, 1]);
        assert_eq!(made.ids, [100, 101, 105, 102, 103, 104]);
        assert_eq!(draws::places(&made.corrupted), [2, 3, 4, 5]);
    }

    #[test]
    fn every_order_is_as_likely() {
        let (mut random, mut counts) = (random(1), [0_u64; 6]);
        for _ in 0..100_000 {
            let made = apply(&noisy(25), 1.0, &mut random);
            let order: Vec<u32> = made.sentences.iter().map(|&place| (made.ids[place] - 100) / 10).collect();
            let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
            counts[orders.iter().position(|known| *known == order[..]).unwrap()] += 1;
            let mut ids = made.ids.clone();
            ids.sort_unstable();
            assert_eq!(ids, (100..125).collect::<Vec<u32>>());
        }
        // 5 degrees of freedom: 20.5 at one in a thousand
        assert!(chi_square(&counts, &[1.0 / 6.0; 6]) < 20.5, "{counts:?}");
    }

    #[test]
    fn those_that_do_not_move_stay() {
        let (mut random, mut pairs, mut still) = (random(2), [0_u64; 10], 0_u64);
        for _ in 0..100_000 {
            let made = apply(&noisy(50), 0.4, &mut random);
            let moved: Vec<usize> = (0..5).filter(|&s| made.ids[10 * s] != 100 + 10 * s as u32).collect();
            assert_eq!(made.corrupted.iter().filter(|flag| **flag).count(), 10 * moved.len());
            match moved[..] {
                [] => still += 1,
                // 01, 02, 12, 03, …
                [a, b] => pairs[b * (b - 1) / 2 + a] += 1,
                _ => panic!("two of five change places, or none: {moved:?}"),
            }
        }
        // 9 degrees of freedom: 27.9 at one in a thousand; 1: 10.8
        assert!(chi_square(&pairs, &[0.1; 10]) < 27.9, "{pairs:?}");
        assert!(chi_square(&[still, 100_000 - still], &[0.5; 2]) < 10.8, "{still}");
    }
}
