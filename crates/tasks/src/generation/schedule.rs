//! Many inputs at once: each step reads one token of all open hypotheses together; sequences leave as they end, and
//! waiting inputs join in their place (Orca, Yu et al. 2022), so that all cores stay busy. Memory is bounded by the
//! tokens and scores that may be held. What is said of an input doesn't depend on the others.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ptm_ops::{Indices, gather_rows};
use rayon::prelude::*;

use super::feed::Fed;

use super::search::{Next, Scores, Search, Spoken};
use super::speaker::{Memory, Speaker};
use crate::error::{Error, Result};

/// An input to continue.
pub(crate) struct Job<'a> {
    /// What the encoder reads; nothing where there is none.
    pub source: Vec<u32>,
    /// What the decoder is given.
    pub prompt: Vec<u32>,
    /// Tokens that it may have in all.
    pub max_length: usize,
    /// How its tokens are chosen.
    pub search: Box<dyn Search + 'a>,
}

impl Job<'_> {
    /// What it may come to hold.
    fn room(&self) -> Room {
        let new = self.max_length.saturating_sub(self.prompt.len());
        let width = self.search.width();
        let rows = width.saturating_mul(new).saturating_add(self.source.len() + self.prompt.len());
        let rows = rows.saturating_mul(self.search.memories());
        // guesses go no further than the greatest length
        Room { rows, scores: self.search.score_rows().min(width.saturating_mul(new)) }
    }
}

/// What is held at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Tokens that the model remembers, and one that guesses for it.
    pub rows: usize,
    /// Rows of scores, of the whole vocabulary each.
    pub scores: usize,
}

impl Room {
    /// `rows` tokens, and as many rows of the scores of `vocabulary` tokens as [`SCORES`] holds.
    pub fn of(rows: usize, vocabulary: usize) -> Self {
        Self { rows, scores: SCORES / (4 * vocabulary.max(1)) }
    }

    fn and(self, other: Self) -> Self {
        Self { rows: self.rows.saturating_add(other.rows), scores: self.scores.saturating_add(other.scores) }
    }

    fn holds(self, other: Self) -> bool {
        other.rows <= self.rows && other.scores <= self.scores
    }
}

/// Bytes that the scores of a step take at most, unless one input alone needs more.
const SCORES: usize = 256 << 20;

/// What happens meanwhile.
pub(crate) struct Listener<'l, 's, 'd> {
    /// Hears what the only hypothesis of an input has said, after each step.
    pub said: Option<&'l mut (dyn FnMut(usize, &[u32]) + 's)>,
    /// Hears what was found for an input or why nothing was, in the order in which they end.
    pub done: &'l mut (dyn FnMut(usize, Result<Vec<Spoken>>) -> Result<()> + 'd),
    /// Set to stop.
    pub stop: Option<&'l AtomicBool>,
}

/// An input on its way.
struct Live<'a> {
    number: usize,
    room: Room,
    search: Box<dyn Search + 'a>,
    /// What the model is to read of each open hypothesis.
    tokens: Vec<Vec<u32>>,
}

