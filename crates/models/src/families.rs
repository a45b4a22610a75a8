//! The families' names in Hugging Face's files, one table a family.
//! SpanBERT's checkpoints are spelled as BERT's, XLM-RoBERTa's as RoBERTa's.

mod bart;
mod bert;
mod distilbert;
mod electra;
mod ernie;
mod gpt;
mod roberta;
mod t5;
mod xlnet;

use crate::config::Family;
use crate::names::Entry;

/// A family's names.
pub struct Table {
    /// What the body's names begin with in a model with a head.
    pub prefix: &'static str,
    /// The body.
    pub body: &'static [Entry],
    /// The head of a given name.
    pub head: fn(&str) -> &'static [Entry],
}

/// The table of `family`.
pub fn table(family: Family) -> &'static Table {
    match family {
        Family::Bert => &bert::TABLE,
        Family::Roberta | Family::XlmRoberta => &roberta::TABLE,
        Family::DistilBert => &distilbert::TABLE,
        Family::Electra => &electra::TABLE,
        Family::Ernie => &ernie::TABLE,
        Family::Gpt => &gpt::FIRST,
        Family::Gpt2 => &gpt::SECOND,
        Family::Bart | Family::MBart | Family::Marian => &bart::TABLE,
        Family::T5 | Family::MT5 => &t5::TABLE,
        Family::Xlnet => &xlnet::TABLE,
    }
}
