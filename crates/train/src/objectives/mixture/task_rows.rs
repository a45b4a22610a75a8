//! A task of a mixture: its files, and how a row becomes what is read and what is said.

use std::path::PathBuf;

use ptm_text::dataset::{self, Dataset, Fields, Order};
use ptm_text::{EncodeOptions, Tokenizer};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::TextTask;
use crate::error::{Error, Result};
use crate::objectives::denoised::Denoised;
use crate::recipe::{list, take, take_paths};

/// `[[objective.tasks]]`: this, and how files are read ([`dataset::Options`]: `format`, `label_names`, …).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct TaskRows {
    /// `name`, and `source` and `target` with the names of columns in braces.
    pub form: TextTask,
    /// Files or folders to learn from.
    pub train: Vec<PathBuf>,
    /// Files or folders to judge by; of a folder the part `validation`. Default: none, the task is not judged.
    pub validation: Vec<PathBuf>,
    /// Tokens of a source; longer ones are cut. Default: 512.
    pub max_length: usize,
    /// Tokens of a target; longer ones are cut. Default: 128.
    pub max_target: usize,
    /// How files are read.
    pub options: dataset::Options,
}

impl TryFrom<Table> for TaskRows {
    type Error = String;

    fn try_from(mut table: Table) -> Result<Self, String> {
        let text = |table: &mut Table, key: &str| {
            take::<String>(table, key)?.ok_or_else(|| format!("a task needs {key}, a text"))
        };
        let task = Self {
            form: TextTask {
                name: text(&mut table, "name")?,
                source: text(&mut table, "source")?,
                target: text(&mut table, "target")?,
            },
            train: take_paths(&mut table, "train")?,
            validation: take_paths(&mut table, "validation")?,
            max_length: take(&mut table, "max_length")?.unwrap_or(512),
            max_target: take(&mut table, "max_target")?.unwrap_or(128),
            options: table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?,
        };
        if task.train.is_empty() {
            return Err("train: name the files to learn from, train = [\"train.jsonl\"]".into());
        }
        Ok(task)
    }
}

impl From<TaskRows> for Table {
    fn from(task: TaskRows) -> Self {
        let mut table = Table::try_from(&task.options).unwrap_or_default();
        let TextTask { name, source, target } = task.form;
        let texts = [("name", name), ("source", source), ("target", target)];
        table.extend(texts.map(|(key, text)| (key.to_owned(), Value::from(text))));
        table.extend([("train", task.train), ("validation", task.validation)].map(|(k, p)| (k.to_owned(), list(&p))));
        let numbers = [("max_length", task.max_length), ("max_target", task.max_target)];
        table.extend(numbers.map(|(key, number)| (key.to_owned(), Value::from(number as i64))));
        table
    }
}

/// What encloses a text: a token before it, of families that have one, and one that ends it.
pub(crate) type Ends = (Option<u32>, u32);

impl TaskRows {
    /// Says which value can't work.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |field: &str, problem: &str| {
            Err(Error::recipe(format!("objective.tasks.{field}"), format!("{problem}, of task {}", self.form.name)))
        };
        if self.form.source.is_empty() || self.form.target.is_empty() {
            return wrong("source and target", "should not be empty: \"{column}\" stands for what a column holds");
        }
        for (field, tokens) in [("max_length", self.max_length), ("max_target", self.max_target)] {
            if !(3..=1 << 20).contains(&tokens) {
                return wrong(field, "should be from 3 to 1048576");
            }
        }
        // braces without their others are found before a row is read
        self.form.example(|_| Some("")).map(|_| ())
    }

    /// The rows to learn from, or those to judge by, as tokens between `ends`; a model reads at most `longest`. Special
    /// tokens that a form or a row spells are these, as in fine-tuning and unlike in corpora.
    ///
    /// # Errors
    /// When files cannot be read, or a row lacks what the task asks for.
    pub(crate) fn read(
        &self,
        held_out: bool,
        tokenizer: &Tokenizer,
        ends: Ends,
        longest: usize,
    ) -> Result<(Vec<Denoised>, u64)> {
        let mut options = self.options.clone();
        let paths = if held_out { &self.validation } else { &self.train };
        if held_out {
            options.split = paths.iter().any(|path| path.is_dir()).then(|| "validation".to_owned());
        }
        let data = Dataset::<Fields>::open(paths, &options)?;
        let encode = |text: &str, most: usize| -> Result<Vec<u32>> {
            let options = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
            let mut ids = tokenizer.encode(text, &options)?.ids;
            ids.truncate(most.min(longest).saturating_sub(1 + usize::from(ends.0.is_some())));
            Ok(ids)
        };
        let mut pairs = Vec::new();
        for row in data.rows(Order::AsIs, 0) {
            let row = row?;
            let (source, target) = self.form.example(|name| row.get(name)).map_err(|error| {
                Error::Input(format!("{}: {error}; the row's columns are {}", row.place(), row.names().join(", ")))
            })?;
            let pair = Denoised {
                source: encode(&source, self.max_length)?,
                target: encode(&target, self.max_target)?,
                corrupted: Vec::new(),
            };
            pairs.push(pair.ended(ends.0, ends.1));
        }
        if pairs.is_empty() {
            let problem = "has no row with a label: give files with some, or drop skip_unlabelled";
            return Err(Error::recipe(format!("task {}", self.form.name), problem));
        }
        Ok((pairs, data.fingerprint()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::objectives::vocabulary::tests::tokenizer;

    #[test]
    fn rows_become_tokens_between_their_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        fs::write(&path, "{\"a\": \"one two\", \"b\": \"three\"}\n").unwrap();
        let form = TextTask { name: "t".into(), source: "{a} {b}".into(), target: "{b}".into() };
        let task = TaskRows { form, train: vec![path.clone()], max_length: 4, max_target: 9, ..TaskRows::default() };
        let tokenizer = tokenizer("one\ntwo\nthree");
        let plain = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
        let ids = |text: &str| tokenizer.encode(text, &plain).unwrap().ids;
        let (pairs, _) = task.read(false, &tokenizer, (Some(7), 8), 512).unwrap();
        assert_eq!(pairs[0].source, [&[7], &ids("one two three")[..2], &[8]].concat());
        assert_eq!(pairs[0].target, [&[7], &ids("three")[..], &[8]].concat());
        let (pairs, _) = task.read(false, &tokenizer, (None, 8), 3).unwrap();
        assert_eq!(pairs[0].source, [&ids("one two three")[..2], &[8]].concat());

        fs::write(&path, "{\"a\": \"x\", \"b\": \"y\"}\n{\"a\": \"x\", \"c\": \"y\"}\n").unwrap();
        let error = task.read(false, &tokenizer, (None, 8), 512).unwrap_err().to_string();
        for said in ["rows.jsonl, line 2", "task t", "\"b\"", "a, c"] {
            assert!(error.contains(said), "{said}: {error}");
        }
        fs::write(&path, "{\"a\": \"x\"\n").unwrap();
        assert!(task.read(false, &tokenizer, (None, 8), 512).unwrap_err().to_string().contains("rows.jsonl"));
    }
}
