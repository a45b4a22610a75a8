//! Optimizer updates of one parameter: fused and in place on the CPU backend, Burn's operations elsewhere. Parameters,
//! gradients and states come as vectors, whatever their shape.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::prelude::*;
use ptm_kernels::{adafactor, adamw, gradient, lamb, lion, sgd};

pub use adafactor::Adafactor as AdafactorOptions;
pub use lamb::Lamb as LambOptions;
pub use lion::Lion as LionOptions;
pub use sgd::Sgd as SgdOptions;

use crate::adamw::AdamWOptions;
use crate::backend::{is_fused, slice};

/// How a parameter follows its gradient, with the constants of one step.
#[derive(Clone, Copy, Debug)]
pub enum Update {
    /// See [`ptm_kernels::adamw`]. State: first and second moment.
    AdamW(AdamWOptions),
    /// See [`ptm_kernels::lamb`]. State: first and second moment.
    Lamb(LambOptions),
    /// See [`ptm_kernels::adafactor`]. State: second moments of rows and columns, or of every element of a vector.
    Adafactor(AdafactorOptions),
    /// See [`ptm_kernels::sgd`]. State: the momentum.
    Sgd(SgdOptions),
    /// See [`ptm_kernels::lion`]. State: the momentum.
    Lion(LionOptions),
}

impl Update {
    /// The number of elements of each tensor of the state of a parameter of `shape`. Parameters of more than two
    /// dimensions count as matrices of their last one.
    pub fn state_sizes(&self, shape: &[usize]) -> Vec<usize> {
        let all: usize = shape.iter().product();
        match (self, shape) {
            (Self::AdamW(_) | Self::Lamb(_), _) => vec![all; 2],
            (Self::Adafactor(_), [_, .., width]) => vec![all / (*width).max(1), *width],
            (Self::Sgd(_) | Self::Lion(_) | Self::Adafactor(_), _) => vec![all],
        }
    }
}

fn flex(x: Tensor<1>) -> FlexTensor {
    x.try_into_primitive::<Flex>().expect("the device was found to be Flex").to_contiguous()
}

/// One step of one parameter of `shape`, whose gradient is multiplied by `grad_scale` first; `state` is zeros before
/// the first. What nothing else holds is written in place.
///
/// # Shapes
/// `value`, `grad` `[elements]`, `state` as [`Update::state_sizes`].
///
/// # Panics
/// When they don't fit each other.
pub fn update(
    rule: &Update,
    shape: &[usize],
    value: Tensor<1>,
    grad: Tensor<1>,
    state: &mut Vec<Tensor<1>>,
    grad_scale: f32,
) -> Tensor<1> {
    let device = value.device();
    let sizes = rule.state_sizes(shape);
    if state.is_empty() {
        state.extend(sizes.iter().map(|&n| Tensor::zeros([n], &device)));
    }
    assert!(state.iter().map(|s| s.dims()[0]).eq(sizes), "the state is of another optimizer or shape");
    if !is_fused(&device) {
        return composed(rule, shape, value, grad * grad_scale, state);
    }
    let (mut value, grad) = (flex(value), flex(grad));
    let mut held: Vec<FlexTensor> = state.drain(..).map(flex).collect();
    {
        let (p, g) = (value.storage_mut::<f32>(), slice(&grad));
        match (rule, &mut held[..]) {
            (Update::AdamW(o), [m, v]) => {
                adamw::step_scaled(p, g, m.storage_mut(), v.storage_mut(), o, grad_scale);
            }
            (Update::Lamb(o), [m, v]) => lamb::step(p, g, m.storage_mut(), v.storage_mut(), o, grad_scale),
            (Update::Adafactor(o), [rows, columns]) => {
                let (rows, columns) = (rows.storage_mut(), columns.storage_mut());
                let width = columns.len();
                adafactor::step(p, g, adafactor::Second::Factored { rows, columns }, width, o, grad_scale);
            }
            (Update::Adafactor(o), [v]) => {
                let width = p.len().max(1);
                adafactor::step(p, g, adafactor::Second::Full(v.storage_mut()), width, o, grad_scale);
            }
            (Update::Sgd(o), [m]) => sgd::step(p, g, m.storage_mut(), o, grad_scale),
            (Update::Lion(o), [m]) => lion::step(p, g, m.storage_mut(), o, grad_scale),
            _ => unreachable!("sizes were compared"),
        }
    }
    state.extend(held.into_iter().map(Tensor::from_primitive::<Flex>));
    Tensor::from_primitive::<Flex>(value)
}

