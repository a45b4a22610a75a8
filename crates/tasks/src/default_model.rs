//! The model that is part of the program: all-MiniLM-L6-v2 (Apache-2.0; see `assets/all-MiniLM-L6-v2/SOURCE.md`),
//! its weights in compact storage.

use ptm_text::TokenizerFiles;

/// The name it goes by.
pub(crate) const NAME: &str = "sentence-transformers/all-MiniLM-L6-v2";

macro_rules! asset {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/all-MiniLM-L6-v2/", $file))
    };
}

/// Its weights.
pub(crate) static WEIGHTS: &[u8] = asset!("model.safetensors");
/// Its `config.json`.
pub(crate) static CONFIG: &[u8] = asset!("config.json");
/// Its longest input, from `sentence_bert_config.json`.
pub(crate) static SENTENCE_CONFIG: &[u8] = asset!("sentence_bert_config.json");
/// Its pooling.
pub(crate) static POOLING: &[u8] = asset!("1_Pooling/config.json");

/// Its tokenizer.
pub(crate) fn tokenizer_files() -> TokenizerFiles<'static> {
    TokenizerFiles {
        vocab_txt: Some(asset!("vocab.txt").as_slice().into()),
        config: Some(CONFIG.into()),
        tokenizer_config: Some(asset!("tokenizer_config.json").as_slice().into()),
        special_tokens_map: Some(asset!("special_tokens_map.json").as_slice().into()),
        ..TokenizerFiles::default()
    }
}
