//! Safetensors, ptm's compact storage with them: the first bytes of the input are the header, the rest the data.
#![no_main]

#[path = "../use_all.rs"]
mod use_all;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // a file as it is, and the same bytes with a length before them that is right for a header up to a zero byte
    use_all::read(input.to_vec(), "fuzz.safetensors");
    let header = input.iter().position(|&byte| byte == 0).unwrap_or(input.len());
    use_all::read([&(header as u64).to_le_bytes()[..], input].concat(), "fuzz.safetensors");
});
