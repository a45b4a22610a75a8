//! Flags of `ptm corpus`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand, ValueEnum};
use ptm_text::corpus::Layout;

/// `ptm corpus`
#[derive(Subcommand)]
pub enum Corpus {
    /// Turn text into a packed corpus: token ids with the boundaries of documents and sentences, to be trained on
    #[command(after_help = "\
Files named .jsonl, .json, .csv, .tsv and .parquet are tables with a column of text; everything else is plain text in \
UTF-8. Folders stand for all files in them. Documents keep their order; one of more than 1 MiB becomes several. Memory \
stays the same however much there is. The directory is unfinished, and says so, until everything is in it: a run that \
was stopped is begun again.

With --spans-key rows of tables bring phrases and named entities with their text, which knowledge masking hides as a \
whole (objective.spans of a recipe). Under the key is a list of spans, each with its start and end in code points of \
the text, from 0 and the end behind the last, and its kind, \"phrase\" or \"entity\"; those of one kind may not \
overlap, and a text without any has []:
  {\"text\": \"Zoe went to New York.\", \"spans\": [{\"start\": 12, \"end\": 20, \"kind\": \"entity\"}]}

Examples:
  ptm corpus pack books/ --tokenizer ./my-tokenizer --output books-packed
  ptm corpus pack lines.txt --documents lines --tokenizer google-bert/bert-base-uncased --output packed
  ptm corpus pack dump.jsonl wiki.parquet --text-key body --tokenizer ./my-tokenizer --output packed --json
  ptm corpus pack tagged.jsonl --spans-key spans --tokenizer ./my-tokenizer --output packed")]
    Pack(CorpusPack),

    /// Say what a packed corpus holds, and whether it is whole
    #[command(after_help = "\
Every shard is compared with its checksum. --validation says how many documents a split holds out, without changing \
anything.

Examples:
  ptm corpus info packed
  ptm corpus info packed --validation 0.01 --json")]
    Info(CorpusInfo),
}

/// Where documents end in plain text.
#[derive(Clone, Copy, ValueEnum)]
pub enum Ends {
    /// At a blank line
    BlankLines,
    /// At the end of a line
    Lines,
    /// At the end of the file
    Files,
}

impl Ends {
    /// As the library has it.
    pub fn layout(self) -> Layout {
        match self {
            Self::BlankLines => Layout::BlankLines,
            Self::Lines => Layout::Lines,
            Self::Files => Layout::Files,
        }
    }
}

/// `ptm corpus pack`
#[derive(Args)]
pub struct CorpusPack {
    /// Files and folders with text
    #[arg(value_name = "TEXT", required = true)]
    pub texts: Vec<PathBuf>,

    /// The tokenizer: a directory with its files, or an id of the hub
    #[arg(long, short, value_name = "ID|DIR", env = "PTM_TOKENIZER", hide_env_values = true)]
    pub tokenizer: String,

    /// The directory of the corpus, which must be new or empty
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,

    /// Where documents end in plain text
    #[arg(
        long,
        value_name = "WHERE",
        value_enum,
        default_value = "blank-lines",
        env = "PTM_DOCUMENTS",
        hide_env_values = true
    )]
    pub documents: Ends,

    /// The column that holds the text in tables [default: text, or another usual name]
    #[arg(long, value_name = "NAME", env = "PTM_TEXT_KEY", hide_env_values = true)]
    pub text_key: Option<String>,

    /// The column of tables that holds phrases and named entities [default: none is read]
    #[arg(long, value_name = "NAME", env = "PTM_SPANS_KEY", hide_env_values = true)]
    pub spans_key: Option<String>,

    /// About how large a file of the corpus becomes
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024),
          env = "PTM_SHARD_MIB", hide_env_values = true)]
    pub shard_mib: u16,

    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// `ptm corpus info`
#[derive(Args)]
pub struct CorpusInfo {
    /// The directory of the corpus
    #[arg(value_name = "DIR")]
    pub corpus: PathBuf,

    /// Say how many documents are held out when this share is
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, env = "PTM_VALIDATION", hide_env_values = true)]
    pub validation: f64,

    /// Seed of the split
    #[arg(long, value_name = "N", default_value_t = 0, env = "PTM_SEED", hide_env_values = true)]
    pub seed: u64,

    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub json: bool,
}
