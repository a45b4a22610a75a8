//! Ctrl-C: a run that computes ends after the batch in hand, everything else ends at once. A second Ctrl-C ends
//! anything at once.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::failure::Stopped;

static COMPUTING: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);

/// The usual exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Begins to listen for Ctrl-C.
pub fn watch() {
    // where signals cannot be caught, the system's own way of ending the program stays
    let _ = ctrlc::set_handler(|| {
        if !COMPUTING.load(SeqCst) || STOP.swap(true, SeqCst) {
            std::process::exit(INTERRUPTED);
        }
    });
}

/// Runs `work`, which looks at the flag given to it now and then and returns early once it is set.
///
/// # Errors
/// Those of `work`; [`Stopped`] when Ctrl-C was pressed meanwhile.
pub fn computing<T>(work: impl FnOnce(&'static AtomicBool) -> anyhow::Result<T>) -> anyhow::Result<T> {
    COMPUTING.store(true, SeqCst);
    let done = work(&STOP);
    COMPUTING.store(false, SeqCst);
    if STOP.load(SeqCst) { Err(Stopped.into()) } else { done }
}
