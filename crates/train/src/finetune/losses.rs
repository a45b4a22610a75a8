//! Losses of heads with few classes, as sums over targets: class weights, label smoothing, focal loss (Lin et al.
//! 2017), R-Drop (Wu et al. 2021).

use burn::prelude::*;
use burn::tensor::{TensorData, activation};
use ptm_ops::Indices;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// `[loss]` of a recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// The share of probability that the target gives to all classes alike. Default: 0.
    pub label_smoothing: f32,
    /// Focal loss: targets count by `(1 - p)` to this power. Default: 0, off.
    pub focal: f32,
    /// `"balanced"`, by the inverse of how often labels occur, or a number for each label. Default: all alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
}

/// How much labels count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeights {
    /// Computed from the training data.
    Named(Balanced),
    /// Given, in the order of the labels.
    Given(Vec<f32>),
}

/// The one way of computing them: `rows / (labels · rows with the label)`, as scikit-learn's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balanced {
    /// See above.
    Balanced,
}

impl LossConfig {
    /// Says which number can't work.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, problem: &str| Err(Error::recipe(format!("loss.{field}"), problem));
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return wrong("label_smoothing", "should be from 0 to below 1");
        }
        if !(0.0..=100.0).contains(&self.focal) {
            return wrong("focal", "should be from 0 to 100");
        }
        if self.focal > 0.0 && self.label_smoothing > 0.0 {
            return wrong("focal", "doesn't go together with label_smoothing: set one of them to 0");
        }
        if let Some(ClassWeights::Given(weights)) = &self.class_weights
            && (weights.iter().any(|w| !(0.0..f32::INFINITY).contains(w)) || weights.iter().all(|w| *w == 0.0))
        {
            return wrong("class_weights", "should be numbers from 0, not all of them 0");
        }
        Ok(())
    }
}

/// A loss with its weights at hand.
#[derive(Clone, Debug, Default)]
pub struct Loss {
    /// See [`LossConfig::label_smoothing`].
    pub label_smoothing: f32,
    /// See [`LossConfig::focal`].
    pub focal: f32,
    /// One a label.
    pub class_weights: Option<Vec<f32>>,
}

impl Loss {
    /// How much `targets` count together: what a mean divides by.
    pub fn weight(&self, targets: &[u32]) -> f64 {
        match &self.class_weights {
            Some(weights) => targets.iter().map(|&target| f64::from(weights[target as usize])).sum(),
            None => targets.len() as f64,
        }
    }

    /// `scale · Σ weight·loss` over the rows, as the sum behind `torch.nn.CrossEntropyLoss`.
    ///
    /// # Shapes
    /// `logits` `[R, C]`, `targets` `[R]` → `[1]`.
    ///
    /// # Panics
    /// When there is not a target below C for each row, or not a weight for each class.
    pub fn classes(&self, logits: Tensor<2>, targets: &Indices, scale: f32) -> Tensor<1> {
        let [rows, classes] = logits.dims();
        assert_eq!(rows, targets.len(), "one target a row");
        assert!(targets.iter().all(|&target| (target as usize) < classes), "targets are classes below {classes}");
        if rows == 0 {
            return logits.sum() * 0.0;
        }
        let device = logits.device();
        let index: Vec<i64> = targets.iter().map(|&target| i64::from(target)).collect();
        let index = Tensor::<2, Int>::from_data(TensorData::new(index, [rows, 1]), &device);
        let log = activation::log_softmax(logits, 1);
        let mut own = log.clone().gather(1, index);
        if self.focal > 0.0 {
            let rest = (own.clone().exp().neg() + 1.0).clamp_min(1e-12);
            own = own * rest.powf_scalar(self.focal);
        }
        let weights = self.class_weights.as_ref();
        if let Some(weights) = weights {
            assert_eq!(weights.len(), classes, "one weight a class");
            let of_rows: Vec<f32> = targets.iter().map(|&target| weights[target as usize]).collect();
            own = own * Tensor::<2>::from_data(TensorData::new(of_rows, [rows, 1]), &device);
        }
        let sum = own.sum();
        let even = self.label_smoothing;
        if even == 0.0 {
            return sum * -scale;
        }
        let all = match weights {
            Some(weights) => log * Tensor::<2>::from_data(TensorData::new(weights.clone(), [1, classes]), &device),
            None => log,
        };
        (sum * (1.0 - even) + all.sum() * (even / classes as f32)) * -scale
    }

