//! Masked words: the likeliest tokens in the place of every mask.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use burn::prelude::*;
use ptm_kernels::softmax::softmax;
use ptm_models::files::Weights;
use ptm_models::heads::LanguageModelHead;
use ptm_models::{Bart, Configuration as _, EncoderConfig, Family, Kind, MaskedLm, Model, Pass, Rows};
use ptm_text::{EncodeOptions, Encoding, Packed, PositionStyle, Special, Tokenizer, Truncation};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::batch::{check_vocabulary, pack, plan};
use crate::cut::warn_of_rest;
use crate::default_filler;
use crate::embed::embedded_tokenizer;
use crate::error::{Error, Result};
use crate::generation::Origin;
use crate::generation::layers::json_file;
use crate::parameters::{Chooser, Effective};
use crate::reads::Reads as _;
use crate::task::Task;

/// A masked language model with its tokenizer.
#[derive(Debug)]
pub struct FillMask {
    name: String,
    tokenizer: Tokenizer,
    model: Filler,
    mask: Special,
    /// `config.json`.
    config: Map<String, Value>,
}

/// A model that fills masks.
#[derive(Debug)]
enum Filler {
    Encoder(Box<MaskedLm>),
    /// BART and mBART, whose decoder reads the text moved right, and says it whole.
    Pair(Box<Model<LanguageModelHead, Bart>>),
}

impl Filler {
    fn open(dir: &Path, family: Family) -> Result<Self> {
        let device = Device::flex();
        let is_pair = family.kind() == Kind::Bart && family != Family::Marian;
        Task::FillMask.check(dir, family, if is_pair { "language-model" } else { "masked-lm" })?;
        Ok(if is_pair {
            Self::Pair(Box::new(Model::open(dir, &device)?.model))
        } else {
            Self::Encoder(Box::new(MaskedLm::open(dir, &device)?.model))
        })
    }

    /// Rows of its output.
    fn vocabulary(&self) -> usize {
        match self {
            Self::Encoder(model) => model.config().vocab_size,
            Self::Pair(model) => model.config().output_size(),
        }
    }

    /// How many tokens it reads.
    fn longest(&self) -> usize {
        match self {
            Self::Encoder(model) => model.config().max_length(),
            Self::Pair(model) => model.config().max_positions,
        }
    }

    fn positions(&self) -> PositionStyle {
        match self {
            Self::Encoder(model) => model.config().positions(),
            Self::Pair(model) => model.config().positions(),
        }
    }

    /// `[R, V]` for the `rows` of the masks.
    fn logits(&self, batch: &Packed, rows: &Rows) -> Result<Tensor<2>> {
        Ok(match self {
            Self::Encoder(model) => model.logits(&batch.into(), rows, &Pass::eval())?,
            Self::Pair(model) => Bart::read(model.config(), batch, |pair| model.logits(pair, rows, &Pass::eval()))?,
        })
    }
}

/// How masks are filled.
#[derive(Clone, Debug, Default)]
pub struct FillMaskOptions<'a> {
    /// How many guesses a mask gets; as the model's configuration says for the task, else 5.
    pub top_k: Option<usize>,
    /// Only these words are guessed; a word that isn't a token stands for its first token. Scores stay those of the
    /// whole vocabulary.
    pub targets: Option<Vec<String>>,
    /// Tokens of a batch.
    pub batch_tokens: Option<usize>,
    /// Cut texts that are longer than the model reads; otherwise they are an error.
    pub truncate: bool,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

/// A token in the place of a mask.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guess {
    /// Its probability.
    pub score: f32,
    /// Its id.
    pub token: u32,
    /// Its text.
    pub token_str: String,
    /// The input with the mask filled; with several masks the others stay, and special tokens are shown.
    pub sequence: String,
}

/// The guesses for a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Filled {
    /// Of its only mask.
    One(Vec<Guess>),
    /// Of each mask in turn.
    Several(Vec<Vec<Guess>>),
}

impl Filled {
    /// The guesses of all masks.
    pub fn guesses(&self) -> impl Iterator<Item = &Guess> {
        match self {
            Self::One(guesses) => std::slice::from_ref(guesses),
            Self::Several(lists) => lists,
        }
        .iter()
        .flatten()
    }
}

