//! The labelled samples under `assets/data`: every row can be read, is there once, and has a label.

use std::path::{Path, PathBuf};

use ptm_text::dataset::{Classified, Dataset, Options, Question, Survey, Surveyed, Tagged, Yardstick};

const PARTS: [&str; 3] = ["train", "validation", "test"];

fn survey<E: Surveyed>(name: &str, part: &str) -> Survey {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/data").join(name);
    let options = Options { split: Some(part.to_owned()), ..Options::default() };
    let data = Dataset::<E>::open(&[folder], &options).unwrap();
    Survey::of(&data, Yardstick::default(), &mut |_| true).unwrap()
}

fn check<E: Surveyed>(name: &str, rows: [u64; 3], labels: usize) {
    for (part, wanted) in PARTS.into_iter().zip(rows) {
        let found = survey::<E>(name, part);
        assert_eq!((found.rows, found.wrong, found.unlabelled, found.empty), (wanted, 0, 0, 0), "{name} {part}");
        assert_eq!((found.duplicates, found.conflicting), (0, 0), "{name} {part}");
        // the rarest tag is not in every part
        let enough = if part == "train" { labels } else { labels - 1 };
        assert!((enough..=labels).contains(&found.labels.len()), "{name} {part}: {:?}", found.labels);
    }
}

#[test]
fn every_row_can_be_learnt_from() {
    check::<Classified>("topics", [1800, 240, 586], 12);
    check::<Classified>("senses", [1500, 240, 500], 2);
    check::<Question>("answers", [380, 80, 160], 2);
    check::<Tagged>("names", [1000, 150, 400], 3);
    check::<Tagged>("parts-of-speech", [1000, 150, 400], 12);
}

#[test]
fn no_file_is_large() {
    let mut files = 0;
    for folder in ["topics", "senses", "answers", "names", "parts-of-speech"] {
        for entry in
            std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/data").join(folder)).unwrap()
        {
            files += 1;
            assert!(entry.unwrap().metadata().unwrap().len() < 300_000, "{folder}");
        }
    }
    assert_eq!(files, 15);
}
