//! Word and position embeddings that are summed apart: scaled words, learned or sinusoidal positions.

use std::sync::{Arc, Mutex, PoisonError};

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
    /// The sinusoidal rows that were asked for so far.
    #[module(skip)]
    computed: Arc<Mutex<Vec<f32>>>,
}

impl Positions {
    /// A learned row a position.
    pub fn learned(rows: usize, width: usize, device: &Device) -> Self {
        Self { learned: Some(parameter([rows, width], device)), width, computed: Arc::default() }
    }

    /// Sines in the first half of a row and cosines in the second, of wavelengths from 2π to 10000·2π
    /// (Vaswani et al. 2017, §3.5, there interleaved).
    pub fn sinusoidal(width: usize) -> Self {
        Self { learned: None, width, computed: Arc::default() }
    }

    /// The sinusoidal vectors of `positions`, one after the other.
    fn rows(&self, positions: &[u32]) -> Vec<f32> {
        let half = self.width.div_ceil(2);
        let cell = |row: usize, column: usize| {
            let (pair, cosine) = if column < half { (column, false) } else { (column - half, true) };
            let angle = row as f64 / 10000_f64.powf(2.0 * pair as f64 / self.width as f64);
            (if cosine { angle.cos() } else { angle.sin() }) as f32
        };
        let mut table = self.computed.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = positions.iter().max().map_or(0, |&last| (last as usize + 1) * self.width);
        let held = table.len();
        table.extend((held..wanted.max(held)).map(|i| cell(i / self.width, i % self.width)));
        positions.iter().flat_map(|&row| &table[row as usize * self.width..][..self.width]).copied().collect()
    }

    /// `x` plus the vectors of `positions`.
    ///
    /// # Shapes
    /// `x` `[T, H]`, `positions` `[T]` → `[T, H]`.
    pub fn add(&self, x: Tensor<2>, positions: &[u32]) -> Tensor<2> {
        if let Some(table) = &self.learned {
            return x + gather_rows(table.val(), &Indices::from(positions));
        }
        let rows = Tensor::from_data(TensorData::new(self.rows(positions), x.dims()), &x.device());
        x + rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_then_cosines() {
        let positions = Positions::sinusoidal(4);
        let expected = [2_f64.sin(), 0.02_f64.sin(), 2_f64.cos(), 0.02_f64.cos()];
        for at in [[2_u32, 0], [2, 1]] {
            for (a, b) in positions.rows(&at).iter().zip(expected) {
                assert!((f64::from(*a) - b).abs() < 1e-7);
            }
        }
        assert_eq!(positions.rows(&[0]), [0.0, 0.0, 1.0, 1.0]);
    }
}
