//! Tokenizers and packed batches.

mod encoding;
mod packed;

pub use encoding::Encoding;
pub use packed::{Packed, PackedError, PositionStyle, restore_order};
