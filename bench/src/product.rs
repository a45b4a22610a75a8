//! One large f32 product: the yardstick for the share of the machine's rate that a training step reaches.

use anyhow::Result;
use ptm_kernels::gemm::{Threads, View, product};

use crate::{Work, protocol};

/// Two matrices and their product; the right one lies transposed, as a linear layer's weight does.
pub struct Product {
    m: usize,
    k: usize,
    n: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Product {
    pub fn new(job: &protocol::Product) -> Self {
        let &protocol::Product { m, k, n } = job;
        let fill = |len: usize, step: usize| (0..len).map(|i| (i * step % 17) as f32 / 17.0).collect();
        Self { m, k, n, a: fill(m * k, 7), b: fill(n * k, 5), c: vec![0.0; m * n] }
    }
}

impl Work for Product {
    fn run(&mut self) -> Result<Vec<f32>> {
        let (a, b) = (View::new(&self.a, self.m, self.k, self.k), View::new(&self.b, self.n, self.k, self.k).t());
        product(&mut self.c, false, 1.0, a, b, Threads::All);
        Ok(Vec::new())
    }
}
