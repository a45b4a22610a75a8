//! What this machine can do at most: the yardstick that speeds are printed against.

use std::time::Instant;

use crate::gemm::{Threads, View, product};

/// Billions of multiplications and additions a second in a large f32 product on all threads of the current pool:
/// the best of `runs`.
pub fn f32_gflops(runs: usize) -> f64 {
    const N: usize = 1024;
    let a: Vec<f32> = (0..N * N).map(|i| (i % 7) as f32).collect();
    let b: Vec<f32> = (0..N * N).map(|i| (i % 5) as f32).collect();
    let mut c = vec![0.0; N * N];
    let best = (0..runs.max(1)).map(|_| {
        let start = Instant::now();
        product(&mut c, false, 1.0, View::new(&a, N, N, N), View::new(&b, N, N, N).t(), Threads::All);
        start.elapsed().as_secs_f64()
    });
    2.0 * (N * N * N) as f64 / best.fold(f64::INFINITY, f64::min) / 1e9
}
