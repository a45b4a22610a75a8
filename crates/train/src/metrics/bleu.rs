//! BLEU (Papineni et al. 2002) as sacreBLEU computes it: corpus and sentence, several references, its smoothing
//! methods (Chen and Cherry 2014). In percent.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::ngrams::count;
use super::{BleuTokens, is_blank, words};

/// N-grams up to this length.
const ORDER: usize = 4;

/// What happens where no n-gram of some length matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Smoothing {
    /// The score is 0.
    None,
    /// So many count as matching; sacreBLEU's default is 0.1.
    Floor(f64),
    /// So many are added to counts from pairs on; sacreBLEU's default is 1.
    AddK(f64),
    /// Half, then a quarter, … count as matching: the default.
    #[default]
    Exp,
}

/// How BLEU is computed; the default is sacreBLEU's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BleuOptions {
    /// Words.
    pub tokens: BleuTokens,
    /// Smoothing.
    pub smoothing: Smoothing,
    /// Upper and lower case are the same.
    pub lowercase: bool,
    /// Only lengths of n-grams that the text has; for single sentences.
    pub effective_order: bool,
}

/// A score with its parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bleu {
    /// The score, in percent.
    pub score: f64,
    /// Shares of matching n-grams, in percent, smoothed.
    pub precisions: [f64; ORDER],
    /// The brevity penalty, 0 to 1.
    pub brevity_penalty: f64,
    /// Words of the hypotheses.
    pub length: u64,
    /// Words of the references that are nearest in length.
    pub reference_length: u64,
}

/// What a sentence adds to a corpus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BleuStatistics {
    length: u64,
    reference_length: u64,
    matching: [u64; ORDER],
    all: [u64; ORDER],
}

impl BleuStatistics {
    /// Of one sentence with its references.
    pub fn new(references: &[String], hypothesis: &str, options: &BleuOptions) -> Self {
        let prepare = |text: &str| {
            let text = if options.lowercase { text.to_lowercase() } else { text.to_owned() };
            options.tokens.apply(text.trim_end_matches(is_blank))
        };
        let hypothesis = prepare(hypothesis);
        let hypothesis: Vec<&str> = words(&hypothesis).collect();
        let references: Vec<String> = references.iter().map(|reference| prepare(reference)).collect();
        let references: Vec<Vec<&str>> = references.iter().map(|reference| words(reference).collect()).collect();
        let nearest = references.iter().map(Vec::len).min_by_key(|&length| (length.abs_diff(hypothesis.len()), length));
        let mut found =
            Self { length: hypothesis.len() as u64, reference_length: nearest.unwrap_or(0) as u64, ..Self::default() };
        for n in 1..=ORDER {
            let mut wanted: HashMap<&[&str], u64> = HashMap::new();
            for reference in &references {
                for (gram, times) in count(reference, n) {
                    let most = wanted.entry(gram).or_default();
                    *most = times.max(*most);
                }
            }
            for (gram, times) in count(&hypothesis, n) {
                found.all[n - 1] += times;
                found.matching[n - 1] += times.min(wanted.get(gram).copied().unwrap_or(0));
            }
        }
        found
    }

    /// Adds another sentence.
    pub fn add(&mut self, other: &Self) {
        self.length += other.length;
        self.reference_length += other.reference_length;
        for n in 0..ORDER {
            self.matching[n] += other.matching[n];
            self.all[n] += other.all[n];
        }
    }

    /// The score.
    pub fn bleu(&self, options: &BleuOptions) -> Bleu {
        let (length, reference_length) = (self.length as f64, self.reference_length as f64);
        let brevity_penalty = match self.length {
            _ if length >= reference_length => 1.0,
            0 => 0.0,
            _ => (1.0 - reference_length / length).exp(),
        };
        let mut bleu = Bleu {
            score: 0.0,
            precisions: [0.0; ORDER],
            brevity_penalty,
            length: self.length,
            reference_length: self.reference_length,
        };
        if self.matching == [0; ORDER] {
            return bleu;
        }
        let (mut halves, mut order) = (1.0, ORDER);
        for n in 0..ORDER {
            let (mut matching, mut all) = (self.matching[n] as f64, self.all[n] as f64);
            if let (Smoothing::AddK(k), 1..) = (options.smoothing, n) {
                matching += k;
                all += k;
            }
            if all == 0.0 {
                break;
            }
            if options.effective_order {
                order = n + 1;
            }
            bleu.precisions[n] = if matching > 0.0 {
                100.0 * matching / all
            } else {
                match options.smoothing {
                    Smoothing::Exp => {
                        halves *= 2.0;
                        100.0 / (halves * all)
                    }
                    Smoothing::Floor(value) => 100.0 * value / all,
                    Smoothing::None | Smoothing::AddK(_) => 0.0,
                }
            };
        }
        let precisions = &bleu.precisions[..order];
        if precisions.iter().all(|&p| p > 0.0) {
            let mean = precisions.iter().map(|p| p.ln()).sum::<f64>() / order as f64;
            bleu.score = brevity_penalty * mean.exp();
        }
        bleu
    }
}

/// BLEU of hypotheses, each with its references.
///
/// # Panics
/// When there are not as many lists of references as hypotheses.
pub fn corpus_bleu(references: &[Vec<String>], hypotheses: &[String], options: &BleuOptions) -> Bleu {
    assert_eq!(references.len(), hypotheses.len(), "references for each hypothesis");
    let mut sum = BleuStatistics::default();
    for (references, hypothesis) in references.iter().zip(hypotheses) {
        sum.add(&BleuStatistics::new(references, hypothesis, options));
    }
    sum.bleu(options)
}

/// BLEU of one sentence; set `effective_order`, as sacreBLEU's `sentence_bleu` does.
pub fn sentence_bleu(references: &[String], hypothesis: &str, options: &BleuOptions) -> Bleu {
    BleuStatistics::new(references, hypothesis, options).bleu(options)
}
