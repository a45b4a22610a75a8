//! Where the dumps lie: in `parity/dumps`, or in the folder that `PTM_PARITY_DIR` names. Of the committed ones none may
//! be missing; another set may have fewer.

use std::path::{Path, PathBuf};

/// Whether the dumps are those of the repository.
pub fn are_committed() -> bool {
    std::env::var_os("PTM_PARITY_DIR").is_none()
}

/// The folder of dumps.
pub fn folder() -> PathBuf {
    let committed = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/dumps");
    std::env::var_os("PTM_PARITY_DIR").map_or_else(committed, PathBuf::from)
}

/// The folder of one dump; none if another set lacks it.
///
/// # Panics
/// When it is missing among the committed ones.
pub fn case(name: &str) -> Option<PathBuf> {
    let dir = folder().join(name);
    let there = dir.join("config.json").is_file();
    assert!(there || !are_committed(), "{} is missing: see parity/README.md", dir.display());
    if !there {
        println!("left out: {} is not in this set of dumps", dir.display());
    }
    there.then_some(dir)
}
