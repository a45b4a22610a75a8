//! Optimizers over all parameters of a model: which update with which constants, state by parameter name, the moving
//! average of weights. The arithmetic of one parameter is `ptm_ops::optimizer`.

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_models::files::{Weights, Writer};
use ptm_ops::AdamWOptions;
use ptm_ops::optimizer::{AdafactorOptions, LambOptions, LionOptions, SgdOptions, Update, moving_average, update};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::parameters::{GradientSum, Parameter, Parameters, flat};

/// Which optimizer, with its constants: `[optimizer]` of a recipe. `lr` is the peak of the schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// AdamW (Loshchilov and Hutter 2019), as `torch.optim.AdamW`.
    AdamW {
        /// Peak learning rate. Default: 5e-5, the middle of BERT's fine-tuning grid.
        #[serde(default = "fine_tuning_lr")]
        lr: f32,
        /// Decoupled decay. Default: 0.01.
        #[serde(default = "hundredth")]
        weight_decay: f32,
        /// Decay of the first moment. Default: 0.9.
        #[serde(default = "nine_tenths")]
        beta1: f32,
        /// Decay of the second moment. Default: 0.999.
        #[serde(default = "beta2")]
        beta2: f32,
        /// Default: 1e-8, PyTorch's; BERT's own is 1e-6.
        #[serde(default = "eps8")]
        eps: f32,
        /// Off as in BERT's own optimizer. Default: on.
        #[serde(default = "yes")]
        bias_correction: bool,
    },
    /// LAMB (You et al. 2020), for large batches.
    Lamb {
        /// Peak learning rate. Default: 1e-3.
        #[serde(default = "thousandth")]
        lr: f32,
        /// Decay within the direction. Default: 0.01.
        #[serde(default = "hundredth")]
        weight_decay: f32,
        /// Decay of the first moment. Default: 0.9.
        #[serde(default = "nine_tenths")]
        beta1: f32,
        /// Decay of the second moment. Default: 0.999.
        #[serde(default = "beta2")]
        beta2: f32,
        /// Default: 1e-6.
        #[serde(default = "eps6")]
        eps: f32,
    },
    /// Adafactor (Shazeer and Stern 2018), as in `transformers`.
    Adafactor {
        /// Peak learning rate. Default: none, the relative step of the paper, which no schedule changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lr: Option<f32>,
        /// Decay, multiplied by the learning rate. Default: 0.
        #[serde(default)]
        weight_decay: f32,
        /// The root mean square that updates are clipped to. Default: 1.
        #[serde(default = "one")]
        clip_threshold: f32,
        /// Exponent of the second moment's decay. Default: -0.8.
        #[serde(default = "decay_rate")]
        decay_rate: f32,
        /// Multiply the learning rate by each parameter's root mean square. Default: on.
        #[serde(default = "yes")]
        scale_parameter: bool,
        /// Begin the relative step small. Default: off.
        #[serde(default)]
        warmup_init: bool,
    },
    /// Stochastic gradient descent, as `torch.optim.SGD`.
    Sgd {
        /// Peak learning rate. Default: 1e-2.
        #[serde(default = "hundredth")]
        lr: f32,
        /// L2 penalty. Default: 0.
        #[serde(default)]
        weight_decay: f32,
        /// Default: 0.9.
        #[serde(default = "nine_tenths")]
        momentum: f32,
        /// Look ahead along the momentum. Default: off.
        #[serde(default)]
        nesterov: bool,
    },
    /// Lion (Chen et al. 2023).
    Lion {
        /// Peak learning rate. Default: 1e-5; the paper advises a third to a tenth of AdamW's.
        #[serde(default = "lion_lr")]
        lr: f32,
        /// Decoupled decay. Default: 0.1; the paper advises three to ten times AdamW's.
        #[serde(default = "tenth")]
        weight_decay: f32,
        /// The momentum's share in the direction. Default: 0.9.
        #[serde(default = "nine_tenths")]
        beta1: f32,
        /// Decay of the momentum. Default: 0.99.
        #[serde(default = "lion_beta2")]
        beta2: f32,
    },
}

macro_rules! defaults {
    ($($name:ident: $kind:ty = $value:expr;)*) => { $(fn $name() -> $kind { $value })* };
}

