//! Attention with relative positions and segments of Transformer-XL and XLNet (Dai et al. 2019, §3.3; Yang et al. 2019,
//! §2.5): a score is the sum of a content, a position and a segment term, each with a query bias of its own.
//! Composed of Burn's own operations on every backend, sequence by sequence, so that nothing is padded.

use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::{TensorData, activation};
use ptm_kernels::dropout::Dropout;

use crate::backend::Indices;
use crate::composed;

/// A score so low that its probability is exactly zero, yet finite.
const HIDDEN: f32 = -1e30;

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
    /// The row of distance 0 in the table of distances; the query at place `i` reads row `zero + i - j` for key `j`.
    pub zero: usize,
    /// Sequences that count distances the other way, `[B]`.
    pub backwards: Arc<[bool]>,
    /// The row-major `[q, k]` blocks of all sequences, one after the other; true is visible. A query that sees no key
    /// gives a row of zeros.
    pub visible: Arc<[bool]>,
    /// The same blocks: whether query and key are of different segments.
    pub apart: Arc<[bool]>,
    /// Dropout of probabilities, one a sequence, `[B]`.
    pub dropout: Vec<Dropout>,
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

/// One sequence's rows with the heads in front: `[n, A·D]` → `[A, n, D]`.
fn by_head(x: Tensor<2>, heads: usize) -> Tensor<3> {
    let [rows, width] = x.dims();
    x.reshape([rows, heads, width / heads]).swap_dims(0, 1)
}

/// `softmax(scale · ((q + u)·kᵀ + (q + w)·distanceᵀ + (q + s)·segmentᵀ))·v`, for every head of every sequence.
///
/// # Shapes
/// `[Tq, A·D]`, heads side by side in a row.
///
/// # Panics
/// When the offsets don't end at the rows, a mask's size is wrong, or the distances don't span every pair.
pub fn relative_attention(x: &RelativeTensors, spec: &RelativeAttention) -> Tensor<2> {
    let heads = spec.heads;
    let width = x.q.dims()[1];
    let device = x.q.device();
    let [content, position, segment] = x.biases.clone().map(|bias| x.q.clone() + bias.unsqueeze());
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
            let ahead = place as isize - key as isize;
            (spec.zero as isize + if spec.backwards[b] { -ahead } else { ahead }) as usize
        };
        let ends = places.iter().flat_map(|&place| [row(place, 0), row(place, keys - 1)]);
        let (low, high) = ends.fold((usize::MAX, 0), |(low, high), row| (low.min(row), high.max(row)));
        let rows = places.iter().flat_map(|&place| (0..keys).map(move |key| (row(place, key) - low) as i64));
        let near = by_head(x.distances.clone().slice([low..high + 1, 0..width]), heads);
        let far = pick(asking(&position).matmul(near.swap_dims(1, 2)), rows.collect(), shape);
        let columns = spec.apart[block.clone()].iter().map(|&apart| i64::from(apart));
        let apart = pick(asking(&segment).matmul(segments.clone()), columns.collect(), shape);
        let scores = asking(&content).matmul(seen(&x.k).swap_dims(1, 2)) + far + apart;
        let hidden: Vec<bool> = spec.visible[block].iter().map(|visible| !visible).collect();
        let hidden = Tensor::<3, Bool>::from_data(TensorData::new(hidden, [1, queries, keys]), &device).expand(shape);
        let scores = (scores * spec.scale).mask_fill(hidden.clone(), HIDDEN);
        let probabilities = activation::softmax(scores, 2).mask_fill(hidden, 0.0);
        let probabilities = composed::dropout(probabilities.reshape([heads * queries, keys]), spec.dropout[b]);
        let out = probabilities.reshape(shape).matmul(seen(&x.v));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor<const D: usize>(salt: f32, shape: [usize; D]) -> Tensor<D> {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| ((i as f32 + salt) * 1.7).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// The definition, pair by pair in f64, over two sequences of which one has memory and one counts backwards.
    #[test]
    fn equals_the_definition() {
        let (heads, size) = (2, 3);
        let width = heads * size;
        let x = RelativeTensors {
            q: tensor(0.0, [5, width]),
            k: tensor(1.0, [7, width]),
            v: tensor(2.0, [7, width]),
            distances: tensor(3.0, [11, width]),
            segments: tensor(4.0, [2, width]),
            biases: [5.0, 6.0, 7.0].map(|salt| tensor(salt, [width])),
        };
        let visible: Vec<bool> = (0..3 * 5 + 2 * 2).map(|i| i % 5 != 2 && !(5..10).contains(&i)).collect();
        let apart: Vec<bool> = (0..visible.len()).map(|i| i % 3 == 0).collect();
        let spec = RelativeAttention {
            heads,
            scale: 0.6,
            q_offsets: [0, 3, 5].into(),
            k_offsets: [0, 5, 7].into(),
            places: [2, 3, 4, 0, 1].into(),
            zero: 5,
            backwards: [false, true].into(),
            visible: visible.clone().into(),
            apart: apart.clone().into(),
            dropout: vec![Dropout::OFF; 2],
        };
        let out = crate::read_f32(relative_attention(&x, &spec));
        let read = |t: &Tensor<2>| -> Vec<f64> { crate::read_f32(t.clone()).into_iter().map(f64::from).collect() };
        let (q, k, v, r, s) = (read(&x.q), read(&x.k), read(&x.v), read(&x.distances), read(&x.segments));
        let biases = x.biases.clone().map(|b| read(&b.unsqueeze()));
        let dot = |row: usize, bias: usize, other: &[f64], at: usize, head: usize| -> f64 {
            let cells = head * size..(head + 1) * size;
            cells.map(|c| (q[row * width + c] + biases[bias][c]) * other[at * width + c]).sum()
        };
        let mut pair = 0;
        for b in 0..2 {
            let (from, to) = (spec.k_offsets[b], spec.k_offsets[b + 1]);
            for row in spec.q_offsets[b]..spec.q_offsets[b + 1] {
                for head in 0..heads {
                    let weights: Vec<f64> = (from..to)
                        .map(|key| {
                            let at = pair + key - from;
                            let ahead = spec.places[row] as isize - (key - from) as isize;
                            let distance = (5 + if b == 1 { -ahead } else { ahead }) as usize;
                            let score = dot(row, 0, &k, key, head)
                                + dot(row, 1, &r, distance, head)
                                + dot(row, 2, &s, usize::from(apart[at]), head);
                            if visible[at] { (0.6 * score).exp() } else { 0.0 }
                        })
                        .collect();
                    let total: f64 = weights.iter().sum();
                    for c in head * size..(head + 1) * size {
                        let sum: f64 = (from..to).map(|key| weights[key - from] * v[key * width + c]).sum();
                        let expected = if total > 0.0 { sum / total } else { 0.0 };
                        let ours = f64::from(out[row * width + c]);
                        assert!((ours - expected).abs() < 1e-5, "row {row}, {c}: {ours}, should be {expected}");
                    }
                }
                pair += to - from;
            }
        }
    }
}
