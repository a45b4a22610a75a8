//! Answers found in a context (extractive question answering): the pipeline of `transformers`, with its windows over long
//! contexts and its way of scoring, aligning and merging answers.

mod spans;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use ptm_text::{EncodeOptions, Encoding, Truncation};
use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::headed::{Batches, Headed, Reading};
use crate::parameters::{Chooser, Effective};
use crate::task::Task;

/// A model of answers in contexts with its tokenizer.
#[derive(Debug)]
pub struct QuestionAnswering {
    model: Headed,
}

/// How answers are found.
#[derive(Clone, Debug, Default)]
pub struct QuestionAnsweringOptions<'a> {
    /// How many answers, the best first; 1 by default. There may be fewer.
    pub top_k: Option<usize>,
    /// Tokens that windows of a long context share; by default half a window, at most 128.
    pub doc_stride: Option<usize>,
    /// Tokens of an answer at most; 15 by default.
    pub max_answer_len: Option<usize>,
    /// Tokens of a window, the question counted; by default what the model reads, at most 384.
    pub max_seq_len: Option<usize>,
    /// Tokens of the question that are read; all by default, as with fast tokenizers in `transformers`, where the option
    /// is without effect.
    pub max_question_len: Option<usize>,
    /// Whether there may be no answer, which then is one of the answers, with an empty text.
    pub handle_impossible_answer: Option<bool>,
    /// Whether answers are whole words; yes by default.
    pub align_to_words: Option<bool>,
    /// Tokens of a batch.
    pub batch_tokens: Option<usize>,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

/// An answer. Places count code points of the context.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundAnswer {
    /// Its probability; the sum of those of equal answers.
    pub score: f32,
    /// Where it begins.
    pub start: usize,
    /// Where it ends, exclusive.
    pub end: usize,
    /// Its text; empty where there is no answer.
    pub answer: String,
}

/// The answers to a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FoundAnswers {
    /// The only one.
    One(FoundAnswer),
    /// Several, the best first.
    Several(Vec<FoundAnswer>),
}

impl FoundAnswers {
    /// The answers, whatever their number.
    pub fn all(&self) -> &[FoundAnswer] {
        match self {
            Self::One(answer) => std::slice::from_ref(answer),
            Self::Several(answers) => answers,
        }
    }
}

/// A question with the context that holds its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The question.
    pub question: &'a str,
    /// The text that is searched.
    pub context: &'a str,
}

struct Settled {
    top_k: usize,
    doc_stride: usize,
    max_answer_len: usize,
    max_seq_len: usize,
    max_question_len: Option<usize>,
    handle_impossible_answer: bool,
    align_to_words: bool,
}

