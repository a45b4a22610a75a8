//! Predictions for whole data sets: encoding, batches by tokens, rows back in order. The model is a function from a
//! packed batch to logits, so that any body with the right head will do, on disk or in training.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use burn::prelude::*;
use ptm_text::dataset::{Question, Sentence};
use ptm_text::{EncodeOptions, Encoding, Input, Packed, PositionStyle, Tokenizer, Truncation};

use super::Prediction;
use crate::{Error, Result};

/// How texts become batches.
#[derive(Clone, Copy, Debug)]
pub struct Predictor<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// How the model numbers positions.
    pub positions: PositionStyle,
    /// Tokens that the model reads at once.
    pub max_length: usize,
    /// Tokens of a batch.
    pub batch_tokens: usize,
    /// Set by the caller to stop between batches.
    pub stop: Option<&'a AtomicBool>,
}

/// How long contexts are divided and answers chosen; defaults as the examples of transformers have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Tokens of question and context together; no more than the model reads.
    pub length: usize,
    /// Tokens that a window repeats from the one before.
    pub stride: usize,
    /// Tokens of an answer.
    pub longest_answer: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { length: 384, stride: 128, longest_answer: 30 }
    }
}

/// The best starts and ends that are combined.
const CANDIDATES: usize = 20;

/// Logits of each encoding's sequence, `[rows][labels]`, in order. `logits` gives `[B, labels]` for a batch.
///
/// # Errors
/// Those of `logits`; when they are not finite, or the caller asked to stop.
pub fn sequence_logits(
    by: &Predictor<'_>,
    encodings: &[Encoding],
    logits: &mut dyn FnMut(&Packed) -> Result<Tensor<2>>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Vec<f32>>> {
    let mut rows = vec![Vec::new(); encodings.len()];
    by.batches(encodings, progress, &mut |packed, members| {
        let values = ptm_ops::read_f32(logits(packed)?);
        let labels = values.len() / members.len().max(1);
        for (&member, row) in members.iter().zip(values.chunks_exact(labels.max(1))) {
            rows[member] = row.to_vec();
        }
        finite(&values)
    })?;
    Ok(rows)
}

pub(super) fn finite(values: &[f32]) -> Result<()> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Error::Input("the model gives numbers that are not finite: its weights are damaged, or it diverged".into()))
}

