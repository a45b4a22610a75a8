//! Fused transformer arithmetic on slices: each forward with its backward, for AVX-512, AVX2 and any other processor.
//!
//! Letters used for shapes: `T` packed rows (the sum of all lengths), `B` sequences, `H` width, `V` vocabulary,
//! `A` heads, `D` head width. Matrices are row-major. A batch is not padded: `offsets[B + 1]` delimit its sequences.
//!
//! Every function checks the lengths of its slices first and panics with the argument's name when they don't fit;
//! the unsafe code below relies on those checks. Results don't depend on the number of threads.
//!
//! This crate knows no tensors and no models. Other precisions will stand beside `gemm` as modules of their own.

pub mod activation;
pub mod adafactor;
pub mod adamw;
pub mod attention;
mod buffer;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
pub mod gather;
pub mod gemm;
pub mod gradient;
pub mod lamb;
pub mod linear;
pub mod lion;
pub mod mapped;
mod math;
pub mod norm;
pub mod peak;
pub mod sgd;
pub mod simd;
pub mod softmax;
pub mod timing;
