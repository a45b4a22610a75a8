//! What a directory or a family can do, before any weight is read.

use crate::config::Family;
use crate::heads::{
    Bare, ChoiceHead, Head, MaskedLmHead, NextSentenceHead, Pooler, PretrainingHead, ReplacedTokenHead, SequenceHead,
    SpanHead, TokenHead,
};

/// The names of the heads that `family` has.
pub fn heads_of(family: Family) -> Vec<&'static str> {
    fn has<H: Head>(family: Family) -> Option<&'static str> {
        H::class(family).map(|_| H::NAME)
    }
    let all = [
        has::<Bare>,
        has::<Pooler>,
        has::<MaskedLmHead>,
        has::<PretrainingHead>,
        has::<NextSentenceHead>,
        has::<SequenceHead>,
        has::<TokenHead>,
        has::<SpanHead>,
        has::<ChoiceHead>,
        has::<ReplacedTokenHead>,
    ];
    all.iter().filter_map(|has| has(family)).collect()
}

/// The head that a class name of `transformers` stands for, `BertForMaskedLM` for instance.
pub fn head_of_class(family: Family, class: &str) -> Option<&'static str> {
    fn is<H: Head>(family: Family, end: &str) -> Option<&'static str> {
        (H::class(family) == Some(end)).then_some(H::NAME)
    }
    let end = class.strip_prefix(family.class_prefix())?;
    let all = [
        is::<Bare>,
        is::<MaskedLmHead>,
        is::<PretrainingHead>,
        is::<NextSentenceHead>,
        is::<SequenceHead>,
        is::<TokenHead>,
        is::<SpanHead>,
        is::<ChoiceHead>,
        is::<ReplacedTokenHead>,
    ];
    all.iter().find_map(|is| is(family, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_class_end_means_different_heads() {
        assert_eq!(head_of_class(Family::Bert, "BertForPreTraining"), Some("pretraining"));
        assert_eq!(head_of_class(Family::Electra, "ElectraForPreTraining"), Some("replaced-token-detection"));
        assert_eq!(head_of_class(Family::Bert, "BertLMHeadModel"), None);
        assert!(!heads_of(Family::DistilBert).contains(&"next-sentence"));
    }
}
