//! Batches of labelled rows: rows in their order, tokenised by threads of their own, grouped by length, divided by size
//! or tokens. What comes is a function of data, seed and cursor, not of the number of threads.

use std::sync::Arc;
use std::thread;

use ptm_text::PositionStyle;
use ptm_text::dataset::{Dataset, Example, Order};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::batch::{Batch, Item};
use crate::error::{Error, Result};
use crate::feed::{Cursor, Feed, Ready};
use crate::recipe::BatchConfig;

/// How items are made and divided.
pub struct Plan<E> {
    /// The rows.
    pub data: Dataset<E>,
    /// Example to items: none where it holds nothing that could be learnt.
    pub encode: Arc<dyn Fn(E) -> Result<Vec<Item>> + Send + Sync>,
    /// Whether every row gives one item.
    pub one_item: bool,
    /// How batches are divided.
    pub batch: BatchConfig,
    /// Decides the order.
    pub seed: u64,
    /// Positions of the source, and of a decoder.
    pub styles: [PositionStyle; 2],
    /// Threads that encode; 0 for as many as there are.
    pub workers: usize,
}

impl<E: Example> Clone for Plan<E> {
    fn clone(&self) -> Self {
        Self { data: self.data.clone(), encode: self.encode.clone(), batch: self.batch.clone(), ..*self }
    }
}

/// Examples in a micro-batch, unless its tokens are given.
const SIZE: usize = 16;
/// A stretch of rows, within which lengths are grouped, is so many steps long.
const STRETCH: usize = 32;
/// No stretch has more rows, unless a step has.
const MOST_ROWS: usize = 1 << 16;

impl<E: Example> Plan<E> {
    /// Rows of a stretch.
    fn stretch(&self) -> usize {
        // of batches by tokens the number of examples is unknown: a thousand is enough to find similar ones
        let step = self.batch.size.unwrap_or(if self.batch.tokens.is_some() { STRETCH } else { SIZE });
        let step = step.saturating_mul(self.batch.accumulate);
        // whole steps
        step.saturating_mul((MOST_ROWS / step.max(1)).clamp(1, STRETCH))
    }

