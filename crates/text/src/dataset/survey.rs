//! What a data set holds, before anybody trains on it: counts, labels, lengths as a tokenizer has them, empty rows, rows
//! that are there twice, rows that cannot be read.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::Serialize;

use super::align::Sentence;
use super::{
    Choice, Classified, Dataset, Error, Example, MultiLabelled, Order, Question, Rated, Tagged, Text, TextToText, fnv,
};
use crate::{EncodeOptions, Input, Tokenizer};

/// Rows that are remembered for finding the same ones again, and labels that are counted.
const MOST_ROWS: usize = 5_000_000;
const MOST_LABELS: usize = 10_000;
/// Rows that are encoded together.
const PIECE: usize = 1024;
/// Problems that are kept word by word.
const SHOWN: usize = 5;

/// An example whose texts and labels can be listed.
pub trait Surveyed: Example {
    /// What a model reads, each by itself: one text or pair; a multiple choice has several.
    fn inputs(&self) -> Vec<(String, Option<String>)>;

    /// Its labels.
    fn named(&self) -> Vec<String>;

    /// Whether what is read becomes another text, and may have a prefix.
    const IS_WRITTEN_FROM: bool = false;

    /// The text to be written.
    fn target(&self) -> Option<&str> {
        None
    }
}

fn single(text: &str, pair: Option<&String>) -> Vec<(String, Option<String>)> {
    vec![(text.to_owned(), pair.cloned())]
}

impl Surveyed for Classified {
    fn inputs(&self) -> Vec<(String, Option<String>)> {
        single(&self.text, self.pair.as_ref())
    }

    fn named(&self) -> Vec<String> {
        self.label.iter().cloned().collect()
    }
}

impl Surveyed for MultiLabelled {
    fn inputs(&self) -> Vec<(String, Option<String>)> {
        single(&self.text, self.pair.as_ref())
    }

    fn named(&self) -> Vec<String> {
        self.labels.iter().flatten().cloned().collect()
    }
}

impl Surveyed for Rated {
    fn inputs(&self) -> Vec<(String, Option<String>)> {
        single(&self.text, self.pair.as_ref())
    }

    fn named(&self) -> Vec<String> {
        self.value.iter().map(f64::to_string).collect()
    }
}

impl Surveyed for Tagged {
    fn inputs(&self) -> Vec<(String, Option<String>)> {
        single(&Sentence::new(&self.words).text, None)
    }

    fn named(&self) -> Vec<String> {
        self.tags.iter().flatten().cloned().collect()
    }
}

impl Surveyed for Question {
    fn inputs(&self) -> Vec<(String, Option<String>)> {
        single(&self.question, Some(&self.context))
    }

    fn named(&self) -> Vec<String> {
        let known =
            self.answered.then_some(if self.answers.is_empty() { "without an answer" } else { "with an answer" });
        known.map(str::to_owned).into_iter().collect()
    }
}

impl Surveyed for Choice {
    fn inputs(&self) -> Vec<(String, Option<String>)> {
        let second = |choice: &String| match &self.question {
            Some(question) => format!("{question} {choice}"),
            None => choice.clone(),
        };
        self.choices.iter().map(|choice| (self.context.clone(), Some(second(choice)))).collect()
    }

    fn named(&self) -> Vec<String> {
        self.label.iter().map(|label| (label + 1).to_string()).collect()
    }
}

impl Surveyed for TextToText {
    fn inputs(&self) -> Vec<(String, Option<String>)> {
        single(&self.source, None)
    }

    fn named(&self) -> Vec<String> {
        Vec::new()
    }

    const IS_WRITTEN_FROM: bool = true;

    fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }
}

impl Surveyed for Text {
    fn inputs(&self) -> Vec<(String, Option<String>)> {
        single(&self.text, None)
    }

    fn named(&self) -> Vec<String> {
        Vec::new()
    }
}

/// How long texts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The shortest.
    pub least: usize,
    /// Half are no longer.
    pub median: usize,
    /// Nineteen of twenty are no longer.
    pub p95: usize,
    /// The longest.
    pub most: usize,
    /// The mean.
    pub mean: f64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Survey {
    /// Rows that were read.
    pub rows: u64,
    /// Rows that cannot be read.
    pub wrong: u64,
    /// What is wrong with the first of them.
    pub problems: Vec<String>,
    /// Rows without a label.
    pub unlabelled: u64,
    /// Rows whose text is empty.
    pub empty: u64,
    /// Rows whose text was there before.
    pub duplicates: u64,
    /// Those of them that have another label than before.
    pub conflicting: u64,
    /// Labels with their counts (of words for tags), the most frequent first.
    pub labels: Vec<(String, u64)>,
    /// What lengths count: `tokens`, or `words` without a tokenizer.
    pub unit: &'static str,
    /// How long what is read is: rows, or choices.
    #[serde(flatten)]
    pub read: Measured,
    /// How long target texts are, where rows have some.
    pub targets: Option<Measured>,
}

