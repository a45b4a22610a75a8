//! How much is computed, and with `PTM_TIMING=1` where the time goes: every kernel adds to a table.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// What kernels are counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Matrix products of linear layers and decoders.
    Product,
    /// Bias and activation.
    Activation,
    /// Attention, both ways.
    Attention,
    /// Norms and residuals.
    Norm,
    /// Softmax and cross-entropy.
    CrossEntropy,
    /// Embeddings and row gathers.
    Embedding,
    /// Optimizer updates.
    Optimizer,
    /// Waiting of training steps for their data, which is no kernel but belongs beside them.
    Data,
}

const NAMES: [&str; 8] =
    ["product", "activation", "attention", "norm", "cross-entropy", "embedding", "optimizer", "data"];

struct Counter {
    calls: AtomicU64,
    nanos: AtomicU64,
    flops: AtomicU64,
}

static COUNTERS: [Counter; NAMES.len()] =
    [const { Counter { calls: AtomicU64::new(0), nanos: AtomicU64::new(0), flops: AtomicU64::new(0) } }; NAMES.len()];

fn enabled() -> bool {
    static ENABLED: OnceLock<bool> = OnceLock::new();
    *ENABLED.get_or_init(|| std::env::var_os("PTM_TIMING").is_some_and(|value| value == "1"))
}

/// Runs `f` and counts it; `flops` are its multiplications and additions inside products.
pub fn timed<R>(kind: Kind, flops: u64, f: impl FnOnce() -> R) -> R {
    let counter = &COUNTERS[kind as usize];
    if flops > 0 {
        counter.flops.fetch_add(flops, Relaxed);
    }
    if !enabled() {
        return f();
    }
    let start = Instant::now();
    let result = f();
    counter.calls.fetch_add(1, Relaxed);
    counter.nanos.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
    result
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// The kind of kernel.
    pub name: &'static str,
    /// How often it was called.
    pub calls: u64,
    /// Wall-clock seconds inside it, summed over the threads that called it.
    pub seconds: f64,
    /// Multiplications and additions inside products.
    pub flops: u64,
}

/// The table since the start or the last [`reset`]; calls and seconds are 0 unless `PTM_TIMING=1`.
pub fn report() -> Vec<Line> {
    let line = |(name, counter): (&'static str, &Counter)| Line {
        name,
        calls: counter.calls.load(Relaxed),
        seconds: counter.nanos.load(Relaxed) as f64 * 1e-9,
        flops: counter.flops.load(Relaxed),
    };
    NAMES.into_iter().zip(&COUNTERS).map(line).collect()
}

/// Multiplications and additions inside products, of the whole process, since the start or the last [`reset`].
pub fn flops() -> u64 {
    COUNTERS.iter().map(|counter| counter.flops.load(Relaxed)).sum()
}

/// Sets the table to zero.
pub fn reset() {
    for counter in &COUNTERS {
        counter.calls.store(0, Relaxed);
        counter.nanos.store(0, Relaxed);
        counter.flops.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_counts_without_being_timed() {
        let before = flops();
        assert_eq!(timed(Kind::Product, 70, || 7), 7);
        // other tests compute at the same time
        assert!(flops() >= before + 70);
    }
}
