//! Fine-tuning: a model of a directory learns a task from labelled rows. From a recipe comes an objective for the loop.

mod batch;
mod begin;
mod judge;
mod learner;
mod limits;
mod losses;
mod plan;
mod questions;
mod reading;
mod source_prefix;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::prelude::*;
use ptm_models::heads::Head;
use ptm_models::names::Names;
use ptm_models::{Model, Pass};
use ptm_text::dataset::{Example, Labels};
use serde_json::{Map, Value};

pub use batch::{Batch, Gold, Item, Part, Sequence};
pub use begin::{finetune, pursue};
pub use learner::{Answer, Answers, Learner, Reads, Settings};
pub use limits::Limits;
pub use losses::{Balanced, ClassWeights, Loss, LossConfig};
pub use plan::Plan;
pub use questions::{Offer, Window};
pub use reading::{Reading, Starts};

use crate::error::{Error, Result};
use crate::feed::{Cursor, Feed};
use crate::objective::{Judgement, Objective};
use crate::recipe::Task;

/// What is learnt from labelled rows by a model with a head `H` on a body `B`.
struct Finetuning<H, B, E> {
    task: Task,
    settings: Settings,
    labels: Option<std::sync::Arc<Labels>>,
    train: Plan<E>,
    validation: Option<Plan<E>>,
    /// The directory that the run began with: its tokenizer's files are part of every model that is saved.
    source: PathBuf,
    model: std::marker::PhantomData<fn() -> (H, B)>,
}

impl<H: Head<B>, B: Reads, E: Example> Objective for Finetuning<H, B, E>
where
    Model<H, B>: Learner,
{
    type Model = Model<H, B>;
    type Batch = Batch;

    fn parts(&self) -> &'static [&'static str] {
        &["loss"]
    }

    fn feed(&self, cursor: Cursor) -> Feed<Batch> {
        self.train.begin(cursor)
    }

    fn steps_of_epoch(&self, stop: &dyn Fn() -> bool) -> Result<u64> {
        self.train.steps_of_epoch(stop)
    }

    fn fingerprint(&self) -> u64 {
        // what is judged decides what is best and when to stop
        let judged = self.validation.as_ref().map(|plan| plan.data.fingerprint());
        self.train.data.fingerprint() ^ judged.map_or(0, |other| other.rotate_left(1).wrapping_add(1))
    }

    fn data(&self) -> Vec<(String, String)> {
        let parts = [("Training", Some(&self.train)), ("Validation", self.validation.as_ref())];
        let facts = parts.into_iter().filter_map(|(name, plan)| {
            let data = &plan?.data;
            Some((name.to_owned(), format!("{} rows of {}", data.len(), data.files().join(", "))))
        });
        facts.collect()
    }

    fn tokens(&self, batch: &Batch) -> usize {
        batch.tokens()
    }

    fn weights(&self, batch: &Batch) -> Vec<f64> {
        vec![learner::weight(batch, &self.settings)]
    }

    fn losses(&self, model: &Self::Model, batch: &Batch, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>> {
        Ok(vec![model.loss(batch, &self.settings, scales[0], pass)?])
    }

    fn judge(&self, model: &Self::Model, stop: &dyn Fn() -> bool) -> Result<Option<Judgement>> {
        let Some(plan) = &self.validation else { return Ok(None) };
        let model = model.valid();
        let (mut answers, mut loss, mut weight) = (Vec::new(), 0.0, 0.0);
        plan.once(|batch| {
            if stop() {
                return Err(Error::Stopped);
            }
            weight += learner::weight(&batch, &self.settings);
            let found = model.answers(&batch, &self.settings)?;
            loss += found.loss;
            answers.extend(found.answers);
            Ok(())
        })?;
        Ok(Some(judge::judge(self.task, &answers, loss / weight.max(f64::MIN_POSITIVE), self.labels.as_deref())))
    }

    fn judge_largest(&self, model: &Self::Model) -> Result<()> {
        let largest = self.validation.as_ref().map(Plan::largest).transpose()?.flatten();
        if let Some(batch) = largest {
            model.valid().answers(&batch, &self.settings)?;
        }
        Ok(())
    }

    fn names(&self, model: &Self::Model) -> Names {
        model.names()
    }

    fn open(&self, dir: &Path) -> Result<Self::Model> {
        Ok(Model::open(dir, &Device::flex().autodiff())?.model)
    }

    fn save(&self, model: &Self::Model, dir: &Path) -> Result<()> {
        model.save(dir)?;
        copy_tokenizer(&self.source, dir, usize::MAX)
    }
}

/// The files of a tokenizer, whatever its kind.
const TOKENIZER_FILES: [&str; 15] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "sentencepiece.model",
    "tokenizer.model",
    "source.spm",
    "target.spm",
    "generation_config.json",
];

/// The file that says how long texts may be.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Copies the files of the tokenizer that a model goes with, which reads at most `longest` tokens.
pub(crate) fn copy_tokenizer(from: &Path, to: &Path, longest: usize) -> Result<()> {
    for name in TOKENIZER_FILES {
        let source = from.join(name);
        if source.is_file() {
            let failed = |error| Error::File { action: "read", path: source.clone(), source: error };
            let mut bytes = std::fs::read(&source).map_err(failed)?;
            if name == TOKENIZER_CONFIG
                && let Some(mended) = promised(&bytes, longest)
            {
                bytes = mended;
            }
            ptm_models::files::write_atomic(&to.join(name), &bytes)?;
        }
    }
    Ok(())
}

/// A tokenizer's configuration that promises texts of at most `longest` tokens, where `config` promises longer ones: a
/// family's usual length may be more than a small model's.
fn promised(config: &[u8], longest: usize) -> Option<Vec<u8>> {
    let mut config = serde_json::from_slice::<Map<String, Value>>(config).ok().filter(|_| longest < usize::MAX)?;
    let promised = config.get_mut("model_max_length")?;
    if promised.as_f64()? <= longest as f64 {
        return None;
    }
    *promised = longest.into();
    let mut text = serde_json::to_vec_pretty(&config).ok()?;
    text.push(b'\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokenizers_promise_no_longer_texts_than_the_model_reads() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = to.path().join(TOKENIZER_CONFIG);
        copy_tokenizer(from.path(), to.path(), 64).unwrap();
        assert!(!path.exists(), "there is none to mend");
        for (promised, longest, kept) in
            [("512", 64, 64.0), ("1e30", 64, 64.0), ("48", 64, 48.0), ("1e30", usize::MAX, 1e30)]
        {
            let text = format!("{{\"b\":1,\"model_max_length\":{promised},\"a\":2}}");
            std::fs::write(from.path().join(TOKENIZER_CONFIG), text).unwrap();
            copy_tokenizer(from.path(), to.path(), longest).unwrap();
            let config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(config["model_max_length"].as_f64(), Some(kept));
            assert_eq!((&config["a"], &config["b"]), (&2.into(), &1.into()));
        }
    }
}
