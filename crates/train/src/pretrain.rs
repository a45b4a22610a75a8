//! Pretraining: a model learns from packed text by its family's objective, from fresh weights or from those of a
//! directory. From a recipe comes an objective for the loop, which is that of fine-tuning.

mod beforehand;
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
mod text_tasks;
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
use crate::objectives::mixture::TEXT;
use plan::{Item, Plan, micro_batches};
use recipe::Micro;
use task::{Answers, Pretraining, Turn};
use text_tasks::TextTasks;
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
    /// The most tokens that the model reads.
    longest: usize,
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

    /// What `model` makes of held-out items in so many rounds, unless `stop` says to give up.
    fn judged(
        &self,
        plan: &Plan<T>,
        model: &T::Model,
        items: &[Item],
        rounds: u64,
        unigram: &Unigram,
        stop: &dyn Fn() -> bool,
    ) -> Result<Judged> {
        // items that are corrupted at once: what they become is large
        const AT_ONCE: usize = 256;
        let task = &plan.task;
        let mut judged = Judged::of(task.parts().len());
        for some in items.chunks(AT_ONCE) {
            let batches = micro_batches(some.iter().cloned(), Micro::Tokens(self.judged_tokens));
            let mut made = Vec::new();
            for round in 0..rounds {
                made.extend(plan.make(batches.clone(), 0, Turn::Judged(round))?);
            }
            for batch in made {
                if stop() {
                    return Err(Error::Stopped);
                }
                let found = task.answers(model, &batch)?;
                judged.add(found, &task.weights(&batch), unigram.loss(task.targets(&batch)));
            }
        }
        Ok(judged)
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

    fn steps_of_epoch(&self, stop: &dyn Fn() -> bool) -> Result<u64> {
        self.train.steps_of_epoch(stop)
    }

    fn fingerprint(&self) -> u64 {
        self.train.mixture.fingerprint() ^ self.train.task.fingerprint()
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
        let Some(plan) = &self.validation else { return Ok(None) };
        let (parts, model) = (plan.task.parts(), model.valid());
        let windows: Vec<Item> = plan.sample(self.judged, usize::MAX)?.into_iter().map(Item::from).collect();
        let text = self.judged(plan, &model, &windows, plan.task.rounds(), self.unigram()?, stop)?;
        let Some(tasks) = plan.task.tasks() else { return Ok(Some(text.judgement(parts))) };
        let mut all = vec![(TEXT, tasks.text_rate(), text)];
        for (name, rate, rows, unigram) in tasks.judged(self.judged) {
            let rows: Vec<Item> = rows.into_iter().map(Item::Row).collect();
            all.push((name, rate, self.judged(plan, &model, &rows, 1, unigram, stop)?));
        }
        Ok(Some(of_tasks(&all)))
    }

    fn names(&self, model: &T::Model) -> Names {
        self.train.task.names(model)
    }

    fn open(&self, dir: &Path) -> Result<T::Model> {
        self.train.task.open(dir, None)
    }

    fn save(&self, model: &T::Model, dir: &Path) -> Result<()> {
        self.train.task.save(model, dir)?;
        copy_tokenizer(&self.tokenizer, dir, self.longest)
    }
}

/// What the unigram baseline loses.
const BASELINE: &str = "unigram_loss";

/// Sums over all targets of what was judged.
struct Judged {
    sums: Answers,
    weights: Vec<f64>,
    baseline: f64,
}

impl Judged {
    fn of(parts: usize) -> Self {
        let sums = Answers { losses: vec![0.0; parts], right: vec![0; parts] };
        Self { sums, weights: vec![0.0; parts], baseline: 0.0 }
    }

    fn add(&mut self, found: Answers, weights: &[f64], baseline: f64) {
        self.sums.losses.iter_mut().zip(found.losses).for_each(|(sum, loss)| *sum += loss);
        self.sums.right.iter_mut().zip(found.right).for_each(|(sum, right)| *sum += right);
        self.weights.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
        self.baseline += baseline;
    }

    fn mean(&self, sum: f64, part: usize) -> f64 {
        sum / self.weights[part].max(1.0)
    }

    fn loss(&self, part: usize) -> f64 {
        self.mean(self.sums.losses[part], part)
    }

    fn accuracy(&self, part: usize) -> f64 {
        self.mean(self.sums.right[part] as f64, part)
    }

