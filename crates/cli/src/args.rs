//! The command line's grammar: one list of flags gives the parser, the help and the shell completions. Every setting
//! has an environment variable `PTM_…`; what changes from call to call (texts, files) has none.

mod adapt;
mod corpus;
mod data;
mod explain;
mod generate;
mod given;
mod heads;
mod help;
mod pretrain;
mod shared;
mod tokenizer;
mod training;
mod vectors;

pub use adapt::Adapt;
pub use corpus::{Corpus, CorpusInfo, CorpusPack};
pub use data::{Debug, DebugData, Evaluate};
pub use explain::Explain;
pub use generate::{Generate, LiveArgs, ReplyArgs, Summarize, Translate};
pub use given::{Given, Settings};
pub use heads::{Classify, FillMask, KeepArgs, LabelArgs, Ner, Nli, Qa, Rerank, Run, ZeroShot, apart};
pub use pretrain::Pretrain;
pub use shared::{KeyArgs, ModelArgs, PromptArgs, StreamArgs, TopK};
pub use tokenizer::{Tokenizer, TokenizerDecode, TokenizerEncode, TokenizerTrain};
pub use training::Finetune;
pub use vectors::{Embed, Similarity};

use std::ffi::OsString;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

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
  ptm fill-mask \"Paris is the [MASK] of France.\"
  ptm generate --model openai-community/gpt2 \"The best thing about spring is\" --stream

Environment:
  PTM_…           each flag but texts, files and actions has its variable, for instance PTM_MODEL, PTM_JSON
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
    /// Whether to say more, also where `ptm run` is told so among the words of its command.
    pub fn is_verbose(&self) -> bool {
        let among = |words: &[String]| words.iter().any(|word| word == "--verbose" || word == "-v");
        self.verbose || matches!(&self.command, Command::Run(run) if among(&run.rest))
    }

    /// What the words of a command line, or variables in place of flags, say. Wrong usage is an error.
    pub fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut grammar = Self::command();
        let matches = grammar.try_get_matches_from_mut(words)?;
        let mut this = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut grammar))?;
        if let (Some(own), Some((name, matches))) = (this.command.application(), matches.subcommand()) {
            let command = grammar.find_subcommand(name).expect("it was found before");
            own.stream.given = Given::of(command, matches);
            // a lone - in place of texts is standard input, as elsewhere
            if let Some(texts) = own.texts.filter(|texts| matches!(&texts[..], [text] if text == "-")) {
                texts.clear();
                own.stream.file.push("-".into());
            }
        }
        Ok(this)
    }
}

/// What all applications have.
pub struct Application<'a> {
    /// Texts that are arguments, where they may be.
    pub texts: Option<&'a mut Vec<String>>,
    /// Input and output.
    pub stream: &'a mut StreamArgs,
    /// The model.
    pub model: &'a mut ModelArgs,
}

impl Command {
    /// What all applications have; none for other commands.
    pub fn application(&mut self) -> Option<Application<'_>> {
        macro_rules! application {
            ($args:ident) => {
                Application { texts: Some(&mut $args.texts), stream: &mut $args.stream, model: &mut $args.model }
            };
        }
        Some(match self {
            Self::Embed(args) => application!(args),
            Self::Similarity(args) => application!(args),
            Self::FillMask(args) => application!(args),
            Self::Classify(args) => application!(args),
            Self::ZeroShot(args) => application!(args),
            Self::Ner(args) => application!(args),
            Self::Rerank(args) => application!(args),
            Self::Generate(args) => application!(args),
            Self::Summarize(args) => application!(args),
            Self::Translate(args) => application!(args),
            Self::Nli(args) => Application { texts: None, stream: &mut args.stream, model: &mut args.model },
            Self::Qa(args) => Application { texts: None, stream: &mut args.stream, model: &mut args.model },
            _ => return None,
        })
    }
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Turn texts into vectors
    #[command(after_help = "\
