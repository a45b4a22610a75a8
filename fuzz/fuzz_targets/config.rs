//! `config.json` of every kind of body: read, asked what others ask of it, written, and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ptm_models::{BartConfig, Configuration, DecoderConfig, EncoderConfig, T5Config, XlnetConfig};
use serde_json::{Map, Value};

fuzz_target!(|input: &[u8]| {
    // the reader of encoders alone takes bytes
    let _ = EncoderConfig::from_bytes(input);
    let Ok(Value::Object(json)) = serde_json::from_slice(input) else { return };
    check::<EncoderConfig>(&json);
    check::<DecoderConfig>(&json);
    check::<BartConfig>(&json);
    check::<T5Config>(&json);
    check::<XlnetConfig>(&json);
});

fn check<C: Configuration>(json: &Map<String, Value>) {
    let config = match <C as Configuration>::from_json(json.clone()) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let _ = (config.family(), config.positions(), config.output_size(), config.labels().len(), config.parameters());
    let written = Configuration::to_json(&config, "BertForMaskedLM");
    let again = <C as Configuration>::from_json(written.clone()).expect("what is written can be read");
    assert_eq!(written, Configuration::to_json(&again, "BertForMaskedLM"));
    // and so can its text, numbers included
    let text = serde_json::to_vec(&written).expect("JSON");
    let Ok(Value::Object(parsed)) = serde_json::from_slice(&text) else { panic!("what is written is no object") };
    assert!(<C as Configuration>::from_json(parsed).is_ok());
}
