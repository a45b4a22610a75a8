//! Who draws the replacements of replaced-token detection: the masked language model that `--model` names, a generator
//! beside a discriminator first, or how often each token occurs in the text where there is no such model.

use std::path::Path;

use anyhow::Context;
use ptm_models::Family;
use ptm_tasks::Task;
use ptm_train::objectives::batches::LoneGenerator;
use ptm_train::objectives::replaced_token_detection::Detection;

/// What draws, and how it is called.
pub struct Generator {
    model: Option<LoneGenerator>,
    said: String,
}

impl Generator {
    /// The model in `dir` if it foretells masked tokens; `name` is what the caller called it.
    ///
    /// # Errors
    /// When its files are damaged.
    pub fn open(dir: &Path, name: &str) -> anyhow::Result<Self> {
        let own = dir.join(ptm_models::electra::GENERATOR);
        let dir = if own.is_dir() { &own } else { dir };
        if !(has_weights(dir) && Family::of_dir(dir).is_ok() && Task::of_dir(dir)? == Task::FillMask) {
            let why = format!("{name} holds no masked language model to draw them");
            return Ok(Self { model: None, said: format!("{BY_FREQUENCY}: {why}") });
        }
        let model = LoneGenerator::open(dir).with_context(|| dir.display().to_string())?;
        let which = if dir == own { "the generator of " } else { "" };
        Ok(Self { model: Some(model), said: format!("the replacements are drawn by {which}{name}") })
    }

    /// How often each token occurs.
    pub fn by_frequency() -> Self {
        Self {
            model: None,
            said: format!("{BY_FREQUENCY}; --model takes a masked language model that draws as in training"),
        }
    }

    /// What it draws for the hidden places.
    ///
    /// # Errors
    /// When the text doesn't fit the model.
    pub fn drawn(&self, text: &Detection, temperature: f64) -> anyhow::Result<Vec<u32>> {
        let Some(model) = &self.model else { return Ok(text.drawn_by_frequency()) };
        Ok(model.drawn(text, temperature)?)
    }

    /// Who draws, in words.
    pub fn said(&self) -> &str {
        &self.said
    }
}

const BY_FREQUENCY: &str = "the replacements are drawn by how often each token occurs in the text";

fn has_weights(dir: &Path) -> bool {
    let names = ["model.safetensors", "pytorch_model.bin"];
    names.iter().any(|name| dir.join(name).exists() || dir.join(format!("{name}.index.json")).exists())
}
