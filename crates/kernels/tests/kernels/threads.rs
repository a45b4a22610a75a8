//! The same bits on one, two and three threads, at every level.

use ptm_kernels::activation::{self, Activation};
use ptm_kernels::adamw::{self, AdamW};
use ptm_kernels::attention::{self, Bias, Mask, Shape};
use ptm_kernels::dropout::{self, Dropout};
use ptm_kernels::linear::{self, LinearDims, Needs};
use ptm_kernels::{cross_entropy, embedding, gather, norm, softmax};

use crate::{Numbers, at_every_level};

fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("a pool of a few threads").install(f)
}

/// Runs `f` on pools of several sizes and compares the results bit by bit.
fn assert_same(what: &str, f: impl Fn() -> Vec<Vec<f32>> + Sync) {
    let bits = |all: Vec<Vec<f32>>| -> Vec<Vec<u32>> {
        all.into_iter().map(|v| v.into_iter().map(f32::to_bits).collect()).collect()
    };
    at_every_level(|| {
        let one = bits(on_threads(1, &f));
        for threads in [2, 3] {
            assert!(one == bits(on_threads(threads, &f)), "{what} on {threads} threads");
        }
    });
}

const N: usize = 517;
const H: usize = 131;

#[test]
fn rows_and_elements() {
    let mut numbers = Numbers(11);
    let [x, r, dy] = [0; 3].map(|_| numbers.vec(N * H));
    let [gamma, beta] = [0; 2].map(|_| numbers.vec(H));
    let ids = numbers.ids(N, N);
    let d = Dropout::new(0.2, 3);
    assert_same("layer norm", || {
        let f = norm::add_layer_norm(&x, Some(&r), &gamma, &beta, 1e-5, d, true);
        let sum = f.sum.unwrap_or_default();
        let g = norm::add_layer_norm_backward(&dy, &sum, &f.mean, &f.rstd, &gamma, d, true);
        vec![f.y, f.mean, f.rstd, g.x, g.residual.unwrap_or_default(), g.gamma, g.beta]
    });
    assert_same("rms norm", || {
        let f = norm::add_rms_norm(&x, None, &gamma, 1e-5, d, true);
        let g = norm::add_rms_norm_backward(&dy, &f.sum.unwrap_or_default(), &f.rstd, &gamma, d, false);
        vec![f.y, f.rstd, g.x, g.gamma]
    });
    assert_same("activations", || {
        let (a, b) = activation::gated_backward(&x, &r, &dy, Activation::Gelu);
        vec![activation::forward(&x, Activation::Silu), activation::backward(&x, &dy, Activation::Tanh), a, b]
    });
    assert_same("softmax", || vec![softmax::softmax(&x, H), softmax::log_softmax(&x, H)]);
    assert_same("dropout", || vec![dropout::forward(&x, &d), norm::dropout_add(&x, &r, d)]);
    assert_same("rows", || {
        let tables = [(&x[..], &ids[..]), (&r[..], &ids[..])];
        vec![
            gather::rows(&x, H, &ids),
            gather::scatter_add(&dy, H, &ids, N),
            embedding::sum_forward(&tables, H),
            embedding::sum_layer_norm(&tables, &gamma, &beta, 1e-5).y,
        ]
    });
    assert_same("adamw", || {
        let options =
            AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 2, bias_correction: true };
        let (mut p, mut m, mut v) = (x.clone(), r.clone(), dy.iter().map(|v| v.abs()).collect::<Vec<f32>>());
        adamw::step(&mut p, &dy, &mut m, &mut v, &options);
        vec![p, m, v]
    });
    let targets = numbers.ids(N, H);
    assert_same("cross-entropy of logits", || {
        let f = cross_entropy::logits_loss(&x, H, &targets, None, &cross_entropy::Options::default());
        vec![f.grad, f.per_row, vec![f.loss as f32]]
    });
}

#[test]
fn attention_and_bias_gradients() {
    let offsets = [0, 200, 200, 213, 400, N];
    let mut numbers = Numbers(12);
    let (heads, head_dim) = (3, 16);
    let [q, k, v, dout] = [0; 4].map(|_| numbers.vec(N * heads * head_dim));
    let values = numbers.vec(heads * 600);
    let shape = Shape { heads, head_dim, scale: 0.25, q_offsets: &offsets, k_offsets: &offsets };
    let bias = Bias::Relative { values: &values, span: 600, zero: 300 };
    let d = Dropout::new(0.1, 8);
    assert_same("attention", || {
        let f = attention::forward(&q, &k, &v, &shape, Mask::Causal, bias, d);
        let g = attention::backward(&q, &k, &v, &f.out, &f.lse, &dout, &shape, Mask::Causal, bias, d, true);
        vec![f.out, f.lse, g.q, g.k, g.v, g.bias.unwrap_or_default()]
    });
    assert_same("attention without bias", || {
        let f = attention::forward(&q, &k, &v, &shape, Mask::None, Bias::None, d);
        let g = attention::backward(&q, &k, &v, &f.out, &f.lse, &dout, &shape, Mask::None, Bias::None, d, false);
        vec![f.out, f.lse, g.q, g.k, g.v]
    });
}

#[test]
fn linear_layers() {
    let mut numbers = Numbers(13);
    // the widest is summed in several parts
    for (rows, inputs, outputs) in [(1, H, 300), (5, H, 300), (16, H, 300), (17, 60, 70), (N, H, 300), (70, 3500, 90)] {
        let dims = LinearDims { rows, inputs, outputs };
        let (x, dy) = (numbers.vec(rows * inputs), numbers.vec(rows * outputs));
        let (w, b) = (numbers.vec(outputs * inputs), numbers.vec(outputs));
        assert_same("linear", || {
            let f = linear::forward(&x, &w, Some(&b), Activation::Gelu, dims, true);
            let needs = Needs { x: true, weight: true, bias: true };
            let g = linear::backward(&x, &w, f.pre.as_deref(), Activation::Gelu, &dy, dims, needs);
            let pre = f.pre.unwrap_or_default();
            vec![f.y, pre, g.x.unwrap_or_default(), g.weight.unwrap_or_default(), g.bias.unwrap_or_default()]
        });
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    let mut numbers = Numbers(14);
    let (inputs, outputs) = (1700, 200);
    let (x, w) = (numbers.vec(300 * inputs), numbers.vec(outputs * inputs));
    let layer = |rows: usize| {
        let dims = LinearDims { rows, inputs, outputs };
        linear::forward(&x[..rows * inputs], &w, None, Activation::None, dims, false).y
    };
    at_every_level(|| {
        let all = layer(300);
        for rows in [17, 48, 199, 201] {
            assert!(layer(rows) == all[..rows * outputs], "{rows} rows");
        }
    });
}
