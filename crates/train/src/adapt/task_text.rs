//! The text of a labelled task, whatever the task is: as documents to go on with pretraining, as queries for neighbours,
//! and as what neighbours must not repeat. Labels are not read into it, and rows without one count too.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use ptm_text::corpus::{self, Corpus, TokenizedBy, Writer};
use ptm_text::dataset::{
    Choice, Classified, Dataset, Example, MultiLabelled, Options, Order, Question, Rated, Tagged, Text, TextToText,
};
use ptm_text::{Tokenizer, sentences};
use rayon::prelude::*;

use crate::error::Result;
use crate::recipe::Task;

/// The texts of a row: one or two, or a question with its context.
type Parts = Vec<String>;

/// Gives the texts of every row of `paths` to `each`.
///
/// # Errors
/// When a row cannot be read, and those of `each`.
pub fn rows(task: Task, paths: &[PathBuf], options: &Options, each: &mut dyn FnMut(Parts) -> Result<()>) -> Result<()> {
    let options = Options { skip_unlabelled: false, ..options.clone() };
    match task {
        Task::Classification => {
            read(paths, &options, |row: Classified| [Some(row.text), row.pair].into_iter().flatten().collect(), each)
        }
        Task::MultiLabel => {
            read(paths, &options, |row: MultiLabelled| [Some(row.text), row.pair].into_iter().flatten().collect(), each)
        }
        Task::Regression => {
            read(paths, &options, |row: Rated| [Some(row.text), row.pair].into_iter().flatten().collect(), each)
        }
        Task::Tokens => read(paths, &options, |row: Tagged| vec![row.words.join(" ")], each),
        Task::Questions => read(paths, &options, |row: Question| vec![row.context, row.question], each),
        Task::Choice => {
            let parts = |row: Choice| [Some(row.context), row.question].into_iter().flatten().chain(row.choices);
            read(paths, &options, |row| parts(row).collect(), each)
        }
        // what is to be written is the label
        Task::TextToText => read(paths, &options, |row: TextToText| vec![row.source], each),
        Task::LanguageModel => read(paths, &options, |row: Text| vec![row.text], each),
    }
}

fn read<E: Example>(
    paths: &[PathBuf],
    options: &Options,
    parts: impl Fn(E) -> Parts,
    each: &mut dyn FnMut(Parts) -> Result<()>,
) -> Result<()> {
    for row in Dataset::<E>::open(paths, options)?.rows(Order::AsIs, 0) {
        let mut parts = parts(row?);
        parts.retain(|part| !part.trim().is_empty());
        if !parts.is_empty() {
            each(parts)?;
        }
    }
    Ok(())
}

/// The rows of a task's training data as documents, each text once.
///
/// # Errors
/// When a row cannot be read.
pub fn documents(task: Task, paths: &[PathBuf], options: &Options) -> Result<Vec<String>> {
    let (mut seen, mut all) = (HashSet::new(), Vec::new());
    rows(task, paths, options, &mut |parts| {
        let text = parts.join("\n");
        if seen.insert(corpus::hash_of(&text)) {
            all.push(text);
        }
        Ok(())
    })?;
    Ok(all)
}

/// Packs texts, a document each, behind which `more` may write others.
///
/// # Errors
/// When the tokenizer fails on a text, or nothing can be written.
pub fn pack(
    texts: &[String],
    tokenizer: &Tokenizer,
    dir: &Path,
    more: &mut dyn FnMut(&mut Writer) -> Result<()>,
) -> Result<Corpus> {
    let mut writer = Writer::create(dir, TokenizedBy::of(tokenizer)?)?;
    // what is encoded at once
    for texts in texts.chunks(4096) {
        let documents: Vec<_> = texts.par_iter().map(|text| corpus::document(text, tokenizer)).collect();
        for (text, document) in texts.iter().zip(documents) {
            let document = document?;
            if !document.ids.is_empty() {
                writer.add(&document, corpus::hash_of(text), text.len() as u64)?;
            }
        }
    }
    more(&mut writer)?;
    Ok(writer.finish()?)
}

