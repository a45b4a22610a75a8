//! Sentence embeddings: a body's hidden states, pooling, and what the directory puts after it
//! (Sentence-BERT, Reimers and Gurevych 2019).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use burn::prelude::*;
use ptm_models::files::Weights;
use ptm_models::{Bodies, EncoderConfig, Rows};
use ptm_text::{EncodeOptions, Encoding, Tokenizer, Truncation};

use crate::batch::plan;
use crate::cut::is_cut;
use crate::default_model;
use crate::error::{Error, Result};
use crate::generation::Origin;
use crate::hidden::{Hidden, Stack, no_token};
use crate::parameters::Effective;
use crate::sentence_transformers::{Modules, Step};

/// A model that gives every text a vector.
#[derive(Debug)]
pub struct Embedder {
    name: String,
    tokenizer: Tokenizer,
    model: Hidden,
    modules: Modules,
    max_length: usize,
}

/// How texts are embedded; by default as the model's files say.
#[derive(Clone, Debug, Default)]
pub struct EmbedOptions<'a> {
    /// Whether vectors are scaled to length 1.
    pub normalize: Option<bool>,
    /// Put before every text.
    pub prompt: Option<String>,
    /// The model's prompt of this name, put before every text.
    pub prompt_name: Option<String>,
    /// Tokens of a batch.
    pub batch_tokens: Option<usize>,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

/// The tokenizer of the model that is part of the program.
///
/// # Errors
/// When the program was built from damaged assets.
pub fn embedded_tokenizer() -> Result<Tokenizer> {
    Ok(Tokenizer::from_files(&default_model::tokenizer_files())?)
}

impl Embedder {
    /// The model that is part of the program, all-MiniLM-L6-v2.
    ///
    /// # Errors
    /// When the program was built from damaged assets.
    pub fn embedded() -> Result<Self> {
        let tokenizer = embedded_tokenizer()?;
        let config = EncoderConfig::from_bytes(default_model::CONFIG)?;
        let weights = Weights::from_bytes(default_model::WEIGHTS, default_model::NAME)?;
        let json = |bytes| serde_json::from_slice(bytes).map_err(|error| Error::Input(error.to_string()));
        let pooling = crate::pooling::Pooling::from_json(&json(default_model::POOLING)?).map_err(Error::Input)?;
        let mut modules = Modules { pooling, steps: vec![Step::Normalize], ..Modules::default() };
        modules.set_lengths(&json(default_model::SENTENCE_CONFIG)?);
        let model = Bodies::from_weights(config, &weights, &Device::flex(), None)?.model;
        Self::new(default_model::NAME.to_owned(), tokenizer, Hidden::of_encoder(model), modules)
    }

    /// Opens a sentence-transformers directory, or a plain model, whose token vectors are then averaged: those of the
    /// encoder, where there is a decoder too. A sentence-transformers directory over BART or mBART gives their decoder's,
    /// as that library computes them.
    ///
    /// # Errors
    /// When a file is missing, damaged, or doesn't fit the others.
    pub fn open(dir: &Path) -> Result<Self> {
        let modules = Modules::read(dir)?;
        let stack = if modules.listed { Stack::Decoder } else { Stack::Encoder };
        let model = Hidden::open(&modules.encoder, stack)?;
        let tokenizer = Tokenizer::from_dir(&modules.encoder)?;
        Self::new(dir.display().to_string(), tokenizer, model, modules)
    }

    fn new(name: String, tokenizer: Tokenizer, model: Hidden, modules: Modules) -> Result<Self> {
        model.check(&tokenizer)?;
        // without a length of its own the directory takes the tokenizer's, and nothing exceeds the positions
        let longest = modules.max_length.or(tokenizer.model_max_length()).unwrap_or(usize::MAX);
        let max_length = longest.min(model.limit.unwrap_or(usize::MAX));
        let this = Self { name, tokenizer, model, modules, max_length };
        let mut width = this.model.width * this.modules.pooling.ways.len();
        for step in &this.modules.steps {
            if let Step::Dense(dense) = step {
                let [inputs, outputs] = dense.widths();
                if inputs != width {
                    let problem = format!("a dense module reads {inputs} numbers, but gets {width}");
                    return Err(Error::Module { path: this.name.into(), problem });
                }
                width = outputs;
            }
        }
        Ok(this)
    }

