//! What little it takes to do as well: a simple method that learns from the same rows and is judged by the same rows as
//! a model.

use std::path::PathBuf;

use super::rows::{Run, shown};
use super::{
    BagOfWords, Candidate, Classes, EvaluateOptions, Evaluation, FrequentTags, Lexical, Prediction, Predictions, Tags,
};
use crate::recipe::Task;
use crate::{Error, Result};

/// What the task's baseline, learnt from the rows of `train`, says to the rows of `paths`, and its name: bags of words
/// for a classifier, each word's most frequent tag for a tagger, shared words and shapes for questions. The labels are
/// those of `model`, so that the two can be compared.
///
/// # Errors
/// When the task has no baseline, and those of reading.
pub fn baseline(
    model: &Candidate,
    train: &[PathBuf],
    paths: &[PathBuf],
    options: &EvaluateOptions<'_>,
) -> Result<(&'static str, Evaluation)> {
    let mut reading = options.data.clone();
    reading.split = train.iter().any(|path| path.is_dir()).then(|| "train".to_owned());
    let learning = EvaluateOptions { data: reading, limit: None, ..options.clone() };
    let learnt = Run { model, paths: train, options: &learning, max_length: model.longest };
    let run = Run { model, paths, options, max_length: model.longest };
    match model.task {
        Task::Classification => Ok(("bags of words", classes(&learnt, &run)?)),
        Task::Tokens => Ok(("each word's most frequent tag", tags(&learnt, &run)?)),
        Task::Questions => Ok(("shared words and shapes", answers(&learnt, &run)?)),
        other => Err(Error::Input(format!(
            "there is no baseline for the task {}, only for classification, tokens and questions",
            other.name()
        ))),
    }
}

fn classes(learnt: &Run<'_>, run: &Run<'_>) -> Result<Evaluation> {
    let labels = &run.model.labels;
    let (rows, gold) = learnt.classified()?;
    let texts: Vec<(&str, Option<&str>)> = rows.iter().map(|row| (row.text.as_str(), row.pair.as_deref())).collect();
    let bags = BagOfWords::learn(&texts, &gold, labels.len());
    let (rows, gold) = run.classified()?;
    let probabilities: Vec<Vec<f32>> = rows.iter().map(|row| bags.predict(&row.text, row.pair.as_deref())).collect();
    let texts: Vec<String> = rows.iter().map(|row| shown(&row.text, row.pair.as_deref())).collect();
    let lengths = run.lengths(&texts.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(Evaluation {
        predictions: Predictions::Classes(Classes::new(gold, &probabilities, labels.clone())),
        lengths,
        texts,
        truncated: 0,
    })
}

fn tags(learnt: &Run<'_>, run: &Run<'_>) -> Result<Evaluation> {
    let (words, gold) = learnt.tagged()?;
    if words.iter().all(Vec::is_empty) {
        return Err(Error::Input("the training rows hold no word to learn from".into()));
    }
    let sentences: Vec<(&[String], &[String])> =
        words.iter().zip(&gold).map(|(words, tags)| (&words[..], &tags[..])).collect();
    let tagger = FrequentTags::learn(&sentences);
    let (words, gold) = run.tagged()?;
    let tag = |words: &Vec<String>| words.iter().map(|word| tagger.tag(word).to_owned()).collect();
    let predicted = words.iter().map(tag).collect();
    let texts: Vec<String> = words.iter().map(|words| words.join(" ")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    Ok(Evaluation {
        predictions: Predictions::Tags(Tags::new(words, gold, predicted)),
        lengths: run.lengths(&texts)?,
        texts: texts.iter().map(|text| shown(text, None)).collect(),
        truncated: 0,
    })
}

fn answers(learnt: &Run<'_>, run: &Run<'_>) -> Result<Evaluation> {
    let lexical = Lexical::learn(&learnt.questions()?);
    let rows = run.questions()?;
    let predictions: Vec<Prediction> = rows.iter().map(|row| lexical.answer(row)).collect();
    run.answered(&rows, &predictions)
}
