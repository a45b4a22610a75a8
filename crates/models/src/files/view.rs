//! One tensor of a file: its shape, its element type and where its bytes lie. Cheap to clone; nothing is read before
//! it is asked for. How elements become f32: `convert.rs`.

use std::sync::Arc;

use bytes::Bytes;
use safetensors::Dtype;

use super::compact::Compact;
use super::{Error, convert};

/// A tensor in a file of weights.
#[derive(Clone, Debug)]
pub struct TensorView {
    /// The type of its elements. Tensors in ptm's compact storage are F32 to the outside.
    pub dtype: Dtype,
    /// Its shape, outermost first; empty for a single number.
    pub shape: Vec<usize>,
    name: Arc<str>,
    label: Arc<str>,
    layout: Layout,
}

/// How the elements lie. Whoever makes one has checked it against the bytes.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// Row by row, nothing between them.
    Dense(Bytes),
    /// A view of PyTorch's: element `i, j, …` is at `offset + i * strides[0] + j * strides[1] + …`, in elements.
    Strided { storage: Bytes, offset: usize, strides: Vec<usize> },
    /// Eight bits a number and a scale a group.
    Compact(Compact),
}

impl TensorView {
    pub(crate) fn new(name: &str, label: &Arc<str>, dtype: Dtype, shape: Vec<usize>, layout: Layout) -> Self {
        Self { dtype, shape, name: name.into(), label: Arc::clone(label), layout }
    }

    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, as errors call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The number of its elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many bytes it takes in the file.
    pub fn stored_bytes(&self) -> usize {
        match &self.layout {
            Layout::Dense(bytes) => bytes.len(),
            Layout::Strided { .. } => self.elements() * (self.dtype.bitsize() / 8),
            Layout::Compact(compact) => compact.codes.len() + compact.scales.len(),
        }
    }

    /// Its elements row by row, little-endian, in their type. Shares the file's mapping where they lie so;
    /// views and compact tensors are laid out anew.
    pub fn bytes(&self) -> Bytes {
        match &self.layout {
            Layout::Dense(bytes) => bytes.clone(),
            Layout::Strided { storage, offset, strides } => {
                convert::gather(storage, *offset, &self.shape, strides, self.dtype.bitsize() / 8).into()
            }
            Layout::Compact(compact) => convert::owned(compact.to_f32(&self.shape)),
        }
    }

    /// Its elements row by row as little-endian f32, aligned to four bytes. Shares the mapping where it holds exactly
    /// that, else converts on all cores.
    ///
    /// # Errors
    /// When the elements are not floating-point numbers of 16, 32 or 64 bits.
    pub fn f32_bytes(&self) -> Result<Bytes, Error> {
        if let Layout::Compact(compact) = &self.layout {
            return Ok(convert::owned(compact.to_f32(&self.shape)));
        }
        let bytes = self.bytes();
        if self.dtype == Dtype::F32 && convert::is_aligned(&bytes) {
            return Ok(bytes);
        }
        convert::to_f32(&bytes, self.dtype).map(convert::owned).ok_or_else(|| self.wrong_type("f32"))
    }

    /// Its elements row by row, copied.
    ///
    /// # Errors
    /// As [`f32_bytes`](Self::f32_bytes).
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        if let Layout::Compact(compact) = &self.layout {
            return Ok(compact.to_f32(&self.shape));
        }
        convert::to_f32(&self.bytes(), self.dtype).ok_or_else(|| self.wrong_type("f32"))
    }

    /// Its elements row by row as whole numbers, copied.
    ///
    /// # Errors
    /// When they are not whole numbers, or one of them is above `i64::MAX`.
    pub fn to_i64(&self) -> Result<Vec<i64>, Error> {
        convert::to_i64(&self.bytes(), self.dtype).ok_or_else(|| self.wrong_type("i64"))
    }

    fn wrong_type(&self, wanted: &'static str) -> Error {
        Error::Dtype { label: self.label.to_string(), name: self.name.to_string(), found: self.dtype, wanted }
    }
}
