//! Token masking (Lewis et al. 2020, §2.2): random tokens become the mask, one for one.

use rand_chacha::ChaCha8Rng;

use super::super::draws;
use super::Noisy;

/// `noisy` with a share of its tokens masked, each set of so many as likely.
pub(super) fn apply(noisy: Noisy, rate: f64, mask: u32, random: &mut ChaCha8Rng) -> Noisy {
    let count = draws::count_of(noisy.ids.len(), rate);
    let chosen = draws::choose(noisy.ids.len(), count, random);
    masked(noisy, &chosen, mask)
}

/// `noisy` with the chosen tokens masked.
fn masked(mut noisy: Noisy, chosen: &[bool], mask: u32) -> Noisy {
    for place in draws::places(chosen) {
        noisy.ids[place] = mask;
        noisy.corrupted[place] = true;
    }
    noisy
}

#[cfg(test)]
mod tests {
    use super::super::super::draws::tests::{chi_square, random};
    use super::super::tests::noisy;
    use super::*;

    /// By hand: A B C D E becomes A _ C _ E.
    #[test]
    fn a_mask_stands_for_each_token() {
        let made = masked(noisy(5), &[false, true, false, true, false], 4);
        assert_eq!(made.ids, [100, 4, 102, 4, 104]);
        assert_eq!((draws::places(&made.corrupted), made.sentences), (vec![1, 3], vec![0]));
    }

    #[test]
    fn so_many_tokens_anywhere() {
        let (mut random, mut counts) = (random(1), [0_u64; 20]);
        for _ in 0..33_334 {
            let made = apply(noisy(20), 0.15, 4, &mut random);
            let masked: Vec<usize> = (0..20).filter(|&place| made.ids[place] == 4).collect();
            assert_eq!((masked.len(), draws::places(&made.corrupted)), (3, masked.clone()));
            masked.iter().for_each(|&place| counts[place] += 1);
        }
        // 19 degrees of freedom: 43.8 at one in a thousand
        assert!(chi_square(&counts, &[0.05; 20]) < 43.8, "{counts:?}");
    }
}
