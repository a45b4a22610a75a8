//! `tokenizer.json`: the input, up to a line that is `--`; then a text for it, where there is one.
#![no_main]

#[path = "../use_tokenizer.rs"]
mod use_tokenizer;

use libfuzzer_sys::fuzz_target;
use ptm_text::TokenizerFiles;

fuzz_target!(|input: &[u8]| {
    let (json, text) = use_tokenizer::split(input);
    use_tokenizer::encode(&TokenizerFiles { tokenizer_json: Some(json.into()), ..TokenizerFiles::default() }, text);
});
