//! How good answers are, by the metrics that the task is usually judged by; the first is the one that decides.

use std::collections::HashMap;

use ptm_text::dataset::Labels;

use super::learner::{Answer, best};
use super::questions;
use crate::metrics::classification::{Averages, Confusion, accuracy, multi_label_counts};
use crate::metrics::correlation::{matthews, pearson, spearman};
use crate::metrics::entities::entity_scores;
use crate::objective::Judgement;
use crate::recipe::Task;

/// Probability from which a label of several is given.
const GIVEN: f32 = 0.5;

/// The names of a task's metrics.
pub fn names(task: Task) -> &'static [&'static str] {
    match task {
        Task::Classification => &["accuracy", "f1_macro", "matthews", "loss"],
        Task::Choice => &["accuracy", "loss"],
        Task::MultiLabel => &["f1_micro", "f1_macro", "exact", "loss"],
        Task::Regression => &["pearson", "spearman", "mse", "loss"],
        Task::Tokens => &["f1", "precision", "recall", "accuracy", "loss"],
        Task::Questions => &["f1", "exact", "best_f1", "loss"],
        Task::TextToText | Task::LanguageModel => &["loss", "perplexity", "accuracy"],
    }
}

/// The names of the metrics of tags by these labels: parts of speech are no entities.
pub fn of_tags(labels: &[String]) -> &'static [&'static str] {
    if are_entities(labels) { names(Task::Tokens) } else { &["accuracy", "loss"] }
}

fn are_entities(labels: &[String]) -> bool {
    labels.iter().any(|name| name.starts_with("B-") || name.starts_with("I-"))
}

