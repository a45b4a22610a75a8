//! What `ptm rerank` and `ptm similarity` do with texts that are ranked: each has a score of its own, those of a file in the
//! order of the inputs, else the best first.

use std::sync::atomic::AtomicBool;

use ptm_tasks::{Ranked, cosine};
use serde::Serialize;
use serde_json::Value;

use super::config::Parameter;
use super::embed::Model;
use super::many::{Many, TOGETHER, answered};
use crate::args::{KeepArgs, KeyArgs, StreamArgs, TopK};
use crate::failure::said;
use crate::input::Stream;
use crate::output::{Output, bar, one_line};
use crate::report;

/// What is ranked.
pub struct Ranking<'a> {
    /// Input and output.
    pub stream: &'a StreamArgs,
    /// Where texts stand.
    pub key: &'a KeyArgs,
    /// The file of scores.
    pub keep: &'a KeepArgs,
    /// How many are given; all by default.
    pub top_k: Option<TopK>,
    /// No progress bar, no notes.
    pub quiet: bool,
}

/// Scores of texts, each with an error of its own; hears whether to stop, and says how many are done.
pub type Score<'a> =
    &'a dyn Fn(&[&str], &'static AtomicBool, &mut dyn FnMut(usize)) -> ptm_tasks::Result<Vec<ptm_tasks::Result<f32>>>;

impl Ranking<'_> {
    /// Refuses what a file of scores has no use for.
    ///
    /// # Errors
    /// When the best alone are to be written.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.keep.output.is_none() {
            return Ok(());
        }
        let why = "--output gets every text's score, in the order of the inputs";
        self.stream.given.refuse("top_k", why, "leave one of them out, or sort the file")
    }

    /// How many are given, as a parameter.
    pub fn top_k(&self) -> Parameter {
        let count = self.top_k.and_then(|top| if let TopK::Best(count) = top { Some(count.get()) } else { None });
        Parameter::given("top_k", count, &self.stream.given)
    }

    /// Ranks `texts`, or those of `stream`, by how near their vectors are to that of the query.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn by_vectors(&self, query: &str, model: &Model, texts: &[&str], stream: Option<Stream>) -> anyhow::Result<()> {
        let of_query = model.embed(&[query])?.remove(0);
        self.run(texts, stream, &|texts, stop, progress| {
            let vectors = model.vectors(texts, stop, progress)?;
            Ok(vectors.iter().map(|vector| Ok(cosine(&of_query, vector))).collect())
        })
    }

    /// Ranks `texts`, or those of `stream`.
    ///
    /// # Errors
    /// When there are none, some could not be scored, reading or writing fails, or Ctrl-C was pressed.
    pub fn run(&self, texts: &[&str], stream: Option<Stream>, score: Score<'_>) -> anyhow::Result<()> {
        let many = Many {
            stream: self.stream,
            keep: self.keep,
            quiet: self.quiet,
            what: "text",
            together: TOGETHER,
            read: &|number, record| Ok((number as usize, record.text(&self.key.key)?)),
            answer: &|inputs: &[(usize, String)], stop, given| {
                let texts: Vec<&str> = inputs.iter().map(|(_, text)| text.as_str()).collect();
                let scores = score(&texts, stop, &mut |done| given.computed(done))?;
                let ranked = |((index, text), score): (&(usize, String), ptm_tasks::Result<f32>)| {
                    Ok(Ranked { index: *index, score: score?, text: text.clone() })
                };
                given.all(inputs.iter().zip(scores).map(ranked).collect())
            },
            show: &|output, _, one| Ok(show(output, one)?),
        };
        let inputs: Vec<(usize, String)> = texts.iter().map(|&text| text.to_owned()).enumerate().collect();
        if self.keep.output.is_some() {
            return match stream {
                Some(stream) => many.lines(stream),
                None => many.arguments(&inputs, &Value::Array),
            };
        }
        self.best_first(many.gathered(inputs, stream)?)
    }

    fn best_first(&self, all: Vec<anyhow::Result<Ranked>>) -> anyhow::Result<()> {
        let seen = all.len();
        let (mut ranking, mut wrong) = (Vec::new(), Vec::new());
        for (index, one) in all.into_iter().enumerate() {
            match one {
                Ok(one) => ranking.push(one),
                Err(error) => wrong.push((index, error)),
            }
        }
        ranking.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranking.truncate(self.top_k.map_or(usize::MAX, TopK::count));
        let mut output = Output::new();
        if self.stream.json {
            let errors = wrong.iter().map(|(index, error)| Line::Wrong { index: *index, error: said(error) });
            output.answer(&ranking.iter().map(Line::Ranked).chain(errors).collect::<Vec<_>>())?;
        } else {
            ranking.iter().try_for_each(|one| show(&mut output, one))?;
        }
        output.flush()?;
        if !self.stream.json {
            wrong.iter().for_each(|(_, error)| report::error(&said(error)));
        }
        answered(seen, wrong.len(), self.stream.json)
    }
}

/// A text of a ranking, or one that has no score.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Ranked(&'a Ranked),
    Wrong { index: usize, error: String },
}

/// A score with its text.
pub fn show(output: &mut Output, one: &Ranked) -> std::io::Result<()> {
    let cells = output.faint(&bar(one.score));
    let line = format!("{:>7.4} {cells} {}", one.score, one_line(&one.text, 120));
    output.line(line.trim_end())
}
