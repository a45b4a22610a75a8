//! The fused kernels of `ptm-kernels` as differentiable operations on Burn tensors.
//!
//! On the CPU backend (Flex) each operation is one call of a fused kernel with a hand-written backward,
//! registered through Burn's backend extension. On every other backend the same function is composed of
//! Burn's own operations ([`composed`]), so that a model is written once and runs anywhere.
//!
//! Letters used for shapes: `T` packed rows (the sum of all lengths), `B` sequences, `H` hidden width,
//! `O` outputs, `V` vocabulary, `A` heads, `D` head width, `R` chosen rows.
//!
//! No operation here knows a model or a text.

mod adamw;
mod add_norm;
mod attention;
mod backend;
mod cached_attention;
pub mod composed;
mod cross_entropy;
mod embedding;
mod gated;
mod gather;
mod linear;
pub mod losses;
mod mapped;
pub mod optimizer;
mod recompute;
mod relative_attention;

pub use adamw::{AdamW, AdamWOptions};
pub use add_norm::{add_layer_norm, dropout, dropout_add, rms_norm};
pub use attention::{Attention, Bias, Mask, attention};
pub use backend::{Indices, is_fused};
pub use cached_attention::{KeyValues, cached_attention};
pub use cross_entropy::{ChosenRows, cross_entropy};
pub use embedding::{MAX_TABLES, embedding_sum};
pub use gated::{activation, gated};
pub use gather::gather_rows;
pub use linear::linear;
pub use mapped::{from_shared, read_f32};
pub use ptm_kernels::{activation::Activation, dropout::Dropout};
pub use recompute::recomputed;
pub use relative_attention::{RelativeAttention, RelativeTensors, relative_attention};