/// Continues all jobs, holding at most `room`, or one job if it needs more by itself. `jobs` is asked for the next one when
/// there may be room for it; it hears whether there is nothing else to do.
///
/// # Errors
/// When the model can't read what it is given, the listener fails or asks to stop. What is wrong with one job the listener
/// hears in place of what was found.
pub(crate) fn run<'a, S: Speaker>(
    speaker: &S,
    jobs: &mut dyn FnMut(bool) -> Fed<Result<Job<'a>>>,
    room: Room,
    listener: &mut Listener<'_, '_, '_>,
) -> Result<()> {
    let mut queue = Queue { jobs, next: None, fed: 0, is_over: false };
    let mut live: Vec<Live<'a>> = Vec::new();
    let mut memory: Option<S::Memory> = None;
    loop {
        if listener.stop.is_some_and(|stop| stop.load(Relaxed)) {
            return Err(Error::Stopped);
        }
        let joining = queue.joining(&live, room, listener)?;
        if !joining.is_empty() {
            let (new, theirs) = begin(speaker, joining, listener)?;
            match &mut memory {
                Some(memory) if !live.is_empty() => memory.absorb(theirs),
                memory => *memory = Some(theirs),
            }
            live.extend(new);
        }
        if live.is_empty() {
            if queue.is_over && queue.next.is_none() {
                return Ok(());
            }
            continue;
        }
        let memory = memory.as_mut().expect("what is on its way was read");
        let tokens: Vec<&[u32]> = live.iter().flat_map(|live| live.tokens.iter().map(Vec::as_slice)).collect();
        let all_rows = tokens.iter().any(|tokens| tokens.len() > 1);
        let hidden = speaker.read(memory, &tokens, all_rows)?;
        let rows: Vec<usize> = live.iter().map(|live| live.tokens.iter().map(Vec::len).sum()).collect();
        let states = if wants_hidden(&live) { ptm_ops::read_f32(hidden.clone()) } else { Vec::new() };
        let mut logits = speaker.logits(hidden);
        let before: Vec<usize> = live.iter().map(|live| live.tokens.len()).collect();
        let next = advance(&mut live, &mut logits, &states, &rows, &rows, speaker.vocabulary());
        go_on(memory, &next, &before);
        settle(&mut live, next, listener)?;
    }
}

/// The jobs that have not begun.
struct Queue<'q, 'a> {
    jobs: &'q mut dyn FnMut(bool) -> Fed<Result<Job<'a>>>,
    /// The next one, for which there was no room.
    next: Option<(usize, Job<'a>)>,
    fed: usize,
    is_over: bool,
}

impl<'a> Queue<'_, 'a> {
    /// Those for which there is `room` beside `live`.
    fn joining(
        &mut self,
        live: &[Live<'_>],
        room: Room,
        listener: &mut Listener<'_, '_, '_>,
    ) -> Result<Vec<(usize, Job<'a>)>> {
        let mut held = live.iter().fold(Room::default(), |held, live| held.and(live.room));
        let mut joining = Vec::new();
        loop {
            let alone = live.is_empty() && joining.is_empty();
            if self.next.is_none() && !self.is_over {
                match (self.jobs)(alone) {
                    Fed::Input(job) => {
                        let number = self.fed;
                        self.fed += 1;
                        match job {
                            Ok(job) => self.next = Some((number, job)),
                            Err(error) => {
                                (listener.done)(number, Err(error))?;
                                continue;
                            }
                        }
                    }
                    Fed::Later => {}
                    Fed::End => self.is_over = true,
                }
            }
            let fits = |(_, job): &mut (usize, Job<'a>)| alone || room.holds(held.and(job.room()));
            let Some((number, job)) = self.next.take_if(fits) else { return Ok(joining) };
            held = held.and(job.room());
            joining.push((number, job));
        }
    }
}

/// Reads the prompts of `joining` together, and lets them choose their first tokens.
fn begin<'a, S: Speaker>(
    speaker: &S,
    joining: Vec<(usize, Job<'a>)>,
    listener: &mut Listener<'_, '_, '_>,
) -> Result<(Vec<Live<'a>>, S::Memory)> {
    let sources: Vec<&[u32]> = joining.iter().map(|(_, job)| job.source.as_slice()).collect();
    let prompts: Vec<&[u32]> = joining.iter().map(|(_, job)| job.prompt.as_slice()).collect();
    let mut memory = speaker.begin(&sources)?;
    let wants_hidden = joining.iter().any(|(_, job)| job.search.wants_hidden());
    let hidden = speaker.read(&mut memory, &prompts, wants_hidden)?;
    let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.len()).collect();
    let (states, last) = if wants_hidden {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end as u32 - 1)
        });
        let rows: Indices = ends.collect();
        (ptm_ops::read_f32(hidden.clone()), gather_rows(hidden, &rows))
    } else {
        (Vec::new(), hidden)
    };
    let mut logits = speaker.logits(last);
    let live =
        |(number, job): (usize, Job<'a>)| Live { number, room: job.room(), search: job.search, tokens: Vec::new() };
    let mut live: Vec<Live<'a>> = joining.into_iter().map(live).collect();
    let ones = vec![1; live.len()];
    let next = advance(&mut live, &mut logits, &states, &ones, &lengths, speaker.vocabulary());
    go_on(&mut memory, &next, &ones);
    settle(&mut live, next, listener)?;
    Ok((live, memory))
}

