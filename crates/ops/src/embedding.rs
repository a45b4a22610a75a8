//! The sum of embeddings (word + position + segment + task) in one pass over the rows.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::prelude::*;
use ptm_kernels::embedding as kernel;

use crate::backend::{Indices, absent, contiguous, is_fused, optional, pack, slice};
use crate::composed;

/// The most tables one call can sum.
pub const MAX_TABLES: usize = 4;

/// Extension point of the summed embedding.
#[backend_extension(Flex, Autodiff)]
pub trait EmbeddingOp: Backend {
    /// See [`embedding_sum`]; an absent table is a tensor of no elements.
    fn ptm_embedding_sum(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        ids: Vec<Indices>,
    ) -> FloatTensor<Self>;
}

type F = FloatTensor<Flex>;

fn forward(tables: [&F; MAX_TABLES], ids: &[Indices]) -> F {
    let width = tables[0].shape()[1];
    let tables = tables.map(contiguous);
    let pairs: Vec<(&[f32], &[u32])> =
        tables.iter().zip(ids).filter_map(|(table, ids)| Some((optional(table)?, &**ids))).collect();
    let rows = ids[0].len();
    pack(kernel::sum_forward(&pairs, width), [rows, width])
}

impl EmbeddingOp for Flex {
    fn ptm_embedding_sum(a: F, b: F, c: F, d: F, ids: Vec<Indices>) -> F {
        forward([&a, &b, &c, &d], &ids)
    }
}

#[derive(Debug)]
struct EmbeddingBackward;

#[derive(Debug, Clone)]
struct State {
    table_rows: [usize; MAX_TABLES],
    ids: Vec<Indices>,
}

impl Backward<Flex, MAX_TABLES> for EmbeddingBackward {
    type State = State;

    fn backward(self, ops: Ops<State, MAX_TABLES>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = contiguous(&grads.consume::<Flex>(&ops.node));
        let width = dy.shape()[1];
        let state = ops.state;
        for ((node, rows), ids) in ops.parents.into_iter().zip(state.table_rows).zip(&state.ids) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, pack(kernel::backward(slice(&dy), width, ids, rows), [rows, width]));
            }
        }
    }
}

impl<C: CheckpointStrategy> EmbeddingOp for Autodiff<Flex, C> {
    fn ptm_embedding_sum(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        ids: Vec<Indices>,
    ) -> FloatTensor<Self> {
        let tables = [a.primitive(), b.primitive(), c.primitive(), d.primitive()];
        let y = forward(tables, &ids);
        let table_rows = tables.map(|table| table.shape()[0]);
        let nodes = [a.node(), b.node(), c.node(), d.node()];
        match Backward::<Flex, MAX_TABLES>::prepare::<C>(EmbeddingBackward, nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(State { table_rows, ids }, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// `Σ table[ids]` over the tables.
///
/// # Shapes
/// Tables `[V, H]` of one width, each with its `ids` `[T]` → `[T, H]`.
///
/// # Panics
/// With no table or more than [`MAX_TABLES`], ids of unequal length, or an id beyond its table.
pub fn embedding_sum(tables: Vec<(Tensor<2>, Indices)>) -> Tensor<2> {
    assert!((1..=MAX_TABLES).contains(&tables.len()), "1 to {MAX_TABLES} embedding tables, not {}", tables.len());
    let device = tables[0].0.device();
    if !is_fused(&device) {
        return composed::embedding_sum(tables);
    }
    let mut ids = Vec::with_capacity(tables.len());
    let mut slots = Vec::with_capacity(MAX_TABLES);
    for (table, rows) in tables {
        slots.push(table);
        ids.push(rows);
    }
    slots.resize_with(MAX_TABLES, || absent(&device));
    let mut slots = slots.into_iter().map(Tensor::into_dispatch);
    let mut next = || slots.next().expect("as many slots as the operation has tables");
    Tensor::from_dispatch(Dispatch::ptm_embedding_sum(next(), next(), next(), next(), ids))
}
