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

/// [`f32_gflops`] on a pool of `threads` of its own: the best of ten products, about a tenth of a second.
///
/// # Panics
/// When the operating system gives no threads.
pub fn measure_f32_gflops(threads: usize) -> f64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
    pool.expect("threads to measure with").install(|| f32_gflops(10))
}
