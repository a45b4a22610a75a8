//! Model files: safetensors and PyTorch's `.bin`, mapped and by name; safe writing. Nothing in a file can run code,
//! panic or fill the memory: see `fuzz/`. Which tensors a model needs, and how they are called, is not decided here.

mod atomic;
pub mod compact;
mod convert;
mod error;
mod pickle;
mod safetensors;
mod sharded;
mod stored_zip;
mod torch_file;
mod view;
mod weights;
mod write;

pub use ::safetensors::Dtype;
pub(crate) use atomic::remove_if_there;
pub use atomic::{AtomicFile, create_dir, write_atomic};
pub use error::Error;
pub use view::TensorView;
pub use weights::Weights;
pub use write::{SHARD_BYTES, Writer, write_safetensors};
