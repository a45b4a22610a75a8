//! Arguments of the commands that read texts with an encoder's head: labels, inference, entities, answers, ranking, masks.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use same_file::Handle;

use super::{KeyArgs, ModelArgs, StreamArgs, TopK};
use crate::failure::hinted;
use crate::input::Stream;

/// Where many answers go, and whether an earlier run is continued.
#[derive(Args, Clone, Default)]
pub struct KeepArgs {
    /// Write the answers into this file, an object a line, in the order of the inputs
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Go on where an earlier run with the same inputs, options and --output ended
    #[arg(long, env = "PTM_RESUME", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub resume: bool,

    /// Print the parameters that count, each with its origin, and do nothing else
    #[arg(long)]
    pub print_config: bool,
}

impl KeepArgs {
    /// What [`StreamArgs::lines`] brings; nothing where only parameters are printed.
    ///
    /// # Errors
    /// As there; when nothing is kept that could be gone on with.
    pub fn lines(&self, stream: &StreamArgs, are_arguments: bool, what: &str) -> anyhow::Result<Option<Stream>> {
        self.check(stream)?;
        if self.print_config { Ok(None) } else { stream.lines(are_arguments, what) }
    }

    /// What [`StreamArgs::pairs`] brings; nothing where only parameters are printed.
    ///
    /// # Errors
    /// As [`Self::lines`].
    pub fn pairs(&self, stream: &StreamArgs, are_arguments: bool, what: &str) -> anyhow::Result<Option<Stream>> {
        self.check(stream)?;
        if self.print_config { Ok(None) } else { stream.pairs(are_arguments, what) }
    }

    fn check(&self, stream: &StreamArgs) -> anyhow::Result<()> {
        if let Some(output) = &self.output {
            return apart(output, &stream.file);
        }
        let why = "without --output nothing of an earlier run was kept";
        stream.given.refuse("resume", why, "name the file of the earlier run with --output")
    }
}

/// Whether answers can go into a file: one that is none of the `inputs`, nor what standard input reads.
///
/// # Errors
/// When they can't.
pub fn apart(output: &Path, inputs: &[PathBuf]) -> anyhow::Result<()> {
    let name = output.display();
    if output == Path::new("-") {
        let way = "leave --output out; --json prints them for machines";
        return Err(hinted("--output names a file, and - is none: answers go to standard output without it", way));
    }
    // what is not there yet is no input, and what cannot be opened is said where it is written
    let Ok(there) = std::fs::metadata(output) else { return Ok(()) };
    if !there.is_file() && !there.is_dir() {
        let way = "leave --output out and send standard output there";
        return Err(hinted(
            format!("{name}: this is no regular file, and answers in it could not be gone on with"),
            way,
        ));
    }
    let Ok(own) = Handle::from_path(output) else { return Ok(()) };
    let is_input = |path: &PathBuf| match path.to_str() {
        Some("-") => Handle::stdin().is_ok_and(|input| input == own),
        // a pipe would be read by looking at it
        _ => path.is_file() && Handle::from_path(path).is_ok_and(|input| input == own),
    };
    if inputs.iter().any(is_input) || (inputs.is_empty() && is_input(&"-".into())) {
        return Err(hinted(
            format!("{name}: this is an input too, which the answers would replace"),
            "name another file",
        ));
    }
    Ok(())
}

/// What makes scores of a model's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FunctionArg {
    /// Each label by itself
    Sigmoid,
    /// One of the labels
    Softmax,
    /// Nothing: the numbers themselves
    None,
}

impl From<FunctionArg> for ptm_tasks::Function {
    fn from(function: FunctionArg) -> Self {
        match function {
            FunctionArg::Sigmoid => Self::Sigmoid,
            FunctionArg::Softmax => Self::Softmax,
            FunctionArg::None => Self::None,
        }
    }
}

/// How labels are scored and chosen.
#[derive(Args)]
pub struct LabelArgs {
    /// What makes scores of the model's numbers [default: as the model says]
    #[arg(long, value_name = "FUNCTION", env = "PTM_FUNCTION_TO_APPLY", hide_env_values = true)]
    pub function_to_apply: Option<FunctionArg>,

    /// How many labels, the best first [default: the best alone]
    #[arg(long, value_name = "N|all", env = "PTM_TOP_K", hide_env_values = true)]
    pub top_k: Option<TopK>,

    /// Cut texts that are too long for the model instead of refusing them
    #[arg(long, env = "PTM_TRUNCATE", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub truncate: bool,
}

/// `ptm classify`
#[derive(Args)]
pub struct Classify {
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// Read this text together with each of the others, as models of pairs do
    #[arg(long, value_name = "TEXT")]
    pub text_pair: Option<String>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Where texts stand.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Many answers.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Labels.
    #[command(flatten)]
    pub labels: LabelArgs,
}

/// `ptm nli`
#[derive(Args)]
pub struct Nli {
    /// What is known to be true
    #[arg(long, value_name = "TEXT", requires = "hypothesis", conflicts_with = "file")]
    pub premise: Option<String>,
    /// What may follow from it; may be repeated
    #[arg(long, value_name = "TEXT", requires = "premise")]
    pub hypothesis: Vec<String>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Many answers.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Labels.
    #[command(flatten)]
    pub labels: LabelArgs,
}

