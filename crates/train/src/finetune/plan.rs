//! Batches of labelled rows: rows in their order, tokenised by threads of their own, grouped by length, divided by size
//! or tokens. What comes is a function of data, seed and cursor, not of the number of threads.

use std::sync::Arc;
use std::thread;

use ptm_text::PositionStyle;
use ptm_text::dataset::{Dataset, Example, Order, Rows};
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
/// A stretch of rows, within which lengths are grouped, is so many steps long: about one step of a stretch of batches by
/// tokens is filled in part only.
const STRETCH: usize = 32;
/// No stretch has more rows or tokens, unless a step has.
const MOST_ROWS: usize = 1 << 16;
const MOST_TOKENS: usize = 1 << 22;
/// Rows that are encoded at once where tokens decide how many a stretch has.
const PIECE: usize = 512;
/// Batches among which the largest is looked for.
const LOOK: usize = 64;

impl<E: Example> Plan<E> {
    /// The items of the next stretch; none where no row is left.
    fn stretch(&self, rows: &mut Rows<E>) -> Result<Option<Vec<Item>>> {
        let Some(budget) = self.batch.tokens else {
            let step = self.batch.size.unwrap_or(SIZE).saturating_mul(self.batch.accumulate);
            // whole steps
            let count = step.saturating_mul((MOST_ROWS / step.max(1)).clamp(1, STRETCH));
            let examples: Vec<E> = rows.by_ref().take(count).collect::<Result<_, _>>()?;
            return if examples.is_empty() { Ok(None) } else { self.encode(examples).map(Some) };
        };
        let step = budget.saturating_mul(self.batch.accumulate);
        let enough = step.saturating_mul(STRETCH).min(MOST_TOKENS.max(step));
        let (mut items, mut tokens, mut count) = (Vec::new(), 0_usize, 0);
        while tokens < step || (tokens < enough && count < MOST_ROWS) {
            let examples: Vec<E> = rows.by_ref().take(PIECE).collect::<Result<_, _>>()?;
            if examples.is_empty() {
                break;
            }
            count += examples.len();
            let more = self.encode(examples)?;
            tokens = more.iter().fold(tokens, |sum, item| sum.saturating_add(item.tokens()));
            items.extend(more);
        }
        Ok((count > 0).then_some(items))
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
                let Some(items) = self.stretch(&mut rows)? else { break };
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

    /// The number of steps of one epoch: every row is encoded and divided once, unless `stop` says to give up.
    ///
    /// # Errors
    /// Those of reading and encoding, [`Error::Stopped`].
    pub fn steps_of_epoch(&self, stop: &dyn Fn() -> bool) -> Result<u64> {
        let by_size = self.batch.tokens.is_none() && !self.data.options().skip_unlabelled;
        if self.one_item && by_size {
            let size = self.batch.size.unwrap_or(SIZE) as u64;
            // stretches are whole numbers of steps, but for the last
            return Ok(self.data.len().div_ceil(size).div_ceil(self.batch.accumulate as u64));
        }
        let (mut steps, mut stopped) = (0, false);
        self.run(Cursor::default(), |ready| {
            stopped = stop();
            if ready.next.epoch > 0 || stopped {
                return false;
            }
            steps += 1;
            ready.next.row < self.data.len() || ready.next.step > 0
        })?;
        if stopped { Err(Error::Stopped) } else { Ok(steps) }
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

    /// The largest of the first batches.
    ///
    /// # Errors
    /// Those of reading and encoding.
    pub fn largest(&self) -> Result<Option<Batch>> {
        let (mut largest, mut seen): (Option<Batch>, _) = (None, 0);
        self.run(Cursor::default(), |ready| {
            for batch in ready.micro {
                seen += 1;
                if largest.as_ref().is_none_or(|other| batch.tokens() > other.tokens()) {
                    largest = Some(batch);
                }
            }
            seen < LOOK && ready.next.epoch == 0
        })?;
        Ok(largest)
    }

    /// Begins to make batches from `cursor` on.
    pub fn begin(&self, cursor: Cursor) -> Feed<Batch> {
        let plan = self.clone();
        Feed::begin(move |give| plan.run(cursor, give))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write;

    use ptm_text::dataset::{Options, Text};

    use super::super::batch::{Gold, Sequence};
    use super::*;

    /// Rows of which number `n` becomes `length(n)` tokens `n`.
    fn plan(batch: BatchConfig, rows: u32, length: fn(u32) -> usize) -> Plan<Text> {
        let file = tempfile::NamedTempFile::with_suffix(".txt").unwrap();
        let text = (0..rows).fold(String::new(), |mut text, row| {
            writeln!(text, "{row}").unwrap();
            text
        });
        std::fs::write(file.path(), text).unwrap();
        let encode = move |example: Text| {
            let number: u32 = example.text.parse().unwrap();
            let ids = vec![number; length(number)];
            let sequence = Sequence { segments: vec![0; ids.len()], ids };
            Ok(vec![Item { sequences: vec![sequence], decoder: None, gold: Gold::Next }])
        };
        // the file stays open where its name is gone
        let data = Dataset::open(&[file.path().to_owned()], &Options::default()).unwrap();
        let styles = [PositionStyle::Zero; 2];
        Plan { data, encode: Arc::new(encode), one_item: true, batch, seed: 3, styles, workers: 2 }
    }

    /// The rows of each micro-batch of each step, with the cursor behind it, up to the end of epoch number `epochs`.
    fn steps(plan: &Plan<Text>, from: Cursor, epochs: u64) -> Vec<(Vec<Vec<u32>>, Cursor)> {
        let mut steps = Vec::new();
        plan.run(from, |ready| {
            let rows = |batch: &Batch| batch.source.offsets.windows(2).map(|w| batch.source.ids[w[0]]).collect();
            if ready.next.epoch < epochs || ready.next.epoch == epochs && ready.next == Cursor::default() {
                steps.push((ready.micro.iter().map(rows).collect(), ready.next.clone()));
            }
            ready.epochs < epochs as f64 - 1e-9
        })
        .unwrap();
        steps
    }

    fn short(row: u32) -> usize {
        4 + row as usize % 13
    }

    fn tokens(rows: &[u32]) -> usize {
        rows.iter().map(|&row| short(row)).sum()
    }

    #[test]
    fn batches_by_tokens_are_filled() {
        for (budget, accumulate) in [(64, 1), (64, 4), (1000, 2), (16_384, 1)] {
            let batch = BatchConfig { tokens: Some(budget), accumulate, ..BatchConfig::default() };
            let plan = plan(batch, 20_000, short);
            let steps = steps(&plan, Cursor::default(), 1);
            let mut seen: Vec<u32> = steps.iter().flat_map(|(step, _)| step.concat()).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..20_000).collect::<Vec<_>>(), "{budget}");
            // a row of the longest would fit into no other batch of a stretch than its last, no step lacks any but the last
            let batches: Vec<&Vec<u32>> = steps.iter().flat_map(|(step, _)| step).collect();
            assert!(batches.iter().all(|batch| tokens(batch) <= budget));
            let stretches = 1 + steps.iter().filter(|(_, next)| next.step == 0).count();
            let partly = batches.iter().filter(|batch| tokens(batch) + 16 < budget).count();
            let lacking = steps.iter().filter(|(step, _)| step.len() < accumulate).count();
            assert!(partly <= stretches && lacking <= stretches, "{budget}: {partly}, {lacking} of {}", steps.len());
            assert!(stretches <= 2 + steps.len() / (STRETCH - 1), "{budget}: {stretches} of {}", steps.len());
            assert_eq!(plan.steps_of_epoch(&|| false).unwrap(), steps.len() as u64);
            assert!(matches!(plan.steps_of_epoch(&|| true), Err(Error::Stopped)));
        }
    }

    #[test]
    fn lengths_are_grouped_within_a_stretch() {
        let batch = BatchConfig { tokens: Some(256), ..BatchConfig::default() };
        let spread = |group: bool| {
            let plan = plan(BatchConfig { group, ..batch.clone() }, 5000, short);
            let steps = steps(&plan, Cursor::default(), 1);
            let spread = |rows: &Vec<u32>| {
                let lengths = rows.iter().map(|&row| short(row));
                lengths.clone().max().unwrap() - lengths.min().unwrap()
            };
            steps.iter().flat_map(|(step, _)| step).map(spread).sum::<usize>() as f64 / steps.len() as f64
        };
        let (grouped, mixed) = (spread(true), spread(false));
        assert!(grouped < 2.0 && mixed > 8.0, "{grouped}, {mixed}");
    }

    #[test]
    fn every_cursor_goes_on_where_it_was() {
        let by_size = |size, accumulate| BatchConfig { size: Some(size), accumulate, ..BatchConfig::default() };
        let by_tokens = |tokens, accumulate| BatchConfig { tokens: Some(tokens), accumulate, ..BatchConfig::default() };
        for batch in [by_size(2, 1), by_size(3, 2), by_tokens(40, 1), by_tokens(40, 3)] {
            let plan = plan(batch, 1500, short);
            let whole = steps(&plan, Cursor::default(), 2);
            let mut kinds = BTreeMap::new();
            for at in (0..whole.len()).step_by(37) {
                let (_, cursor) = &whole[at];
                *kinds.entry((cursor.epoch, cursor.row > 0, cursor.step > 0)).or_insert(0) += 1;
                assert_eq!(steps(&plan, cursor.clone(), 2), whole[at + 1..], "{cursor:?}");
            }
            assert!(kinds.contains_key(&(0, true, true)) && kinds.contains_key(&(1, true, true)), "{kinds:?}");
            // the second epoch has another order
            let first = whole.iter().position(|(_, next)| next.epoch == 1).unwrap();
            assert_ne!(whole[0].0, whole[first + 1].0);
        }
    }
}
