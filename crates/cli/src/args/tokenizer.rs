//! Flags of `ptm tokenizer`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Subcommand};

use super::corpus::Ends;

/// `ptm tokenizer`
#[derive(Subcommand)]
pub enum Tokenizer {
    /// Learn the vocabulary of a new tokenizer from text, and write the files that ptm and transformers open
    #[command(after_help = "\
The family says how text is divided (bert, distilbert, electra: WordPiece; gpt: BPE within words; roberta, bart, gpt2: byte-level \
BPE; t5, xlnet, albert: unigram), which special tokens there are and how they stand around texts. Texts are read as by ptm corpus \
pack. The same text and flags give the same files, whatever the number of threads.

Examples:
  ptm tokenizer train books/ --family bert --vocab-size 30000 --output my-tokenizer
  ptm tokenizer train dump.jsonl --text-key body --family t5 --output my-tokenizer")]
    Train(TokenizerTrain),

    /// Show the tokens of texts: ids, pieces, and where in the text they stand
    #[command(after_help = "\
--json prints {\"ids\": […], \"tokens\": […], \"offsets\": [[from, to], …]} for each text; offsets count characters.

Examples:
  ptm tokenizer encode --tokenizer ./my-tokenizer \"Unaffable cats\"
  ptm tokenizer encode -t google-bert/bert-base-uncased --no-special --json \"one text\" \"another\"")]
    Encode(TokenizerEncode),

    /// Turn token ids back into text
    #[command(after_help = "\
Examples:
  ptm tokenizer decode --tokenizer ./my-tokenizer 2 517 94 3
  ptm tokenizer decode -t ./my-tokenizer --skip-special 2 517 94 3")]
    Decode(TokenizerDecode),
}

/// `ptm tokenizer train`
#[derive(Args)]
pub struct TokenizerTrain {
    /// Files and folders with text
    #[arg(value_name = "TEXT", required = true)]
    pub texts: Vec<PathBuf>,

    /// Whose tokenizer it becomes
    #[arg(long, value_name = "NAME", value_parser = ptm_text::train_tokenizer::FAMILIES, env = "PTM_FAMILY", hide_env_values = true)]
    pub family: String,

    /// The directory for its files
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,

    /// How many tokens there are at most, special ones included
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(2..=4_000_000),
          env = "PTM_VOCAB_SIZE", hide_env_values = true)]
    pub vocab_size: u32,

    /// Pairs that occur less often are not merged (all but unigram)
    #[arg(long, value_name = "N", default_value_t = 2, env = "PTM_MIN_FREQUENCY", hide_env_values = true)]
    pub min_frequency: u64,

    /// Drop case, or keep it [default: as the family does]
    #[arg(long, value_name = "true|false", env = "PTM_LOWERCASE", hide_env_values = true)]
    pub lowercase: Option<bool>,

    /// How many characters are kept, the most frequent ones (byte-level BPE knows all)
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=200_000),
          env = "PTM_ALPHABET", hide_env_values = true)]
    pub alphabet: u32,

    /// How many different words are counted at most; beyond that the rarest are forgotten
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(100..=100_000_000),
          env = "PTM_MOST_WORDS", hide_env_values = true)]
    pub most_words: u32,

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

    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// `ptm tokenizer encode`
#[derive(Args)]
pub struct TokenizerEncode {
    /// The texts
    #[arg(value_name = "TEXT", required = true)]
    pub texts: Vec<String>,

    /// The tokenizer: a directory with its files, or an id of the hub
    #[arg(long, short, value_name = "ID|DIR", env = "PTM_TOKENIZER", hide_env_values = true)]
    pub tokenizer: String,

    /// No special tokens around the texts
    #[arg(long, env = "PTM_NO_SPECIAL", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub no_special: bool,

    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub json: bool,
}

/// `ptm tokenizer decode`
#[derive(Args)]
pub struct TokenizerDecode {
    /// The ids
    #[arg(value_name = "ID", required = true, value_delimiter = ',')]
    pub ids: Vec<u32>,

    /// The tokenizer: a directory with its files, or an id of the hub
    #[arg(long, short, value_name = "ID|DIR", env = "PTM_TOKENIZER", hide_env_values = true)]
    pub tokenizer: String,

    /// Leave special tokens out
    #[arg(long, env = "PTM_SKIP_SPECIAL", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub skip_special: bool,

    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub json: bool,
}
