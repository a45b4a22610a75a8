//! Files of weights with random damage: reading them gives weights or an error, never a panic, and every tensor that is
//! given can be used. Longer searches: `fuzz/`.

use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::Index;
use ptm_models::files::{Weights, Writer, compact};

/// A change somewhere in a file.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Bit(Index, u8),
    Number(Index, u64),
    Cut(Index),
    Remove(Index, u8),
    Insert(Index, Vec<u8>),
    Copy(Index, Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let extreme = prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 7),
        Just(1 << 63),
        Just(1 << 32),
        Just(u64::from(u32::MAX)),
        any::<u64>()
    ];
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, to)| Damage::Byte(at, to)),
        4 => (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        2 => (at(), extreme).prop_map(|(at, to)| Damage::Number(at, to)),
        1 => at().prop_map(Damage::Cut),
        2 => (at(), any::<u8>()).prop_map(|(at, length)| Damage::Remove(at, length)),
        2 => (at(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, what)| Damage::Insert(at, what)),
        2 => (at(), at(), any::<u8>()).prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
    ]
}

/// Damages the file. `near` bytes at both ends are hit most: that is where headers and pickles are.
fn apply(file: &mut Vec<u8>, damage: &Damage, near: usize) {
    let length = file.len();
    if length == 0 {
        return;
    }
    let place = |at: &Index| {
        let at = at.index(2 * near + length / 8);
        if at < near { at % length } else { length - 1 - (at - near) % length }
    };
    match damage {
        Damage::Byte(at, to) => file[place(at)] = *to,
        Damage::Bit(at, bit) => file[place(at)] ^= 1 << bit,
        Damage::Number(at, to) => {
            let at = place(at);
            for (byte, to) in file[at..].iter_mut().zip(to.to_le_bytes()) {
                *byte = to;
            }
        }
        Damage::Cut(at) => file.truncate(place(at)),
        Damage::Remove(at, count) => {
            let at = place(at);
            file.drain(at..length.min(at + usize::from(*count)));
        }
        Damage::Insert(at, what) => {
            let at = place(at);
            file.splice(at..at, what.iter().copied());
        }
        Damage::Copy(from, to, count) => {
            let (from, to) = (place(from), place(to));
            let part = file[from..length.min(from + usize::from(*count))].to_vec();
            for (byte, value) in file[to..].iter_mut().zip(part) {
                *byte = value;
            }
        }
    }
}

/// Uses all that a file gives.
fn read(file: Vec<u8>, label: &str) {
    let Ok(weights) = Weights::from_bytes(file, label) else { return };
    for name in weights.names() {
        let view = weights.get(name).unwrap();
        assert_eq!(view.bytes().len() * 8, view.elements() * view.dtype.bitsize(), "{name}");
        if let Ok(bytes) = view.f32_bytes() {
            assert_eq!((bytes.len(), bytes.as_ptr().align_offset(4)), (view.elements() * 4, 0), "{name}");
        }
        if let Ok(values) = view.to_i64() {
            assert_eq!(values.len(), view.elements(), "{name}");
        }
    }
}

fn formats() -> &'static [(&'static str, Vec<u8>)] {
    static FILES: OnceLock<Vec<(&'static str, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/formats");
        let names = [
            "f16/model.safetensors",
            "as-2019/pytorch_model.bin",
            "bin-zip/pytorch_model.bin",
            "bin-views/pytorch_model.bin",
            "bin-parameters/pytorch_model.bin",
        ];
        let mut files: Vec<_> = names.iter().map(|name| (*name, std::fs::read(dir.join(name)).unwrap())).collect();
        files.push(("compact.safetensors", compact_file()));
        files
    })
}

fn compact_file() -> Vec<u8> {
    let values: Vec<f32> = (0..40).map(|i| (i as f32).sin()).collect();
    let encoded = compact::encode(&values, 10, 4).unwrap();
    let mut writer = Writer::new();
    writer.metadata(compact::KEY, &compact::scheme(4));
    writer.raw("w", ptm_models::files::Dtype::I8, &[4, 10], encoded.codes);
    writer.raw("w.scale", encoded.scale_dtype, &[4, 3], encoded.scales);
    writer.f32("b", &[40], &values);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("compact.safetensors");
    writer.write(&path).unwrap();
    std::fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(which in any::<Index>(), damages in prop::collection::vec(damage(), 1..5)) {
        let files = formats();
        let (label, file) = &files[which.index(files.len())];
        let mut file = file.clone();
        for damage in &damages {
            apply(&mut file, damage, 6000);
        }
        read(file, label);
    }

    #[test]
    fn noise_never_panics(
        start in prop::sample::select(vec![&b""[..], b"PK\x03\x04", b"\x80\x02", b"\x20\0\0\0\0\0\0\0{\"", b"\x80\x04("]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        read([start, &rest[..]].concat(), "noise.bin");
    }

    /// Instructions that a pickle is made of, in any order.
    #[test]
    fn pickles_of_any_instructions(
        parts in prop::collection::vec(prop::sample::select(vec![
            &b"("[..], b")", b"]", b"}", b"N", b"K\x02", b"\x85", b"\x86", b"\x87", b"t", b"l", b"d", b"0", b"1", b"2", b"s",
            b"u", b"a", b"e", b"q\0", b"h\0", b"q\x01", b"h\x01", b"\x94", b"R", b"b", b"Q", b"X\x01\0\0\0w",
            b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"ctorch\nFloatStorage\n",
            b"X\x07\0\0\0storage", b"\x8a\x01\xff", b"J\xff\xff\xff\x7f", b"X\x0a\0\0\0state_dict",
        ]), 0..60),
    ) {
        read([b"\x80\x02".to_vec(), parts.concat(), b".".to_vec()].concat(), "x.bin");
    }
}

#[test]
fn undamaged_they_are_read() {
    for (label, file) in formats() {
        let weights = Weights::from_bytes(file.clone(), label).unwrap();
        assert!(weights.len() > 1, "{label}");
        read(file.clone(), label);
    }
}
