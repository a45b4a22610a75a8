//! `y = act(x·Wᵀ + b)` in one operation, weight `[O, H]` as Hugging Face stores it.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::prelude::*;
use ptm_kernels::activation::Activation;
use ptm_kernels::linear::{self as kernel, LinearDims, Needs};

use crate::backend::{absent, contiguous, dims2, is_fused, optional, pack, slice};
use crate::composed;

/// Extension point of the fused linear layer.
#[backend_extension(Flex, Autodiff)]
pub trait LinearOp: Backend {
    /// See [`linear`]; an absent bias is a tensor of no elements.
    fn ptm_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        act: Activation,
    ) -> FloatTensor<Self>;
}

type F = FloatTensor<Flex>;

fn forward(x: &F, weight: &F, bias: &F, act: Activation, keep_pre: bool) -> (F, Option<F>) {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), contiguous(bias));
    let ([rows, inputs], [outputs, _]) = (dims2(&x), dims2(&weight));
    let dims = LinearDims { rows, inputs, outputs };
    let out = kernel::forward(slice(&x), slice(&weight), optional(&bias), act, dims, keep_pre);
    (pack(out.y, [rows, outputs]), out.pre.map(|pre| pack(pre, [rows, outputs])))
}

impl LinearOp for Flex {
    fn ptm_linear(x: F, weight: F, bias: F, act: Activation) -> F {
        forward(&x, &weight, &bias, act, false).0
    }
}

#[derive(Debug)]
struct LinearBackward;

#[derive(Debug, Clone)]
struct State {
    x: F,
    weight: F,
    pre: Option<F>,
    act: Activation,
}

impl Backward<Flex, 3> for LinearBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = contiguous(&grads.consume::<Flex>(&ops.node));
        let [x_node, weight_node, bias_node] = ops.parents;
        let state = ops.state;
        let (x, weight) = (contiguous(&state.x), contiguous(&state.weight));
        let ([rows, inputs], [outputs, _]) = (dims2(&x), dims2(&weight));
        let dims = LinearDims { rows, inputs, outputs };
        let needs = Needs { x: x_node.is_some(), weight: weight_node.is_some(), bias: bias_node.is_some() };
        let pre = state.pre.as_ref().map(slice);
        let out = kernel::backward(slice(&x), slice(&weight), pre, state.act, slice(&dy), dims, needs);
        if let (Some(node), Some(grad)) = (x_node, out.x) {
            grads.register::<Flex>(node.id, pack(grad, [rows, inputs]));
        }
        if let (Some(node), Some(grad)) = (weight_node, out.weight) {
            grads.register::<Flex>(node.id, pack(grad, [outputs, inputs]));
        }
        if let (Some(node), Some(grad)) = (bias_node, out.bias) {
            grads.register::<Flex>(node.id, pack(grad, [outputs]));
        }
    }
}

impl<C: CheckpointStrategy> LinearOp for Autodiff<Flex, C> {
    fn ptm_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        act: Activation,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        match Backward::<Flex, 3>::prepare::<C>(LinearBackward, nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (y, pre) = forward(x.primitive(), weight.primitive(), bias.primitive(), act, true);
                let state = State { x: x.into_primitive(), weight: weight.into_primitive(), pre, act };
                prep.finish(state, y)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(forward(x.primitive(), weight.primitive(), bias.primitive(), act, false).0)
            }
        }
    }
}

/// `act(x·Wᵀ + bias)`.
///
/// # Shapes
/// `x` `[T, H]`, `weight` `[O, H]`, `bias` `[O]` → `[T, O]`. No rows give no rows.
///
/// # Panics
/// When the widths of `x`, `weight` and `bias` don't fit each other.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, act: Activation) -> Tensor<2> {
    let device = x.device();
    if !is_fused(&device) {
        return composed::linear(x, weight, bias, act);
    }
    let bias = bias.unwrap_or_else(|| absent(&device));
    Tensor::from_dispatch(Dispatch::ptm_linear(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch(), act))
}
