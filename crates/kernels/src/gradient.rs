//! What a training step does with whole gradients: their norm, their sum over micro-batches, and the moving average of
//! weights. Sums are in f64 and in an order that no number of threads changes.

use rayon::prelude::*;

use crate::buffer::SMALL;
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

const LANES: usize = 16;

multiversion! {
    fn squares(x: &[f32]) -> f64 {
        let mut sums = [0.0_f64; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for i in 0..LANES {
                let x = f64::from(chunk[i]);
                sums[i] += x * x;
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
    }
}

multiversion! {
    fn add(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += *y;
        }
    }
}

multiversion! {
    fn approach(average: &mut [f32], x: &[f32], rest: f32) {
        for (average, x) in average.iter_mut().zip(x) {
            *average = rest.mul_add(*x - *average, *average);
        }
    }
}

/// `Σ x²`.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    timed(Kind::Optimizer, 0, || {
        if x.len() <= SMALL {
            return squares(x);
        }
        let parts: Vec<f64> = x.par_chunks(SMALL).map(squares).collect();
        parts.iter().sum()
    })
}

/// `x ← x + y`.
///
/// # Panics
/// When the slices differ in length.
pub fn add_assign(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "y");
    timed(Kind::Optimizer, 0, || {
        if x.len() <= SMALL {
            return add(x, y);
        }
        x.par_chunks_mut(SMALL).zip(y.par_chunks(SMALL)).for_each(|(x, y)| add(x, y));
    });
}

/// Exponential moving average: `average ← decay·average + (1 - decay)·x`.
///
/// # Panics
/// When the slices differ in length.
pub fn average(average: &mut [f32], x: &[f32], decay: f32) {
    assert_eq!(average.len(), x.len(), "x");
    let rest = (1.0 - crate::adamw::decimal(decay)) as f32;
    timed(Kind::Optimizer, 0, || {
        let chunks = average.par_chunks_mut(SMALL).zip(x.par_chunks(SMALL));
        chunks.for_each(|(average, x)| approach(average, x, rest));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Level, with_level};

    fn values(n: usize, salt: usize) -> Vec<f32> {
        (0..n).map(|i| (((i + salt) * 37 % 101) as f32 - 50.0) / 25.0).collect()
    }

    #[test]
    fn sums_agree_with_f64_whatever_the_length() {
        for level in Level::ALL {
            for n in [0, 1, 15, 16, 17, 1000, SMALL, SMALL + 1, 5 * SMALL + 3] {
                let x = values(n, 0);
                let exact: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
                let found = with_level(level, || sum_of_squares(&x));
                assert!((found - exact).abs() <= 1e-9 * exact, "{n}: {found} {exact}");
            }
        }
        // what overflows f32 doesn't overflow here
        assert!((sum_of_squares(&[1e30, 1e30]) - 2e60).abs() < 1e54);
    }

    #[test]
    fn sums_and_averages_elementwise() {
        let n = 2 * SMALL + 5;
        let (mut x, y) = (values(n, 0), values(n, 7));
        let mut mean = x.clone();
        average(&mut mean, &y, 0.9);
        for i in 0..n {
            let exact = 0.9 * f64::from(x[i]) + 0.1 * f64::from(y[i]);
            assert!((f64::from(mean[i]) - exact).abs() < 1e-6);
        }
        let before = x.clone();
        add_assign(&mut x, &y);
        assert!((0..n).all(|i| x[i] == before[i] + y[i]));
    }
}
