//! `ptm finetune --find-lr` and `--find-batch`: what a recipe should say, measured.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use ptm_train::batch_search::{BatchSearch, find_batch};
use ptm_train::range_test::{RangeOptions, RangeTest, find_lr};
use ptm_train::recipe::Recipe;

use crate::failure::Stopped;
use crate::output::Output;
use crate::progress::{Progress, Unit};
use crate::report;

fn failed(error: ptm_train::Error) -> anyhow::Error {
    match error {
        ptm_train::Error::Stopped => Stopped.into(),
        other => other.into(),
    }
}

/// Runs the range test; gives it with what was written.
pub fn rate(
    recipe: &Recipe,
    source: &Path,
    steps: u64,
    stop: &AtomicBool,
    quiet: bool,
) -> anyhow::Result<(RangeTest, [std::path::PathBuf; 2])> {
    let options = RangeOptions { steps, ..RangeOptions::default() };
    let mut progress = Progress::new(Unit::Things("steps"), Some(steps), quiet);
    let mut done = 0;
    let found = find_lr(recipe, source, &options, &mut |_| {
        done += 1;
        progress.at(done);
        !stop.load(SeqCst)
    });
    drop(progress);
    let found = found.map_err(failed)?;
    let written = found.write(&recipe.output)?;
    Ok((found, written))
}

/// Says what came of it.
pub fn show_rate(
    output: &mut Output,
    (found, [page, numbers]): &(RangeTest, [std::path::PathBuf; 2]),
) -> anyhow::Result<()> {
    let last = found.points.last().map_or(0.0, |point| point.lr);
    let ended = if found.diverged { "the loss diverged above" } else { "the last was" };
    output.line(&format!("{} learning rates were tried; {ended} {last:.1e}", found.points.len()))?;
    output.line(&format!("the loss fell fastest at {:.1e}", found.steepest))?;
    output.line(&format!("write {}", output.strong(&format!("optimizer.lr = {:.1e}", found.suggested))))?;
    output.line(&output.faint(&format!("the curve: {}, its numbers: {}", page.display(), numbers.display())))?;
    Ok(())
}

/// Searches the batch.
pub fn batch(
    recipe: &Recipe,
    source: &Path,
    limit: u64,
    stop: &AtomicBool,
    quiet: bool,
) -> anyhow::Result<BatchSearch> {
    let heard = &mut |tried: &ptm_train::batch_search::Tried| {
        if !quiet {
            report::note(&format!("a batch of {} tokens: {} at most", tried.largest, megabytes(tried.peak_bytes)));
        }
        !stop.load(SeqCst)
    };
    find_batch(recipe, source, limit, heard).map_err(failed)
}

/// Says what came of it.
pub fn show_batch(output: &mut Output, found: &BatchSearch, limit: u64) -> anyhow::Result<()> {
    let chosen = found.tried.iter().find(|tried| tried.tokens == found.tokens);
    let peak = megabytes(chosen.map_or(0, |tried| tried.peak_bytes));
    output.line(&format!("batches of {} tokens take {peak} of {}", found.tokens, megabytes(limit)))?;
    if found.limited_by_data {
        output.line("larger ones would not be filled by the data")?;
    }
    output.line(&format!("write {}", output.strong(&format!("batch.tokens = {}", found.tokens))))?;
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}