impl FillMask {
    /// The model that is part of the program, of English text.
    ///
    /// # Errors
    /// When the program was built from damaged assets.
    pub fn embedded() -> Result<Self> {
        let name = default_filler::NAME.to_owned();
        let config = EncoderConfig::from_bytes(default_filler::CONFIG)?;
        let weights = Weights::from_bytes(default_filler::WEIGHTS, &name)?;
        let model = MaskedLm::from_weights(config, &weights, &Device::flex(), None)?.model;
        let config = serde_json::from_slice(default_filler::CONFIG);
        let config = config.map_err(|error| Error::Input(format!("{name}: config.json: {error}")))?;
        Self::new(name, embedded_tokenizer()?, Filler::Encoder(Box::new(model)), config)
    }

    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the tokenizer has no mask.
    pub fn open(dir: &Path) -> Result<Self> {
        let model = Filler::open(dir, Family::of_dir(dir)?)?;
        let config = json_file(dir, "config.json")?.unwrap_or_default();
        Self::new(dir.display().to_string(), Tokenizer::from_dir(dir)?, model, config)
    }

    fn new(name: String, tokenizer: Tokenizer, model: Filler, config: Map<String, Value>) -> Result<Self> {
        check_vocabulary(&tokenizer, model.vocabulary())?;
        let mask = tokenizer.special().mask.clone();
        let mask = mask.ok_or_else(|| Error::Input(format!("{name}: the tokenizer does not define a mask_token")))?;
        Ok(Self { name, tokenizer, model, mask, config })
    }

    /// What the model goes by: its directory, or the name of the one that is part of the program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many tokens of a text it reads.
    pub fn max_length(&self) -> usize {
        self.tokenizer.model_max_length().unwrap_or(usize::MAX).min(self.model.longest())
    }

    /// How the mask is written, `[MASK]` or `<mask>`.
    pub fn mask_token(&self) -> &str {
        &self.mask.text
    }

    /// The parameters that count, each with its origin.
    ///
    /// # Errors
    /// When a value of the model's configuration is impossible.
    pub fn effective(&self, options: &FillMaskOptions<'_>) -> Result<Vec<Effective>> {
        Ok(self.settle(options)?.1)
    }

    /// How many guesses, and which words.
    fn settle(&self, options: &FillMaskOptions<'_>) -> Result<((usize, Option<Vec<String>>), Vec<Effective>)> {
        let mut chooser = Chooser::new(Task::FillMask, &self.config);
        let top_k = chooser.choose("top_k", options.top_k, || 5)?;
        let targets = chooser.choose("targets", options.targets.clone().map(Some), || None)?;
        let from = if options.truncate { Origin::Caller } else { Origin::Default };
        chooser.note("truncation", &options.truncate, from);
        Ok(((top_k, targets), chooser.chosen))
    }

