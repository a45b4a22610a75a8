//! The families, and what a configuration says about which one it is.

use std::path::Path;

use serde_json::{Map, Value};

use super::fields::field;
use super::shared::read_file;
use crate::error::{Error, Result};

/// A family of models. Those of one [`Kind`] differ in the spelling of names and a few options.
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
    /// GPT, the first: norms after each block.
    Gpt,
    /// GPT-2: norms before each block and one at the end.
    Gpt2,
    /// BART.
    Bart,
    /// mBART: BART with norms before each block.
    MBart,
    /// Marian's translators.
    Marian,
    /// T5 in all versions, and ByT5.
    T5,
    /// mT5.
    MT5,
    /// XLNet.
    Xlnet,
}

/// What families of one kind share: a body, and the configuration that describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`crate::Encoder`] with [`crate::EncoderConfig`].
    Encoder,
    /// [`crate::Decoder`] with [`crate::DecoderConfig`].
    Decoder,
    /// [`crate::Bart`], or [`crate::BartEncoder`] or [`crate::BartDecoder`], with [`crate::BartConfig`].
    Bart,
    /// [`crate::T5`], or [`crate::T5Encoder`], with [`crate::T5Config`].
    T5,
    /// [`crate::Xlnet`] with [`crate::XlnetConfig`].
    Xlnet,
}

impl Kind {
    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encoder => "an encoder",
            Self::Decoder => "a decoder",
            Self::Bart => "an encoder-decoder of BART's make",
            Self::T5 => "an encoder-decoder of T5's make",
            Self::Xlnet => "a permutation model",
        }
    }
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Bert,
        Self::Roberta,
        Self::XlmRoberta,
        Self::DistilBert,
        Self::Electra,
        Self::Ernie,
        Self::Gpt,
        Self::Gpt2,
        Self::Bart,
        Self::MBart,
        Self::Marian,
        Self::T5,
        Self::MT5,
        Self::Xlnet,
    ];

    /// What kind of body its models have.
    pub fn kind(self) -> Kind {
        match self {
            Self::Bert | Self::Roberta | Self::XlmRoberta | Self::DistilBert | Self::Electra | Self::Ernie => {
                Kind::Encoder
            }
            Self::Gpt | Self::Gpt2 => Kind::Decoder,
            Self::Bart | Self::MBart | Self::Marian => Kind::Bart,
            Self::T5 | Self::MT5 => Kind::T5,
            Self::Xlnet => Kind::Xlnet,
        }
    }

    /// The `model_type` of `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
            Self::DistilBert => "distilbert",
            Self::Electra => "electra",
            Self::Ernie => "ernie",
            Self::Gpt => "openai-gpt",
            Self::Gpt2 => "gpt2",
            Self::Bart => "bart",
            Self::MBart => "mbart",
            Self::Marian => "marian",
            Self::T5 => "t5",
            Self::MT5 => "mt5",
            Self::Xlnet => "xlnet",
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
            Self::Gpt => "OpenAIGPT",
            Self::Gpt2 => "GPT2",
            Self::Bart => "Bart",
            Self::MBart => "MBart",
            Self::Marian => "Marian",
            Self::T5 => "T5",
            Self::MT5 => "MT5",
            Self::Xlnet => "XLNet",
        }
    }

    /// Whether names and heads are RoBERTa's.
    pub fn is_roberta(self) -> bool {
        matches!(self, Self::Roberta | Self::XlmRoberta)
    }

    /// The family that `config.json` of the directory `dir` names.
    ///
    /// # Errors
    /// When the file can't be read, isn't JSON, or names none that ptm knows.
    pub fn of_dir(dir: &Path) -> Result<Self> {
        read_file(dir, |json| Self::from_json(&json))
    }

    /// The family that a configuration names, which has to be of `kind`.
    pub(super) fn of_kind(kind: Kind, json: &Map<String, Value>) -> Result<Self> {
        let family = Self::from_json(json)?;
        if family.kind() == kind {
            return Ok(family);
        }
        let fitting = Self::ALL.into_iter().filter(|family| family.kind() == kind);
        Err(Error::OtherKind {
            path: "config.json".into(),
            found: family.model_type(),
            is: family.kind().name(),
            wanted: kind.name(),
            fitting: fitting.map(Self::model_type).collect(),
        })
    }

    /// The family that a parsed `config.json` names.
    ///
    /// # Errors
    /// When it names none that ptm knows.
    pub fn from_json(json: &Map<String, Value>) -> Result<Self> {
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
                let rest = class.strip_prefix(family.class_prefix());
                rest.is_some_and(|rest| {
                    ["Model", "LMHeadModel", "MTModel", "EncoderModel", "DoubleHeadsModel"].contains(&rest)
                        || rest.starts_with("For")
                })
            })
        });
        by_class.ok_or_else(|| {
            let problem = "is missing, and architectures doesn't tell the family either; \
                           add the family's name, for instance \"model_type\": \"bert\"";
            field("model_type", problem)
        })
    }
}
