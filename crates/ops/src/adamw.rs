//! AdamW over a module: one fused, in-place update a parameter on the CPU backend, Burn's operations elsewhere.

use std::any::Any;
use std::collections::HashMap;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::prelude::*;
use burn::tensor::Gradients;
use ptm_kernels::adamw as kernel;
pub use ptm_kernels::adamw::AdamW as AdamWOptions;

use crate::backend::{is_fused, slice};

/// AdamW with its moments, kept by parameter.
#[derive(Default)]
pub struct AdamW {
    moments: HashMap<ParamId, Box<dyn Any + Send>>,
}

impl std::fmt::Debug for AdamW {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdamW").field("parameters", &self.moments.len()).finish()
    }
}

struct Step<'a> {
    moments: &'a mut HashMap<ParamId, Box<dyn Any + Send>>,
    grads: Gradients,
    options: AdamWOptions,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(grad) = tensor.grad_remove(&mut self.grads) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let value = tensor.inner();
        let zeros = || Tensor::<D>::zeros(value.shape(), &value.device());
        let state = self.moments.remove(&id).and_then(|state| state.downcast::<[Tensor<D>; 2]>().ok());
        let [m, v] = state.map_or_else(|| [zeros(), zeros()], |state| *state);
        let (value, m, v) = step(value, grad, m, v, &self.options);
        self.moments.insert(id, Box::new([m, v]));
        Param::from_mapped_value(id, Tensor::from_inner(value).require_grad(), mapper)
    }
}

/// One update of one parameter; gives parameter and moments.
fn step<const D: usize>(
    value: Tensor<D>,
    grad: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
    options: &AdamWOptions,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    if !is_fused(&value.device()) {
        return composed(value, grad, m, v, options);
    }
    let flex = |x: Tensor<D>| -> FlexTensor {
        x.try_into_primitive::<Flex>().expect("the device was found to be Flex").to_contiguous()
    };
    let (mut value, grad, mut m, mut v) = (flex(value), flex(grad), flex(m), flex(v));
    // each buffer is written in place when nothing else holds it
    kernel::step(value.storage_mut(), slice(&grad), m.storage_mut(), v.storage_mut(), options);
    let tensor = Tensor::from_primitive::<Flex>;
    (tensor(value), tensor(m), tensor(v))
}

fn composed<const D: usize>(
    value: Tensor<D>,
    grad: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
    o: &AdamWOptions,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let correction = |beta: f32| if o.bias_correction { 1.0 - beta.powf(o.step as f32) } else { 1.0 };
    let m = m * o.beta1 + grad.clone() * (1.0 - o.beta1);
    let v = v * o.beta2 + grad.square() * (1.0 - o.beta2);
    let root = (v.clone() / correction(o.beta2)).sqrt() + o.eps;
    let value = value * (1.0 - o.lr * o.weight_decay) - m.clone() * (o.lr / correction(o.beta1)) / root;
    (value, m, v)
}

impl AdamW {
    /// No moments yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One step of every parameter of `model` that has a gradient; others stay as they are. `options.step` counts
    /// from 1.
    pub fn step<M: Module>(&mut self, model: M, grads: Gradients, options: AdamWOptions) -> M {
        model.map(&mut Step { moments: &mut self.moments, grads, options })
    }
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
            Tensor::<2>::from_data(TensorData::new(values, [5, 7]), &device)
        };
        let options = AdamWOptions {
            lr: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 3,
            bias_correction: true,
        };
        let (p, g, m, v) = (tensor(0.0), tensor(1.0), tensor(2.0), tensor(3.0).square());
        let a = step(p.clone(), g.clone(), m.clone(), v.clone(), &options);
        let b = composed(p, g, m, v, &options);
        for (a, b) in [(a.0, b.0), (a.1, b.1), (a.2, b.2)] {
            let worst = (a - b).abs().max().into_scalar::<f32>();
            assert!(worst < 1e-5, "{worst}");
        }
    }
}
