//! A lexicon: phrases or names that stand for one thing, one a line of a file or listed in a recipe, and where a text has
//! them. Which of them a text means isn't asked: the longest one that begins at a word counts.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Vocabulary;
use crate::error::{Error, Result};

/// Larger files are not read, and longer lines are no phrases.
const MOST_BYTES: u64 = 1 << 26;
const MOST_CHARACTERS: usize = 500;

/// Where phrases come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entries {
    /// A text file in UTF-8 with one a line; empty lines count for nothing.
    File(PathBuf),
    /// Here they are.
    Listed(Vec<String>),
}

/// Phrases as token ids: a tree in which each path from the root spells one.
#[derive(Clone, Debug, Default)]
pub struct Lexicon {
    /// From a node by a token to the next; node 0 is the root.
    next: HashMap<(u32, u32), u32>,
    /// By node: whether a phrase ends there.
    ends: Vec<bool>,
    /// How many phrases there are.
    phrases: usize,
    /// See [`Self::fingerprint`].
    fingerprint: u64,
}

impl Lexicon {
    /// The phrases as `vocabulary`'s tokenizer spells them. One that has an unknown token in every spelling is left out,
    /// and a warning says how many are.
    ///
    /// # Errors
    /// When the file cannot be read or is too large, a line is no phrase, or none remains; `key` is the setting's name.
    pub fn new(entries: &Entries, key: &str, vocabulary: &Vocabulary) -> Result<Self> {
        let (place, text);
        let lines: Vec<&str> = match entries {
            Entries::File(path) => {
                (place, text) = (path.display().to_string(), read(path)?);
                text.lines().collect()
            }
            Entries::Listed(listed) => {
                place = key.to_owned();
                listed.iter().map(String::as_str).collect()
            }
        };
        let mut made = Self { ends: vec![false], ..Self::default() };
        let mut unknown: Vec<&str> = Vec::new();
        let mut hash = Sha256::new();
        for (number, line) in (1..).zip(lines) {
            let phrase = line.trim();
            if phrase.is_empty() {
                continue;
            }
            if let Some(problem) = problem(phrase) {
                let problem = format!("line {number} {problem}: write one phrase a line, as the text has it");
                return Err(Error::recipe(place, problem));
            }
            hash.update(phrase);
            hash.update("\n");
            let mut known = false;
            for spelled in vocabulary.spellings(phrase)? {
                known |= made.insert(&spelled);
            }
            made.phrases += usize::from(known);
            unknown.extend((!known).then_some(phrase));
        }
        if let Some(first) = unknown.first() {
            tracing::warn!(
                "{place}: the tokenizer has no tokens for {} of the phrases, such as {first:?}; the text cannot have them",
                unknown.len()
            );
        }
        if made.phrases == 0 {
            return Err(Error::recipe(place, "holds no phrase that the tokenizer can spell: give one a line"));
        }
        made.fingerprint = hash.finalize().iter().take(8).fold(0, |all, &byte| all << 8 | u64::from(byte));
        Ok(made)
    }

    /// Adds a phrase; says whether there was anything to add.
    fn insert(&mut self, ids: &[u32]) -> bool {
        let mut node = 0;
        for &id in ids {
            let new = self.ends.len() as u32;
            node = *self.next.entry((node, id)).or_insert(new);
            if node == new {
                self.ends.push(false);
            }
        }
        self.ends[node as usize] = !ids.is_empty();
        !ids.is_empty()
    }

    /// A number that differs for other phrases; 0 for none.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// How many phrases it has.
    pub fn len(&self) -> usize {
        self.phrases
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.phrases == 0
    }

    /// Where `ids` have its phrases, from the first word on and of several that begin at one word the longest: whole words,
    /// and none in two.
    pub fn find(&self, ids: &[u32], vocabulary: &Vocabulary) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut place = 0;
        while place < ids.len() {
            let inside = place > 0 && vocabulary.goes_on(ids[place]) && !vocabulary.is_special(ids[place - 1]);
            match self.longest(&ids[place..], vocabulary).filter(|_| !inside) {
                Some(length) => {
                    found.push(place..place + length);
                    place += length;
                }
                None => place += 1,
            }
        }
        found
    }

    /// The tokens of the longest phrase that `ids` begin with, and that ends with a word.
    fn longest(&self, ids: &[u32], vocabulary: &Vocabulary) -> Option<usize> {
        let (mut node, mut longest) = (0, None);
        for (read, id) in (1..).zip(ids) {
            let Some(&next) = self.next.get(&(node, *id)) else { break };
            node = next;
            let goes_on = ids.get(read).is_some_and(|&next| vocabulary.goes_on(next));
            if self.ends[node as usize] && !goes_on {
                longest = Some(read);
            }
        }
        longest
    }
}

