//! The layers that families share. Weights are `[out, in]`, as Hugging Face stores them, and begin as zeros that
//! are never made: reading or initialising a model replaces them first.

mod attention;
mod positions;
mod relative;

use burn::module::{Param, ParamId};
use burn::prelude::*;
use ptm_ops::{Activation, Dropout};

pub use self::attention::AttentionLayer;
pub use self::positions::Positions;
pub(crate) use self::positions::look_up;
pub use self::relative::RelativeBias;

/// A parameter that becomes zeros if nobody gives it a value.
pub(crate) fn parameter<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    let zeros = move |device: &Device, require_grad: bool| {
        let tensor = Tensor::zeros(shape, device);
        if require_grad { tensor.require_grad() } else { tensor }
    };
    Param::uninitialized(ParamId::new(), zeros, device.clone(), true, shape.into())
}

/// `act(x·Wᵀ + b)`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer with bias from `inputs` to `outputs`.
    pub fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self::with_bias(inputs, outputs, true, device)
    }

    /// A layer from `inputs` to `outputs`, with bias or without.
    pub fn with_bias(inputs: usize, outputs: usize, bias: bool, device: &Device) -> Self {
        Self { weight: parameter([outputs, inputs], device), bias: bias.then(|| parameter([outputs], device)) }
    }

    /// # Shapes
    /// `[T, in]` → `[T, out]`.
    pub fn forward(&self, x: Tensor<2>, act: Activation) -> Tensor<2> {
        ptm_ops::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val), act)
    }
}

/// Layer normalisation with learned scale and shift.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[H]`.
    pub weight: Param<Tensor<1>>,
    /// `[H]`.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance.
    pub eps: f32,
}

impl LayerNorm {
    /// A norm over rows of `width`.
    pub fn new(width: usize, eps: f32, device: &Device) -> Self {
        Self { weight: parameter([width], device), bias: parameter([width], device), eps }
    }

    /// The norm of `x`.
    ///
    /// # Shapes
    /// `[T, H]` → `[T, H]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ptm_ops::add_layer_norm(x, None, self.weight.val(), self.bias.val(), self.eps, Dropout::OFF)
    }

    /// A block with its residual: norm, block, sum where the norm comes `first`, else block, sum, norm.
    /// `kept` picks the rows of `x` that the block gives.
    ///
    /// # Shapes
    /// `x` `[T, H]` → `[R, H]`.
    pub fn around(
        &self,
        x: Tensor<2>,
        first: bool,
        dropout: Dropout,
        block: impl FnOnce(Tensor<2>) -> Tensor<2>,
        kept: impl FnOnce(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        if first {
            ptm_ops::dropout_add(block(self.forward(x.clone())), kept(x), dropout)
        } else {
            self.add(block(x.clone()), kept(x), dropout)
        }
    }

    /// The norm of `dropout(x) + residual`, in one pass.
    ///
    /// # Shapes
    /// Both `[T, H]` → `[T, H]`.
    pub fn add(&self, x: Tensor<2>, residual: Tensor<2>, dropout: Dropout) -> Tensor<2> {
        ptm_ops::add_layer_norm(x, Some(residual), self.weight.val(), self.bias.val(), self.eps, dropout)
    }
}

/// Normalisation by the root of the mean square, with learned scale alone.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[H]`.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub eps: f32,
}

impl RmsNorm {
    /// A norm over rows of `width`.
    pub fn new(width: usize, eps: f32, device: &Device) -> Self {
        Self { weight: parameter([width], device), eps }
    }

    /// The norm of `x`.
    ///
    /// # Shapes
    /// `[T, H]` → `[T, H]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ptm_ops::rms_norm(x, self.weight.val(), self.eps)
    }

    /// A block with its residual, the norm first; `kept` picks the rows of `x` that the block gives.
    ///
    /// # Shapes
    /// `x` `[T, H]` → `[R, H]`.
    pub fn around(
        &self,
        x: Tensor<2>,
        dropout: Dropout,
        block: impl FnOnce(Tensor<2>) -> Tensor<2>,
        kept: impl FnOnce(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        ptm_ops::dropout_add(block(self.forward(x.clone())), kept(x), dropout)
    }
}
