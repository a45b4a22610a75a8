//! Flags of the commands that make vectors of texts.

use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::{KeepArgs, KeyArgs, ModelArgs, PromptArgs, StreamArgs, TopK};

/// `ptm embed`
#[derive(Args)]
pub struct Embed {
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
    /// Prompt.
    #[command(flatten)]
    pub prompt: PromptArgs,

    /// Bring vectors to length 1 [default: as the model says]
    #[arg(long, value_name = "true|false", env = "PTM_NORMALIZE", hide_env_values = true)]
    pub normalize: Option<bool>,

    /// Give a vector for every token instead of one for the text, as transformers' feature-extraction
    #[arg(long, env = "PTM_TOKENS", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub tokens: bool,

    /// Write all vectors to a file ending in .npy, .jsonl or .safetensors
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Go on where an earlier run with the same inputs, options and an --output of .jsonl ended
    #[arg(long, env = "PTM_RESUME", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub resume: bool,

    /// Print the parameters that count, each with its origin, and do nothing else
    #[arg(long)]
    pub print_config: bool,
}

/// `ptm similarity`
#[derive(Args)]
pub struct Similarity {
    /// The texts: the first is compared with each of the others
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Where texts stand.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Many answers.
    #[command(flatten)]
    pub keep: KeepArgs,

    /// Compare this text with each of the others, and rank them
    #[arg(long, value_name = "TEXT")]
    pub query: Option<String>,

    /// Give only the best of a ranking [default: all]
    #[arg(long, value_name = "N|all", env = "PTM_TOP_K", hide_env_values = true)]
    pub top_k: Option<TopK>,

    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Prompt.
    #[command(flatten)]
    pub prompt: PromptArgs,
}
