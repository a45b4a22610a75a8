//! Batches as they come to the loop: made ahead of it by a thread of their own, each with the place where the next
//! begins, so that a run can be continued there.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ptm_kernels::timing::{Kind, timed};
use ptm_text::corpus::MixtureCursor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where a run stands in its data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// How often all rows were given before.
    pub epoch: u64,
    /// The first row of the stretch in hand.
    pub row: u64,
    /// How many steps of this stretch were given.
    pub step: u64,
    /// Of packed corpora where the stretch in hand begins, instead of epoch and row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpora: Option<Place>,
}

/// A place in packed corpora.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Before which document.
    pub draws: MixtureCursor,
    /// How much of this document was read.
    pub read: u64,
    /// How many steps were given before.
    pub steps: u64,
}

/// The batches of one step.
#[derive(Debug)]
pub struct Ready<B> {
    /// Micro-batches.
    pub micro: Vec<B>,
    /// Where the next step begins.
    pub next: Cursor,
    /// How often all data will have been seen after this step.
    pub epochs: f64,
}

/// Steps that are made ahead, unless said otherwise.
const AHEAD: usize = 16;

/// Batches as they come.
#[derive(Debug)]
pub struct Feed<B> {
    take: Receiver<Result<Ready<B>>>,
    started: bool,
    waited: Duration,
}

impl<B: Send + 'static> Feed<B> {
    /// Begins to make batches on a thread: `make` gives each to the function it gets, until that says no more.
    pub fn begin(make: impl FnOnce(&mut dyn FnMut(Ready<B>) -> bool) -> Result<()> + Send + 'static) -> Self {
        Self::begin_ahead(AHEAD, make)
    }

    /// The same with this many steps made ahead.
    pub fn begin_ahead(
        ahead: usize,
        make: impl FnOnce(&mut dyn FnMut(Ready<B>) -> bool) -> Result<()> + Send + 'static,
    ) -> Self {
        let (give, take) = sync_channel(ahead);
        let work = move || {
            if let Err(error) = make(&mut |ready| give.send(Ok(ready)).is_ok()) {
                // whoever listened may be gone
                let _ = give.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name("ptm-feed".into()).spawn(work);
        Self { take, started: thread.is_ok(), waited: Duration::ZERO }
    }

    /// The next step's batches.
    ///
    /// # Errors
    /// Those of reading and encoding.
    pub fn ready(&mut self) -> Result<Ready<B>> {
        let begun = Instant::now();
        let ready = timed(Kind::Data, 0, || self.take.recv());
        self.waited += begun.elapsed();
        let why =
            if self.started { "the thread that reads data ended" } else { "the system gives no thread to read data" };
        ready.unwrap_or_else(|_| Err(Error::Input(why.into())))
    }

    /// How long all steps together waited for their batches.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_comes_in_order_and_errors_too() {
        let mut feed = Feed::begin(|give| {
            for step in 0..40_u64 {
                let next = Cursor { step: step + 1, ..Cursor::default() };
                if !give(Ready { micro: vec![step], next, epochs: 0.0 }) {
                    return Ok(());
                }
            }
            Err(Error::Input("no more".into()))
        });
        for step in 0..40 {
            let ready = feed.ready().unwrap();
            assert_eq!((ready.micro[0], ready.next.step), (step, step + 1));
        }
        assert_eq!(feed.ready().unwrap_err().to_string(), "no more");
        assert!(feed.ready().is_err());
    }
}