    /// The model's name or directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        let pooled = self.model.width * self.modules.pooling.ways.len();
        self.modules.steps.iter().fold(pooled, |width, step| match step {
            Step::Dense(dense) => dense.widths()[1],
            Step::Normalize => width,
        })
    }

    /// Tokens of a text that are read; what follows is cut off, as sentence-transformers does.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The model's prompts, name and text.
    pub fn prompts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.modules.prompts.iter().map(|(name, prompt)| (name.as_str(), prompt.as_str()))
    }

    /// The parameters that count, each with its origin.
    ///
    /// # Errors
    /// When the model has no such prompt.
    pub fn effective(&self, options: &EmbedOptions<'_>) -> Result<Vec<Effective>> {
        let is_named = options.prompt.is_some() || options.prompt_name.is_some();
        let from_files = self.modules.default_prompt.is_some();
        let prompt = self.prompt(options)?.into();
        let from = |given: bool, stored: bool, file| match (given, stored) {
            (true, _) => Origin::Caller,
            (false, true) => Origin::File(file),
            (false, false) => Origin::Default,
        };
        let scales = self.modules.steps.iter().any(|step| matches!(step, Step::Normalize));
        let normalize = options.normalize.unwrap_or(scales).into();
        Ok(vec![
            Effective {
                name: "prompt",
                value: prompt,
                origin: from(is_named, from_files, "config_sentence_transformers.json"),
            },
            Effective {
                name: "normalize",
                value: normalize,
                origin: from(options.normalize.is_some(), scales, "modules.json"),
            },
        ])
    }

    fn prompt<'a>(&'a self, options: &'a EmbedOptions<'_>) -> Result<&'a str> {
        if let Some(prompt) = &options.prompt {
            return Ok(prompt);
        }
        let Some(name) = options.prompt_name.as_ref().or(self.modules.default_prompt.as_ref()) else { return Ok("") };
        let found = self.prompts().find(|(n, _)| n == name).map(|(_, prompt)| prompt);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.prompts().map(|(name, _)| name).collect();
            let known =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            Error::Option(format!("{} has no prompt {name:?}; {known}", self.name))
        })
    }

    /// A vector a text, in order. `progress` hears how many texts are done.
    ///
    /// # Errors
    /// When an option doesn't fit the model, a text has no token, the model gives NaN, or the caller asked to stop.
    pub fn embed(
        &self,
        texts: &[&str],
        options: &EmbedOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Vec<f32>>> {
        let prompt = self.prompt(options)?;
        self.check_prompt(prompt)?;
        let encode =
            EncodeOptions { truncation: Truncation::Longest { max: self.max_length }, ..EncodeOptions::default() };
        let prepared: Vec<String> = texts.iter().map(|text| self.prepare(prompt, text)).collect();
        let inputs: Vec<_> = prepared.iter().map(|text| ptm_text::Input::Text(text)).collect();
        let encodings = self.tokenizer.encode_batch(&inputs, &encode)?;
        if let Some(empty) = encodings.iter().position(|encoding| encoding.ids.is_empty()) {
            return Err(no_token(texts[empty]));
        }
        let cut = prepared.iter().zip(&encodings).filter(|(text, one)| is_cut(text, one, self.max_length)).count();
        if cut > 0 {
            let (all, most) = (texts.len(), self.max_length);
            tracing::warn!(
                "{cut} of {all} texts are longer than the {most} tokens that the model reads: their ends are cut off"
            );
        }
        let skip = self.prompt_tokens(prompt, &encode)?;
        let mut vectors = vec![Vec::new(); texts.len()];
        let mut done = 0;
        for batch in plan(&encodings, options.batch_tokens) {
            if options.stop.is_some_and(|stop| stop.load(Relaxed)) {
                return Err(Error::Stopped);
            }
            let members: Vec<&Encoding> = batch.iter().map(|&i| &encodings[i]).collect();
            for (&i, pooled) in batch.iter().zip(self.pooled(&members, skip)?) {
                vectors[i] = self.finish(pooled, options.normalize);
                if !vectors[i].iter().all(|x| x.is_finite()) {
                    return Err(Error::not_finite(&self.name, texts[i]));
                }
            }
            done += batch.len();
            progress(done);
        }
        Ok(vectors)
    }

    /// A prompt must leave something of the text.
    fn check_prompt(&self, prompt: &str) -> Result<()> {
        if prompt.is_empty() {
            return Ok(());
        }
        let (own, most) =
            (self.tokenizer.encode(&self.prepare(prompt, ""), &EncodeOptions::default())?.len(), self.max_length);
        if own < most {
            return Ok(());
        }
        Err(Error::Option(format!(
            "the prompt alone makes {own} tokens, but the model reads {most}, which leaves nothing of the text: give a \
             shorter prompt"
        )))
    }

    /// The text that is tokenised.
    fn prepare(&self, prompt: &str, text: &str) -> String {
        let text = format!("{prompt}{text}");
        if self.modules.lower_case { text.to_lowercase() } else { text }
    }

    /// How many rows at the beginning belong to a prompt that is left out of the pooling.
    fn prompt_tokens(&self, prompt: &str, encode: &EncodeOptions) -> Result<usize> {
        if prompt.is_empty() || self.modules.pooling.include_prompt {
            return Ok(0);
        }
        let encoding = self.tokenizer.encode(&self.prepare(prompt, ""), encode)?;
        // the final special token is not the prompt's
        let closing = encoding.special.last().copied().unwrap_or(false);
        Ok(encoding.ids.len() - usize::from(closing))
    }

    /// Pooled vectors of a batch.
    fn pooled(&self, encodings: &[&Encoding], skip: usize) -> Result<Vec<Vec<f32>>> {
        let (width, pooling) = (self.model.width, &self.modules.pooling);
        let batch = self.model.pack(encodings.iter().copied())?;
        let rows = if pooling.needs_first_only() { Rows::First } else { Rows::All };
        let hidden = self.model.states(&batch, &rows)?;
        if pooling.needs_first_only() {
            return Ok(hidden.chunks_exact(width).map(<[f32]>::to_vec).collect());
        }
        let pool = |w: &[usize]| {
            let rows = &hidden[w[0] * width..w[1] * width];
            // a text cut within its prompt still has a vector: that of its last token
            pooling.pool(rows, width, skip.min(w[1] - w[0] - 1))
        };
        Ok(batch.offsets.windows(2).map(pool).collect())
    }

    fn finish(&self, mut vector: Vec<f32>, normalize: Option<bool>) -> Vec<f32> {
        for step in &self.modules.steps {
            match step {
                Step::Dense(dense) => vector = dense.apply(&vector),
                Step::Normalize if normalize == Some(false) => {}
                Step::Normalize => scale_to_one(&mut vector),
            }
        }
        if normalize == Some(true) {
            scale_to_one(&mut vector);
        }
        vector
    }
}

/// Divides by the Euclidean length, which counts as 1e-12 where it is less.
fn scale_to_one(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt().max(1e-12);
    for x in vector {
        *x = (f64::from(*x) / length) as f32;
    }
}
