//! Encoded examples, and batches of them: what a model reads, and what it should have said.

use std::sync::Arc;

use ptm_ops::Indices;
use ptm_text::{Encoding, Packed, PositionStyle};

use super::questions::Window;
use crate::error::{Error, Result};

/// One sequence of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids.
    pub ids: Vec<u32>,
    /// As many segment ids.
    pub segments: Vec<u32>,
}

impl From<Encoding> for Sequence {
    fn from(encoding: Encoding) -> Self {
        Self { ids: encoding.ids, segments: encoding.segments }
    }
}

/// What an example should have given.
#[derive(Clone, Debug, PartialEq)]
pub enum Gold {
    /// One of the labels.
    Class(u32),
    /// A number for each label: 0 or 1, or whatever is regressed.
    Values(Vec<f32>),
    /// Rows of the sequence, ascending, with their labels.
    Tags(Vec<(u32, u32)>),
    /// Some words of a sentence, all of which are judged.
    Part(Part),
    /// Where an answer stands.
    Answer(Arc<Window>),
    /// The right one of an example's sequences.
    Choice(u32),
    /// What the decoder should have said, token by token.
    Text(Vec<u32>),
    /// The next token, at every one.
    Next,
}

/// The words of a sentence that one window of it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The labels of all words of the sentence, shared by its windows.
    pub tags: Arc<[u32]>,
    /// Rows of the window, ascending, with the words that they stand for; a row may stand for several.
    pub words: Vec<(u32, u32)>,
}

impl Part {
    /// Rows with their labels, each once: of several words the first one counts.
    pub fn targets(&self) -> impl Iterator<Item = (u32, u32)> {
        let rows = self.words.chunk_by(|a, b| a.0 == b.0);
        rows.map(|words| (words[0].0, self.tags[words[0].1 as usize]))
    }
}

/// One encoded example, or a window of a long one.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What is read: one sequence, or the choices.
    pub sequences: Vec<Sequence>,
    /// What a decoder reads beside it.
    pub decoder: Option<Vec<u32>>,
    /// The answer.
    pub gold: Gold,
}

impl Item {
    /// The number of tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.ids.len()).sum::<usize>()
            + self.decoder.as_ref().map_or(0, Vec::len)
    }
}

/// Examples that go through the model together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// All sequences, one after the other.
    pub source: Packed,
    /// What the decoder reads, for encoder-decoders.
    pub target: Option<Packed>,
    /// The answers, one an example.
    pub gold: Vec<Gold>,
    /// Sequences of an example: 1, or the number of choices.
    pub choices: usize,
}

