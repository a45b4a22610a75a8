//! Flags of `ptm explain`.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// `ptm explain`
#[derive(Args)]
pub struct Explain {
    /// An objective, several with commas between them, continual for the tasks of ERNIE 2.0, or all
    #[arg(value_name = "OBJECTIVE")]
    pub objectives: String,

    /// The text, or - for standard input; further ones are other documents, for pairs that are of two
    #[arg(value_name = "TEXT", required = true)]
    pub texts: Vec<String>,

    /// What decides every random choice
    #[arg(long, value_name = "N", default_value_t = 0, env = "PTM_SEED", hide_env_values = true)]
    pub seed: u64,

    /// Change a setting, rate=0.3 for instance; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", action = ArgAction::Append, env = "PTM_SET", hide_env_values = true, value_delimiter = ';')]
    pub set: Vec<String>,

    /// The model whose tokenizer reads the text, and which draws the tokens of replaced_token_detection if it foretells
    /// masked ones: a directory, or an id of the hub [default: the built-in model]
    #[arg(long, short, value_name = "MODEL", env = "PTM_MODEL", hide_env_values = true)]
    pub model: Option<String>,

    /// Branch, tag or commit of a model of the hub [default: main]
    #[arg(long, value_name = "REV", requires = "model", env = "PTM_REVISION", hide_env_values = true)]
    pub revision: Option<String>,

    /// Print JSON
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub json: bool,

    /// Write a page with the pictures side by side
    #[arg(long, value_name = "FILE", env = "PTM_HTML", hide_env_values = true)]
    pub html: Option<PathBuf>,
}
