//! The fused kernels as differentiable operations on Burn tensors.
