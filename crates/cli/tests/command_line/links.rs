//! What the documents refer to in this repository is there.

use std::fs;
use std::path::{Path, PathBuf};

/// The Markdown files of `dir` and of its folders, but not what was built or is not part of the repository.
fn documents(dir: &Path, found: &mut Vec<PathBuf>) {
    const APART: [&str; 5] = ["target", "env", "runs", "data", "all-MiniLM-L6-v2"];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let own = name == "data" && path.parent().is_some_and(|parent| parent.ends_with("assets"));
            if own || !(name.starts_with('.') || APART.contains(&name.as_str())) {
                documents(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    documents(&root, &mut found);
    let mut seen = 0;
    for document in found {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            assert!(document.parent().unwrap().join(path).exists(), "{}: {link}", document.display());
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}
