//! Arguments that several commands share: the model, what comes in and goes out, prompts, how many of the best.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args};

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

/// What comes in, and how answers go out.
#[derive(Args)]
pub struct StreamArgs {
    /// Read texts from a file: a text a line, or objects when it ends in .jsonl; may be repeated; - is standard input,
    /// in place of texts too
    #[arg(long, short, value_name = "FILE", action = ArgAction::Append)]
    pub file: Vec<PathBuf>,

    /// Where a JSON object has its text
    #[arg(long, value_name = "KEY", default_value = "text", env = "PTM_KEY", hide_env_values = true)]
    pub key: String,

    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub json: bool,
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