impl Batch {
    /// Packs examples; positions run as `style` says, those of the decoder as `target_style`.
    ///
    /// # Errors
    /// When an example has no token, or examples differ in their number of choices.
    pub fn new(items: Vec<Item>, style: PositionStyle, target_style: PositionStyle) -> Result<Self> {
        let choices = items.first().map_or(1, |item| item.sequences.len());
        let mut source = Packed::default();
        let mut target = items.first().is_some_and(|item| item.decoder.is_some()).then(Packed::default);
        let mut gold = Vec::with_capacity(items.len());
        let packed = |error: ptm_text::PackedError| Error::Input(error.to_string());
        for item in items {
            if item.sequences.len() != choices || item.decoder.is_some() != target.is_some() {
                let problem = format!("examples with {choices} and with {} choices in one batch", item.sequences.len());
                return Err(Error::Input(format!("{problem}: give all the same number, or batches of size 1")));
            }
            for sequence in &item.sequences {
                source.push(&sequence.ids, Some(&sequence.segments), style).map_err(packed)?;
            }
            if let Some((target, ids)) = target.as_mut().zip(item.decoder) {
                target.push(&ids, None, target_style).map_err(packed)?;
            }
            gold.push(item.gold);
        }
        Ok(Self { source, target, gold, choices })
    }

    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.gold.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.gold.is_empty()
    }

    /// The number of tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.source.len() + self.target.as_ref().map_or(0, Packed::len)
    }

    /// The classes, one an example: labels or right choices.
    pub(crate) fn classes(&self) -> Indices {
        self.gold
            .iter()
            .map(|gold| match gold {
                Gold::Class(class) | Gold::Choice(class) => *class,
                _ => 0,
            })
            .collect()
    }

    /// The numbers of all examples, one example after the other.
    pub(crate) fn values(&self) -> Vec<f32> {
        let values = self.gold.iter().map(|gold| match gold {
            Gold::Values(values) => &values[..],
            _ => &[],
        });
        values.flatten().copied().collect()
    }

    /// The packed rows that have a label, and the labels: of tokens, of a decoder, of text that continues.
    pub(crate) fn rows(&self) -> (Indices, Indices) {
        let offsets = self.target.as_ref().map_or(&self.source.offsets, |target| &target.offsets);
        let ids = &self.source.ids;
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (gold, w) in self.gold.iter().zip(offsets.windows(2)) {
            let start = w[0] as u32;
            match gold {
                Gold::Tags(tags) => pairs.extend(tags.iter().map(|&(row, tag)| (start + row, tag))),
                Gold::Part(part) => pairs.extend(part.targets().map(|(row, tag)| (start + row, tag))),
                Gold::Text(targets) => pairs.extend((start..).zip(targets.iter().copied())),
                Gold::Next => pairs.extend((w[0]..w[1] - 1).map(|row| (row as u32, ids[row + 1]))),
                _ => {}
            }
        }
        (pairs.iter().map(|pair| pair.0).collect(), pairs.iter().map(|pair| pair.1).collect())
    }

    /// First and last tokens of the answers.
    pub(crate) fn spans(&self) -> (Indices, Indices) {
        let spans = || {
            self.gold.iter().map(|gold| match gold {
                Gold::Answer(window) => window.span,
                _ => [0, 0],
            })
        };
        (spans().map(|span| span[0]).collect(), spans().map(|span| span[1]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(ids: &[u32], gold: Gold) -> Item {
        let sequence = Sequence { ids: ids.to_vec(), segments: vec![0; ids.len()] };
        Item { sequences: vec![sequence], decoder: None, gold }
    }

    fn batch(items: Vec<Item>) -> Batch {
        Batch::new(items, PositionStyle::Zero, PositionStyle::Zero).unwrap()
    }

    #[test]
    fn rows_are_those_of_the_batch() {
        let tags =
            batch(vec![item(&[1, 2, 3], Gold::Tags(vec![(1, 7)])), item(&[4, 5], Gold::Tags(vec![(0, 8), (1, 9)]))]);
        let (rows, labels) = tags.rows();
        assert_eq!((&*rows, &*labels), (&[1, 3, 4][..], &[7, 8, 9][..]));
        let (rows, next) =
            batch(vec![item(&[1, 2, 3], Gold::Next), item(&[4], Gold::Next), item(&[5, 6], Gold::Next)]).rows();
        assert_eq!((&*rows, &*next), (&[0, 1, 4][..], &[2, 3, 6][..]));
    }

    #[test]
    fn a_row_that_stands_for_two_words_is_computed_once() {
        let part = Part { tags: [5, 6, 7].into(), words: vec![(1, 0), (1, 1), (2, 2)] };
        let (rows, labels) = batch(vec![item(&[1, 2, 3], Gold::Part(part))]).rows();
        assert_eq!((&*rows, &*labels), (&[1, 2][..], &[5, 7][..]));
    }

    #[test]
    fn decoders_have_rows_of_their_own() {
        let mut one = item(&[1, 2, 3], Gold::Text(vec![5, 6]));
        one.decoder = Some(vec![0, 5]);
        let two = Item { gold: Gold::Text(vec![7, 8]), ..one.clone() };
        let (rows, targets) = batch(vec![one.clone(), two]).rows();
        assert_eq!((&*rows, &*targets), (&[0, 1, 2, 3][..], &[5, 6, 7, 8][..]));
        assert_eq!(one.tokens(), 5);
    }

    #[test]
    fn choices_have_to_be_as_many() {
        let mut two = item(&[1], Gold::Choice(0));
        two.sequences.push(two.sequences[0].clone());
        let made = Batch::new(vec![two, item(&[1], Gold::Choice(0))], PositionStyle::Zero, PositionStyle::Zero);
        assert!(made.is_err());
    }
}
