//! ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum (Lin 2004) as the package rouge-score computes them: its tokens (lower
//! case, a to z and digits), its stemmer, its summary-level subsequence.

use std::collections::{BTreeSet, HashMap};

use super::ngrams::{count, shared};
use super::{porter, ratio};

/// One kind of overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rouge {
    /// Of what was written.
    pub precision: f64,
    /// Of what should be written.
    pub recall: f64,
    /// Their harmonic mean: what is quoted.
    pub f: f64,
}

impl Rouge {
    fn new(hits: f64, given: usize, wanted: usize) -> Self {
        let (precision, recall) = (ratio(hits, given as f64), ratio(hits, wanted as f64));
        Self { precision, recall, f: ratio(2.0 * precision * recall, precision + recall) }
    }
}

/// The four that are usual.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RougeScores {
    /// Single words.
    pub one: Rouge,
    /// Pairs of words.
    pub two: Rouge,
    /// The longest common subsequence.
    pub l: Rouge,
    /// The same sentence by sentence, a sentence a line.
    pub l_sum: Rouge,
}

/// The cost of ROUGE-L is quadratic: of longer texts, and of longer lines for ROUGE-Lsum, the beginning is compared.
const LONGEST: usize = 20_000;
const LONGEST_LINE: usize = 4_000;

/// Compares a text with a reference; `stem` brings words to their stems first, as most papers do.
pub fn rouge(reference: &str, text: &str, stem: bool) -> RougeScores {
    let (wanted, given) = (tokens(reference, stem), tokens(text, stem));
    let grams = |n: usize| {
        let (wanted_grams, given_grams) = (count(&wanted, n), count(&given, n));
        let hits = shared(&wanted_grams, &given_grams) as f64;
        Rouge::new(hits, (given.len() + 1).saturating_sub(n), (wanted.len() + 1).saturating_sub(n))
    };
    RougeScores {
        one: grams(1),
        two: grams(2),
        l: Rouge::new(common_length(&wanted, &given), given.len(), wanted.len()),
        l_sum: summary_level(reference, text, stem),
    }
}

/// The best over several references, for each kind by its F.
pub fn rouge_of_best(references: &[String], text: &str, stem: bool) -> RougeScores {
    let mut best: Option<RougeScores> = None;
    for reference in references {
        let new = rouge(reference, text, stem);
        let better = |a: Rouge, b: Rouge| if b.f > a.f { b } else { a };
        best = Some(best.map_or(new, |old| RougeScores {
            one: better(old.one, new.one),
            two: better(old.two, new.two),
            l: better(old.l, new.l),
            l_sum: better(old.l_sum, new.l_sum),
        }));
    }
    best.unwrap_or_default()
}

fn tokens(text: &str, stem: bool) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).filter(|word| !word.is_empty());
    words.map(|word| if stem && word.len() > 3 { porter::stem(word) } else { word.to_owned() }).collect()
}

fn cut(words: &[String], most: usize) -> &[String] {
    &words[..words.len().min(most)]
}

/// The next row of the table of common subsequences' lengths, a column for each beginning of the text.
fn next_row(above: &[u32], wanted: &str, text: &[String]) -> Vec<u32> {
    let mut row = vec![0; text.len() + 1];
    for (j, given) in text.iter().enumerate() {
        row[j + 1] = if wanted == given { above[j] + 1 } else { above[j + 1].max(row[j]) };
    }
    row
}

/// The length of the longest common subsequence.
fn common_length(reference: &[String], text: &[String]) -> f64 {
    let (reference, text) = (cut(reference, LONGEST), cut(text, LONGEST));
    let row = reference.iter().fold(vec![0; text.len() + 1], |above, wanted| next_row(&above, wanted, text));
    f64::from(row[text.len()])
}

/// Which words of the reference one longest common subsequence has.
fn common(reference: &[String], text: &[String]) -> Vec<usize> {
    let (reference, text) = (cut(reference, LONGEST_LINE), cut(text, LONGEST_LINE));
    let mut table = vec![vec![0; text.len() + 1]];
    for wanted in reference {
        table.push(next_row(&table[table.len() - 1], wanted, text));
    }
    let (mut i, mut j) = (reference.len(), text.len());
    let mut found = Vec::new();
    while i > 0 && j > 0 {
        if reference[i - 1] == text[j - 1] {
            found.push(i - 1);
            i -= 1;
            j -= 1;
        } else if table[i][j - 1] > table[i - 1][j] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
    found
}

fn summary_level(reference: &str, text: &str, stem: bool) -> Rouge {
    let sentences = |text: &str| -> Vec<Vec<String>> {
        text.split('\n').filter(|line| !line.is_empty()).map(|line| tokens(line, stem)).collect()
    };
    let (wanted, given) = (sentences(reference), sentences(text));
    let total = |sentences: &[Vec<String>]| sentences.iter().map(Vec::len).sum::<usize>();
    let (wanted_words, given_words) = (total(&wanted), total(&given));
    if wanted_words == 0 || given_words == 0 {
        return Rouge::default();
    }
    let tally = |sentences: &[Vec<String>]| {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for word in sentences.iter().flatten() {
            *counts.entry(word.clone()).or_default() += 1;
        }
        counts
    };
    // a word counts as often as both texts have it, however many sentences share it
    let (mut wanted_left, mut given_left) = (tally(&wanted), tally(&given));
    let mut hits = 0.0;
    for sentence in &wanted {
        let union: BTreeSet<usize> = given.iter().flat_map(|other| common(sentence, other)).collect();
        for word in union.into_iter().map(|at| &sentence[at]) {
            if let (Some(a), Some(b)) = (given_left.get_mut(word), wanted_left.get_mut(word))
                && *a > 0
                && *b > 0
            {
                hits += 1.0;
                *a -= 1;
                *b -= 1;
            }
        }
    }
    Rouge::new(hits, given_words, wanted_words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_nothing() {
        assert_eq!(rouge("", "", true), RougeScores::default());
        assert_eq!(rouge("...", "a", false), RougeScores::default());
        let same = rouge("the cat sat\non the mat", "the cat sat\non the mat", true);
        assert_eq!((same.one.f, same.two.f, same.l.f, same.l_sum.f), (1.0, 1.0, 1.0, 1.0));
    }
}
