//! The pickle of a `.bin` file: the input, in an archive with one storage of 64 bytes. Damage to the archive around it
//! is `torch_bin.rs`.
#![no_main]

#[path = "../use_all.rs"]
mod use_all;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| use_all::read(archive(&[("a/data.pkl", input), ("a/data/0", &[7; 64])]), "fuzz.bin"));

/// A zip archive of stored entries.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let (local, length, name_length) = (file.len() as u32, data.len() as u32, name.len() as u16);
        file.extend(b"PK\x03\x04");
        file.extend([0; 22]);
        file.extend(name_length.to_le_bytes());
        file.extend([0; 2]);
        file.extend(name.as_bytes());
        file.extend(*data);
        directory.extend(b"PK\x01\x02");
        directory.extend([0; 16]);
        directory.extend(length.to_le_bytes());
        directory.extend(length.to_le_bytes());
        directory.extend(name_length.to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(local.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, length, count) = (file.len() as u32, directory.len() as u32, entries.len() as u16);
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count.to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}
