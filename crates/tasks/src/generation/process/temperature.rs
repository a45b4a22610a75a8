//! Temperature: below one likely tokens get likelier, above one less so.

use super::{Context, Process};

/// Divides the scores.
#[derive(Clone, Copy, Debug)]
pub struct Temperature(pub f32);

impl Process for Temperature {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // so near to zero that the best score would be beyond all numbers: from the best alone what matters is the distance
        let shift = if top > f32::NEG_INFINITY && !(top / self.0).is_finite() { top } else { 0.0 };
        scores.iter_mut().for_each(|score| *score = (*score - shift) / self.0);
    }
}
