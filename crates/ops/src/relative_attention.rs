//! Attention with relative positions and segments of Transformer-XL and XLNet (Dai et al. 2019, §3.3; Yang et al. 2019,
//! §2.5): a score is the sum of a content, a position and a segment term, each with a query bias of its own. Scores exist
//! one tile at a time; the backward computes them again.
//!
//! The CPU runs the fused kernels, since they are faster and need memory for tiles, where the same composed of Burn's
//! operations keeps a sequence's scores some times over; other devices run the latter. At XLNet-base's width, by
//! `cargo bench -p ptm-ops --bench relative_attention` on two threads of an AMD EPYC with AVX-512, in milliseconds; the
//! machine had other work too, so the ratios say more than the times:
//!
//! | sequences × tokens, who sees whom | fused: forward; and backward | composed | ratio |
//! |---|---:|---:|---:|
//! | 8×128, all | 31; 132 | 195; 400 | 6.2; 3.0 |
//! | 8×128, an order of prediction (a flag a pair) | 33; 99 | 228; 371 | 6.9; 3.8 |
//! | 8×128, one direction (a span a query) | 28; 96 | 175; 242 | 6.4; 2.5 |
//! | 2×512, all | 91; 392 | 913; 1,596 | 10.1; 4.1 |
//! | 2×512, an order | 99; 432 | 853; 1,668 | 8.6; 3.9 |
//! | 2×512, one direction | 113; 411 | 1,018; 1,664 | 9.0; 4.0 |
//! | 1×2048, all | 1,119; 3,621 | 10,800; 20,329 | 9.7; 5.6 |
//! | 1×2048, an order | 1,020; 2,283 | 7,902; 15,972 | 7.7; 7.0 |
//! | 1×2048, one direction | 412; 1,851 | 8,887; 16,545 | 21.6; 8.9 |

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::prelude::*;
use ptm_kernels::attention::{self as kernel, Places, Shape as KernelShape, Terms};
use ptm_kernels::dropout::Dropout;

use crate::attention::Mask;
use crate::backend::{Indices, contiguous, is_fused, pack, slice};
use crate::composed;

/// Everything about such a call that is not a tensor.
#[derive(Clone, Debug)]
pub struct RelativeAttention {
    /// Number of heads, `A`.
    pub heads: usize,
    /// What scores are multiplied by, usually `1/√D`.
    pub scale: f32,
    /// Where each sequence of queries begins and ends, `[B + 1]`.
    pub q_offsets: Arc<[usize]>,
    /// The same for keys and values.
    pub k_offsets: Arc<[usize]>,
    /// For each query the place of its own key among its sequence's keys, `[Tq]`.
    pub places: Indices,
    /// The row of distance 0 in the table of distances; the query at place `i` reads row `zero + j - i` for key `j`.
    pub zero: usize,
    /// Sequences that count distances the other way, `[B]`.
    pub backwards: Arc<[bool]>,
    /// The segment of each query, `[Tq]`.
    pub q_segments: Indices,
    /// The segment of each key, `[Tk]`.
    pub k_segments: Indices,
    /// Who sees whom: [`Mask::None`], [`Mask::Spans`] or [`Mask::Full`]. A query that sees no key gives a row of zeros.
    pub mask: Mask,
    /// Dropout of probabilities.
    pub dropout: Dropout,
}

/// The tensors of such a call.
#[derive(Clone, Debug)]
pub struct RelativeTensors {
    /// Queries, `[Tq, A·D]`.
    pub q: Tensor<2>,
    /// Keys, `[Tk, A·D]`.
    pub k: Tensor<2>,
    /// Values, `[Tk, A·D]`.
    pub v: Tensor<2>,
    /// The keys of distances, `[S, A·D]`.
    pub distances: Tensor<2>,
    /// The keys of "same segment" and "another", `[2, A·D]`.
    pub segments: Tensor<2>,
    /// The queries' biases towards content, position and segment, `[A·D]` each.
    pub biases: [Tensor<1>; 3],
}

impl RelativeTensors {
    /// The queries as they meet content, positions and segments.
    pub(crate) fn asking(&self) -> [Tensor<2>; 3] {
        self.biases.clone().map(|bias| self.q.clone() + bias.unsqueeze())
    }
}

/// Extension point of relative attention.
#[backend_extension(Flex, Autodiff)]
pub trait RelativeAttentionOp: Backend {
    /// See [`relative_attention`]; the queries come with their biases.
    fn ptm_relative_attention(
        content: FloatTensor<Self>,
        position: FloatTensor<Self>,
        segment: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        distances: FloatTensor<Self>,
        segments: FloatTensor<Self>,
        spec: RelativeAttention,
    ) -> FloatTensor<Self>;
}

