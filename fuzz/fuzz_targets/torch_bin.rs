//! Whole files of `torch.save`: zip archives and the format before them.
#![no_main]

#[path = "../use_all.rs"]
mod use_all;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| use_all::read(input.to_vec(), "fuzz.bin"));
