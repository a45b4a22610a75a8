//! Checkpoints of every age and format, opened as models: their outputs are those of
//! `parity/formats/reference.safetensors`.

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::{Bare, Head, LanguageModelHead, MaskedLmHead, NextSentenceHead, Pooler};
use ptm_models::{Bart, Decoder, Model, T5, Xlnet};

use crate::reference::{Batch, Case, Reference, Tested, difference};
use crate::{bits, parity};

/// Opens `case`; gives the largest difference of its outputs to the reference, and what it left unread.
fn open<H: Case>(case: &str) -> (f32, Vec<String>) {
    let formats = parity().join("formats");
    let reference = Reference::read(&formats);
    let loaded = Model::<H>::open(&formats.join(case), &Device::flex()).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert!(loaded.new.is_empty(), "{case}: new {:?}", loaded.new);
    let batch = Batch::new(&reference, &loaded.model.body);
    let worst = difference(case, &loaded.model, &batch, &reference);
    (worst, loaded.unused)
}

/// f32 sums in another order: 3.6e-7 at most was measured.
const EXACT: f32 = 2e-6;
/// Every format that holds the reference's weights as they are.
const MASKED: [&str; 8] = [
    "as-2019",
    "gamma-beta",
    "position-ids",
    "bin-zip",
    "bin-views",
    "bin-parameters",
    "bin-sharded",
    "safetensors-sharded",
];

#[test]
fn masked_language_models() {
    for case in MASKED {
        let (worst, unused) = open::<MaskedLmHead>(case);
        assert!(worst <= EXACT, "{case}: logits differ by {worst}");
        // buffers and copies of tied weights are no news; a pooler and a next-sentence head that nobody asked for are
        let left = [
            "bert.pooler.dense.bias",
            "bert.pooler.dense.weight",
            "cls.seq_relationship.bias",
            "cls.seq_relationship.weight",
        ];
        let whole = ["as-2019", "gamma-beta", "position-ids", "bin-zip"].contains(&case);
        assert_eq!(unused, if whole { &left[..] } else { &[] }, "{case}");
    }
}

#[test]
fn bodies() {
    for case in ["no-prefix", "as-2019", "gamma-beta", "position-ids", "bin-zip"] {
        let (worst, unused) = open::<Pooler>(case);
        assert!(worst <= EXACT, "{case}: hidden states differ by {worst}");
        assert!(unused.iter().all(|name| name.starts_with("cls.")), "{case}: {unused:?}");
    }
    for case in ["no-prefix", "bin-views", "safetensors-sharded"] {
        let (worst, _) = open::<Bare>(case);
        assert!(worst <= EXACT, "{case}: hidden states differ by {worst}");
    }
}

/// Measured, with the weights rounded and the arithmetic in f32: logits 7e-4 and hidden states 2e-3 for f16, 1.0e-2
/// and 1.5e-2 for bf16. Twice that is allowed; less than the least would say that other weights were read.
#[test]
fn half_precisions() {
    for (case, logits, hidden) in [("f16", 1.5e-3, 4e-3), ("bf16", 2e-2, 3e-2), ("bin-bf16", 2e-2, f32::NAN)] {
        let (worst, _) = open::<MaskedLmHead>(case);
        assert!((1e-4..=logits).contains(&worst), "{case}: logits differ by {worst}");
        if hidden.is_finite() {
            let (worst, _) = open::<Pooler>(case);
            assert!((1e-4..=hidden).contains(&worst), "{case}: hidden states differ by {worst}");
        }
    }
}

/// A head of the file that the masked language model leaves alone, and a file that has no such head.
#[test]
fn next_sentence() {
    let formats = parity().join("formats");
    for case in ["as-2019", "gamma-beta", "position-ids", "bin-zip"] {
        let loaded = Model::<NextSentenceHead>::open(&formats.join(case), &Device::flex()).unwrap();
        assert!(loaded.unused.iter().all(|name| name.starts_with("cls.predictions.")), "{case}: {:?}", loaded.unused);
    }
    let error = Model::<NextSentenceHead>::open(&formats.join("no-prefix"), &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("2 tensors are missing: cls.seq_relationship.weight, cls.seq_relationship.bias"), "{error}");
}

/// The language models of `family`: every directory gives the reference's logits, or its own, leaves nothing unread, and
/// holds the same bits; `count` directories are there.
fn language_models<B: Tested>(family: &str, count: usize)
where
    LanguageModelHead: Head<B>,
{
    let root = parity().join("formats").join(family);
    let open = |dir: &Path| {
        let loaded = Model::<LanguageModelHead, B>::open(dir, &Device::flex());
        let loaded = loaded.unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        assert!(loaded.new.is_empty() && loaded.unused.is_empty(), "{}: {:?}", dir.display(), loaded.unused);
        loaded.model
    };
    let weights = |model: &Model<LanguageModelHead, B>| {
        let mut bits = bits(model);
        // files may lack it, and have a reference of their own then
        bits.retain(|name, _| !name.starts_with("final_logits_bias"));
        bits
    };
    let expected = weights(&open(&root.join("safetensors-sharded")));
    let entries = std::fs::read_dir(&root).expect("a family").map(|entry| entry.expect("a readable folder").path());
    let dirs: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    assert_eq!(dirs.len(), count, "{family}: {dirs:?}");
    for dir in dirs {
        let own = dir.join("reference.safetensors").exists();
        let reference = Reference::read(if own { &dir } else { &root });
        let (name, model) = (dir.display().to_string(), open(&dir));
        let worst = difference(&name, &model, &Batch::new(&reference, &model.body), &reference);
        // mT5's reach 10
        let size = reference.get("out.logits").expect("logits").iter().fold(1.0, |size, x| f32::max(size, x.abs()));
        assert!(worst <= EXACT * size, "{name}: logits differ by {worst}");
        assert_eq!(weights(&model), expected, "{name}");
    }
}

#[test]
fn decoders() {
    language_models::<Decoder>("gpt", 6);
    language_models::<Decoder>("gpt2", 7);
    language_models::<Xlnet>("xlnet", 5);
}

#[test]
fn encoder_decoders() {
    language_models::<Bart>("bart", 7);
    language_models::<Bart>("mbart", 7);
    language_models::<Bart>("marian", 6);
    language_models::<T5>("t5", 5);
    language_models::<T5>("mt5", 5);
}
