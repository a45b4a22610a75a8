//! What every operation shares: the choice of the fused path, and the way between Flex tensors and slices.

use std::sync::Arc;

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{DispatchDevice, TensorMetadata};
use burn::prelude::*;
use burn::tensor::{Bytes, DType};

/// Row numbers or token ids, kept on the host and shared, not copied, by the backward pass.
pub type Indices = Arc<[u32]>;

/// Whether operations on `device` run as fused CPU kernels; on other devices they are composed of Burn's own.
pub fn is_fused(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// A Flex tensor around `values`, taken without copying.
pub(crate) fn pack(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    let shape = shape.into();
    debug_assert_eq!(values.len(), shape.num_elements());
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// The tensor with its elements in row-major order (itself when they already are).
pub(crate) fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// The elements of a contiguous f32 tensor.
///
/// # Panics
/// When the tensor isn't f32: operations here are f32 only.
pub(crate) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().expect("ptm-ops works on contiguous f32 tensors")
}

/// The elements of an optional tensor, which the extension's signatures carry as a tensor of no elements.
pub(crate) fn optional(tensor: &FlexTensor) -> Option<&[f32]> {
    Some(slice(tensor)).filter(|values| !values.is_empty())
}

/// What stands for an absent optional tensor in the extension's signatures.
pub(crate) fn absent<const D: usize>(device: &Device) -> Tensor<D> {
    Tensor::zeros([0; D], device)
}

/// Rows and columns of a matrix.
pub(crate) fn dims2(tensor: &FlexTensor) -> [usize; 2] {
    let shape = tensor.shape();
    [shape[0], shape[1]]
}
