//! The file that `--output` names: a line of JSON an answer, in order. A run that was stopped goes on after its last whole
//! line.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::args::KeepArgs;
use crate::failure::hinted;
use crate::report;

/// A file of answers, a line each.
pub struct AnswerFile {
    path: PathBuf,
    to: BufWriter<File>,
    /// Answers of an earlier run.
    pub held: usize,
    written: usize,
}

impl AnswerFile {
    /// The file that was asked for, with the whole lines of an earlier run where it is continued.
    pub fn of(keep: &KeepArgs) -> anyhow::Result<Option<Self>> {
        let Some(path) = &keep.output else { return Ok(None) };
        let failed = || format!("{}: cannot write", path.display());
        if path.is_dir() {
            return Err(hinted(format!("{}: this is a directory", path.display()), "name a file in it"));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
            return Err(hinted(
                format!("{}: there is no directory {}", path.display(), parent.display()),
                "make it first, or choose another one",
            ));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(!keep.resume);
        let mut file = options.open(path).with_context(failed)?;
        let (held, bytes) = if keep.resume { whole_lines(&file, path)? } else { (0, 0) };
        // what a run that was killed left of a line goes
        file.set_len(bytes).with_context(failed)?;
        file.seek(SeekFrom::Start(bytes)).with_context(failed)?;
        Ok(Some(Self { path: path.clone(), to: BufWriter::new(file), held, written: 0 }))
    }

    pub fn write(&mut self, answer: &impl Serialize) -> anyhow::Result<()> {
        let failed = || format!("{}: cannot write", self.path.display());
        serde_json::to_writer(&mut self.to, answer).with_context(failed)?;
        self.to.write_all(b"\n").with_context(failed)?;
        self.written += 1;
        Ok(())
    }

    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.to.flush().with_context(|| format!("{}: cannot write", self.path.display()))
    }

    pub fn note(&self, quiet: bool) -> anyhow::Result<()> {
        self.to.get_ref().sync_all().with_context(|| format!("{}: cannot write", self.path.display()))?;
        if !quiet {
            let before = if self.held > 0 { format!(" after {} of an earlier run", self.held) } else { String::new() };
            report::note(&format!("{}: {} answers written{before}", self.path.display(), self.written));
        }
        Ok(())
    }
}

/// How many whole lines a file has, and their bytes.
fn whole_lines(file: &File, path: &Path) -> anyhow::Result<(usize, u64)> {
    let mut from = BufReader::with_capacity(1 << 18, file);
    let (mut lines, mut whole, mut line) = (0, 0_u64, Vec::new());
    loop {
        line.clear();
        let length = from.read_until(b'\n', &mut line).with_context(|| format!("{}: cannot read", path.display()))?;
        if line.last() != Some(&b'\n') {
            return Ok((lines, whole));
        }
        if serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_err() {
            return Err(hinted(
                format!("{}, line {}: this is no answer of an earlier run", path.display(), lines + 1),
                "name the file that --output had then, or leave --resume out",
            ));
        }
        lines += 1;
        whole += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_run_is_continued_after_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "{\"a\":1}\n[2]\n{\"a\"").unwrap();
        let keep = KeepArgs { output: Some(path.clone()), resume: true, print_config: false };
        let mut file = AnswerFile::of(&keep).unwrap().unwrap();
        assert_eq!(file.held, 2);
        file.write(&3).unwrap();
        file.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n[2]\n3\n");
        std::fs::write(&path, "text\n").unwrap();
        assert!(AnswerFile::of(&keep).is_err());
        AnswerFile::of(&KeepArgs { resume: false, ..keep }).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }
}