/// `ptm zero-shot`
#[derive(Args)]
pub struct ZeroShot {
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// The labels to choose from, with commas between them
    #[arg(long, value_name = "LABEL,…", env = "PTM_LABELS", hide_env_values = true)]
    pub labels: Option<String>,
    /// Any number of the labels may be true
    #[arg(long, env = "PTM_MULTI_LABEL", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub multi_label: bool,
    /// What the model is asked about each label, which stands at {} [default: This example is {}.]
    #[arg(long, value_name = "TEXT", env = "PTM_HYPOTHESIS_TEMPLATE", hide_env_values = true)]
    pub hypothesis_template: Option<String>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Where texts stand.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Many answers.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
}

/// How tokens become entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AggregationArg {
    /// Every token by itself
    None,
    /// Neighbours with one label together
    Simple,
    /// Words first, each with the label of its first token
    First,
    /// Words first, each with the best label of its tokens' mean scores
    Average,
    /// Words first, each with the label of its surest token
    Max,
}

impl From<AggregationArg> for ptm_tasks::Aggregation {
    fn from(aggregation: AggregationArg) -> Self {
        match aggregation {
            AggregationArg::None => Self::None,
            AggregationArg::Simple => Self::Simple,
            AggregationArg::First => Self::First,
            AggregationArg::Average => Self::Average,
            AggregationArg::Max => Self::Max,
        }
    }
}

/// `ptm ner`
#[derive(Args)]
pub struct Ner {
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// How tokens become entities [default: none in JSON, as the pipeline has it; simple for readers]
    #[arg(long, value_name = "STRATEGY", env = "PTM_AGGREGATION_STRATEGY", hide_env_values = true)]
    pub aggregation_strategy: Option<AggregationArg>,
    /// Labels that are left out [default: O]
    #[arg(long, value_name = "LABEL,…", value_delimiter = ',', env = "PTM_IGNORE_LABELS", hide_env_values = true)]
    pub ignore_labels: Option<Vec<String>>,
    /// Read long texts in windows that share so many tokens [default: the end of a long text is not read]
    #[arg(long, value_name = "N", env = "PTM_STRIDE", hide_env_values = true)]
    pub stride: Option<usize>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Where texts stand.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Many answers.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `ptm qa`
#[derive(Args)]
pub struct Qa {
    /// The question; may be repeated
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    pub question: Vec<String>,
    /// The text that holds the answers
    #[arg(long, value_name = "TEXT", requires = "question", conflicts_with = "context_file")]
    pub context: Option<String>,
    /// The file that holds the answers
    #[arg(long, value_name = "FILE", requires = "question")]
    pub context_file: Option<PathBuf>,
    /// How many answers, the best first [default: 1]
    #[arg(long, value_name = "N", env = "PTM_TOP_K", hide_env_values = true)]
    pub top_k: Option<NonZeroUsize>,
    /// Tokens that windows of a long context share [default: half a window, at most 128]
    #[arg(long, value_name = "N", env = "PTM_DOC_STRIDE", hide_env_values = true)]
    pub doc_stride: Option<usize>,
    /// Tokens of an answer at most [default: 15]
    #[arg(long, value_name = "N", env = "PTM_MAX_ANSWER_LEN", hide_env_values = true)]
    pub max_answer_len: Option<NonZeroUsize>,
    /// Tokens of a window with the question [default: what the model reads, at most 384]
    #[arg(long, value_name = "N", env = "PTM_MAX_SEQ_LEN", hide_env_values = true)]
    pub max_seq_len: Option<NonZeroUsize>,
    /// Tokens of the question that are read [default: all]
    #[arg(long, value_name = "N", env = "PTM_MAX_QUESTION_LEN", hide_env_values = true)]
    pub max_question_len: Option<NonZeroUsize>,
    /// There may be no answer
    #[arg(long, env = "PTM_HANDLE_IMPOSSIBLE_ANSWER", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub handle_impossible_answer: bool,
    /// Answers are whole words [default: true]
    #[arg(long, value_name = "true|false", env = "PTM_ALIGN_TO_WORDS", hide_env_values = true)]
    pub align_to_words: Option<bool>,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Many answers.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `ptm rerank`
#[derive(Args)]
pub struct Rerank {
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub texts: Vec<String>,
    /// What the texts should answer
    #[arg(long, value_name = "TEXT", required_unless_present = "print_config")]
    pub query: Option<String>,
    /// Give only the best [default: all]
    #[arg(long, value_name = "N|all", env = "PTM_TOP_K", hide_env_values = true)]
    pub top_k: Option<TopK>,
    /// What makes scores of the model's numbers [default: as the model says]
    #[arg(long, value_name = "FUNCTION", env = "PTM_FUNCTION_TO_APPLY", hide_env_values = true)]
    pub function_to_apply: Option<FunctionArg>,
    /// Many answers.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,
    /// Where texts stand.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
}

/// `ptm run`
#[derive(Args)]
pub struct Run {
    /// A model directory, or an id of the hub
    #[arg(value_name = "ID|DIR")]
    pub model: String,
    /// What the model's own command takes: texts and flags
    #[arg(value_name = "TEXT|FLAG", trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<String>,
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
    /// Where texts stand.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,

    #[command(flatten)]
    pub keep: KeepArgs,

    /// How many guesses [default: 5]
    #[arg(long, value_name = "N", env = "PTM_TOP_K", hide_env_values = true)]
    pub top_k: Option<NonZeroUsize>,

    /// Score these words only
    #[arg(long, value_name = "WORD,…", env = "PTM_TARGETS", hide_env_values = true, value_delimiter = ',')]
    pub targets: Option<Vec<String>>,

    /// Cut texts that are too long for the model instead of refusing them
    #[arg(long, env = "PTM_TRUNCATE", hide_env_values = true, value_parser = BoolishValueParser::new())]
    pub truncate: bool,
}
