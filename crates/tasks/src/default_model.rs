//! The model that is part of the program: all-MiniLM-L6-v2 (Apache-2.0; see `assets/all-MiniLM-L6-v2/SOURCE.md`),
//! its weights in compact storage.

use ptm_text::TokenizerFiles;

/// The name it goes by.
pub(crate) const NAME: &str = "sentence-transformers/all-MiniLM-L6-v2";

/// A file of a built-in model, by its place among the assets.
macro_rules! asset {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/", $file))
    };
}
pub(crate) use asset;

/// Its weights.
pub(crate) static WEIGHTS: &[u8] = asset!("all-MiniLM-L6-v2/model.safetensors");
/// Its `config.json`.
pub(crate) static CONFIG: &[u8] = asset!("all-MiniLM-L6-v2/config.json");
/// Its longest input, from `sentence_bert_config.json`.
pub(crate) static SENTENCE_CONFIG: &[u8] = asset!("all-MiniLM-L6-v2/sentence_bert_config.json");
/// Its pooling.
pub(crate) static POOLING: &[u8] = asset!("all-MiniLM-L6-v2/1_Pooling/config.json");

/// Its tokenizer.
pub(crate) fn tokenizer_files() -> TokenizerFiles<'static> {
    TokenizerFiles {
        vocab_txt: Some(asset!("all-MiniLM-L6-v2/vocab.txt").as_slice().into()),
        config: Some(CONFIG.into()),
        tokenizer_config: Some(asset!("all-MiniLM-L6-v2/tokenizer_config.json").as_slice().into()),
        special_tokens_map: Some(asset!("all-MiniLM-L6-v2/special_tokens_map.json").as_slice().into()),
        ..TokenizerFiles::default()
    }
}
