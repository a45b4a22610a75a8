//! From labelled rows to gold and predictions, a task at a time: rows are read, encoded and computed in stretches, so that
//! a file may be larger than memory.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use ptm_tasks::{Long, Purpose, Text2Text, Text2TextOptions};
use ptm_text::dataset::{
    Choice, Classified, Dataset, Example, MultiLabelled, Order, Question, Rated, Tagged, Text, TextToText,
};
use ptm_text::{EncodeOptions, Encoding, Input, Packed};

use super::candidate::Candidate;
use super::evaluation::{EvaluateOptions, Evaluation, Heard, Predictions};
use super::foretold::{Foretold, Texts};
use super::{Answers, Classes, Generated, LabelSets, Prediction, Predictor, Ratings, Tags, Window, sequence_logits};
use crate::metrics::BleuOptions;
use crate::{Error, Result};

/// Rows that are in memory at once: enough for batches of similar lengths.
const STRETCH: usize = 2048;
/// Characters that are kept of a row's text.
const KEPT: usize = 1000;

/// One evaluation.
pub(super) struct Run<'a> {
    pub model: &'a Candidate,
    pub paths: &'a [PathBuf],
    pub options: &'a EvaluateOptions<'a>,
    pub max_length: usize,
}

/// The label of a row that has to have one.
fn needed<T>(label: Option<T>, row: usize) -> Result<T> {
    label.ok_or_else(|| {
        Error::Input(format!("row {} has no label to judge by: leave such rows out with skip_unlabelled", row + 1))
    })
}

fn input<'a>(text: &'a str, pair: Option<&'a str>) -> Input<'a> {
    pair.map_or(Input::Text(text), |pair| Input::Pair(text, pair))
}

