//! How many tokens of an example a model is given, in training and in what is said of data before it.

use std::path::Path;

use ptm_models::{BartConfig, Configuration, DecoderConfig, EncoderConfig, Family, Kind};
use ptm_text::Tokenizer;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Where nobody says how long examples may be they are cut at so many tokens: attention's cost grows with the square.
const USUAL: usize = 512;

/// The most tokens of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of what is read.
    pub max_length: usize,
    /// Of a target text.
    pub max_target: usize,
}

impl Limits {
    /// Those of training the model in the directory `dir`, with the `max_length` and `max_target` of a recipe's data.
    /// A directory without `config.json` has a tokenizer only, which may set a limit of its own.
    ///
    /// # Errors
    /// When the configuration can't be read, or the model doesn't read that much.
    pub fn of_dir(dir: &Path, tokenizer: &Tokenizer, max_length: Option<usize>, max_target: usize) -> Result<Self> {
        let path = dir.join("config.json");
        if !path.is_file() {
            return Self::within(usize::MAX, tokenizer, max_length, max_target);
        }
        let text = std::fs::read(&path).map_err(|source| Error::File { action: "read", path, source })?;
        let config = serde_json::from_slice(&text).map_err(|error| Error::Input(format!("config.json: {error}")))?;
        Self::new(Family::of_dir(dir)?.kind(), config, tokenizer, max_length, max_target)
    }

    /// Those of a model by its configuration.
    pub(super) fn new(
        kind: Kind,
        config: Map<String, Value>,
        tokenizer: &Tokenizer,
        max_length: Option<usize>,
        max_target: usize,
    ) -> Result<Self> {
        let positions = match kind {
            Kind::Encoder => EncoderConfig::from_json(config)?.max_length(),
            Kind::Decoder => DecoderConfig::from_json(config)?.max_positions,
            Kind::Bart => BartConfig::from_json(config)?.max_positions,
            Kind::T5 | Kind::Xlnet => usize::MAX,
        };
        Self::within(positions, tokenizer, max_length, max_target)
    }

    fn within(positions: usize, tokenizer: &Tokenizer, max_length: Option<usize>, max_target: usize) -> Result<Self> {
        let most = positions.min(tokenizer.model_max_length().unwrap_or(usize::MAX));
        let max_length = max_length.unwrap_or_else(|| most.min(USUAL));
        if max_length > most {
            let problem = format!("{max_length} tokens are more than the {most} that the model reads");
            return Err(Error::recipe("data.max_length", problem));
        }
        Ok(Self { max_length, max_target: max_target.min(most) })
    }
}
