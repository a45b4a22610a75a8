//! Causal language modelling (Radford et al. 2018, §3.1; 2019, §2): every token from those before it. Documents lie one
//! after the other in blocks, and a token sees nothing of another document unless it is asked for. A tokenizer without a
//! token that ends a text, as the first GPT's, foretells no end: each document is then its own tokens and nothing else.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Text, Vocabulary};
use crate::error::{Error, Result};

/// How documents become blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CausalConfig {
    /// Tokens of a block.
    pub length: usize,
    /// Whether a token sees the documents before its own in the block, as in GPT-2's training.
    pub across_documents: bool,
}

impl Default for CausalConfig {
    fn default() -> Self {
        Self { length: 1024, across_documents: false }
    }
}

/// A block: what is read, and for every token the one that follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causal {
    /// What is read.
    pub ids: Vec<u32>,
    /// As many: what follows each.
    pub targets: Vec<u32>,
    /// Where what sees nothing before it begins; the first is 0.
    pub begins: Vec<usize>,
}

impl Causal {
    /// The stretches that don't see each other: what is read, and what follows.
    pub fn sequences(&self) -> impl Iterator<Item = (&[u32], &[u32])> {
        let ends = self.begins.iter().skip(1).copied().chain([self.ids.len()]);
        self.begins.iter().zip(ends).map(|(&start, end)| (&self.ids[start..end], &self.targets[start..end]))
    }

    /// Whether the token at place `key` is seen from place `query`.
    pub fn sees(&self, query: usize, key: usize) -> bool {
        let begin = self.begins.partition_point(|&begin| begin <= query);
        key <= query && self.begins.get(begin.wrapping_sub(1)).is_some_and(|&begin| key >= begin)
    }
}

/// Causal language modelling with the tokens that it needs.
#[derive(Clone, Copy, Debug)]
pub struct CausalLm {
    config: CausalConfig,
    begin: Option<u32>,
    end: Option<u32>,
}

impl CausalLm {
    /// # Errors
    /// When blocks would be empty.
    pub fn new(config: CausalConfig, vocabulary: &Vocabulary) -> Result<Self> {
        if config.length == 0 {
            return Err(Error::recipe("objective.length", "should be at least 1"));
        }
        let end = vocabulary.eos().ok();
        // GPT-2 has one token for both, the first GPT none
        Ok(Self { config, begin: vocabulary.bos().ok().or(end), end })
    }

    /// How many more tokens than its own a document has that are followed by one: 1 between tokens that begin and end it,
    /// -1 without either.
    pub fn frame(&self) -> isize {
        isize::from(self.begin.is_some()) + isize::from(self.end.is_some()) - 1
    }

