//! Pretraining as `ptm pretrain` does it: its loop, its reading and corrupting ahead. The clock is the loop's own: what a
//! hundred thousand tokens take, with all that the steps wait for, without judging and saving.

use std::path::PathBuf;

use anyhow::{Context, Result};
use ptm_train::objective::Judgement;
use ptm_train::pretrain::{Recipe, Sources, pretrain};
use ptm_train::training::{Progress, Watch};

use crate::{Work, protocol};

/// A recipe with where its tokenizer lies.
pub struct Pretrain {
    recipe: Recipe,
    sources: Sources,
    seconds: Option<f64>,
}

impl Pretrain {
    pub fn new(job: &protocol::Pretrain) -> Result<Self> {
        let place = job.recipe.display().to_string();
        let text = std::fs::read_to_string(&job.recipe).with_context(|| format!("cannot read {place}"))?;
        let recipe = Recipe::parse(&text, &place, &job.set)?;
        let tokenizer = recipe.model.tokenizer.clone().map(PathBuf::from);
        Ok(Self { recipe, sources: Sources { tokenizer, ..Sources::default() }, seconds: None })
    }
}

impl Work for Pretrain {
    fn run(&mut self) -> Result<Vec<f32>> {
        let done = pretrain(&self.recipe, &self.sources, true, &mut Silent);
        // what is left over only takes room
        let _ = std::fs::remove_dir_all(&self.recipe.output);
        let done = done?;
        self.seconds = Some(1e5 * done.seconds / done.state.tokens as f64);
        Ok(Vec::new())
    }

    fn seconds(&self) -> Option<f64> {
        self.seconds
    }
}

struct Silent;

impl Watch for Silent {
    fn stop(&self) -> bool {
        false
    }

    fn note(&mut self, _: &str) {}

    fn step(&mut self, _: &Progress) {}

    fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
}
