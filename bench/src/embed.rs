//! A file of sentences to normalized vectors, tokenizing included.

use anyhow::{Context, Result};
use ptm_tasks::{EmbedOptions, Embedder};

use crate::{Work, protocol};

/// A sentence model and its sentences.
pub struct Embed {
    model: Embedder,
    lines: Vec<String>,
}

impl Embed {
    pub fn new(job: &protocol::Embed) -> Result<Self> {
        let text = std::fs::read_to_string(&job.file).with_context(|| format!("cannot read {}", job.file.display()))?;
        Ok(Self { model: Embedder::open(&job.model)?, lines: text.lines().map(str::to_owned).collect() })
    }
}

impl Work for Embed {
    fn run(&mut self) -> Result<Vec<f32>> {
        let texts: Vec<&str> = self.lines.iter().map(String::as_str).collect();
        let options = EmbedOptions { normalize: Some(true), ..EmbedOptions::default() };
        let vectors = self.model.embed(&texts, &options, &mut |_| {})?;
        let ends = vectors.first().zip(vectors.last()).context("the file of sentences is empty")?;
        Ok([ends.0, ends.1].iter().flat_map(|v| v[..2].to_vec()).collect())
    }
}