/// The metrics of `answers`, whose mean loss is `loss`.
pub fn judge(task: Task, answers: &[Answer], loss: f64, labels: Option<&Labels>) -> Judgement {
    let mut metrics = match task {
        Task::Classification | Task::Choice => classes(answers, labels),
        Task::MultiLabel => several(answers, labels.map_or(0, Labels::len)),
        Task::Regression => numbers(answers),
        Task::Tokens => tags(answers, labels),
        Task::Questions => questions::judge(answers.iter().filter_map(|answer| match answer {
            Answer::Offer(offer) => Some(offer),
            _ => None,
        })),
        Task::TextToText | Task::LanguageModel => {
            let (right, all) = answers.iter().fold((0, 0), |(right, all), answer| match answer {
                Answer::Tokens(r, a) => (right + r, all + a),
                _ => (right, all),
            });
            vec![("loss", loss), ("perplexity", loss.exp()), ("accuracy", right as f64 / all.max(1) as f64)]
        }
    };
    if metrics.iter().all(|(name, _)| *name != "loss") {
        metrics.push(("loss", loss));
    }
    Judgement { metrics: metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}

type Metrics = Vec<(&'static str, f64)>;

fn classes(answers: &[Answer], labels: Option<&Labels>) -> Metrics {
    let pairs = answers.iter().filter_map(|answer| match answer {
        Answer::Class(gold, scores) => Some((*gold as usize, best(scores) as usize)),
        _ => None,
    });
    let (gold, given): (Vec<usize>, Vec<usize>) = pairs.unzip();
    let mut metrics = vec![("accuracy", accuracy(&gold, &given))];
    if let Some(labels) = labels {
        let confusion = Confusion::new(&gold, &given, labels.len());
        metrics.push(("f1_macro", Averages::macro_(&confusion.seen()).f1));
        metrics.push(("matthews", matthews(&confusion)));
    }
    metrics
}

fn several(answers: &[Answer], labels: usize) -> Metrics {
    let pairs = answers.iter().filter_map(|answer| match answer {
        Answer::Values(gold, given) => {
            let over = |values: &[f32]| values.iter().map(|value| *value > GIVEN).collect::<Vec<bool>>();
            Some((over(gold), over(given)))
        }
        _ => None,
    });
    let (gold, given): (Vec<Vec<bool>>, Vec<Vec<bool>>) = pairs.unzip();
    let counts = multi_label_counts(&gold, &given, labels);
    let (micro, all) = (Averages::micro(&counts).f1, Averages::macro_(&counts).f1);
    vec![("f1_micro", micro), ("f1_macro", all), ("exact", accuracy(&gold, &given))]
}

fn numbers(answers: &[Answer]) -> Metrics {
    let pairs = answers.iter().filter_map(|answer| match answer {
        Answer::Values(gold, given) => Some((f64::from(*gold.first()?), f64::from(*given.first()?))),
        _ => None,
    });
    let (gold, given): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let square: f64 = gold.iter().zip(&given).map(|(a, b)| (a - b).powi(2)).sum();
    // constant answers correlate with nothing
    vec![
        ("pearson", pearson(&gold, &given).unwrap_or(0.0)),
        ("spearman", spearman(&gold, &given).unwrap_or(0.0)),
        ("mse", square / gold.len().max(1) as f64),
    ]
}

fn tags(answers: &[Answer], labels: Option<&Labels>) -> Metrics {
    let names = labels.map_or(&[][..], Labels::names);
    let spelled = |tags: &[u32]| tags.iter().map(|&tag| names[tag as usize].as_str()).collect::<Vec<&str>>();
    let none = names.iter().position(|name| name == "O").unwrap_or(0) as u32;
    let whole = sentences(answers, none);
    let pairs = answers.iter().filter_map(|answer| match answer {
        Answer::Tags(gold, given) => Some((spelled(gold), spelled(given))),
        _ => None,
    });
    let pairs = pairs.chain(whole.iter().map(|(gold, given)| (spelled(gold), spelled(given))));
    let (gold, given): (Vec<Vec<&str>>, Vec<Vec<&str>>) = pairs.unzip();
    let scores = entity_scores(&gold, &given);
    if !are_entities(names) {
        return vec![("accuracy", scores.accuracy)];
    }
    let micro = scores.micro;
    vec![("f1", micro.f1), ("precision", micro.precision), ("recall", micro.recall), ("accuracy", scores.accuracy)]
}

/// Whole sentences from their parts, which come in no order; a word without a token is given the label `none`, as where
/// tags are predicted.
fn sentences(answers: &[Answer], none: u32) -> Vec<(&[u32], Vec<u32>)> {
    let mut found: Vec<(&[u32], Vec<u32>)> = Vec::new();
    let mut places: HashMap<*const u32, usize> = HashMap::new();
    for answer in answers {
        let Answer::Words(tags, given) = answer else { continue };
        let place = *places.entry(tags.as_ptr()).or_insert_with(|| {
            found.push((tags, vec![none; tags.len()]));
            found.len() - 1
        });
        for &(word, tag) in given {
            found[place].1[word as usize] = tag;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Labels {
        Labels::new(names.iter().map(|&name| name.to_owned()).collect()).unwrap()
    }

    #[test]
    fn each_task_has_its_metrics() {
        let classes = [Answer::Class(1, vec![0.1, 0.3]), Answer::Class(0, vec![0.0, 1.0])];
        let found = judge(Task::Classification, &classes, 0.7, Some(&labels(&["a", "b"])));
        assert_eq!(found.metrics[0], ("accuracy".into(), 0.5));
        assert_eq!(found.get("loss"), Some(0.7));
        let several = [Answer::Values(vec![1.0, 0.0], vec![0.9, 0.6])];
        let found = judge(Task::MultiLabel, &several, 0.7, Some(&labels(&["a", "b"])));
        assert!((found.get("f1_micro").unwrap() - 2.0 / 3.0).abs() < 1e-12 && found.get("exact") == Some(0.0));
        let numbers = [Answer::Values(vec![1.0], vec![2.0]), Answer::Values(vec![2.0], vec![4.0])];
        let found = judge(Task::Regression, &numbers, 0.7, None);
        assert!((found.get("pearson").unwrap() - 1.0).abs() < 1e-12 && found.get("mse") == Some(2.5));
        let tags = [Answer::Tags(vec![1, 0], vec![1, 1])];
        let found = judge(Task::Tokens, &tags, 0.7, Some(&labels(&["O", "B-X"])));
        assert_eq!((found.metrics[0].0.as_str(), found.get("precision")), ("f1", Some(0.5)));
        let found = judge(Task::Tokens, &tags, 0.7, Some(&labels(&["NOUN", "VERB"])));
        assert_eq!(found.metrics[0], ("accuracy".into(), 0.5));
        // an entity over two windows of a sentence, the second of which came first, and a word that has no token
        let sentence: std::sync::Arc<[u32]> = [1, 2, 0].into();
        let parts = [Answer::Words(sentence.clone(), vec![(1, 2)]), Answer::Words(sentence, vec![(0, 1)])];
        let found = judge(Task::Tokens, &parts, 0.7, Some(&labels(&["O", "B-X", "I-X"])));
        assert_eq!((found.get("f1"), found.get("accuracy")), (Some(1.0), Some(1.0)));
        let found = judge(Task::LanguageModel, &[Answer::Tokens(1, 4), Answer::Tokens(1, 4)], 0.0, None);
        assert!(found.metrics.iter().all(|(name, _)| names(Task::LanguageModel).contains(&name.as_str())));
        assert_eq!((found.get("perplexity"), found.get("accuracy")), (Some(1.0), Some(0.25)));
    }
}
