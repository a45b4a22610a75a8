//! The fast gradient method on word embeddings (Miyato, Dai and Goodfellow 2017): a model whose words are moved a
//! little to where the loss grows most. Training on both is a regularizer.

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;

use crate::parameters::{GradientSum, Parameters, flat};

struct Move<'a> {
    gradients: &'a GradientSum,
    parameters: &'a Parameters,
    distance: f32,
    at: usize,
    any: bool,
}

impl ModuleMapper for Move<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let at = self.at;
        self.at += 1;
        let gradient = self.gradients.0.get(at).and_then(Option::as_ref).filter(|_| self.parameters[at].word);
        let Some(gradient) = gradient else { return param };
        let norm = ptm_ops::optimizer::sum_of_squares(gradient).sqrt();
        if norm == 0.0 {
            return param;
        }
        self.any = true;
        let id = param.id;
        let value = param.into_value().inner();
        let shape = value.shape();
        let moved = flat(value) + gradient.clone() * (f64::from(self.distance) / norm);
        Param::initialized(id, Tensor::from_inner(moved.reshape(shape)).require_grad())
    }
}

/// `model` with its word embeddings moved by `distance` along their gradients; the others are shared, not copied. None
/// where no word embedding has a gradient, as long as all are frozen: a second pass would be the first once more.
pub fn moved<M: Module>(model: &M, gradients: &GradientSum, parameters: &Parameters, distance: f32) -> Option<M> {
    let mut by = Move { gradients, parameters, distance, at: 0, any: false };
    let moved = model.clone().map(&mut by);
    by.any.then_some(moved)
}