/// `Σ x²`.
pub fn sum_of_squares(x: &Tensor<1>) -> f64 {
    if is_fused(&x.device()) {
        gradient::sum_of_squares(slice(&flex(x.clone())))
    } else {
        f64::from(scalar(x.clone().square().sum()))
    }
}

/// `x + y`, in place.
///
/// # Panics
/// When they differ in length.
pub fn add(x: Tensor<1>, y: Tensor<1>) -> Tensor<1> {
    if !is_fused(&x.device()) {
        return x + y;
    }
    let (mut x, y) = (flex(x), flex(y));
    gradient::add_assign(x.storage_mut(), slice(&y));
    Tensor::from_primitive::<Flex>(x)
}

/// `decay·average + (1 - decay)·x`, in place.
///
/// # Panics
/// When they differ in length.
pub fn moving_average(average: Tensor<1>, x: Tensor<1>, decay: f32) -> Tensor<1> {
    if !is_fused(&x.device()) {
        return average * decay + x * (1.0 - decay);
    }
    let (mut average, x) = (flex(average), flex(x));
    gradient::average(average.storage_mut(), slice(&x), decay);
    Tensor::from_primitive::<Flex>(average)
}

fn scalar(x: Tensor<1>) -> f32 {
    x.into_scalar::<f32>()
}

fn composed(rule: &Update, shape: &[usize], p: Tensor<1>, g: Tensor<1>, state: &mut [Tensor<1>]) -> Tensor<1> {
    match (rule, state) {
        (Update::AdamW(o), [m, v]) => {
            let correction = |beta: f32| if o.bias_correction { 1.0 - beta.powf(o.step as f32) } else { 1.0 };
            moments(m, v, &g, o.beta1, o.beta2);
            let root = (v.clone() / correction(o.beta2)).sqrt() + o.eps;
            p * (1.0 - o.lr * o.weight_decay) - m.clone() * (o.lr / correction(o.beta1)) / root
        }
        (Update::Lamb(o), [m, v]) => {
            let correction = |beta: f32| 1.0 - beta.powf(o.step as f32);
            moments(m, v, &g, o.beta1, o.beta2);
            let root = (v.clone() / correction(o.beta2)).sqrt() + o.eps;
            let direction = m.clone() / correction(o.beta1) / root + p.clone() * o.weight_decay;
            let norm = |x: &Tensor<1>| scalar(x.clone().square().sum()).sqrt();
            let (weight, length) = (norm(&p), norm(&direction));
            let ratio = if o.trust && weight > 0.0 && length > 0.0 { weight / length } else { 1.0 };
            p - direction * (o.lr * ratio)
        }
        (Update::Sgd(o), [m]) => {
            let g = g + p.clone() * o.weight_decay;
            *m = m.clone() * o.momentum + g.clone();
            let direction = if o.nesterov { g + m.clone() * o.momentum } else { m.clone() };
            p - direction * o.lr
        }
        (Update::Lion(o), [m]) => {
            let direction = (m.clone() * o.beta1 + g.clone() * (1.0 - o.beta1)).sign();
            *m = m.clone() * o.beta2 + g * (1.0 - o.beta2);
            p * (1.0 - o.lr * o.weight_decay) - direction * o.lr
        }
        (Update::Adafactor(o), state) => composed_adafactor(o, shape, p, g, state),
        _ => unreachable!("sizes were compared"),
    }
}

fn moments(m: &mut Tensor<1>, v: &mut Tensor<1>, g: &Tensor<1>, beta1: f32, beta2: f32) {
    *m = m.clone() * beta1 + g.clone() * (1.0 - beta1);
    *v = v.clone() * beta2 + g.clone().square() * (1.0 - beta2);
}

