//! Natural-language inference: whether a premise entails a hypothesis, contradicts it, or neither (Bowman et al. 2015).
//! Classification of pairs by a model whose labels say so.

use std::path::Path;

use ptm_text::Input;

use crate::error::{Error, Result};
use crate::parameters::Effective;
use crate::task::Task;
use crate::text_classification::{Classified, TextClassification, TextClassificationOptions};
use crate::zero_shot::entailment_of;

/// A classifier of pairs with a label for entailment.
#[derive(Debug)]
pub struct NaturalLanguageInference {
    classifier: TextClassification,
}

impl NaturalLanguageInference {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, the model is of another task, or no label stands for entailment.
    pub fn open(dir: &Path) -> Result<Self> {
        let classifier = TextClassification::open_for(dir, Task::NaturalLanguageInference)?;
        if entailment_of(classifier.labels()).is_none() {
            return Err(Error::Input(format!(
                "{}: no label of this model begins with \"entail\", it has {}: classify reads it, or give id2label in its \
                 config.json the names it was trained with",
                dir.display(),
                classifier.labels().join(", ")
            )));
        }
        Ok(Self { classifier })
    }

    /// The names of the labels, in the model's order.
    pub fn labels(&self) -> &[String] {
        self.classifier.labels()
    }

    /// The parameters as they count with these options, each with its origin.
    ///
    /// # Errors
    /// When a value of the model's configuration is impossible.
    pub fn effective(&self, options: &TextClassificationOptions<'_>) -> Result<Vec<Effective>> {
        self.classifier.effective(options)
    }

    /// Labels for every pair of premise and hypothesis, in order, each with an error of its own where there is one.
    ///
    /// # Errors
    /// As [`TextClassification::classify`].
    pub fn infer(
        &self,
        pairs: &[(&str, &str)],
        options: &TextClassificationOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<Classified>>> {
        let inputs: Vec<Input<'_>> = pairs.iter().map(|&pair| pair.into()).collect();
        self.classifier.classify(&inputs, options, progress)
    }
}
