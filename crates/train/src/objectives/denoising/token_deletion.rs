//! Token deletion (Lewis et al. 2020, §2.2): random tokens vanish without a trace.

use rand_chacha::ChaCha8Rng;

use super::super::draws;
use super::Noisy;

/// `noisy` without a share of its tokens, each set of so many as likely; one is left at least.
pub(super) fn apply(noisy: Noisy, rate: f64, random: &mut ChaCha8Rng) -> Noisy {
    let length = noisy.ids.len();
    let count = draws::count_of(length, rate).min(length.saturating_sub(1));
    let deleted = draws::choose(length, count, random);
    without(&noisy, &deleted)
}

/// `noisy` without those tokens.
fn without(noisy: &Noisy, deleted: &[bool]) -> Noisy {
    let mut begins_sentence = false;
    let kept = noisy.tokens().zip(deleted).filter_map(|(mut token, &deleted)| {
        // a sentence that lost its first token begins with the next
        begins_sentence |= token.begins_sentence;
        if deleted {
            return None;
        }
        token.begins_sentence = std::mem::take(&mut begins_sentence);
        Some(token)
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::draws::tests::{chi_square, random};
    use super::super::tests::noisy;
    use super::*;

    /// By hand: of "A B C. D E F." B and D vanish, and the second sentence begins with E.
    #[test]
    fn nothing_stands_for_what_is_gone() {
        let text = Noisy { sentences: vec![0, 3], ..noisy(6) };
        let made = without(&text, &[false, true, false, true, false, false]);
        assert_eq!((made.ids, made.sentences), (vec![100, 102, 104, 105], vec![0, 2]));
        assert_eq!(made.corrupted, [false; 4]);
    }

    #[test]
    fn so_many_tokens_from_anywhere() {
        let (mut random, mut counts) = (random(1), [0_u64; 20]);
        for _ in 0..33_334 {
            let made = apply(noisy(20), 0.15, &mut random);
            assert!(made.ids.len() == 17 && made.ids.is_sorted(), "{:?}", made.ids);
            (0..20).filter(|i| !made.ids.contains(&(100 + i))).for_each(|i| counts[i as usize] += 1);
        }
        assert!(chi_square(&counts, &[0.05; 20]) < 43.8, "{counts:?}");
    }

    #[test]
    fn sentences_move_up() {
        let mut random = random(2);
        let made = apply(noisy(100), 0.5, &mut random);
        let firsts: Vec<u32> = made.sentences.iter().map(|&place| (made.ids[place] - 100) / 10).collect();
        assert!(firsts.windows(2).all(|w| w[0] < w[1]) && firsts.len() >= 9, "{firsts:?}");
        assert_eq!(apply(noisy(1), 1.0, &mut random).ids, [100], "one token is left");
    }
}
