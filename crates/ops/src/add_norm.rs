//! Dropout, residual and normalisation in one pass: `norm(dropout(x) + residual)`.
//! LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019); post-norm blocks use it as it stands,
//! pre-norm blocks use [`dropout_add`] for the residual stream and a norm without residual.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::prelude::*;
use ptm_kernels::dropout::{self as dropout_kernel, Dropout};
use ptm_kernels::norm as kernel;

use crate::backend::{absent, contiguous, is_fused, optional, pack, slice};
use crate::composed;

/// Extension point of the fused norms.
#[backend_extension(Flex, Autodiff)]
pub trait AddNormOp: Backend {
    /// See [`add_layer_norm`]; an absent residual is a tensor of no elements.
    fn ptm_add_layer_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
        dropout: Dropout,
    ) -> FloatTensor<Self>;

    /// See [`rms_norm`].
    fn ptm_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, eps: f32) -> FloatTensor<Self>;

    /// See [`dropout_add`]; an absent residual is a tensor of no elements.
    fn ptm_dropout_add(x: FloatTensor<Self>, residual: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self>;
}

type F = FloatTensor<Flex>;

fn layer_norm(x: &F, residual: &F, gamma: &F, beta: &F, eps: f32, dropout: Dropout, keep: bool) -> (F, NormState) {
    let (x, residual, gamma, beta) = (contiguous(x), contiguous(residual), contiguous(gamma), contiguous(beta));
    let has_residual = optional(&residual).is_some();
    let keep_sum = keep && (has_residual || dropout.is_on());
    let out =
        kernel::add_layer_norm(slice(&x), optional(&residual), slice(&gamma), slice(&beta), eps, dropout, keep_sum);
    let rows = out.mean.len();
    let shape = x.shape();
    let sum = out.sum.map_or(x, |sum| pack(sum, shape.clone()));
    let state =
        NormState { sum, mean: pack(out.mean, [rows]), rstd: pack(out.rstd, [rows]), gamma, dropout, has_residual };
    (pack(out.y, shape), state)
}

#[derive(Debug, Clone)]
struct NormState {
    sum: F,
    mean: F,
    rstd: F,
    gamma: F,
    dropout: Dropout,
    has_residual: bool,
}

fn rms(x: &F, gamma: &F, eps: f32) -> (F, RmsState) {
    let (x, gamma) = (contiguous(x), contiguous(gamma));
    let out = kernel::add_rms_norm(slice(&x), None, slice(&gamma), eps, Dropout::OFF, false);
    let rows = out.rstd.len();
    (pack(out.y, x.shape()), RmsState { x, rstd: pack(out.rstd, [rows]), gamma })
}

#[derive(Debug, Clone)]
struct RmsState {
    x: F,
    rstd: F,
    gamma: F,
}

fn add(x: &F, residual: &F, dropout: Dropout) -> F {
    let (x, residual) = (contiguous(x), contiguous(residual));
    let y = match optional(&residual) {
        Some(residual) => kernel::dropout_add(slice(&x), residual, dropout),
        None => dropout_kernel::forward(slice(&x), &dropout),
    };
    pack(y, x.shape())
}

impl AddNormOp for Flex {
    fn ptm_add_layer_norm(x: F, residual: F, gamma: F, beta: F, eps: f32, dropout: Dropout) -> F {
        layer_norm(&x, &residual, &gamma, &beta, eps, dropout, false).0
    }

    fn ptm_rms_norm(x: F, gamma: F, eps: f32) -> F {
        rms(&x, &gamma, eps).0
    }

    fn ptm_dropout_add(x: F, residual: F, dropout: Dropout) -> F {
        add(&x, &residual, dropout)
    }
}

#[derive(Debug)]
struct LayerNormBackward;

impl Backward<Flex, 4> for LayerNormBackward {
    type State = NormState;

    fn backward(self, ops: Ops<NormState, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = contiguous(&grads.consume::<Flex>(&ops.node));
        let [x_node, residual_node, gamma_node, beta_node] = ops.parents;
        let s = ops.state;
        let out = kernel::add_layer_norm_backward(
            slice(&dy),
            slice(&s.sum),
            slice(&s.mean),
            slice(&s.rstd),
            slice(&s.gamma),
            s.dropout,
            s.has_residual,
        );
        let dx = pack(out.x, s.sum.shape());
        if let Some(node) = residual_node {
            // without dropout both branches of the sum have the same gradient, and share it
            let grad = out.residual.map_or_else(|| dx.clone(), |grad| pack(grad, s.sum.shape()));
            grads.register::<Flex>(node.id, grad);
        }
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, dx);
        }
        if let Some(node) = gamma_node {
            grads.register::<Flex>(node.id, pack(out.gamma, s.gamma.shape()));
        }
        if let Some(node) = beta_node {
            grads.register::<Flex>(node.id, pack(out.beta, s.gamma.shape()));
        }
    }
}

