//! Attention over packed sequences (Attention Is All You Need, §3.2), self and cross, with masks, additive bias
//! and dropout on the probabilities. Scores exist one tile at a time; the backward recomputes them.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::prelude::*;
use ptm_kernels::attention::{self as kernel, Bias as KernelBias, Mask as KernelMask, Shape as KernelShape};
use ptm_kernels::dropout::Dropout;

use crate::backend::{absent, contiguous, is_fused, pack, slice};
use crate::composed;

/// Which keys a query sees, beyond its own sequence. A query that sees no key gives a row of zeros.
#[derive(Clone, Debug, Default)]
pub enum Mask {
    /// Every key of its sequence.
    #[default]
    None,
    /// Query `i` of a sequence with `q` queries and `k` keys sees the keys `j ≤ i + k - q`.
    Causal,
    /// As causal, and every query also sees the first `n` keys, one `n` a sequence.
    Prefix(Arc<[usize]>),
    /// Of each packed query the first key of its sequence that it sees, and the one after the last, `[Tq]`.
    Spans(Arc<[[u32; 2]]>),
    /// One flag a packed key: whether anyone sees it.
    Keys(Arc<[bool]>),
    /// The row-major `[q, k]` blocks of all sequences, one after the other; true is visible.
    Full(Arc<[bool]>),
}

impl Mask {
    pub(crate) fn kernel(&self) -> KernelMask<'_> {
        match self {
            Self::None => KernelMask::None,
            Self::Causal => KernelMask::Causal,
            Self::Prefix(lengths) => KernelMask::Prefix(lengths),
            Self::Spans(spans) => KernelMask::Spans(spans),
            Self::Keys(visible) => KernelMask::Keys(visible),
            Self::Full(visible) => KernelMask::Full(visible),
        }
    }
}

/// What is added to the scores before the softmax; it has a gradient.
#[derive(Clone, Debug)]
pub enum Bias {
    /// `[A, q_max, k_max]`, the same for all sequences; the block `[.., ..q, ..k]` is used.
    Dense(Tensor<3>),
    /// `[A, S]`: a value a distance; query `i` and key `j` read column `zero + j - (i + k - q)` (T5's relative bias).
    Relative {
        /// The values, `[A, S]`.
        values: Tensor<2>,
        /// The column of distance 0.
        zero: usize,
    },
}

/// Everything about an attention call that is not a tensor.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Number of heads, `A`.
    pub heads: usize,
    /// What scores are multiplied by, usually `1/√D`.
    pub scale: f32,
    /// Where each sequence of queries begins and ends, `[B + 1]`.
    pub q_offsets: Arc<[usize]>,
    /// The same for keys and values.
    pub k_offsets: Arc<[usize]>,
    /// Which keys are visible.
    pub mask: Mask,
    /// Dropout of probabilities.
    pub dropout: Dropout,
}

/// How the primitive that carries the bias is to be read.
#[derive(Clone, Copy, Debug)]
pub enum BiasKind {
    /// No bias: the primitive has no elements.
    Absent,
    /// `[A, q_max, k_max]`.
    Dense,
    /// `[A, S]` with the column of distance 0.
    Relative(usize),
}

/// Extension point of packed attention.
#[backend_extension(Flex, Autodiff)]
pub trait AttentionOp: Backend {
    /// See [`attention`].
    fn ptm_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        kind: BiasKind,
        spec: Attention,
    ) -> FloatTensor<Self>;
}

type F = FloatTensor<Flex>;

fn kernel_shape<'a>(q: &F, spec: &'a Attention) -> KernelShape<'a> {
    KernelShape {
        heads: spec.heads,
        head_dim: q.shape()[1] / spec.heads,
        scale: spec.scale,
        q_offsets: &spec.q_offsets,
        k_offsets: &spec.k_offsets,
    }
}

