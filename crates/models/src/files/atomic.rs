//! Files that appear whole or not at all: written under a temporary name beside the target, synced, renamed.
//! Nobody sees half a file, whenever the machine stops. Not for appending.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Error;

/// A file under construction. Write to it, then [`commit`](AtomicFile::commit); dropped before that, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Begins the file `path`, whose directory must exist. What is there now stays until the commit.
    ///
    /// # Errors
    /// When no file can be made in that directory.
    pub fn create(path: &Path) -> Result<Self, Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Some(name) = path.file_name() else {
            return Err(Error::NotAFile { path: path.to_owned() });
        };
        if path.is_dir() {
            return Err(Error::NotAFile { path: path.to_owned() });
        }
        // a leftover of a process that was killed has its number; go on to the next
        loop {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
            let temporary = path.with_file_name(temporary);
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => {
                    let file = Some(BufWriter::with_capacity(1 << 20, file));
                    return Ok(Self { target: path.to_owned(), temporary, file });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(path, "write")(error)),
            }
        }
    }

    /// Makes what was written durable and visible under its name.
    ///
    /// # Errors
    /// When the disk is full or fails; then the old file is still there and the new one is gone.
    pub fn commit(self) -> Result<(), Error> {
        self.stage()?.commit()
    }

    /// Makes what was written durable, but not visible yet.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(super) fn stage(mut self) -> Result<Staged, Error> {
        let staged = Staged { target: self.target.clone(), temporary: self.temporary.clone() };
        let finish = |file: Option<BufWriter<File>>| -> io::Result<()> {
            let file = file.ok_or(io::ErrorKind::BrokenPipe)?.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()
        };
        finish(self.file.take()).map_err(Error::io(&self.target, "write"))?;
        Ok(staged)
    }
}

/// A whole and durable file without its name yet; dropped before the commit, it leaves nothing.
#[derive(Debug)]
pub(super) struct Staged {
    target: PathBuf,
    temporary: PathBuf,
}

impl Staged {
    /// Makes it visible under its name.
    pub(super) fn commit(self) -> Result<(), Error> {
        fs::rename(&self.temporary, &self.target).map_err(Error::io(&self.target, "write"))?;
        sync_directory(&self.target);
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // after a commit there is none of that name
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // without the last flush: nobody will read it
            drop(file.into_parts());
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// The new name is durable once its directory is; file systems that cannot sync a directory don't need it.
fn sync_directory(file: &Path) {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(directory) = File::open(parent) {
        let _ = directory.sync_all();
    }
}

/// Writes a whole file at once, atomically.
///
/// # Errors
/// When the directory is missing or not writable, or the disk is full.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(Error::io(path, "write"))?;
    file.commit()
}

/// Removes a file, for good, if it is there.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path, "remove")(error)),
        Err(_) => Ok(()),
        Ok(()) => {
            sync_directory(path);
            Ok(())
        }
    }
}

/// Makes a directory and those above it; one that exists is fine.
///
/// # Errors
/// When something else has the name, or it may not be made there.
pub fn create_dir(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io(dir, "make the directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_old_file_stays_until_the_commit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        write_atomic(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["config.json"]);
    }

    #[test]
    fn what_is_not_committed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = AtomicFile::create(&dir.path().join("weights")).unwrap();
        file.write_all(&[1; 100]).unwrap();
        assert_eq!(names(dir.path()).len(), 1);
        drop(file);
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn impossible_targets_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/such/file");
        let error = write_atomic(&missing, b"").unwrap_err().to_string();
        assert!(error.contains("no/such/file") && error.contains("check the spelling"), "{error}");
        assert!(matches!(write_atomic(dir.path(), b"").unwrap_err(), Error::NotAFile { .. }));
        write_atomic(&dir.path().join("file"), b"").unwrap();
        assert!(create_dir(&dir.path().join("file")).is_err());
    }
}
