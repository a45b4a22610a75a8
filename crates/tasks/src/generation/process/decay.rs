//! An end that becomes likelier with every token.

use super::{Context, Process};

/// After `start` said tokens the ends' scores grow by `factor` to the power of the tokens since.
#[derive(Clone, Debug)]
pub struct DecayToEnd {
    /// Said tokens before it begins.
    pub start: usize,
    /// Growth a token.
    pub factor: f32,
    /// The tokens that end a sequence.
    pub ends: Vec<u32>,
}

impl Process for DecayToEnd {
    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        let Some(since) = context.said().checked_sub(self.start).filter(|&since| since > 0) else { return };
        let growth = f64::from(self.factor).powi(since as i32) - 1.0;
        for &end in &self.ends {
            let Some(score) = scores.get_mut(end as usize).filter(|score| **score > f32::NEG_INFINITY) else {
                continue;
            };
            // a growth beyond all numbers makes the end certain, and nothing of a score of zero
            let more = f64::from(score.abs()) * growth;
            *score = (f64::from(*score) + if more.is_nan() { 0.0 } else { more }).min(f64::from(f32::MAX)) as f32;
        }
    }
}
