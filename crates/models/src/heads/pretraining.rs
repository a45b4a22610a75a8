//! BERT's pretraining pair: masked language model and next sentence over one body.

use burn::prelude::*;

use super::{Head, MaskedLmHead, NextSentenceHead};
use crate::config::{EncoderConfig, Family};

/// Both heads.
#[derive(Module, Debug)]
pub struct PretrainingHead {
    /// Over the masked rows.
    pub masked_lm: MaskedLmHead,
    /// Over the first rows.
    pub next_sentence: NextSentenceHead,
}

impl Head for PretrainingHead {
    const NAME: &'static str = "pretraining";

    fn new(config: &EncoderConfig, device: &Device) -> Self {
        Self { masked_lm: Head::new(config, device), next_sentence: Head::new(config, device) }
    }

    fn class(family: Family) -> Option<&'static str> {
        matches!(family, Family::Bert | Family::Ernie).then_some("ForPreTraining")
    }
}
