//! Chosen rows of a matrix; the backward scatters and adds.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::prelude::*;
use ptm_kernels::gather as kernel;

use crate::backend::{Indices, contiguous, dims2, is_fused, pack, slice};
use crate::composed;

/// Extension point of the row gather.
#[backend_extension(Flex, Autodiff)]
pub trait GatherOp: Backend {
    /// See [`gather_rows`].
    fn ptm_gather_rows(x: FloatTensor<Self>, rows: Indices) -> FloatTensor<Self>;
}

type F = FloatTensor<Flex>;

impl GatherOp for Flex {
    fn ptm_gather_rows(x: F, rows: Indices) -> F {
        let x = contiguous(&x);
        let [_, width] = dims2(&x);
        pack(kernel::rows(slice(&x), width, &rows), [rows.len(), width])
    }
}

#[derive(Debug)]
struct GatherBackward;

impl Backward<Flex, 1> for GatherBackward {
    type State = (Indices, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = contiguous(&grads.consume::<Flex>(&ops.node));
        let (rows, total) = ops.state;
        let [_, width] = dims2(&dy);
        let [node] = ops.parents;
        if let Some(node) = node {
            let grad = kernel::scatter_add(slice(&dy), width, &rows, total);
            grads.register::<Flex>(node.id, pack(grad, [total, width]));
        }
    }
}

impl<C: CheckpointStrategy> GatherOp for Autodiff<Flex, C> {
    fn ptm_gather_rows(x: FloatTensor<Self>, rows: Indices) -> FloatTensor<Self> {
        let [total, _] = dims2(x.primitive());
        let y = Flex::ptm_gather_rows(x.primitive().clone(), rows.clone());
        match Backward::<Flex, 1>::prepare::<C>(GatherBackward, [x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((rows, total), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// The rows of `x` that `rows` names, in that order; a row may be named more than once.
///
/// # Shapes
/// `x` `[T, H]`, `rows` `[R]` → `[R, H]`.
///
/// # Panics
/// When a row is beyond `T`.
pub fn gather_rows(x: Tensor<2>, rows: &Indices) -> Tensor<2> {
    if !is_fused(&x.device()) {
        return composed::gather_rows(x, rows);
    }
    Tensor::from_dispatch(Dispatch::ptm_gather_rows(x.into_dispatch(), rows.clone()))
}