impl Predictor<'_> {
    /// Encodes texts and pairs, cut to what the model reads.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn encode(&self, inputs: &[Input<'_>]) -> Result<Vec<Encoding>> {
        Ok(self.tokenizer.encode_batch(inputs, &EncodeOptions::truncated(self.max_length))?)
    }

    /// Runs `work` over batches of encodings: the batch, and which encodings it holds.
    pub(super) fn batches(
        &self,
        encodings: &[Encoding],
        progress: &mut dyn FnMut(usize),
        work: &mut dyn FnMut(&Packed, &[usize]) -> Result<()>,
    ) -> Result<()> {
        let lengths: Vec<usize> = encodings.iter().map(Encoding::len).collect();
        let mut done = 0;
        for members in Packed::batches_by_tokens(&lengths, self.batch_tokens.max(1)) {
            if self.stop.is_some_and(|stop| stop.load(Relaxed)) {
                return Err(Error::Stopped);
            }
            let packed = Packed::from_encodings(members.iter().map(|&i| &encodings[i]), self.positions);
            work(&packed.map_err(|error| Error::Input(error.to_string()))?, &members)?;
            done += members.len();
            progress(done);
        }
        Ok(())
    }

    /// A tag for each word of each sentence. Sentences that the model cannot read at once are read in windows, a word
    /// in that which has most around it; a word without a token gets `O`, or the first label where there is none.
    /// `logits` gives `[T, labels]`.
    ///
    /// # Errors
    /// Those of the tokenizer and of `logits`; when the caller asked to stop.
    pub fn tags(
        &self,
        sentences: &[Vec<String>],
        labels: &[String],
        logits: &mut dyn FnMut(&Packed) -> Result<Tensor<2>>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Vec<String>>> {
        let texts: Vec<Sentence> = sentences.iter().map(|words| Sentence::new(words)).collect();
        let inputs: Vec<Input<'_>> = texts.iter().map(|sentence| Input::Text(&sentence.text)).collect();
        let options =
            EncodeOptions { windows: true, stride: self.max_length / 4, ..EncodeOptions::truncated(self.max_length) };
        let (owners, windows) = flat(self.tokenizer.encode_batch(&inputs, &options)?);
        let none = labels.iter().position(|label| label == "O").unwrap_or(0);
        // label and distance to the nearer end of the window
        let mut best: Vec<Vec<(usize, usize)>> =
            sentences.iter().map(|words| words.iter().map(|_| (none, 0)).collect()).collect();
        self.batches(&windows, progress, &mut |packed, members| {
            let values = ptm_ops::read_f32(logits(packed)?);
            finite(&values)?;
            for (sequence, &member) in members.iter().enumerate() {
                let rows = packed.range(sequence);
                let sentence = owners[member];
                for (word, token) in texts[sentence].first_tokens(&windows[member]).into_iter().enumerate() {
                    let Some(token) = token else { continue };
                    let margin = 1 + token.min(rows.len() - 1 - token);
                    if margin > best[sentence][word].1 {
                        let at = (rows.start + token) * labels.len();
                        best[sentence][word] = (argmax(&values[at..at + labels.len()]), margin);
                    }
                }
            }
            Ok(())
        })?;
        Ok(best.into_iter().map(|words| words.into_iter().map(|(label, _)| labels[label].clone()).collect()).collect())
    }

    /// The best answer to each question and the score of none. `logits` gives start and end, `[T, 2]`.
    ///
    /// # Errors
    /// Those of the tokenizer and of `logits`; when the caller asked to stop.
    pub fn answers(
        &self,
        questions: &[Question],
        window: Window,
        logits: &mut dyn FnMut(&Packed) -> Result<Tensor<2>>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Prediction>> {
        let length = window.length.min(self.max_length);
        let options = EncodeOptions {
            truncation: Truncation::OnlySecond { max: length },
            windows: true,
            stride: window.stride.min(length / 4),
            ..EncodeOptions::default()
        };
        // half of a window is the context's
        let asked = questions.iter().map(|q| self.beginning(&q.question, length / 2)).collect::<Result<Vec<_>>>()?;
        let inputs: Vec<Input<'_>> =
            asked.iter().zip(questions).map(|(asked, q)| Input::Pair(asked, &q.context)).collect();
        let (owners, windows) = flat(self.tokenizer.encode_batch(&inputs, &options)?);
        let mut found: Vec<Option<Prediction>> = vec![None; questions.len()];
        self.batches(&windows, progress, &mut |packed, members| {
            let values = ptm_ops::read_f32(logits(packed)?);
            finite(&values)?;
            for (sequence, &member) in members.iter().enumerate() {
                let rows = packed.range(sequence);
                let owner = owners[member];
                let new = self.best_span(&windows[member], &values[rows.start * 2..rows.end * 2], window);
                let new = Prediction { text: cut(&questions[owner].context, new.0), score: new.1, null_score: new.2 };
                let old = found[owner].take();
                found[owner] = Some(old.map_or(new.clone(), |old| {
                    // no answer is no better than where it is least likely
                    let null_score = old.null_score.min(new.null_score);
                    Prediction { null_score, ..if new.score > old.score { new } else { old } }
                }));
            }
            Ok(())
        })?;
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Place, score, and the score of no answer, of the best answer in a window.
    fn best_span(&self, encoding: &Encoding, logits: &[f32], window: Window) -> ((usize, usize), f64, f64) {
        let value = |token: usize, column: usize| f64::from(logits[token * 2 + column]);
        let cls = self.tokenizer.special().cls.as_ref().map(|cls| cls.id);
        let first = encoding.ids.iter().position(|&id| Some(id) == cls).unwrap_or(0);
        let best = |column: usize| {
            let mut tokens: Vec<usize> = (0..encoding.len()).filter(|&t| encoding.sequence[t] == Some(1)).collect();
            tokens.sort_by(|&a, &b| value(b, column).total_cmp(&value(a, column)));
            tokens.truncate(CANDIDATES);
            tokens
        };
        let mut found = ((0, 0), f64::NEG_INFINITY);
        let ends = best(1);
        for start in best(0) {
            for &end in ends.iter().filter(|&&end| end >= start && end - start < window.longest_answer) {
                let score = value(start, 0) + value(end, 1);
                let place = (encoding.offsets[start].0, encoding.offsets[end].1);
                if score > found.1 && place.0 < place.1 {
                    found = (place, score);
                }
            }
        }
        (found.0, found.1.max(-1e9), value(first, 0) + value(first, 1))
    }

    /// The text up to so many tokens.
    fn beginning(&self, text: &str, tokens: usize) -> Result<String> {
        let options = EncodeOptions { add_special_tokens: false, ..EncodeOptions::truncated(tokens.max(1)) };
        let encoding = self.tokenizer.encode(text, &options)?;
        if encoding.len() < tokens {
            return Ok(text.to_owned());
        }
        let end = encoding.offsets.last().map_or(0, |offsets| offsets.1);
        Ok(cut(text, (0, end)))
    }
}

/// Windows of all encodings one after the other, and whose they are.
fn flat(encodings: Vec<Encoding>) -> (Vec<usize>, Vec<Encoding>) {
    let (mut owners, mut windows) = (Vec::new(), Vec::new());
    for (owner, mut encoding) in encodings.into_iter().enumerate() {
        let more = std::mem::take(&mut encoding.overflow);
        for window in std::iter::once(encoding).chain(more) {
            owners.push(owner);
            windows.push(window);
        }
    }
    (owners, windows)
}

fn argmax(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

/// Code points `start..end` of a text, without blanks around.
fn cut(text: &str, (start, end): (usize, usize)) -> String {
    let cut: String = text.chars().skip(start).take(end - start).collect();
    cut.trim().to_owned()
}
