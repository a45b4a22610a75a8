//! Examples of which classes are foretold, not tokens: one of a whole sequence, or one of each of some tokens. ERNIE 2.0's tasks
//! make such.

use super::sentence_reordering::SentenceReordering;

/// A sequence with classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classified {
    /// What is read, `[n]`.
    pub ids: Vec<u32>,
    /// The segment of each token, `[n]`.
    pub segments: Vec<u32>,
    /// The places that have a class, ascending, `[m]`; that of a whole sequence is at its first token.
    pub places: Vec<usize>,
    /// The class of each, `[m]`.
    pub labels: Vec<u32>,
    /// What classes are called, by number.
    pub classes: &'static [&'static str],
}

impl Classified {
    /// Parts between separators, each a segment of its own, with one class for all.
    pub(crate) fn of_parts(cls: u32, sep: u32, parts: &[&[u32]], label: u32) -> Self {
        let mut made = Self { ids: vec![cls], segments: vec![0], places: vec![0], labels: vec![label], classes: &[] };
        for (segment, part) in (0..).zip(parts) {
            made.ids.extend_from_slice(part);
            made.ids.push(sep);
            made.segments.resize(made.ids.len(), segment);
        }
        made
    }

    /// What the class at a place is called: by name, else, as those of sentence reordering, by their order.
    pub fn said(&self, number: u32) -> String {
        self.classes.get(number as usize).map_or_else(|| order(number), |&name| name.to_owned())
    }
}

/// A class of sentence reordering: where each segment stood, from 1.
fn order(number: u32) -> String {
    let order: Vec<String> = SentenceReordering::order(number).iter().map(|place| (place + 1).to_string()).collect();
    format!("order {}", order.join(" "))
}
