//! Cross-entropy of chosen rows straight from hidden states and the decoder, in chunks: logits of more than one
//! chunk never exist. Asked for gradients, each chunk's are made while its logits are in memory (as Liger Kernel,
//! Hsu et al. 2024, does on GPUs).

use rayon::prelude::*;

use crate::buffer::SMALL;
use crate::gather;
use crate::gemm::{Threads, View, product, product_vec};
use crate::linear::column_sums;
use crate::math::{add_assign, exp, exp_and_sum, max, scale, sum};
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// Logits of a chunk take at most this many bytes (but a chunk has at least one row).
const CHUNK_BYTES: usize = 128 << 20;

/// How the rows' losses are formed and added.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The share of probability that the target gives to all classes alike.
    pub label_smoothing: f32,
    /// What the sum over rows is multiplied by.
    pub scale: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self { label_smoothing: 0.0, scale: 1.0 }
    }
}

/// The result of [`forward`].
#[derive(Debug)]
pub struct Forward {
    /// `scale · Σ per_row`.
    pub loss: f64,
    /// Of `loss`, when they were asked for.
    pub grads: Option<Grads>,
    /// The loss of every chosen row, unscaled, `[R]`.
    pub per_row: Vec<f32>,
}

/// The gradients of the loss.
#[derive(Debug)]
pub struct Grads {
    /// `[n, width]`, zero in rows that weren't chosen.
    pub hidden: Vec<f32>,
    /// `[vocab, width]`.
    pub weight: Vec<f32>,
    /// `[vocab]`, when there is a bias.
    pub bias: Option<Vec<f32>>,
}

multiversion! {
    /// The loss of one row of logits without its bias. With gradients the row becomes `scale·(softmax - target)`.
    fn row_loss(logits: &mut [f32], bias: Option<&[f32]>, target: usize, options: Options, with_grads: bool) -> f32 {
        if let Some(bias) = bias {
            for (x, b) in logits.iter_mut().zip(bias) {
                *x += *b;
            }
        }
        let classes = logits.len() as f32;
        let smoothing = options.label_smoothing;
        let top = max(logits);
        let at_target = logits[target] - top;
        let mean = if smoothing > 0.0 { sum(logits, |x| x - top) / classes } else { 0.0 };
        let total = if with_grads {
            exp_and_sum(logits, top)
        } else {
            sum(logits, |x| exp(x - top))
        };
        if with_grads {
            let factor = options.scale / total;
            let even = options.scale * smoothing / classes;
            for x in logits.iter_mut() {
                *x = x.mul_add(factor, -even);
            }
            logits[target] -= options.scale * (1.0 - smoothing);
        }
        total.ln() - (1.0 - smoothing) * at_target - smoothing * mean
    }
}

