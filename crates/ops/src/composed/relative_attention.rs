//! See [`crate::relative_attention`]: sequence by sequence, so that nothing is padded. Memory is that of a sequence's
//! scores, `[A, q, k]`, some times over.

use burn::prelude::*;
use burn::tensor::{TensorData, activation};
use ptm_kernels::attention::dropout_index;

use super::{HIDDEN, sees};
use crate::attention::Mask;
use crate::relative_attention::{RelativeAttention, RelativeTensors};

/// One sequence's rows with the heads in front: `[n, A·D]` → `[A, n, D]`.
fn by_head(x: Tensor<2>, heads: usize) -> Tensor<3> {
    let [rows, width] = x.dims();
    x.reshape([rows, heads, width / heads]).swap_dims(0, 1)
}

/// See [`crate::relative_attention`].
///
/// # Panics
/// When the mask is another than [`Mask::None`], [`Mask::Spans`] or [`Mask::Full`].
pub fn relative_attention(x: &RelativeTensors, spec: &RelativeAttention) -> Tensor<2> {
    let heads = spec.heads;
    let [count, width] = x.q.dims();
    let device = x.q.device();
    let [content, position, segment] = x.asking();
    let segments = by_head(x.segments.clone(), heads).swap_dims(1, 2);
    let mut pairs = 0;
    let mut outs = Vec::new();
    let spans = spec.q_offsets.windows(2).zip(spec.k_offsets.windows(2)).enumerate();
    for (b, (q, k)) in spans {
        let (queries, keys) = (q[1] - q[0], k[1] - k[0]);
        let block = pairs..pairs + queries * keys;
        pairs = block.end;
        if queries == 0 {
            continue;
        }
        if keys == 0 {
            outs.push(Tensor::zeros([queries, width], &device));
            continue;
        }
        let asking = |x: &Tensor<2>| by_head(x.clone().slice([q[0]..q[1], 0..width]), heads);
        let seen = |x: &Tensor<2>| by_head(x.clone().slice([k[0]..k[1], 0..width]), heads);
        let shape = [heads, queries, keys];
        // one row of the table a pair: the shift that lines distances up with keys
        let places = &spec.places[q[0]..q[1]];
        let row = |place: u32, key: usize| {
            let ahead = key as isize - place as isize;
            (spec.zero as isize + if spec.backwards[b] { -ahead } else { ahead }) as usize
        };
        let ends = places.iter().flat_map(|&place| [row(place, 0), row(place, keys - 1)]);
        let (low, high) = ends.fold((usize::MAX, 0), |(low, high), row| (low.min(row), high.max(row)));
        let rows = places.iter().flat_map(|&place| (0..keys).map(move |key| (row(place, key) - low) as i64));
        let near = by_head(x.distances.clone().slice([low..high + 1, 0..width]), heads);
        let far = pick(asking(&position).matmul(near.swap_dims(1, 2)), rows.collect(), shape);
        let own = spec.q_segments[q[0]..q[1]].iter();
        let others = &spec.k_segments[k[0]..k[1]];
        let columns = own.flat_map(|own| others.iter().map(move |other| i64::from(own != other)));
        let apart = pick(asking(&segment).matmul(segments.clone()), columns.collect(), shape);
        let scores = asking(&content).matmul(seen(&x.k).swap_dims(1, 2)) + far + apart;
        let hidden: Vec<bool> = match &spec.mask {
            Mask::None => vec![false; block.len()],
            Mask::Spans(spans) => {
                let spans = spans[q[0]..q[1]].iter();
                spans.flat_map(|&span| (0..keys).map(move |key| !sees(span, key))).collect()
            }
            Mask::Full(visible) => visible[block].iter().map(|visible| !visible).collect(),
            _ => panic!("relative attention has no mask, one of spans or a full one"),
        };
        let hidden = Tensor::<3, Bool>::from_data(TensorData::new(hidden, [1, queries, keys]), &device).expand(shape);
        let scores = (scores * spec.scale).mask_fill(hidden.clone(), HIDDEN);
        let mut probabilities = activation::softmax(scores, 2).mask_fill(hidden, 0.0);
        if spec.dropout.is_on() {
            let factor = |i: usize| {
                let (head, query, key) = (i / (queries * keys), q[0] + i / keys % queries, i % keys);
                spec.dropout.factor(dropout_index(head, count, query, key))
            };
            let factors: Vec<f32> = (0..heads * queries * keys).map(factor).collect();
            probabilities = probabilities * Tensor::from_data(TensorData::new(factors, shape), &device);
        }
        let out = probabilities.matmul(seen(&x.v));
        outs.push(out.swap_dims(0, 1).reshape([queries, width]));
    }
    if outs.is_empty() { x.q.clone() } else { Tensor::cat(outs, 0) }
}

/// Of each head's scores by column those that `columns` names, the same for all heads.
fn pick(scores: Tensor<3>, columns: Vec<i64>, shape: [usize; 3]) -> Tensor<3> {
    let columns = TensorData::new(columns, [1, shape[1], shape[2]]);
    let columns = Tensor::<3, Int>::from_data(columns, &scores.device()).expand(shape);
    scores.gather(2, columns)
}
