//! Cross-entropy over chosen rows straight from hidden states and the (tied) decoder, in chunks:
//! `[T, V]` logits never exist. Gradients are made chunk by chunk in the forward pass, when anything asks for them.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::prelude::*;
use ptm_kernels::cross_entropy::{self as kernel, Options};

use crate::backend::{Indices, absent, contiguous, dims2, is_fused, optional, pack, slice};
use crate::composed;

/// The rows that are predicted, and how their losses add up.
#[derive(Clone, Debug)]
pub struct ChosenRows {
    /// Rows of the hidden states, `[R]`.
    pub rows: Indices,
    /// The class of each, `[R]`.
    pub targets: Indices,
    /// Share of the target's probability that is spread over all classes.
    pub label_smoothing: f32,
    /// What the sum over rows is multiplied by; `1/R` gives the mean. With gradients of several batches summed,
    /// one over their common count of targets.
    pub scale: f32,
}

/// Extension point of the fused cross-entropy.
#[backend_extension(Flex, Autodiff)]
pub trait CrossEntropyOp: Backend {
    /// See [`cross_entropy`]; an absent bias is a tensor of no elements.
    fn ptm_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        chosen: ChosenRows,
    ) -> FloatTensor<Self>;
}

type F = FloatTensor<Flex>;

fn forward(hidden: &F, weight: &F, bias: &F, chosen: &ChosenRows, with_grads: bool) -> (F, Option<[F; 3]>) {
    let (hidden, weight, bias) = (contiguous(hidden), contiguous(weight), contiguous(bias));
    let [vocab, width] = dims2(&weight);
    let options = Options { label_smoothing: chosen.label_smoothing, scale: chosen.scale };
    let out = kernel::forward(
        slice(&hidden),
        slice(&weight),
        optional(&bias),
        &chosen.rows,
        &chosen.targets,
        width,
        vocab,
        &options,
        with_grads,
    );
    let grads = out.grads.map(|grads| {
        [
            pack(grads.hidden, hidden.shape()),
            pack(grads.weight, [vocab, width]),
            grads.bias.map_or_else(|| bias.clone(), |grad| pack(grad, [vocab])),
        ]
    });
    (pack(vec![out.loss as f32], [1]), grads)
}

impl CrossEntropyOp for Flex {
    fn ptm_cross_entropy(hidden: F, weight: F, bias: F, chosen: ChosenRows) -> F {
        forward(&hidden, &weight, &bias, &chosen, false).0
    }
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl Backward<Flex, 3> for CrossEntropyBackward {
    type State = [F; 3];

    fn backward(self, ops: Ops<[F; 3], 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = slice(&contiguous(&grads.consume::<Flex>(&ops.node)))[0];
        for (node, grad) in ops.parents.into_iter().zip(ops.state) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, scaled(grad, upstream));
            }
        }
    }
}

fn scaled(mut tensor: F, factor: f32) -> F {
    // a loss that is itself the end of the graph has the upstream gradient 1
    if factor != 1.0 {
        tensor.storage_mut::<f32>().iter_mut().for_each(|value| *value *= factor);
    }
    tensor
}

impl<C: CheckpointStrategy> CrossEntropyOp for Autodiff<Flex, C> {
    fn ptm_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        chosen: ChosenRows,
    ) -> FloatTensor<Self> {
        let run = |with_grads| forward(hidden.primitive(), weight.primitive(), bias.primitive(), &chosen, with_grads);
        let nodes = [hidden.node(), weight.node(), bias.node()];
        match Backward::<Flex, 3>::prepare::<C>(CrossEntropyBackward, nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (loss, grads) = run(true);
                prep.finish(grads.expect("gradients were asked for"), loss)
            }
            OpsKind::UnTracked(prep) => prep.finish(run(false).0),
        }
    }
}

/// `scale · Σ -log softmax(hidden[row]·Wᵀ + bias)[target]` over the chosen rows.
///
/// # Shapes
/// `hidden` `[T, H]`, `weight` `[V, H]`, `bias` `[V]` → `[1]`. No chosen rows give 0 with zero gradients.
///
/// # Panics
/// When rows and targets differ in length, a row is beyond `T` or a target beyond `V`.
pub fn cross_entropy(hidden: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, chosen: &ChosenRows) -> Tensor<1> {
    let device = hidden.device();
    if !is_fused(&device) {
        return composed::cross_entropy(hidden, weight, bias, chosen);
    }
    let bias = bias.unwrap_or_else(|| absent(&device)).into_dispatch();
    let (hidden, weight) = (hidden.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(Dispatch::ptm_cross_entropy(hidden, weight, bias, chosen.clone()))
}
