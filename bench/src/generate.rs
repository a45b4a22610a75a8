//! Text generation: token ids to as many new ones, greedily or with beams, to a length and not before.

use std::path::PathBuf;

use anyhow::Result;
use ptm_tasks::generation::{Engine, Generate as How, Settings};
use rayon::prelude::*;

use crate::{Work, protocol};

/// A model and what it is to continue.
pub struct Generate {
    engine: Engine,
    sequences: Vec<Vec<u32>>,
    settings: Settings,
}

impl Generate {
    /// Opens the model.
    ///
    /// # Errors
    /// When the directory doesn't hold a language model.
    pub fn new(job: &protocol::Generate) -> Result<Self> {
        let settings = Settings {
            max_new_tokens: Some(job.new),
            min_new_tokens: Some(job.new),
            num_beams: job.beams,
            eos_token_id: Some(ptm_tasks::generation::settings::Tokens::One(job.end)),
            decoder_start_token_id: Some(job.start),
            ..Settings::default()
        };
        let dir: &PathBuf = &job.model;
        Ok(Self { engine: Engine::open(dir, None)?, sequences: job.sequences.clone(), settings })
    }
}

impl Work for Generate {
    /// The tokens of the first and the last sequence.
    fn run(&mut self) -> Result<Vec<f32>> {
        let inputs: Vec<&[u32]> = self.sequences.iter().map(Vec::as_slice).collect();
        let how = How { rows: Some(1 << 20), ..How::default() };
        let all = self.engine.generate_all(&inputs, &self.settings, &how)?;
        let ends = [all.first(), all.last()];
        Ok(ends.into_iter().flatten().flat_map(|spoken| spoken[0].tokens.iter().map(|&id| id as f32)).collect())
    }
}

/// Reading so many bytes from memory with all cores: what a step of one sequence can't beat.
pub struct Read {
    numbers: Vec<f32>,
}

impl Read {
    /// Fills the memory.
    pub fn new(job: &protocol::Read) -> Self {
        let count = job.bytes / 4;
        Self { numbers: (0..count).into_par_iter().map(|i| (i % 7) as f32).collect() }
    }
}

impl Work for Read {
    fn run(&mut self) -> Result<Vec<f32>> {
        let sum = |part: &[f32]| {
            let mut sums = [0.0_f32; 64];
            for chunk in part.chunks_exact(64) {
                sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x);
            }
            sums.iter().sum::<f32>()
        };
        let total: f32 = self.numbers.par_chunks(1 << 18).map(sum).sum();
        std::hint::black_box(total);
        Ok(Vec::new())
    }
}
