//! Parquet files as pyarrow and the datasets library write them (`parity/data/make_parquet.py`), whole and damaged.
#![cfg(feature = "parquet")]

use std::path::PathBuf;

use proptest::prelude::*;
use ptm_text::dataset::{Classified, Dataset, Error, Example, Options, Order, Question, Tagged, Text};

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../parity/data")).join(name)
}

fn read<E: Example>(name: &str) -> Result<Vec<E>, Error> {
    Dataset::<E>::open(&[path(name)], &Options::default())?.rows(Order::AsIs, 0).collect()
}

#[test]
fn every_compression_and_row_groups() {
    for name in ["none", "snappy", "gzip", "lz4", "groups"] {
        let rows: Vec<Classified> = read(&format!("{name}.parquet")).unwrap();
        assert_eq!(rows.len(), 50, "{name}");
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(row.text, format!("row {i} {}", "é".repeat(i % 5)));
            assert_eq!(row.label, Some((i % 3).to_string()));
        }
    }
    let said = read::<Classified>("zstd.parquet").unwrap_err().to_string();
    assert!(said.contains("zstd.parquet") && said.contains("ZSTD") && said.contains("snappy"), "{said}");
}

#[test]
fn labels_have_the_names_of_the_metadata() {
    let rows: Vec<Classified> = read("labels.parquet").unwrap();
    let labels: Vec<Option<&str>> = rows.iter().map(|row| row.label.as_deref()).collect();
    let three = [Some("no"), Some("maybe"), Some("yes")];
    assert_eq!(labels, [&three[..], &three, &[None]].concat());
}

#[test]
fn lists_and_structures() {
    let tagged: Vec<Result<Tagged, Error>> =
        Dataset::open(&[path("nested.parquet")], &Options::default()).unwrap().rows(Order::AsIs, 0).collect();
    assert_eq!(tagged[1].as_ref().unwrap().tags.as_ref().unwrap(), &["O", "B-X", "I-X"]);
    let said = tagged[3].as_ref().unwrap_err().to_string();
    assert!(said.contains("nested.parquet, row 4"), "{said}");
    let asked: Vec<Question> = read("nested.parquet").unwrap();
    assert!(asked[0].is_impossible());
    assert_eq!((asked[1].answers[0].text.as_str(), asked[1].answers[0].start), ("sea", 10));
}

#[test]
fn an_empty_cell_is_named_by_its_row() {
    let data = Dataset::<Text>::open(&[path("nulls.parquet")], &Options::default()).unwrap();
    let wrong: Vec<String> =
        data.rows(Order::AsIs, 0).filter_map(|row| row.err().map(|error| error.to_string())).collect();
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].contains("nulls.parquet, row 8: the column for text is empty here"), "{}", wrong[0]);
}

#[test]
fn shuffled_and_continued() {
    let data = Dataset::<Text>::open(&[path("groups.parquet")], &Options::default()).unwrap();
    let order = Order::Shuffled { seed: 5, epoch: 0 };
    let all: Vec<Text> = data.rows(order, 0).map(Result::unwrap).collect();
    assert_ne!(all, data.rows(Order::AsIs, 0).map(Result::unwrap).collect::<Vec<_>>());
    let rest: Vec<Text> = data.rows(order, 33).map(Result::unwrap).collect();
    assert_eq!(rest, all[33..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn damaged_files_are_errors(at in 0usize..1_000_000, byte in any::<u8>(), cut in 0usize..8, which in 0usize..3) {
        let name = ["nested.parquet", "snappy.parquet", "gzip.parquet"][which];
        let mut bytes = std::fs::read(path(name)).unwrap();
        let length = bytes.len();
        if cut == 0 {
            bytes.truncate(at % length);
        } else {
            bytes[at % length] = byte;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.parquet");
        std::fs::write(&file, bytes).unwrap();
        // whatever comes, it ends, and without a panic
        if let Ok(data) = Dataset::<Question>::open(&[file], &Options::default()) {
            prop_assert!(data.rows(Order::AsIs, 0).count() < 1000);
        }
    }
}
