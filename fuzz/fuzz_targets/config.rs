//! `config.json`: read, checked, and written again as something that can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ptm_models::EncoderConfig;

fuzz_target!(|input: &[u8]| {
    let Ok(config) = EncoderConfig::from_bytes(input) else { return };
    let _ = (config.positions(), config.max_length(), config.head_size());
    let written = config.to_json("BertForMaskedLM");
    assert!(EncoderConfig::from_json(written).is_ok());
});