type F = FloatTensor<Flex>;

#[derive(Debug, Clone)]
struct State {
    /// Content, position, segment, keys, values, distances, segments.
    inputs: [F; 7],
    out: F,
    lse: Vec<f32>,
    spec: RelativeAttention,
}

/// Calls `f` with what the kernels take.
fn with_parts<R>(
    inputs: &[F; 7],
    spec: &RelativeAttention,
    f: impl FnOnce(&Terms<'_>, &KernelShape<'_>, &Places<'_>) -> R,
) -> R {
    let [content, position, segment, keys, values, distances, segments] = inputs.each_ref().map(slice);
    let terms = Terms { content, position, segment, keys, values, distances, segments };
    let shape = KernelShape {
        heads: spec.heads,
        head_dim: inputs[0].shape()[1] / spec.heads,
        scale: spec.scale,
        q_offsets: &spec.q_offsets,
        k_offsets: &spec.k_offsets,
    };
    let places = Places {
        places: &spec.places,
        zero: spec.zero,
        backwards: &spec.backwards,
        queries: &spec.q_segments,
        keys: &spec.k_segments,
    };
    f(&terms, &shape, &places)
}

/// The output, and what the backward needs.
fn forward(inputs: [F; 7], spec: RelativeAttention) -> State {
    let inputs = inputs.each_ref().map(contiguous);
    let result = with_parts(&inputs, &spec, |terms, shape, places| {
        kernel::relative(terms, shape, places, spec.mask.kernel(), spec.dropout)
    });
    let out = pack(result.out, inputs[0].shape());
    State { inputs, out, lse: result.lse, spec }
}

impl RelativeAttentionOp for Flex {
    fn ptm_relative_attention(
        content: F,
        position: F,
        segment: F,
        k: F,
        v: F,
        distances: F,
        segments: F,
        spec: RelativeAttention,
    ) -> F {
        forward([content, position, segment, k, v, distances, segments], spec).out
    }
}

#[derive(Debug)]
struct RelativeBackward;

impl Backward<Flex, 7> for RelativeBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 7>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dout = contiguous(&grads.consume::<Flex>(&ops.node));
        let State { inputs, out, lse, spec } = ops.state;
        let g = with_parts(&inputs, &spec, |terms, shape, places| {
            let forward = (slice(&out), &lse[..]);
            kernel::relative_backward(terms, forward, slice(&dout), shape, places, spec.mask.kernel(), spec.dropout)
        });
        let ours = [g.content, g.position, g.segment, g.keys, g.values, g.distances, g.segments];
        for ((node, grad), like) in ops.parents.into_iter().zip(ours).zip(&inputs) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, pack(grad, like.shape()));
            }
        }
    }
}

impl<C: CheckpointStrategy> RelativeAttentionOp for Autodiff<Flex, C> {
    fn ptm_relative_attention(
        content: FloatTensor<Self>,
        position: FloatTensor<Self>,
        segment: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        distances: FloatTensor<Self>,
        segments: FloatTensor<Self>,
        spec: RelativeAttention,
    ) -> FloatTensor<Self> {
        let inputs = [content, position, segment, k, v, distances, segments];
        let state = forward(inputs.each_ref().map(|input| input.primitive().clone()), spec);
        let nodes = inputs.map(|input| input.node());
        match Backward::<Flex, 7>::prepare::<C>(RelativeBackward, nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let out = state.out.clone();
                prep.finish(state, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(state.out),
        }
    }
}

/// `softmax(scale · ((q + u)·kᵀ + (q + w)·distanceᵀ + (q + s)·segmentᵀ))·v`, for every head of every sequence.
///
/// # Shapes
/// `[Tq, A·D]`, heads side by side in a row.
///
/// # Panics
/// When the offsets don't end at the rows, a mask's size is wrong, or the distances don't span every pair.
pub fn relative_attention(x: &RelativeTensors, spec: &RelativeAttention) -> Tensor<2> {
    if !is_fused(&x.q.device()) {
        return composed::relative_attention(x, spec);
    }
    let [content, position, segment] = x.asking().map(Tensor::into_dispatch);
    let [k, v, distances, segments] = [&x.k, &x.v, &x.distances, &x.segments].map(|t| t.clone().into_dispatch());
    Tensor::from_dispatch(Dispatch::ptm_relative_attention(
        content,
        position,
        segment,
        k,
        v,
        distances,
        segments,
        spec.clone(),
    ))
}
