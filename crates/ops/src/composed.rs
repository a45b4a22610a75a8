//! The same operations composed of Burn's own, differentiable by Burn itself. Every backend but the CPU's runs
//! these, and tests compare the fused kernels with them. Attention pads inside itself, for Burn has no packed one.

mod relative_attention;

use burn::prelude::*;
use burn::tensor::{TensorData, activation as act};
use ptm_kernels::activation::Activation;
use ptm_kernels::attention::dropout_index;
use ptm_kernels::dropout::Dropout;

use crate::attention::{Attention, Bias, Mask};
use crate::backend::Indices;
use crate::cross_entropy::ChosenRows;

pub use relative_attention::relative_attention;

/// A score so low that its probability is exactly zero, yet finite: a row of such scores gives no NaN.
const HIDDEN: f32 = -1e30;

fn index(rows: &[u32], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|&row| i64::from(row)).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

/// See [`crate::linear`].
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, kind: Activation) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    let y = match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    };
    activation(y, kind)
}

/// See [`crate::activation`].
pub fn activation(x: Tensor<2>, kind: Activation) -> Tensor<2> {
    match kind {
        Activation::None => x,
        Activation::Gelu => act::gelu(x),
        Activation::GeluTanh => {
            let inner = (x.clone() + x.clone().powi_scalar(3) * 0.044_715) * (2.0 / std::f64::consts::PI).sqrt();
            x * 0.5 * (inner.tanh() + 1.0)
        }
        Activation::Relu => act::relu(x),
        Activation::Silu => act::silu(x),
        Activation::Tanh => x.tanh(),
    }
}

/// See [`crate::dropout`]: the very mask that the fused kernels draw.
pub fn dropout(x: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    if !dropout.is_on() {
        return x;
    }
    let (device, shape) = (x.device(), x.dims());
    let factors: Vec<f32> = (0..shape[0] * shape[1]).map(|i| dropout.factor(i as u64)).collect();
    x * Tensor::from_data(TensorData::new(factors, shape), &device)
}

/// See [`crate::add_layer_norm`].
pub fn add_layer_norm(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f32,
    drop: Dropout,
) -> Tensor<2> {
    let x = dropout(x, drop);
    let x = match residual {
        Some(residual) => x + residual,
        None => x,
    };
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / (variance + eps).sqrt() * gamma.unsqueeze() + beta.unsqueeze()
}

/// See [`crate::rms_norm`].
pub fn rms_norm(x: Tensor<2>, gamma: Tensor<1>, eps: f32) -> Tensor<2> {
    let mean_square = x.clone().square().mean_dim(1);
    x / (mean_square + eps).sqrt() * gamma.unsqueeze()
}

/// See [`crate::gather_rows`].
pub fn gather_rows(x: Tensor<2>, rows: &Indices) -> Tensor<2> {
    let device = x.device();
    x.select(0, index(rows, &device))
}

/// See [`crate::embedding_sum`].
pub fn embedding_sum(tables: Vec<(Tensor<2>, Indices)>) -> Tensor<2> {
    tables
        .into_iter()
        .map(|(table, ids)| gather_rows(table, &ids))
        .reduce(|sum, next| sum + next)
        .expect("at least one table")
}

/// See [`crate::cross_entropy`].
pub fn cross_entropy(hidden: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, chosen: &ChosenRows) -> Tensor<1> {
    let device = hidden.device();
    let count = chosen.rows.len();
    if count == 0 {
        // nothing is predicted: zero, yet connected, so that every parameter still has a gradient
        return (hidden.sum() + weight.sum()) * 0.0;
    }
    let logits = linear(gather_rows(hidden, &chosen.rows), weight, bias, Activation::None);
    let log_probs = act::log_softmax(logits, 1);
    let targets = index(&chosen.targets, &device).reshape([count, 1]);
    let at_target = log_probs.clone().gather(1, targets).sum();
    let smoothing = chosen.label_smoothing;
    let loss = if smoothing > 0.0 {
        at_target * (1.0 - smoothing) + log_probs.mean_dim(1).sum() * smoothing
    } else {
        at_target
    };
    loss * -chosen.scale
}

/// See [`crate::attention`]. Memory is that of the padded scores, `[B, A, q_max, k_max]`.
pub fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, bias: Option<Bias>, spec: &Attention) -> Tensor<2> {
    let device = q.device();
    let (queries, width) = (q.dims()[0], q.dims()[1]);
    let (heads, head) = (spec.heads, width / spec.heads);
    let grid = Grid::new(spec);
    if queries == 0 || grid.k_max == 0 {
        return q * 0.0;
    }
    let Grid { sequences, q_max, k_max, .. } = grid;
    let pad = |x: Tensor<2>, offsets: &[usize], longest: usize| {
        x.select(0, index(&padded_rows(offsets, longest), &device))
            .reshape([sequences, longest, heads, head])
            .swap_dims(1, 2)
    };
    let q = pad(q, &spec.q_offsets, q_max);
    let (k, v) = (pad(k, &spec.k_offsets, k_max), pad(v, &spec.k_offsets, k_max));
    let mut scores = q.matmul(k.swap_dims(2, 3)) * spec.scale;
    if let Some(bias) = bias {
        scores = scores + grid.bias(bias, spec, &device);
    }
    let visible = grid.visible(spec);
    let all: [usize; 4] = [sequences, heads, q_max, k_max];
    let hidden: Vec<bool> = visible.iter().map(|seen| !seen).collect();
    let hidden = Tensor::<4, Bool>::from_data(TensorData::new(hidden, [sequences, 1, q_max, k_max]), &device);
    let probabilities = act::softmax(scores.mask_fill(hidden.clone().expand(all), HIDDEN), 3);
    // a query that sees nothing would otherwise attend evenly to what is hidden from it
    let mut probabilities = probabilities.mask_fill(hidden.expand(all), 0.0);
    if spec.dropout.is_on() {
        probabilities = probabilities * grid.dropout(spec, &device);
    }
    let out = probabilities.matmul(v).swap_dims(1, 2).reshape([sequences * q_max, width]);
    out.select(0, index(&grid.packed_rows(spec), &device))
}

