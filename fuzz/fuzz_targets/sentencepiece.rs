//! A SentencePiece model: the input, up to a line that is `--`; then a text for it, where there is one.
#![no_main]

#[path = "../use_tokenizer.rs"]
mod use_tokenizer;

use libfuzzer_sys::fuzz_target;
use ptm_text::TokenizerFiles;

fuzz_target!(|input: &[u8]| {
    let (model, text) = use_tokenizer::split(input);
    for class in ["AlbertTokenizer", "XLMRobertaTokenizer", "XLNetTokenizer"] {
        let config = format!(r#"{{"tokenizer_class":"{class}"}}"#).into_bytes();
        use_tokenizer::encode(
            &TokenizerFiles {
                sentencepiece: Some(model.into()),
                sentencepiece_name: Some("spiece.model".into()),
                tokenizer_config: Some(config.into()),
                ..TokenizerFiles::default()
            },
            text,
        );
    }
});