defaults! {
    fine_tuning_lr: f32 = 5e-5;
    lion_lr: f32 = 1e-5;
    thousandth: f32 = 1e-3;
    hundredth: f32 = 1e-2;
    tenth: f32 = 0.1;
    nine_tenths: f32 = 0.9;
    beta2: f32 = 0.999;
    lion_beta2: f32 = 0.99;
    eps8: f32 = 1e-8;
    eps6: f32 = 1e-6;
    one: f32 = 1.0;
    decay_rate: f32 = -0.8;
    yes: bool = true;
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        let (lr, weight_decay, beta1) = (fine_tuning_lr(), hundredth(), nine_tenths());
        Self::AdamW { lr, weight_decay, beta1, beta2: beta2(), eps: eps8(), bias_correction: true }
    }
}

impl OptimizerConfig {
    /// The peak learning rate; none for Adafactor's relative step.
    pub fn lr(&self) -> Option<f32> {
        match *self {
            Self::AdamW { lr, .. } | Self::Lamb { lr, .. } | Self::Sgd { lr, .. } | Self::Lion { lr, .. } => Some(lr),
            Self::Adafactor { lr, .. } => lr,
        }
    }

    /// The same with another peak.
    pub fn with_lr(mut self, new: f32) -> Self {
        match &mut self {
            Self::AdamW { lr, .. } | Self::Lamb { lr, .. } | Self::Sgd { lr, .. } | Self::Lion { lr, .. } => *lr = new,
            Self::Adafactor { lr, .. } => *lr = Some(new),
        }
        self
    }

    /// Decay of the parameters that have it.
    pub fn weight_decay(&self) -> f32 {
        match *self {
            Self::AdamW { weight_decay, .. }
            | Self::Lamb { weight_decay, .. }
            | Self::Adafactor { weight_decay, .. }
            | Self::Sgd { weight_decay, .. }
            | Self::Lion { weight_decay, .. } => weight_decay,
        }
    }

    /// Says which constant can't work.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, problem: String| Err(Error::recipe(format!("optimizer.{field}"), problem));
        if let Some(lr) = self.lr().filter(|lr| !(lr.is_finite() && *lr >= 0.0)) {
            return wrong("lr", format!("{lr} is no learning rate: give a number from 0"));
        }
        if !(0.0..f32::INFINITY).contains(&self.weight_decay()) {
            return wrong("weight_decay", format!("{} should be 0 or more", self.weight_decay()));
        }
        let betas = match *self {
            Self::AdamW { beta1, beta2, .. } | Self::Lamb { beta1, beta2, .. } | Self::Lion { beta1, beta2, .. } => {
                vec![("beta1", beta1), ("beta2", beta2)]
            }
            Self::Sgd { momentum, .. } => vec![("momentum", momentum)],
            Self::Adafactor { .. } => vec![],
        };
        if let Some((field, beta)) = betas.into_iter().find(|(_, beta)| !(0.0..1.0).contains(beta)) {
            return wrong(field, format!("{beta} should be from 0 to below 1"));
        }
        match *self {
            Self::AdamW { eps, .. } | Self::Lamb { eps, .. } if !(eps > 0.0 && eps.is_finite()) => {
                wrong("eps", format!("{eps} should be above 0"))
            }
            Self::Adafactor { clip_threshold, .. } if !(clip_threshold > 0.0 && clip_threshold.is_finite()) => {
                wrong("clip_threshold", format!("{clip_threshold} should be above 0"))
            }
            Self::Adafactor { decay_rate, .. } if !(-1.0..0.0).contains(&decay_rate) => {
                wrong("decay_rate", format!("{decay_rate} should be from -1 to below 0"))
            }
            _ => Ok(()),
        }
    }

    /// The update of one parameter at its own step number `step` (from 1). `factor` is what schedule and group make of
    /// the peak learning rate.
    fn update(&self, factor: f64, weight_decay: f32, trust: bool, step: u64) -> Update {
        // in f64, so that a schedule's factor costs no more than one rounding
        let scaled = |lr: f32| (f64::from(lr) * factor) as f32;
        match *self {
            Self::AdamW { lr, beta1, beta2, eps, bias_correction, .. } => {
                let lr = scaled(lr);
                Update::AdamW(AdamWOptions { lr, beta1, beta2, eps, weight_decay, step, bias_correction })
            }
            Self::Lamb { lr, beta1, beta2, eps, .. } => {
                Update::Lamb(LambOptions { lr: scaled(lr), beta1, beta2, eps, weight_decay, step, trust })
            }
            Self::Adafactor { lr, clip_threshold, decay_rate, scale_parameter, warmup_init, .. } => {
                let lr = lr.map(scaled);
                Update::Adafactor(AdafactorOptions {
                    lr,
                    eps_square: 1e-30,
                    eps_scale: 1e-3,
                    clip_threshold,
                    decay_rate,
                    weight_decay,
                    scale_parameter,
                    warmup_init,
                    step,
                })
            }
            Self::Sgd { lr, momentum, nesterov, .. } => {
                Update::Sgd(SgdOptions { lr: scaled(lr), momentum, nesterov, weight_decay })
            }
            Self::Lion { lr, beta1, beta2, .. } => {
                Update::Lion(LionOptions { lr: scaled(lr), beta1, beta2, weight_decay })
            }
        }
    }
}

