//! Replaced-token detection: generator and discriminator learn together; the model of the run is the discriminator, with
//! the generator in a folder of its own.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use ptm_models::electra::GENERATOR;
use ptm_models::names::Names;
use ptm_models::{Electra, EncoderConfig, Pass};
use rand_chacha::ChaCha8Rng;

use super::cutting::{Cut, Window};
use super::task::{Answers, Others, Pretraining};
use crate::error::Result;
use crate::objectives::batches::Detections;
use crate::objectives::replaced_token_detection::{Detection, ReplacedTokenDetection};
use crate::objectives::{Text, Vocabulary};

/// ELECTRA's.
pub(crate) struct DetectionTask {
    pub objective: ReplacedTokenDetection,
    pub vocabulary: Vocabulary,
    pub discriminator: EncoderConfig,
    pub generator: EncoderConfig,
    /// The directory of a discriminator to go on with, and that of the generator, which needn't be in its folder.
    pub from: Option<[PathBuf; 2]>,
}

impl Pretraining for DetectionTask {
    type Model = Electra;
    type Example = Detection;
    type Batch = Detections;

    /// The discriminator's is multiplied by its weight, where it is learnt and where it is judged.
    fn parts(&self) -> &'static [&'static str] {
        &["generator", "discriminator"]
    }

    fn shortest(&self) -> usize {
        self.objective.frame() + 2
    }

    fn cut(&self, length: usize) -> Cut {
        let (config, length) = (self.objective.config(), length.saturating_sub(self.objective.frame()).max(2));
        if config.segments { Cut::Sentences { length, across: false } } else { Cut::Within { length, both: false } }
    }

    fn example(&self, window: &Window, _: &Others<'_>, random: &mut ChaCha8Rng) -> Result<Option<Detection>> {
        let (ids, sentences) = window.stretch();
        if ids.iter().all(|&id| self.vocabulary.is_special(id)) {
            return Ok(None);
        }
        self.objective.corrupt(&Text { ids, sentences: &sentences }, random).map(Some)
    }

    fn batch(&self, examples: Vec<Detection>) -> Result<Detections> {
        Detections::new(examples, self.objective.config().temperature, self.discriminator.positions())
    }

    fn tokens(&self, batch: &Detections) -> usize {
        batch.tokens()
    }

    fn weights(&self, batch: &Detections) -> Vec<f64> {
        vec![batch.targets().len() as f64, batch.tokens() as f64]
    }

    fn targets<'a>(&self, batch: &'a Detections) -> &'a [u32] {
        batch.targets()
    }

    fn losses(&self, model: &Electra, batch: &Detections, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>> {
        let weight = self.objective.config().weight as f32;
        Ok(batch.losses(model, [scales[0], scales[1] * weight], pass)?.into())
    }

    fn answers(&self, model: &Electra, batch: &Detections) -> Result<Answers> {
        let [(generated, said), (detected, judged)] = batch.answers(model)?;
        let detected = detected * self.objective.config().weight;
        Ok(Answers { losses: vec![generated, detected], right: vec![said, judged] })
    }

    fn random(&self, seed: u64) -> Result<Electra> {
        let device = Device::flex().autodiff();
        Ok(Electra::random(self.discriminator.clone(), self.generator.clone(), seed, &device)?)
    }

    fn open(&self, dir: &Path, new_head: Option<u64>) -> Result<Electra> {
        let device = Device::flex().autodiff();
        // checkpoints have the generator in its folder
        let published = self.from.as_ref().filter(|[own, _]| own == dir);
        let generator = published.map_or_else(|| dir.join(GENERATOR), |[_, generator]| generator.clone());
        let configs = [self.discriminator.clone(), self.generator.clone()];
        Ok(Electra::open_both([dir, &generator], configs, new_head, &device)?)
    }

    fn names(&self, model: &Electra) -> Names {
        model.names()
    }

    fn save(&self, model: &Electra, dir: &Path) -> Result<()> {
        Ok(model.save(dir)?)
    }
}
