//! The unigram baseline: what a model would lose that knows only how often each token is a target, whatever stands
//! around it. A model that learns anything of language is better.

use super::plan::{Item, Plan, micro_batches};
use super::recipe::Micro;
use super::task::{Pretraining, Turn};
use crate::error::Result;

/// Targets that are counted at most, of so many tokens of text, which are corrupted so often; and windows of one go.
const MOST: u64 = 1 << 20;
const TEXT: usize = 1 << 22;
const PASSES: u64 = 8;
const AT_ONCE: usize = 1024;

/// How often each token is a target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unigram {
    counts: Vec<u64>,
    total: u64,
}

impl Unigram {
    /// Counts the targets of training data as `plan` corrupts it, in a vocabulary of so many tokens.
    ///
    /// # Errors
    /// Those of reading and corrupting.
    pub fn count<T: Pretraining>(plan: &Plan<T>, vocabulary: usize) -> Result<Self> {
        let mut this = Self::of([], vocabulary);
        let windows = plan.sample(usize::MAX, TEXT)?;
        for pass in 0..PASSES {
            for some in windows.chunks(AT_ONCE) {
                let some = some.iter().cloned().map(Item::from);
                for batch in plan.make(micro_batches(some, Micro::Examples(64)), pass, Turn::Judged(0))? {
                    this.add(plan.task.targets(&batch));
                }
                if this.total >= MOST {
                    return Ok(this);
                }
            }
        }
        Ok(this)
    }

    /// Counts targets as they are.
    pub fn of<'a>(targets: impl IntoIterator<Item = &'a [u32]>, vocabulary: usize) -> Self {
        let mut this = Self { counts: vec![0; vocabulary], total: 0 };
        targets.into_iter().for_each(|some| this.add(some));
        this
    }

    fn add(&mut self, targets: &[u32]) {
        for &target in targets {
            if let Some(count) = self.counts.get_mut(target as usize) {
                *count += 1;
                self.total += 1;
            }
        }
    }

    /// The sum of the targets' losses. No token is impossible: each was seen once more than it was.
    pub fn loss(&self, targets: &[u32]) -> f64 {
        let all = (self.total + self.counts.len() as u64) as f64;
        let of = |&target: &u32| (all / (self.counts.get(target as usize).copied().unwrap_or(0) + 1) as f64).ln();
        targets.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_those_of_the_shares() {
        let unigram = Unigram::of([&[1, 1][..], &[1, 2]], 4);
        // of 8 with one more each: 1, 4, 2, 1
        let expected = [8.0_f64, 2.0, 4.0, 8.0].map(f64::ln);
        for (token, loss) in (0..4).zip(expected) {
            assert!((unigram.loss(&[token]) - loss).abs() < 1e-12);
        }
        assert!((unigram.loss(&[0, 1]) - expected[0] - expected[1]).abs() < 1e-12);
    }
}
