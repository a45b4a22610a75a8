//! Fresh weights as the families' authors drew them: normal for matrices, with the deviation that the configuration
//! says, zeros for biases and often for the padding token's embedding, ones for the scale of norms. A parameter's numbers depend on the seed and
//! on its path alone, not on the order in which a model is built.

use std::sync::Arc;

use burn::module::{ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::TensorData;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use crate::config::Configuration;
use crate::pass::mix;
use crate::path::Path;

/// How fresh parameters are drawn.
#[derive(Clone)]
pub(crate) struct Rule {
    seed: u64,
    deviation: Arc<dyn Fn(&str) -> f32>,
    zero_row: Option<usize>,
}

impl Rule {
    pub(crate) fn new<C: Configuration>(config: &C, seed: u64) -> Self {
        let zero_row = config.zero_row().map(|row| row as usize);
        let config = config.clone();
        Self { seed, deviation: Arc::new(move |path| config.deviation(path)), zero_row }
    }

    fn values(&self, path: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        if path.ends_with("norm.weight") {
            return vec![1.0; count];
        }
        if shape.len() < 2 || path == "head.fixed_bias" {
            return vec![0.0; count];
        }
        let named = path.bytes().fold(mix(self.seed), |hash, byte| mix(hash ^ u64::from(byte)));
        let mut random = ChaCha8Rng::seed_from_u64(named);
        let normal = Normal::new(0.0, (self.deviation)(path)).expect("configurations hold no negative range");
        let mut values: Vec<f32> = (0..count).map(|_| normal.sample(&mut random)).collect();
        if let Some(row) =
            self.zero_row.filter(|&row| path.starts_with("body.") && path.ends_with("word") && row < shape[0])
        {
            values[row * shape[1]..][..shape[1]].fill(0.0);
        }
        values
    }

    /// `param`, which lies at `path`, with fresh values.
    pub(crate) fn fill<const D: usize>(
        &self,
        param: Param<Tensor<D>>,
        path: &str,
        device: &Device,
    ) -> Param<Tensor<D>> {
        let shape = param.lazy_shape().dims::<D>();
        let data = TensorData::new(self.values(path, &shape), shape);
        replace(param, Tensor::from_data(data, device))
    }
}

/// `param` with `tensor` for its value, trainable on a device that differentiates.
pub(crate) fn replace<const D: usize>(param: Param<Tensor<D>>, tensor: Tensor<D>) -> Param<Tensor<D>> {
    let tensor = if tensor.device().is_autodiff() { tensor.require_grad() } else { tensor };
    Param::initialized(param.id, tensor)
}

struct Init<'a> {
    path: Path,
    rule: Rule,
    device: &'a Device,
}

impl ModuleMapper for Init<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.rule.fill(param, &self.path.name(), self.device)
    }
}

/// `model` with fresh values for every parameter.
pub(crate) fn random<M: Module>(model: M, rule: Rule, device: &Device) -> M {
    model.map(&mut Init { path: Path::default(), rule, device })
}
