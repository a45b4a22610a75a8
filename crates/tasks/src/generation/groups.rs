//! Diverse beam search (Vijayakumar et al. 2018): groups of beams that go one after the other at each step, and pay for
//! tokens that an earlier group says at the same place.

use super::beam::Beams;
use super::search::{Given, Next, Scores, Search, Spoken};
use super::settings::Settings;
use crate::error::Result;

/// A search with groups of beams.
pub(crate) struct Groups<'a> {
    groups: Vec<Beams<'a>>,
    penalty: f32,
    returned: usize,
    begun: bool,
    width: usize,
    padding: Option<u32>,
}

impl<'a> Groups<'a> {
    /// As `settings` say.
    pub fn new(given: impl Fn() -> Given<'a>, settings: &Settings) -> Self {
        let each = settings.num_beams / settings.num_beam_groups;
        let group = |_| Beams::new(given(), each, each, settings.length_penalty, settings.early_stopping, None).group();
        Self {
            groups: (0..settings.num_beam_groups).map(group).collect(),
            penalty: settings.diversity_penalty,
            returned: settings.num_return_sequences,
            begun: false,
            width: settings.num_beams,
            padding: settings.pad_token_id.or_else(|| given().ends.tokens.first().copied()),
        }
    }
}

impl Search for Groups<'_> {
    fn advance(&mut self, scores: Scores<'_>) -> Result<Vec<Next>> {
        let vocabulary = scores.vocabulary;
        let beginning = !std::mem::replace(&mut self.begun, true);
        let each = self.width / self.groups.len();
        let (mut said, mut next, mut first) = (Vec::new(), Vec::new(), 0);
        for group in &mut self.groups {
            let rows = group.open();
            if rows == 0 {
                // a group that is done says nothing but padding, which costs the later ones like any token; padding that
                // the model can't say costs nobody
                let padding = self.padding.filter(|&padding| (padding as usize) < vocabulary);
                said.extend(padding.into_iter().flat_map(|padding| std::iter::repeat_n(padding, each)));
                continue;
            }
            let mut logits = scores.logits[first * vocabulary..][..rows * vocabulary].to_vec();
            let own = group.go_on(Scores { logits: &mut logits, hidden: &[], vocabulary }, &said, self.penalty)?;
            said.extend_from_slice(group.said());
            next.extend(own.into_iter().map(|next| Next { parent: first + next.parent, ..next }));
            // the prompt's row is everybody's
            first += if beginning { 0 } else { rows };
        }
        Ok(next)
    }

    fn finish(&mut self) -> Vec<Spoken> {
        let mut all: Vec<Spoken> = self.groups.iter_mut().flat_map(Search::finish).collect();
        all.sort_by(|a, b| b.score.unwrap_or_default().total_cmp(&a.score.unwrap_or_default()));
        all.truncate(self.returned);
        all
    }

    fn width(&self) -> usize {
        self.width
    }
}
