//! The scheduler over a model that is a table: what is said is known exactly, and every step is counted.

use std::collections::BTreeMap;
use std::sync::Mutex;

use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_ops::read_f32;

use super::super::draft::{Draft, DraftModel, Lookup};
use super::super::process::{Context, Process, TopK, log_softmax};
use super::super::sample::Sample;
use super::super::search::Given;
use super::super::stop::Ends;
use super::*;

/// Tokens of the vocabulary.
const V: usize = 4;
/// Tokens that the next one depends on.
const SEEN: u32 = 3;
/// A token beyond the table, after which the scores are no numbers.
const DAMAGED: u32 = V as u32;

/// A model whose scores are a function of the last three tokens.
struct Chain {
    /// `[V³, V]`.
    scores: Vec<f32>,
    steps: Mutex<Steps>,
}

/// What was asked of a model.
#[derive(Clone, Copy, Default)]
struct Steps {
    reads: usize,
    /// The most rows of scores at once.
    rows: usize,
    /// The most sequences at once.
    sequences: usize,
}

/// What was read of each sequence.
struct Read(Vec<Vec<u32>>);

impl Memory for Read {
    fn select(&mut self, which: &[usize]) {
        self.0 = which.iter().map(|&b| self.0[b].clone()).collect();
    }

    fn absorb(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    fn forget(&mut self, counts: &[usize]) {
        self.0.iter_mut().zip(counts).for_each(|(read, count)| read.truncate(read.len() - count));
    }
}

impl Chain {
    /// Scores from a sine, wide by `width`.
    fn new(phase: f32, width: f32) -> Self {
        let count = V.pow(SEEN) * V;
        let scores = (0..count).map(|i| width * (i as f32 * 1.7 + phase).sin()).collect();
        Self { scores, steps: Mutex::default() }
    }

    fn row(state: &[u32]) -> usize {
        state.iter().fold(0, |row, &token| (row * V + token as usize) % V.pow(SEEN))
    }

    /// The probabilities after `state`, of the `k` likeliest tokens.
    fn probabilities(&self, row: usize, k: usize) -> Vec<f64> {
        let mut scores = self.scores[row * V..][..V].to_vec();
        TopK(k).process(&Context { input: 0, tokens: &[], given: 0, source: &[], max_length: 0 }, &mut scores);
        log_softmax(&mut scores);
        scores.iter().map(|score| f64::from(score.exp())).collect()
    }
}

impl Speaker for Chain {
    type Memory = Read;

    fn vocabulary(&self) -> usize {
        V
    }

    fn longest(&self) -> Option<usize> {
        None
    }

    fn has_encoder(&self) -> bool {
        false
    }

    fn begin(&self, sources: &[&[u32]]) -> Result<Read> {
        Ok(Read(vec![Vec::new(); sources.len()]))
    }

    fn read(&self, memory: &mut Read, tokens: &[&[u32]], all_rows: bool) -> Result<Tensor<2>> {
        let mut rows: Vec<f32> = Vec::new();
        for (read, new) in memory.0.iter_mut().zip(tokens) {
            assert!(!new.is_empty());
            for (place, &token) in new.iter().enumerate() {
                read.push(token);
                if all_rows || place + 1 == new.len() {
                    let damaged = read.contains(&DAMAGED);
                    rows.push(if damaged { f32::NAN } else { Self::row(read) as f32 });
                }
            }
        }
        let mut steps = self.steps.lock().unwrap();
        steps.reads += 1;
        steps.sequences = steps.sequences.max(memory.0.len());
        let count = rows.len();
        Ok(Tensor::from_data(TensorData::new(rows, [count, 1]), &Device::flex()))
    }

    fn logits(&self, hidden: Tensor<2>) -> Vec<f32> {
        let rows = read_f32(hidden);
        let mut steps = self.steps.lock().unwrap();
        steps.rows = steps.rows.max(rows.len());
        let of =
            |row: f32| if row.is_nan() { vec![f32::NAN; V] } else { self.scores[row as usize * V..][..V].to_vec() };
        rows.into_iter().flat_map(of).collect()
    }
}

/// What every input of a test has in common.
struct Common<'a> {
    prompt: &'a [u32],
    ends: &'a [u32],
    drawing: Vec<Box<dyn Process>>,
    seed: u64,
    draws: bool,
}

impl<'a> Common<'a> {
    fn job(&'a self, number: usize, new: usize, draft: Option<Box<dyn Draft + 'a>>) -> Job<'a> {
        let max_length = self.prompt.len() + new;
        let given = Given {
            input: number,
            constraint: None,
            allowed: None,
            searching: &[],
            callers: &[],
            drawing: &self.drawing,
            ends: Ends { tokens: self.ends.into(), ..Ends::default() },
            prompt: self.prompt.to_vec(),
            source: self.prompt.to_vec(),
            max_length,
            top_logprobs: None,
        };
        let search = Box::new(Sample::new(given, self.draws, self.seed, number as u64, 1, draft));
        Job { source: Vec::new(), prompt: self.prompt.to_vec(), max_length, search }
    }
}

const ALL: Room = Room { rows: usize::MAX, scores: usize::MAX };

/// What `model` says of all `jobs`, in the order in which they end.
fn ended<'a>(
    model: &Chain,
    jobs: &mut dyn FnMut(bool) -> Fed<Result<Job<'a>>>,
    room: Room,
) -> Vec<(usize, Result<Vec<u32>>)> {
    let mut all = Vec::new();
    let mut done = |number, found: Result<Vec<Spoken>>| {
        all.push((number, found.map(|mut found| found.remove(0).tokens)));
        Ok(())
    };
    run(model, jobs, room, &mut Listener { said: None, done: &mut done, stop: None }).unwrap();
    all
}

mod borders;
mod speculation;