/// Texts that were measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Lengths, special tokens included.
    pub lengths: Spread,
    /// How many texts are longer than the limit.
    pub longer: u64,
    /// How many were measured.
    pub texts: u64,
}

/// What lengths are measured with.
#[derive(Clone, Copy, Debug)]
pub struct Yardstick<'a> {
    /// Counts tokens; without one words are counted.
    pub tokenizer: Option<&'a Tokenizer>,
    /// What is put before texts that others are written from.
    pub prefix: &'a str,
    /// How many tokens of a text the model is given.
    pub max_length: usize,
    /// How many tokens of a target.
    pub max_target: usize,
}

impl Default for Yardstick<'_> {
    fn default() -> Self {
        Self { tokenizer: None, prefix: "", max_length: usize::MAX, max_target: usize::MAX }
    }
}

impl Survey {
    /// Reads `data` through. `heard` hears how many rows are read, and says whether to go on.
    ///
    /// # Errors
    /// When a file cannot be read on; wrong rows are counted, not refused.
    pub fn of<E: Surveyed>(
        data: &Dataset<E>,
        yardstick: Yardstick<'_>,
        heard: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Self, Error> {
        let unit = if yardstick.tokenizer.is_some() { "tokens" } else { "words" };
        let mut this = Self { unit, ..Self::default() };
        let mut counts = Counts::default();
        let (mut read, mut written) = (Lengths::default(), Lengths::default());
        let (mut piece, mut targets) = (Vec::with_capacity(PIECE), Vec::new());
        for row in data.rows(Order::AsIs, 0) {
            match row {
                Ok(example) => {
                    this.add(&example, &mut counts);
                    let prefix = if E::IS_WRITTEN_FROM { yardstick.prefix } else { "" };
                    piece.extend(example.inputs().into_iter().map(|(text, pair)| (format!("{prefix}{text}"), pair)));
                    targets.extend(example.target().map(str::to_owned));
                }
                Err(error) if error.is_of_one_row() => {
                    this.wrong += 1;
                    if this.problems.len() < SHOWN {
                        this.problems.push(error.to_string());
                    }
                }
                Err(error) => return Err(error),
            }
            if piece.len() >= PIECE {
                read.measure(&piece, yardstick.tokenizer);
                written.measure_targets(&targets, yardstick.tokenizer);
                piece.clear();
                targets.clear();
                if !heard(this.rows + this.wrong) {
                    break;
                }
            }
        }
        read.measure(&piece, yardstick.tokenizer);
        written.measure_targets(&targets, yardstick.tokenizer);
        this.labels = counts.labels.into_iter().collect();
        this.labels.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        this.read = read.measured(yardstick.max_length);
        this.targets = E::IS_WRITTEN_FROM.then(|| written.measured(yardstick.max_target));
        Ok(this)
    }

    fn add<E: Surveyed>(&mut self, example: &E, counts: &mut Counts) {
        self.rows += 1;
        self.unlabelled += u64::from(!example.is_labelled());
        let inputs = example.inputs();
        self.empty += u64::from(inputs.iter().any(|(text, _)| text.trim().is_empty()));
        let labels = example.named();
        let text = fnv(format!("{inputs:?}").as_bytes());
        let label = fnv(format!("{labels:?}").as_bytes());
        match counts.seen.get(&text) {
            Some(&before) => {
                self.duplicates += 1;
                self.conflicting += u64::from(before != label);
            }
            None if counts.seen.len() < MOST_ROWS => {
                counts.seen.insert(text, label);
            }
            None => {}
        }
        for label in labels {
            if let Some(count) = counts.labels.get_mut(&label) {
                *count += 1;
            } else if counts.labels.len() < MOST_LABELS {
                counts.labels.insert(label, 1);
            }
        }
    }
}

#[derive(Default)]
struct Counts {
    /// Texts with their labels, as hashes.
    seen: HashMap<u64, u64>,
    labels: HashMap<String, u64>,
}

/// How many texts have so many tokens.
#[derive(Default)]
struct Lengths(BTreeMap<usize, u64>);

impl Lengths {
    fn measure(&mut self, texts: &[(String, Option<String>)], tokenizer: Option<&Tokenizer>) {
        let by_words = || texts.iter().map(|(a, b)| words(a) + b.as_deref().map_or(0, words)).collect::<Vec<usize>>();
        let lengths = tokenizer.map_or_else(by_words, |tokenizer| {
            let inputs: Vec<Input<'_>> =
                texts.iter().map(|(a, b)| b.as_deref().map_or(Input::Text(a), |b| Input::Pair(a, b))).collect();
            match tokenizer.encode_batch(&inputs, &EncodeOptions::default()) {
                Ok(encodings) => encodings.iter().map(crate::Encoding::len).collect(),
                // a text that no encoding exists for is without a length
                Err(_) => Vec::new(),
            }
        });
        self.count(lengths);
    }