    /// The documents in blocks, in their order, each between the token that begins a text and the one that ends it, where
    /// there are such. What doesn't fit a block goes on in the next; the last may be shorter.
    pub fn pack<'a>(&self, documents: impl IntoIterator<Item = Text<'a>>) -> Vec<Causal> {
        let mut blocks: Vec<Causal> = Vec::new();
        for document in documents {
            let tokens: Vec<u32> = self.begin.into_iter().chain(document.ids.iter().copied()).chain(self.end).collect();
            let mut read = 0;
            while read + 1 < tokens.len() {
                if blocks.last().is_none_or(|block| block.ids.len() == self.config.length) {
                    blocks.push(Causal::default());
                }
                let Some(block) = blocks.last_mut() else { break };
                if block.ids.is_empty() || (read == 0 && !self.config.across_documents) {
                    block.begins.push(block.ids.len());
                }
                let count = (self.config.length - block.ids.len()).min(tokens.len() - 1 - read);
                block.ids.extend_from_slice(&tokens[read..read + count]);
                block.targets.extend_from_slice(&tokens[read + 1..=read + count]);
                read += count;
            }
        }
        blocks
    }

    /// One block of stretches of documents, each with the places that are read: 0 is the token that begins a text, where
    /// there is one, and those of the document follow.
    pub fn block<'a>(&self, stretches: impl IntoIterator<Item = (&'a [u32], Range<usize>)>) -> Causal {
        let mut block = Causal::default();
        for (ids, places) in stretches {
            if block.ids.is_empty() || !self.config.across_documents {
                block.begins.push(block.ids.len());
            }
            let before = usize::from(self.begin.is_some());
            let token = |place: usize| match place.checked_sub(before) {
                Some(own) => ids.get(own).copied().or(self.end),
                None => self.begin,
            };
            // all places but those behind what is followed by a token have both
            for (id, target) in places.filter_map(|place| token(place).zip(token(place + 1))) {
                block.ids.push(id);
                block.targets.push(target);
            }
        }
        block
    }

    /// The blocks of one document.
    ///
    /// # Errors
    /// None; other objectives have some.
    pub fn corrupt(&self, text: &Text<'_>, _: &mut ChaCha8Rng) -> Result<Vec<Causal>> {
        Ok(self.pack([*text]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{text, vocabulary};
    use super::*;

    fn blocks(length: usize, across_documents: bool, documents: &[&[u32]]) -> Vec<Causal> {
        let objective = CausalLm::new(CausalConfig { length, across_documents }, &vocabulary()).unwrap();
        objective.pack(documents.iter().map(|ids| text(ids)))
    }

    /// By hand: two documents between 0 and 2, in blocks of four.
    #[test]
    fn documents_fill_blocks() {
        let made = blocks(4, false, &[&[11, 12], &[21, 22, 23, 24]]);
        let block = |ids: &[u32], targets: &[u32], begins: &[usize]| Causal {
            ids: ids.to_vec(),
            targets: targets.to_vec(),
            begins: begins.to_vec(),
        };
        let want =
            [block(&[0, 11, 12, 0], &[11, 12, 2, 21], &[0, 3]), block(&[21, 22, 23, 24], &[22, 23, 24, 2], &[0])];
        assert_eq!(made, want);
        let sequences: Vec<_> = made[0].sequences().collect();
        assert_eq!(sequences, [(&[0, 11, 12][..], &[11, 12, 2][..]), (&[0][..], &[21][..])]);
        assert!(made[0].sees(2, 0) && !made[0].sees(3, 2) && made[0].sees(3, 3) && !made[0].sees(0, 1));
        assert_eq!(blocks(4, true, &[&[11, 12], &[21, 22, 23, 24]])[0].begins, [0]);
    }

    #[test]
    fn stretches_make_the_blocks_that_documents_do() {
        let (a, b) = (&[11, 12][..], &[21, 22, 23, 24][..]);
        for across_documents in [false, true] {
            let objective = CausalLm::new(CausalConfig { length: 4, across_documents }, &vocabulary()).unwrap();
            let made = [objective.block([(a, 0..3), (b, 0..1)]), objective.block([(b, 1..5)])];
            assert_eq!(made.to_vec(), blocks(4, across_documents, &[a, b]));
        }
    }

    /// By hand: without a token that begins or ends a text the first token of each document is read and not foretold.
    #[test]
    fn documents_without_an_end_are_their_own_tokens() {
        let bare = Vocabulary::default();
        let (a, b, single) = (&[11, 12, 13][..], &[21, 22, 23][..], &[31][..]);
        for across_documents in [false, true] {
            let objective = CausalLm::new(CausalConfig { length: 3, across_documents }, &bare).unwrap();
            assert_eq!(objective.frame(), -1);
            let made = objective.pack([a, single, b].map(text));
            let ids: Vec<&[u32]> = made.iter().map(|block| &block.ids[..]).collect();
            let targets: Vec<&[u32]> = made.iter().map(|block| &block.targets[..]).collect();
            assert_eq!((ids, targets), (vec![&[11, 12, 21][..], &[22]], vec![&[12, 13, 22][..], &[23]]));
            assert_eq!(made[0].begins, if across_documents { vec![0] } else { vec![0, 2] });
            assert_eq!(made, [objective.block([(a, 0..2), (b, 0..1)]), objective.block([(b, 1..2)])]);
        }
        assert_eq!(CausalLm::new(CausalConfig::default(), &vocabulary()).unwrap().frame(), 1);
    }

    #[test]
    fn every_token_is_said_once() {
        let documents: Vec<Vec<u32>> = (0..20).map(|d| (0..d * 3).map(|i| 20 + (d + i) % 90).collect()).collect();
        let documents: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
        for across in [false, true] {
            let made = blocks(7, across, &documents);
            let said: Vec<u32> = made.iter().flat_map(|block| block.targets.iter().copied()).collect();
            let want: Vec<u32> = documents.iter().flat_map(|ids| ids.iter().copied().chain([2])).collect();
            assert_eq!(said, want);
            assert!(made[..made.len() - 1].iter().all(|block| block.ids.len() == 7));
        }
    }
}
