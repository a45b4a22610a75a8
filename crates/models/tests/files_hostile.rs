//! PyTorch files that lie, made by hand: zip archives and pickles that no `torch.save` writes. Each is refused with a
//! message that says what is wrong, or read as PyTorch would.

use ptm_models::files::{Error, Weights};

/// One entry of an archive, and what to lie about it.
#[derive(Clone, Default)]
struct Entry {
    name: String,
    data: Vec<u8>,
    method: u16,
    flags: u16,
    /// Claimed in place of the true one.
    size: Option<u32>,
    packed: Option<u32>,
    local: Option<u32>,
    extra: Vec<u8>,
}

fn entry(name: &str, data: &[u8]) -> Entry {
    Entry { name: name.into(), data: data.into(), ..Entry::default() }
}

fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let local = file.len() as u32;
        let length = entry.data.len() as u32;
        file.extend(b"PK\x03\x04\x14\0");
        file.extend([0; 20]);
        file.extend((entry.name.len() as u16).to_le_bytes());
        file.extend([0; 2]);
        file.extend(entry.name.as_bytes());
        file.extend(&entry.data);
        directory.extend(b"PK\x01\x02\x14\0\x14\0");
        directory.extend(entry.flags.to_le_bytes());
        directory.extend(entry.method.to_le_bytes());
        directory.extend([0; 8]);
        directory.extend(entry.packed.unwrap_or(length).to_le_bytes());
        directory.extend(entry.size.unwrap_or(length).to_le_bytes());
        directory.extend((entry.name.len() as u16).to_le_bytes());
        directory.extend((entry.extra.len() as u16).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(entry.local.unwrap_or(local).to_le_bytes());
        directory.extend(entry.name.as_bytes());
        directory.extend(&entry.extra);
    }
    let (start, count) = (file.len() as u32, (entries.len() as u16).to_le_bytes());
    let length = directory.len() as u32;
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count, count].concat());
    file.extend(length.to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// Whole numbers as a tuple.
fn numbers(values: &[i64]) -> Vec<u8> {
    let mut pickle = b"(".to_vec();
    for value in values {
        pickle.extend(b"\x8a\x08");
        pickle.extend(value.to_le_bytes());
    }
    pickle.push(b't');
    pickle
}

/// `{"w": a view of storage 0}`.
fn pickle(class: &str, elements: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage".to_vec();
    pickle.extend(format!("ctorch\n{class}\nX\u{1}\0\0\0").bytes());
    pickle.extend(b"0X\x03\0\0\0cpu\x8a\x08");
    pickle.extend(elements.to_le_bytes());
    pickle.extend(b"tQ\x8a\x08");
    pickle.extend(offset.to_le_bytes());
    pickle.extend(numbers(shape));
    pickle.extend(numbers(strides));
    pickle.extend(b"\x89}tRs.");
    pickle
}

/// An archive with six numbers, 0 to 5, and the pickle.
fn six(pickle: &[u8]) -> Vec<u8> {
    let data: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    zip(&[entry("archive/data.pkl", pickle), entry("archive/data/0", &data)])
}

fn view(offset: i64, shape: &[i64], strides: &[i64]) -> Result<Vec<f32>, Error> {
    Weights::from_bytes(six(&pickle("FloatStorage", 6, offset, shape, strides)), "x.bin")?.get("w").unwrap().to_f32()
}

fn says(file: Vec<u8>) -> String {
    let error = Weights::from_bytes(file, "x.bin").unwrap_err().to_string();
    assert!(error.starts_with("x.bin: "), "{error}");
    error
}

fn dense() -> Vec<u8> {
    pickle("FloatStorage", 6, 0, &[6], &[1])
}

#[test]
fn views_as_pytorch_has_them() {
    assert_eq!(view(0, &[2, 3], &[3, 1]).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(view(0, &[3, 2], &[1, 3]).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(view(1, &[2], &[2]).unwrap(), [1.0, 3.0]);
    assert_eq!(view(4, &[], &[]).unwrap(), [4.0]);
    // expand(): one number again and again
    assert_eq!(view(5, &[2, 2], &[0, 0]).unwrap(), [5.0; 4]);
    assert_eq!(view(0, &[0, 9], &[9, 1]).unwrap(), [0.0; 0]);
    // the stride of an axis of one means nothing
    assert_eq!(view(0, &[1, 2], &[i64::MAX, 2]).unwrap(), [0.0, 2.0]);
}

#[test]
fn views_that_leave_their_storage() {
    for (offset, shape, strides) in [
        (0, &[7][..], &[1][..]),
        (1, &[6], &[1]),
        (6, &[1], &[1]),
        (-1, &[1], &[1]),
        (i64::MAX, &[1], &[1]),
        (0, &[2, 2], &[5, 1]),
        (0, &[2], &[i64::MAX]),
        (0, &[i64::MAX], &[0]),
        (0, &[i64::MAX, i64::MAX], &[0, 0]),
        (0, &[3, 3], &[i64::MAX, i64::MAX]),
        (0, &[1 << 20, 1 << 20], &[0, 0]),
        (0, &[2], &[-1]),
        (0, &[-2], &[1]),
        (0, &[2, 3], &[1]),
        (0, &[1; 65], &[1; 65]),
    ] {
        let error = view(offset, shape, strides).unwrap_err();
        assert!(matches!(&error, Error::Tensor { name, .. } if name == "w"), "{offset} {shape:?} {strides:?}: {error}");
    }
}

#[test]
fn storages_that_claim_too_much() {
    assert!(says(six(&pickle("FloatStorage", 7, 0, &[6], &[1]))).contains("its storage has 24 bytes, but 7 elements"));
    assert!(says(six(&pickle("DoubleStorage", 6, 0, &[6], &[1]))).contains("6 elements of F64 are claimed"));
    assert!(says(six(&pickle("FloatStorage", i64::MAX, 0, &[6], &[1]))).contains("are claimed"));
    assert!(says(six(&pickle("FloatStorage", -1, 0, &[6], &[1]))).contains("not what PyTorch writes"));
    assert!(says(six(&pickle("QInt8Storage", 6, 0, &[6], &[1]))).contains("wants to run torch.QInt8Storage"));
    assert!(says(zip(&[entry("a/data.pkl", &dense())])).contains("storage data/0 is missing"));
}

#[test]
fn code_in_an_archive_is_refused_by_name() {
    let says = |pickle: &[u8]| says(six(pickle));
    assert!(says(b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.").contains("os.system: refused"));
    assert!(says(b"\x80\x02}X\x01\0\0\0wcbuiltins\nexec\nX\x01\0\0\0x\x85Rs.").contains("builtins.exec"));
}

#[test]
fn dictionaries_of_something_else() {
    assert!(says(six(b"\x80\x02K\x01.")).contains("something else than a dictionary"));
    assert!(says(six(b"\x80\x02}X\x01\0\0\0wK\x01s.")).contains("holds no tensors"));
    // a dictionary in itself
    assert!(says(six(b"\x80\x02}q\x01X\x05\0\0\0modelh\x01s.")).contains("holds no tensors"));
    assert!(says(zip(&[entry("a/version", b"3")])).contains("holds no data.pkl"));
    assert!(says(zip(&[entry("a/xdata.pkl", &dense())])).contains("holds no data.pkl"));
    assert!(says(zip(&[entry("a/byteorder", b"big"), entry("a/data.pkl", &dense())])).contains("big-endian"));
}

#[test]
fn archives_that_lie() {
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut storage = entry("a/data/0", &[0; 24]);
        change(&mut storage);
        says(zip(&[entry("a/data.pkl", &dense()), storage]))
    };
    assert!(with(&|e| e.method = 8).contains("entry a/data/0 is compressed"));
    assert!(with(&|e| e.flags = 1).contains("entry a/data/0 is encrypted"));
    assert!(with(&|e| e.local = Some(u32::MAX - 1)).contains("entry a/data/0 lies outside the file"));
    assert!(with(&|e| e.local = Some(1)).contains("entry a/data/0 lies outside the file"));
    assert!(with(&|e| e.size = Some(25)).contains("entry a/data/0 lies outside the file"));
    assert!(with(&|e| (e.size, e.packed) = (Some(u32::MAX - 1), Some(u32::MAX - 1))).contains("a/data/0 lies outside"));
    // sizes of 64 bits that are promised but not there
    assert!(with(&|e| e.size = Some(u32::MAX)).contains("outside the file"));
    let extra = |value: u64| [&b"\x01\0\x10\0"[..], &value.to_le_bytes(), &value.to_le_bytes()].concat();
    let wide = |value| {
        let extra = extra(value);
        with(&|e| (e.size, e.packed, e.extra) = (Some(u32::MAX), Some(u32::MAX), extra.clone()))
    };
    assert!(wide(u64::MAX).contains("a/data/0 lies outside the file"));
    assert!(wide(1 << 40).contains("a/data/0 lies outside the file"));
    assert!(with(&|e| e.extra = b"\x01\0\xff\xff".to_vec()).contains("outside the file"));
    assert!(with(&|e| e.name = "a/data.pkl".into()).contains("entry a/data.pkl is there twice"));

    let whole = six(&dense());
    let end = whole.len() - 22;
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[end + at..][..bytes.len()].copy_from_slice(bytes);
        says(file)
    };
    assert!(changed(10, &[3, 0]).contains("entry 2 of 3 lies outside the file"));
    assert!(changed(16, &u32::MAX.to_le_bytes()).contains("entry 0 of 2 lies outside the file"));
    assert!(changed(0, b"XX").contains("no directory at its end"));
}

#[test]
fn sizes_of_64_bits() {
    let size = 24_u64.to_le_bytes();
    let extra = [&b"\x01\0\x10\0"[..], &size, &size].concat();
    let storage = Entry { size: Some(u32::MAX), packed: Some(u32::MAX), extra, ..entry("a/data/0", &[0; 24]) };
    let weights = Weights::from_bytes(zip(&[entry("a/data.pkl", &dense()), storage]), "x.bin").unwrap();
    assert_eq!(weights.get("w").unwrap().to_f32().unwrap(), [0.0; 6]);
}

#[test]
fn tensors_without_elements_are_aligned_too() {
    let aligned = |file: Vec<u8>, label: &str| {
        let bytes = Weights::from_bytes(file, label).unwrap().get("w").unwrap().f32_bytes().unwrap();
        bytes.is_empty() && bytes.as_ptr().align_offset(4) == 0
    };
    assert!(aligned(six(&pickle("FloatStorage", 6, 0, &[0, 9], &[9, 1])), "x.bin"));
    // headers of four lengths, so that the data, of which there is none, is at every address
    for spaces in 0..4 {
        let mut header = br#"{"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#.to_vec();
        header.extend(vec![b' '; spaces]);
        let file = [&(header.len() as u64).to_le_bytes()[..], &header[..]].concat();
        assert!(aligned(file, "x.safetensors"), "{spaces} spaces");
    }
}

#[test]
fn views_that_are_cloned_stay_after_the_weights() {
    let weights = Weights::from_bytes(six(&dense()), "x.bin").unwrap();
    let view = weights.get("w").unwrap();
    drop(weights);
    assert_eq!(view.to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}
