//! An end that becomes likelier with every token.

use super::{Context, Process};

/// After `start` said tokens the ends' scores grow by `factor` to the power of the tokens since. One that may not be said
/// stays so; in `transformers` its score is no number then, and the text ends.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 2 · (1.5² − 1) is 2.5 more for one end; the other is forbidden, and others stay.
    #[test]
    fn ends_grow_unless_they_are_forbidden() {
        let decay = DecayToEnd { start: 1, factor: 1.5, ends: vec![1, 2, 9] };
        let mut scores = [0.5, -2.0, f32::NEG_INFINITY];
        let tokens = [7, 8, 8, 8];
        decay.process(&Context { input: 0, tokens: &tokens, given: 1, source: &[], max_length: 9 }, &mut scores);
        assert_eq!(scores, [0.5, 0.5, f32::NEG_INFINITY]);
        decay.process(&Context { input: 0, tokens: &tokens[..2], given: 1, source: &[], max_length: 9 }, &mut scores);
        assert_eq!(scores[1], 0.5, "not before it begins");
    }
}
