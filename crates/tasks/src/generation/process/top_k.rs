//! The k likeliest tokens (Fan et al. 2018, §5.1), with all that equal the last of them.

use super::{Context, Process};

/// Forbids all but these many.
#[derive(Clone, Copy, Debug)]
pub struct TopK(pub usize);

impl Process for TopK {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        if self.0 >= scores.len() {
            return;
        }
        let mut all = scores.to_vec();
        let (_, &mut last, _) = all.select_nth_unstable_by(self.0.max(1) - 1, |a, b| b.total_cmp(a));
        scores.iter_mut().filter(|score| **score < last).for_each(|score| *score = f32::NEG_INFINITY);
    }
}