    /// `scale · Σ` over all elements of the binary cross-entropy, in which present labels count by their weight, as
    /// `pos_weight` of `torch.nn.BCEWithLogitsLoss`.
    ///
    /// # Shapes
    /// `logits` and `targets` `[R, C]` → `[1]`.
    ///
    /// # Panics
    /// When the shapes differ, or there is not a weight for each class.
    pub fn labels(&self, logits: Tensor<2>, targets: Vec<f32>, scale: f32) -> Tensor<1> {
        let [rows, classes] = logits.dims();
        let device = logits.device();
        let targets = Tensor::<2>::from_data(TensorData::new(targets, [rows, classes]), &device);
        let even = self.label_smoothing;
        let targets = if even > 0.0 { targets * (1.0 - even) + even / 2.0 } else { targets };
        // -log σ(x) = relu(-x) + log(1 + e^-|x|)
        let soft = (logits.clone().abs().neg().exp() + 1.0).log();
        let (present, absent) =
            (activation::relu(logits.clone().neg()) + soft.clone(), activation::relu(logits) + soft);
        let weight = match &self.class_weights {
            Some(weights) => {
                Tensor::<2>::from_data(TensorData::new(weights.clone(), [1, classes]), &device) * targets.clone()
            }
            None => targets.clone(),
        };
        let focus = |loss: Tensor<2>| {
            if self.focal == 0.0 {
                return loss;
            }
            let rest = (loss.clone().neg().exp().neg() + 1.0).clamp_min(1e-12);
            loss * rest.powf_scalar(self.focal)
        };
        ((weight * focus(present)).sum() + ((targets.neg() + 1.0) * focus(absent)).sum()) * scale
    }
}

/// `scale · Σ (KL(a‖b) + KL(b‖a)) / 2` over the rows: how much two passes with other dropouts disagree.
///
/// # Shapes
/// Both `[R, C]` → `[1]`.
pub fn disagreement(a: Tensor<2>, b: Tensor<2>, scale: f32) -> Tensor<1> {
    let (a, b) = (activation::log_softmax(a, 1), activation::log_softmax(b, 1));
    ((a.clone().exp() - b.clone().exp()) * (a - b)).sum() * (0.5 * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits() -> Tensor<2> {
        let values = vec![1.0_f32, -2.0, 0.5, 0.0, 3.0, 1.0];
        Tensor::from_data(TensorData::new(values, [2, 3]), &Device::flex())
    }

    fn log_softmax(row: &[f64]) -> Vec<f64> {
        let total = row.iter().map(|x| x.exp()).sum::<f64>().ln();
        row.iter().map(|x| x - total).collect()
    }

    fn rows() -> [Vec<f64>; 2] {
        [log_softmax(&[1.0, -2.0, 0.5]), log_softmax(&[0.0, 3.0, 1.0])]
    }

    fn near(found: Tensor<1>, expected: f64) {
        let found = f64::from(found.into_scalar::<f32>());
        assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found}, not {expected}");
    }

    #[test]
    fn weights_smoothing_and_focus() {
        let targets: Indices = vec![2, 1].into();
        let [a, b] = rows();
        near(Loss::default().classes(logits(), &targets, 0.5), -0.5 * (a[2] + b[1]));
        let weights = vec![1.0, 2.0, 3.0];
        let weighted = Loss { class_weights: Some(weights.clone()), ..Loss::default() };
        near(weighted.classes(logits(), &targets, 1.0), -(3.0 * a[2] + 2.0 * b[1]));
        assert_eq!(weighted.weight(&targets), 5.0);
        let smooth = Loss { label_smoothing: 0.1, ..weighted };
        let even: f64 = [&a, &b].iter().map(|row| row[0] + 2.0 * row[1] + 3.0 * row[2]).sum();
        near(smooth.classes(logits(), &targets, 1.0), -(0.9 * (3.0 * a[2] + 2.0 * b[1]) + 0.1 / 3.0 * even));
        let focal = Loss { focal: 2.0, ..Loss::default() };
        let part = |log: f64| -(1.0 - log.exp()).powi(2) * log;
        near(focal.classes(logits(), &targets, 1.0), part(a[2]) + part(b[1]));
    }

    #[test]
    fn binary_losses() {
        let targets = vec![1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
        let log = |x: f64| -(1.0 + (-x).exp()).ln();
        let plain = -(log(1.0) + log(2.0) + log(0.5) + log(-0.0) + log(3.0) + log(-1.0));
        near(Loss::default().labels(logits(), targets.clone(), 1.0), plain);
        let weighted = Loss { class_weights: Some(vec![2.0, 1.0, 1.0]), ..Loss::default() };
        near(weighted.labels(logits(), targets, 1.0), plain - log(1.0));
        let huge = Tensor::from_data(TensorData::new(vec![1e4_f32, -1e4], [1, 2]), &Device::flex());
        near(Loss::default().labels(huge, vec![0.0, 1.0], 1.0), 2e4);
    }

    #[test]
    fn disagreement_is_the_symmetric_divergence() {
        let (a, b) = (log_softmax(&[1.0, -2.0, 0.5]), log_softmax(&[0.0, 3.0, 1.0]));
        let kl = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        let row = |values: [f32; 3]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, 3]), &Device::flex());
        near(disagreement(row([1.0, -2.0, 0.5]), row([0.0, 3.0, 1.0]), 1.0), 0.5 * (kl(&a, &b) + kl(&b, &a)));
        near(disagreement(logits(), logits(), 1.0), 0.0);
    }
}