/// What is kept of a row's text.
pub(super) fn shown(text: &str, pair: Option<&str>) -> String {
    let mut shown = pair.map_or_else(|| text.to_owned(), |pair| format!("{text} ‖ {pair}"));
    if let Some((end, _)) = shown.char_indices().nth(KEPT) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// What is kept of every row, whatever the task.
#[derive(Default)]
struct Kept {
    texts: Vec<String>,
    lengths: Vec<usize>,
}

/// A stretch of rows, the number of the first, and who hears how many of them are done.
type Work<'a, E> = &'a mut dyn FnMut(Vec<E>, usize, &mut dyn FnMut(usize)) -> Result<()>;

impl Run<'_> {
    /// Reads a stretch of rows after the other.
    fn each<E: Example>(&self, heard: Heard<'_>, work: Work<'_, E>) -> Result<()> {
        let data = Dataset::<E>::open(self.paths, &self.options.data)?;
        let limit = self.options.limit.unwrap_or(usize::MAX);
        let total = limit.min(usize::try_from(data.len()).unwrap_or(usize::MAX));
        let mut rows = data.rows(Order::AsIs, 0).take(limit);
        let mut done = 0;
        loop {
            let stretch = rows.by_ref().take(STRETCH).collect::<Result<Vec<E>, _>>()?;
            if stretch.is_empty() {
                break;
            }
            let end = done + stretch.len();
            work(stretch, done, &mut |some| heard((done + some).min(end), total.max(end)))?;
            done = end;
        }
        if done == 0 {
            return Err(Error::Input("the data holds no row with a label".into()));
        }
        heard(done, done);
        Ok(())
    }

    fn finished(&self, predictions: Predictions, kept: Kept, cut: bool) -> Evaluation {
        let Kept { texts, lengths } = kept;
        let truncated = lengths.iter().filter(|&&length| cut && length > self.max_length).count();
        Evaluation { predictions, texts, lengths, truncated }
    }

    fn predictor(&self) -> Predictor<'_> {
        Predictor {
            tokenizer: &self.model.tokenizer,
            positions: self.model.positions,
            max_length: self.max_length,
            batch_tokens: self.options.batch_tokens,
            stop: self.options.stop,
        }
    }

    fn logits(&self, batch: &Packed) -> Result<Tensor<2>> {
        match &self.model.logits {
            Some(logits) => logits(batch),
            None => Err(Error::Input("this model writes texts".into())),
        }
    }

    /// Encodings cut to what the model reads, and lengths before that.
    fn encode(&self, inputs: &[Input<'_>]) -> Result<(Vec<Encoding>, Vec<usize>)> {
        let whole = self.model.tokenizer.encode_batch(inputs, &EncodeOptions::default())?;
        let lengths: Vec<usize> = whole.iter().map(Encoding::len).collect();
        if lengths.iter().all(|&length| length <= self.max_length) {
            return Ok((whole, lengths));
        }
        Ok((self.predictor().encode(inputs)?, lengths))
    }

    /// Logits of texts, one row each, the first of which is row `first`.
    fn sequences(
        &self,
        inputs: &[Input<'_>],
        first: usize,
        heard: &mut dyn FnMut(usize),
    ) -> Result<(Vec<Vec<f32>>, Vec<usize>)> {
        let (encodings, lengths) = self.encode(inputs)?;
        if let Some(row) = encodings.iter().position(Encoding::is_empty) {
            return Err(Error::Input(format!("row {}: the text has no token: leave it out", first + row + 1)));
        }
        let logits = sequence_logits(&self.predictor(), &encodings, &mut |batch| self.logits(batch), heard)?;
        Ok((logits, lengths))
    }

    /// How many tokens texts have.
    pub fn lengths(&self, texts: &[&str]) -> Result<Vec<usize>> {
        let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
        let encodings = self.model.tokenizer.encode_batch(&inputs, &EncodeOptions::default())?;
        Ok(encodings.iter().map(Encoding::len).collect())
    }

    /// The model's number of a label of the data.
    fn label(&self, name: &str) -> Result<usize> {
        let labels = &self.model.labels;
        if let Some(exact) = labels.iter().position(|label| label == name) {
            return Ok(exact);
        }
        let mut alike = labels.iter().enumerate().filter(|(_, label)| label.eq_ignore_ascii_case(name));
        if let (Some((label, _)), None) = (alike.next(), alike.next()) {
            return Ok(label);
        }
        // data that number their labels
        let number = name.parse::<usize>().ok().filter(|&number| number < labels.len());
        number.ok_or_else(|| {
            Error::Input(format!(
                "the data has the label {name:?}, the model has {}: give the names of numbered labels with label_names, \
                 in the model's order",
                labels.join(", ")
            ))
        })
    }

    /// All rows of a classifier's data with their labels, for what learns from all of them.
    pub fn classified(&self) -> Result<(Vec<Classified>, Vec<usize>)> {
        let (mut rows, mut gold) = (Vec::new(), Vec::new());
        self.each::<Classified>(&mut |_, _| {}, &mut |stretch, first, _| {
            for (i, row) in stretch.iter().enumerate() {
                gold.push(self.label(needed(row.label.as_deref(), first + i)?)?);
            }
            rows.extend(stretch);
            Ok(())
        })?;
        Ok((rows, gold))
    }

    /// All sentences, and their tags as the model spells them.
    pub fn tagged(&self) -> Result<(Vec<Vec<String>>, Vec<Vec<String>>)> {
        let (mut words, mut gold) = (Vec::new(), Vec::new());
        self.each::<Tagged>(&mut |_, _| {}, &mut |rows, first, _| {
            for (i, row) in rows.into_iter().enumerate() {
                gold.push(self.tags_of(&row, first + i)?);
                words.push(row.words);
            }
            Ok(())
        })?;
        Ok((words, gold))
    }

    /// A sentence's tags as the model spells them.
    fn tags_of(&self, row: &Tagged, number: usize) -> Result<Vec<String>> {
        let tags = needed(row.tags.as_ref(), number)?.iter();
        tags.map(|tag| Ok(self.model.labels[self.label(tag)?].clone())).collect()
    }

    /// All questions.
    pub fn questions(&self) -> Result<Vec<Question>> {
        let mut all = Vec::new();
        self.each::<Question>(&mut |_, _| {}, &mut |rows, first, _| {
            if let Some(row) = rows.iter().position(|row| !row.answered) {
                needed::<()>(None, first + row)?;
            }
            all.extend(rows);
            Ok(())
        })?;
        Ok(all)
    }

    /// The evaluation of questions with predictions.
    pub fn answered(&self, rows: &[Question], predictions: &[Prediction]) -> Result<Evaluation> {
        let kept = Kept {
            texts: rows.iter().map(|row| shown(&row.question, Some(&row.context))).collect(),
            lengths: self.lengths(&rows.iter().map(|row| row.context.as_str()).collect::<Vec<_>>())?,
        };
        Ok(self.judged_answers(rows, predictions, kept))
    }

    fn judged_answers(&self, rows: &[Question], predictions: &[Prediction], kept: Kept) -> Evaluation {
        let impossible = rows.iter().any(Question::is_impossible);
        let threshold = self.options.null_threshold.or(impossible.then_some(0.0));
        self.finished(Predictions::Answers(Answers::new(rows, predictions, threshold)), kept, false)
    }

    pub fn classes(&self, heard: Heard<'_>) -> Result<Evaluation> {
        let (mut gold, mut probabilities, mut kept) = (Vec::new(), Vec::new(), Kept::default());
        self.each::<Classified>(heard, &mut |rows, first, heard| {
            for (i, row) in rows.iter().enumerate() {
                gold.push(self.label(needed(row.label.as_deref(), first + i)?)?);
            }
            let inputs: Vec<_> = rows.iter().map(|row| input(&row.text, row.pair.as_deref())).collect();
            let (logits, lengths) = self.sequences(&inputs, first, heard)?;
            probabilities.extend(logits.iter().map(|row| softmax(row)));
            kept.texts.extend(rows.iter().map(|row| shown(&row.text, row.pair.as_deref())));
            kept.lengths.extend(lengths);
            Ok(())
        })?;
        let found = Classes::new(gold, &probabilities, self.model.labels.clone());
        Ok(self.finished(Predictions::Classes(found), kept, true))
    }

    pub fn label_sets(&self, heard: Heard<'_>) -> Result<Evaluation> {
        let labels = &self.model.labels;
        let sigmoid = |x: &f32| 1.0 / (1.0 + (-x).exp());
        let (mut gold, mut probabilities, mut kept) = (Vec::new(), Vec::<Vec<f32>>::new(), Kept::default());
        self.each::<MultiLabelled>(heard, &mut |rows, first, heard| {
            for (i, row) in rows.iter().enumerate() {
                let mut set = vec![false; labels.len()];
                for name in needed(row.labels.as_ref(), first + i)? {
                    set[self.label(name)?] = true;
                }
                gold.push(set);
            }
            let inputs: Vec<_> = rows.iter().map(|row| input(&row.text, row.pair.as_deref())).collect();
            let (logits, lengths) = self.sequences(&inputs, first, heard)?;
            probabilities.extend(logits.iter().map(|row| row.iter().map(sigmoid).collect()));
            kept.texts.extend(rows.iter().map(|row| shown(&row.text, row.pair.as_deref())));
            kept.lengths.extend(lengths);
            Ok(())
        })?;
        let found = LabelSets::new(gold, &probabilities, labels.clone(), self.options.label_threshold);
        Ok(self.finished(Predictions::LabelSets(found), kept, true))
    }

    pub fn ratings(&self, heard: Heard<'_>) -> Result<Evaluation> {
        let (mut gold, mut numbers, mut kept) = (Vec::new(), Vec::new(), Kept::default());
        self.each::<Rated>(heard, &mut |rows, first, heard| {
            for (i, row) in rows.iter().enumerate() {
                gold.push(needed(row.value, first + i)?);
            }
            let inputs: Vec<_> = rows.iter().map(|row| input(&row.text, row.pair.as_deref())).collect();
            let (logits, lengths) = self.sequences(&inputs, first, heard)?;
            numbers.extend(logits.iter().map(|row| f64::from(row[0])));
            kept.texts.extend(rows.iter().map(|row| shown(&row.text, row.pair.as_deref())));
            kept.lengths.extend(lengths);
            Ok(())
        })?;
        Ok(self.finished(Predictions::Ratings(Ratings::new(gold, numbers)), kept, true))
    }

    pub fn tags(&self, heard: Heard<'_>) -> Result<Evaluation> {
        let labels = &self.model.labels;
        let (mut words, mut gold, mut predicted, mut kept) = (Vec::new(), Vec::new(), Vec::new(), Kept::default());
        self.each::<Tagged>(heard, &mut |rows, first, heard| {
            for (i, row) in rows.iter().enumerate() {
                gold.push(self.tags_of(row, first + i)?);
            }
            let some: Vec<Vec<String>> = rows.into_iter().map(|row| row.words).collect();
            predicted.extend(self.predictor().tags(&some, labels, &mut |batch| self.logits(batch), heard)?);
            let texts: Vec<String> = some.iter().map(|words| words.join(" ")).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            kept.lengths.extend(self.lengths(&texts)?);
            kept.texts.extend(texts.iter().map(|text| shown(text, None)));
            words.extend(some);
            Ok(())
        })?;
        // long sentences are read in windows, so nothing is cut
        Ok(self.finished(Predictions::Tags(Tags::new(words, gold, predicted)), kept, false))
    }

    pub fn answers(&self, heard: Heard<'_>) -> Result<Evaluation> {
        let window = Window { length: self.max_length.min(Window::default().length), ..Window::default() };
        let (mut questions, mut found, mut kept) = (Vec::new(), Vec::<Prediction>::new(), Kept::default());
        self.each::<Question>(heard, &mut |rows, first, heard| {
            if let Some(row) = rows.iter().position(|row| !row.answered) {
                needed::<()>(None, first + row)?;
            }
            found.extend(self.predictor().answers(&rows, window, &mut |batch| self.logits(batch), heard)?);
            kept.lengths.extend(self.lengths(&rows.iter().map(|row| row.context.as_str()).collect::<Vec<_>>())?);
            kept.texts.extend(rows.iter().map(|row| shown(&row.question, Some(&row.context))));
            // contexts are long, and judged by their answers alone
            questions.extend(rows.into_iter().map(|row| Question { context: String::new(), ..row }));
            Ok(())
        })?;
        Ok(self.judged_answers(&questions, &found, kept))
    }

    pub fn choices(&self, heard: Heard<'_>) -> Result<Evaluation> {
        let second = |row: &Choice, choice: &String| match &row.question {
            Some(question) => format!("{question} {choice}"),
            None => choice.clone(),
        };
        let (mut gold, mut probabilities, mut kept) = (Vec::new(), Vec::<Vec<f32>>::new(), Kept::default());
        self.each::<Choice>(heard, &mut |rows, first, heard| {
            for (i, row) in rows.iter().enumerate() {
                gold.push(needed(row.label, first + i)?);
            }
            let seconds: Vec<Vec<String>> =
                rows.iter().map(|row| row.choices.iter().map(|choice| second(row, choice)).collect()).collect();
            let inputs: Vec<Input<'_>> = rows
                .iter()
                .zip(&seconds)
                .flat_map(|(row, seconds)| seconds.iter().map(|second| Input::Pair(&row.context, second)))
                .collect();
            let (scores, tokens) = self.sequences(&inputs, first, heard)?;
            let (mut scores, mut tokens) = (scores.into_iter(), tokens.into_iter());
            for row in &rows {
                let own: Vec<f32> = scores.by_ref().take(row.choices.len()).map(|score| score[0]).collect();
                probabilities.push(softmax(&own));
                kept.lengths.push(tokens.by_ref().take(row.choices.len()).max().unwrap_or(0));
                kept.texts.push(shown(&row.context, Some(&row.choices.join(" | "))));
            }
            Ok(())
        })?;
        let most = probabilities.iter().map(Vec::len).max().unwrap_or(0);
        // rows with fewer choices cannot be given the others
        probabilities.iter_mut().for_each(|row| row.resize(most, 0.0));
        let labels = (1..=most).map(|number| number.to_string()).collect();
        Ok(self.finished(Predictions::Classes(Classes::new(gold, &probabilities, labels)), kept, true))
    }

    pub fn generated(&self, dir: &Path, heard: Heard<'_>) -> Result<Evaluation> {
        let model = Text2Text::open(dir, Purpose::Text2Text)?;
        let how = ptm_tasks::generation::Generate { stop: self.options.stop, ..Default::default() };
        let prefix = self.options.prefix.as_deref().unwrap_or_else(|| model.prefix());
        let options = Text2TextOptions {
            settings: self.options.generation.clone(),
            prefix: Some(prefix.to_owned()),
            long: Long::Cut,
            how,
            ..Text2TextOptions::default()
        };
        let (mut gold, mut written, mut kept, mut truncated) = (Vec::new(), Vec::new(), Kept::default(), 0);
        self.each::<TextToText>(heard, &mut |rows, first, heard| {
            let begin = written.len();
            for (i, row) in rows.iter().enumerate() {
                gold.push(vec![needed(row.target.clone(), first + i)?]);
                written.push(String::new());
            }
            let mut done = 0;
            model.run(&mut rows.iter().map(|row| row.source.clone()), &options, &mut |row, replies| {
                if let Some(reply) = replies.into_iter().next() {
                    truncated += usize::from(reply.cut > 0);
                    written[begin + row] = reply.text;
                }
                done += 1;
                heard(done);
                Ok(())
            })?;
            let read: Vec<String> = rows.iter().map(|row| format!("{prefix}{}", row.source)).collect();
            kept.lengths.extend(self.lengths(&read.iter().map(String::as_str).collect::<Vec<_>>())?);
            kept.texts.extend(rows.iter().map(|row| shown(&row.source, None)));
            Ok(())
        })?;
        let found = Generated::new(gold, written, BleuOptions::default());
        let found = self.finished(Predictions::Generated(Box::new(found)), kept, false);
        Ok(Evaluation { truncated, ..found })
    }

    /// Texts are read in windows side by side; the first token of each is given, not foretold.
    pub fn foretold(&self, heard: Heard<'_>) -> Result<Evaluation> {
        let (mut found, mut kept) = (Vec::<Foretold>::new(), Kept::default());
        self.each::<Text>(heard, &mut |rows, first, heard| {
            let inputs: Vec<Input<'_>> = rows.iter().map(|row| Input::Text(&row.text)).collect();
            let encodings = self.model.tokenizer.encode_batch(&inputs, &EncodeOptions::default())?;
            found.extend(rows.iter().map(|row| Foretold { bytes: row.text.len() as u64, ..Foretold::default() }));
            let windows = encodings.iter().enumerate().flat_map(|(row, encoding)| {
                let pieces = encoding.ids.chunks(self.max_length).filter(|piece| piece.len() > 1);
                pieces.map(move |piece| (first + row, plain(piece)))
            });
            let (owners, pieces): (Vec<usize>, Vec<Encoding>) = windows.unzip();
            self.predictor().batches(&pieces, heard, &mut |packed, members| {
                let losses = ptm_ops::read_f32(self.logits(packed)?);
                super::predict::finite(&losses)?;
                for (sequence, &member) in members.iter().enumerate() {
                    let text = &mut found[owners[member]];
                    let range = packed.range(sequence);
                    text.tokens += range.len() as u64 - 1;
                    text.loss += losses[range].iter().map(|&loss| f64::from(loss)).sum::<f64>();
                }
                Ok(())
            })?;
            kept.lengths.extend(encodings.iter().map(Encoding::len));
            kept.texts.extend(rows.iter().map(|row| shown(&row.text, None)));
            Ok(())
        })?;
        if found.iter().all(|text| text.tokens == 0) {
            return Err(Error::Input("no text has two tokens: there is nothing to foretell".into()));
        }
        Ok(self.finished(Predictions::Texts(Texts(found)), kept, false))
    }
}

/// Ids without anything about them.
fn plain(ids: &[u32]) -> Encoding {
    Encoding { ids: ids.to_vec(), segments: vec![0; ids.len()], ..Encoding::default() }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    ptm_kernels::softmax::softmax(logits, logits.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_texts_the_beginning_is_kept() {
        assert_eq!(shown("a", Some("b")), "a ‖ b");
        let long = shown(&"ä".repeat(KEPT + 1), None);
        assert_eq!((long.chars().count(), long.ends_with("ä…")), (KEPT + 1, true));
        assert_eq!(shown(&"ä".repeat(KEPT), None), "ä".repeat(KEPT));
    }
}