fn composed_adafactor(
    o: &AdafactorOptions,
    shape: &[usize],
    p: Tensor<1>,
    g: Tensor<1>,
    state: &mut [Tensor<1>],
) -> Tensor<1> {
    let rms = |x: &Tensor<1>| scalar(x.clone().square().mean()).sqrt();
    let step = o.step as f32;
    let most = if o.warmup_init { 1e-6 * step } else { 1e-2 };
    let rate = o.lr.unwrap_or_else(|| most.min(1.0 / step.sqrt()));
    let rate = if o.scale_parameter { rate * rms(&p).max(o.eps_scale) } else { rate };
    let beta = 1.0 - step.powf(o.decay_rate);
    let squares = g.clone().square() + o.eps_square;
    let update = match state {
        [rows, columns] => {
            let width = shape.last().copied().unwrap_or(1);
            let (height, all) = (rows.dims()[0], p.dims()[0]);
            let squares = squares.reshape([height, width]);
            *rows = rows.clone() * beta + squares.clone().mean_dim(1).reshape([height]) * (1.0 - beta);
            *columns = columns.clone() * beta + squares.mean_dim(0).reshape([width]) * (1.0 - beta);
            let row = (rows.clone() / rows.clone().mean()).sqrt().reshape([height, 1]);
            let column = columns.clone().sqrt().reshape([1, width]);
            (g.reshape([height, width]) / row / column).reshape([all])
        }
        [v] => {
            *v = v.clone() * beta + squares * (1.0 - beta);
            g / v.clone().sqrt()
        }
        _ => unreachable!("sizes were compared"),
    };
    let clip = (rms(&update) / o.clip_threshold).max(1.0);
    p * (1.0 - o.weight_decay * rate) - update * (rate / clip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn fused_and_composed_agree() {
        let device = Device::flex();
        let tensor = |salt: f32| {
            let values: Vec<f32> = (0..35).map(|i| ((i as f32 + salt) * 1.7).sin()).collect();
            Tensor::<1>::from_data(TensorData::new(values, [35]), &device)
        };
        let adam = AdamWOptions {
            lr: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 0,
            bias_correction: true,
        };
        let factor = AdafactorOptions {
            lr: Some(0.01),
            eps_square: 1e-30,
            eps_scale: 1e-3,
            clip_threshold: 1.0,
            decay_rate: -0.8,
            weight_decay: 0.1,
            scale_parameter: true,
            warmup_init: false,
            step: 0,
        };
        let lamb =
            LambOptions { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-6, weight_decay: 0.1, step: 0, trust: true };
        let at = |rule: Update, step: u64| match rule {
            Update::AdamW(o) => Update::AdamW(AdamWOptions { step, ..o }),
            Update::Lamb(o) => Update::Lamb(LambOptions { step, ..o }),
            Update::Adafactor(o) => Update::Adafactor(AdafactorOptions { step, ..o }),
            other => other,
        };
        let rules = [
            Update::AdamW(adam),
            Update::Lamb(lamb),
            Update::Adafactor(factor),
            Update::Adafactor(AdafactorOptions { lr: None, warmup_init: true, ..factor }),
            Update::Sgd(SgdOptions { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.1 }),
            Update::Lion(LionOptions { lr: 0.01, beta1: 0.9, beta2: 0.99, weight_decay: 0.1 }),
        ];
        for rule in rules {
            for shape in [&[5, 7][..], &[35]] {
                let (mut a, mut b) = (tensor(0.0), tensor(0.0));
                let (mut state_a, mut state_b) = (Vec::new(), Vec::new());
                for step in 1..4 {
                    let (rule, grad) = (at(rule, step), tensor(step as f32));
                    a = update(&rule, shape, a, grad.clone(), &mut state_a, 0.5);
                    if state_b.is_empty() {
                        state_b.extend(rule.state_sizes(shape).iter().map(|&n| Tensor::<1>::zeros([n], &device)));
                    }
                    b = composed(&rule, shape, b, grad * 0.5, &mut state_b);
                }
                for (a, b) in std::iter::once((&a, &b)).chain(state_a.iter().zip(&state_b)) {
                    let worst = scalar((a.clone() - b.clone()).abs().max());
                    assert!(worst < 1e-5, "{rule:?}: {worst}");
                }
            }
        }
    }
}
