//! The file that `--output` names: a line of JSON an answer, in order. A run that was stopped goes on after its last whole
//! line, if inputs and options are those of then.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::earlier_run::EarlierRun;
use crate::args::{Given, KeepArgs};
use crate::failure::{Stopped, hinted};
use crate::input::Record;
use crate::output::write_answer;
use crate::report;

/// A file of answers, a line each.
pub struct AnswerFile {
    path: PathBuf,
    to: BufWriter<File>,
    run: EarlierRun,
    /// Answers of an earlier run.
    pub held: usize,
    /// So many of them say that there is none.
    pub failed: usize,
    written: usize,
    /// Whether what was there has made room. Until there is an answer it stays.
    begun: bool,
}

impl AnswerFile {
    /// The file that was asked for, with the whole lines of an earlier run where it is continued by the same options.
    pub fn of(keep: &KeepArgs, given: &Given) -> anyhow::Result<Option<Self>> {
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
        let is_kept = keep.resume && std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        let run =
            if is_kept { EarlierRun::of(path, given.settings())? } else { EarlierRun::new(path, given.settings()) };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).with_context(failed)?;
        let (held, failed, bytes) = if is_kept { whole_lines(&file, path)? } else { (0, 0, 0) };
        run.check(held)?;
        let mut this =
            Self { path: path.clone(), to: BufWriter::new(file), run, held, failed, written: 0, begun: false };
        if is_kept {
            this.begin(bytes)?;
        }
        Ok(Some(this))
    }

    /// Leaves the first `bytes` of what is there: what a run that was killed left of a line goes, or all of it.
    fn begin(&mut self, bytes: u64) -> anyhow::Result<()> {
        let failed = || format!("{}: cannot write", self.path.display());
        let file = self.to.get_mut();
        file.set_len(bytes).with_context(failed)?;
        file.seek(SeekFrom::Start(bytes)).with_context(failed)?;
        self.begun = true;
        self.keep()
    }

    /// What was there goes, where the answers are the first of their run.
    fn make_room(&mut self) -> anyhow::Result<()> {
        if self.begun { Ok(()) } else { self.begin(0) }
    }

    /// An input, each in its turn, also those that the earlier run answered.
    ///
    /// # Errors
    /// When it is not what the earlier run had there.
    pub fn comes(&mut self, record: &anyhow::Result<Record>) -> anyhow::Result<()> {
        let bytes = record.as_ref().map_or(b"unreadable"[..].into(), Record::bytes);
        self.run.comes(&bytes, self.held)
    }

    pub fn write(&mut self, answer: &impl Serialize) -> anyhow::Result<()> {
        self.make_room()?;
        let failed = || format!("{}: cannot write", self.path.display());
        write_answer(&mut self.to, answer).with_context(failed)?;
        self.to.write_all(b"\n").with_context(failed)?;
        self.written += 1;
        self.run.answered();
        Ok(())
    }

    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.to.flush().with_context(|| format!("{}: cannot write", self.path.display()))?;
        if self.begun && self.run.is_due() { self.keep() } else { Ok(()) }
    }

    /// Answers on the disk, and after them what they are to.
    fn keep(&mut self) -> anyhow::Result<()> {
        let failed = || format!("{}: cannot write", self.path.display());
        self.to.flush().with_context(failed)?;
        self.to.get_ref().sync_all().with_context(failed)?;
        self.run.keep()
    }

    /// What is said at the end, when `seen` inputs came.
    ///
    /// # Errors
    /// When the earlier run had more.
    pub fn end(&mut self, seen: usize, quiet: bool) -> anyhow::Result<()> {
        if self.held > seen {
            let path = self.path.display();
            let sentence = format!("{path}: it holds {} answers, but there are {seen} inputs", self.held);
            return Err(hinted(sentence, "give the inputs of the earlier run, or leave --resume out"));
        }
        self.make_room()?;
        self.keep()?;
        if !quiet {
            let before = if self.held > 0 { format!(" after {} of an earlier run", self.held) } else { String::new() };
            report::note(&format!("{}: {} answers written{before}", self.path.display(), self.written));
        }
        Ok(())
    }

    /// What is said where Ctrl-C is what ended the run.
    pub fn stopped(&self, error: &anyhow::Error, quiet: bool) {
        if error.is::<Stopped>() && !quiet {
            let answers = self.held + self.written;
            report::note(&format!("{}: {answers} answers are kept, --resume goes on", self.path.display()));
        }
    }
}

impl Drop for AnswerFile {
    /// However a run ends, it is known what its answers are to.
    fn drop(&mut self) {
        if self.begun && self.run.is_behind() {
            let _ = self.keep();
        }
    }
}

/// How many whole lines a file has, how many of them say that there is no answer, and their bytes.
fn whole_lines(file: &File, path: &Path) -> anyhow::Result<(usize, usize, u64)> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Failed {
        #[serde(rename = "error")]
        _error: String,
    }
    let mut from = BufReader::with_capacity(1 << 18, file);
    let (mut lines, mut failed, mut whole, mut line) = (0, 0, 0_u64, Vec::new());
    loop {
        line.clear();
        let length = from.read_until(b'\n', &mut line).with_context(|| format!("{}: cannot read", path.display()))?;
        if line.last() != Some(&b'\n') {
            return Ok((lines, failed, whole));
        }
        if serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_err() {
            return Err(hinted(
                format!("{}, line {}: this is no answer of an earlier run", path.display(), lines + 1),
                "name the file that --output had then, or leave --resume out",
            ));
        }
        lines += 1;
        // most lines are answers, which are not read again
        let may_fail = line.starts_with(b"{\"error\":");
        failed += usize::from(may_fail && serde_json::from_slice::<Failed>(&line).is_ok());
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
        let first = KeepArgs { output: Some(path.clone()), resume: false, print_config: false };
        let keep = KeepArgs { resume: true, ..first.clone() };
        let of = |keep: &KeepArgs| AnswerFile::of(keep, &Given::default());
        of(&first).unwrap().unwrap().write(&1).unwrap();
        std::fs::write(&path, "{\"a\":1}\n[2]\n{\"a\"").unwrap();
        let mut file = of(&keep).unwrap().unwrap();
        assert_eq!((file.held, file.failed), (2, 0));
        file.write(&3).unwrap();
        file.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n[2]\n3\n");
        assert!(file.end(1, true).is_err(), "it holds more than one");
        std::fs::write(&path, "text\n").unwrap();
        assert!(of(&keep).is_err());
        // what was there stays until there is an answer
        let mut file = of(&first).unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text\n");
        file.write(&4).unwrap();
        drop(file);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "4\n");
        // whose answers these are, nobody knows
        std::fs::write(dir.path().join("b.jsonl"), "1\n").unwrap();
        assert!(of(&KeepArgs { output: Some(dir.path().join("b.jsonl")), ..keep }).is_err());
        assert_eq!(std::fs::read_to_string(dir.path().join("b.jsonl")).unwrap(), "1\n");
    }
}
