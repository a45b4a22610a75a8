//! Many inputs at once: each step reads one token of all open hypotheses together; sequences leave as they end, and
//! waiting inputs join in their place (Orca, Yu et al. 2022), so that all cores stay busy. Memory is bounded by the
//! tokens that may be held. What is said of an input doesn't depend on the others.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ptm_ops::{Indices, gather_rows};
use rayon::prelude::*;

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
    /// The rows that it may come to hold.
    fn rows(&self) -> usize {
        let new = self.max_length.saturating_sub(self.prompt.len());
        self.source.len() + self.prompt.len() + self.search.width().saturating_mul(new)
    }
}

/// What happens meanwhile.
pub(crate) struct Listener<'l, 's, 'd> {
    /// Hears what the only hypothesis of an input has said, after each step.
    pub said: Option<&'l mut (dyn FnMut(usize, &[u32]) + 's)>,
    /// Hears what was found for an input, in the order in which they end.
    pub done: &'l mut (dyn FnMut(usize, Vec<Spoken>) -> Result<()> + 'd),
    /// Set to stop.
    pub stop: Option<&'l AtomicBool>,
}

/// An input on its way.
struct Live<'a> {
    number: usize,
    rows: usize,
    search: Box<dyn Search + 'a>,
    /// What the model is to read of each open hypothesis.
    tokens: Vec<Vec<u32>>,
}

/// Continues all jobs, holding at most `budget` rows, or one job if it needs more by itself.
///
/// # Errors
/// When an input doesn't fit the model, the model gives no numbers, the listener fails or asks to stop.
pub(crate) fn run<'a, S: Speaker>(
    speaker: &S,
    jobs: &mut dyn Iterator<Item = Result<Job<'a>>>,
    budget: usize,
    listener: &mut Listener<'_, '_, '_>,
) -> Result<()> {
    let mut jobs = jobs.enumerate().peekable();
    let mut live: Vec<Live<'a>> = Vec::new();
    let mut memory: Option<S::Memory> = None;
    loop {
        if listener.stop.is_some_and(|stop| stop.load(Relaxed)) {
            return Err(Error::Stopped);
        }
        let mut held: usize = live.iter().map(|live| live.rows).sum();
        let mut joining = Vec::new();
        loop {
            let fits = match jobs.peek() {
                None => false,
                Some((_, Ok(job))) => held == 0 || held.saturating_add(job.rows()) <= budget,
                Some((_, Err(_))) => true,
            };
            let Some((number, job)) = (if fits { jobs.next() } else { None }) else { break };
            let job = job?;
            held = held.saturating_add(job.rows());
            joining.push((number, job));
        }
        if !joining.is_empty() {
            let (new, theirs) = begin(speaker, joining, listener)?;
            match &mut memory {
                Some(memory) if !live.is_empty() => memory.absorb(theirs),
                memory => *memory = Some(theirs),
            }
            live.extend(new);
        }
        if live.is_empty() {
            if jobs.peek().is_none() {
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
        let mut logits = finite(speaker.logits(hidden))?;
        let before: Vec<usize> = live.iter().map(|live| live.tokens.len()).collect();
        let next = advance(&mut live, &mut logits, &states, &rows, &rows, speaker.vocabulary());
        go_on(memory, &next, &before);
        settle(&mut live, next, listener)?;
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
    let mut logits = finite(speaker.logits(last))?;
    let live =
        |(number, job): (usize, Job<'a>)| Live { number, rows: job.rows(), search: job.search, tokens: Vec::new() };
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
) -> Vec<Vec<Next>> {
    let width = states.len() / state_rows.iter().sum::<usize>().max(1);
    let (mut rest, mut rest_of_states) = (logits, states);
    let mut shares = Vec::with_capacity(live.len());
    for (count, of_states) in rows.iter().zip(state_rows) {
        let (own, after) = rest.split_at_mut(count * vocabulary);
        let (hidden, after_states) = rest_of_states.split_at(of_states * width);
        (rest, rest_of_states) = (after, after_states);
        shares.push(Scores { logits: own, hidden, vocabulary });
    }
    live.par_iter_mut().zip(shares).map(|(live, scores)| live.search.advance(scores)).collect()
}

/// Brings the memory to what the hypotheses have become; `before` is how many each input had.
fn go_on<M: Memory>(memory: &mut M, next: &[Vec<Next>], before: &[usize]) {
    let firsts = before.iter().scan(0, |first, count| {
        let own = *first;
        *first += count;
        Some(own)
    });
    let which: Vec<usize> =
        next.iter().zip(firsts).flat_map(|(next, first)| next.iter().map(move |next| first + next.parent)).collect();
    memory.select(&which);
    let forget: Vec<usize> = next.iter().flatten().map(|next| next.forget).collect();
    if forget.iter().any(|&count| count > 0) {
        memory.forget(&forget);
    }
}

/// Takes what is to be read next, and hands on what has ended.
fn settle(live: &mut Vec<Live<'_>>, next: Vec<Vec<Next>>, listener: &mut Listener<'_, '_, '_>) -> Result<()> {
    for (live, next) in live.iter_mut().zip(next) {
        live.tokens = next.into_iter().map(|next| next.tokens).collect();
        if let (Some(hear), Some(said)) = (&mut listener.said, live.search.said()) {
            hear(live.number, said);
        }
    }
    let mut ended = Ok(());
    live.retain_mut(|live| {
        if live.tokens.is_empty() && ended.is_ok() {
            ended = (listener.done)(live.number, live.search.finish());
        }
        !live.tokens.is_empty()
    });
    ended
}

/// The same logits if they are numbers.
fn finite(logits: Vec<f32>) -> Result<Vec<f32>> {
    if logits.par_iter().with_min_len(1 << 14).any(|x| !x.is_finite()) {
        let problem = "the model gives numbers that are not finite: its weights are damaged or hold NaN; fetch or train \
                       them again";
        return Err(Error::Input(problem.into()));
    }
    Ok(logits)
}
