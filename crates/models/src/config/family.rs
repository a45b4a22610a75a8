//! The families of encoders, and what a configuration says about which one it is.

use serde_json::{Map, Value};

use super::fields::field;
use crate::error::{Error, Result};

/// A family of encoders. What differs between them is the spelling of names and a few options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// BERT, and SpanBERT, whose checkpoints are BERT's.
    Bert,
    /// RoBERTa.
    Roberta,
    /// XLM-RoBERTa: RoBERTa with a SentencePiece vocabulary.
    XlmRoberta,
    /// DistilBERT.
    DistilBert,
    /// ELECTRA, generator or discriminator.
    Electra,
    /// ERNIE 1.0 to 3.0 as in `transformers`, with or without task ids.
    Ernie,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Bert, Self::Roberta, Self::XlmRoberta, Self::DistilBert, Self::Electra, Self::Ernie];

    /// The `model_type` of `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
            Self::DistilBert => "distilbert",
            Self::Electra => "electra",
            Self::Ernie => "ernie",
        }
    }

    /// How `transformers` begins the names of this family's classes.
    pub fn class_prefix(self) -> &'static str {
        match self {
            Self::Bert => "Bert",
            Self::Roberta => "Roberta",
            Self::XlmRoberta => "XLMRoberta",
            Self::DistilBert => "DistilBert",
            Self::Electra => "Electra",
            Self::Ernie => "Ernie",
        }
    }

    /// Whether names and heads are RoBERTa's.
    pub fn is_roberta(self) -> bool {
        matches!(self, Self::Roberta | Self::XlmRoberta)
    }

    pub(super) fn from_json(json: &Map<String, Value>) -> Result<Self> {
        let known = || Self::ALL.iter().map(|family| family.model_type()).collect();
        if let Some(found) = json.get("model_type").filter(|value| !value.is_null()) {
            let found = found.as_str().ok_or_else(|| field("model_type", "should be a string"))?;
            return Self::ALL.into_iter().find(|family| family.model_type() == found).ok_or_else(|| {
                Error::UnknownFamily { path: "config.json".into(), found: found.into(), known: known() }
            });
        }
        // configurations from before 2020 have no model_type; the architecture names the family as well
        let class = json.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
        let by_class = class.and_then(|class| {
            Self::ALL.into_iter().find(|family| {
                class.strip_prefix(family.class_prefix()).is_some_and(|rest| rest == "Model" || rest.starts_with("For"))
            })
        });
        by_class.ok_or_else(|| {
            let problem = "is missing, and architectures doesn't tell the family either; \
                           add the family's name, for instance \"model_type\": \"bert\"";
            field("model_type", problem)
        })
    }
}
