//! What a directory or a family can do, before any weight is read.

use crate::bart::{Bart, BartDecoder, BartEncoder};
use crate::body::Body;
use crate::config::{Family, Kind};
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::heads::{
    Bare, ChoiceHead, Head, LanguageModelHead, MaskedLmHead, NextSentenceHead, Pooler, PretrainingHead,
    ReplacedTokenHead, SequenceHead, SpanHead, TokenHead,
};
use crate::t5::{T5, T5Encoder};
use crate::xlnet::Xlnet;

/// A head's name, and the end of its class for a family.
type Known = (&'static str, fn(Family) -> Option<&'static str>);

fn known<H: Head<B>, B: Body>() -> Known {
    (H::NAME, H::class)
}

/// The heads over a body of `kind`.
fn heads(kind: Kind) -> Vec<Known> {
    match kind {
        Kind::Encoder => vec![
            known::<Bare, Encoder>(),
            known::<Pooler, Encoder>(),
            known::<MaskedLmHead, Encoder>(),
            known::<PretrainingHead, Encoder>(),
            known::<NextSentenceHead, Encoder>(),
            known::<SequenceHead, Encoder>(),
            known::<TokenHead, Encoder>(),
            known::<SpanHead, Encoder>(),
            known::<ChoiceHead, Encoder>(),
            known::<ReplacedTokenHead, Encoder>(),
        ],
        Kind::Decoder => vec![
            known::<Bare, Decoder>(),
            known::<LanguageModelHead, Decoder>(),
            known::<SequenceHead, Decoder>(),
            known::<TokenHead, Decoder>(),
            known::<SpanHead, Decoder>(),
        ],
        Kind::Bart => vec![
            known::<Bare, Bart>(),
            known::<Bare, BartEncoder>(),
            known::<LanguageModelHead, Bart>(),
            known::<LanguageModelHead, BartDecoder>(),
            known::<SequenceHead, Bart>(),
            known::<SpanHead, Bart>(),
        ],
        Kind::T5 => vec![
            known::<Bare, T5>(),
            known::<Bare, T5Encoder>(),
            known::<LanguageModelHead, T5>(),
            known::<SequenceHead, T5>(),
            known::<TokenHead, T5Encoder>(),
            known::<SpanHead, T5>(),
        ],
        Kind::Xlnet => vec![
            known::<Bare, Xlnet>(),
            known::<LanguageModelHead, Xlnet>(),
            known::<SequenceHead, Xlnet>(),
            known::<TokenHead, Xlnet>(),
            known::<SpanHead, Xlnet>(),
        ],
    }
}

/// The names of the heads that `family` has.
pub fn heads_of(family: Family) -> Vec<&'static str> {
    let heads = heads(family.kind()).into_iter();
    let mut names: Vec<_> = heads.filter_map(|(name, class)| class(family).map(|_| name)).collect();
    names.dedup();
    names
}

/// The head that a class name of `transformers` stands for, `BertForMaskedLM` for instance.
pub fn head_of_class(family: Family, class: &str) -> Option<&'static str> {
    let end = class.strip_prefix(family.class_prefix())?;
    heads(family.kind()).into_iter().find_map(|(name, class)| (class(family) == Some(end)).then_some(name))
}

/// Whether ptm lacks the head of this class of `transformers`. Some of them spell their tensors as other heads do, and
/// would be taken for those.
pub fn lacks_head_of(class: &str) -> bool {
    const LACKING: [&str; 4] =
        ["XLNetForMultipleChoice", "XLNetForQuestionAnswering", "GPT2DoubleHeadsModel", "OpenAIGPTDoubleHeadsModel"];
    LACKING.contains(&class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_class_end_means_different_heads() {
        assert_eq!(head_of_class(Family::Bert, "BertForPreTraining"), Some("pretraining"));
        assert_eq!(head_of_class(Family::Electra, "ElectraForPreTraining"), Some("replaced-token-detection"));
        assert_eq!(head_of_class(Family::Bert, "BertLMHeadModel"), None);
        assert_eq!(head_of_class(Family::Gpt2, "GPT2LMHeadModel"), Some("language-model"));
        assert_eq!(head_of_class(Family::Marian, "MarianEncoder"), Some("hidden-states"));
        assert_eq!(heads_of(Family::Gpt), ["hidden-states", "language-model", "sequence-classification"]);
        assert!(!heads_of(Family::DistilBert).contains(&"next-sentence"));
    }
}
