//! The commands, one a file.

mod adapt;
mod classify;
mod completions;
mod config;
mod corpus;
mod debug;
mod doctor;
mod embed;
mod evaluate;
mod explain;
mod features;
mod fill_mask;
mod finetune;
mod generate;
mod generation;
mod heads;
mod list;
mod live;
mod many;
mod ner;
mod pretrain;
mod pull;
mod qa;
mod ranking;
mod reply;
mod rerank;
mod run;
mod similarity;
mod tokenizer;
mod zero_shot;

use anyhow::Context;

use crate::args::{Arguments, Command};

/// Runs the command that was asked for.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Command::Run(args) = &arguments.command {
        return run(&run::arguments(args, arguments)?);
    }
    if let Some(threads) = arguments.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads));
        pool.build_global().with_context(|| format!("the system gives no {threads} threads"))?;
    }
    // On a thread of the pool: whatever is divided among its threads begins at once, by this one.
    rayon::scope(|_| dispatch(arguments))
}

fn dispatch(arguments: &Arguments) -> anyhow::Result<()> {
    let quiet = arguments.quiet;
    match &arguments.command {
        Command::Embed(args) if args.tokens => features::run(args, quiet),
        Command::Embed(args) => embed::run(args, quiet),
        Command::Similarity(args) => similarity::run(args, quiet),
        Command::FillMask(args) => fill_mask::run(args, quiet),
        Command::Classify(args) => classify::classify(args, quiet),
        Command::Nli(args) => classify::nli(args, quiet),
        Command::ZeroShot(args) => zero_shot::run(args, quiet),
        Command::Ner(args) => ner::run(args, quiet),
        Command::Qa(args) => qa::run(args, quiet),
        Command::Rerank(args) => rerank::run(args, quiet),
        // it has become the command that it stands for
        Command::Run(_) => Ok(()),
        Command::Generate(args) => generate::run(args, quiet),
        Command::Summarize(args) => reply::summarize(args, quiet),
        Command::Translate(args) => reply::translate(args, quiet),
        Command::Pretrain(args) => pretrain::run(args, quiet),
        Command::Finetune(args) => finetune::run(args, quiet),
        Command::Adapt(args) => adapt::run(args, quiet),
        Command::Evaluate(args) => evaluate::run(args, quiet),
        Command::Debug(crate::args::Debug::Data(args)) => debug::data(args, quiet),
        Command::Corpus(crate::args::Corpus::Pack(args)) => corpus::pack(args, quiet),
        Command::Corpus(crate::args::Corpus::Info(args)) => corpus::info(args, quiet),
        Command::Explain(args) => explain::run(args, quiet),
        Command::Tokenizer(crate::args::Tokenizer::Train(args)) => tokenizer::train(args, quiet),
        Command::Tokenizer(crate::args::Tokenizer::Encode(args)) => tokenizer::encode(args, quiet),
        Command::Tokenizer(crate::args::Tokenizer::Decode(args)) => tokenizer::decode(args, quiet),
        Command::Pull(args) => pull::run(args, quiet),
        Command::List(args) => list::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions { shell } => completions::run(*shell),
    }
}
