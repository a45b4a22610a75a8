//! Adaptation to a domain and a task (Don't Stop Pretraining, Gururangan et al. 2020): a model goes on with its own
//! pretraining objective on text of a domain (DAPT), on the task's own text (TAPT), on that with its nearest neighbours
//! of the domain (kNN-TAPT), or on one after another; each then learns the task, with several seeds, and a table says what
//! it gained. Pretraining and fine-tuning are those of their own recipes.

mod found;
mod kept;
mod neighbours;
mod pooler;
mod recipe;
mod steps;
mod table;
mod task_text;
mod variant;

use std::path::PathBuf;

pub use found::{Spot, Summary};
pub use recipe::{Domain, Ends, Neighbours, Place, Recipe, Unit};
pub use table::{Estimate, Line, Pretrained, Sampled, Table, Tested};
pub use variant::{Stage, Variant};

use crate::error::Result;
use crate::recipe as finetuning;
use crate::training::Watch;

/// Where what a recipe names was found.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The directory of the model.
    pub model: PathBuf,
    /// The directory of the embedding model; none for the built-in one.
    pub embedder: Option<PathBuf>,
    /// How the task is learnt, with the files of its data.
    pub finetune: finetuning::Recipe,
    /// The files to judge by.
    pub test: Vec<PathBuf>,
}

/// Who looks on, at runs and at what is between them.
pub trait Audience: Watch {
    /// So many of so many of these are done.
    fn counted(&mut self, what: &'static str, done: u64, total: u64);
}

/// Runs `recipe`, or goes on with it where it was stopped; `afresh` throws away what an earlier run left. Writes
/// `table.md`, `table.html` and `table.json` into the output folder.
///
/// # Errors
/// When recipe, data and model don't fit each other, an earlier comparison in the same output was another one, and those
/// of packing, searching, training and judging; [`crate::Error::Stopped`] when `audience` asks for it.
pub fn adapt(recipe: &Recipe, sources: &Sources, afresh: bool, audience: &mut dyn Audience) -> Result<Table> {
    steps::Steps::begin(recipe, sources, afresh, audience)?.run()
}
