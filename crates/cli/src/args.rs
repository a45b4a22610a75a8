//! The command line's grammar: one list of flags gives the parser, the help and the shell completions. Every setting
//! has an environment variable `PTM_…`; what changes from call to call (texts, files) has none.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args, Parser, Subcommand};

/// Pre-trained language models: embed, compare, fill masks, from a local directory or the hub.
///
/// Exit codes: 0 done, 1 a negative answer, 2 an error, 130 stopped by Ctrl-C.
#[derive(Parser)]
#[command(
    name = "ptm",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  ptm similarity \"A man eats food.\" \"Someone is having lunch.\"
  ptm embed --file texts.txt --output vectors.npy
  ptm fill-mask --model distilbert/distilroberta-base \"Paris is the <mask> of France.\"

Environment:
  PTM_…           each flag has its variable, for instance PTM_MODEL, PTM_THREADS, PTM_JSON
  PTM_TIMING=1    print at the end, on standard error, where the kernels' time went
  PTM_SIMD        portable or avx2: use less than the processor has
  HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE
                  the hub's cache, token, address, and whether the network is left alone"
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Say on standard error what happens (more finely: RUST_LOG=ptm_models=trace)
    #[arg(long, short, global = true, env = "PTM_VERBOSE", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub verbose: bool,

    /// No progress bar, no notes
    #[arg(long, short, global = true, env = "PTM_QUIET", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub quiet: bool,

    /// How many threads compute [default: one a core]
    #[arg(long, value_name = "N", global = true, env = "PTM_THREADS", hide_env_values = true,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl Arguments {
    /// A lone `-` in place of texts is standard input, as elsewhere.
    pub fn read_dash(&mut self) {
        let (texts, stream) = match &mut self.command {
            Command::Embed(args) => (&mut args.texts, &mut args.stream),
            Command::Similarity(args) => (&mut args.texts, &mut args.stream),
            Command::FillMask(args) => (&mut args.texts, &mut args.stream),
            _ => return,
        };
        if matches!(&texts[..], [text] if text == "-") {
            texts.clear();
            stream.file.push("-".into());
        }
    }
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Turn texts into vectors
    #[command(after_help = "\
