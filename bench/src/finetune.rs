//! Fine-tuning as `ptm finetune` does it: its loop, its reading and tokenising ahead, its batches grouped by length. The
//! clock is the loop's own: the steps with all that they wait for, without the checkpoint at the end.

use std::path::PathBuf;

use anyhow::{Context, Result};
use ptm_train::finetune::finetune;
use ptm_train::objective::Judgement;
use ptm_train::recipe::Recipe;
use ptm_train::training::{Progress, Watch};
use serde_json::json;

use crate::{Work, protocol};

/// A recipe.
pub struct Finetune {
    recipe: Recipe,
    model: PathBuf,
    examples: usize,
    seconds: Option<f64>,
}

impl Finetune {
    pub fn new(job: &protocol::Finetune) -> Result<Self> {
        let rows = std::fs::read_to_string(&job.file).with_context(|| format!("cannot read {}", job.file.display()))?;
        // JSON's texts are TOML's
        let text = format!(
            "task = 'classification'\nmodel = {}\noutput = {}\n[data]\ntrain = {}\n[run]\nepochs = 1\n\
             [optimizer]\nname = 'adamw'\nlr = {:e}\nweight_decay = {:e}\n[batch]\nsize = {}\n\
             [schedule]\nname = 'linear'\nwarmup = 0.1\n[checkpoint]\nevery = 1000000\n[log]\ntensorboard = false\nhtml = false\n",
            json!(job.model),
            json!(job.output),
            json!(job.file),
            job.lr,
            job.weight_decay,
            job.size,
        );
        let recipe = Recipe::parse(&text, "the bench's recipe", &[])?;
        Ok(Self { recipe, model: job.model.clone(), examples: rows.lines().count(), seconds: None })
    }
}

impl Work for Finetune {
    fn run(&mut self) -> Result<Vec<f32>> {
        let done = finetune(&self.recipe, &self.model, true, &mut Nobody);
        // what is left over only takes room
        let _ = std::fs::remove_dir_all(&self.recipe.output);
        self.seconds = Some(done?.seconds);
        Ok(vec![self.examples as f32])
    }

    fn seconds(&self) -> Option<f64> {
        self.seconds
    }
}

/// Nobody looks on.
struct Nobody;

impl Watch for Nobody {
    fn stop(&self) -> bool {
        false
    }

    fn note(&mut self, _: &str) {}

    fn step(&mut self, _: &Progress) {}

    fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
}
