//! Losses over few classes, from logits that are at hand anyway: sequences, tokens, spans, replaced tokens.
//! (A vocabulary's worth of classes belongs to [`crate::cross_entropy`].)

use burn::prelude::*;
use burn::tensor::{TensorData, activation};

use crate::backend::Indices;

/// `scale · Σ -log softmax(logits)[target]` over the rows.
///
/// # Shapes
/// `logits` `[R, C]`, `targets` `[R]` → `[1]`.
///
/// # Panics
/// When a target is no class or there are not as many targets as rows.
pub fn softmax_cross_entropy(logits: Tensor<2>, targets: &Indices, scale: f32) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    assert_eq!(rows, targets.len(), "one target a row");
    assert!(targets.iter().all(|&target| (target as usize) < classes), "targets are classes below {classes}");
    if rows == 0 {
        return logits.sum() * 0.0;
    }
    let device = logits.device();
    let targets: Vec<i64> = targets.iter().map(|&target| i64::from(target)).collect();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &device);
    activation::log_softmax(logits, 1).gather(1, targets).sum() * -scale
}

/// `scale · Σ -(t·log σ(x) + (1-t)·log(1-σ(x)))` over all elements, in the form that never overflows.
///
/// # Shapes
/// `logits` and `targets` `[R, C]` → `[1]`.
pub fn binary_cross_entropy(logits: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    // max(x, 0) - x·t + log(1 + e^-|x|)
    let soft = (logits.clone().abs().neg().exp() + 1.0).log();
    (activation::relu(logits.clone()) - logits * targets + soft).sum() * scale
}

/// `scale · Σ (x - t)²` over all elements.
///
/// # Shapes
/// `predictions` and `targets` `[R, C]` → `[1]`.
pub fn squared_error(predictions: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    (predictions - targets).square().sum() * scale
}