/// How one parameter differs from the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Treatment {
    /// What the learning rate is multiplied by.
    pub lr: f32,
    /// Its decay.
    pub weight_decay: f32,
    /// The step from which it learns; none if it never does.
    pub thaws: Option<u64>,
}

#[derive(Debug, Default)]
struct Slot {
    tensors: Vec<Tensor<1>>,
    steps: u64,
    average: Option<Tensor<1>>,
}

/// An optimizer with its state.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    parameters: Parameters,
    treatments: Vec<Treatment>,
    /// Decay of the moving average of weights.
    averaged: Option<f32>,
    slots: Vec<Slot>,
}

struct Step<'a> {
    optimizer: &'a mut Optimizer,
    gradients: std::vec::IntoIter<Option<Tensor<1>>>,
    at: usize,
    factor: f64,
    grad_scale: f32,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let at = self.at;
        self.at += 1;
        let gradient = self.gradients.next().flatten();
        let Optimizer { config, parameters, treatments, averaged, slots } = &mut *self.optimizer;
        let (parameter, treatment, slot) = (&parameters.0[at], &treatments[at], &mut slots[at]);
        let Some(gradient) = gradient else { return param };
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.shape();
        let value = flat(tensor.inner());
        slot.steps += 1;
        let trust = !parameter.is_bias_or_norm();
        let rule = config.update(self.factor * f64::from(treatment.lr), treatment.weight_decay, trust, slot.steps);
        // the average begins where the weights do
        let before = averaged.and_then(|_| slot.average.take()).or_else(|| averaged.map(|_| copy(&value)));
        let value = update(&rule, &parameter.shape, value, gradient, &mut slot.tensors, self.grad_scale);
        slot.average = averaged.zip(before).map(|(decay, before)| moving_average(before, value.clone(), decay));
        let value = Tensor::from_inner(value.reshape(shape)).require_grad();
        Param::from_mapped_value(id, value, mapper)
    }
}

/// The same numbers in memory of their own.
fn copy(value: &Tensor<1>) -> Tensor<1> {
    let device = value.device();
    Tensor::from_data(TensorData::new(ptm_ops::read_f32(value.clone()), value.shape()), &device)
}

struct Exchange<'a> {
    slots: std::slice::IterMut<'a, Slot>,
}

impl ModuleMapper for Exchange<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(slot) = self.slots.next() else { return param };
        let Some(average) = slot.average.take() else { return param };
        let (id, tensor, mapper) = param.consume();
        let (shape, learns) = (tensor.shape(), tensor.is_require_grad());
        slot.average = Some(flat(tensor.inner()));
        let value = Tensor::from_inner(average.reshape(shape));
        Param::from_mapped_value(id, if learns { value.require_grad() } else { value }, mapper)
    }
}

impl Optimizer {
    /// An optimizer before its first step; `treatments` are those of `parameters`, in order.
    ///
    /// # Panics
    /// When there is not one treatment a parameter.
    pub fn new(
        config: OptimizerConfig,
        parameters: Parameters,
        treatments: Vec<Treatment>,
        averaged: Option<f32>,
    ) -> Self {
        assert_eq!(parameters.len(), treatments.len(), "one treatment a parameter");
        let slots = parameters.iter().map(|_| Slot::default()).collect();
        Self { config, parameters, treatments, averaged, slots }
    }

