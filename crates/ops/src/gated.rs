//! Activations, and gated activations `act(gate) · up` (GLU Variants Improve Transformer, Shazeer 2020).

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::prelude::*;
use ptm_kernels::activation::{self as kernel, Activation};

use crate::backend::{contiguous, is_fused, pack, slice};
use crate::composed;

/// Extension point of the activations.
#[backend_extension(Flex, Autodiff)]
pub trait GatedOp: Backend {
    /// See [`gated`].
    fn ptm_gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, act: Activation) -> FloatTensor<Self>;
    /// See [`activation`].
    fn ptm_activation(x: FloatTensor<Self>, act: Activation) -> FloatTensor<Self>;
}

type F = FloatTensor<Flex>;

impl GatedOp for Flex {
    fn ptm_gated(gate: F, up: F, act: Activation) -> F {
        let (gate, up) = (contiguous(&gate), contiguous(&up));
        pack(kernel::gated(slice(&gate), slice(&up), act), gate.shape())
    }

    fn ptm_activation(x: F, act: Activation) -> F {
        let x = contiguous(&x);
        pack(kernel::forward(slice(&x), act), x.shape())
    }
}

#[derive(Debug)]
struct GatedBackward;

impl Backward<Flex, 2> for GatedBackward {
    type State = (F, F, Activation);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = contiguous(&grads.consume::<Flex>(&ops.node));
        let (gate, up, act) = ops.state;
        let (gate, up) = (contiguous(&gate), contiguous(&up));
        let (dgate, dup) = kernel::gated_backward(slice(&gate), slice(&up), slice(&dy), act);
        for (node, grad) in ops.parents.into_iter().zip([dgate, dup]) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, pack(grad, gate.shape()));
            }
        }
    }
}

#[derive(Debug)]
struct ActivationBackward;

impl Backward<Flex, 1> for ActivationBackward {
    type State = (F, Activation);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = contiguous(&grads.consume::<Flex>(&ops.node));
        let (x, act) = ops.state;
        let x = contiguous(&x);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<Flex>(node.id, pack(kernel::backward(slice(&x), slice(&dy), act), x.shape()));
        }
    }
}

impl<C: CheckpointStrategy> GatedOp for Autodiff<Flex, C> {
    fn ptm_gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, act: Activation) -> FloatTensor<Self> {
        let y = Flex::ptm_gated(gate.primitive().clone(), up.primitive().clone(), act);
        match Backward::<Flex, 2>::prepare::<C>(GatedBackward, [gate.node(), up.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((gate.into_primitive(), up.into_primitive(), act), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn ptm_activation(x: FloatTensor<Self>, act: Activation) -> FloatTensor<Self> {
        let y = Flex::ptm_activation(x.primitive().clone(), act);
        match Backward::<Flex, 1>::prepare::<C>(ActivationBackward, [x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x.into_primitive(), act), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// `act(gate) · up`, element by element.
///
/// # Shapes
/// Both `[T, H]` → `[T, H]`.
pub fn gated(gate: Tensor<2>, up: Tensor<2>, act: Activation) -> Tensor<2> {
    if !is_fused(&gate.device()) {
        return composed::activation(gate, act) * up;
    }
    Tensor::from_dispatch(Dispatch::ptm_gated(gate.into_dispatch(), up.into_dispatch(), act))
}

/// `act(x)`, element by element. After a linear layer use [`crate::linear`], which does both in one pass.
pub fn activation(x: Tensor<2>, act: Activation) -> Tensor<2> {
    if act == Activation::None {
        return x;
    }
    if !is_fused(&x.device()) {
        return composed::activation(x, act);
    }
    Tensor::from_dispatch(Dispatch::ptm_activation(x.into_dispatch(), act))
}
