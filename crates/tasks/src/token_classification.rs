//! Labels of tokens, and the entities that tokens with one label make: the token-classification pipeline of
//! `transformers`, windows of long texts too.

mod group;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ptm_kernels::softmax::softmax;
use ptm_text::{EncodeOptions, Encoding, Truncation};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::code_points::CodePoints;
use crate::cut::warn_of_rest;
use crate::error::{Error, Result};
use crate::headed::{Batches, Headed, Reading};
use crate::parameters::{Chooser, Effective};
use crate::task::Task;

/// A classifier of tokens with its tokenizer.
#[derive(Debug)]
pub struct TokenClassification {
    model: Headed,
}

/// How tokens become entities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// Every token by itself.
    #[default]
    None,
    /// Neighbours with one label together.
    Simple,
    /// Words first, each with the label of its first token.
    First,
    /// Words first, each with the best label of its tokens' mean scores.
    Average,
    /// Words first, each with the label of its surest token.
    Max,
}

/// How tokens are classified.
#[derive(Clone, Debug, Default)]
pub struct TokenClassificationOptions<'a> {
    /// How tokens become entities.
    pub aggregation_strategy: Option<Aggregation>,
    /// How tokens become entities where neither the caller nor the model says.
    pub otherwise: Aggregation,
    /// Labels that are left out; `O` by default.
    pub ignore_labels: Option<Vec<String>>,
    /// Tokens that windows of a long text share. Without it the end of a long text is not read, as in the reference.
    pub stride: Option<usize>,
    /// Tokens of a batch.
    pub batch_tokens: Option<usize>,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

/// A token or several with a label. Places count code points of the text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Entity {
    /// A token by itself.
    Token {
        /// Its label.
        entity: String,
        /// Its probability.
        score: f32,
        /// Its number among the tokens of the window, those around the text counted.
        index: usize,
        /// The token as the vocabulary spells it.
        word: String,
        /// Where it begins.
        start: usize,
        /// Where it ends, exclusive.
        end: usize,
    },
    /// Neighbours together.
    Group {
        /// Their label, without its `B-` or `I-`.
        entity_group: String,
        /// The mean of their probabilities.
        score: f32,
        /// Their text as the tokenizer joins it.
        word: String,
        /// Where the first begins.
        start: usize,
        /// Where the last ends, exclusive.
        end: usize,
    },
}

impl Entity {
    /// The label.
    pub fn label(&self) -> &str {
        match self {
            Self::Token { entity, .. } => entity,
            Self::Group { entity_group, .. } => entity_group,
        }
    }

    /// The probability.
    pub fn score(&self) -> f32 {
        match self {
            Self::Token { score, .. } | Self::Group { score, .. } => *score,
        }
    }

    /// Where it begins and ends in the text, in code points.
    pub fn range(&self) -> std::ops::Range<usize> {
        match self {
            Self::Token { start, end, .. } | Self::Group { start, end, .. } => *start..*end,
        }
    }
}

struct Settled {
    aggregation: Aggregation,
    ignored: Vec<String>,
    stride: Option<usize>,
}

/// A token of a text with its probabilities.
struct Token {
    word: String,
    scores: Vec<f32>,
    start: usize,
    end: usize,
    index: usize,
    /// Whether it goes on with the word before.
    is_subword: bool,
}

