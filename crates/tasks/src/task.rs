//! Which task a model directory is for, by the class that saved it, and under which name users know it.

use std::fmt;
use std::path::Path;

use ptm_models::{Family, auto};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::generation::layers::json_file;

/// A task, named as in pipelines of `transformers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Vectors of texts.
    FeatureExtraction,
    /// Masked words.
    FillMask,
    /// Labels of texts or pairs.
    TextClassification,
    /// Whether a premise entails a hypothesis: text classification with labels that say so.
    NaturalLanguageInference,
    /// Labels given with the text.
    ZeroShotClassification,
    /// How well texts answer a query: text classification with one label.
    Reranking,
    /// Labels of tokens, named entities.
    TokenClassification,
    /// Answers found in a context.
    QuestionAnswering,
    /// Text that goes on.
    TextGeneration,
    /// Text from text.
    Text2TextGeneration,
    /// Summaries.
    Summarization,
    /// Translations.
    Translation,
}

impl Task {
    /// The name in pipelines, and of parameters in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FeatureExtraction => "feature-extraction",
            Self::FillMask => "fill-mask",
            Self::TextClassification => "text-classification",
            Self::NaturalLanguageInference => "natural-language-inference",
            Self::ZeroShotClassification => "zero-shot-classification",
            Self::Reranking => "text-ranking",
            Self::TokenClassification => "token-classification",
            Self::QuestionAnswering => "question-answering",
            Self::TextGeneration => "text-generation",
            Self::Text2TextGeneration => "text2text-generation",
            Self::Summarization => "summarization",
            Self::Translation => "translation",
        }
    }

    /// The task of the model in `dir`. A model without a head, or with one that no task reads, gives vectors.
    ///
    /// # Errors
    /// When `config.json` is missing or damaged, or of a family that ptm doesn't know.
    pub fn of_dir(dir: &Path) -> Result<Self> {
        if dir.join("modules.json").is_file() {
            return Ok(Self::FeatureExtraction);
        }
        let family = Family::of_dir(dir)?;
        let config = json_file(dir, "config.json")?.unwrap_or_default();
        let class = class_of(&config);
        if class.as_deref().is_some_and(|class| class.ends_with("ForCausalLM")) {
            return Ok(Self::TextGeneration);
        }
        let head = class.and_then(|class| auto::head_of_class(family, &class));
        Ok(match head {
            Some("masked-lm" | "pretraining") => Self::FillMask,
            Some("sequence-classification") => classification(&config),
            Some("token-classification") => Self::TokenClassification,
            Some("question-answering") => Self::QuestionAnswering,
            Some("language-model") => match family {
                Family::Marian => Self::Translation,
                Family::Bart | Family::MBart | Family::T5 | Family::MT5 => seq2seq(&config),
                _ => Self::TextGeneration,
            },
            _ => Self::FeatureExtraction,
        })
    }

    /// Says that the model in `dir` has another head than `head`, which this task reads.
    pub(crate) fn check(self, dir: &Path, family: Family, head: &str) -> Result<()> {
        let config = json_file(dir, "config.json")?.unwrap_or_default();
        // files without a class, or with one that is not known, may still hold the head
        let Some(class) = class_of(&config) else { return Ok(()) };
        let Some(found) = auto::head_of_class(family, &class).filter(|found| *found != head) else { return Ok(()) };
        let has = Self::of_dir(dir)?;
        if has == self {
            // several heads hold what the task reads
            return Ok(());
        }
        Err(Error::Input(format!(
            "{}: {self} needs a model with a {head} head, but this is a {class}, which has {found}: it is for {has}",
            dir.display()
        )))
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

type Config = serde_json::Map<String, Value>;

fn class_of(config: &Config) -> Option<String> {
    config.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str).map(str::to_owned)
}

/// What a classifier of texts is for, by its labels.
fn classification(config: &Config) -> Task {
    let names = config.get("id2label").and_then(Value::as_object);
    let entails = |name: &Value| name.as_str().is_some_and(|name| name.to_lowercase().starts_with("entail"));
    let count =
        names.map_or_else(|| config.get("num_labels").and_then(Value::as_u64), |names| Some(names.len() as u64));
    let regression = config.get("problem_type").and_then(Value::as_str) == Some("regression");
    match (names, count) {
        (Some(names), _) if names.values().any(entails) => Task::NaturalLanguageInference,
        (_, Some(1)) if !regression => Task::Reranking,
        _ => Task::TextClassification,
    }
}

/// What an encoder-decoder is for, by the only task that its configuration has parameters for.
fn seq2seq(config: &Config) -> Task {
    let tasks = config.get("task_specific_params").and_then(Value::as_object);
    let names: Vec<&str> = tasks.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    match names[..] {
        ["summarization"] => Task::Summarization,
        [name] if name.starts_with("translation") => Task::Translation,
        _ => Task::Text2TextGeneration,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(config: Value) -> Task {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        Task::of_dir(dir.path()).unwrap()
    }

    #[test]
    fn the_class_tells_the_task() {
        for (kind, class, wanted) in [
            ("bert", "BertForMaskedLM", Task::FillMask),
            ("bert", "BertForPreTraining", Task::FillMask),
            ("electra", "ElectraForPreTraining", Task::FeatureExtraction),
            ("bert", "BertModel", Task::FeatureExtraction),
            ("bert", "BertForTokenClassification", Task::TokenClassification),
            ("xlnet", "XLNetForQuestionAnsweringSimple", Task::QuestionAnswering),
            ("gpt2", "GPT2LMHeadModel", Task::TextGeneration),
            ("bart", "BartForCausalLM", Task::TextGeneration),
            ("bart", "BartForConditionalGeneration", Task::Text2TextGeneration),
            ("marian", "MarianMTModel", Task::Translation),
            ("bert", "BertForSequenceClassification", Task::TextClassification),
        ] {
            assert_eq!(task(json!({"model_type": kind, "architectures": [class]})), wanted, "{class}");
        }
        assert_eq!(task(json!({"model_type": "bert"})), Task::FeatureExtraction);
        let bart = |tasks: Value| {
            task(json!({"model_type": "bart", "architectures": ["BartForConditionalGeneration"],
                "task_specific_params": tasks}))
        };
        assert_eq!(bart(json!({"summarization": {}})), Task::Summarization);
        assert_eq!(bart(json!({"summarization": {}, "translation_en_to_de": {}})), Task::Text2TextGeneration);
    }

    #[test]
    fn labels_tell_what_a_classifier_is_for() {
        let with = |fields: Value| {
            let mut config = json!({"model_type": "bert", "architectures": ["BertForSequenceClassification"]});
            config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            task(config)
        };
        assert_eq!(
            with(json!({"id2label": {"0": "contradiction", "1": "Entailment"}})),
            Task::NaturalLanguageInference
        );
        assert_eq!(with(json!({"id2label": {"0": "LABEL_0"}})), Task::Reranking);
        assert_eq!(with(json!({"num_labels": 1, "problem_type": "regression"})), Task::TextClassification);
        assert_eq!(with(json!({"id2label": {"0": "no", "1": "yes"}})), Task::TextClassification);
    }
}
