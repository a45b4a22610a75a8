//! Activations and gated activations: GELU (Hendrycks and Gimpel 2016) exact and by tanh, ReLU, SiLU, tanh;
//! `act(gate)·up` after Shazeer 2020.

use std::mem::MaybeUninit;

use crate::buffer::{filled, for_row_blocks};
use crate::math::{normal_cdf, sigmoid, sigmoid_and_slope, tanh};
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    None,
    /// `x·Φ(x)`, by the error function.
    Gelu,
    /// `x/2·(1 + tanh(u))` with `u = √(2/π)(x + 0.044715x³)`; computed as `x·σ(2u)`, which is the same and keeps
    /// its digits where tanh reaches -1.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x·σ(x)`.
    Silu,
    /// `tanh(x)`.
    Tanh,
}

const ROOT: f32 = 0.797_884_6; // √(2/π)
const CUBIC: f32 = 0.044_715;

impl Activation {
    /// The function.
    #[inline(always)]
    pub fn value(self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Gelu => x * normal_cdf(x).0,
            Self::GeluTanh => x * sigmoid(2.0 * ROOT * (CUBIC * x * x).mul_add(x, x)),
            Self::Relu => {
                if x > 0.0 {
                    x
                } else {
                    0.0
                }
            }
            Self::Silu => x * sigmoid(x),
            Self::Tanh => tanh(x),
        }
    }

    /// Its derivative.
    #[inline(always)]
    pub fn derivative(self, x: f32) -> f32 {
        match self {
            Self::None => 1.0,
            Self::Gelu => {
                let (cdf, e) = normal_cdf(x);
                (x * e).mul_add(0.398_942_3, cdf)
            }
            Self::GeluTanh => {
                // beyond 20 it is 0 or 1; clamped, the cubes of large numbers stay finite
                let x = x.clamp(-20.0, 20.0);
                let (s, slope) = sigmoid_and_slope(2.0 * ROOT * (CUBIC * x * x).mul_add(x, x));
                let inner = 2.0 * ROOT * (3.0 * CUBIC * x).mul_add(x, 1.0);
                (x * slope).mul_add(inner, s)
            }
            Self::Relu => {
                if x > 0.0 {
                    1.0
                } else {
                    0.0
                }
            }
            Self::Silu => {
                let (s, slope) = sigmoid_and_slope(x);
                slope.mul_add(x, s)
            }
            Self::Tanh => {
                let t = tanh(x);
                1.0 - t * t
            }
        }
    }
}

/// Calls `$f` with a closure that is a constant of the activation, so that the choice is made outside the loop.
macro_rules! by_activation {
    ($act:expr, $method:ident, $f:expr) => {
        match $act {
            Activation::None => $f(|x| Activation::None.$method(x)),
            Activation::Gelu => $f(|x| Activation::Gelu.$method(x)),
            Activation::GeluTanh => $f(|x| Activation::GeluTanh.$method(x)),
            Activation::Relu => $f(|x| Activation::Relu.$method(x)),
            Activation::Silu => $f(|x| Activation::Silu.$method(x)),
            Activation::Tanh => $f(|x| Activation::Tanh.$method(x)),
        }
    };
}

#[inline(always)]
fn map(x: &[f32], y: &mut [MaybeUninit<f32>], f: impl Fn(f32) -> f32) {
    for (x, y) in x.iter().zip(y) {
        y.write(f(*x));
    }
}

#[inline(always)]
fn map2(x: &[f32], z: &[f32], y: &mut [MaybeUninit<f32>], f: impl Fn(f32) -> f32) {
    for ((x, z), y) in x.iter().zip(z).zip(y) {
        y.write(f(*x) * *z);
    }
}

multiversion! {
    fn value_block(x: &[f32], y: &mut [MaybeUninit<f32>], act: Activation) {
        by_activation!(act, value, |f| map(x, y, f));
    }
}

multiversion! {
    /// `y = act(x)·z`.
    fn value_times(x: &[f32], z: &[f32], y: &mut [MaybeUninit<f32>], act: Activation) {
        by_activation!(act, value, |f| map2(x, z, y, f));
    }
}

multiversion! {
    /// `y = act'(x)·z`.
    fn derivative_times(x: &[f32], z: &[f32], y: &mut [MaybeUninit<f32>], act: Activation) {
        by_activation!(act, derivative, |f| map2(x, z, y, f));
    }
}

#[inline(always)]
fn bias_map(z: &mut [f32], bias: &[f32], f: impl Fn(f32) -> f32) {
    for (z, b) in z.iter_mut().zip(bias) {
        *z = f(*z + *b);
    }
}

#[inline(always)]
fn bias_map_keep(z: &mut [f32], y: &mut [MaybeUninit<f32>], bias: &[f32], f: impl Fn(f32) -> f32) {
    for ((z, y), b) in z.iter_mut().zip(y).zip(bias) {
        *z += *b;
        y.write(f(*z));
    }
}

multiversion! {
    /// `z = act(z + bias)`.
    pub(crate) fn add_bias_activate(z: &mut [f32], bias: &[f32], act: Activation) {
        by_activation!(act, value, |f| bias_map(z, bias, f));
    }
}

multiversion! {
    /// `z += bias; y = act(z)`.
    pub(crate) fn add_bias_activate_keep(z: &mut [f32], y: &mut [MaybeUninit<f32>], bias: &[f32], act: Activation) {
        by_activation!(act, value, |f| bias_map_keep(z, y, bias, f));
    }
}

/// `act(x)`, element by element.
pub fn forward(x: &[f32], act: Activation) -> Vec<f32> {
    timed(Kind::Activation, 0, || {
        // SAFETY: the blocks cover the whole output, and `map` writes every element of a block.
        unsafe { filled(x.len(), |y| for_row_blocks(y, 1, |at, y| value_block(&x[at..at + y.len()], y, act))) }
    })
}

/// The gradient of [`forward`]: `act'(x)·dy`.
pub fn backward(x: &[f32], dy: &[f32], act: Activation) -> Vec<f32> {
    assert_eq!(x.len(), dy.len(), "dy");
    timed(Kind::Activation, 0, || times(derivative_times, x, dy, act))
}

/// `act(gate)·up`, element by element.
pub fn gated(gate: &[f32], up: &[f32], act: Activation) -> Vec<f32> {
    assert_eq!(gate.len(), up.len(), "up");
    timed(Kind::Activation, 0, || times(value_times, gate, up, act))
}

type Times = fn(&[f32], &[f32], &mut [MaybeUninit<f32>], Activation);

fn times(f: Times, x: &[f32], z: &[f32], act: Activation) -> Vec<f32> {
    // SAFETY: the blocks cover the whole output; both callers' `f` write every element of a block.
    unsafe {
        filled(x.len(), |y| {
            for_row_blocks(y, 1, |at, y| {
                let range = at..at + y.len();
                f(&x[range.clone()], &z[range], y, act);
            });
        })
    }
}

/// The gradients of [`gated`] with respect to gate and up.
pub fn gated_backward(gate: &[f32], up: &[f32], dy: &[f32], act: Activation) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(gate.len(), up.len(), "up");
    assert_eq!(gate.len(), dy.len(), "dy");
    timed(Kind::Activation, 0, || {
        let up_times_dy = times(value_times_plain, up, dy, act);
        (times(derivative_times, gate, &up_times_dy, act), times(value_times, gate, dy, act))
    })
}

/// `x·z`; takes an activation only to have the shape of its siblings.
fn value_times_plain(x: &[f32], z: &[f32], y: &mut [MaybeUninit<f32>], _: Activation) {
    value_times(x, z, y, Activation::None);
}
