//! Keys and values that were computed before, and attention to them. For inference: nothing here has a gradient.

use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_kernels::attention::{self as kernel, Bias as KernelBias, Shape, Stored};

use crate::attention::{Attention, Bias, Mask, attention};
use crate::backend::{Indices, is_fused};
use crate::mapped::read_f32;

/// One layer's keys and values, a row a token that was read. Rows are only added; sequences name those they see, so
/// that what several have in common is there once.
#[derive(Clone, Debug)]
pub struct KeyValues {
    width: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KeyValues {
    /// No rows, of `width` once there are.
    pub fn new(width: usize) -> Self {
        Self { width, keys: Vec::new(), values: Vec::new() }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.keys.len() / self.width
    }

    /// Adds the rows of `keys` and `values`, `[T, A·D]`.
    ///
    /// # Panics
    /// When they are of another width.
    pub fn append(&mut self, keys: Tensor<2>, values: Tensor<2>) {
        assert_eq!(keys.dims()[1], self.width, "keys");
        assert_eq!(keys.dims(), values.dims(), "values");
        self.keys.extend(read_f32(keys.detach()));
        self.values.extend(read_f32(values.detach()));
    }

    /// Adds the rows of `other`.
    ///
    /// # Panics
    /// When they are of another width.
    pub fn absorb(&mut self, other: Self) {
        assert_eq!(other.width, self.width, "width");
        self.keys.extend(other.keys);
        self.values.extend(other.values);
    }

    /// Keeps these rows alone, in that order.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn keep(&mut self, rows: &[u32]) {
        (self.keys, self.values) = (self.packed(&self.keys, rows), self.packed(&self.values, rows));
    }

    fn packed(&self, of: &[f32], rows: &[u32]) -> Vec<f32> {
        rows.iter().flat_map(|&row| &of[row as usize * self.width..][..self.width]).copied().collect()
    }
}

/// The shape of a bias, whose values were read.
enum Table {
    None,
    Dense([usize; 3]),
    Relative([usize; 2], usize),
}

/// `softmax(scale · q·kᵀ + bias)·v`, for every head of every sequence, where the keys and values of a sequence are the
/// stored `rows` that `spec.k_offsets` delimit.
///
/// # Shapes
/// `q` `[Tq, A·D]`, `rows` `[Tk]` → `[Tq, A·D]`.
///
/// # Panics
/// When the mask is neither [`Mask::None`] nor [`Mask::Causal`], a row isn't stored, or the offsets don't fit.
pub fn cached_attention(
    q: Tensor<2>,
    stored: &KeyValues,
    rows: &Indices,
    bias: Option<Bias>,
    spec: &Attention,
) -> Tensor<2> {
    let device = q.device();
    let causal = matches!(spec.mask, Mask::Causal);
    assert!(causal || matches!(spec.mask, Mask::None), "stored keys are seen by all or causally");
    if !is_fused(&device) {
        let tensor = |of: &[f32]| {
            Tensor::from_data(TensorData::new(stored.packed(of, rows), [rows.len(), stored.width]), &device)
        };
        return attention(q, tensor(&stored.keys), tensor(&stored.values), bias, spec);
    }
    let shape = Shape {
        heads: spec.heads,
        head_dim: stored.width / spec.heads,
        scale: spec.scale,
        q_offsets: &spec.q_offsets,
        k_offsets: &spec.k_offsets,
    };
    let dims = q.dims();
    let (table, values) = match bias {
        None => (Table::None, Vec::new()),
        Some(Bias::Dense(values)) => (Table::Dense(values.dims()), read_f32(values.detach())),
        Some(Bias::Relative { values, zero }) => (Table::Relative(values.dims(), zero), read_f32(values.detach())),
    };
    let bias = match table {
        Table::None => KernelBias::None,
        Table::Dense([_, q_max, k_max]) => KernelBias::Dense { values: &values, q_max, k_max },
        Table::Relative([_, span], zero) => KernelBias::Relative { values: &values, span, zero },
    };
    let stored = Stored { keys: &stored.keys, values: &stored.values, rows };
    let out = kernel::cached(&read_f32(q.detach()), stored, &shape, causal, bias);
    Tensor::from_data(TensorData::new(out, dims), &device)
}

#[cfg(test)]
mod tests {
    use ptm_kernels::dropout::Dropout;

    use super::*;
    use crate::composed;

    fn tensor<const D: usize>(salt: f32, shape: [usize; D]) -> Tensor<D> {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| ((i as f32 + salt) * 1.7).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    #[test]
    fn stored_rows_are_attended_to_as_if_packed() {
        let mut stored = KeyValues::new(6);
        stored.append(tensor(0.0, [3, 6]), tensor(1.0, [3, 6]));
        stored.append(tensor(2.0, [2, 6]), tensor(3.0, [2, 6]));
        assert_eq!(stored.rows(), 5);
        let rows: Indices = [0, 1, 4, 0, 1, 2, 3].into();
        let q = tensor(4.0, [3, 6]);
        let keys = Tensor::cat(vec![tensor(0.0, [3, 6]), tensor(2.0, [2, 6])], 0);
        let values = Tensor::cat(vec![tensor(1.0, [3, 6]), tensor(3.0, [2, 6])], 0);
        let packed = |x: &Tensor<2>| composed::gather_rows(x.clone(), &rows);
        let relative = || Bias::Relative { values: tensor(5.0, [2, 9]), zero: 4 };
        let dense = || Bias::Dense(tensor(6.0, [2, 2, 4]));
        for mask in [Mask::None, Mask::Causal] {
            let spec = Attention {
                heads: 2,
                scale: 0.5,
                q_offsets: [0, 1, 3].into(),
                k_offsets: [0, 3, 7].into(),
                mask,
                dropout: Dropout::OFF,
            };
            for bias in [None, Some(relative()), Some(dense())] {
                let expected = composed::attention(q.clone(), packed(&keys), packed(&values), bias.clone(), &spec);
                let ours = cached_attention(q.clone(), &stored, &rows, bias, &spec);
                let worst = (ours - expected).abs().max().into_scalar::<f32>();
                assert!(worst < 1e-5, "{worst}");
            }
        }
    }

    #[test]
    fn rows_that_are_kept_stay_what_they_were() {
        let mut stored = KeyValues::new(2);
        stored.append(tensor(0.0, [3, 2]), tensor(1.0, [3, 2]));
        let (keys, values) = (stored.keys.clone(), stored.values.clone());
        stored.keep(&[2, 0]);
        assert_eq!((&stored.keys[..2], &stored.keys[2..]), (&keys[4..], &keys[..2]));
        assert_eq!((&stored.values[..2], &stored.values[2..]), (&values[4..], &values[..2]));
    }
}
