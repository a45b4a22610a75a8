//! One model of a configuration: new, read, written. Every family's task has one.

use std::marker::PhantomData;
use std::path::Path;

use burn::prelude::*;
use ptm_models::files::Weights;
use ptm_models::heads::Head;
use ptm_models::{Body, Model};

use crate::error::Result;

/// How a model with a head `H` on a body `B` comes to be.
pub(crate) struct Made<H, B: Body> {
    /// What describes it.
    pub config: B::Config,
    head: PhantomData<fn() -> H>,
}

impl<H: Head<B>, B: Body> Made<H, B> {
    pub fn new(config: B::Config) -> Self {
        Self { config, head: PhantomData }
    }

    /// With fresh weights.
    pub fn random(&self, seed: u64) -> Result<Model<H, B>> {
        Ok(Model::random(self.config.clone(), seed, &Device::flex().autodiff())?)
    }

    /// With the weights of a directory; a head that they lack is drawn with the seed where one is given.
    pub fn open(&self, dir: &Path, new_head: Option<u64>) -> Result<Model<H, B>> {
        let weights = Weights::open(dir)?;
        Ok(Model::from_weights(self.config.clone(), &weights, &Device::flex().autodiff(), new_head)?.model)
    }
}
