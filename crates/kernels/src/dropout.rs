//! Dropout (Srivastava et al. 2014) whose mask is a function of a seed and an element's number: nothing is stored,
//! the backward draws the same mask again, and tiles can be computed in any order.

use std::mem::MaybeUninit;

use crate::buffer::{filled, for_row_blocks};
use crate::simd::multiversion;

/// A dropout call: its rate, and the seed of its mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability that an element becomes zero.
    pub rate: f32,
    /// The seed.
    pub seed: u64,
}

/// What the mask needs in an inner loop.
#[derive(Clone, Copy)]
pub(crate) struct Mask {
    low: u32,
    high: u32,
    threshold: u32,
    scale: f32,
}

impl Dropout {
    /// No dropout.
    pub const OFF: Self = Self { rate: 0.0, seed: 0 };

    /// Dropout of `rate`, from 0 (off) to below 1.
    ///
    /// # Panics
    /// When the rate is not.
    pub fn new(rate: f32, seed: u64) -> Self {
        assert!((0.0..1.0).contains(&rate), "a dropout rate lies from 0 to below 1, not {rate}");
        Self { rate, seed }
    }

    /// Whether anything is dropped.
    pub fn is_on(self) -> bool {
        self.rate > 0.0
    }

    pub(crate) fn mask(self) -> Mask {
        Mask {
            low: self.seed as u32,
            high: (self.seed >> 32) as u32,
            threshold: (f64::from(self.rate) * 4_294_967_296.0) as u32,
            scale: 1.0 / (1.0 - self.rate),
        }
    }

    /// What element `i` is multiplied by: 0, or `1 / (1 - rate)`.
    pub fn factor(self, i: u64) -> f32 {
        if self.is_on() { self.mask().factor(i) } else { 1.0 }
    }
}

impl Mask {
    /// See [`Dropout::factor`]; a 32-bit mixer (MurmurHash3's finaliser) over the halves of the element's number.
    #[inline(always)]
    pub(crate) fn factor(self, i: u64) -> f32 {
        let (low, high) = (i as u32, (i >> 32) as u32);
        let mut x = low.wrapping_mul(0x9E37_79B9) ^ self.low;
        x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
        x ^= high.wrapping_mul(0xC2B2_AE35) ^ self.high;
        x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
        x ^= x >> 16;
        if x >= self.threshold { self.scale } else { 0.0 }
    }
}

multiversion! {
    fn block(x: &[f32], y: &mut [MaybeUninit<f32>], mask: Mask, first: u64) {
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            y.write(*x * mask.factor(first + i as u64));
        }
    }
}

/// `x` with some elements zeroed and the others scaled up; a copy when dropout is off.
pub fn forward(x: &[f32], dropout: &Dropout) -> Vec<f32> {
    if !dropout.is_on() {
        return x.to_vec();
    }
    let mask = dropout.mask();
    // SAFETY: the blocks cover the whole output, and `block` writes every element of a block.
    unsafe { filled(x.len(), |y| for_row_blocks(y, 1, |at, y| block(&x[at..at + y.len()], y, mask, at as u64))) }
}

/// What each of `n` elements is multiplied by: the mask of [`forward`] as numbers.
pub fn mask(dropout: &Dropout, n: usize) -> Vec<f32> {
    forward(&vec![1.0; n], dropout)
}

/// The gradient of [`forward`].
pub fn backward(dy: &[f32], dropout: &Dropout) -> Vec<f32> {
    forward(dy, dropout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_elements_are_independent() {
        let d = Dropout::new(0.3, 42);
        let n = 1_000_000;
        let dropped: Vec<bool> = (0..n).map(|i| d.factor(i) == 0.0).collect();
        let share = dropped.iter().filter(|&&x| x).count() as f64 / n as f64;
        // five standard deviations of the binomial
        assert!((share - 0.3).abs() < 5.0 * (0.3_f64 * 0.7 / n as f64).sqrt(), "{share}");
        for lag in [1, 2, 64, 768] {
            let both = dropped.windows(lag + 1).filter(|w| w[0] && w[lag]).count() as f64 / n as f64;
            assert!((both - 0.09).abs() < 2e-3, "lag {lag}: {both}");
        }
        let other = Dropout::new(0.3, 43);
        let agree = (0..n).filter(|&i| dropped[i as usize] == (other.factor(i) == 0.0)).count() as f64 / n as f64;
        assert!((agree - 0.58).abs() < 5e-3, "{agree}");
    }

    #[test]
    fn elements_beyond_32_bits_have_masks_of_their_own() {
        let d = Dropout::new(0.5, 1);
        let agree = (0..10_000).filter(|&i| d.factor(i) == d.factor(i + (1 << 32))).count();
        assert!((4_700..5_300).contains(&agree), "{agree}");
    }

    #[test]
    fn forward_is_the_mask_times_x() {
        let d = Dropout::new(0.1, 7);
        let x: Vec<f32> = (0..40_000).map(|i| i as f32).collect();
        let y = forward(&x, &d);
        assert!(y.iter().zip(&x).enumerate().all(|(i, (y, x))| *y == x * d.factor(i as u64)));
        assert_eq!(forward(&x, &Dropout::OFF), x);
    }
}
