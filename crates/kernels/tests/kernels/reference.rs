//! What the kernels should compute, as naive loops in f64: each forward with its backward next to it.
//! Letters: T rows, H width, A heads, D head width. Slow on purpose; shares nothing with the kernels but the
//! dropout mask, which is data here.

use ptm_kernels::activation::Activation;
use ptm_kernels::attention::{Bias, Mask, Shape, dropout_index};
use ptm_kernels::cross_entropy::Options;
use ptm_kernels::dropout::Dropout;

pub fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

pub fn value(act: Activation, x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    match act {
        Activation::None => x,
        Activation::Gelu => 0.5 * x * libm::erfc(-x / std::f64::consts::SQRT_2),
        Activation::GeluTanh => 0.5 * x * (1.0 + inner.tanh()),
        Activation::Relu => x.max(0.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
    }
}

pub fn derivative(act: Activation, x: f64) -> f64 {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    match act {
        Activation::None => 1.0,
        Activation::Gelu => {
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            0.5 * libm::erfc(-x / std::f64::consts::SQRT_2) + x * density
        }
        Activation::GeluTanh => {
            let t = (root * (x + 0.044715 * x * x * x)).tanh();
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * root * (1.0 + 3.0 * 0.044715 * x * x)
        }
        Activation::Relu => f64::from(x > 0.0),
        Activation::Silu => {
            let s = 1.0 / (1.0 + (-x).exp());
            s * (1.0 + x * (1.0 - s))
        }
        Activation::Tanh => 1.0 - x.tanh().powi(2),
    }
}

/// `x·Wᵀ + b`.
pub fn linear(x: &[f32], w: &[f32], b: Option<&[f32]>, t: usize, i: usize, o: usize) -> Vec<f64> {
    let mut z = vec![0.0; t * o];
    for r in 0..t {
        for j in 0..o {
            let products = (0..i).map(|c| f64::from(x[r * i + c]) * f64::from(w[j * i + c]));
            z[r * o + j] = products.sum::<f64>() + b.map_or(0.0, |b| f64::from(b[j]));
        }
    }
    z
}

/// `(dx, dw, db)` from `dz`.
pub fn linear_backward(x: &[f32], w: &[f32], dz: &[f64], t: usize, i: usize, o: usize) -> [Vec<f64>; 3] {
    let (mut dx, mut dw, mut db) = (vec![0.0; t * i], vec![0.0; o * i], vec![0.0; o]);
    for r in 0..t {
        for j in 0..o {
            let d = dz[r * o + j];
            db[j] += d;
            for c in 0..i {
                dx[r * i + c] += d * f64::from(w[j * i + c]);
                dw[j * i + c] += d * f64::from(x[r * i + c]);
            }
        }
    }
    [dx, dw, db]
}

/// Whether query `i` of sequence `b`, packed row `row`, sees key `j`; `pairs` is where the sequence's block of a full
/// mask begins.
fn sees(
    mask: Mask<'_>,
    b: usize,
    row: usize,
    (i, tq): (usize, usize),
    (j, tk): (usize, usize),
    k0: usize,
    pairs: usize,
) -> bool {
    let causal = (j + tq) as isize <= (i + tk) as isize;
    match mask {
        Mask::None => true,
        Mask::Causal => causal,
        Mask::Prefix(prefix) => causal || j < prefix[b],
        Mask::Spans(spans) => (spans[row][0]..spans[row][1]).contains(&(j as u32)),
        Mask::Keys(flags) => flags[k0 + j],
        Mask::Full(flags) => flags[pairs + i * tk + j],
    }
}

/// Which element of the bias values belongs to a pair.
fn bias_at(bias: Bias<'_>, head: usize, (i, tq): (usize, usize), (j, tk): (usize, usize)) -> Option<usize> {
    match bias {
        Bias::None => None,
        Bias::Dense { q_max, k_max, .. } => Some((head * q_max + i) * k_max + j),
        Bias::Relative { span, zero, .. } => {
            let distance = j as isize - (i as isize + tk as isize - tq as isize);
            Some(head * span + (zero as isize + distance) as usize)
        }
    }
}

fn bias_values(bias: Bias<'_>) -> &[f32] {
    match bias {
        Bias::None => &[],
        Bias::Dense { values, .. } | Bias::Relative { values, .. } => values,
    }
}

pub struct Attention {
    pub out: Vec<f64>,
    pub lse: Vec<f64>,
    pub dq: Vec<f64>,
    pub dk: Vec<f64>,
    pub dv: Vec<f64>,
    pub dbias: Vec<f64>,
}

/// Forward and backward, one query and head at a time.
pub fn attention(
    [q, k, v, dout]: [&[f32]; 4],
    shape: &Shape<'_>,
    mask: Mask<'_>,
    bias: Bias<'_>,
    dropout: Dropout,
) -> Attention {
    let (d, h) = (shape.head_dim, shape.heads * shape.head_dim);
    let (queries, keys) = (q.len() / h, k.len() / h);
    let at = |x: &[f32], row: usize, head: usize, c: usize| f64::from(x[row * h + head * d + c]);
    let mut a = Attention {
        out: vec![0.0; queries * h],
        lse: vec![f64::NEG_INFINITY; shape.heads * queries],
        dq: vec![0.0; queries * h],
        dk: vec![0.0; keys * h],
        dv: vec![0.0; keys * h],
        dbias: vec![0.0; bias_values(bias).len()],
    };
    let mut pairs = 0;
    for b in 0..shape.q_offsets.len() - 1 {
        let (q0, k0) = (shape.q_offsets[b], shape.k_offsets[b]);
        let (tq, tk) = (shape.q_offsets[b + 1] - q0, shape.k_offsets[b + 1] - k0);
        for head in 0..shape.heads {
            for i in 0..tq {
                let row = q0 + i;
                let scores: Vec<f64> = (0..tk)
                    .map(|j| {
                        if !sees(mask, b, row, (i, tq), (j, tk), k0, pairs) {
                            return f64::NEG_INFINITY;
                        }
                        let dot: f64 = (0..d).map(|c| at(q, row, head, c) * at(k, k0 + j, head, c)).sum();
                        let bias_value = bias_at(bias, head, (i, tq), (j, tk)).map(|n| f64::from(bias_values(bias)[n]));
                        dot * f64::from(shape.scale) + bias_value.unwrap_or(0.0)
                    })
                    .collect();
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if top == f64::NEG_INFINITY {
                    continue;
                }
                let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                a.lse[head * queries + row] = top + total.ln();
                let p: Vec<f64> = scores.iter().map(|s| (s - top).exp() / total).collect();
                let keep: Vec<f64> =
                    (0..tk).map(|j| f64::from(dropout.factor(dropout_index(head, queries, row, j)))).collect();
                for c in 0..d {
                    let n = row * h + head * d + c;
                    a.out[n] = (0..tk).map(|j| p[j] * keep[j] * at(v, k0 + j, head, c)).sum();
                }
                // backward: dp = dout·v, ds = p·(dp - Σ p·dp)
                let dp: Vec<f64> = (0..tk)
                    .map(|j| keep[j] * (0..d).map(|c| at(dout, row, head, c) * at(v, k0 + j, head, c)).sum::<f64>())
                    .collect();
                let inner: f64 = (0..tk).map(|j| p[j] * dp[j]).sum();
                for j in 0..tk {
                    let ds = p[j] * (dp[j] - inner);
                    if let Some(n) = bias_at(bias, head, (i, tq), (j, tk)) {
                        a.dbias[n] += ds;
                    }
                    for c in 0..d {
                        let (qn, kn) = (row * h + head * d + c, (k0 + j) * h + head * d + c);
                        a.dq[qn] += ds * f64::from(shape.scale) * f64::from(k[kn]);
                        a.dk[kn] += ds * f64::from(shape.scale) * f64::from(q[qn]);
                        a.dv[kn] += p[j] * keep[j] * f64::from(dout[qn]);
                    }
                }
            }
        }
        pairs += tq * tk;
    }
    a
}

pub struct Norm {
    pub sum: Vec<f64>,
    pub y: Vec<f64>,
    pub dx: Vec<f64>,
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
}

/// LayerNorm with `beta`, RMSNorm without, of `dropout(x) + residual`; forward and backward.
pub fn norm(
    x: &[f32],
    residual: Option<&[f32]>,
    gamma: &[f32],
    beta: Option<&[f32]>,
    eps: f32,
    dropout: Dropout,
    dy: &[f32],
) -> Norm {
    let (h, len) = (gamma.len(), x.len());
    let factor = |i: usize| f64::from(dropout.factor(i as u64));
    let sum: Vec<f64> =
        (0..len).map(|i| f64::from(x[i]) * factor(i) + residual.map_or(0.0, |r| f64::from(r[i]))).collect();
    let zeros = |n| vec![0.0; n];
    let mut a = Norm { sum, y: zeros(len), dx: zeros(len), dgamma: zeros(h), dbeta: zeros(h) };
    for row in 0..len / h {
        let at = row * h;
        let s = &a.sum[at..at + h];
        let mean = if beta.is_some() { s.iter().sum::<f64>() / h as f64 } else { 0.0 };
        let variance = s.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / h as f64;
        let rstd = 1.0 / (variance + f64::from(eps)).sqrt();
        let hat: Vec<f64> = s.iter().map(|v| (v - mean) * rstd).collect();
        let dhat: Vec<f64> = (0..h).map(|j| f64::from(dy[at + j]) * f64::from(gamma[j])).collect();
        let m1 = if beta.is_some() { dhat.iter().sum::<f64>() / h as f64 } else { 0.0 };
        let m2 = dhat.iter().zip(&hat).map(|(a, b)| a * b).sum::<f64>() / h as f64;
        for j in 0..h {
            a.y[at + j] = hat[j] * f64::from(gamma[j]) + beta.map_or(0.0, |b| f64::from(b[j]));
            a.dgamma[j] += f64::from(dy[at + j]) * hat[j];
            a.dbeta[j] += f64::from(dy[at + j]);
            a.dx[at + j] = rstd * (dhat[j] - m1 - hat[j] * m2) * factor(at + j);
        }
    }
    a
}

/// `(softmax, its backward, log-softmax, its backward)` of one matrix.
pub fn softmax(x: &[f32], dy: &[f32], classes: usize) -> [Vec<f64>; 4] {
    let mut all = [const { Vec::new() }; 4];
    for (x, dy) in x.chunks(classes).zip(dy.chunks(classes)) {
        let (x, dy) = (widen(x), widen(dy));
        let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = x.iter().map(|v| (v - top).exp()).sum();
        let p: Vec<f64> = x.iter().map(|v| (v - top).exp() / total).collect();
        let inner: f64 = p.iter().zip(&dy).map(|(a, b)| a * b).sum();
        let whole: f64 = dy.iter().sum();
        for j in 0..classes {
            all[0].push(p[j]);
            all[1].push(p[j] * (dy[j] - inner));
            all[2].push(x[j] - top - total.ln());
            all[3].push(dy[j] - p[j] * whole);
        }
    }
    all
}

/// The loss of each row of logits with label smoothing, and the gradient of their plain sum.
pub fn cross_entropy(logits: &[f64], classes: usize, targets: &[u32], smoothing: f64) -> (Vec<f64>, Vec<f64>) {
    let (mut losses, mut grads) = (Vec::new(), Vec::new());
    for (row, &target) in logits.chunks(classes).zip(targets) {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + row.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
        let wanted = |j| smoothing / classes as f64 + if j == target as usize { 1.0 - smoothing } else { 0.0 };
        losses.push((0..classes).map(|j| wanted(j) * (lse - row[j])).sum());
        grads.extend((0..classes).map(|j| (row[j] - lse).exp() - wanted(j)));
    }
    (losses, grads)
}

pub struct Decoder {
    pub loss: f64,
    pub per_row: Vec<f64>,
    pub hidden: Vec<f64>,
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
}

/// Cross-entropy of chosen rows through the decoder, with gradients.
pub fn decoder(
    [hidden, weight]: [&[f32]; 2],
    bias: Option<&[f32]>,
    [rows, targets]: [&[u32]; 2],
    [width, vocab]: [usize; 2],
    options: &Options,
) -> Decoder {
    let chosen: Vec<f32> = rows.iter().flat_map(|&r| &hidden[r as usize * width..][..width]).copied().collect();
    let logits = linear(&chosen, weight, bias, rows.len(), width, vocab);
    let (per_row, dlogits) = cross_entropy(&logits, vocab, targets, f64::from(options.label_smoothing));
    let dlogits: Vec<f64> = dlogits.iter().map(|d| d * f64::from(options.scale)).collect();
    let [dx, weight, bias] = linear_backward(&chosen, weight, &dlogits, rows.len(), width, vocab);
    let mut hidden_grad = vec![0.0; hidden.len()];
    for (i, &row) in rows.iter().enumerate() {
        for c in 0..width {
            hidden_grad[row as usize * width + c] += dx[i * width + c];
        }
    }
    let loss = f64::from(options.scale) * per_row.iter().sum::<f64>();
    Decoder { loss, per_row, hidden: hidden_grad, weight, bias }
}
