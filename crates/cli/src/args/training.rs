//! `ptm finetune`: a run, or what is to be known before one.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// `ptm finetune`
#[derive(Args)]
pub struct Finetune {
    /// The recipe
    pub recipe: PathBuf,

    /// Set a key of the recipe, for instance optimizer.lr=3e-5; may be repeated
    #[arg(long, value_name = "KEY=VALUE", action = ArgAction::Append, env = "PTM_SET", hide_env_values = true, value_delimiter = ';')]
    pub set: Vec<String>,

    /// Print the whole recipe with all defaults, and do nothing
    #[arg(long)]
    pub print_config: bool,

    /// Begin again: throw away the checkpoints of an earlier run in the same output
    #[arg(long)]
    pub afresh: bool,

    /// On a terminal, draw the curve of the loss and the last judgements above the line that says how training goes
    #[arg(long, env = "PTM_DASHBOARD", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub dashboard: bool,

    /// Don't train: try rising learning rates for some steps, say which to begin with, and write find-lr.html with the
    /// curve and find-lr.json into the output folder
    #[arg(long, conflicts_with_all = ["afresh", "print_config", "find_batch"])]
    pub find_lr: bool,

    /// Steps of --find-lr
    #[arg(long, value_name = "N", default_value_t = 100, requires = "find_lr",
          value_parser = clap::value_parser!(u64).range(10..=100_000))]
    pub find_steps: u64,

    /// Don't train: make steps of growing batches, and say the largest that stays within --memory-limit
    #[arg(long, conflicts_with_all = ["afresh", "print_config"], requires = "memory_limit")]
    pub find_batch: bool,

    /// The memory that --find-batch may take, for instance 8GB or 6000MiB
    #[arg(long, value_name = "SIZE", value_parser = bytes, requires = "find_batch")]
    pub memory_limit: Option<u64>,

    /// Print the result as JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub json: bool,
}

/// `8GB`, `1.5 GiB`, `6000MB`: a number with its unit.
fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "kb" | "k" => 1e3,
        "mb" | "m" => 1e6,
        "gb" | "g" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err("give a number with its unit, for instance 8GB or 6000MiB".into()),
    };
    match text[..digits].parse::<f64>() {
        Ok(number) if number > 0.0 && number * unit < 1e18 => Ok((number * unit) as u64),
        _ => Err("the number in front of the unit should be above 0, for instance 8GB".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in
            [("8GB", 8_000_000_000), ("1.5 GiB", 1_610_612_736), ("6000MiB", 6_291_456_000), ("5k", 5000)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "8", "GB", "-1GB", "1e3GB", "0GB", "9999999999GB", "1.2.3GB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
