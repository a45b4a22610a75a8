//! Extracted answers by the rule of SQuAD.

use ptm_text::dataset::Question;

use super::Evaluated;
use crate::metrics::squad::{Answered, SquadScores, question, squad};

/// What a model says to a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// The best answer that is not none.
    pub text: String,
    /// Its score: the sum of the logits of start and end.
    pub score: f64,
    /// The score of no answer.
    pub null_score: f64,
}

/// Questions with predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    gold: Vec<Vec<String>>,
    given: Vec<String>,
    /// How much better no answer is.
    no_answer: Vec<f64>,
    threshold: f64,
}

impl Answers {
    /// Predictions for questions; with a `threshold`, those whose null score exceeds the answer's by more than it are
    /// left unanswered. Without one every question is answered, which is right for SQuAD 1.1.
    ///
    /// # Panics
    /// When there are not as many of both.
    pub fn new(questions: &[Question], predictions: &[Prediction], threshold: Option<f64>) -> Self {
        assert_eq!(questions.len(), predictions.len(), "a prediction for each question");
        Self {
            gold: questions.iter().map(|q| q.answers.iter().map(|answer| answer.text.clone()).collect()).collect(),
            given: predictions.iter().map(|p| p.text.clone()).collect(),
            no_answer: predictions.iter().map(|p| p.null_score - p.score).collect(),
            threshold: threshold.unwrap_or(f64::INFINITY),
        }
    }

    /// All that SQuAD's script reports of these rows.
    pub fn squad(&self, rows: &[usize]) -> Option<SquadScores> {
        let answered: Vec<Answered<'_>> = rows
            .iter()
            .map(|&row| Answered {
                gold: self.gold[row].iter().map(String::as_str).collect(),
                given: &self.given[row],
                no_answer: self.no_answer[row],
            })
            .collect();
        squad(&answered, self.threshold)
    }

    fn is_dropped(&self, row: usize) -> bool {
        self.no_answer[row] > self.threshold
    }
}

impl Evaluated for Answers {
    const TASK: &'static str = "question answering";

    fn rows(&self) -> usize {
        self.gold.len()
    }

    /// F1 and exact match, in percent; of data with impossible questions also by kind, and the best threshold.
    fn metrics(&self, rows: &[usize]) -> Vec<(&'static str, f64)> {
        let Some(found) = self.squad(rows) else { return vec![("f1", f64::NAN), ("exact", f64::NAN)] };
        let mut metrics = vec![("f1", found.f1), ("exact", found.exact)];
        // by the whole, so that every choice of rows has the same metrics
        if self.gold.iter().any(Vec::is_empty) {
            let (answered, unanswered) = (found.has_answer, found.no_answer);
            metrics.extend([
                ("has_answer_f1", answered.map_or(f64::NAN, |a| a.1)),
                ("has_answer_exact", answered.map_or(f64::NAN, |a| a.0)),
                ("no_answer_exact", unanswered.map_or(f64::NAN, |a| a.0)),
                ("best_f1", found.best_f1.0),
                ("best_f1_threshold", found.best_f1.1),
                ("best_exact", found.best_exact.0),
                ("best_exact_threshold", found.best_exact.1),
            ]);
        }
        metrics
    }

    fn score(&self, row: usize) -> f64 {
        let gold: Vec<&str> = self.gold[row].iter().map(String::as_str).collect();
        if self.is_dropped(row) { f64::from(u8::from(gold.is_empty())) } else { question(&gold, &self.given[row]).1 }
    }

    fn shown(&self, row: usize) -> (String, String) {
        let none = || "(no answer)".to_owned();
        let gold = if self.gold[row].is_empty() { none() } else { self.gold[row].join(" | ") };
        (gold, if self.is_dropped(row) || self.given[row].is_empty() { none() } else { self.given[row].clone() })
    }

    fn joined(&self, other: &Self) -> Self {
        Self {
            gold: [&self.gold[..], &other.gold].concat(),
            given: [&self.given[..], &other.given].concat(),
            no_answer: [&self.no_answer[..], &other.no_answer].concat(),
            threshold: self.threshold,
        }
    }
}
