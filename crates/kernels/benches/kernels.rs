//! The kernels at the sizes of real encoders, as a table: best time, and for products the share of what a large f32
//! product reaches on the same threads in the same run. `cargo bench -p ptm-kernels [-- PART_OF_A_NAME]`.

use std::hint::black_box;
use std::time::Instant;

use ptm_kernels::activation::{self, Activation};
use ptm_kernels::adamw::{self, AdamW};
use ptm_kernels::attention::{self, Bias, Mask, Shape, Stored};
use ptm_kernels::cross_entropy::{self, Options};
use ptm_kernels::dropout::Dropout;
use ptm_kernels::linear::{self, LinearDims, Needs};
use ptm_kernels::{norm, peak, simd};
use rayon::prelude::*;

fn numbers(len: usize) -> Vec<f32> {
    let mut state = len as u32 | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

fn sum(part: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 64];
    for chunk in part.chunks_exact(64) {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
    }
    sums.iter().sum::<f32>()
}

/// One token of GPT-2 after 128 others, but for its embedding and the choice of the next.
fn whole_token(weights: &[f32]) -> impl Fn() -> Vec<f32> {
    const SEEN: usize = 128;
    let (h, heads, vocabulary) = (768, 12, 50257);
    let cache: Vec<[Vec<f32>; 2]> = (0..12).map(|_| [numbers(SEEN * h), numbers(SEEN * h)]).collect();
    let (g, first, bias) = (numbers(h), numbers(h), numbers(vocabulary));
    let rows: Vec<u32> = (0..SEEN as u32).collect();
    move || {
        let shape = Shape { heads, head_dim: h / heads, scale: 0.125, q_offsets: &[0, 1], k_offsets: &[0, SEEN] };
        let mut at = 0;
        let mut linear = |x: &[f32], outputs: usize, act| {
            let w = &weights[at..][..x.len() * outputs];
            at += w.len();
            let dims = LinearDims { rows: 1, inputs: x.len(), outputs };
            linear::forward(x, w, Some(&bias[..outputs]), act, dims, false).y
        };
        let normed = |x: &[f32]| norm::add_layer_norm(x, None, &g, &g, 1e-5, Dropout::OFF, false).y;
        let add = |x: &mut [f32], y: &[f32]| x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        let mut x = first.clone();
        for [keys, values] in &cache {
            let qkv = linear(&normed(&x), 3 * h, Activation::None);
            let stored = Stored { keys, values, rows: &rows };
            let mixed = attention::cached(&qkv[..h], stored, &shape, true, Bias::None);
            add(&mut x, &linear(&mixed, h, Activation::None));
            let inner = linear(&normed(&x), 4 * h, Activation::GeluTanh);
            add(&mut x, &linear(&inner, h, Activation::None));
        }
        linear(&x, vocabulary, Activation::None)
    }
}

struct Bench {
    filter: Option<String>,
    peak: f64,
}

impl Bench {
    /// Prints the best time of several runs; `flops` 0 for work that isn't products.
    fn run<R>(&self, name: &str, flops: f64, bytes: f64, mut f: impl FnMut() -> R) {
        if self.filter.as_ref().is_some_and(|part| !name.contains(part.as_str())) {
            return;
        }
        let (mut best, begin) = (f64::INFINITY, Instant::now());
        let mut runs = 0;
        while runs < 5 || (begin.elapsed().as_secs_f64() < 0.5 && runs < 10_000) {
            let start = Instant::now();
            black_box(f());
            best = best.min(start.elapsed().as_secs_f64());
            runs += 1;
        }
        let speed = if flops > 0.0 {
            let rate = flops / best / 1e9;
            format!("{rate:>8.1} GFLOP/s {:>4.0} %", 100.0 * rate / self.peak)
        } else {
            format!("{:>8.1} GB/s", bytes / best / 1e9)
        };
        println!("{name:<44} {:>10.1} µs {speed}", best * 1e6);
    }

