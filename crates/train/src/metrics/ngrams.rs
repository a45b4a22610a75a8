//! Counting n-grams, for ROUGE, BLEU and chrF.

use std::collections::HashMap;
use std::hash::Hash;

/// How often each run of `n` items occurs.
pub(super) fn count<T: Eq + Hash>(items: &[T], n: usize) -> HashMap<&[T], u64> {
    let mut counts = HashMap::new();
    for gram in items.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

/// How many n-grams the two share, each as often as in the one that has it less often.
pub(super) fn shared<T: Eq + Hash>(a: &HashMap<&[T], u64>, b: &HashMap<&[T], u64>) -> u64 {
    a.iter().map(|(gram, &count)| count.min(b.get(gram).copied().unwrap_or(0))).sum()
}