    /// What the baseline loses, of the first part.
    fn unigram(&self) -> f64 {
        self.mean(self.baseline, 0)
    }

    /// Metrics: the loss and, of losses with several parts, each; then what the first part, of predicted tokens, means.
    fn judgement(&self, parts: &[&str]) -> Judgement {
        let losses: Vec<f64> = (0..parts.len()).map(|part| self.loss(part)).collect();
        let mut metrics = vec![("loss".to_owned(), losses.iter().sum())];
        if let [_, _, ..] = parts {
            metrics.extend(parts.iter().zip(&losses).map(|(part, loss)| (format!("{part}_loss"), *loss)));
            let accuracy = |(part, name): (usize, &&str)| (format!("{name}_accuracy"), self.accuracy(part));
            metrics.extend(parts.iter().enumerate().map(accuracy));
        } else {
            metrics.push(("perplexity".to_owned(), losses[0].exp()));
            metrics.push(("accuracy".to_owned(), self.accuracy(0)));
        }
        metrics.push((BASELINE.to_owned(), self.unigram()));
        Judgement { metrics }
    }
}

/// Metrics of a mixture, of each task by its name; the loss and the baseline of all are means by the tasks' rates.
fn of_tasks(tasks: &[(&str, f64, Judged)]) -> Judgement {
    let rates: f64 = tasks.iter().map(|(_, rate, _)| rate).sum();
    let mean = |of: fn(&Judged) -> f64| tasks.iter().map(|(_, rate, judged)| rate * of(judged)).sum::<f64>() / rates;
    let mut metrics = vec![("loss".to_owned(), mean(|judged| judged.loss(0)))];
    metrics.extend(tasks.iter().map(|(name, _, judged)| (format!("{name}_loss"), judged.loss(0))));
    metrics.extend(tasks.iter().map(|(name, _, judged)| (format!("{name}_accuracy"), judged.accuracy(0))));
    metrics.extend(tasks.iter().map(|(name, _, judged)| (format!("{name}_{BASELINE}"), judged.unigram())));
    metrics.push((BASELINE.to_owned(), mean(Judged::unigram)));
    Judgement { metrics }
}

/// The names of the metrics of which the best model can be chosen; `tasks` are those of a mixture.
fn metrics(parts: &[&str], tasks: Option<&TextTasks>) -> Vec<String> {
    let none = || Judged::of(parts.len());
    let all = match tasks {
        None => none().judgement(parts),
        Some(tasks) => {
            let names = [TEXT].into_iter().chain(tasks.judged_names());
            of_tasks(&names.map(|name| (name, 1.0, none())).collect::<Vec<_>>())
        }
    };
    all.metrics.into_iter().map(|(name, _)| name).filter(|name| !name.ends_with(BASELINE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_means_over_targets() {
        let judged = |losses: &[f64], right: &[u64], weights: &[f64], baseline: f64| {
            let mut judged = Judged::of(losses.len());
            judged.add(Answers { losses: losses.to_vec(), right: right.to_vec() }, weights, baseline);
            judged
        };
        let one = judged(&[8.0], &[1], &[4.0], 12.0);
        let judged_one = one.judgement(&["loss"]);
        let names: Vec<&str> = judged_one.metrics.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["loss", "perplexity", "accuracy", "unigram_loss"]);
        let values: Vec<f64> = judged_one.metrics.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [2.0, 2.0_f64.exp(), 0.25, 3.0]);
        let two = judged(&[8.0, 5.0], &[1, 9], &[4.0, 10.0], 12.0).judgement(&["generator", "discriminator"]);
        assert_eq!((two.get("loss"), two.get("discriminator_accuracy")), (Some(2.5), Some(0.9)));
        assert_eq!((two.get("generator_loss"), two.get("unigram_loss")), (Some(2.0), Some(3.0)));
        // of 2 and 5 three quarters and one
        let mixed = of_tasks(&[("text", 0.3, one), ("a", 0.1, judged(&[10.0], &[2], &[2.0], 14.0))]);
        assert_eq!(
            (mixed.get("text_loss"), mixed.get("a_loss"), mixed.get("a_accuracy")),
            (Some(2.0), Some(5.0), Some(1.0))
        );
        assert!((mixed.get("loss").unwrap() - 2.75).abs() < 1e-12);
        assert!((mixed.get("unigram_loss").unwrap() - 4.0).abs() < 1e-12);
    }
}
