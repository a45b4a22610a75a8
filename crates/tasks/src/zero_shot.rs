//! Labels that a model was never trained on: each is put into a hypothesis, and a model of natural-language inference
//! says whether the text entails it (Yin, Hay and Roth 2019).

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ptm_kernels::softmax::softmax;
use ptm_text::{EncodeOptions, Encoding, Input, Truncation};
use rayon::prelude::*;
use serde::Serialize;

use crate::cut::warn_of_rest;
use crate::error::{Error, Result};
use crate::generation::Origin;
use crate::headed::Batches;
use crate::parameters::{Chooser, Effective};
use crate::task::Task;
use crate::text_classification::TextClassification;

/// A model of natural-language inference that chooses among labels given with the text.
#[derive(Debug)]
pub struct ZeroShot {
    classifier: TextClassification,
    entailment: usize,
}

/// How labels are chosen.
#[derive(Clone, Debug, Default)]
pub struct ZeroShotOptions<'a> {
    /// The labels, at least one.
    pub candidate_labels: Vec<String>,
    /// The hypothesis, with `{}` where the label goes; `This example is {}.` by default.
    pub hypothesis_template: Option<String>,
    /// Whether any number of the labels may be true, not one of them alone.
    pub multi_label: Option<bool>,
    /// Tokens of a batch.
    pub batch_tokens: Option<usize>,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

/// The labels of a text, the likeliest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ZeroShotAnswer {
    /// The text.
    pub sequence: String,
    /// The labels.
    pub labels: Vec<String>,
    /// Their probabilities.
    pub scores: Vec<f32>,
}

struct Settled {
    template: String,
    multi_label: bool,
}

impl ZeroShot {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, the model is of another task, or has one label alone.
    pub fn open(dir: &Path) -> Result<Self> {
        let classifier = TextClassification::open_for(dir, Task::ZeroShotClassification)?;
        let labels = classifier.labels();
        if labels.len() < 2 {
            let problem = format!(
                "{}: zero-shot classification needs a model of natural-language inference, but this one has {} label",
                dir.display(),
                labels.len()
            );
            return Err(Error::Input(problem));
        }
        let entailment = entailment_of(labels).unwrap_or_else(|| {
            tracing::warn!("no label of {} begins with \"entail\"; the last one is taken for it", dir.display());
            labels.len() - 1
        });
        Ok(Self { classifier, entailment })
    }

