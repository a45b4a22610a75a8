//! Temperature: below one likely tokens get likelier, above one less so.

use super::{Context, Process};

/// Divides the scores.
#[derive(Clone, Copy, Debug)]
pub struct Temperature(pub f32);

impl Process for Temperature {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        scores.iter_mut().for_each(|score| *score /= self.0);
    }
}