    fn linear(&self, rows: usize, inputs: usize, outputs: usize) {
        let (x, w, b) = (numbers(rows * inputs), numbers(outputs * inputs), numbers(outputs));
        let dy = numbers(rows * outputs);
        let dims = LinearDims { rows, inputs, outputs };
        let flops = 2.0 * (rows * inputs * outputs) as f64;
        let name = format!("linear {rows}x{inputs}x{outputs}");
        let bytes = 4.0 * (w.len() + x.len() + dy.len()) as f64;
        self.run(&format!("{name} plain"), flops, bytes, || {
            linear::forward(&x, &w, None, Activation::None, dims, false)
        });
        if rows <= 8 {
            self.run(&format!("{name} plain, memory"), 0.0, bytes, || {
                linear::forward(&x, &w, None, Activation::None, dims, false)
            });
            return;
        }
        self.run(&format!("{name} bias+gelu"), flops, bytes, || {
            linear::forward(&x, &w, Some(&b), Activation::Gelu, dims, false)
        });
        self.run(&format!("{name} bias+gelu, keep"), flops, bytes, || {
            linear::forward(&x, &w, Some(&b), Activation::Gelu, dims, true)
        });
        let needs = Needs { x: true, weight: true, bias: true };
        self.run(&format!("{name} backward"), 2.0 * flops, bytes, || {
            linear::backward(&x, &w, Some(&dy), Activation::Gelu, &dy, dims, needs)
        });
        for (what, x_grad) in [("input", true), ("weight", false)] {
            let needs = Needs { x: x_grad, weight: !x_grad, bias: false };
            self.run(&format!("{name} gradient of the {what}"), flops, bytes, || {
                linear::backward(&x, &w, None, Activation::None, &dy, dims, needs)
            });
        }
    }

    /// One token of GPT-2, weights from memory: the linear layers that it passes, all of it, and reading as many numbers.
    fn one_token(&self) {
        let layer = [(768, 2304), (768, 768), (768, 3072), (3072, 768)];
        let sizes: Vec<(usize, usize)> = [layer; 12].concat().into_iter().chain([(768, 50257)]).collect();
        let weights = numbers(sizes.iter().map(|(inputs, outputs)| inputs * outputs).sum());
        let (x, bytes) = (numbers(3072), 4.0 * weights.len() as f64);
        let whole = whole_token(&weights);
        for _ in 0..3 {
            self.run("one token of GPT-2: products", 0.0, bytes, || {
                let mut at = 0;
                for &(inputs, outputs) in &sizes {
                    let w = &weights[at..][..inputs * outputs];
                    at += w.len();
                    let dims = LinearDims { rows: 1, inputs, outputs };
                    black_box(linear::forward(&x[..inputs], w, None, Activation::None, dims, false));
                }
            });
            self.run("one token of GPT-2: whole", 0.0, bytes, &whole);
            self.run("one token of GPT-2: reading", 0.0, bytes, || weights.par_chunks(1 << 18).map(sum).sum::<f32>());
        }
    }

    fn attention(&self, name: &str, lens: &[usize], heads: usize, head_dim: usize, mask: Mask<'_>, dropout: Dropout) {
        let mut offsets = vec![0];
        offsets.extend(lens.iter().scan(0, |at, len| {
            *at += len;
            Some(*at)
        }));
        let size = offsets[lens.len()] * heads * head_dim;
        let (q, k, v, dout) = (numbers(size), numbers(size + 1), numbers(size + 2), numbers(size));
        let (k, v) = (&k[..size], &v[..size]);
        let shape = Shape { heads, head_dim, scale: 0.125, q_offsets: &offsets, k_offsets: &offsets };
        // of a causal mask half, which is all that need be computed
        let seen = |n: &usize| if matches!(mask, Mask::Causal) { n * (n + 1) / 2 } else { n * n };
        let pairs: usize = lens.iter().map(seen).sum();
        let flops = 4.0 * (pairs * heads * head_dim) as f64;
        let bias = Bias::None;
        self.run(&format!("attention {name} forward"), flops, 0.0, || {
            attention::forward(&q, k, v, &shape, mask, bias, dropout)
        });
        let f = attention::forward(&q, k, v, &shape, mask, bias, dropout);
        self.run(&format!("attention {name} backward"), 2.5 * flops, 0.0, || {
            attention::backward(&q, k, v, &f.out, &f.lse, &dout, &shape, mask, bias, dropout, false)
        });
    }

    /// One query of GPT-2's after `seen` tokens, keys and values from memory.
    fn cached(&self, seen: usize) {
        const STORES: usize = 128;
        let (heads, head_dim) = (12, 64);
        let size = seen * heads * head_dim;
        let (keys, values) = (numbers(STORES * size), numbers(STORES * size));
        let (q, rows): (_, Vec<u32>) = (numbers(heads * head_dim), (0..seen as u32).collect());
        let shape = Shape { heads, head_dim, scale: 0.125, q_offsets: &[0, 1], k_offsets: &[0, seen] };
        let mut next = 0;
        let bytes = 8.0 * size as f64;
        self.run(&format!("attention to {seen} cached, 12x64, memory"), 0.0, bytes, || {
            next = (next + 1) % STORES;
            let at = next * size..(next + 1) * size;
            let stored = Stored { keys: &keys[at.clone()], values: &values[at], rows: &rows };
            attention::cached(&q, stored, &shape, true, Bias::None)
        });
    }