impl TokenClassification {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the model is of another task.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self { model: Headed::open(dir, Reading::Token, Task::TokenClassification)? })
    }

    /// The names of the labels, in the model's order.
    pub fn labels(&self) -> &[String] {
        &self.model.labels
    }

    /// How many tokens the model reads at once.
    pub fn longest(&self) -> usize {
        self.model.longest()
    }

    /// The parameters as they count with these options, each with its origin.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn effective(&self, options: &TokenClassificationOptions<'_>) -> Result<Vec<Effective>> {
        Ok(self.settle(options)?.1)
    }

    fn settle(&self, options: &TokenClassificationOptions<'_>) -> Result<(Settled, Vec<Effective>)> {
        let mut chooser = Chooser::new(Task::TokenClassification, &self.model.config);
        let aggregation = chooser.choose("aggregation_strategy", options.aggregation_strategy, || options.otherwise)?;
        let ignored = chooser.choose("ignore_labels", options.ignore_labels.clone(), || vec!["O".to_owned()])?;
        let stride = chooser.choose("stride", options.stride.map(Some), || None)?;
        if let Some(stride) = stride {
            let longest = self.model.longest();
            if stride >= longest {
                let problem =
                    format!("the stride of {stride} tokens is not less than the {longest} that the model reads");
                return Err(Error::Option(problem));
            }
            if aggregation == Aggregation::None {
                let problem = "a stride joins the entities of windows, which tokens by themselves are not: choose another \
                               aggregation_strategy than none";
                return Err(Error::Option(problem.into()));
            }
        }
        Ok((Settled { aggregation, ignored, stride }, chooser.chosen))
    }

    /// The entities of every text, in order, each text with an error of its own where there is one. `progress` hears
    /// how many are done.
    ///
    /// # Errors
    /// When an option doesn't fit the model, or the caller asked to stop.
    pub fn classify(
        &self,
        texts: &[&str],
        options: &TokenClassificationOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<Vec<Entity>>>> {
        let (settled, _) = self.settle(options)?;
        let (tokenizer, max) = (&self.model.tokenizer, self.model.longest());
        let encode = EncodeOptions {
            truncation: if max == usize::MAX { Truncation::None } else { Truncation::Longest { max } },
            stride: settled.stride.unwrap_or(0),
            windows: settled.stride.is_some(),
            ..EncodeOptions::default()
        };
        let windows = texts.par_iter().map(|text| {
            let mut first = tokenizer.encode(text, &encode)?;
            let rest = std::mem::take(&mut first.overflow);
            if !encode.windows {
                warn_of_rest(&[text], &first, max);
            }
            Ok([vec![first], rest].concat())
        });
        let windows = windows.collect();
        let batches = Batches { tokens: options.batch_tokens, stop: options.stop };
        let answer = |i: usize, windows: &[Encoding], logits: &[Vec<f32>]| {
            Ok(self.entities(texts[i], windows, logits, &settled))
        };
        self.model.answer_each(windows, batches, &answer, progress)
    }

    fn entities(&self, text: &str, windows: &[Encoding], logits: &[Vec<f32>], settled: &Settled) -> Vec<Entity> {
        let places = CodePoints::new(text);
        let mut all = Vec::new();
        for (window, logits) in windows.iter().zip(logits) {
            let tokens = self.tokens(&places, window, logits);
            let entities = self.aggregate(tokens, settled.aggregation);
            all.extend(
                entities.into_iter().filter(|entity| !settled.ignored.iter().any(|label| label == entity.label())),
            );
        }
        if windows.len() > 1 { group::without_overlaps(all) } else { all }
    }

    /// The tokens of a window, those around the text left out.
    fn tokens(&self, text: &CodePoints<'_>, window: &Encoding, logits: &[f32]) -> Vec<Token> {
        let probabilities = softmax(logits, self.labels().len());
        let unknown = self.model.tokenizer.special().unk.as_ref().map(|unk| unk.id);
        let has_prefix = self.model.tokenizer.continuing_subword_prefix().is_some();
        let rows = probabilities.chunks_exact(self.labels().len()).enumerate();
        let token = |(index, scores): (usize, &[f32])| {
            let (start, end) = window.offsets[index];
            let written = text.slice(start, end);
            let mut word = window.tokens[index].clone();
            // of an added token that takes the spaces around it, the text with them stands there
            if word.trim().len() < word.len() {
                word = self.model.tokenizer.token(window.ids[index]).unwrap_or(word);
            }
            let mut is_subword = if has_prefix {
                word.chars().count() != written.chars().count()
            } else {
                start > 0 && !text.slice(start - 1, start + 1).contains(' ')
            };
            if Some(window.ids[index]) == unknown {
                written.clone_into(&mut word);
                is_subword = false;
            }
            Token { word, scores: scores.to_vec(), start, end, index, is_subword }
        };
        rows.filter(|(index, _)| !window.special[*index]).map(token).collect()
    }
}
