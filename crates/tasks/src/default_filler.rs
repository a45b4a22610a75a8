//! The masked language model that is part of the program: the sentence encoder taught to fill masks by
//! `recipes/pretrain/minilm-fill-mask.toml` (Apache-2.0; see `assets/minilm-fill-mask/README.md`), its weights in compact
//! storage. It reads by the tokenizer of [`crate::default_model`].

use crate::default_model::asset;

/// The name it goes by.
pub(crate) const NAME: &str = "minilm-fill-mask";

/// Its weights.
pub(crate) static WEIGHTS: &[u8] = asset!("minilm-fill-mask/model.safetensors");
/// Its `config.json`.
pub(crate) static CONFIG: &[u8] = asset!("minilm-fill-mask/config.json");