impl QuestionAnswering {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the model is of another task.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self { model: Headed::open(dir, Reading::Span, Task::QuestionAnswering)? })
    }

    /// The parameters as they count with these options, each with its origin.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn effective(&self, options: &QuestionAnsweringOptions<'_>) -> Result<Vec<Effective>> {
        Ok(self.settle(options)?.1)
    }

    fn settle(&self, options: &QuestionAnsweringOptions<'_>) -> Result<(Settled, Vec<Effective>)> {
        let longest = self.model.longest();
        let mut chooser = Chooser::new(Task::QuestionAnswering, &self.model.config);
        let top_k = chooser.choose("top_k", options.top_k, || 1)?;
        let max_seq_len = chooser.choose("max_seq_len", options.max_seq_len, || longest.min(384))?;
        let doc_stride = chooser.choose("doc_stride", options.doc_stride, || (max_seq_len / 2).min(128))?;
        let max_answer_len = chooser.choose("max_answer_len", options.max_answer_len, || 15)?;
        let max_question_len = chooser.choose("max_question_len", options.max_question_len.map(Some), || None)?;
        let impossible = options.handle_impossible_answer;
        let handle_impossible_answer = chooser.choose("handle_impossible_answer", impossible, || false)?;
        let align_to_words = chooser.choose("align_to_words", options.align_to_words, || true)?;
        for (name, value) in
            [("top_k", Some(top_k)), ("max_answer_len", Some(max_answer_len)), ("max_question_len", max_question_len)]
        {
            if value == Some(0) {
                return Err(Error::Option(format!("{name} is 0, but should be at least 1")));
            }
        }
        if let Some(limit) = self.model.limit.filter(|&limit| max_seq_len > limit) {
            let problem =
                format!("max_seq_len is {max_seq_len}, a window larger than the {limit} tokens that the model reads");
            return Err(Error::Option(problem));
        }
        if doc_stride > max_seq_len {
            return Err(Error::Option(format!("doc_stride ({doc_stride}) is larger than max_seq_len ({max_seq_len})")));
        }
        let settled = Settled {
            top_k,
            doc_stride,
            max_answer_len,
            max_seq_len,
            max_question_len,
            handle_impossible_answer,
            align_to_words,
        };
        Ok((settled, chooser.chosen))
    }

    /// Answers to every question, in order, each with an error of its own where there is one. `progress` hears how many
    /// are done.
    ///
    /// # Errors
    /// When an option doesn't fit the model, or the caller asked to stop.
    pub fn answer(
        &self,
        questions: &[Question<'_>],
        options: &QuestionAnsweringOptions<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<FoundAnswers>>> {
        let (settled, _) = self.settle(options)?;
        let (tokenizer, left) = (&self.model.tokenizer, self.model.pads_left);
        let encode = |asked: &Question<'_>| windows(tokenizer, left, *asked, &settled);
        let all = questions.par_iter().map(encode).collect();
        let batches = Batches { tokens: options.batch_tokens, stop: options.stop };
        let answer = |i: usize, windows: &[Encoding], logits: &[Vec<f32>]| {
            Ok(self.best(questions[i].context, windows, logits, &settled))
        };
        self.model.answer_each(all, batches, &answer, progress)
    }
}

/// The question with each window of the context; the context comes first where padding stands before a text.
fn windows(
    tokenizer: &ptm_text::Tokenizer,
    context_first: bool,
    asked: Question<'_>,
    settled: &Settled,
) -> Result<Vec<Encoding>> {
    for (name, text) in [("question", asked.question), ("context", asked.context)] {
        if text.is_empty() {
            return Err(Error::Input(format!("`{name}` cannot be empty")));
        }
    }
    let question = match settled.max_question_len {
        Some(most) => beginning(tokenizer, asked.question, most)?,
        None => asked.question,
    };
    let max = settled.max_seq_len;
    let (first, second, truncation) = if context_first {
        (asked.context, question, Truncation::OnlyFirst { max })
    } else {
        (question, asked.context, Truncation::OnlySecond { max })
    };
    let whole = max == usize::MAX;
    let options = EncodeOptions {
        truncation: if whole { Truncation::None } else { truncation },
        stride: settled.doc_stride,
        windows: !whole,
        ..EncodeOptions::default()
    };
    let mut first = tokenizer.encode_pair(first, second, &options).map_err(|error| match error {
        ptm_text::Error::Truncation { .. } => Error::Input(format!(
            "the question leaves too little of a window of {max} tokens for the context, of which windows share {stride}: \
             shorten the question, cut it by max_question_len, or choose another max_seq_len or doc_stride",
            stride = settled.doc_stride
        )),
        other => other.into(),
    })?;
    let rest = std::mem::take(&mut first.overflow);
    Ok([vec![first], rest].concat())
}

/// The first `most` tokens of a text, as text.
fn beginning<'t>(tokenizer: &ptm_text::Tokenizer, text: &'t str, most: usize) -> Result<&'t str> {
    let plain = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
    let encoding = tokenizer.encode(text, &plain)?;
    if encoding.len() <= most {
        return Ok(text);
    }
    let end = encoding.offsets[most - 1].1;
    tracing::warn!(
        "a question of {} tokens is read up to its character {end}: max_question_len is {most}",
        encoding.len()
    );
    Ok(text.char_indices().nth(end).map_or(text, |(at, _)| &text[..at]))
}