    /// Guesses for the masks of every text, in order. `progress` hears how many texts are done.
    ///
    /// # Errors
    /// When a text has no mask or is too long, an option doesn't fit, the model gives NaN, or the caller asked to stop.
    pub fn fill(
        &self,
        texts: &[&str],
        options: &FillMaskOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Filled>> {
        let longest = self.max_length();
        let truncation = if options.truncate { Truncation::Longest { max: longest } } else { Truncation::None };
        let encode = EncodeOptions { truncation, ..EncodeOptions::default() };
        let inputs: Vec<_> = texts.iter().map(|text| ptm_text::Input::Text(text)).collect();
        let encodings = self.tokenizer.encode_batch(&inputs, &encode)?;
        if options.truncate {
            texts.iter().zip(&encodings).for_each(|(text, encoding)| warn_of_rest(&[text], encoding, longest));
        }
        let ((top_k, targets), _) = self.settle(options)?;
        let targets = targets.as_ref().map(|words| self.target_ids(words)).transpose()?;
        let vocab = self.model.vocabulary();
        let candidates = targets.as_ref().map_or(vocab, Vec::len);
        let top_k = if targets.is_some() { top_k.min(candidates) } else { top_k };
        if top_k > candidates {
            return Err(Error::Option(format!("top_k is {top_k}, but the model knows only {candidates} tokens")));
        }
        for (text, encoding) in texts.iter().zip(&encodings) {
            if !encoding.ids.contains(&self.mask.id) {
                let shown: String = text.chars().take(60).collect();
                return Err(Error::Input(format!(
                    "No mask_token ({}) found on the input {shown:?}: put it where a word is to be found",
                    self.mask.text
                )));
            }
            if encoding.ids.len() > longest {
                let length = encoding.ids.len();
                let problem =
                    format!("a text has {length} tokens, but the model reads {longest}; shorten it or truncate");
                return Err(Error::Input(problem));
            }
        }
        let mut filled: Vec<Option<Filled>> = vec![None; texts.len()];
        let mut done = 0;
        let masks = |&i: &usize| encodings[i].ids.iter().filter(|&&id| id == self.mask.id).count();
        let divided = |batch: Vec<usize>| {
            let masks: Vec<usize> = batch.iter().map(masks).collect();
            let parts = Packed::batches_by_tokens(&masks, SCORES / vocab.max(1)).into_iter();
            parts.map(move |part| part.into_iter().map(|at| batch[at]).collect::<Vec<_>>())
        };
        for batch in plan(&encodings, options.batch_tokens).into_iter().flat_map(divided) {
            if options.stop.is_some_and(|stop| stop.load(Relaxed)) {
                return Err(Error::Stopped);
            }
            let members: Vec<&Encoding> = batch.iter().map(|&i| &encodings[i]).collect();
            let packed = pack(members.iter().copied(), self.model.positions())?;
            let rows: Vec<u32> =
                (0..packed.ids.len() as u32).filter(|&row| packed.ids[row as usize] == self.mask.id).collect();
            let logits = self.model.logits(&packed, &Rows::Chosen(rows.into()))?;
            let probabilities = softmax(&ptm_ops::read_f32(logits), vocab);
            let mut rows = probabilities.chunks_exact(vocab);
            for (&i, encoding) in batch.iter().zip(&members) {
                let answer = self.answer(encoding, &mut rows, targets.as_deref(), top_k);
                if !answer.guesses().all(|guess| guess.score.is_finite()) {
                    return Err(Error::not_finite(&self.name, texts[i]));
                }
                filled[i] = Some(answer);
            }
            done += batch.len();
            progress(done);
        }
        Ok(filled.into_iter().flatten().collect())
    }

    fn answer<'a>(
        &self,
        encoding: &Encoding,
        rows: &mut impl Iterator<Item = &'a [f32]>,
        targets: Option<&[u32]>,
        top_k: usize,
    ) -> Filled {
        let masks: Vec<usize> = (0..encoding.ids.len()).filter(|&i| encoding.ids[i] == self.mask.id).collect();
        let single = masks.len() == 1;
        let pad = self.tokenizer.special().pad.as_ref().map(|pad| pad.id);
        let mut answers: Vec<Vec<Guess>> = Vec::with_capacity(masks.len());
        for (&place, row) in masks.iter().zip(rows) {
            let guess = |(token, score): (u32, f32)| {
                let mut ids = encoding.ids.clone();
                ids[place] = token;
                ids.retain(|&id| Some(id) != pad);
                let token_str = self.tokenizer.decode(&[token], false);
                Guess { score, token, token_str, sequence: self.tokenizer.decode(&ids, single) }
            };
            answers.push(best(row, targets, top_k).into_iter().map(guess).collect());
        }
        match answers.pop() {
            Some(only) if single => Filled::One(only),
            last => {
                answers.extend(last);
                Filled::Several(answers)
            }
        }
    }

    /// The ids that `words` stand for, each once.
    fn target_ids(&self, words: &[String]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let plain = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
        for word in words {
            let id = match self.tokenizer.id(word) {
                Some(id) => id,
                None => {
                    let Some(&first) = self.tokenizer.encode(word, &plain)?.ids.first() else {
                        tracing::warn!("the target {word:?} has no token; it is left out");
                        continue;
                    };
                    let token = self.tokenizer.token(first).unwrap_or_default();
                    tracing::warn!("the target {word:?} is no token of the model; {token:?} stands for it");
                    first
                }
            };
            ids.push(id);
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Err(Error::Option("At least one target must be provided when passed.".into()));
        }
        Ok(ids)
    }
}

/// So many scores of all tokens are held at once (256 MiB), where a single text has no more.
const SCORES: usize = 1 << 26;

/// The `k` likeliest ids with their probabilities, the likeliest first, lower ids first among equals.
fn best(row: &[f32], targets: Option<&[u32]>, k: usize) -> Vec<(u32, f32)> {
    let mut all: Vec<(u32, f32)> = match targets {
        Some(ids) => ids.iter().map(|&id| (id, row[id as usize])).collect(),
        None => row.iter().enumerate().map(|(id, &p)| (id as u32, p)).collect(),
    };
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if k == 0 {
        return Vec::new();
    }
    if k < all.len() {
        all.select_nth_unstable_by(k - 1, order);
        all.truncate(k);
    }
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_in_order() {
        let row = [0.1, 0.4, 0.05, 0.4, 0.05];
        assert_eq!(best(&row, None, 3), [(1, 0.4), (3, 0.4), (0, 0.1)]);
        assert_eq!(best(&row, Some(&[0, 2]), 2), [(0, 0.1), (2, 0.05)]);
        assert_eq!(best(&row, None, 5).len(), 5);
    }
}
