//! Training and validation documents, told apart by a hash of their text: the same document is on the same side in
//! every corpus, whatever was added, whatever the tokenizer, and so are its copies.

use serde::{Deserialize, Serialize};

use super::Error;

/// How documents are divided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Split {
    /// The share of documents that are held out, from 0 to 1. Default: 0.01.
    pub validation: f64,
    /// Another seed holds out others. Default: 0.
    pub seed: u64,
}

impl Default for Split {
    fn default() -> Self {
        Self { validation: 0.01, seed: 0 }
    }
}

impl Split {
    /// Holds out this share.
    ///
    /// # Errors
    /// When it is not from 0 to 1.
    pub fn new(validation: f64, seed: u64) -> Result<Self, Error> {
        if (0.0..=1.0).contains(&validation) {
            Ok(Self { validation, seed })
        } else {
            Err(Error::Options(format!("the share of validation documents is {validation}: give one from 0 to 1")))
        }
    }

    /// Whether the document with this hash is held out.
    pub fn is_validation(&self, hash: u64) -> bool {
        // the upper 53 bits are a number below 1 exactly
        ((mixed(hash ^ mixed(self.seed)) >> 11) as f64 / (1u64 << 53) as f64) < self.validation
    }
}

/// The last steps of SplitMix64 (Steele, Lea and Flood 2014), which make every bit depend on every other.
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A part of a corpus.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Part {
    /// All of it.
    #[default]
    All,
    /// What is not held out.
    Training(Split),
    /// What is held out.
    Validation(Split),
}

impl Part {
    /// Whether the document with this hash belongs to it.
    pub fn holds(self, hash: u64) -> bool {
        match self {
            Self::All => true,
            Self::Training(split) => !split.is_validation(hash),
            Self::Validation(split) => split.is_validation(hash),
        }
    }

    pub(super) fn named(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Training(_) => " for training",
            Self::Validation(_) => " for validation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_as_asked() {
        for (share, least, most) in [(0.0, 0, 0), (0.1, 9_600, 10_400), (1.0, 100_000, 100_000)] {
            let split = Split::new(share, 7).unwrap();
            let held = (0..100_000u64).filter(|&n| split.is_validation(n)).count();
            assert!((least..=most).contains(&held), "{share}: {held}");
        }
        let (a, b) = (Split::new(0.5, 0).unwrap(), Split::new(0.5, 1).unwrap());
        let same = (0..10_000u64).filter(|&n| a.is_validation(n) == b.is_validation(n)).count();
        assert!((4_700..5_300).contains(&same), "seeds divide independently: {same}");
        assert!(Split::new(1.5, 0).is_err() && Split::new(f64::NAN, 0).is_err());
        let part = Part::Training(a);
        assert!((0..100).all(|n| part.holds(n) != Part::Validation(a).holds(n)));
    }
}
