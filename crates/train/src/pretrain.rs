//! Pretraining: a model learns from packed text by its family's objective, from fresh weights or from those of a
//! directory. From a recipe comes an objective for the loop, which is that of fine-tuning.

mod begin;
mod causal;
mod continual;
mod cutting;
mod detection;
mod made;
mod masked;
mod pairs;
mod permutation;
mod plan;
pub mod recipe;
mod sentence_pairs;
mod spans;
mod task;
mod unigram;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::module::Module;
use burn::prelude::*;
use ptm_models::Pass;
use ptm_models::names::Names;

pub use begin::{Sources, check, pretrain};
pub use recipe::Recipe;

use crate::error::{Error, Result};
use crate::feed::{Cursor, Feed};
use crate::finetune::copy_tokenizer;
use crate::objective::{Judgement, Objective};
use plan::{Plan, micro_batches};
use recipe::Micro;
use task::{Answers, Pretraining, Turn};
use unigram::Unigram;

/// What is learnt from text, as the loop sees it.
struct Pretrained<T: Pretraining> {
    train: Plan<T>,
    validation: Option<Plan<T>>,
    /// Examples that are judged at most, and tokens of text of their batches.
    judged: usize,
    judged_tokens: usize,
    /// Ids that targets can have.
    vocabulary: usize,
    /// The directory of the tokenizer, whose files are part of every model that is saved.
    tokenizer: PathBuf,
    unigram: OnceLock<Unigram>,
}

impl<T: Pretraining> Pretrained<T> {
    /// How often each token is a target, counted once.
    fn unigram(&self) -> Result<&Unigram> {
        if let Some(known) = self.unigram.get() {
            return Ok(known);
        }
        let counted = Unigram::count(&self.train, self.vocabulary)?;
        Ok(self.unigram.get_or_init(|| counted))
    }
}

impl<T: Pretraining> Objective for Pretrained<T> {
    type Model = T::Model;
    type Batch = T::Batch;

    fn parts(&self) -> &[&'static str] {
        self.train.task.parts()
    }

    fn feed(&self, cursor: Cursor) -> Feed<T::Batch> {
        self.train.begin(cursor)
    }

    fn steps_of_epoch(&self, _: &dyn Fn() -> bool) -> Result<u64> {
        self.train.steps_of_epoch()
    }

    fn fingerprint(&self) -> u64 {
        self.train.mixture.fingerprint()
    }

    fn tokens(&self, batch: &T::Batch) -> usize {
        self.train.task.tokens(batch)
    }

    fn weights(&self, batch: &T::Batch) -> Vec<f64> {
        self.train.task.weights(batch)
    }

    fn losses(&self, model: &T::Model, batch: &T::Batch, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>> {
        self.train.task.losses(model, batch, scales, pass)
    }

    fn judge(&self, model: &T::Model, stop: &dyn Fn() -> bool) -> Result<Option<Judgement>> {
        // windows that are corrupted at once: what they become is large
        const AT_ONCE: usize = 256;
        let Some(plan) = &self.validation else { return Ok(None) };
        let (task, model) = (&plan.task, model.valid());
        let parts = task.parts().len();
        let mut sums = Answers { losses: vec![0.0; parts], right: vec![0; parts] };
        let (mut weights, mut baseline) = (vec![0.0; parts], 0.0);
        let unigram = self.unigram()?;
        for some in plan.sample(self.judged, usize::MAX)?.chunks(AT_ONCE) {
            let batches = micro_batches(some.to_vec(), Micro::Tokens(self.judged_tokens));
            let mut made = Vec::new();
            for round in 0..task.rounds() {
                made.extend(plan.make(batches.clone(), 0, Turn::Judged(round))?);
            }
            for batch in made {
                if stop() {
                    return Err(Error::Stopped);
                }
                let found = task.answers(&model, &batch)?;
                sums.losses.iter_mut().zip(found.losses).for_each(|(sum, loss)| *sum += loss);
                sums.right.iter_mut().zip(found.right).for_each(|(sum, right)| *sum += right);
                weights.iter_mut().zip(task.weights(&batch)).for_each(|(sum, weight)| *sum += weight);
                baseline += unigram.loss(task.targets(&batch));
            }
        }
        Ok(Some(judgement(task.parts(), &sums, &weights, baseline)))
    }

    fn names(&self, model: &T::Model) -> Names {
        self.train.task.names(model)
    }

    fn open(&self, dir: &Path) -> Result<T::Model> {
        self.train.task.open(dir, None)
    }

    fn save(&self, model: &T::Model, dir: &Path) -> Result<()> {
        self.train.task.save(model, dir)?;
        copy_tokenizer(&self.tokenizer, dir)
    }
}

/// What the unigram baseline loses.
const BASELINE: &str = "unigram_loss";

/// Metrics of sums over all targets: the loss and, of losses with several parts, each; then what the first part, of
/// predicted tokens, means.
fn judgement(parts: &[&str], sums: &Answers, weights: &[f64], baseline: f64) -> Judgement {
    let mean = |sum: f64, part: usize| sum / weights[part].max(1.0);
    let losses: Vec<f64> = sums.losses.iter().enumerate().map(|(part, sum)| mean(*sum, part)).collect();
    let mut metrics = vec![("loss".to_owned(), losses.iter().sum())];
    if let [_, _, ..] = parts {
        metrics.extend(parts.iter().zip(&losses).map(|(part, loss)| (format!("{part}_loss"), *loss)));
        let right = parts.iter().zip(&sums.right).enumerate();
        metrics.extend(right.map(|(part, (name, right))| (format!("{name}_accuracy"), mean(*right as f64, part))));
    } else {
        metrics.push(("perplexity".to_owned(), losses[0].exp()));
        metrics.push(("accuracy".to_owned(), mean(sums.right[0] as f64, 0)));
    }
    metrics.push((BASELINE.to_owned(), mean(baseline, 0)));
    Judgement { metrics }
}

/// The names of the metrics of which the best model can be chosen.
fn metrics(parts: &[&str]) -> Vec<String> {
    let none = Answers { losses: vec![0.0; parts.len()], right: vec![0; parts.len()] };
    let all = judgement(parts, &none, &vec![1.0; parts.len()], 0.0).metrics;
    all.into_iter().map(|(name, _)| name).filter(|name| name != BASELINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_means_over_targets() {
        let sums = Answers { losses: vec![8.0], right: vec![1] };
        let judged = judgement(&["loss"], &sums, &[4.0], 12.0);
        let names: Vec<&str> = judged.metrics.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["loss", "perplexity", "accuracy", "unigram_loss"]);
        let values: Vec<f64> = judged.metrics.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [2.0, 2.0_f64.exp(), 0.25, 3.0]);
        let two = Answers { losses: vec![8.0, 5.0], right: vec![1, 9] };
        let judged = judgement(&["generator", "discriminator"], &two, &[4.0, 10.0], 12.0);
        assert_eq!((judged.get("loss"), judged.get("discriminator_accuracy")), (Some(2.5), Some(0.9)));
        assert_eq!((judged.get("generator_loss"), judged.get("unigram_loss")), (Some(2.0), Some(3.0)));
    }
}
