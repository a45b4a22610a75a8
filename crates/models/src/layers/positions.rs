//! Word and position embeddings that are summed apart: scaled words, learned or sinusoidal positions.

use std::sync::Arc;

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_ops::{Indices, gather_rows};

use super::parameter;

/// The embeddings of `ids`, times `scale`. The row `frozen`, of padding, learns nothing from being read.
///
/// # Shapes
/// `word` `[V, H]`, `ids` `[T]` → `[T, H]`.
pub(crate) fn look_up(word: &Param<Tensor<2>>, ids: &[u32], frozen: Option<u32>, scale: f32) -> Tensor<2> {
    let x = gather_rows(word.val(), &Indices::from(ids));
    let x = if scale == 1.0 { x } else { x * scale };
    let Some(frozen) = frozen.filter(|frozen| ids.contains(frozen)) else { return x };
    let learns: Vec<f32> = ids.iter().map(|&id| f32::from(u8::from(id != frozen))).collect();
    let learns = Tensor::<2>::from_data(TensorData::new(learns, [ids.len(), 1]), &x.device());
    let fixed = x.clone().detach() * (learns.clone().neg() + 1.0);
    x * learns + fixed
}

/// Where a token stands, as a vector.
#[derive(Module, Debug)]
pub struct Positions {
    learned: Option<Param<Tensor<2>>>,
    width: usize,
    #[module(skip)]
    sinusoidal: Arc<[f32]>,
}

impl Positions {
    /// A learned row a position.
    pub fn learned(rows: usize, width: usize, device: &Device) -> Self {
        Self { learned: Some(parameter([rows, width], device)), width, sinusoidal: Arc::from([]) }
    }

    /// Sines in the first half of a row and cosines in the second, of wavelengths from 2π to 10000·2π
    /// (Vaswani et al. 2017, §3.5, there interleaved).
    pub fn sinusoidal(rows: usize, width: usize) -> Self {
        let half = width.div_ceil(2);
        let cell = |row: usize, column: usize| {
            let (pair, cosine) = if column < half { (column, false) } else { (column - half, true) };
            let angle = row as f64 / 10000_f64.powf(2.0 * pair as f64 / width as f64);
            (if cosine { angle.cos() } else { angle.sin() }) as f32
        };
        let table = (0..rows * width).map(|i| cell(i / width, i % width)).collect();
        Self { learned: None, width, sinusoidal: table }
    }

    /// `x` plus the vectors of `positions`.
    ///
    /// # Shapes
    /// `x` `[T, H]`, `positions` `[T]` → `[T, H]`.
    pub fn add(&self, x: Tensor<2>, positions: &[u32]) -> Tensor<2> {
        if let Some(table) = &self.learned {
            return x + gather_rows(table.val(), &Indices::from(positions));
        }
        let row = |&position: &u32| &self.sinusoidal[position as usize * self.width..][..self.width];
        let rows: Vec<f32> = positions.iter().flat_map(row).copied().collect();
        let shape = x.dims();
        let rows = Tensor::from_data(TensorData::new(rows, shape), &x.device());
        x + rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_then_cosines() {
        let table = Positions::sinusoidal(3, 4).sinusoidal;
        let expected = [2_f64.sin(), 0.02_f64.sin(), 2_f64.cos(), 0.02_f64.cos()];
        for (a, b) in table[8..].iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() < 1e-7);
        }
    }
}
