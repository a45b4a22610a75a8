//! Scalar functions that vectorise, and reductions over a row in a fixed order.

use crate::simd::multiversion;

/// `e^x`, within 2 ulp; exactly 0 below -87, so that hidden scores get no probability.
/// Cephes' polynomial (Moshier) after reduction by powers of two.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // adding 1.5·2^23 rounds to a whole number, which then stands in the low bits
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.3);
    let rounded = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-355.0 / 512.0, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 0.166_666_65);
    p = p.mul_add(r, 0.5);
    let e = (p * r).mul_add(r, r) + 1.0;
    let power = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { power * e }
}

/// The normal distribution function and its density without the factor `1/√2π`: `(Φ(x), e^{-x²/2})`.
///
/// `Φ(-|x|) = e^{-x²/2}·t·P(t)` with `t = 1/(1 + |x|/4)` and a polynomial fitted to that (absolute error 5e-9, so that
/// what is left is rounding: below 2.5e-7).
#[inline(always)]
pub(crate) fn normal_cdf(x: f32) -> (f32, f32) {
    let e = exp(-0.5 * x * x);
    let t = 1.0 / 0.25_f32.mul_add(x.abs(), 1.0);
    let mut q = -0.092_491_45_f32;
    q = q.mul_add(t, 0.345_537_76);
    q = q.mul_add(t, -0.274_023_1);
    q = q.mul_add(t, 0.287_651_2);
    q = q.mul_add(t, 0.021_582_203);
    q = q.mul_add(t, 0.113_002_08);
    q = q.mul_add(t, 0.098_741_29);
    let tail = q * t * e;
    (if x >= 0.0 { 1.0 - tail } else { tail }, e)
}

/// `tanh(x)` through [`exp`], absolute error below 2e-7.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let e = exp(-2.0 * a);
    let large = (1.0 - e) / (1.0 + e);
    // near zero the quotient loses its digits, the series doesn't
    let s = x * x;
    let small = a * (s.mul_add(s.mul_add(s.mul_add(-17.0 / 315.0, 2.0 / 15.0), -1.0 / 3.0), 1.0));
    (if a < 0.15 { small } else { large }).copysign(x)
}

/// `1 / (1 + e^-x)`; exactly 0 below -87.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    sigmoid_and_slope(x).0
}

/// [`sigmoid`] and its derivative, which would lose its digits as `s·(1 - s)`.
#[inline(always)]
pub(crate) fn sigmoid_and_slope(x: f32) -> (f32, f32) {
    let e = exp(-x.abs());
    let r = 1.0 / (1.0 + e);
    (if x >= 0.0 { r } else { e * r }, e * r * r)
}

const LANES: usize = 32;

/// Combines lanes by halves.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] = f(lanes[l], lanes[l + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// `Σ f(x)`, in 32 lanes that are added at the end: the order is the same at every instruction level.
#[inline(always)]
pub(crate) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] += f(chunk[l]);
        }
    }
    for (lane, v) in lanes.iter_mut().zip(rest) {
        *lane += f(*v);
    }
    fold(lanes, |a, b| a + b)
}

/// Replaces `x` by `e^(x - base)` and sums that, as [`sum`].
#[inline(always)]
pub(crate) fn exp_and_sum(x: &mut [f32], base: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for l in 0..LANES {
            let e = exp(chunk[l] - base);
            chunk[l] = e;
            lanes[l] += e;
        }
    }
    for (lane, v) in lanes.iter_mut().zip(rest) {
        *v = exp(*v - base);
        *lane += *v;
    }
    fold(lanes, |a, b| a + b)
}

/// `Σ x·y`, as [`sum`].
#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    dot_shifted(x, y, 0.0)
}

/// `Σ x·(y - shift)`, as [`sum`].
#[inline(always)]
pub(crate) fn dot_shifted(x: &[f32], y: &[f32], shift: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (a, b) in xs.iter().zip(ys) {
        for l in 0..LANES {
            lanes[l] = a[l].mul_add(b[l] - shift, lanes[l]);
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *lane = a.mul_add(*b - shift, *lane);
    }
    fold(lanes, |a, b| a + b)
}

/// The largest element, -∞ for none.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] = larger(lanes[l], chunk[l]);
        }
    }
    for (lane, v) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, *v);
    }
    fold(lanes, larger)
}

multiversion! {
    /// `a += b`.
    pub(crate) fn add_assign(a: &mut [f32], b: &[f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a += *b;
        }
    }
}

multiversion! {
    /// `a *= factor`.
    pub(crate) fn scale(a: &mut [f32], factor: f32) {
        for a in a {
            *a *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_accurate() {
        for i in -200_000..200_000 {
            let x = i as f32 * 5e-4;
            if (-80.0..80.0).contains(&x) {
                let e = f64::from(x).exp();
                assert!((f64::from(exp(x)) - e).abs() <= 3e-7 * e, "exp({x})");
            }
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 3e-7, "tanh({x})");
        }
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(tanh(0.0), 0.0);
    }

    #[test]
    fn reductions_take_every_length() {
        for n in [0, 1, 31, 32, 33, 100] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 - 7.0).collect();
            assert_eq!(sum(&x, |v| v), x.iter().sum::<f32>());
            assert_eq!(dot(&x, &x), x.iter().map(|v| v * v).sum::<f32>());
            assert_eq!(max(&x), x.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
