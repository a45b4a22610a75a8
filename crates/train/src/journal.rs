//! What a run writes down as it goes: a JSON object a line in `log.jsonl`, and event files for TensorBoard. A run that
//! is continued continues its journal where its checkpoint stands.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use ptm_models::files::write_atomic;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::objective::Judgement;
use crate::recipe::Log;
use crate::tensorboard::Events;
use crate::training::Progress;

/// The file with a line for each.
pub const LOG: &str = "log.jsonl";

/// One thing to write down.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// How training goes; losses and norm are means since the line before.
    Step(&'a Progress),
    /// How good the model is.
    Judged {
        /// After which step.
        step: u64,
        /// How often all data was seen.
        epochs: f64,
        /// The metrics.
        judgement: &'a Judgement,
        /// Whether none was better before.
        is_best: bool,
    },
}

/// The journal of a run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    events: Option<Events>,
}

impl Journal {
    /// Opens the journal in `dir`; of an earlier process only the lines up to `step` stay.
    ///
    /// # Errors
    /// When it can't be read or written.
    pub fn open(dir: &Path, step: u64, log: &Log) -> Result<Self> {
        let path = dir.join(LOG);
        let mut kept = String::new();
        for (text, line) in written(&path)? {
            if line.get("step").and_then(Value::as_u64).is_some_and(|at| at <= step) {
                // as it is: a number that is read and written again may end in another digit
                kept.extend([text.as_str(), "\n"]);
            }
        }
        write_atomic(&path, kept.as_bytes())?;
        let failed = |source| Error::File { action: "write", path: path.clone(), source };
        let file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        let events = log.tensorboard.then(|| Events::create(dir)).transpose()?;
        Ok(Self { path, file, events })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn line(&mut self, line: &Line<'_>) -> Result<()> {
        let (step, values) = match line {
            Line::Step(progress) => (progress.step, step_values(progress)),
            Line::Judged { step, judgement, .. } => (*step, judged_values(judgement)),
        };
        let text = format!("{}\n", object(line, &values));
        self.file.write_all(text.as_bytes()).map_err(|source| Error::File {
            action: "write",
            path: self.path.clone(),
            source,
        })?;
        if let Some(events) = &mut self.events {
            let part = if matches!(line, Line::Step(_)) { "train" } else { "eval" };
            for (name, value) in &values {
                events.scalar(&format!("{part}/{name}"), step, *value as f32)?;
            }
            // a board that is open shows the run as it goes
            events.flush()?;
        }
        Ok(())
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// When the disk is full or fails.
    pub fn sync(&mut self) -> Result<()> {
        let done = self.file.sync_all();
        done.map_err(|source| Error::File { action: "write", path: self.path.clone(), source })
    }
}

fn step_values(progress: &Progress) -> Vec<(String, f64)> {
    let mut values: Vec<(String, f64)> =
        progress.losses.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    values.extend(progress.lr.map(|lr| ("lr".to_owned(), lr)));
    values.push(("grad_norm".into(), progress.norm));
    values.push(("tokens_per_second".into(), progress.speed.round()));
    values
}

fn judged_values(judgement: &Judgement) -> Vec<(String, f64)> {
    judgement.metrics.clone()
}

fn object(line: &Line<'_>, values: &[(String, f64)]) -> Value {
    let mut object = Map::new();
    let (step, epochs) = match line {
        Line::Step(progress) => (progress.step, progress.epochs),
        Line::Judged { step, epochs, .. } => (*step, *epochs),
    };
    object.insert("step".into(), step.into());
    object.insert("epoch".into(), json!((epochs * 1e6).round() / 1e6));
    let values = values.iter().map(|(name, value)| (name.clone(), json!(value)));
    match line {
        Line::Step(_) => object.extend(values),
        Line::Judged { is_best, .. } => {
            object.insert("eval".into(), Value::Object(values.collect()));
            object.insert("best".into(), (*is_best).into());
        }
    }
    Value::Object(object)
}

/// The lines of a journal; what isn't whole, as after a power failure, is left out.
///
/// # Errors
/// When the file is there but can't be read.
pub fn lines(path: &Path) -> Result<Vec<Value>> {
    Ok(written(path)?.into_iter().map(|(_, line)| line).collect())
}

/// The same, each as it is written and as it is read.
fn written(path: &Path) -> Result<Vec<(String, Value)>> {
    // far longer than any line of a journal
    const MOST: u64 = 1 << 30;
    let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.len() > MOST {
        return Err(Error::Input(format!("{}: larger than a journal can be: is it another file?", path.display())));
    }
    let mut found = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let Ok(text) = String::from_utf8(line.map_err(failed)?) else { continue };
        let line = serde_json::from_str::<Value>(&text).ok().filter(Value::is_object);
        found.extend(line.map(|line| (text, line)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(step: u64) -> Progress {
        Progress { step, losses: vec![("loss", 0.1 + step as f64)], lr: Some(1e-5), ..Progress::default() }
    }

    #[test]
    fn the_board_has_a_line_as_soon_as_the_log_has() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 0, &Log { tensorboard: true, ..Log::default() }).unwrap();
        let events = || {
            let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            let mut files = files.filter(|path| path.to_string_lossy().contains("tfevents"));
            std::fs::read(files.next().unwrap()).unwrap()
        };
        let before = events().len();
        journal.line(&Line::Step(&progress(1))).unwrap();
        let held = events();
        assert!(held.len() > before && held.windows(10).any(|name| name == b"train/loss"));
    }

    #[test]
    fn a_journal_continues_where_its_checkpoint_stands() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log { tensorboard: false, ..Log::default() };
        let path = dir.path().join(LOG);
        let mut journal = Journal::open(dir.path(), 0, &log).unwrap();
        for step in 1..=4 {
            journal.line(&Line::Step(&progress(step))).unwrap();
        }
        let judgement = Judgement { metrics: vec![("accuracy".into(), 0.75)] };
        journal.line(&Line::Judged { step: 4, epochs: 1.0, judgement: &judgement, is_best: true }).unwrap();
        journal.sync().unwrap();
        let before = std::fs::read_to_string(&path).unwrap();
        // killed while it wrote
        std::fs::write(&path, format!("{before}{{\"step\": 5, \"lo")).unwrap();
        let found = lines(&path).unwrap();
        assert_eq!((found.len(), &found[4]["eval"]["accuracy"]), (5, &json!(0.75)));
        drop(Journal::open(dir.path(), 4, &log).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
        let mut journal = Journal::open(dir.path(), 3, &log).unwrap();
        journal.line(&Line::Step(&progress(4))).unwrap();
        let first: Vec<&str> = before.lines().take(4).collect();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first.join("\n") + "\n");
    }
}
