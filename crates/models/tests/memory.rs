//! XLNet's memory over three segments: against `transformers` (`parity/memory.py`), where it is shorter than a segment,
//! joins two, or keeps the beginning of each; and texts whose memories differ in length, against each by itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::prelude::*;
use ptm_models::heads::Bare;
use ptm_models::xlnet::Memory;
use ptm_models::{Model, Pass, Permuted, Rows, Visible, Xlnet};
use ptm_ops::{Indices, read_f32};
use ptm_text::{Packed, PositionStyle};
use safetensors::{Dtype, SafeTensors};

const FITS: &str = "the batch fits the model";

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/memory");
    let entries = std::fs::read_dir(dir).expect("parity/memory.py made it");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    cases.sort();
    let names: Vec<_> = cases.iter().map(|case| case.file_name().expect("a name").to_string_lossy()).collect();
    assert_eq!(names, ["cut", "joined", "reused", "uni", "uni-samelength"]);
    cases
}

fn open(case: &Path) -> Model<Bare, Xlnet> {
    Model::open(case, &Device::flex()).expect("a model").model
}

/// Tensors by name, with their shapes.
fn reference(case: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(case.join("reference.safetensors")).expect("a case has a reference");
    let file = SafeTensors::deserialize(&bytes).expect("a valid reference");
    let numbers = |dtype: Dtype, data: &[u8]| -> Vec<f32> {
        match dtype {
            Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
            other => panic!("{other:?} in a reference"),
        }
    };
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, t)| (name, (t.shape().to_vec(), numbers(t.dtype(), t.data())))).collect()
}

fn near(at: &str, ours: &[f32], theirs: &[f32], most: f32) {
    assert_eq!(ours.len(), theirs.len(), "{at}");
    assert!(ours.iter().all(|x| x.is_finite()), "{at}");
    let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= most, "{at}: {worst}");
}

#[test]
fn three_segments_as_transformers_remembers_them() {
    for case in cases() {
        let (model, reference) = (open(&case), reference(&case));
        let mut memory: Option<Memory> = None;
        for segment in 0..3 {
            let at = format!("{}: segment {segment}", case.display());
            let (shape, ids) = &reference[&format!("in.{segment}.ids")];
            let whole = |values: &[f32]| values.iter().map(|&x| x as u32).collect::<Vec<u32>>();
            let types = whole(&reference[&format!("in.{segment}.types")].1);
            let offsets = (0..=shape[0]).map(|b| b * shape[1]).collect();
            let batch = Packed::new(whole(ids), types, offsets, PositionStyle::Zero).expect("a batch");
            let input = Permuted { memory: memory.as_ref(), ..(&batch).into() };
            let read = model.body.forward_and_remember(&input, &Rows::All, &Pass::eval());
            let (hidden, remembered) = read.expect(FITS);
            near(&at, &read_f32(hidden), &reference[&format!("out.{segment}.hidden")].1, 1e-4);
            for (layer, ours) in remembered.layers().iter().enumerate() {
                let (shape, theirs) = &reference[&format!("out.{segment}.mems.{layer}")];
                assert_eq!(remembered.lengths(), vec![shape[1]; shape[0]], "{at}");
                near(&format!("{at}, memory {layer}"), &read_f32(ours.clone()), theirs, 1e-4);
            }
            assert_eq!(remembered.layers().len(), model.config().layers, "{at}");
            memory = Some(remembered);
        }
    }
}

/// Lengths of the segments of three texts, which remember more and less than the memory holds.
const LENGTHS: [[usize; 3]; 3] = [[5, 2, 7], [1, 6, 12], [16, 1, 4]];

/// The segment's ids of the texts that `which` names, and the rows that are predicted: the third token of each that has
/// three, which nobody sees but itself.
fn segment(number: usize, which: &[usize], predicts: bool) -> (Packed, Visible, Option<Indices>) {
    let ids: Vec<Vec<u32>> = which
        .iter()
        .map(|&text| (0..LENGTHS[text][number]).map(|i| (5 + (7 * i + 11 * text + 3 * number) % 50) as u32).collect())
        .collect();
    let batch = Packed::from_ids(&ids, PositionStyle::Zero).expect("no empty segment");
    if !predicts {
        return (batch, Visible::All, None);
    }
    let pairs: Arc<[bool]> = ids.iter().map(Vec::len).flat_map(|n| (0..n * n).map(move |pair| pair % n != 2)).collect();
    let targets = batch.offsets.windows(2).map(|w| w[0] + 2.min(w[1] - w[0] - 1)).map(|row| row as u32).collect();
    (batch, Visible::Pairs(pairs), Some(targets))
}

#[test]
fn memories_of_unequal_lengths_are_those_of_each_text_by_itself() {
    for case in cases() {
        let model = open(&case);
        for predicts in [false, true] {
            // of each segment the hidden states and all memories
            let run = |which: &[usize]| {
                let mut memory: Option<Memory> = None;
                let segments = (0..3).map(|number| {
                    let (batch, visible, targets) = segment(number, which, predicts);
                    let input = Permuted { visible, targets, memory: memory.as_ref(), ..(&batch).into() };
                    let read = model.body.forward_and_remember(&input, &Rows::All, &Pass::eval());
                    let (hidden, remembered) = read.expect(FITS);
                    memory = Some(remembered.clone());
                    (read_f32(hidden), remembered)
                });
                segments.collect::<Vec<_>>()
            };
            let together = run(&[0, 1, 2]);
            let alone: Vec<_> = (0..3).map(|text| run(&[text])).collect();
            let mut ragged = false;
            for (number, (hidden, memory)) in together.iter().enumerate() {
                let at = format!("{}: segment {number}, predicts {predicts}", case.display());
                let each = alone.iter().flat_map(|alone| alone[number].0.iter().copied());
                near(&at, hidden, &each.collect::<Vec<_>>(), 1e-5);
                let lengths: Vec<usize> = alone.iter().flat_map(|alone| alone[number].1.lengths()).collect();
                assert_eq!(memory.lengths(), lengths, "{at}");
                ragged |= lengths.iter().any(|&length| length != lengths[0]);
                for (layer, ours) in memory.layers().iter().enumerate() {
                    let each = alone.iter().flat_map(|alone| read_f32(alone[number].1.layers()[layer].clone()));
                    near(&at, &read_f32(ours.clone()), &each.collect::<Vec<_>>(), 1e-5);
                }
            }
            assert!(ragged, "{}: all memories are of one length", case.display());
        }
    }
}
