//! The baseline that a tagger has to beat: each word gets the tag that it has most often in the training rows. It reads
//! no context.

use std::collections::HashMap;

/// A tagger that was learnt.
#[derive(Clone, Debug)]
pub struct FrequentTags {
    /// By the word as it is written, and in lower case.
    written: HashMap<String, String>,
    lower: HashMap<String, String>,
    /// Of words that were never seen, by [`kind`].
    unseen: [String; 3],
}

/// Whether a word begins with a capital, with a digit, or otherwise.
fn kind(word: &str) -> usize {
    match word.chars().next() {
        Some(c) if c.is_uppercase() => 0,
        Some(c) if c.is_numeric() => 1,
        _ => 2,
    }
}

/// How often each word has each tag.
type Counts = HashMap<String, HashMap<String, usize>>;

/// The most frequent tag; of equals the first by name.
fn most(counts: &HashMap<String, usize>) -> Option<&String> {
    counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))).map(|(tag, _)| tag)
}

fn best(counts: &Counts) -> HashMap<String, String> {
    counts.iter().filter_map(|(word, tags)| Some((word.clone(), most(tags)?.clone()))).collect()
}

impl FrequentTags {
    /// Learns from sentences with their tags. Words that were never seen get the tag that is the most frequent of words
    /// seen once that begin as they do, with a capital, a digit or otherwise.
    ///
    /// # Panics
    /// When there is no word, or there are not as many tags as words.
    pub fn learn(sentences: &[(&[String], &[String])]) -> Self {
        let (mut written, mut lower) = (Counts::new(), Counts::new());
        for (words, tags) in sentences {
            assert_eq!(words.len(), tags.len(), "a tag for each word");
            for (word, tag) in words.iter().zip(*tags) {
                *written.entry(word.clone()).or_default().entry(tag.clone()).or_default() += 1;
                *lower.entry(word.to_lowercase()).or_default().entry(tag.clone()).or_default() += 1;
            }
        }
        let mut all = HashMap::new();
        let mut once = [HashMap::new(), HashMap::new(), HashMap::new()];
        for (word, tags) in &written {
            let total: usize = tags.values().sum();
            for (tag, count) in tags {
                *all.entry(tag.clone()).or_default() += count;
                if total == 1 {
                    *once[kind(word)].entry(tag.clone()).or_default() += 1;
                }
            }
        }
        let usual = most(&all).expect("no word to learn from").clone();
        let unseen = once.map(|tags| most(&tags).unwrap_or(&usual).clone());
        Self { written: best(&written), lower: best(&lower), unseen }
    }

    /// A word's tag: as written, else as in lower case.
    pub fn tag(&self, word: &str) -> &str {
        let found = self.written.get(word).or_else(|| self.lower.get(&word.to_lowercase()));
        found.map_or(&self.unseen[kind(word)], String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_usual_tags() {
        let sentence = |text: &str| -> (Vec<String>, Vec<String>) {
            text.split(' ').filter_map(|pair| pair.split_once('/')).map(|(w, t)| (w.to_owned(), t.to_owned())).unzip()
        };
        let rows = ["The/D may/V May/N may/V", "the/D can/N may/N can/V can/V", "Ann/P 7/Q run/V eat/V"].map(sentence);
        let learnt = FrequentTags::learn(&rows.each_ref().map(|row| (&row.0[..], &row.1[..])));
        // of equals the first by name: MAY was never written so, and may is as often N as V
        for (word, tag) in [("may", "V"), ("May", "N"), ("MAY", "N"), ("can", "V"), ("THE", "D")] {
            assert_eq!(learnt.tag(word), tag, "{word}");
        }
        // never seen: by the words seen once that begin alike; of The, May and Ann the first tag by name
        for (word, tag) in [("Zoe", "D"), ("12", "Q"), ("zebra", "V")] {
            assert_eq!(learnt.tag(word), tag, "{word}");
        }
    }
}
