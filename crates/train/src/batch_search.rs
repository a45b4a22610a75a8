//! `--find-batch`: the largest batch of tokens whose steps stay within a limit of memory, found by making steps of growing
//! size and reading the peak of this process. A size is only tried when those before it say that it fits. What is judged
//! on the way is tried too; a checkpoint is written one tensor after the other, and takes less than gradients do.

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::feed::Cursor;
use crate::finetune::pursue;
use crate::memory;
use crate::objective::{Aim, Objective};
use crate::parameters::{GradientSum, Parameters, set_learning};
use crate::recipe::Recipe;
use crate::training::{Settings, gradients};

/// One size that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// `batch.tokens`.
    pub tokens: usize,
    /// Tokens of the largest micro-batch that came of it.
    pub largest: usize,
    /// The most memory until then, bytes.
    pub peak_bytes: u64,
}

/// What came of the search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchSearch {
    /// The largest `batch.tokens` that was measured and fits.
    pub tokens: usize,
    /// Whether larger batches would not be filled by the data, so that the limit was not reached.
    pub limited_by_data: bool,
    /// All sizes, in the order in which they were tried.
    pub tried: Vec<Tried>,
}

/// Searches with the model in the directory `source` and the data and optimizer of `recipe`; `heard` hears each size, and
/// says whether to go on. Nothing is written.
///
/// # Errors
/// When recipe, data and model don't fit each other, the smallest batch does not fit into `limit` bytes, or the system
/// doesn't tell the peak of memory.
pub fn find_batch(
    recipe: &Recipe,
    source: &Path,
    limit: u64,
    heard: &mut dyn FnMut(&Tried) -> bool,
) -> Result<BatchSearch> {
    let mut tried: Vec<Tried> = Vec::new();
    let mut limited_by_data = false;
    let mut size = Some(SMALLEST.max(recipe.data.max_length.unwrap_or(0)));
    while let Some(tokens) = size {
        let mut recipe = recipe.clone();
        recipe.batch.size = None;
        recipe.batch.tokens = Some(tokens);
        let (largest, peak) = pursue(&recipe, source, Measure { limit })?;
        // the kernel sums what each thread counted, now and then a little less than before
        let peak_bytes = tried.last().map_or(peak, |last| peak.max(last.peak_bytes));
        let now = Tried { tokens, largest, peak_bytes };
        tried.push(now);
        if !heard(&now) {
            return Err(Error::Stopped);
        }
        if peak_bytes > limit {
            break;
        }
        limited_by_data = largest < tokens / 2;
        size = if limited_by_data { None } else { next(&tried, limit) };
    }
    let fits = tried.iter().rev().find(|size| size.peak_bytes <= limit);
    let Some(fits) = fits else {
        let (tokens, peak) = tried.last().map_or((0, 0), |size| (size.largest, size.peak_bytes));
        return Err(too_much(&format!("a step of {tokens} tokens takes {} MB", peak / MB), limit));
    };
    Ok(BatchSearch { tokens: fits.tokens, limited_by_data, tried: tried.clone() })
}

const MB: u64 = 1_000_000;
/// The first size that is tried.
const SMALLEST: usize = 512;
/// Sizes are whole multiples of this.
const GRAIN: usize = 64;
/// The share of the limit that is aimed at: what the next size takes is only foretold.
const AIM: f64 = 0.96;

fn too_much(what: &str, limit: u64) -> Error {
    let way = "set run.gradient_checkpointing = true, shorten data.max_length, or train fewer layers (tune.train)";
    Error::Input(format!("{what}, the limit is {} MB: {way}", limit / MB))
}

/// The next size: at most twice the last, and no more than fits if memory grows as steeply as it ever did. None where
/// that is hardly larger.
fn next(tried: &[Tried], limit: u64) -> Option<usize> {
    let last = tried.last()?;
    let double = last.tokens.checked_mul(2)?;
    let slope = |w: &[Tried]| {
        let (from, to) = (w[0], w[1]);
        (to.peak_bytes - from.peak_bytes) as f64 / (to.largest.saturating_sub(from.largest)).max(1) as f64
    };
    // of one size alone all that it took may be its own
    let alone = last.peak_bytes as f64 / last.largest.max(1) as f64;
    let steepest = tried.windows(2).map(slope).fold(None, |most: Option<f64>, s| Some(most.map_or(s, |m| m.max(s))));
    let room = AIM * limit as f64 - last.peak_bytes as f64;
    if room <= 0.0 {
        return None;
    }
    let more = room / steepest.unwrap_or(alone).max(1.0);
    let size = (last.tokens as f64 + more).min(double as f64) as usize / GRAIN * GRAIN;
    (size >= last.tokens + (last.tokens / 16).max(GRAIN)).then_some(size)
}

/// Makes two steps on the largest of the first batches, and judges one.
struct Measure {
    limit: u64,
}

/// Steps among which the largest is looked for.
const LOOK: usize = 64;

impl Aim for Measure {
    type Output = (usize, u64);

    fn pursue<O: Objective>(
        self,
        objective: &O,
        start: impl FnOnce() -> Result<O::Model>,
        settings: &Settings,
    ) -> Result<(usize, u64)> {
        let mut model = start()?;
        let parameters = Parameters::of(&model, &objective.names(&model));
        // the gradients at least come to what is there
        let least = memory::peak()? + 4 * parameters.elements() as u64;
        if least > self.limit {
            return Err(too_much(&format!("the model with its gradients takes {} MB", least / MB), self.limit));
        }
        let mut optimizer = settings.optimizer_of(parameters)?;
        // as it will be when everything learns
        model = set_learning(model, &optimizer.learning(u64::MAX));
        let mut feed = objective.feed(Cursor::default());
        let size = |micro: &[O::Batch]| micro.iter().map(|batch| objective.tokens(batch)).max().unwrap_or(0);
        let mut chosen = feed.ready()?;
        let mut epochs = chosen.next.epoch;
        for _ in 1..LOOK {
            if epochs > 0 {
                break;
            }
            let ready = feed.ready()?;
            epochs = ready.next.epoch;
            if size(&ready.micro) > size(&chosen.micro) {
                chosen = ready;
            }
        }
        for step in 1..=2 {
            let (gradients, losses) =
                gradients(objective, &model, &chosen.micro, optimizer.parameters(), settings, step, true, &|| false)?;
            let norm = gradients.norm();
            if !(losses.iter().sum::<f64>().is_finite() && norm.is_finite()) {
                return Err(Error::Diverged { step });
            }
            let clip = GradientSum::clip_factor(norm, Some(settings.run.clip).filter(|limit| *limit > 0.0));
            model = optimizer.step(model, gradients, 0.0, clip);
        }
        objective.judge_largest(&model)?;
        Ok((size(&chosen.micro), memory::peak()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(tokens: usize, megabytes: u64) -> Tried {
        Tried { tokens, largest: tokens, peak_bytes: megabytes * MB }
    }

    #[test]
    fn sizes_grow_as_far_as_they_fit() {
        // one size alone: all it took may grow with it
        assert_eq!(next(&[tried(512, 1000)], 4000 * MB), Some(1024));
        assert_eq!(next(&[tried(512, 1000)], 1100 * MB), None);
        // 1 MB a token
        let two = [tried(512, 1000), tried(1024, 1512)];
        assert_eq!(next(&two, 8000 * MB), Some(2048));
        assert_eq!(next(&two, 2000 * MB), Some(1408));
        assert_eq!(next(&two, 1590 * MB), None);
    }
}
