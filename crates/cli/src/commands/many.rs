//! The manner of all commands that answer inputs one by one: arguments at once, files and standard input piece by piece in
//! order. What cannot be answered gets an error record in its place; answers can go into a file, where a run that was
//! stopped goes on.

mod answer_file;
mod earlier_run;
mod flow;
mod given;

use std::io::{IsTerminal, stdout};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

use self::answer_file::AnswerFile;
pub use self::flow::{Flow, through};
pub use self::given::{Given, singled_out};
use crate::args::{KeepArgs, StreamArgs};
use crate::failure::{Stopped, hinted, said};
use crate::input::{self, Place, Record, Stream};
use crate::output::Output;
use crate::progress::{Progress, Unit};
use crate::{report, stop};

/// So many inputs are answered together, where each is quick: what Ctrl-C loses at most.
pub const TOGETHER: usize = 256;

/// What is answered, and how it is shown.
pub struct Many<'a, I, A> {
    /// Input and output.
    pub stream: &'a StreamArgs,
    /// The file of answers.
    pub keep: &'a KeepArgs,
    /// No progress bar, no notes.
    pub quiet: bool,
    /// What an input is called, `text`.
    pub what: &'static str,
    /// So many inputs are answered together.
    pub together: usize,
    /// Makes an input of a line, and of its number among all.
    pub read: &'a dyn Fn(u64, Record) -> anyhow::Result<I>,
    /// Answers inputs; hears whether to stop.
    pub answer: &'a dyn Fn(&[I], &'static AtomicBool, &mut Given<'_, A>) -> ptm_tasks::Result<()>,
    /// Shows an answer to a reader.
    pub show: &'a dyn Fn(&mut Output, &I, &A) -> anyhow::Result<()>,
}

