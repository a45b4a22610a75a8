//! chrF and chrF++ (Popović 2015, 2017) as sacreBLEU computes them: n-grams of characters up to 6 without blanks, with
//! `word_order` 2 also of words; recall counts β² = 4 times as much. In percent.

use serde::{Deserialize, Serialize};

use super::ngrams::{count, shared};
use super::words;

/// How chrF is computed; the default is sacreBLEU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChrfOptions {
    /// Characters up to this many. Default: 6.
    pub char_order: usize,
    /// Words up to this many. Default: 0; 2 is chrF++.
    pub word_order: usize,
    /// How much more recall counts than precision, squared. Default: 2.
    pub beta: u32,
    /// Upper and lower case are the same.
    pub lowercase: bool,
}

impl Default for ChrfOptions {
    fn default() -> Self {
        Self { char_order: 6, word_order: 0, beta: 2, lowercase: false }
    }
}

impl ChrfOptions {
    /// chrF++.
    pub fn plus_plus() -> Self {
        Self { word_order: 2, ..Self::default() }
    }
}

/// For each order n-grams of hypothesis, of reference, and shared.
pub type ChrfStatistics = Vec<[u64; 3]>;

/// The statistics of one sentence: those with the reference that fits best.
pub fn statistics(references: &[String], hypothesis: &str, options: &ChrfOptions) -> ChrfStatistics {
    let mut best: Option<(f64, ChrfStatistics)> = None;
    for reference in references {
        let found = against(reference, hypothesis, options);
        let score = score(&found, options);
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            best = Some((score, found));
        }
    }
    best.map_or_else(|| vec![[0; 3]; options.char_order + options.word_order], |(_, found)| found)
}

fn against(reference: &str, hypothesis: &str, options: &ChrfOptions) -> ChrfStatistics {
    let prepare = |text: &str| if options.lowercase { text.to_lowercase() } else { text.to_owned() };
    let (reference, hypothesis) = (prepare(reference), prepare(hypothesis));
    let characters = |text: &str| -> Vec<char> { words(text).flat_map(str::chars).collect() };
    let (reference_chars, hypothesis_chars) = (characters(&reference), characters(&hypothesis));
    let (reference_words, hypothesis_words) = (apart(&reference), apart(&hypothesis));
    let chars = (1..=options.char_order).map(|n| triple(&hypothesis_chars, &reference_chars, n));
    let words = (1..=options.word_order).map(|n| triple(&hypothesis_words, &reference_words, n));
    chars.chain(words).collect()
}

fn triple<T: Eq + std::hash::Hash>(hypothesis: &[T], reference: &[T], n: usize) -> [u64; 3] {
    let (hypothesis, reference) = (count(hypothesis, n), count(reference, n));
    let given = if reference.is_empty() { 0 } else { hypothesis.values().sum() };
    [given, reference.values().sum(), shared(&hypothesis, &reference)]
}

/// Words with a mark at their end or beginning set apart.
fn apart(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for word in words(text) {
        let mut characters = word.chars();
        let (first, last) = (characters.next(), characters.next_back());
        match (first, last) {
            (Some(_), Some(last)) if last.is_ascii_punctuation() => {
                parts.push(word[..word.len() - 1].to_owned());
                parts.push(last.to_string());
            }
            (Some(first), Some(_)) if first.is_ascii_punctuation() => {
                parts.push(first.to_string());
                parts.push(word[1..].to_owned());
            }
            _ => parts.push(word.to_owned()),
        }
    }
    parts
}

/// The F score of statistics.
pub fn score(statistics: &[[u64; 3]], options: &ChrfOptions) -> f64 {
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for &[given, wanted, matching] in statistics {
        if given > 0 && wanted > 0 {
            precision += matching as f64 / given as f64;
            recall += matching as f64 / wanted as f64;
            orders += 1.0;
        }
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / orders, recall / orders);
    let factor = f64::from(options.beta).powi(2);
    100.0 * (1.0 + factor) * precision * recall / (factor * precision + recall)
}

/// chrF of hypotheses, each with its references.
///
/// # Panics
/// When there are not as many lists of references as hypotheses.
pub fn corpus_chrf(references: &[Vec<String>], hypotheses: &[String], options: &ChrfOptions) -> f64 {
    assert_eq!(references.len(), hypotheses.len(), "references for each hypothesis");
    let mut sum = vec![[0; 3]; options.char_order + options.word_order];
    for (references, hypothesis) in references.iter().zip(hypotheses) {
        for (sum, found) in sum.iter_mut().zip(statistics(references, hypothesis, options)) {
            (0..3).for_each(|i| sum[i] += found[i]);
        }
    }
    score(&sum, options)
}

/// chrF of one sentence.
pub fn sentence_chrf(references: &[String], hypothesis: &str, options: &ChrfOptions) -> f64 {
    score(&statistics(references, hypothesis, options), options)
}
