//! Counting the words of a text as a tokenizer divides it before its model, on all cores and in bounded memory.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;
use tokenizers::{
    NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper,
};

use super::{Kind, Options, assemble, failed};
use crate::corpus::{Error, Texts};

/// Documents are counted together up to so many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Longer words teach nothing; WordPiece doesn't divide them either.
const LONGEST_WORD: usize = 100;
/// The library adds counts as 32-bit numbers.
const MOST: u64 = i32::MAX as u64;

/// How often each word occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    counts: HashMap<String, u64>,
    bytes: u64,
}

impl Words {
    /// Counts the words of `texts`. `heard` hears how many bytes are done, and says whether to go on; `None` when it
    /// did not. Which words are forgotten beyond [`Options::most_words`] depends on the text alone.
    ///
    /// # Errors
    /// When a file cannot be read or is not what its format says.
    pub fn count(texts: Texts, options: &Options, heard: &mut dyn FnMut(u64) -> bool) -> Result<Option<Self>, Error> {
        let [normalizer, pre_tokenizer] = assemble::before_the_model(options)?;
        let normalizer: Option<NormalizerWrapper> = serde_json::from_value(normalizer).map_err(failed)?;
        let pre_tokenizer: PreTokenizerWrapper = serde_json::from_value(pre_tokenizer).map_err(failed)?;
        let mut this = Self::default();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut texts = texts.fuse();
        loop {
            let text = texts.next().transpose()?;
            let over = text.is_none();
            if let Some(piece) = text {
                bytes += piece.text.len();
                batch.push(piece.text);
            }
            if bytes < BATCH_BYTES && !over {
                continue;
            }
            let counted = batch
                .par_iter()
                .map(|text| words(text, normalizer.as_ref(), &pre_tokenizer))
                .try_fold(HashMap::new, |mut counts: HashMap<String, u64>, words| {
                    for word in words? {
                        *counts.entry(word).or_default() += 1;
                    }
                    Ok::<_, Error>(counts)
                })
                .collect::<Result<Vec<_>, Error>>()?;
            for (word, count) in counted.into_iter().flatten() {
                *this.counts.entry(word).or_default() += count;
            }
            this.forget(options.most_words);
            this.bytes += bytes as u64;
            (batch, bytes) = (Vec::new(), 0);
            if !heard(this.bytes) {
                return Ok(None);
            }
            if over {
                return Ok(Some(this));
            }
        }
    }

    /// How many different words there are.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many bytes of text were counted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where there are more than `most` words, leaves out the rarest until half as many are left.
    fn forget(&mut self, most: usize) {
        let mut rare = 1;
        if self.counts.len() > most {
            while self.counts.len() > most / 2 {
                self.counts.retain(|_, count| *count > rare);
                rare *= 2;
            }
        }
    }

    /// The words that consist of the most frequent characters, the most frequent first, their counts small enough for
    /// the library.
    pub(super) fn usable(self, options: &Options) -> Result<Vec<(String, u64)>, Error> {
        let mut words: Vec<(String, u64)> = self.counts.into_iter().collect();
        words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        if options.family.kind() != Kind::ByteLevel {
            let mut counts: HashMap<char, u64> = HashMap::new();
            for (word, count) in &words {
                for c in word.chars() {
                    *counts.entry(c).or_default() += count;
                }
            }
            let mut kept: Vec<(char, u64)> = counts.into_iter().collect();
            kept.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            let kept: BTreeSet<char> = kept.into_iter().take(options.alphabet).map(|(c, _)| c).collect();
            words.retain(|(word, _)| word.chars().all(|c| kept.contains(&c)));
        }
        if words.is_empty() {
            return Err(Error::Empty { place: "what was given".to_owned(), what: " with words" });
        }
        let total = |words: &[(String, u64)]| -> u64 {
            words.iter().map(|(word, count)| count.saturating_mul(word.len() as u64)).fold(0, u64::saturating_add)
        };
        while total(&words) > MOST {
            // proportions stay; words that would come to nothing go
            words.iter_mut().for_each(|(_, count)| *count /= 2);
            words.retain(|(_, count)| *count > 0);
        }
        Ok(words)
    }
}

fn words(
    text: &str,
    normalizer: Option<&NormalizerWrapper>,
    splits: &PreTokenizerWrapper,
) -> Result<Vec<String>, Error> {
    let mut text = NormalizedString::from(text);
    if let Some(normalizer) = normalizer {
        normalizer.normalize(&mut text).map_err(failed)?;
    }
    let mut words = PreTokenizedString::from(text);
    splits.pre_tokenize(&mut words).map_err(failed)?;
    let words = words.get_splits(OffsetReferential::Original, OffsetType::Byte).into_iter();
    Ok(words.map(|(word, ..)| word).filter(|word| is_short(word)).map(str::to_owned).collect())
}

fn is_short(word: &str) -> bool {
    !word.is_empty() && !word.contains('\0') && word.chars().nth(LONGEST_WORD).is_none()
}

/// All characters, in their order.
pub(super) fn alphabet(words: &[(String, u64)]) -> Vec<char> {
    words.iter().flat_map(|(word, _)| word.chars()).collect::<BTreeSet<char>>().into_iter().collect()
}

/// Those that stand behind the first of a word, in their order.
pub(super) fn inner(words: &[(String, u64)]) -> Vec<char> {
    words.iter().flat_map(|(word, _)| word.chars().skip(1)).collect::<BTreeSet<char>>().into_iter().collect()
}

/// Those that a word ends with, in their order.
pub(super) fn last(words: &[(String, u64)]) -> Vec<char> {
    words.iter().filter_map(|(word, _)| word.chars().next_back()).collect::<BTreeSet<char>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::Family;
    use super::*;

    #[test]
    fn the_rarest_are_forgotten() {
        let mut words = Words { counts: (0..100u64).map(|n| (n.to_string(), n)).collect(), bytes: 0 };
        words.forget(100);
        assert_eq!(words.len(), 100);
        words.forget(60);
        assert!(words.len() <= 30 && words.counts.values().all(|&count| count > 60), "{}", words.len());
    }

    #[test]
    fn counts_fit_and_characters_are_frequent() {
        let mut options = Options::new(Family::by_name("bert").unwrap());
        options.alphabet = 2;
        let count = |list: &[(&str, u64)]| Words {
            counts: list.iter().map(|(word, count)| (word.to_string(), *count)).collect(),
            bytes: 0,
        };
        let words = count(&[("ab", u64::MAX / 4), ("ba", 1), ("abc", 1)]).usable(&options).unwrap();
        assert_eq!(words.len(), 1);
        assert!(words[0].0 == "ab" && words[0].1 * 2 <= MOST && words[0].1 * 4 > MOST);
        assert!(count(&[]).usable(&options).is_err());
        assert!(is_short(&"ü".repeat(100)) && !is_short(&"ü".repeat(101)) && !is_short(""));
    }
}