/// A file's text.
fn read(path: &Path) -> Result<String> {
    let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
    // asked before opening: opening a named pipe would wait for its writer
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    let wrong = |problem: String| Error::recipe(path.display().to_string(), problem);
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong(format!("is larger than {MOST_BYTES} bytes: no lexicon needs so many phrases")));
    }
    // a mark of the byte order is no part of the first phrase
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        wrong(format!("line {line} is not UTF-8: save the file as such"))
    })
}

/// What of a line is not as a phrase is.
fn problem(phrase: &str) -> Option<String> {
    if phrase.contains(char::is_control) {
        return Some("has a tab or another character that controls".into());
    }
    let length = phrase.chars().count();
    (length > MOST_CHARACTERS).then(|| format!("has {length} characters, more than {MOST_CHARACTERS}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::vocabulary::tests::with_words;
    use super::*;

    /// Phrases that are spelled already.
    pub(crate) fn spelled(phrases: &[&[u32]]) -> Lexicon {
        let mut lexicon = Lexicon { ends: vec![false], phrases: phrases.len(), ..Lexicon::default() };
        phrases.iter().for_each(|ids| assert!(lexicon.insert(ids)));
        lexicon
    }

    #[test]
    fn the_longest_phrase_of_whole_words_is_found() {
        // 100 and above go on
        let vocabulary = with_words(|id| id < 100);
        let lexicon = spelled(&[&[20, 21], &[20, 21, 22, 23], &[22], &[30, 101], &[40]]);
        assert_eq!(lexicon.len(), 5);
        for (ids, found) in [
            (&[20, 21, 22, 23, 22][..], &[0..4, 4..5][..]),
            (&[20, 21, 22, 24], &[0..2, 2..3]),
            // the fourth word goes on, so that the longest phrase doesn't end there
            (&[20, 21, 22, 23, 100, 22], &[0..2, 2..3, 5..6]),
            (&[30, 101, 40, 40], &[0..2, 2..3, 3..4]),
            (&[30, 101, 102, 41, 100, 40, 100], &[]),
            (&[22, 20, 20, 21], &[0..1, 2..4]),
            (&[], &[]),
        ] {
            assert_eq!(lexicon.find(ids, &vocabulary), found, "{ids:?}");
        }
        // what goes on right after a special token begins a word: the text begins there
        assert_eq!(spelled(&[&[101]]).find(&[3, 101, 20, 101, 1, 101], &vocabulary), [1..2, 5..6]);
    }

    #[test]
    fn files_are_read_line_by_line_and_wrong_lines_are_named() {
        let vocabulary = super::super::vocabulary::tests::playing();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("phrases.txt");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Lexicon::new(&Entries::File(path.clone()), "objective.phrases", &vocabulary)
        };
        // "playing chess" is spelled play ##ing chess; the last has no tokens
        let lexicon = read(b"\n  Playing chess\r\nchess\n\nzugzwang\n").unwrap();
        assert_eq!(lexicon.len(), 2);
        assert_eq!(lexicon.find(&[7, 5, 6, 7, 5, 6], &vocabulary), [0..1, 1..4]);
        for (bytes, said) in [
            (&b"chess\nplay\tchess\n"[..], "line 2 has a tab"),
            (b"chess\n\xff\n", "line 2 is not UTF-8"),
            (b"zugzwang", "no phrase"),
            (b"", "no phrase"),
            ("chess ".repeat(100).as_bytes(), "line 1 has 599 characters"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.starts_with(&path.display().to_string()) && error.contains(said), "{error}");
        }
        let listed = Entries::Listed(vec!["chess".into(), "a\tb".into()]);
        let error = Lexicon::new(&listed, "objective.phrases", &vocabulary).unwrap_err().to_string();
        assert!(error.starts_with("objective.phrases: line 2"), "{error}");
        let missing = Lexicon::new(&Entries::File(dir.path().join("none")), "objective.phrases", &vocabulary);
        assert!(missing.unwrap_err().to_string().contains("none"));
    }
}