    /// Which parameters learn at `step`, counted from 1, in order.
    pub fn learning(&self, step: u64) -> Vec<bool> {
        self.treatments.iter().map(|treatment| treatment.thaws.is_some_and(|from| step >= from)).collect()
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// One step of every parameter that has a gradient; the peak learning rate is multiplied by `factor`, gradients by
    /// `grad_scale`.
    pub fn step<M: Module>(&mut self, model: M, gradients: GradientSum, factor: f64, grad_scale: f32) -> M {
        let gradients = gradients.0.into_iter();
        model.map(&mut Step { optimizer: self, gradients, at: 0, factor, grad_scale })
    }

    /// Whether weights are averaged.
    pub fn averages(&self) -> bool {
        self.averaged.is_some()
    }

    /// Exchanges the weights and their moving averages; called a second time, back again.
    pub fn exchange<M: Module>(&mut self, model: M) -> M {
        model.map(&mut Exchange { slots: self.slots.iter_mut() })
    }

    /// The bytes that the state takes.
    pub fn bytes(&self) -> usize {
        let tensors = self.slots.iter().flat_map(|slot| slot.tensors.iter().chain(&slot.average));
        tensors.map(|tensor| 4 * tensor.dims()[0]).sum()
    }

    /// Writes the state into one file, tensors called `PARAMETER/0`, `PARAMETER/1`, `PARAMETER/average`, and the step
    /// numbers of the parameters `PARAMETER/steps` as two halves of 24 bits.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        // one tensor in memory after the other: together they are twice as large as the model
        let mut writer = Writer::new();
        for (parameter, slot) in self.parameters.iter().zip(&self.slots) {
            let mut put = |what: &str, tensor: &Tensor<1>| {
                let (name, tensor) = (format!("{}/{what}", parameter.name), tensor.clone());
                writer.later(name, &tensor.dims(), move || ptm_ops::read_f32(tensor.clone()));
            };
            for (i, tensor) in slot.tensors.iter().enumerate() {
                put(&i.to_string(), tensor);
            }
            if let Some(average) = &slot.average {
                put("average", average);
            }
            if slot.steps > 0 {
                // whole numbers up to 2^24 are exact as f32
                let halves = [(slot.steps >> 24) as f32, (slot.steps & 0xFF_FFFF) as f32];
                writer.later(format!("{}/steps", parameter.name), &[2], move || halves.to_vec());
            }
        }
        Ok(writer.write(path)?)
    }

    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// When the file is damaged or of another model or optimizer.
    pub fn load(&mut self, path: &Path, device: &Device) -> Result<()> {
        let weights = Weights::open_file(path)?;
        let mut used = 0;
        let device = device.clone().inner();
        for (parameter, slot) in self.parameters.iter().zip(&mut self.slots) {
            let mut take = |what: &str| -> Result<Option<Vec<f32>>> {
                let found = weights.get(&format!("{}/{what}", parameter.name));
                used += usize::from(found.is_some());
                Ok(found.map(|view| view.to_f32()).transpose()?)
            };
            let wrong = |problem: &str| other(path, parameter, problem);
            let tensor = |values: Vec<f32>| {
                let shape = [values.len()];
                Tensor::<1>::from_data(TensorData::new(values, shape), &device)
            };
            let steps = take("steps")?;
            let sizes = self.config.update(1.0, 0.0, true, 1).state_sizes(&parameter.shape);
            *slot = Slot::default();
            if let Some(halves) = steps {
                let [high, low] = halves[..] else { return Err(wrong("its step number is damaged")) };
                slot.steps = ((high as u64) << 24) + low as u64;
                for (i, size) in sizes.iter().enumerate() {
                    let values = take(&i.to_string())?.filter(|values| values.len() == *size);
                    slot.tensors.push(tensor(values.ok_or_else(|| wrong("its state is missing or of another size"))?));
                }
            }
            if let Some(values) = take("average")? {
                if values.len() != parameter.elements() || self.averaged.is_none() {
                    return Err(wrong("its average is of another size, or nothing is averaged here"));
                }
                slot.average = Some(tensor(values));
            }
        }
        if used != weights.len() {
            let problem =
                format!("{}: holds state of {} more tensors than this run has", path.display(), weights.len() - used);
            return Err(Error::Input(format!("{problem}; it is of another model or optimizer")));
        }
        Ok(())
    }
}

fn other(path: &Path, parameter: &Parameter, problem: &str) -> Error {
    let name = &parameter.name;
    Error::Input(format!("{}: {name}: {problem}; it is of another model, optimizer or recipe", path.display()))
}
