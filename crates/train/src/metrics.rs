//! Metrics, one a file, each equal to the package that others quote: scikit-learn, SciPy, seqeval, SQuAD's script,
//! rouge-score, sacreBLEU. Pure functions of gold and predictions; shares are between 0 and 1 unless said otherwise.

pub mod bleu;
mod bleu_tokens;
pub mod bootstrap;
pub mod calibration;
pub mod chrf;
pub mod classification;
pub mod correlation;
pub mod entities;
mod ngrams;
pub mod perplexity;
mod porter;
pub mod rouge;
pub mod squad;

pub use bleu::{Bleu, BleuOptions, Smoothing, corpus_bleu, sentence_bleu};
pub use bleu_tokens::BleuTokens;
pub use bootstrap::Interval;
pub use chrf::{ChrfOptions, corpus_chrf, sentence_chrf};
pub use classification::{Averages, Confusion, Counts, accuracy};
pub use correlation::{matthews, pearson, spearman};
pub use entities::{Entity, EntityScores, entities, entity_scores};
pub use perplexity::Perplexity;
pub use rouge::{Rouge, RougeScores, rouge};
pub use squad::{SquadScores, squad};

/// The share of hypotheses that are one of their references, letter by letter. 0 for no hypotheses.
///
/// # Panics
/// When there are not as many lists of references as hypotheses.
pub fn exact_match(references: &[Vec<String>], hypotheses: &[String]) -> f64 {
    assert_eq!(references.len(), hypotheses.len(), "references for each hypothesis");
    let equal = references.iter().zip(hypotheses).filter(|(all, one)| all.contains(one)).count();
    ratio(equal as f64, hypotheses.len() as f64)
}

/// `a / b`, 0 for nothing of nothing.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// Blanks as Python's `str.split` counts them: Unicode's, and the four separators of ASCII.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// The parts of a text between blanks.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_blank).filter(|word| !word.is_empty())
}