Texts are arguments, lines of files, or lines of standard input; blank lines are left out. A line of standard input \
that begins with { is JSON, its text is under --key; --format says how else lines are read, or makes one text of a whole \
file. Without --model the built-in all-MiniLM-L6-v2 answers; --model takes a sentence-transformers directory, or any other \
model, whose tokens' vectors are averaged: the encoder's of T5, BART, mBART and Marian.

--json prints [[f, …], …] for arguments, and one vector a line for files and standard input. With --tokens a text gives \
[[[f, …], …]], a vector for each of its tokens; of BART and mBART those are the decoder's, which reads the text again.

Examples:
  ptm embed \"The cat sits outside.\"
  ptm embed --tokens --json \"The cat sits outside.\"
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
pairs one number a line. What cannot be read gets {\"error\": …}, in its place among pairs and last in a ranking, and the \
exit code is 2. With --output FILE the scores go there, in the order of the inputs; --resume goes on.

Examples:
  ptm similarity \"A man eats food.\" \"Someone is having lunch.\"
  ptm similarity --query \"how do I reset my password\" --file questions.txt --top-k 5
  printf 'a cat\\ta kitten\\n' | ptm similarity")]
    Similarity(Similarity),

    /// Guess the words behind a mask
    #[command(
        name = "fill-mask",
        after_help = "\
Without --model the built-in minilm-fill-mask answers, which reads English and writes the mask as [MASK]; --model takes a \
directory or an id of the hub, and the mask is then written as that model writes it, often [MASK] or <mask>.

--json prints what the transformers pipeline returns: [{\"score\", \"token\", \"token_str\", \"sequence\"}, …]; a list of \
those for several texts or several masks; one value a line for files and standard input.

Examples:
  ptm fill-mask \"Paris is the [MASK] of France.\"
  ptm fill-mask --model ./my-bert --targets good,bad --json \"This was a [MASK] idea.\""
    )]
    FillMask(FillMask),

    /// Go on with a text
    #[command(after_help = "\
--model takes a directory or an id of the hub: GPT, GPT-2, XLNet, or the decoder of another. Without other wishes tokens \
are drawn, at most 256 of them, as transformers' pipeline does; --do-sample false, or --num-beams, searches for likely text. \
Many lines are continued together, in their order. --chat takes each text as what a user says, and answers as the model's \
chat template has it; a JSON line may hold the messages themselves under --key.

--json prints [{\"generated_text\": …}, …] for each text.

Examples:
  ptm generate --model openai-community/gpt2 \"The best thing about spring is\" --max-new-tokens 40 --stream
  ptm generate -m ./my-gpt2 --do-sample false --num-beams 4 --num-return-sequences 2 --json \"Once upon a time\"
  ptm generate -m ./my-gpt2 --file prompts.txt --json > answers.jsonl
  ptm generate -m ./my-gpt2 --regex \"[0-9]{4}\" --no-full-text \"The tower was built in\"")]
    Generate(Generate),

    /// Say a text in fewer words
    #[command(after_help = "\
--model takes a directory or an id of the hub: BART, T5 or another encoder-decoder that was taught to summarize. What its \
files say about summaries (beams, lengths, a prefix) is honoured. A text that is longer than the model reads is divided \
into sentences, and its parts are summarized one by one; --truncate cuts its end off instead. Files and standard input \
hold a text a line; with --format text each holds one. --stream shows a summary while it is said, by one beam.

--json prints [{\"summary_text\": …}, …] for each text.

Examples:
  ptm summarize --model facebook/bart-large-cnn --format text < article.txt
  ptm summarize -m ./my-bart --num-beams 1 --stream --format text --file article.txt
  ptm summarize -m ./my-bart --max-new-tokens 60 --num-beams 4 --file articles.jsonl --key body --json")]
    Summarize(Summarize),

    /// Say a text in another language
    #[command(after_help = "\
--model takes a directory or an id of the hub: Marian, mBART, T5 or another encoder-decoder that was taught to translate. \
Models of several languages are told which by --from and --to, in the model's own names (en and de, en_XX and de_DE). A \
text that is longer than the model reads is divided into sentences; --truncate cuts its end off instead. --stream shows \
a translation while it is said, by one beam.

--json prints [{\"translation_text\": …}, …] for each text.

Examples:
  ptm translate --model Helsinki-NLP/opus-mt-en-de \"The house is small.\"
  ptm translate -m google-t5/t5-small --from en --to fr \"The house is small.\"
  ptm translate -m facebook/mbart-large-50-many-to-many-mmt --from en_XX --to fr_XX --file texts.txt")]
    Translate(Translate),

    /// Train a model on packed text by its family's objective, as a recipe says
    #[command(after_help = help::PRETRAIN)]
    Pretrain(Pretrain),

    /// Teach a model a task from labelled files, as a recipe says
    #[command(after_help = "\
A recipe is a TOML file; every key but task, model, output and data.train has a default. Paths in it are relative to the \
working directory. The folder it names as output gets checkpoints, log.jsonl with all curves, event files for \
TensorBoard, report.html, and in model/ the model, which every command here and transformers open. A run that was \
stopped, by Ctrl-C or by anything else, goes on where its newest checkpoint stands when it is called again.

Examples:
  ptm finetune recipes/topics.toml
  ptm finetune recipe.toml --set optimizer.lr=3e-5 --set run.epochs=4
  ptm finetune recipe.toml --find-lr
  ptm finetune recipe.toml --find-batch --memory-limit 8GB
  ptm finetune recipe.toml --print-config")]
    Finetune(Finetune),

    /// Compare ways of going on with pretraining before a task: on a domain's text, on the task's own, on its neighbours
    #[command(after_help = help::ADAPT)]
    Adapt(Adapt),

    /// Say how good a model is on labelled data: metrics with intervals, errors, a report, a comparison of two models
    #[command(after_help = "\
The task follows from the model: classification of texts or pairs, several labels, regression, tags of words, answers \
in texts, multiple choice, text-to-text, language modelling. Intervals hold with probability 0.95 (bootstrap). With \
--threshold the exit code is 1 when a metric is worse; of loss, perplexity and errors less is better.

Examples:
  ptm evaluate ./my-bert test.jsonl
  ptm evaluate ./my-bert test.csv --column text=body --column label=stars --report report.html
  ptm evaluate ./my-bert data/ --split test --threshold f1_macro=0.8 --json
  ptm evaluate ./new test.jsonl --against ./old
  ptm evaluate ./my-bert test.jsonl --baseline train.jsonl")]
    Evaluate(Evaluate),

    /// Look into data
    #[command(subcommand)]
    Debug(Debug),

    /// Pack text into a corpus to train on
    #[command(
        subcommand,
        after_help = "\
Examples:
  ptm corpus pack books/ --tokenizer ./my-tokenizer --output books-packed
  ptm corpus info books-packed --validation 0.01"
    )]
    Corpus(Corpus),

    /// Show what pretraining objectives make of a text
    #[command(after_help = help::EXPLAIN)]
    Explain(Explain),

    /// Make a tokenizer from text, or look at what one does
    #[command(
        subcommand,
        after_help = "\
Examples:
  ptm tokenizer train books/ --family bert --output my-tokenizer
  ptm tokenizer encode --tokenizer ./my-tokenizer \"a text\""
    )]
    Tokenizer(Tokenizer),

    /// Label texts, or pairs of texts
    #[command(after_help = help::CLASSIFY)]
    Classify(Classify),

    /// Say whether one text follows from another: natural-language inference
    #[command(after_help = help::NLI)]
    Nli(Nli),

    /// Choose among labels of your own
    #[command(name = "zero-shot", after_help = help::ZEROSHOT)]
    ZeroShot(ZeroShot),

    /// Find named entities, or label every token
    #[command(after_help = help::NER)]
    Ner(Ner),

    /// Find the answer to a question in a text
    #[command(after_help = help::QA)]
    Qa(Qa),

    /// Rank texts by how well they answer a query
    #[command(after_help = help::RERANK)]
    Rerank(Rerank),

    /// Do what a model is for: find its task, name it, and answer
    #[command(after_help = help::RUN)]
    Run(Run),

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

#[cfg(test)]
mod tests {
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
                const SAID: [&str; 5] = ["text-pair", "premise", "hypothesis", "question", "context"];
                if !SAID.contains(&name)
                    && ![
                        "context-file",
                        "file",
                        "query",
                        "output",
                        "print-config",
                        "afresh",
                        "find-lr",
                        "find-steps",
                        "find-batch",
                        "memory-limit",
                        "help",
                        "version",
                    ]
                    .contains(&name)
                {
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
