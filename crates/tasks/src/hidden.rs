//! Hidden states of whichever body a model directory holds: what embeddings and feature extraction are made of.

use std::fmt;
use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::Bare;
use ptm_models::{
    Bart, BartConfig, BartEncoder, Bodies, Configuration, Decoder, Encoder, Family, Kind, Model, Pass, Rows, T5Encoder,
    Xlnet,
};
use ptm_text::{Encoding, Packed, PositionStyle, Tokenizer};

use crate::batch::{check_vocabulary, pack};
use crate::error::{Error, Result};
use crate::reads::Reads;

/// Whose hidden states are asked for where BART or mBART have two stacks. Of T5 and Marian it is the encoder always: their
/// decoders read nothing that a text alone would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    Encoder,
    /// The decoder, which reads the text again, moved right, as `BartModel` has it.
    Decoder,
}

/// A body that is not named.
trait States: fmt::Debug + Send + Sync {
    /// The wanted hidden states of the packed texts, row by row.
    fn states(&self, batch: &Packed, rows: &Rows) -> ptm_models::Result<Vec<f32>>;
}

impl<B: Reads + Sync> States for Model<Bare, B> {
    fn states(&self, batch: &Packed, rows: &Rows) -> ptm_models::Result<Vec<f32>> {
        B::read(self.config(), batch, |input| Ok(ptm_ops::read_f32(self.body.forward(input, rows, &Pass::eval())?)))
    }
}

/// A body with what its tasks ask of it.
#[derive(Debug)]
pub(crate) struct Hidden {
    /// Numbers of a hidden state.
    pub width: usize,
    /// Tokens that there are positions for; none where nothing sets a limit.
    pub limit: Option<usize>,
    vocabulary: usize,
    positions: PositionStyle,
    body: Box<dyn States>,
}

impl Hidden {
    /// Reads the body of a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, or holds no such body.
    pub fn open(dir: &Path, stack: Stack) -> Result<Self> {
        let family = Family::of_dir(dir)?;
        match family.kind() {
            Kind::Encoder => Self::read(dir, Self::of_encoder),
            Kind::Decoder => Self::read::<Decoder>(dir, |model| {
                let limit = model.config().max_positions;
                Self::of(model, Some(limit))
            }),
            Kind::Bart => {
                let config = BartConfig::from_dir(dir)?;
                let limit = Some(config.max_positions);
                // an encoder that was saved alone has no other stack
                let alone = config.architectures.iter().any(|class| class.ends_with("Encoder"));
                if stack == Stack::Encoder || family == Family::Marian || alone {
                    return Self::read::<BartEncoder>(dir, |model| Self::of(model, limit));
                }
                Self::read::<Bart>(dir, |model| Self::of(model, limit))
            }
            Kind::T5 => Self::read::<T5Encoder>(dir, |model| Self::of(model, None)),
            Kind::Xlnet => Self::read::<Xlnet>(dir, |model| Self::of(model, None)),
        }
    }

    fn read<B: Reads + Sync + 'static>(dir: &Path, make: impl FnOnce(Model<Bare, B>) -> Self) -> Result<Self> {
        Ok(make(Model::open(dir, &Device::flex())?.model))
    }

    /// An encoder that was read already.
    pub fn of_encoder(model: Bodies) -> Self {
        let limit = model.config().max_length();
        Self::of::<Encoder>(model, Some(limit))
    }

    fn of<B: Reads + Sync + 'static>(model: Model<Bare, B>, limit: Option<usize>) -> Self {
        let config = model.config();
        Self {
            width: config.hidden_size(),
            limit,
            vocabulary: model.body.word().val().dims()[0],
            positions: config.positions(),
            body: Box::new(model),
        }
    }

    /// Says that the tokenizer knows ids that the body lacks.
    pub fn check(&self, tokenizer: &Tokenizer) -> Result<()> {
        check_vocabulary(tokenizer, self.vocabulary)
    }

    /// The texts as one batch, none of which is empty.
    pub fn pack<'a>(&self, texts: impl IntoIterator<Item = &'a Encoding>) -> Result<Packed> {
        pack(texts, self.positions)
    }

    /// The wanted hidden states of a batch, row by row.
    pub fn states(&self, batch: &Packed, rows: &Rows) -> Result<Vec<f32>> {
        Ok(self.body.states(batch, rows)?)
    }
}

/// What a text without any token is refused with.
pub(crate) fn no_token(text: &str) -> Error {
    Error::Input(format!("a text has no token that the model knows: {text:?}; leave it out"))
}