    /// The parameters as they count with these options, each with its origin.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn effective(&self, options: &ZeroShotOptions<'_>) -> Result<Vec<Effective>> {
        Ok(self.settle(options)?.1)
    }

    fn settle(&self, options: &ZeroShotOptions<'_>) -> Result<(Settled, Vec<Effective>)> {
        let mut chooser = Chooser::new(Task::ZeroShotClassification, &self.classifier.model.config);
        let labels = &options.candidate_labels;
        chooser.note("candidate_labels", labels, if labels.is_empty() { Origin::Default } else { Origin::Caller });
        let default = || "This example is {}.".to_owned();
        let template = chooser.choose("hypothesis_template", options.hypothesis_template.clone(), default)?;
        let multi_label = chooser.choose("multi_label", options.multi_label, || false)?;
        filled(&template, "")?;
        Ok((Settled { template, multi_label }, chooser.chosen))
    }

    /// The labels of every text by their probability, in order, each text with an error of its own where there is one.
    /// `progress` hears how many are done.
    ///
    /// # Errors
    /// When there is no label, an option is impossible, or the caller asked to stop.
    pub fn classify(
        &self,
        texts: &[&str],
        options: &ZeroShotOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<ZeroShotAnswer>>> {
        let (settled, _) = self.settle(options)?;
        let labels = &options.candidate_labels;
        if labels.iter().all(|label| label.trim().is_empty()) {
            return Err(Error::Option("You must include at least one label: the list of labels is empty".into()));
        }
        let hypotheses: Vec<String> =
            labels.iter().map(|label| filled(&settled.template, label)).collect::<Result<_>>()?;
        let (model, max) = (&self.classifier.model, self.classifier.model.longest());
        let tokenizer = &model.tokenizer;
        let encode = |text: &&str| -> Result<Vec<Encoding>> {
            if text.is_empty() {
                return Err(Error::Input("a text is empty: there is nothing to classify".into()));
            }
            let pair = |hypothesis: &String| {
                let input = Input::Pair(text, hypothesis);
                let whole = tokenizer.encode_input(input, &EncodeOptions::default())?;
                if whole.len() <= max {
                    return Ok(whole);
                }
                // the text alone is cut: the hypothesis says what is asked
                let truncation = Truncation::OnlyFirst { max };
                tokenizer.encode_input(input, &EncodeOptions { truncation, ..EncodeOptions::default() }).map_err(|error| {
                    let ptm_text::Error::Truncation { .. } = error else { return error.into() };
                    let begin: String = hypothesis.chars().take(60).collect();
                    Error::Option(format!(
                        "a label makes the hypothesis {begin:?}…, which leaves nothing of a text in the {max} tokens that the \
                         model reads: shorten the label or the template"
                    ))
                })
            };
            hypotheses.iter().map(pair).collect()
        };
        let pairs: Vec<Result<Vec<Encoding>>> = texts.par_iter().map(encode).collect();
        for (text, pairs) in texts.iter().zip(&pairs) {
            // the longest hypothesis leaves least of the text, which is told once
            let least = |pair: &&Encoding| pair.sequence.iter().filter(|&&of| of == Some(0)).count();
            if let Some(pair) = pairs.iter().flatten().min_by_key(least) {
                warn_of_rest(&[text], pair, max);
            }
        }
        let batches = Batches { tokens: options.batch_tokens, stop: options.stop };
        let answer = |i: usize, _: &[Encoding], logits: &[Vec<f32>]| Ok(self.rank(texts[i], labels, logits, &settled));
        model.answer_each(pairs, batches, &answer, progress)
    }

    fn rank(&self, text: &str, labels: &[String], logits: &[Vec<f32>], settled: &Settled) -> ZeroShotAnswer {
        let scores: Vec<f32> = if settled.multi_label || labels.len() == 1 {
            let against = if self.entailment == 0 { self.classifier.labels().len() - 1 } else { 0 };
            logits.iter().map(|row| softmax(&[row[against], row[self.entailment]], 2)[1]).collect()
        } else {
            let entailed: Vec<f32> = logits.iter().map(|row| row[self.entailment]).collect();
            softmax(&entailed, entailed.len())
        };
        let mut order: Vec<usize> = (0..labels.len()).collect();
        // among equals the last comes first, as where an ascending order is turned round
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(b.cmp(&a)));
        ZeroShotAnswer {
            sequence: text.to_owned(),
            labels: order.iter().map(|&i| labels[i].clone()).collect(),
            scores: order.iter().map(|&i| scores[i]).collect(),
        }
    }
}

/// The label that says that a premise entails a hypothesis.
pub(crate) fn entailment_of(labels: &[String]) -> Option<usize> {
    labels.iter().position(|label| label.to_lowercase().starts_with("entail"))
}

/// A template with the label in its place, as Python's `str.format` fills one: `{}` or `{0}` is the label, `{{` and `}}`
/// are braces.
///
/// # Errors
/// When there is no place for the label, or a brace that is none of these.
fn filled(template: &str, label: &str) -> Result<String> {
    let (mut filled, mut rest, mut has_place) = (String::new(), template, false);
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let (brace, length) = match rest {
            _ if rest.starts_with("{{") => ("{", 2),
            _ if rest.starts_with("}}") => ("}", 2),
            _ if rest.starts_with("{}") => (label, 2),
            _ if rest.starts_with("{0}") => (label, 3),
            _ => {
                let problem = format!(
                    "the hypothesis_template {template:?} has a brace that is no place for the label: write {{}} for the \
                     label, and braces twice"
                );
                return Err(Error::Option(problem));
            }
        };
        has_place |= !rest.starts_with("{{") && !rest.starts_with("}}");
        filled.push_str(brace);
        rest = &rest[length..];
    }
    if !has_place {
        let problem = format!("the hypothesis_template {template:?} has no {{}}, where the label would go");
        return Err(Error::Option(problem));
    }
    Ok(filled + rest)
}

/// Labels of a text with commas between them.
pub fn split_labels(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_as_python_fills_them() {
        for (template, wanted) in
            [("This is {}.", "This is a b."), ("{0}, {}", "a b, a b"), ("{} {{x}}", "a b {x}"), ("{{{}}}", "{a b}")]
        {
            assert_eq!(filled(template, "a b").unwrap(), wanted);
        }
        for wrong in ["", "no place", "{{}}", "{1} {}", "{x}", "{", "{} }"] {
            assert!(filled(wrong, "a").is_err(), "{wrong}");
        }
    }

    #[test]
    fn labels_are_found() {
        let labels = ["neutral", "ENTAILMENT"].map(str::to_owned);
        assert_eq!(entailment_of(&labels), Some(1));
        assert_eq!(entailment_of(&labels[..1]), None);
        assert_eq!(split_labels(" a, b c ,,"), ["a", "b c"]);
        assert!(split_labels(" , ").is_empty());
    }
}
