//! How labelled files are read: format, names of columns, labels. All of it goes under `[data]` of a recipe.

use serde::{Deserialize, Serialize};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object a line.
    Jsonl,
    /// JSON objects in one list, or one after the other.
    Json,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// Tab-separated values with a header; quotation marks mean nothing unless `quoting` says so.
    Tsv,
    /// A Parquet file.
    Parquet,
    /// A word a line with its columns, an empty line after each sentence (CoNLL-2003).
    Conll,
    /// The same as the Universal Dependencies write it: ten columns, comments.
    Conllu,
    /// The JSON of SQuAD 1.1 and 2.0: articles, paragraphs, questions.
    Squad,
    /// A text a line.
    Lines,
}

/// Which column plays which role; by default the usual names are looked for, [`Columns::usual`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The text, or the first of two.
    pub text: Option<String>,
    /// The second text.
    pub pair: Option<String>,
    /// The label, the labels, or the number.
    pub label: Option<String>,
    /// The words of a sentence; a number counts the columns of CoNLL files from 0.
    pub words: Option<String>,
    /// The tags of the words; a number as with `words`.
    pub tags: Option<String>,
    /// A name of the row.
    pub id: Option<String>,
    /// The question.
    pub question: Option<String>,
    /// Where the answer stands.
    pub context: Option<String>,
    /// The answers: `{"text": […], "answer_start": […]}` or `[{"text": …, "answer_start": …}]`.
    pub answers: Option<String>,
    /// The choices, a list; or several columns separated by commas.
    pub choices: Option<String>,
    /// What is rewritten.
    pub source: Option<String>,
    /// What it becomes.
    pub target: Option<String>,
}

/// A role of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Text,
    Pair,
    Label,
    Labels,
    Value,
    Words,
    Tags,
    Id,
    Question,
    Context,
    Answers,
    Choices,
    Source,
    Target,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Pair => "pair",
            Self::Label | Self::Labels | Self::Value => "label",
            Self::Words => "words",
            Self::Tags => "tags",
            Self::Id => "id",
            Self::Question => "question",
            Self::Context => "context",
            Self::Answers => "answers",
            Self::Choices => "choices",
            Self::Source => "source",
            Self::Target => "target",
        }
    }

    /// The names that are looked for, in this order.
    pub fn usual(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["text", "sentence", "sentence1", "premise", "question1", "a", "content", "review"],
            Self::Pair => &["pair", "text_pair", "sentence2", "hypothesis", "question2", "b"],
            Self::Label => &["label", "labels", "class", "category"],
            Self::Labels => &["labels", "label"],
            Self::Value => &["label", "score", "value", "rating", "stars"],
            Self::Words => &["words", "tokens"],
            Self::Tags => &["tags", "ner_tags", "pos_tags", "labels"],
            Self::Id => &["id", "idx"],
            Self::Question => &["question"],
            Self::Context => &["context", "passage", "article"],
            Self::Answers => &["answers", "answer"],
            Self::Choices => &["choices", "endings", "options"],
            Self::Source => &["source", "input", "src", "document", "article", "text", "dialogue"],
            Self::Target => &["target", "output", "tgt", "summary", "highlights"],
        }
    }
}

impl Columns {
    pub(crate) fn given(&self, role: Role) -> Option<&str> {
        match role {
            Role::Text => &self.text,
            Role::Pair => &self.pair,
            Role::Label | Role::Labels | Role::Value => &self.label,
            Role::Words => &self.words,
            Role::Tags => &self.tags,
            Role::Id => &self.id,
            Role::Question => &self.question,
            Role::Context => &self.context,
            Role::Answers => &self.answers,
            Role::Choices => &self.choices,
            Role::Source => &self.source,
            Role::Target => &self.target,
        }
        .as_deref()
    }

    /// The names that are looked for where a role has no column: `(role, names)`, for documentation and messages.
    pub fn usual() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
        use Role::{Answers, Choices, Context, Id, Label, Pair, Question, Source, Tags, Target, Text, Words};
        [Text, Pair, Label, Words, Tags, Id, Question, Context, Answers, Choices, Source, Target]
            .into_iter()
            .map(|role| (role.name(), role.usual()))
    }
}

/// How files are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Default: by the file's name.
    pub format: Option<Format>,
    /// Which column plays which role.
    pub columns: Columns,
    /// Which part of a folder: `train`, `validation`, `test`. Default: `train` where the files' names speak of parts,
    /// all files otherwise.
    pub split: Option<String>,
    /// Between the columns of CSV and TSV files. Default: comma and tab.
    pub delimiter: Option<char>,
    /// Whether quotation marks enclose fields. Default: in CSV files, not in TSV files.
    pub quoting: Option<bool>,
    /// Whether the first row has the columns' names; without, they are `0`, `1`, … Default: yes.
    pub header: bool,
    /// The names of labels that the files give as 0, 1, …
    pub label_names: Vec<String>,
    /// Leave out rows without a label (null, empty, or -1 where `label_names` are given) instead of refusing them.
    pub skip_unlabelled: bool,
    /// How much text is shuffled at a time, in MiB; files below that are shuffled as a whole. Default: 64.
    pub window_mib: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: None,
            columns: Columns::default(),
            split: None,
            delimiter: None,
            quoting: None,
            header: true,
            label_names: Vec::new(),
            skip_unlabelled: false,
            window_mib: 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused() {
        let read = |text: &str| serde_json::from_str::<Options>(text);
        assert_eq!(read("{}").unwrap(), Options::default());
        assert_eq!(read(r#"{"format": "tsv", "columns": {"text": "x"}}"#).unwrap().columns.text.as_deref(), Some("x"));
        for wrong in [r#"{"formats": "tsv"}"#, r#"{"columns": {"txt": "x"}}"#, r#"{"format": "xml"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
