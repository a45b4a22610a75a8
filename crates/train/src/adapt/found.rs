//! What a search for neighbours found, as a file: its first line says what was searched, then for each row of the task a
//! line with the nearest. From it a corpus is made.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use ptm_text::corpus::{self, Corpus};
use serde::{Deserialize, Serialize};

use super::recipe::Unit;
use super::task_text;
use crate::error::{Error, Result};

/// Where a unit stands: the number of the corpus, of the document, and of the sentence in it; of documents as a whole
/// sentence 0.
pub type Spot = (u32, u64, u32);

/// What a search found, its first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What was searched for what, by whom.
    pub of: String,
    /// How many were looked for, for each row.
    pub k: usize,
    /// The rows.
    pub rows: usize,
    /// How many units were compared with them.
    pub candidates: u64,
    /// How many said what a row of the task says, and were left out.
    pub left_out: u64,
}

/// What a search found for a row, a line each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// What it says.
    pub text: String,
    /// The nearest first.
    pub neighbours: Vec<Found>,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Found {
    /// The cosine.
    pub score: f32,
    /// Where it stands.
    pub spot: Spot,
    /// What it says.
    pub text: String,
}

/// The tokens of a unit.
pub(super) fn ids_of(corpus: &Corpus, (_, number, sentence): Spot, unit: Unit) -> Result<Vec<u32>> {
    let document = corpus.document(number)?;
    match unit {
        Unit::Document => Ok(document.ids),
        Unit::Sentence => {
            let found = document.each_sentence().nth(sentence as usize).map(<[u32]>::to_vec);
            found.ok_or_else(|| {
                Error::Input(format!("{}: document {number} has no sentence {sentence}", corpus.dir().display()))
            })
        }
    }
}

/// The lines of what a search wrote; none where there is no such file.
pub(super) fn lines(path: &Path) -> Result<Option<impl Iterator<Item = Result<String>>>> {
    let failed = {
        let path = path.to_owned();
        move |source| Error::File { action: "read", path: path.clone(), source }
    };
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file).lines().map(move |line| line.map_err(&failed)))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(source)),
    }
}

/// What an earlier search found in short; none where there was none.
///
/// # Errors
/// When its file can't be read.
pub fn summary(path: &Path) -> Result<Option<Summary>> {
    let Some(mut lines) = lines(path)? else { return Ok(None) };
    let first = lines.next().transpose()?;
    Ok(first.and_then(|line| serde_json::from_str(&line).ok()))
}

/// The tokens of all neighbours among the nearest `k` of any row, each text once, in the order of the corpora; with the
/// hash of its text and the text's length.
///
/// # Errors
/// When the search's file is not what it should be, or a corpus is damaged.
pub fn found(path: &Path, k: usize, corpora: &[Corpus], unit: Unit) -> Result<Vec<(Vec<u32>, u64, u64)>> {
    let damaged = |problem: &str| {
        let way = "remove it, and the neighbours are searched again";
        Error::Input(format!("{}: {problem}: {way}", path.display()))
    };
    let lines = lines(path)?.ok_or_else(|| damaged("there is no such file"))?;
    let (mut marks, mut spots) = (HashSet::new(), Vec::new());
    for line in lines.skip(1) {
        let row: Row = serde_json::from_str(&line?).map_err(|error| damaged(&error.to_string()))?;
        for near in row.neighbours.into_iter().take(k) {
            if marks.insert(task_text::mark(&near.text)) {
                spots.push((near.spot, corpus::hash_of(&near.text), near.text.len() as u64));
            }
        }
    }
    spots.sort_unstable();
    let tokens = |(spot, hash, bytes): (Spot, u64, u64)| {
        let corpus = corpora.get(spot.0 as usize).ok_or_else(|| damaged("it is of other corpora"))?;
        Ok((ids_of(corpus, spot, unit)?, hash, bytes))
    };
    spots.into_iter().map(tokens).collect()
}

/// Where the neighbours of a comparison in `output` are written.
pub fn file(output: &Path) -> PathBuf {
    output.join("neighbours.jsonl")
}
