//! Flags of `ptm pretrain`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// `ptm pretrain`
#[derive(Args)]
pub struct Pretrain {
    /// The recipe
    pub recipe: PathBuf,

    /// Set a key of the recipe, for instance optimizer.lr=3e-4; may be repeated
    #[arg(long, value_name = "KEY=VALUE", action = ArgAction::Append, env = "PTM_SET", hide_env_values = true, value_delimiter = ';')]
    pub set: Vec<String>,

    /// Print the whole recipe with all defaults, and do nothing
    #[arg(long)]
    pub print_config: bool,

    /// Begin again: throw away the checkpoints of an earlier run in the same output
    #[arg(long)]
    pub afresh: bool,

    /// Print the result as JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub json: bool,
}