/// Whether key `key` is in a span of [`Mask::Spans`].
fn sees([from, to]: [u32; 2], key: usize) -> bool {
    (from as usize..to as usize).contains(&key)
}

/// For every cell of the padded `[B, longest]` grid the packed row it shows; cells past the end show some row.
fn padded_rows(offsets: &[usize], longest: usize) -> Vec<u32> {
    let last = offsets.last().copied().unwrap_or(0).saturating_sub(1);
    let cells = offsets.windows(2).flat_map(|w| (0..longest).map(move |i| (w[0] + i).min(last) as u32));
    cells.collect()
}

/// The padded grid of scores that a packed call becomes.
struct Grid {
    sequences: usize,
    q_max: usize,
    k_max: usize,
    lengths: Vec<(usize, usize)>,
}

impl Grid {
    fn new(spec: &Attention) -> Self {
        let length = |w: &[usize]| w[1] - w[0];
        let lengths: Vec<_> =
            spec.q_offsets.windows(2).map(length).zip(spec.k_offsets.windows(2).map(length)).collect();
        Self {
            sequences: lengths.len(),
            q_max: lengths.iter().map(|l| l.0).max().unwrap_or(0),
            k_max: lengths.iter().map(|l| l.1).max().unwrap_or(0),
            lengths,
        }
    }

    fn packed_rows(&self, spec: &Attention) -> Vec<u32> {
        let rows = spec.q_offsets.windows(2).enumerate();
        rows.flat_map(|(b, w)| (0..w[1] - w[0]).map(move |i| (b * self.q_max + i) as u32)).collect()
    }

    /// Calls `f(sequence, query, key, cell)` for every real pair of the grid.
    fn pairs(&self, mut f: impl FnMut(usize, usize, usize, usize)) {
        for (b, &(q, k)) in self.lengths.iter().enumerate() {
            for i in 0..q {
                for j in 0..k {
                    f(b, i, j, (b * self.q_max + i) * self.k_max + j);
                }
            }
        }
    }

    fn visible(&self, spec: &Attention) -> Vec<bool> {
        let mut visible = vec![false; self.sequences * self.q_max * self.k_max];
        let mut blocks = vec![0];
        for &(q, k) in &self.lengths {
            blocks.push(blocks.last().copied().unwrap_or(0) + q * k);
        }
        self.pairs(|b, i, j, cell| {
            let (q, k) = self.lengths[b];
            let causal = j + q <= i + k;
            visible[cell] = match &spec.mask {
                Mask::None => true,
                Mask::Causal => causal,
                Mask::Prefix(prefix) => causal || j < prefix[b],
                Mask::Spans(spans) => sees(spans[spec.q_offsets[b] + i], j),
                Mask::Keys(keys) => keys[spec.k_offsets[b] + j],
                Mask::Full(pairs) => pairs[blocks[b] + i * k + j],
            };
        });
        visible
    }

    /// `[B, A, q_max, k_max]`, or `[1, A, q_max, k_max]` where all sequences share it.
    fn bias(&self, bias: Bias, spec: &Attention, device: &Device) -> Tensor<4> {
        match bias {
            Bias::Dense(values) => {
                let heads = values.dims()[0];
                values.slice([0..heads, 0..self.q_max, 0..self.k_max]).unsqueeze::<4>()
            }
            Bias::Relative { values, zero } => {
                let mut columns = vec![0_u32; self.sequences * self.q_max * self.k_max];
                self.pairs(|b, i, j, cell| {
                    let (q, k) = self.lengths[b];
                    columns[cell] = (zero + j + q - i - k) as u32;
                });
                values
                    .select(1, index(&columns, device))
                    .reshape([spec.heads, self.sequences, self.q_max, self.k_max])
                    .swap_dims(0, 1)
            }
        }
    }

    fn dropout(&self, spec: &Attention, device: &Device) -> Tensor<4> {
        let mut factors = vec![1.0; self.sequences * spec.heads * self.q_max * self.k_max];
        let queries = spec.q_offsets.last().copied().unwrap_or(0);
        self.pairs(|b, i, j, _| {
            for head in 0..spec.heads {
                let cell = ((b * spec.heads + head) * self.q_max + i) * self.k_max + j;
                factors[cell] = spec.dropout.factor(dropout_index(head, queries, spec.q_offsets[b] + i, j));
            }
        });
        Tensor::from_data(TensorData::new(factors, [self.sequences, spec.heads, self.q_max, self.k_max]), device)
    }
}
