//! Flags about labelled data: how files are read, `ptm evaluate`, `ptm debug`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand};
use ptm_text::dataset::{Format, Options};

use crate::failure::hinted;

/// How files are read.
#[derive(Args)]
pub struct DataArgs {
    /// jsonl, json, csv, tsv, parquet, conll, conllu, squad or lines [default: by the file's name]
    #[arg(long, value_name = "NAME", env = "PTM_FORMAT", hide_env_values = true)]
    pub format: Option<String>,

    /// Which part of a folder or a data set of the hub: train, validation, test
    #[arg(long, value_name = "PART", env = "PTM_SPLIT", hide_env_values = true)]
    pub split: Option<String>,

    /// Say which column plays a role: text, pair, label, words, tags, id, question, context, answers, choices, source,
    /// target; may be repeated [default: the usual names]
    #[arg(long, value_name = "ROLE=NAME", action = ArgAction::Append, env = "PTM_COLUMN", hide_env_values = true, value_delimiter = ';')]
    pub column: Vec<String>,

    /// The names of labels that the file gives as 0, 1, …
    #[arg(long, value_name = "NAME,…", env = "PTM_LABEL_NAMES", hide_env_values = true, value_delimiter = ',')]
    pub label_names: Vec<String>,

    /// The first row of a CSV or TSV file is data; its columns are 0, 1, …
    #[arg(long, env = "PTM_NO_HEADER", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub no_header: bool,

    /// Leave out rows without a label instead of refusing them
    #[arg(long, env = "PTM_SKIP_UNLABELLED", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub skip_unlabelled: bool,
}

impl DataArgs {
    /// As the library takes them; folders give the part `split` where the flag doesn't say which.
    pub fn options(&self, split: Option<&str>) -> anyhow::Result<Options> {
        let format = self.format.as_deref().map(|name| {
            serde_json::from_value::<Format>(name.into()).map_err(|_| {
                let known = "jsonl, json, csv, tsv, parquet, conll, conllu, squad or lines";
                hinted(format!("--format {name}: there is no such format"), format!("it is one of {known}"))
            })
        });
        let mut columns = serde_json::Map::new();
        for given in &self.column {
            let Some((role, name)) = given.split_once('=') else {
                return Err(hinted(format!("--column {given}: no role"), "write it as --column text=body"));
            };
            columns.insert(role.trim().to_owned(), name.trim().into());
        }
        let columns = serde_json::from_value(columns.into()).map_err(|error| {
            hinted(format!("--column: {error}"), "write it as --column text=body; --help lists the roles")
        })?;
        Ok(Options {
            format: format.transpose()?,
            columns,
            split: self.split.clone().or_else(|| split.map(str::to_owned)),
            header: !self.no_header,
            label_names: self.label_names.clone(),
            skip_unlabelled: self.skip_unlabelled,
            ..Options::default()
        })
    }
}

/// `ptm evaluate`
#[derive(Args)]
pub struct Evaluate {
    /// The model: a directory, or an id of the hub
    #[arg(value_name = "MODEL")]
    pub model: String,

    /// Labelled files, folders, or the id of a data set in the hub's cache
    #[arg(value_name = "DATA", required = true)]
    pub data: Vec<PathBuf>,

    /// Data.
    #[command(flatten)]
    pub reading: DataArgs,

    /// Branch, tag or commit of a model of the hub [default: main]
    #[arg(long, value_name = "REV", env = "PTM_REVISION", hide_env_values = true)]
    pub revision: Option<String>,

    /// Evaluate this model too, and say whether the two differ by more than chance
    #[arg(long, value_name = "MODEL", env = "PTM_AGAINST", hide_env_values = true)]
    pub against: Option<String>,

    /// Learn a simple method from these training rows and compare the model with it: bags of words (tf-idf, logistic
    /// regression) for a classifier, each word's most frequent tag for a tagger, shared words and shapes for questions
    #[arg(long, value_name = "DATA", action = ArgAction::Append, conflicts_with = "against", env = "PTM_BASELINE", hide_env_values = true)]
    pub baseline: Vec<PathBuf>,

    /// End with exit code 1 when a metric is worse than this: a value of the metric that is printed first, or
    /// METRIC=VALUE; may be repeated
    #[arg(long, value_name = "[METRIC=]VALUE", action = ArgAction::Append, env = "PTM_THRESHOLD", hide_env_values = true, value_delimiter = ';')]
    pub threshold: Vec<String>,

