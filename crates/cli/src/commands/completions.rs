//! `ptm completions`: what a shell needs to complete ptm's commands and flags.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Arguments;

pub fn run(shell: Shell) -> anyhow::Result<()> {
    // through memory: the generator itself would panic when standard output is closed
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ptm", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}