/// The loss of the chosen rows, `-log softmax(hidden[row]·weightᵀ + bias)[target]`, and its gradients.
///
/// # Shapes
/// `hidden` `[n, width]`, `weight` `[vocab, width]`, `bias` `[vocab]`, `rows`, `targets` `[R]`.
///
/// # Panics
/// When a slice doesn't have its size, a row is beyond `n` or a target beyond `vocab`.
pub fn forward(
    hidden: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    rows: &[u32],
    targets: &[u32],
    width: usize,
    vocab: usize,
    options: &Options,
    with_grads: bool,
) -> Forward {
    assert!(width > 0 && hidden.len().is_multiple_of(width), "hidden");
    assert_eq!(weight.len(), vocab * width, "weight");
    assert!(bias.is_none_or(|bias| bias.len() == vocab), "bias");
    assert_eq!(rows.len(), targets.len(), "targets");
    let n = hidden.len() / width;
    gather::check(rows, n);
    gather::check(targets, vocab);
    let chunk = chunk_rows(rows.len(), vocab);
    let mut logits = Vec::new();
    let mut per_row = Vec::with_capacity(rows.len());
    let mut grads = with_grads.then(|| Grads {
        hidden: vec![0.0; hidden.len()],
        weight: Vec::new(),
        bias: bias.map(|_| vec![0.0; vocab]),
    });
    for (i, (rows, targets)) in rows.chunks(chunk.max(1)).zip(targets.chunks(chunk.max(1))).enumerate() {
        let count = rows.len();
        let chosen = gather::rows(hidden, width, rows);
        let (x, w) = (View::new(&chosen, count, width, width), View::new(weight, vocab, width, width));
        let flops = 2 * (count * width * vocab) as u64;
        let threads = if flops < 1 << 18 { Threads::One } else { Threads::All };
        // the first chunk, the largest, makes the buffers; neither is filled with zeros before
        timed(Kind::Product, flops, || match i {
            0 => logits = product_vec(x, w.t(), threads),
            _ => product(&mut logits[..count * vocab], false, 1.0, x, w.t(), threads),
        });
        let logits = &mut logits[..count * vocab];
        timed(Kind::CrossEntropy, 0, || {
            let one =
                |(logits, target): (&mut [f32], &u32)| row_loss(logits, bias, *target as usize, *options, with_grads);
            if logits.len() <= SMALL {
                per_row.extend(logits.chunks_exact_mut(vocab).zip(targets).map(one));
            } else {
                per_row.par_extend(logits.par_chunks_exact_mut(vocab).zip(targets).map(one));
            }
        });
        if let Some(grads) = &mut grads {
            let d = View::new(logits, count, vocab, vocab);
            timed(Kind::Product, flops, || match i {
                0 => grads.weight = product_vec(d.t(), x, threads),
                _ => product(&mut grads.weight, true, 1.0, d.t(), x, threads),
            });
            let dx = timed(Kind::Product, flops, || product_vec(d, w, threads));
            for (dx, &row) in dx.chunks_exact(width).zip(rows) {
                add_assign(&mut grads.hidden[row as usize * width..][..width], dx);
            }
            if let Some(bias) = &mut grads.bias {
                timed(Kind::CrossEntropy, 0, || add_assign(bias, &column_sums(logits, count, vocab)));
            }
        }
    }
    if let Some(grads) = grads.as_mut().filter(|_| rows.is_empty()) {
        grads.weight = vec![0.0; weight.len()];
    }
    let loss = f64::from(options.scale) * per_row.iter().map(|&loss| f64::from(loss)).sum::<f64>();
    Forward { loss, grads, per_row }
}

/// The result of [`logits_loss`].
#[derive(Debug)]
pub struct LogitsLoss {
    /// `scale · Σ weight·per_row`.
    pub loss: f64,
    /// Of `loss` with respect to the logits, `[n, classes]`.
    pub grad: Vec<f32>,
    /// The loss of every row, neither weighted nor scaled, `[n]`.
    pub per_row: Vec<f32>,
}

/// Cross-entropy of given logits with its gradient, for heads of few classes: sequences, tokens, spans.
///
/// # Shapes
/// `logits` `[n, classes]`, `targets` `[n]`, `weights` (1 where absent) `[n]`.
///
/// # Panics
/// When a slice doesn't have its size or a target is beyond `classes`.
pub fn logits_loss(
    logits: &[f32],
    classes: usize,
    targets: &[u32],
    weights: Option<&[f32]>,
    options: &Options,
) -> LogitsLoss {
    assert_eq!(Some(logits.len()), targets.len().checked_mul(classes), "logits");
    assert!(weights.is_none_or(|weights| weights.len() == targets.len()), "weights");
    gather::check(targets, classes);
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    timed(Kind::CrossEntropy, 0, || {
        let mut grad = logits.to_vec();
        let one = |(row, (grad, target)): (usize, (&mut [f32], &u32))| {
            let options = Options { scale: options.scale * weight(row), ..*options };
            row_loss(grad, None, *target as usize, options, true)
        };
        let mut per_row = Vec::with_capacity(targets.len());
        if grad.len() <= SMALL {
            per_row.extend(grad.chunks_exact_mut(classes.max(1)).zip(targets).enumerate().map(one));
        } else {
            per_row.par_extend(grad.par_chunks_exact_mut(classes).zip(targets).enumerate().map(one));
        }
        let total: f64 = per_row.iter().enumerate().map(|(row, loss)| f64::from(*loss) * f64::from(weight(row))).sum();
        LogitsLoss { loss: f64::from(options.scale) * total, grad, per_row }
    })
}

/// Rows of a chunk: as few chunks as the memory allows, all of about one size.
fn chunk_rows(rows: usize, vocab: usize) -> usize {
    let most = (CHUNK_BYTES / 4 / vocab.max(1)).max(1);
    rows.div_ceil(rows.div_ceil(most).max(1))
}

/// Multiplies gradients by the gradient that comes in.
pub fn scale_grads(grads: &mut Grads, factor: f32) {
    scale(&mut grads.hidden, factor);
    scale(&mut grads.weight, factor);
    if let Some(bias) = &mut grads.bias {
        scale(bias, factor);
    }
}