#[derive(Debug)]
struct RmsNormBackward;

impl Backward<Flex, 2> for RmsNormBackward {
    type State = RmsState;

    fn backward(self, ops: Ops<RmsState, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = contiguous(&grads.consume::<Flex>(&ops.node));
        let [x_node, gamma_node] = ops.parents;
        let s = ops.state;
        let out = kernel::add_rms_norm_backward(
            slice(&dy),
            slice(&s.x),
            slice(&s.rstd),
            slice(&s.gamma),
            Dropout::OFF,
            false,
        );
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, pack(out.x, s.x.shape()));
        }
        if let Some(node) = gamma_node {
            grads.register::<Flex>(node.id, pack(out.gamma, s.gamma.shape()));
        }
    }
}

#[derive(Debug)]
struct DropoutAddBackward;

impl Backward<Flex, 2> for DropoutAddBackward {
    type State = Dropout;

    fn backward(self, ops: Ops<Dropout, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = contiguous(&grads.consume::<Flex>(&ops.node));
        let [x_node, residual_node] = ops.parents;
        if let Some(node) = x_node {
            let dx = if ops.state.is_on() {
                pack(dropout_kernel::backward(slice(&dy), &ops.state), dy.shape())
            } else {
                dy.clone()
            };
            grads.register::<Flex>(node.id, dx);
        }
        if let Some(node) = residual_node {
            grads.register::<Flex>(node.id, dy);
        }
    }
}

impl<C: CheckpointStrategy> AddNormOp for Autodiff<Flex, C> {
    fn ptm_add_layer_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        eps: f32,
        dropout: Dropout,
    ) -> FloatTensor<Self> {
        let run = |keep| {
            layer_norm(x.primitive(), residual.primitive(), gamma.primitive(), beta.primitive(), eps, dropout, keep)
        };
        let nodes = [x.node(), residual.node(), gamma.node(), beta.node()];
        match Backward::<Flex, 4>::prepare::<C>(LayerNormBackward, nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (y, state) = run(true);
                prep.finish(state, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(run(false).0),
        }
    }

    fn ptm_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, eps: f32) -> FloatTensor<Self> {
        let (y, state) = rms(x.primitive(), gamma.primitive(), eps);
        let nodes = [x.node(), gamma.node()];
        match Backward::<Flex, 2>::prepare::<C>(RmsNormBackward, nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(state, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn ptm_dropout_add(x: FloatTensor<Self>, residual: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let y = add(x.primitive(), residual.primitive(), dropout);
        let nodes = [x.node(), residual.node()];
        match Backward::<Flex, 2>::prepare::<C>(DropoutAddBackward, nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(dropout, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// `LayerNorm(dropout(x) + residual)` over the last dimension; without residual the plain norm of `dropout(x)`.
///
/// # Shapes
/// `x`, `residual` `[T, H]`, `gamma`, `beta` `[H]` → `[T, H]`.
pub fn add_layer_norm(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f32,
    dropout: Dropout,
) -> Tensor<2> {
    let device = x.device();
    if !is_fused(&device) {
        return composed::add_layer_norm(x, residual, gamma, beta, eps, dropout);
    }
    let residual = residual.unwrap_or_else(|| absent(&device)).into_dispatch();
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(Dispatch::ptm_add_layer_norm(x, residual, gamma, beta, eps, dropout))
}

/// `x / √(mean(x²) + eps) · gamma` over the last dimension.
///
/// # Shapes
/// `x` `[T, H]`, `gamma` `[H]` → `[T, H]`.
pub fn rms_norm(x: Tensor<2>, gamma: Tensor<1>, eps: f32) -> Tensor<2> {
    if !is_fused(&x.device()) {
        return composed::rms_norm(x, gamma, eps);
    }
    Tensor::from_dispatch(Dispatch::ptm_rms_norm(x.into_dispatch(), gamma.into_dispatch(), eps))
}

/// `dropout(x) + residual`: the residual stream of a pre-norm block.
///
/// # Shapes
/// `x`, `residual` `[T, H]` → `[T, H]`.
pub fn dropout_add(x: Tensor<2>, residual: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    if !is_fused(&x.device()) {
        return composed::dropout(x, dropout) + residual;
    }
    Tensor::from_dispatch(Dispatch::ptm_dropout_add(x.into_dispatch(), residual.into_dispatch(), dropout))
}

/// `dropout(x)`; `x` itself when dropout is off.
pub fn dropout(x: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    let device = x.device();
    if !dropout.is_on() {
        return x;
    }
    if !is_fused(&device) {
        return composed::dropout(x, dropout);
    }
    let none = absent::<2>(&device).into_dispatch();
    Tensor::from_dispatch(Dispatch::ptm_dropout_add(x.into_dispatch(), none, dropout))
}
