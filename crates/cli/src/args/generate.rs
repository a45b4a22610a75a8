//! Flags of the commands that answer with a text of their own.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::{KeepArgs, KeyArgs, ModelArgs, StreamArgs};
use crate::generation_args::GenerationArgs;

/// `ptm generate`
#[derive(Args)]
pub struct Generate {
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Where texts stand.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub keep: KeepArgs,

    /// Live.
    #[command(flatten)]
    pub live: LiveArgs,

    /// Print what was said alone, without the text that was given
    #[arg(long, env = "PTM_NO_FULL_TEXT", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub no_full_text: bool,

    /// Leave out the spaces before punctuation that decoding puts there [default: true, but false where the text is
    /// constrained]
    #[arg(long, value_name = "true|false", env = "PTM_CLEAN_UP", hide_env_values = true)]
    pub clean_up: Option<bool>,

    /// End where any token of this text is said, in place of the model's own ends (transformers' stop_sequence; for a
    /// text that ends it as a whole: --stop)
    #[arg(long, value_name = "TEXT", env = "PTM_STOP_SEQUENCE", hide_env_values = true)]
    pub stop_sequence: Option<String>,

    /// Take each text as what a user says to the model
    #[arg(long, env = "PTM_CHAT", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub chat: bool,

    /// Put these words before each text
    #[arg(long, value_name = "WORDS", env = "PTM_PREFIX", hide_env_values = true)]
    pub prefix: Option<String>,

    /// Cut the beginning of texts that leave no room for an answer instead of refusing them
    #[arg(long, env = "PTM_TRUNCATE", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub truncate: bool,

    /// Generation.
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// `ptm summarize`
#[derive(Args)]
pub struct Summarize {
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Where texts stand.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub keep: KeepArgs,
    /// Live.
    #[command(flatten)]
    pub live: LiveArgs,
    /// What both say about texts.
    #[command(flatten)]
    pub reply: ReplyArgs,
    /// Generation.
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// `ptm translate`
#[derive(Args)]
pub struct Translate {
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Where texts stand.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub keep: KeepArgs,

    /// The language of the texts, as the model names it
    #[arg(long, value_name = "LANGUAGE", env = "PTM_FROM", hide_env_values = true, requires = "to")]
    pub from: Option<String>,

    /// The language of the answers, as the model names it
    #[arg(long, value_name = "LANGUAGE", env = "PTM_TO", hide_env_values = true, requires = "from")]
    pub to: Option<String>,

    /// Live.
    #[command(flatten)]
    pub live: LiveArgs,
    /// What both say about texts.
    #[command(flatten)]
    pub reply: ReplyArgs,
    /// Generation.
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// Whether answers are shown before they are whole.
#[derive(Args, Clone, Copy)]
pub struct LiveArgs {
    /// Show the answer while it is said, one text after the other
    #[arg(long = "stream", env = "PTM_STREAM", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub live: bool,
}

/// How a text is answered by another.
#[derive(Args)]
pub struct ReplyArgs {
    /// Put these words before each text [default: as the model's files say]
    #[arg(long, value_name = "WORDS", env = "PTM_PREFIX", hide_env_values = true)]
    pub prefix: Option<String>,

    /// Leave out the spaces before punctuation that decoding puts there [default: false]
    #[arg(long, value_name = "true|false", env = "PTM_CLEAN_UP", hide_env_values = true)]
    pub clean_up: Option<bool>,

    /// Cut the end of texts that are longer than the model reads instead of dividing them
    #[arg(long, env = "PTM_TRUNCATE", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub truncate: bool,
}
