//! Feature extraction: a vector for every token of a text, as a model's last layer has it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use burn::prelude::*;
use ptm_models::files::Weights;
use ptm_models::{Bodies, EncoderConfig, Rows};
use ptm_text::{EncodeOptions, Encoding, Tokenizer};
use serde::{Serialize, Serializer};

use crate::batch::plan;
use crate::default_model;
use crate::error::{Error, Result};
use crate::hidden::{Hidden, Stack, no_token};

/// A model whose token vectors are asked for.
#[derive(Debug)]
pub struct FeatureExtraction {
    name: String,
    tokenizer: Tokenizer,
    model: Hidden,
}

/// How vectors are computed.
#[derive(Clone, Debug, Default)]
pub struct FeatureExtractionOptions<'a> {
    /// Tokens of a batch.
    pub batch_tokens: Option<usize>,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

/// The tokens of a text, those that were added around it too, with their vectors. As JSON `[[[number, …], …]]`, of
/// 1 × tokens × width, as the transformers pipeline has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// The tokens as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// A vector a token.
    pub vectors: Vec<Vec<f32>>,
}

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        [&self.vectors].serialize(to)
    }
}

impl FeatureExtraction {
    /// The model that is part of the program, all-MiniLM-L6-v2.
    ///
    /// # Errors
    /// When the program was built from damaged assets.
    pub fn embedded() -> Result<Self> {
        let config = EncoderConfig::from_bytes(default_model::CONFIG)?;
        let weights = Weights::from_bytes(default_model::WEIGHTS, default_model::NAME)?;
        let model = Bodies::from_weights(config, &weights, &Device::flex(), None)?.model;
        Self::new(default_model::NAME.to_owned(), crate::embedded_tokenizer()?, Hidden::of_encoder(model))
    }

    /// Opens a model directory. Of T5 and Marian the vectors are the encoder's; of BART and mBART the decoder's, which
    /// reads the text again, as the transformers pipeline has it.
    ///
    /// # Errors
    /// When a file is missing, damaged, or doesn't fit the others.
    pub fn open(dir: &Path) -> Result<Self> {
        let model = Hidden::open(dir, Stack::Decoder)?;
        Self::new(dir.display().to_string(), Tokenizer::from_dir(dir)?, model)
    }

    fn new(name: String, tokenizer: Tokenizer, model: Hidden) -> Result<Self> {
        model.check(&tokenizer)?;
        Ok(Self { name, tokenizer, model })
    }

    /// The model's name or directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.model.width
    }

    /// The features of each text, in order. `progress` hears how many texts are done.
    ///
    /// # Errors
    /// For a text alone: when it has no token, or more than the model reads, or the model gives NaN. For all: when the
    /// caller asked to stop.
    pub fn extract(
        &self,
        texts: &[&str],
        options: &FeatureExtractionOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<Features>>> {
        let inputs: Vec<_> = texts.iter().map(|text| ptm_text::Input::Text(text)).collect();
        let encodings = self.tokenizer.encode_batch(&inputs, &EncodeOptions::default())?;
        let longest = self.model.limit.unwrap_or(usize::MAX);
        let fits: Vec<usize> = (0..texts.len()).filter(|&i| (1..=longest).contains(&encodings[i].len())).collect();
        let unread = |i: usize| match encodings[i].len() {
            0 => no_token(texts[i]),
            length => self.too_long(length, longest),
        };
        let mut all: Vec<Result<Features>> = (0..texts.len()).map(|i| Err(unread(i))).collect();
        let fitting: Vec<&Encoding> = fits.iter().map(|&i| &encodings[i]).collect();
        let width = self.dimension();
        let mut done = texts.len() - fits.len();
        for batch in plan(&fitting, options.batch_tokens) {
            if options.stop.is_some_and(|stop| stop.load(Relaxed)) {
                return Err(Error::Stopped);
            }
            let packed = self.model.pack(batch.iter().map(|&i| fitting[i]))?;
            let hidden = self.model.states(&packed, &Rows::All)?;
            for (&i, rows) in batch.iter().zip(packed.offsets.windows(2)) {
                let rows = &hidden[rows[0] * width..rows[1] * width];
                all[fits[i]] = if rows.iter().all(|x| x.is_finite()) {
                    let vectors = rows.chunks_exact(width).map(<[f32]>::to_vec).collect();
                    Ok(Features { tokens: fitting[i].tokens.clone(), vectors })
                } else {
                    Err(Error::not_finite(&self.name, texts[fits[i]]))
                };
            }
            done += batch.len();
            progress(done);
        }
        Ok(all)
    }

    fn too_long(&self, length: usize, longest: usize) -> Error {
        Error::Input(format!("the text has {length} tokens, but {} reads at most {longest}: divide it", self.name))
    }
}