    fn norm(&self, n: usize, h: usize) {
        let (x, r, g) = (numbers(n * h), numbers(n * h), numbers(h));
        let d = Dropout::new(0.1, 1);
        let bytes = 4.0 * (n * h) as f64;
        self.run(&format!("add+layer norm {n}x{h}"), 0.0, 3.0 * bytes, || {
            norm::add_layer_norm(&x, Some(&r), &g, &g, 1e-12, Dropout::OFF, false)
        });
        self.run(&format!("add+layer norm {n}x{h} dropout, keep"), 0.0, 4.0 * bytes, || {
            norm::add_layer_norm(&x, Some(&r), &g, &g, 1e-12, d, true)
        });
        let f = norm::add_layer_norm(&x, Some(&r), &g, &g, 1e-12, d, true);
        let sum = f.sum.unwrap_or_default();
        self.run(&format!("add+layer norm {n}x{h} dropout, backward"), 0.0, 4.0 * bytes, || {
            norm::add_layer_norm_backward(&r, &sum, &f.mean, &f.rstd, &g, d, true)
        });
    }

    fn decoder(&self, rows: usize, width: usize, vocab: usize) {
        let n = rows * 7;
        let (hidden, weight, bias) = (numbers(n * width), numbers(vocab * width), numbers(vocab));
        let chosen: Vec<u32> = (0..rows as u32).map(|i| i * 7).collect();
        let flops = 2.0 * (rows * width * vocab) as f64;
        let options = Options { label_smoothing: 0.0, scale: 1.0 / rows as f32 };
        for (name, times, grads) in [("forward", 1.0, false), ("with gradients", 3.0, true)] {
            self.run(&format!("cross-entropy {rows}x{width}x{vocab} {name}"), times * flops, 0.0, || {
                let bias = Some(&bias[..]);
                cross_entropy::forward(&hidden, &weight, bias, &chosen, &chosen, width, vocab, &options, grads)
            });
        }
    }
}

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let threads = rayon::current_num_threads();
    let bench = Bench { filter, peak: peak::measure_f32_gflops(threads) };
    println!("{} threads, {}, large product {:.0} GFLOP/s", threads, simd::level().name(), bench.peak);
    for (rows, inputs, outputs) in [
        (1024, 768, 3072),
        (1024, 3072, 768),
        (1024, 768, 768),
        (128, 768, 768),
        (128, 768, 3072),
        (64, 768, 768),
        (16, 768, 3072),
        (16, 3072, 768),
        (8, 768, 768),
        (4, 768, 768),
        (2, 768, 768),
        (1, 768, 768),
        // from memory
        (1, 768, 30522),
        (4, 768, 30522),
        (8, 768, 30522),
        (1, 3072, 7680),
        (4, 3072, 7680),
        (8, 3072, 7680),
        (1280, 384, 1536),
        // a step of a small model
        (4096, 256, 256),
        (4096, 256, 1024),
        (4096, 1024, 256),
        (640, 256, 8000),
    ] {
        bench.linear(rows, inputs, outputs);
    }
    // on a thread of the pool, as programs run
    rayon::scope(|_| bench.one_token());
    let short: Vec<usize> = (0..64).map(|i| 8 + (i * 7) % 25).collect();
    let d = Dropout::new(0.1, 1);
    bench.attention("8x128, 12x64", &[128; 8], 12, 64, Mask::None, Dropout::OFF);
    bench.attention("8x128, 12x64, dropout", &[128; 8], 12, 64, Mask::None, d);
    bench.attention("16x256, 4x64, causal", &[256; 16], 4, 64, Mask::Causal, Dropout::OFF);
    bench.attention("64 short, 12x32", &short, 12, 32, Mask::None, Dropout::OFF);
    bench.attention("1x16, 12x64", &[16], 12, 64, Mask::None, Dropout::OFF);
    bench.attention("1x4096, 12x64", &[4096], 12, 64, Mask::None, Dropout::OFF);
    rayon::scope(|_| [64, 160, 1000].into_iter().for_each(|seen| bench.cached(seen)));
    bench.norm(1024, 768);
    bench.norm(16, 768);
    bench.decoder(307, 512, 30522);
    bench.decoder(1024, 768, 50257);
    let x = numbers(1024 * 3072);
    let bytes = 8.0 * x.len() as f64;
    bench.run("gelu 1024x3072", 0.0, bytes, || activation::forward(&x, Activation::Gelu));
    bench.run("gelu 1024x3072 backward", 0.0, 1.5 * bytes, || activation::backward(&x, &x, Activation::Gelu));
    let (mut p, mut m, mut v) = (x.clone(), x.clone(), vec![0.1; x.len()]);
    let options =
        AdamW { lr: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 1, bias_correction: true };
    bench.run("adamw 3M", 0.0, 3.5 * bytes, || adamw::step(&mut p, &x, &mut m, &mut v, &options));
}
