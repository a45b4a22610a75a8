//! The commands, one a file.

mod completions;
mod doctor;
mod embed;
mod fill_mask;
mod list;
mod pull;
mod similarity;

use anyhow::Context;

use crate::args::{Arguments, Command};

/// Runs the command that was asked for.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
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
        Command::Embed(args) => embed::run(args, quiet),
        Command::Similarity(args) => similarity::run(args, quiet),
        Command::FillMask(args) => fill_mask::run(args, quiet),
        Command::Pull(args) => pull::run(args, quiet),
        Command::List(args) => list::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions { shell } => completions::run(*shell),
    }
}