    /// Items of examples, encoded by all threads, in the order of the examples.
    fn encode(&self, examples: Vec<E>) -> Result<Vec<Item>> {
        let workers = match self.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let share = examples.len().div_ceil(workers).max(1);
        let mut shares: Vec<Vec<E>> = Vec::new();
        let mut examples = examples.into_iter().peekable();
        while examples.peek().is_some() {
            shares.push(examples.by_ref().take(share).collect());
        }
        let encode = |share: Vec<E>| -> Result<Vec<Item>> {
            let mut items = Vec::new();
            for example in share {
                items.extend((self.encode)(example)?);
            }
            Ok(items)
        };
        thread::scope(|scope| {
            let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(|| encode(share))).collect();
            let mut items = Vec::new();
            for thread in threads {
                items.extend(thread.join().map_err(|_| Error::Input("a thread that tokenises ended".into()))??);
            }
            Ok(items)
        })
    }

    /// The micro-batches of a stretch, as indices of its items.
    fn divide(&self, items: &[Item], mut random: ChaCha8Rng) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..items.len()).collect();
        if self.batch.group {
            order.sort_by_key(|&i| (items[i].sequences.len(), items[i].tokens()));
        }
        let size = self.batch.size.unwrap_or(if self.batch.tokens.is_some() { usize::MAX } else { SIZE });
        let budget = self.batch.tokens.unwrap_or(usize::MAX);
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut used = 0_usize;
        for i in order {
            let tokens = items[i].tokens();
            match batches.last_mut() {
                Some(batch)
                    if batch.len() < size
                        && used.saturating_add(tokens) <= budget
                        && items[batch[0]].sequences.len() == items[i].sequences.len() =>
                {
                    batch.push(i);
                    used += tokens;
                }
                _ => {
                    batches.push(vec![i]);
                    used = tokens;
                }
            }
        }
        if self.batch.group && self.batch.shuffle {
            batches.shuffle(&mut random);
        }
        batches
    }

    /// Reads and divides everything from `cursor` on, stretch after stretch; `give` gets the steps of a stretch and
    /// says whether to go on.
    fn run(&self, cursor: Cursor, mut give: impl FnMut(Ready<Batch>) -> bool) -> Result<()> {
        let mut cursor = cursor;
        loop {
            let order =
                if self.batch.shuffle { Order::Shuffled { seed: self.seed, epoch: cursor.epoch } } else { Order::AsIs };
            let mut rows = self.data.rows(order, cursor.row);
            let mut any = cursor.row > 0 || cursor.step > 0;
            loop {
                let start = rows.position();
                let examples: Vec<E> = rows.by_ref().take(self.stretch()).collect::<Result<_, _>>()?;
                if examples.is_empty() {
                    break;
                }
                let items = self.encode(examples)?;
                let mut key = [0; 32];
                for (part, value) in key.chunks_exact_mut(8).zip([self.seed, cursor.epoch, start, 1]) {
                    part.copy_from_slice(&value.to_le_bytes());
                }
                let batches = self.divide(&items, ChaCha8Rng::from_seed(key));
                any |= !batches.is_empty();
                let mut items: Vec<Option<Item>> = items.into_iter().map(Some).collect();
                let steps = batches.chunks(self.batch.accumulate);
                let count = steps.len() as u64;
                for (number, step) in steps.enumerate().skip(cursor.step as usize) {
                    let micro = step.iter().map(|batch| {
                        let items = batch.iter().filter_map(|&i| items[i].take()).collect();
                        Batch::new(items, self.styles[0], self.styles[1])
                    });
                    let micro = micro.collect::<Result<_>>()?;
                    let done = number as u64 + 1;
                    let next = if done < count {
                        Cursor { epoch: cursor.epoch, row: start, step: done, corpora: None }
                    } else {
                        Cursor { epoch: cursor.epoch, row: rows.position(), ..Cursor::default() }
                    };
                    let part = done as f64 / count as f64 * (rows.position() - start) as f64;
                    let epochs = cursor.epoch as f64 + (start as f64 + part) / self.data.len().max(1) as f64;
                    if !give(Ready { micro, next, epochs }) {
                        return Ok(());
                    }
                }
                cursor.step = 0;
            }
            if !any {
                return Err(Error::Input("no row of the training data holds anything that could be learnt".into()));
            }
            cursor = Cursor { epoch: cursor.epoch + 1, ..Cursor::default() };
        }
    }

    /// The number of steps of one epoch: every row is encoded and divided once.
    ///
    /// # Errors
    /// Those of reading and encoding.
    pub fn steps_of_epoch(&self) -> Result<u64> {
        let by_size = self.batch.tokens.is_none() && !self.data.options().skip_unlabelled;
        if self.one_item && by_size {
            let size = self.batch.size.unwrap_or(SIZE) as u64;
            // stretches are whole numbers of steps, but for the last
            return Ok(self.data.len().div_ceil(size).div_ceil(self.batch.accumulate as u64));
        }
        let mut steps = 0;
        self.run(Cursor::default(), |ready| {
            if ready.next.epoch > 0 {
                return false;
            }
            steps += 1;
            ready.next.row < self.data.len() || ready.next.step > 0
        })?;
        Ok(steps)
    }

    /// All batches once, in order, on this thread: for judging.
    ///
    /// # Errors
    /// Those of reading and encoding.
    pub fn once(&self, mut each: impl FnMut(Batch) -> Result<()>) -> Result<()> {
        let mut failed = None;
        self.run(Cursor::default(), |ready| {
            for batch in ready.micro {
                if let Err(error) = each(batch) {
                    failed = Some(error);
                    return false;
                }
            }
            ready.next.row < self.data.len() || ready.next.step > 0
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Begins to make batches from `cursor` on.
    pub fn begin(&self, cursor: Cursor) -> Feed<Batch> {
        let plan = self.clone();
        Feed::begin(move |give| plan.run(cursor, give))
    }
}
