//! Generation of text, for every language model: greedy, beam and contrastive search, sampling, what changes the scores on
//! the way, guesses that speed it up, and many inputs at once. Token ids in, token ids out; strings are elsewhere.

mod beam;
mod constraint;
mod contrastive;
mod draft;
mod draws;
mod engine;
mod feed;
mod groups;
pub(crate) mod layers;
pub mod process;
mod sample;
mod schedule;
mod search;
pub mod settings;
mod speaker;
mod stop;
mod stream;

pub use constraint::Constraint;
pub use engine::{Allowed, Engine, Generate, Input};
pub use feed::Fed;
pub use layers::{Layers, Origin};
pub use search::{Finish, Spoken, TokenScore};
pub use settings::Settings;
pub use stream::TextStream;