    /// Of texts that a decoder is to say.
    fn measure_targets(&mut self, texts: &[String], tokenizer: Option<&Tokenizer>) {
        let length = |text: &String| match tokenizer {
            // a text that no encoding exists for is without a length
            Some(tokenizer) => Some(tokenizer.encode_target(text, &EncodeOptions::default()).ok()?.len()),
            None => Some(words(text)),
        };
        self.count(texts.par_iter().filter_map(length).collect());
    }

    fn count(&mut self, lengths: Vec<usize>) {
        for length in lengths {
            *self.0.entry(length).or_default() += 1;
        }
    }

    fn measured(&self, limit: usize) -> Measured {
        Measured {
            lengths: spread(&self.0),
            longer: self.0.iter().filter(|(length, _)| **length > limit).map(|(_, count)| count).sum(),
            texts: self.0.values().sum(),
        }
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

pub(crate) fn spread(lengths: &BTreeMap<usize, u64>) -> Spread {
    let total: u64 = lengths.values().sum();
    let at = |share: f64| {
        let wanted = ((total as f64 * share).ceil() as u64).max(1);
        let mut before = 0;
        let found = lengths.iter().find(|(_, count)| {
            before += **count;
            before >= wanted
        });
        found.map_or(0, |(length, _)| *length)
    };
    let sum: f64 = lengths.iter().map(|(length, count)| *length as f64 * *count as f64).sum();
    Spread { least: at(0.0), median: at(0.5), p95: at(0.95), most: at(1.0), mean: sum / (total.max(1) as f64) }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;

    #[test]
    fn everything_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data.jsonl");
        let rows = [
            r#"{"text": "a b", "label": "x"}"#,
            r#"{"text": "a b", "label": "x"}"#,
            r#"{"text": "a b", "label": "y"}"#,
            r#"{"text": " ", "label": "x"}"#,
            r#"{"text": 3.5, "label": null}"#,
            r#"{"label": "x"}"#,
            r#"{"text": "one two three four", "pair": "five", "label": "z"}"#,
        ];
        std::fs::write(&file, rows.join("\n")).unwrap();
        let data = Dataset::<Classified>::open(&[file], &Options::default()).unwrap();
        let survey = Survey::of(&data, Yardstick::default(), &mut |_| true).unwrap();
        assert_eq!((survey.rows, survey.wrong, survey.unlabelled, survey.empty), (6, 1, 1, 1));
        assert_eq!((survey.duplicates, survey.conflicting), (2, 1));
        assert!(survey.problems[0].contains("line 6"), "{:?}", survey.problems);
        let labels: Vec<(&str, u64)> = survey.labels.iter().map(|(label, count)| (label.as_str(), *count)).collect();
        assert_eq!(labels, [("x", 3), ("y", 1), ("z", 1)]);
        let lengths = survey.read.lengths;
        assert_eq!((lengths.least, lengths.median, lengths.p95, lengths.most), (0, 2, 5, 5));
        assert!((lengths.mean - 2.0).abs() < 1e-12 && survey.unit == "words" && survey.read.texts == 6);
    }
    #[test]
    fn sources_are_measured_with_their_prefix_and_targets_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data.jsonl");
        let rows = [r#"{"source": "a b", "target": "c"}"#, r#"{"source": "a", "target": "b c d e"}"#];
        std::fs::write(&file, rows.join("\n")).unwrap();
        let data = Dataset::<TextToText>::open(&[file], &Options::default()).unwrap();
        let yardstick = Yardstick { prefix: "say it: ", max_length: 3, max_target: 2, ..Yardstick::default() };
        let survey = Survey::of(&data, yardstick, &mut |_| true).unwrap();
        let targets = survey.targets.unwrap();
        assert_eq!((survey.read.lengths.least, survey.read.lengths.most, survey.read.longer), (3, 4, 1));
        assert_eq!((targets.lengths.least, targets.lengths.most, targets.longer, targets.texts), (1, 4, 1, 2));
    }
}