/// Words of the fewest that are looked for in longer text; fewer are compared as a whole.
const WORDS: usize = 4;

/// What a task's rows say, to be recognised in other text: whole rows and their sentences, without regard to capitals,
/// punctuation and spaces, also within a longer text.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Each as its words with a space between them.
    all: HashSet<String>,
    /// By the first words the numbers of words of those that begin with them.
    beginnings: HashMap<String, Vec<usize>>,
}

impl Said {
    /// Adds a text and its sentences.
    pub fn add(&mut self, text: &str) {
        for part in sentences(text).into_iter().chain([text]) {
            let words = words(part);
            if words.is_empty() || !self.all.insert(words.join(" ")) || words.len() < WORDS {
                continue;
            }
            let lengths = self.beginnings.entry(words[..WORDS].join(" ")).or_default();
            if !lengths.contains(&words.len()) {
                lengths.push(words.len());
            }
        }
    }

    /// Whether `text` says, or holds, what was added.
    pub fn holds(&self, text: &str) -> bool {
        let words = words(text);
        if words.is_empty() || self.all.contains(&words.join(" ")) {
            return !words.is_empty();
        }
        (0..words.len().saturating_sub(WORDS - 1)).any(|from| {
            let lengths = self.beginnings.get(&words[from..from + WORDS].join(" "));
            let held = |&length: &usize| {
                let to = from + length;
                to <= words.len() && self.all.contains(&words[from..to].join(" "))
            };
            lengths.is_some_and(|lengths| lengths.iter().any(held))
        })
    }
}

/// The words of a text, in lower case.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// What a text says as a number, without regard to capitals, punctuation and spaces.
pub fn mark(text: &str) -> u64 {
    let words = words(text);
    corpus::hash_of(&if words.is_empty() { text.to_owned() } else { words.join(" ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_task_are_text() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let of = |task, path: &PathBuf| documents(task, std::slice::from_ref(path), &Options::default()).unwrap();
        let pairs = file(
            "pairs.jsonl",
            "{\"text\": \"A b.\", \"pair\": \"C.\", \"label\": \"x\"}\n{\"text\": \"A b.\", \"pair\": \"C.\"}\n{\"text\": \"D\"}\n",
        );
        assert_eq!(of(Task::Classification, &pairs), ["A b.\nC.", "D"]);
        let tags = file("tags.conll", "Clara\tB-PER\nsings\tO\n\nNobody\tO\n");
        assert_eq!(of(Task::Tokens, &tags), ["Clara sings", "Nobody"]);
        let answers = file(
            "answers.jsonl",
            "{\"question\": \"Who?\", \"context\": \"Clara.\", \"answers\": {\"text\": [\"Clara\"], \"answer_start\": [0]}}\n",
        );
        assert_eq!(of(Task::Questions, &answers), ["Clara.\nWho?"]);
        let written = file("written.jsonl", "{\"source\": \"long\", \"target\": \"short\"}\n");
        assert_eq!(of(Task::TextToText, &written), ["long"]);
        assert_eq!(of(Task::LanguageModel, &file("lines.txt", "one\ntwo\n")), ["one", "two"]);
        let chosen =
            file("choice.jsonl", "{\"context\": \"It rains.\", \"choices\": [\"wet\", \"dry\"], \"label\": 0}\n");
        assert_eq!(of(Task::Choice, &chosen), ["It rains.\nwet\ndry"]);
    }

    #[test]
    fn what_rows_say_is_recognised() {
        let mut said = Said::default();
        said.add("A small burrowing animal. It has soft fur!");
        said.add("a cat");
        for text in [
            "a small burrowing animal",
            "A SMALL  burrowing animal. it has soft fur",
            "mole: a small burrowing-animal (zoology)",
            "It has soft fur, they say",
            "A cat!",
        ] {
            assert!(said.holds(text), "{text}");
        }
        for text in ["", "...", "a small burrowing", "the cat", "not a cat", "it has soft feathers", "has soft fur"] {
            assert!(!said.holds(text), "{text}");
        }
        assert_eq!(mark("A cat!"), mark("a  cat"));
        assert_ne!(mark("!!"), mark("??"));
    }
}
