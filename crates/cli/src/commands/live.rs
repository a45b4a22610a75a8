//! `--stream`: inputs one after the other, each answer shown while it is said.

use std::sync::atomic::{AtomicBool, Ordering};

use ptm_tasks::generation::{Layers, Settings};

use super::many::{answered, give_error};
use crate::args::Given;
use crate::failure::Stopped;
use crate::input::{self, Record, Stream};
use crate::output::Output;
use crate::stop;

/// Refuses `--stream` beside what makes it useless.
///
/// # Errors
/// Where answers are written as a whole, or known at their end alone.
pub fn check(given: &Given, layers: &Layers, settings: &Settings) -> anyhow::Result<()> {
    if given.by("stream").is_none() {
        return Ok(());
    }
    for option in ["json", "output"] {
        if let Some(by) = given.by(option) {
            let why = format!("it shows an answer while it is said, and {by} writes it when it is whole");
            given.refuse("stream", &why, "leave one of them out")?;
        }
    }
    for (key, value) in [("num_beams", settings.num_beams), ("num_return_sequences", settings.num_return_sequences)] {
        if value > 1 {
            let why = format!("{key} is {value} ({}), and what is said is known at its end alone", layers.origin(key));
            given.refuse("stream", &why, &format!("leave it out, or set --{} 1", key.replace('_', "-")))?;
        }
    }
    Ok(())
}

/// The arguments, or the lines of `stream`, one after the other; `say` shows the answer to one.
///
/// # Errors
/// When there is no input, an argument or some lines cannot be answered, writing fails, or Ctrl-C was pressed.
pub fn all<I>(
    inputs: Vec<I>,
    stream: Option<Stream>,
    read: &dyn Fn(u64, Record) -> anyhow::Result<I>,
    say: &dyn Fn(I, &mut Output) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut output = Output::new();
    inputs.into_iter().try_for_each(|input| say(input, &mut output))?;
    let Some(mut stream) = stream else { return Ok(()) };
    let (mut seen, mut failed) = (0, 0);
    while let Some(piece) = stream.lines()? {
        for record in piece {
            let said = record.and_then(|record| read(seen as u64, record)).and_then(|input| say(input, &mut output));
            seen += 1;
            match said {
                Err(error) if !is_ours(&error) => {
                    give_error(&error, false, &mut output)?;
                    failed += 1;
                }
                said => said?,
            }
        }
    }
    if seen == 0 { Err(input::nothing("text")) } else { answered(seen, failed, false) }
}

/// Whether an error is about this program's way out, not about an input.
fn is_ours(error: &anyhow::Error) -> bool {
    error.is::<Stopped>() || error.is::<std::io::Error>()
}

/// Runs `work`, which gives its parts of a text to the function that it gets, and is to look whether to stop. `head` is
/// shown before them, once there is something to show.
///
/// # Errors
/// Those of `work`; when writing fails; [`Stopped`].
pub fn show(
    output: &mut Output,
    head: &str,
    work: impl FnOnce(&AtomicBool, &mut dyn FnMut(&str)) -> ptm_tasks::Result<()>,
) -> anyhow::Result<()> {
    let (mut begun, mut failed) = (false, None);
    let done = stop::computing(|stop| {
        let mut heard = |part: &str| {
            if failed.is_some() {
                return;
            }
            let part = format!("{}{}", if begun { "" } else { head }, output.said(part));
            begun = true;
            failed = output.part(&part).and_then(|()| output.flush()).err();
            if failed.is_some() {
                // whoever reads has gone: there is no use in going on
                stop.store(true, Ordering::SeqCst);
            }
        };
        work(stop, &mut heard).map_err(|error| match error {
            ptm_tasks::Error::Stopped => Stopped.into(),
            other => other.into(),
        })
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    if begun && done.is_err() {
        // what is said of the error begins a line
        output.line("")?;
    }
    done?;
    output.line(if begun { "" } else { head })?;
    Ok(output.flush()?)
}
