//! A file of texts to the entities in them, or to the answers to one question about each; tokenizing included.

use anyhow::{Context, Result, bail};
use ptm_tasks::{
    Aggregation, Question, QuestionAnswering, QuestionAnsweringOptions, TokenClassification, TokenClassificationOptions,
};

use crate::{Work, protocol};

/// A model with what it reads.
pub struct Pipeline {
    model: Model,
    texts: Vec<String>,
    question: String,
}

enum Model {
    Entities(TokenClassification),
    Answers(QuestionAnswering),
}

impl Pipeline {
    pub fn new(job: &protocol::Pipeline) -> Result<Self> {
        let text = std::fs::read_to_string(&job.file).with_context(|| format!("cannot read {}", job.file.display()))?;
        let model = match job.task.as_str() {
            "token-classification" => Model::Entities(TokenClassification::open(&job.model)?),
            "question-answering" => Model::Answers(QuestionAnswering::open(&job.model)?),
            other => bail!("no pipeline {other}"),
        };
        Ok(Self { model, texts: text.lines().map(str::to_owned).collect(), question: job.question.clone() })
    }
}

impl Work for Pipeline {
    /// The mean score: near ties that rounding turns round hardly change it.
    fn run(&mut self) -> Result<Vec<f32>> {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let mut scores = Vec::new();
        match &self.model {
            Model::Entities(model) => {
                let options = TokenClassificationOptions {
                    aggregation_strategy: Some(Aggregation::Simple),
                    ignore_labels: Some(Vec::new()),
                    ..TokenClassificationOptions::default()
                };
                for entities in model.classify(&texts, &options, &mut |_| {})? {
                    scores.extend(entities?.iter().map(ptm_tasks::Entity::score));
                }
            }
            Model::Answers(model) => {
                let asked: Vec<Question<'_>> =
                    texts.iter().map(|context| Question { question: &self.question, context }).collect();
                for answers in model.answer(&asked, &QuestionAnsweringOptions::default(), &mut |_| {})? {
                    scores.extend(answers?.all().iter().map(|answer| answer.score));
                }
            }
        }
        let sum: f64 = scores.iter().map(|&score| f64::from(score)).sum();
        Ok(vec![(sum / scores.len().max(1) as f64) as f32])
    }
}