fn kernel_bias(bias: &F, kind: BiasKind) -> KernelBias<'_> {
    let shape = bias.shape();
    match kind {
        BiasKind::Absent => KernelBias::None,
        BiasKind::Dense => KernelBias::Dense { values: slice(bias), q_max: shape[1], k_max: shape[2] },
        BiasKind::Relative(zero) => KernelBias::Relative { values: slice(bias), span: shape[1], zero },
    }
}

#[derive(Debug, Clone)]
struct State {
    q: F,
    k: F,
    v: F,
    bias: F,
    kind: BiasKind,
    out: F,
    lse: F,
    spec: Attention,
}

/// The output, and what the backward needs.
fn forward(q: &F, k: &F, v: &F, bias: &F, kind: BiasKind, spec: Attention) -> State {
    let (q, k, v, bias) = (contiguous(q), contiguous(k), contiguous(v), contiguous(bias));
    let out = {
        let shape = kernel_shape(&q, &spec);
        let bias = kernel_bias(&bias, kind);
        kernel::forward(slice(&q), slice(&k), slice(&v), &shape, spec.mask.kernel(), bias, spec.dropout)
    };
    let rows = q.shape()[0];
    let lse = pack(out.lse, [spec.heads, rows]);
    let out = pack(out.out, q.shape());
    State { q, k, v, bias, kind, out, lse, spec }
}

impl AttentionOp for Flex {
    fn ptm_attention(q: F, k: F, v: F, bias: F, kind: BiasKind, spec: Attention) -> F {
        forward(&q, &k, &v, &bias, kind, spec).out
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 4> for AttentionBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dout = contiguous(&grads.consume::<Flex>(&ops.node));
        let [q_node, k_node, v_node, bias_node] = ops.parents;
        let s = ops.state;
        let out = {
            let shape = kernel_shape(&s.q, &s.spec);
            kernel::backward(
                slice(&s.q),
                slice(&s.k),
                slice(&s.v),
                slice(&s.out),
                slice(&s.lse),
                slice(&dout),
                &shape,
                s.spec.mask.kernel(),
                kernel_bias(&s.bias, s.kind),
                s.spec.dropout,
                bias_node.is_some(),
            )
        };
        for (node, grad, like) in [(q_node, out.q, &s.q), (k_node, out.k, &s.k), (v_node, out.v, &s.v)] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, pack(grad, like.shape()));
            }
        }
        if let (Some(node), Some(grad)) = (bias_node, out.bias) {
            grads.register::<Flex>(node.id, pack(grad, s.bias.shape()));
        }
    }
}

impl<C: CheckpointStrategy> AttentionOp for Autodiff<Flex, C> {
    fn ptm_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        kind: BiasKind,
        spec: Attention,
    ) -> FloatTensor<Self> {
        let state = forward(q.primitive(), k.primitive(), v.primitive(), bias.primitive(), kind, spec);
        let nodes = [q.node(), k.node(), v.node(), bias.node()];
        match Backward::<Flex, 4>::prepare::<C>(AttentionBackward, nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let out = state.out.clone();
                prep.finish(state, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(state.out),
        }
    }
}

/// `softmax(scale · q·kᵀ + bias)·v`, for every head of every sequence.
///
/// # Shapes
/// `q` `[Tq, A·D]`, `k`, `v` `[Tk, A·D]` → `[Tq, A·D]`, heads side by side in a row.
///
/// # Panics
/// When the offsets don't end at the rows, the width isn't divisible by the heads, or the mask's size is wrong.
pub fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, bias: Option<Bias>, spec: &Attention) -> Tensor<2> {
    let device = q.device();
    if !is_fused(&device) {
        return composed::attention(q, k, v, bias, spec);
    }
    let (q, k, v, spec) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch(), spec.clone());
    let (bias, kind) = match bias {
        None => (absent::<3>(&device).into_dispatch(), BiasKind::Absent),
        Some(Bias::Dense(values)) => (values.into_dispatch(), BiasKind::Dense),
        Some(Bias::Relative { values, zero }) => (values.into_dispatch(), BiasKind::Relative(zero)),
    };
    Tensor::from_dispatch(Dispatch::ptm_attention(q, k, v, bias, kind, spec))
}
