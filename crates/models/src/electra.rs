//! ELECTRA in pretraining (Clark et al. 2020, §2): a small generator that fills hidden places, and a discriminator that finds
//! out which; they share embeddings. Apart they are models like others: a masked language model, a replaced-token detector.

use std::path::Path;

use burn::prelude::*;

use crate::config::{Configuration, EncoderConfig, Family};
use crate::encoder::{Encoder, Upper};
use crate::error::{Error, Result};
use crate::files::Weights;
use crate::heads::{MaskedLmHead, ReplacedTokenHead};
use crate::model::Model;
use crate::names::Names;

/// The folder of the generator in a discriminator's directory.
pub const GENERATOR: &str = "generator";

/// Generator and discriminator.
#[derive(Module, Debug)]
pub struct Electra {
    /// The discriminator's, with the embeddings of both.
    pub body: Encoder,
    /// The discriminator's.
    pub head: ReplacedTokenHead,
    generator: Generator,
}

/// A generator without embeddings.
#[derive(Module, Debug)]
struct Generator {
    upper: Upper,
    head: MaskedLmHead,
}

impl Electra {
    /// Of two models; the generator's own embeddings are left behind.
    ///
    /// # Errors
    /// When they are not of ELECTRA, their embeddings have different shapes, or the generator's output is not tied to its
    /// embedding.
    pub fn new(discriminator: Model<ReplacedTokenHead>, generator: Model<MaskedLmHead>) -> Result<Self> {
        let config = generator.config();
        if config.family() != Family::Electra || !config.tied() {
            let problem =
                "the generator of replaced-token detection is an ELECTRA whose output is tied to its embedding";
            return Err(Error::Input(problem.into()));
        }
        let generator = Generator { upper: Upper::of(generator.body), head: generator.head };
        generator.upper.over(&discriminator.body)?;
        Ok(Self { body: discriminator.body, head: discriminator.head, generator })
    }

    /// With fresh weights.
    ///
    /// # Errors
    /// As [`Self::new`], and those of the two models.
    pub fn random(discriminator: EncoderConfig, generator: EncoderConfig, seed: u64, device: &Device) -> Result<Self> {
        Self::new(Model::random(discriminator, seed, device)?, Model::random(generator, seed ^ 1, device)?)
    }

    /// The discriminator of a directory with the generator in its folder [`GENERATOR`]; with a seed, heads that files lack
    /// are new.
    ///
    /// # Errors
    /// As [`Self::new`], and when files are missing or damaged.
    pub fn open(dir: &Path, new_heads: Option<u64>, device: &Device) -> Result<Self> {
        let generator = dir.join(GENERATOR);
        let configs = [EncoderConfig::from_dir(dir)?, EncoderConfig::from_dir(&generator)?];
        Self::open_both([dir, &generator], configs, new_heads, device)
    }

    /// The discriminator of one directory and the generator of another, as they are published, with these configurations;
    /// with a seed, heads that files lack are new.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_both(
        [dir, generator]: [&Path; 2],
        [config, of_generator]: [EncoderConfig; 2],
        new_heads: Option<u64>,
        device: &Device,
    ) -> Result<Self> {
        let discriminator = Model::from_weights(config, &Weights::open(dir)?, device, new_heads)?;
        let generator = Model::from_weights(of_generator, &Weights::open(generator)?, device, new_heads)?;
        Self::new(discriminator.model, generator.model)
    }

    /// The generator, by the shared embeddings.
    ///
    /// # Panics
    /// Never: that they fit was seen when both were joined.
    pub fn generator(&self) -> Model<MaskedLmHead> {
        let body = self.generator.upper.over(&self.body).expect("they were joined");
        Model { body, head: self.generator.head.clone() }
    }

    /// The discriminator.
    pub fn discriminator(&self) -> Model<ReplacedTokenHead> {
        Model { body: self.body.clone(), head: self.head.clone() }
    }

    /// How the parameters of both are called together: the discriminator's as in its files, the generator's apart.
    pub fn names(&self) -> Names {
        Names::new(self.body.config().family(), "generator-and-discriminator", true)
    }

    /// Writes two directories that `transformers` opens: the discriminator in `dir`, the generator in its folder
    /// [`GENERATOR`].
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.generator().save(&dir.join(GENERATOR))?;
        self.discriminator().save(dir)
    }
}