fn wants_hidden(live: &[Live<'_>]) -> bool {
    live.iter().any(|live| live.search.wants_hidden())
}

/// Lets all searches go on at once; each has its own `rows` of `logits`, and `states` of its own.
fn advance(
    live: &mut [Live<'_>],
    logits: &mut [f32],
    states: &[f32],
    rows: &[usize],
    state_rows: &[usize],
    vocabulary: usize,
) -> Vec<Result<Vec<Next>>> {
    let width = states.len() / state_rows.iter().sum::<usize>().max(1);
    let (mut rest, mut rest_of_states) = (logits, states);
    let mut shares = Vec::with_capacity(live.len());
    for (count, of_states) in rows.iter().zip(state_rows) {
        let (own, after) = rest.split_at_mut(count * vocabulary);
        let (hidden, after_states) = rest_of_states.split_at(of_states * width);
        (rest, rest_of_states) = (after, after_states);
        shares.push(Scores { logits: own, hidden, vocabulary });
    }
    let advance = |(live, scores): (&mut Live<'_>, Scores<'_>)| {
        finite(scores.logits)?;
        live.search.advance(scores)
    };
    live.par_iter_mut().zip(shares).map(advance).collect()
}

/// Brings the memory to what the hypotheses have become; `before` is how many each input had.
fn go_on<M: Memory>(memory: &mut M, next: &[Result<Vec<Next>>], before: &[usize]) {
    let firsts = before.iter().scan(0, |first, count| {
        let own = *first;
        *first += count;
        Some(own)
    });
    let going_on = || next.iter().map(|next| next.as_deref().unwrap_or_default());
    let which: Vec<usize> =
        going_on().zip(firsts).flat_map(|(next, first)| next.iter().map(move |next| first + next.parent)).collect();
    memory.select(&which);
    let forget: Vec<usize> = going_on().flatten().map(|next| next.forget).collect();
    if forget.iter().any(|&count| count > 0) {
        memory.forget(&forget);
    }
}

/// Takes what is to be read next, and hands on what has ended.
fn settle(live: &mut Vec<Live<'_>>, next: Vec<Result<Vec<Next>>>, listener: &mut Listener<'_, '_, '_>) -> Result<()> {
    let mut failed = Vec::with_capacity(live.len());
    for (live, next) in live.iter_mut().zip(next) {
        let (next, error) = next.map_or_else(|error| (Vec::new(), Some(error)), |next| (next, None));
        live.tokens = next.into_iter().map(|next| next.tokens).collect();
        if let (Some(hear), Some(said), None) = (&mut listener.said, live.search.said(), &error) {
            hear(live.number, said);
        }
        failed.push(error);
    }
    let (mut failed, mut ended) = (failed.into_iter(), Ok(()));
    live.retain_mut(|live| {
        let error = failed.next().flatten();
        if live.tokens.is_empty() && ended.is_ok() {
            ended = (listener.done)(live.number, error.map_or_else(|| Ok(live.search.finish()), Err));
        }
        !live.tokens.is_empty()
    });
    ended
}

/// Whether all logits are numbers.
fn finite(logits: &[f32]) -> Result<()> {
    if logits.par_iter().with_min_len(1 << 14).any(|x| !x.is_finite()) {
        let problem = "the model gives numbers that are not finite: its weights are damaged or hold NaN; fetch or train \
                       them again";
        return Err(Error::Input(problem.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
