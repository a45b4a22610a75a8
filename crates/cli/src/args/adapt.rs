//! Flags of `ptm adapt`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// `ptm adapt`
#[derive(Args)]
pub struct Adapt {
    /// The recipe
    pub recipe: PathBuf,

    /// Set a key of the recipe, for instance dapt.run.steps=500; may be repeated
    #[arg(long, value_name = "KEY=VALUE", action = ArgAction::Append, env = "PTM_SET", hide_env_values = true, value_delimiter = ';')]
    pub set: Vec<String>,

    /// Print the whole recipe, and the recipes of pretraining and of fine-tuning that follow from it, and do nothing
    #[arg(long)]
    pub print_config: bool,

    /// Begin again: throw away what an earlier comparison in the same output made
    #[arg(long)]
    pub afresh: bool,

    /// Print the table as JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub json: bool,
}
