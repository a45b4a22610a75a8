//! Named entities from tags and their F1, as seqeval has it by default (the rules of CoNLL's conlleval): an entity is
//! right when its kind, start and end are. Reads BIO, IOB1 and BIOES alike; a tag that continues nothing begins anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{Averages, Counts};

/// An entity: words `start..=end` of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity<'a> {
    /// Its kind, `PER`; `_` where tags have none.
    pub kind: &'a str,
    /// The first word.
    pub start: usize,
    /// The last word.
    pub end: usize,
}

/// How well entities were found.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityScores {
    /// Each kind's counts, by name.
    pub kinds: Vec<(String, Counts)>,
    /// Of all entities together.
    pub micro: Averages,
    /// The mean over kinds.
    pub macro_: Averages,
    /// The mean over kinds, by frequency.
    pub weighted: Averages,
    /// The share of words whose tag is right.
    pub accuracy: f64,
}

/// Prefix and kind of a tag.
fn parts(tag: &str) -> (char, &str) {
    let Some(prefix) = tag.chars().next() else { return ('O', "_") };
    let rest = &tag[prefix.len_utf8()..];
    let kind = rest.split_once('-').map_or(rest, |(_, kind)| kind);
    (prefix, if kind.is_empty() { "_" } else { kind })
}

/// The entities of a sentence's tags, in order.
pub fn entities<S: AsRef<str>>(tags: &[S]) -> Vec<Entity<'_>> {
    let mut found = Vec::new();
    let (mut last, mut last_kind, mut start) = ('O', "", 0);
    let end = std::iter::once("O");
    for (at, tag) in tags.iter().map(AsRef::as_ref).chain(end).enumerate() {
        let (prefix, kind) = parts(tag);
        let other = last_kind != kind;
        let ends = matches!((last, prefix), ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O'))
            || !matches!(last, 'O' | '.') && other;
        let starts = matches!((last, prefix), (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I'))
            || !matches!(prefix, 'O' | '.') && other;
        if ends && at > 0 {
            found.push(Entity { kind: last_kind, start, end: at - 1 });
        }
        if starts {
            start = at;
        }
        (last, last_kind) = (prefix, kind);
    }
    found
}

/// Compares the tags of sentences.
///
/// # Panics
/// When the two differ in the number of sentences, or a sentence in its number of tags.
pub fn entity_scores<S: AsRef<str>>(gold: &[Vec<S>], predicted: &[Vec<S>]) -> EntityScores {
    assert_eq!(gold.len(), predicted.len(), "a prediction for each sentence");
    let mut kinds: BTreeMap<&str, Counts> = BTreeMap::new();
    let (mut right, mut words) = (0, 0);
    for (gold, predicted) in gold.iter().zip(predicted) {
        assert_eq!(gold.len(), predicted.len(), "a tag for each word");
        right += gold.iter().zip(predicted).filter(|(a, b)| a.as_ref() == b.as_ref()).count();
        words += gold.len();
        let (gold, predicted): (BTreeSet<_>, BTreeSet<_>) =
            (entities(gold).into_iter().collect(), entities(predicted).into_iter().collect());
        for entity in &gold {
            let counts = kinds.entry(entity.kind).or_default();
            counts.gold += 1;
            counts.right += u64::from(predicted.contains(entity));
        }
        for entity in &predicted {
            kinds.entry(entity.kind).or_default().given += 1;
        }
    }
    let counts: Vec<Counts> = kinds.values().copied().collect();
    EntityScores {
        kinds: kinds.into_iter().map(|(kind, counts)| (kind.to_owned(), counts)).collect(),
        micro: Averages::micro(&counts),
        macro_: Averages::macro_(&counts),
        weighted: Averages::weighted(&counts),
        accuracy: super::ratio(right as f64, words as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(tags: &[&str]) -> Vec<(String, usize, usize)> {
        entities(tags).iter().map(|e| (e.kind.to_owned(), e.start, e.end)).collect()
    }

    #[test]
    fn schemes() {
        let per = |start, end| ("PER".to_owned(), start, end);
        assert_eq!(found(&["B-PER", "I-PER", "O", "B-PER", "B-PER"]), [per(0, 1), per(3, 3), per(4, 4)]);
        assert_eq!(found(&["I-PER", "I-PER", "B-PER"]), [per(0, 1), per(2, 2)]);
        assert_eq!(found(&["B-PER", "E-PER", "S-PER", "O"]), [per(0, 1), per(2, 2)]);
        assert_eq!(found(&["B-PER", "I-LOC"]), [per(0, 0), ("LOC".to_owned(), 1, 1)]);
        assert_eq!(found(&["B-X-Y", ""]), [("X-Y".to_owned(), 0, 0)]);
    }
}
