//! Feature extraction: a vector for every token of a text, as an encoder's last layer has it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use burn::prelude::*;
use ptm_models::files::Weights;
use ptm_models::{Bodies, EncoderConfig, Pass, Rows};
use ptm_text::{EncodeOptions, Encoding, Tokenizer};
use serde::{Serialize, Serializer};

use crate::batch::{check_vocabulary, pack, plan};
use crate::default_model;
use crate::error::{Error, Result};

/// An encoder whose token vectors are asked for.
#[derive(Debug)]
pub struct FeatureExtraction {
    name: String,
    tokenizer: Tokenizer,
    model: Bodies,
    max_length: usize,
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
        Self::new(default_model::NAME.to_owned(), crate::embedded_tokenizer()?, config, &weights)
    }

    /// Opens the directory of an encoder.
    ///
    /// # Errors
    /// When a file is missing, damaged, or doesn't fit the others; when the model is no encoder.
    pub fn open(dir: &Path) -> Result<Self> {
        let config = EncoderConfig::from_dir(dir)?;
        Self::new(dir.display().to_string(), Tokenizer::from_dir(dir)?, config, &Weights::open(dir)?)
    }

    fn new(name: String, tokenizer: Tokenizer, config: EncoderConfig, weights: &Weights) -> Result<Self> {
        check_vocabulary(&tokenizer, config.vocab_size)?;
        let max_length = config.max_length();
        let model = Bodies::from_weights(config, weights, &Device::flex(), None)?.model;
        Ok(Self { name, tokenizer, model, max_length })
    }

    /// The model's name or directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.model.config().hidden_size
    }

    /// The features of each text, in order. `progress` hears how many texts are done.
    ///
    /// # Errors
    /// For a text alone: when it has more tokens than the model reads, or the model gives NaN. For all: when the caller
    /// asked to stop.
    pub fn extract(
        &self,
        texts: &[&str],
        options: &FeatureExtractionOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<Features>>> {
        let inputs: Vec<_> = texts.iter().map(|text| ptm_text::Input::Text(text)).collect();
        let encodings = self.tokenizer.encode_batch(&inputs, &EncodeOptions::default())?;
        let fits: Vec<usize> = (0..texts.len()).filter(|&i| encodings[i].len() <= self.max_length).collect();
        let mut all: Vec<Result<Features>> = encodings.iter().map(|encoding| Err(self.too_long(encoding))).collect();
        let fitting: Vec<&Encoding> = fits.iter().map(|&i| &encodings[i]).collect();
        let width = self.dimension();
        let mut done = texts.len() - fits.len();
        for batch in plan(&fitting, options.batch_tokens) {
            if options.stop.is_some_and(|stop| stop.load(Relaxed)) {
                return Err(Error::Stopped);
            }
            let packed = pack(batch.iter().map(|&i| fitting[i]), self.model.config().positions())?;
            let hidden = self.model.body.forward(&(&packed).into(), &Rows::All, &Pass::eval())?;
            let hidden = ptm_ops::read_f32(hidden);
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

    fn too_long(&self, encoding: &Encoding) -> Error {
        let (length, longest) = (encoding.len(), self.max_length);
        Error::Input(format!("the text has {length} tokens, but {} reads at most {longest}: divide it", self.name))
    }
}
