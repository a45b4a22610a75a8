//! Which files a path means: a file itself, or the files of a folder that belong to a split, as data sets of the hub
//! lay them out (`train.jsonl`, `data/train-00000-of-00002.parquet`, `train/part.csv`).

use std::path::{Path, PathBuf};

use super::error::Error;
use super::options::Format;

/// Deeper folders and longer lists than any data set has.
const DEEPEST: usize = 4;
const MOST_FILES: usize = 10_000;
/// So much of a `.json` file tells what it holds.
const SNIFFED: u64 = 64 << 10;

const TRAIN: &str = "train";

/// The words in files' names that mean a split.
fn names_of(split: &str) -> Vec<&str> {
    match split {
        "train" | "training" => vec!["train", "training"],
        "validation" | "valid" | "val" | "dev" => vec!["validation", "valid", "val", "dev", "development"],
        "test" | "testing" | "eval" | "evaluation" => vec!["test", "testing", "eval", "evaluation"],
        other => vec![other],
    }
}

/// The files of `path`: itself, or those of a folder that belong to `split`.
///
/// # Errors
/// When there is nothing there, or nothing of that split.
pub fn files(path: &Path, split: Option<&str>) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if meta.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !meta.is_dir() {
        // a named pipe would wait for its writer, and cannot be read twice
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let mut found = Vec::new();
    collect(path, 0, &mut found)?;
    let words = |file: &Path| -> Vec<String> {
        let below = file.strip_prefix(path).unwrap_or(file).with_extension("");
        let below = below.to_string_lossy().to_lowercase();
        below.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned).collect()
    };
    let of = |split: &str| -> Vec<PathBuf> {
        let names = names_of(split);
        found.iter().filter(|file| words(file).iter().any(|word| names.contains(&word.as_str()))).cloned().collect()
    };
    let parts = || ["train", "validation", "test"].into_iter().filter(|part| !of(part).is_empty());
    let chosen = match split {
        Some(split) => of(split),
        None if parts().next().is_some() => of(TRAIN),
        None => found.clone(),
    };
    if chosen.is_empty() {
        let there: Vec<&str> = parts().collect();
        let found = match (found.is_empty(), there.is_empty()) {
            (true, _) => "there is no data file in it".to_owned(),
            (false, true) => "its files' names speak of no split: leave the split out".to_owned(),
            (false, false) => format!("it has {}", there.join(", ")),
        };
        return Err(Error::NoSplit { path: path.to_owned(), split: split.unwrap_or(TRAIN).to_owned(), found });
    }
    // several configurations in one data set: not to be mixed silently
    let folder = |file: &PathBuf| file.parent().map(Path::to_owned).unwrap_or_default();
    let mut folders: Vec<PathBuf> = chosen.iter().map(folder).collect();
    folders.dedup();
    if folders.len() > 1 {
        let names: Vec<String> = folders.iter().take(8).map(|folder| folder.display().to_string()).collect();
        let problem = format!("its data lies in several folders: name one of {}", names.join(", "));
        return Err(Error::File { path: path.to_owned(), problem });
    }
    Ok(chosen)
}

/// Data files below a folder, sorted by name.
fn collect(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |source| Error::Read { path: dir.to_owned(), source };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
        if entries.len() + found.len() > MOST_FILES {
            let problem = format!("it holds more than {MOST_FILES} files: name those that are meant");
            return Err(Error::File { path: dir.to_owned(), problem });
        }
    }
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth < DEEPEST {
                collect(&path, depth + 1, found)?;
            }
        } else if by_name(&path).is_some() && path.is_file() && !is_about(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// Files that stand beside data and describe it.
fn is_about(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    ["dataset_infos.json", "dataset_info.json", "state.json", "readme.txt", "license.txt", "requirements.txt"]
        .contains(&name.as_str())
}

fn by_name(path: &Path) -> Option<Format> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "jsonl" | "ndjson" => Format::Jsonl,
        "json" => Format::Json,
        "csv" => Format::Csv,
        "tsv" | "tab" => Format::Tsv,
        "parquet" => Format::Parquet,
        "conll" | "bio" | "iob" | "iob2" => Format::Conll,
        "conllu" => Format::Conllu,
        "txt" | "text" => Format::Lines,
        _ => return None,
    })
}

/// The format of a file by its name; `.json` files are looked into, whether they are SQuAD's.
pub(super) fn format(path: &Path) -> Result<Format, Error> {
    use std::io::Read;

    let format = by_name(path).ok_or_else(|| Error::UnknownFormat { path: path.to_owned() })?;
    if format != Format::Json {
        return Ok(format);
    }
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let mut beginning = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(SNIFFED).read_to_end(&mut beginning)).map_err(failed)?;
    let squad = beginning.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
        && memchr::memmem::find(&beginning, b"\"paragraphs\"").is_some();
    Ok(if squad { Format::Squad } else { Format::Json })
}