impl<I, A: Serialize> Many<'_, I, A> {
    /// Answers the arguments; `shape` makes one JSON value of the answers.
    ///
    /// # Errors
    /// The first input that cannot be answered; when writing fails, or Ctrl-C was pressed.
    pub fn arguments(&self, inputs: &[I], shape: &dyn Fn(Vec<Value>) -> Value) -> anyhow::Result<()> {
        let mut file = AnswerFile::of(self.keep, &self.stream.given)?;
        let all = inputs.len();
        let skipped = file.as_ref().map_or(0, |file| file.held);
        let inputs = inputs.get(skipped..).unwrap_or_default();
        let mut progress = Progress::new(Unit::Things("inputs"), Some(inputs.len() as u64), self.quiet);
        let mut answers = Vec::new();
        let mut to = |ready: Vec<ptm_tasks::Result<A>>| {
            for answer in ready {
                let answer = answer?;
                file.as_mut().map_or(Ok(()), |file| file.write(&answer))?;
                answers.push(answer);
            }
            file.as_mut().map_or(Ok(()), AnswerFile::flush)
        };
        let ended = self.compute(inputs, &mut to, &mut |done| progress.at(done as u64));
        drop(progress);
        if let Some(file) = &mut file {
            return ended.inspect_err(|error| file.stopped(error, self.quiet)).and_then(|()| file.end(all, self.quiet));
        }
        ended?;
        let mut output = Output::new();
        if self.stream.json {
            output.json(&shape(answers.iter().map(json_of).collect::<anyhow::Result<_>>()?))?;
        } else {
            inputs.iter().zip(&answers).try_for_each(|(input, answer)| (self.show)(&mut output, input, answer))?;
        }
        Ok(output.flush()?)
    }

    /// Answers the lines of `stream` in their order.
    ///
    /// # Errors
    /// When there is no input, some inputs could not be answered, reading or writing fails, or Ctrl-C was pressed.
    pub fn lines(&self, stream: Stream) -> anyhow::Result<()> {
        self.all_lines(stream, To::new(AnswerFile::of(self.keep, &self.stream.given)?)).map(drop)
    }

    /// Answers arguments, or the lines of `stream` in their order, and gives all answers back at once; those that could not
    /// be answered in their places.
    ///
    /// # Errors
    /// As [`Self::lines`], but for inputs that could not be answered.
    pub fn gathered(&self, inputs: Vec<I>, stream: Option<Stream>) -> anyhow::Result<Vec<anyhow::Result<A>>> {
        let mut place = To { gathered: Some(Vec::new()), ..To::new(None) };
        match stream {
            Some(stream) => place = self.all_lines(stream, place)?,
            None => {
                let mut progress = Progress::new(Unit::Things("inputs"), Some(inputs.len() as u64), self.quiet);
                self.inputs(&inputs, &mut place, &mut |done| progress.at(done as u64))?;
            }
        }
        Ok(place.gathered.unwrap_or_default())
    }

    fn all_lines(&self, stream: Stream, mut place: To<A>) -> anyhow::Result<To<A>> {
        let seen = self.each_line(stream, &mut place).inspect_err(|error| place.stopped(error, self.quiet))?;
        self.end(seen, &mut place)?;
        Ok(place)
    }

    /// Answers the lines; how many there were.
    fn each_line(&self, mut stream: Stream, place: &mut To<A>) -> anyhow::Result<usize> {
        let mut skip = place.file.as_ref().map_or(0, |file| file.held);
        let mut progress = self.progress(&stream, place);
        let mut seen = 0_usize;
        while let Some(mut piece) = stream.lines()? {
            seen += piece.len();
            if let Some(file) = &mut place.file {
                piece.iter().try_for_each(|record| file.comes(record))?;
            }
            let known = skip.min(piece.len());
            skip -= known;
            piece.drain(..known);
            let mut done = seen - piece.len();
            while !piece.is_empty() {
                let rest = piece.split_off(self.together.min(piece.len()));
                let records = std::mem::replace(&mut piece, rest);
                let count = records.len();
                self.together(done, records, place, &mut progress)?;
                done += count;
                progress.at(done as u64);
            }
        }
        Ok(seen)
    }

    /// How far the lines of `stream` are, where no answers are seen on the terminal meanwhile.
    fn progress(&self, stream: &Stream, place: &To<A>) -> Progress {
        let is_silent = place.file.is_some() || place.gathered.is_some();
        let shown = !self.quiet && (is_silent || !stdout().is_terminal());
        let total = shown.then(|| stream.count()).flatten();
        Progress::new(Unit::Things("inputs"), total, !shown)
    }

    /// What is said when all lines that were `seen` are through.
    fn end(&self, seen: usize, place: &mut To<A>) -> anyhow::Result<()> {
        if seen == 0 {
            return Err(input::nothing(self.what));
        }
        if let Some(file) = &mut place.file {
            file.end(seen, self.quiet)?;
        }
        let are_records = self.stream.json || place.file.is_some();
        if place.gathered.is_none() { answered(seen, place.failed, are_records) } else { Ok(()) }
    }

    /// Answers `records`, the first of them with the number `done`.
    fn together(
        &self,
        done: usize,
        records: Vec<anyhow::Result<Record>>,
        place: &mut To<A>,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        // before each input that can be read, and after the last: the lines that cannot
        let (mut inputs, mut places, mut wrong) = (Vec::new(), Vec::new(), vec![Vec::new()]);
        for (number, record) in (done as u64..).zip(records) {
            let own = record.as_ref().ok().map(|record| record.place.clone());
            match record.and_then(|record| (self.read)(number, record)) {
                Ok(input) => {
                    inputs.push(input);
                    places.extend(own);
                    wrong.push(Vec::new());
                }
                Err(error) => wrong.last_mut().expect("there is one").push(error),
            }
        }
        let mut wrong = wrong.into_iter();
        let mut given_on = 0;
        let mut to = |ready: Vec<ptm_tasks::Result<A>>| {
            for answer in ready {
                wrong.next().into_iter().flatten().try_for_each(|error| self.give(Err(error), place))?;
                let answer = answer.map(|answer| (&inputs[given_on], answer));
                self.give(answer.map_err(|error| at(error, &places[given_on])), place)?;
                given_on += 1;
            }
            place.flush()
        };
        self.compute(&inputs, &mut to, &mut |new| progress.at((done + new) as u64))?;
        wrong.flatten().try_for_each(|error| self.give(Err(error), place))?;
        place.flush()
    }

    /// Answers `inputs`, each of which can be read.
    fn inputs(&self, inputs: &[I], place: &mut To<A>, progress: &mut dyn FnMut(usize)) -> anyhow::Result<()> {
        let mut given_on = inputs.iter();
        let mut to = |ready: Vec<ptm_tasks::Result<A>>| {
            let mut pairs = ready.into_iter().zip(&mut given_on);
            pairs.try_for_each(|(answer, input)| {
                self.give(answer.map(|answer| (input, answer)).map_err(Into::into), place)
            })
        };
        self.compute(inputs, &mut to, progress)
    }

    fn give(&self, answer: anyhow::Result<(&I, A)>, place: &mut To<A>) -> anyhow::Result<()> {
        place.failed += usize::from(answer.is_err());
        if let Some(gathered) = &mut place.gathered {
            gathered.push(answer.map(|(_, answer)| answer));
            return Ok(());
        }
        match (answer, &mut place.file) {
            (Ok((_, answer)), Some(file)) => file.write(&answer),
            (Err(error), Some(file)) => file.write(&error_record(&error)),
            (Ok((_, answer)), None) if self.stream.json => Ok(place.output.answer(&answer)?),
            (Ok((input, answer)), None) => (self.show)(&mut place.output, input, &answer),
            (Err(error), None) => give_error(&error, self.stream.json, &mut place.output),
        }
    }

    /// Gives the answers to `to` in order, unless Ctrl-C is pressed meanwhile.
    fn compute(
        &self,
        inputs: &[I],
        to: &mut dyn FnMut(Vec<ptm_tasks::Result<A>>) -> anyhow::Result<()>,
        progress: &mut dyn FnMut(usize),
    ) -> anyhow::Result<()> {
        if inputs.is_empty() {
            return Ok(());
        }
        stop::computing(|stop| {
            let mut given = Given::new(inputs.len(), to, progress);
            let ended = (self.answer)(inputs, stop, &mut given);
            match (given.failure(), ended) {
                (Some(error), _) => Err(error),
                (None, Err(ptm_tasks::Error::Stopped)) => Err(Stopped.into()),
                (None, ended) => Ok(ended?),
            }
        })
    }
}

