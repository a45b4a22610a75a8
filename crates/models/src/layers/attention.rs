//! Multi-head attention with its projections (Vaswani et al. 2017, §3.2.2), self and cross.

use burn::prelude::*;
use ptm_ops::{Activation, Attention, Bias, attention};

use super::Linear;

/// Query, key, value and output.
#[derive(Module, Debug)]
pub struct AttentionLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

impl AttentionLayer {
    /// Projections from `hidden` to `inner`, all heads together, and back; with biases or without.
    pub fn new(hidden: usize, inner: usize, bias: bool, device: &Device) -> Self {
        let linear = |inputs, outputs| Linear::with_bias(inputs, outputs, bias, device);
        Self {
            query: linear(hidden, inner),
            key: linear(hidden, inner),
            value: linear(hidden, inner),
            output: linear(inner, hidden),
        }
    }

    /// What the rows of `x` read from those of `keys`.
    ///
    /// # Shapes
    /// `x` `[Tq, H]`, `keys` `[Tk, H]` → `[Tq, H]`.
    pub fn forward(&self, x: Tensor<2>, keys: Tensor<2>, bias: Option<Bias>, spec: &Attention) -> Tensor<2> {
        let (k, v) = self.keys_and_values(keys);
        self.out(attention(self.queries(x), k, v, bias, spec))
    }

    /// # Shapes
    /// `[Tq, H]` → `[Tq, A·D]`.
    pub(crate) fn queries(&self, x: Tensor<2>) -> Tensor<2> {
        self.query.forward(x, Activation::None)
    }

    /// # Shapes
    /// `[Tk, H]` → `[Tk, A·D]` each.
    pub(crate) fn keys_and_values(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        (self.key.forward(x.clone(), Activation::None), self.value.forward(x, Activation::None))
    }

    /// From what was read to hidden states.
    ///
    /// # Shapes
    /// `[Tq, A·D]` → `[Tq, H]`.
    pub(crate) fn out(&self, context: Tensor<2>) -> Tensor<2> {
        self.output.forward(context, Activation::None)
    }
}
