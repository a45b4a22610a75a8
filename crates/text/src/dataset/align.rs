//! Words and the tokens of their sentence: the words are joined by single spaces, encoded as one text, and a word's
//! first token stands for it (BERT, §5.3).

use crate::Encoding;

/// A sentence of words as one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// The words with single spaces between them.
    pub text: String,
    /// Start and end of each word in it, in code points.
    pub words: Vec<(usize, usize)>,
}

impl Sentence {
    /// Joins words.
    pub fn new<S: AsRef<str>>(words: &[S]) -> Self {
        let mut this = Self::default();
        let mut at = 0;
        for word in words.iter().map(AsRef::as_ref) {
            if !this.words.is_empty() {
                this.text.push(' ');
                at += 1;
            }
            this.text.push_str(word);
            let end = at + word.chars().count();
            this.words.push((at, end));
            at = end;
        }
        this
    }

    /// For each word the index of its first token in `encoding`, which is of this text or a window of it; none where
    /// no token of the word is there. Where a window begins within a word, that word has none.
    pub fn first_tokens(&self, encoding: &Encoding) -> Vec<Option<usize>> {
        let mut first = vec![None; self.words.len()];
        let mut word = 0;
        let mut before = None;
        for (token, &(start, end)) in encoding.offsets.iter().enumerate() {
            if encoding.special[token] || end <= start {
                continue;
            }
            while word < self.words.len() && self.words[word].1 <= start {
                word += 1;
            }
            // a token may begin with the space before its word, and hold several short words
            for (at, &(from, to)) in self.words.iter().enumerate().skip(word).take_while(|(_, w)| w.0 < end) {
                let begins = start <= from || before.is_some_and(|before| before >= from);
                if to > start && first[at].is_none() && begins {
                    first[at] = Some(token);
                }
            }
            before = Some(start);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(offsets: &[(usize, usize)]) -> Encoding {
        let special: Vec<bool> = offsets.iter().map(|&(start, end)| start == end).collect();
        Encoding { ids: vec![1; offsets.len()], offsets: offsets.to_vec(), special, ..Encoding::default() }
    }

    #[test]
    fn first_pieces() {
        let sentence = Sentence::new(&["Über", "den", "x"]);
        assert_eq!((sentence.text.as_str(), &sentence.words[..]), ("Über den x", &[(0, 4), (5, 8), (9, 10)][..]));
        let whole = encoding(&[(0, 0), (0, 2), (2, 4), (5, 8), (9, 10), (0, 0)]);
        assert_eq!(sentence.first_tokens(&whole), [Some(1), Some(3), Some(4)]);
        // spaces before words, as byte-level tokenizers may count them
        assert_eq!(sentence.first_tokens(&encoding(&[(0, 4), (4, 8), (8, 10)])), [Some(0), Some(1), Some(2)]);
        // a window that begins within the first word, and lacks the last
        assert_eq!(sentence.first_tokens(&encoding(&[(0, 0), (2, 4), (5, 8), (0, 0)])), [None, Some(2), None]);
        // one token for two words
        assert_eq!(sentence.first_tokens(&encoding(&[(0, 4), (5, 10)])), [Some(0), Some(1), Some(1)]);
    }
}
