//! How well texts answer a query, by a model that reads both together (a cross-encoder, Nogueira and Cho 2019). By
//! vectors of each alone: `similarity.rs`.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ptm_text::Input;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::generation::Origin;
use crate::headed::Batches;
use crate::parameters::{Chooser, Effective};
use crate::similarity::Ranked;
use crate::task::Task;
use crate::text_classification::{Function, TextClassification};

/// A classifier with one label, which says how well a text answers a query.
#[derive(Debug)]
pub struct Reranker {
    classifier: TextClassification,
}

/// How texts are ranked.
#[derive(Clone, Debug, Default)]
pub struct RerankOptions<'a> {
    /// What makes scores of logits; by default what the model's files name, else the sigmoid.
    pub function_to_apply: Option<Function>,
    /// Tokens of a batch.
    pub batch_tokens: Option<usize>,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

impl Reranker {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, the model is of another task, or has several labels.
    pub fn open(dir: &Path) -> Result<Self> {
        let classifier = TextClassification::open_for(dir, Task::Reranking)?;
        match classifier.labels() {
            [_] => Ok(Self { classifier }),
            labels => Err(Error::Input(format!(
                "{}: reranking needs a model with one label, but this one has {}: {}",
                dir.display(),
                labels.len(),
                labels.join(", ")
            ))),
        }
    }

    /// The parameters as they count with these options, each with its origin.
    ///
    /// # Errors
    /// When a value of the model's configuration is impossible.
    pub fn effective(&self, options: &RerankOptions<'_>) -> Result<Vec<Effective>> {
        Ok(self.settle(options)?.1)
    }

    fn settle(&self, options: &RerankOptions<'_>) -> Result<(Function, Vec<Effective>)> {
        let config = &self.classifier.model.config;
        let mut chooser = Chooser::new(Task::Reranking, config);
        // sentence-transformers writes the class of an activation, in new files and in old ones
        let new = config.get("sentence_transformers").and_then(|own| own.get("activation_fn"));
        let class = new.or_else(|| config.get("sbert_ce_default_activation_function")).and_then(Value::as_str);
        let named = class.and_then(|class| match class.rsplit('.').next() {
            Some("Identity") => Some(Function::None),
            Some("Sigmoid") => Some(Function::Sigmoid),
            _ => {
                tracing::warn!("config.json names {class} for scores, which is not done here: the sigmoid makes them");
                None
            }
        });
        let function = match (options.function_to_apply, named) {
            (None, Some(named)) => {
                chooser.note("function_to_apply", &named, Origin::File("config.json"));
                named
            }
            (given, _) => chooser.choose("function_to_apply", given, || Function::Sigmoid)?,
        };
        if function == Function::Softmax {
            let problem = "function_to_apply is softmax, which makes 1 of every single score: sigmoid or none";
            return Err(Error::Option(problem.into()));
        }
        Ok((function, chooser.chosen))
    }

    /// How well each text answers `query`, in order, each with an error of its own where there is one. What is longer than the
    /// model reads is cut. `progress` hears how many are done.
    ///
    /// # Errors
    /// When an option doesn't fit the model, or the caller asked to stop.
    pub fn score(
        &self,
        query: &str,
        texts: &[&str],
        options: &RerankOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<f32>>> {
        let (function, _) = self.settle(options)?;
        let model = &self.classifier.model;
        let inputs: Vec<Input<'_>> = texts.iter().map(|&text| Input::Pair(query, text)).collect();
        let pairs = model.encode_cut(&inputs, true);
        let batches = Batches { tokens: options.batch_tokens, stop: options.stop };
        model.answer_each(pairs, batches, &|_, _, logits| Ok(function.apply(&logits[0])[0]), progress)
    }

    /// The texts, the one that answers `query` best first; equals keep their order. Texts are cut to what the model
    /// reads beside the query. `progress` hears how many are done.
    ///
    /// # Errors
    /// When a text can't be read with the query, or the caller asked to stop.
    pub fn rank(
        &self,
        query: &str,
        texts: &[&str],
        options: &RerankOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Ranked>> {
        let scores = self.score(query, texts, options, progress)?;
        let rank = |(index, (score, text)): (usize, (Result<f32>, &&str))| {
            Ok(Ranked { index, score: score?, text: (*text).to_owned() })
        };
        let mut ranked = scores.into_iter().zip(texts).enumerate().map(rank).collect::<Result<Vec<_>>>()?;
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(ranked)
    }
}