    /// Write a report with plots: one page FILE.html, or a folder with the page, its plots as SVG, and report.json
    #[arg(long, value_name = "FILE.html|DIR", env = "PTM_REPORT", hide_env_values = true)]
    pub report: Option<PathBuf>,

    /// How many errors are listed, the worst first
    #[arg(long, value_name = "N", default_value_t = 5, env = "PTM_ERRORS", hide_env_values = true)]
    pub errors: usize,

    /// Only the first rows
    #[arg(long, value_name = "N", env = "PTM_LIMIT", hide_env_values = true)]
    pub limit: Option<NonZeroUsize>,

    /// Cut longer texts [default: what the model reads]
    #[arg(long, value_name = "TOKENS", env = "PTM_MAX_LENGTH", hide_env_values = true)]
    pub max_length: Option<usize>,

    /// A batch holds about so many tokens, whatever the number of texts
    #[arg(long, value_name = "N", env = "PTM_BATCH_TOKENS", hide_env_values = true)]
    pub batch_tokens: Option<NonZeroUsize>,

    /// Give labels of at least this probability, where several may hold
    #[arg(long, value_name = "P", default_value_t = 0.5, env = "PTM_LABEL_THRESHOLD", hide_env_values = true)]
    pub label_threshold: f32,

    /// Leave questions unanswered where no answer is better by more than this [default: 0 where some have no answer]
    #[arg(long, value_name = "X", allow_negative_numbers = true, env = "PTM_NULL_THRESHOLD", hide_env_values = true)]
    pub null_threshold: Option<f64>,

    /// Put these words before each text, of models that write texts [default: as the model's files say]
    #[arg(long, value_name = "WORDS", env = "PTM_PREFIX", hide_env_values = true)]
    pub prefix: Option<String>,

    /// Beams of models that write texts [default: as the model says]
    #[arg(long, value_name = "N", env = "PTM_NUM_BEAMS", hide_env_values = true)]
    pub num_beams: Option<NonZeroUsize>,

    /// New tokens of models that write texts [default: as the model says]
    #[arg(long, value_name = "N", env = "PTM_MAX_NEW_TOKENS", hide_env_values = true)]
    pub max_new_tokens: Option<NonZeroUsize>,

    /// Samples of the bootstrap, and rounds of the paired test; 0 for no intervals
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000),
          env = "PTM_RESAMPLES", hide_env_values = true)]
    pub resamples: u32,

    /// Seed of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 0, env = "PTM_SEED", hide_env_values = true)]
    pub seed: u64,

    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// `ptm debug`
#[derive(Subcommand)]
pub enum Debug {
    /// Say what labelled files hold: counts, labels, lengths, empty and repeated rows, and rows as a model sees them
    #[command(after_help = "\
Examples:
  ptm debug data reviews.csv
  ptm debug data train.jsonl --task classification --model ./my-bert --max-length 128
  ptm debug data recipe.toml")]
    Data(DebugData),
}

/// `ptm debug data`
#[derive(Args)]
pub struct DebugData {
    /// Files, folders, the id of a data set in the hub's cache, or one recipe of ptm finetune
    #[arg(value_name = "RECIPE|DATA", required = true)]
    pub data: Vec<PathBuf>,

    /// Data.
    #[command(flatten)]
    pub reading: DataArgs,

    /// classification, multi-label, regression, tokens, questions, choice, text-to-text or language-model [default: what
    /// the first row fits]
    #[arg(long, value_name = "NAME", env = "PTM_TASK", hide_env_values = true)]
    pub task: Option<String>,

    /// Count tokens as this model does: a directory, or an id of the hub [default: words are counted]
    #[arg(long, short, value_name = "ID|DIR", env = "PTM_MODEL", hide_env_values = true)]
    pub model: Option<String>,

    /// How many tokens the model is to read [default: as many as it can, at most 512, as in fine-tuning]
    #[arg(long, value_name = "TOKENS", env = "PTM_MAX_LENGTH", hide_env_values = true)]
    pub max_length: Option<NonZeroUsize>,

    /// How many rows are shown
    #[arg(long, value_name = "N", default_value_t = 3, env = "PTM_SHOW", hide_env_values = true)]
    pub show: usize,

    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub json: bool,
}