Texts are arguments, lines of files, or lines of standard input; blank lines are left out. A line of standard input \
that begins with { is JSON, its text is under --key. Without --model the built-in all-MiniLM-L6-v2 answers.

--json prints [[f, …], …] for arguments, and one vector a line for files and standard input.

Examples:
  ptm embed \"The cat sits outside.\"
  ptm embed --json \"one text\" \"another text\"
  ptm embed --file texts.txt --output vectors.npy
  jq -c . articles.jsonl | ptm embed --json --key body > vectors.jsonl")]
    Embed(Embed),

    /// Compare texts by meaning: the cosine of their vectors
    #[command(after_help = "\
The first text is compared with each of the others; --query compares one text with many lines and ranks them; without \
texts, pairs come from files or standard input, one a line: two columns with a tab between them, or \
{\"a\": …, \"b\": …}. Without --model the built-in all-MiniLM-L6-v2 answers.

--json prints [f, …] in the order of the texts; with --query [{\"index\", \"score\", \"text\"}, …], the best first; for \
pairs one number a line.

Examples:
  ptm similarity \"A man eats food.\" \"Someone is having lunch.\"
  ptm similarity --query \"how do I reset my password\" --file questions.txt --top-k 5
  printf 'a cat\\ta kitten\\n' | ptm similarity")]
    Similarity(Similarity),

    /// Guess the words behind a mask
    #[command(
        name = "fill-mask",
        after_help = "\
No model for this task is built in: --model takes a directory or an id of the hub. The mask is written as the model \
writes it, often [MASK] or <mask>.

--json prints what the transformers pipeline returns: [{\"score\", \"token\", \"token_str\", \"sequence\"}, …]; a list of \
those for several texts or several masks; one value a line for files and standard input.

Examples:
  ptm fill-mask --model google-bert/bert-base-uncased \"Paris is the [MASK] of France.\"
  ptm fill-mask --model ./my-bert --targets good,bad --json \"This was a [MASK] idea.\""
    )]
    FillMask(FillMask),

    /// Fetch a model from the hub into the cache shared with Python, and print its directory
    #[command(after_help = "\
Examples:
  ptm pull sentence-transformers/all-MiniLM-L6-v2
  ptm pull google-bert/bert-base-uncased --revision main")]
    Pull(Pull),

    /// List the models in the cache
    #[command(after_help = "\
Examples:
  ptm list
  ptm list --json")]
    List(List),

    /// Show what ptm runs on: processor, threads, speed, cache, token, versions
    #[command(after_help = "\
Examples:
  ptm doctor
  ptm doctor --json")]
    Doctor(Doctor),

    /// Print completions for a shell
    #[command(after_help = "\
Example:
  ptm completions bash > ~/.local/share/bash-completion/completions/ptm")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

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

/// `ptm embed`
#[derive(Args)]
pub struct Embed {
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Prompt.
    #[command(flatten)]
    pub prompt: PromptArgs,

    /// Bring vectors to length 1 [default: as the model says]
    #[arg(long, value_name = "true|false", env = "PTM_NORMALIZE", hide_env_values = true)]
    pub normalize: Option<bool>,

    /// Write all vectors to a file ending in .npy, .jsonl or .safetensors
    #[arg(long, short, value_name = "FILE", conflicts_with = "json")]
    pub output: Option<PathBuf>,
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

    /// Compare this text with each of the others, and rank them
    #[arg(long, value_name = "TEXT")]
    pub query: Option<String>,

    /// Show only the best of a ranking
    #[arg(long, value_name = "N|all", default_value = "all", env = "PTM_TOP_K", hide_env_values = true)]
    pub top_k: TopK,

    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Prompt.
    #[command(flatten)]
    pub prompt: PromptArgs,
}

/// `ptm fill-mask`
#[derive(Args)]
pub struct FillMask {
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,

    /// How many guesses [default: 5]
    #[arg(long, value_name = "N", env = "PTM_TOP_K", hide_env_values = true)]
    pub top_k: Option<NonZeroUsize>,

    /// Score these words only
    #[arg(long, value_name = "WORD,…", env = "PTM_TARGETS", hide_env_values = true, value_delimiter = ',')]
    pub targets: Option<Vec<String>>,

    /// Cut texts that are too long for the model instead of refusing them
    #[arg(long, env = "PTM_TRUNCATE", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub truncate: bool,
}

/// `ptm pull`
#[derive(Args)]
pub struct Pull {
    /// The model's id on the hub
    pub id: String,
    /// Branch, tag or commit [default: main]
    #[arg(long, value_name = "REV", env = "PTM_REVISION", hide_env_values = true)]
    pub revision: Option<String>,
    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub json: bool,
}

/// `ptm list`
#[derive(Args)]
pub struct List {
    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub json: bool,
}

/// `ptm doctor`
#[derive(Args)]
pub struct Doctor {
    /// Print JSON and nothing else
    #[arg(long, env = "PTM_JSON", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub json: bool,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_setting_has_a_variable() {
        for command in Arguments::command().get_subcommands() {
            for arg in command.get_arguments().filter(|arg| arg.get_long().is_some()) {
                let name = arg.get_long().unwrap();
                if !["file", "query", "output", "help", "version"].contains(&name) {
                    let variable = format!("PTM_{}", name.to_uppercase().replace('-', "_"));
                    assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(variable.as_str()), "{name}");
                }
            }
        }
    }

    #[test]
    fn top_k() {
        assert_eq!("3".parse::<TopK>().unwrap().count(), 3);
        assert_eq!("all".parse::<TopK>().unwrap(), TopK::All);
        assert!("0".parse::<TopK>().is_err() && "-1".parse::<TopK>().is_err() && "".parse::<TopK>().is_err());
    }
}
