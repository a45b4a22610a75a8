//! Tensors over bytes that are already in memory or mapped from a file: the CPU backend reads them in place.

use burn::prelude::*;
use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};

/// A tensor of `shape` over little-endian f32 `bytes`, not copied on the CPU backend until someone writes to it.
///
/// # Panics
/// When the bytes are not `4 · Π shape` many or not aligned for f32.
pub fn from_shared<const D: usize>(bytes: bytes::Bytes, shape: [usize; D], device: &Device) -> Tensor<D> {
    assert_eq!(bytes.len(), 4 * shape.iter().product::<usize>(), "bytes of a tensor of shape {shape:?}");
    let bytes = Bytes::from_shared(bytes, AllocationProperty::File);
    Tensor::from_data(TensorData::from_bytes(bytes, shape, DType::F32), device)
}

/// The elements of a tensor, row by row.
pub fn read_f32<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("ptm-ops works on f32 tensors")
}
