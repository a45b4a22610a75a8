//! Arguments that several commands share: the model, what comes in and goes out, prompts, how many of the best.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args, ValueEnum};

use super::Given;
use crate::input::{Form, Stream};

/// Which model.
#[derive(Args)]
pub struct ModelArgs {
    /// A model directory, or an id of the hub
    #[arg(long, short, value_name = "ID|DIR", env = "PTM_MODEL", hide_env_values = true)]
    pub model: Option<String>,

    /// Branch, tag or commit of a model of the hub [default: main]
    #[arg(long, value_name = "REV", env = "PTM_REVISION", hide_env_values = true)]
    pub revision: Option<String>,

    /// A batch holds about so many tokens, whatever the number of texts
    #[arg(long, value_name = "N", env = "PTM_BATCH_TOKENS", hide_env_values = true)]
    pub batch_tokens: Option<NonZeroUsize>,
}

/// How what comes in is divided into texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// A JSON object a line
    Jsonl,
    /// Columns with commas between them, named by the first line
    Csv,
    /// Columns with tabs between them, named by the first line
    Tsv,
    /// A text a line, whatever it begins with
    Lines,
    /// All of it is one text
    Text,
}

impl From<FormatArg> for Form {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Jsonl => Self::Json,
            FormatArg::Csv => Self::Columns(b','),
            FormatArg::Tsv => Self::Columns(b'\t'),
            FormatArg::Lines => Self::Plain,
            FormatArg::Text => Self::Whole,
        }
    }
}

/// What comes in, and how answers go out.
#[derive(Args)]
pub struct StreamArgs {
    /// Read texts from a file, as --format says; may be repeated; - is standard input, in place of texts too
    #[arg(long, short, value_name = "FILE", action = ArgAction::Append)]
    pub file: Vec<PathBuf>,

    /// How files and standard input are read [default: by a file's ending .jsonl, .csv or .tsv, else a text a line; on
    /// standard input a line that begins with { is JSON]
    #[arg(long, value_name = "FORMAT", env = "PTM_FORMAT", hide_env_values = true)]
    pub format: Option<FormatArg>,

    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub json: bool,

    /// What was given of all options of the command.
    #[arg(skip)]
    pub given: Given,
}

impl StreamArgs {
    /// What files and standard input bring; none where the texts are arguments. To be called before a model is opened, so
    /// that nobody waits for it in vain.
    ///
    /// # Errors
    /// When standard input is a terminal, a file is missing, or an option says how to read what is not read.
    pub fn lines(&self, are_arguments: bool, what: &str) -> anyhow::Result<Option<Stream>> {
        if are_arguments {
            for option in ["format", "key"] {
                let why = "it says how files and standard input are read, and the texts are arguments";
                self.given.refuse(option, why, "leave it out, or give the texts with --file")?;
            }
            return Ok(None);
        }
        let stream = Stream::of(&self.file, self.format.map(Into::into));
        if !stream.has_keys() {
            let why = "there are no keys in lines of text";
            self.given.refuse(
                "key",
                why,
                "leave it out, or say with --format jsonl, csv or tsv how the texts are kept",
            )?;
        }
        if self.file.is_empty() {
            crate::input::awaited(what)?;
        }
        stream.check()?;
        Ok(Some(stream))
    }

    /// The same for pairs, of which a text as a whole is none.
    ///
    /// # Errors
    /// As [`Self::lines`].
    pub fn pairs(&self, are_arguments: bool, what: &str) -> anyhow::Result<Option<Stream>> {
        if self.format == Some(FormatArg::Text) {
            let why = "two texts are read from each line, not one from the whole file";
            self.given.refuse(
                "format",
                why,
                "give lines with a tab between two texts, or --format jsonl, csv or tsv",
            )?;
        }
        self.lines(are_arguments, what)
    }
}

/// Where a text stands.
#[derive(Args)]
pub struct KeyArgs {
    /// Where a JSON object, or a row of columns, has its text
    #[arg(long, value_name = "KEY", default_value = "text", env = "PTM_KEY", hide_env_values = true)]
    pub key: String,
}

/// What is put before a text, as some models were trained with.
#[derive(Args)]
pub struct PromptArgs {
    /// Put these words before each text
    #[arg(long, value_name = "WORDS", env = "PTM_PROMPT", hide_env_values = true, conflicts_with = "prompt_name")]
    pub prompt: Option<String>,

    /// Put a prompt that the model brings before each text, for instance query
    #[arg(long, value_name = "NAME", env = "PTM_PROMPT_NAME", hide_env_values = true)]
    pub prompt_name: Option<String>,
}

/// How many of the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopK {
    /// That many.
    Best(NonZeroUsize),
    /// All of them.
    All,
}

impl TopK {
    /// As a number, the greatest for all.
    pub fn count(self) -> usize {
        match self {
            Self::Best(n) => n.get(),
            Self::All => usize::MAX,
        }
    }
}

impl FromStr for TopK {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        text.parse().map(Self::Best).map_err(|_| "give a whole number above 0, or all".into())
    }
}