/// Where answers go.
struct To<A> {
    file: Option<AnswerFile>,
    output: Output,
    /// All answers, where they are given back at once.
    gathered: Option<Vec<anyhow::Result<A>>>,
    /// So many inputs could not be answered.
    failed: usize,
}

impl<A> To<A> {
    fn new(file: Option<AnswerFile>) -> Self {
        let failed = file.as_ref().map_or(0, |file| file.failed);
        Self { file, output: Output::new(), gathered: None, failed }
    }

    /// What is said where Ctrl-C is what ended the run.
    fn stopped(&self, error: &anyhow::Error, quiet: bool) {
        if let Some(file) = &self.file {
            file.stopped(error, quiet);
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.output.flush()?;
        self.file.as_mut().map_or(Ok(()), AnswerFile::flush)
    }
}

fn json_of<A: Serialize>(answer: &A) -> anyhow::Result<Value> {
    serde_json::to_value(answer).context("an answer is no JSON")
}

/// Tells of an input that has no answer, in its place.
pub fn give_error(error: &anyhow::Error, as_json: bool, output: &mut Output) -> anyhow::Result<()> {
    if as_json {
        return Ok(output.json(&error_record(error))?);
    }
    output.flush()?;
    report::error(&said(error));
    Ok(())
}

/// The end of a run in which some inputs may have failed, of which the output has records or the lines before say why.
pub fn answered(seen: usize, failed: usize, are_records: bool) -> anyhow::Result<()> {
    if failed == 0 {
        return Ok(());
    }
    let records = "their places in the output say why, as {\"error\": …}";
    let hint = if are_records { records } else { "the errors above say why" };
    Err(hinted(format!("{failed} of {seen} inputs could not be answered"), hint))
}

/// What stands in the place of an answer.
fn error_record(error: &anyhow::Error) -> Value {
    json!({"error": said(error)})
}

/// The error of an input that stood there.
fn at(error: ptm_tasks::Error, place: &Place) -> anyhow::Error {
    anyhow::Error::from(error).context(place.to_string())
}

/// The JSON value of arguments: that of the only one, or a list.
pub fn unwrapped(mut answers: Vec<Value>) -> Value {
    if answers.len() == 1 { answers.remove(0) } else { Value::Array(answers) }
}
