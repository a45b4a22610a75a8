//! Heads: from hidden states to logits and losses. A head doesn't know which body it stands on.

mod choice;
mod classifier;
mod language_model;
mod masked_lm;
mod next_sentence;
mod pretraining;
mod replaced_token;
mod span;
mod span_boundary;
mod token;

use burn::module::ModuleDisplay;
use burn::prelude::*;

pub use choice::ChoiceHead;
pub use classifier::{SequenceHead, Targets};
pub use language_model::{LanguageModelHead, next_tokens};
pub use masked_lm::MaskedLmHead;
pub use next_sentence::NextSentenceHead;
pub use pretraining::PretrainingHead;
pub use replaced_token::ReplacedTokenHead;
pub use span::SpanHead;
pub use span_boundary::{Bounded, PLACES, SpanBoundary, SpanBoundaryHead};
pub use token::TokenHead;

use crate::body::Body;
use crate::config::{Configuration, EncoderConfig, Family, field};
use crate::encoder::Encoder;
use crate::error::Result;
use crate::layers::Linear;

/// What every head says about itself, for reading and writing, on the bodies that have it.
pub trait Head<B: Body = Encoder>: Module + ModuleDisplay + Sized {
    /// The head's name in messages.
    const NAME: &'static str;
    /// The head with parameters still to be read or initialised.
    fn new(config: &B::Config, device: &Device) -> Self;
    /// The end of the class name in `transformers`, `ForMaskedLM`, if the family has this head.
    fn class(family: Family) -> Option<&'static str>;
    /// Says what of a configuration this head cannot work with.
    ///
    /// # Errors
    /// When there is something.
    fn check(_: &B::Config) -> Result<()> {
        Ok(())
    }
}

/// A classifier has a label at least.
fn check_labels(config: &impl Configuration) -> Result<()> {
    if config.labels().is_empty() {
        return Err(field("id2label", "is empty; a classifier needs a label, for instance \"num_labels\": 2"));
    }
    Ok(())
}

/// No head: hidden states.
#[derive(Module, Debug)]
pub struct Bare {}

impl<B: Body> Head<B> for Bare {
    const NAME: &'static str = "hidden-states";

    fn new(_: &B::Config, _: &Device) -> Self {
        Self {}
    }

    fn class(family: Family) -> Option<&'static str> {
        B::class(family, <Self as Head<B>>::NAME)
    }
}

/// BERT's pooler: a dense layer with tanh over the first hidden state.
#[derive(Module, Debug)]
pub struct Pooler {
    dense: Linear,
}

impl Pooler {
    /// # Shapes
    /// First hidden states `[B, H]` → `[B, H]`.
    pub fn forward(&self, first: Tensor<2>) -> Tensor<2> {
        self.dense.forward(first, ptm_ops::Activation::Tanh)
    }
}

impl Head for Pooler {
    const NAME: &'static str = "pooler";

    fn new(config: &EncoderConfig, device: &Device) -> Self {
        Self { dense: Linear::new(config.hidden_size, config.hidden_size, device) }
    }

    fn class(family: Family) -> Option<&'static str> {
        (!matches!(family, Family::DistilBert | Family::Electra)).then_some("Model")
    }
}
