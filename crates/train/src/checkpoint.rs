//! Checkpoints: everything a run needs to go on with the same bits, in a directory that is at the same time the model
//! as `ptm` commands and `transformers` open it. A checkpoint appears whole or not at all, and every byte of it is
//! summed: what is damaged is passed over.

mod state;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ptm_models::files::{create_dir, write_atomic};
use sha2::{Digest, Sha256};

pub use state::{Best, State, Window};

use crate::error::{Error, Result};

/// The part of a checkpoint that only training reads.
const TRAINING: &str = "training";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const RECIPE: &str = "recipe.toml";
/// The weights that learn, where the model beside holds averages.
const LEARNING: &str = "learning";
const SUMS: &str = "sha256.txt";

/// The folder of a run.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    /// Held as long as the run is.
    _lock: File,
}

/// A checkpoint on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// After which step.
    pub step: u64,
    dir: PathBuf,
}

impl Checkpoint {
    /// The directory, which is a model's.
    pub fn model(&self) -> &Path {
        &self.dir
    }

    /// The directory of the weights that learn.
    pub fn learning(&self) -> PathBuf {
        let learning = self.dir.join(TRAINING).join(LEARNING);
        if learning.is_dir() { learning } else { self.dir.clone() }
    }

    /// The optimizer's state.
    pub fn optimizer(&self) -> PathBuf {
        self.dir.join(TRAINING).join(OPTIMIZER)
    }

    /// The recipe that ran.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn recipe(&self) -> Result<String> {
        let path = self.dir.join(TRAINING).join(RECIPE);
        fs::read_to_string(&path).map_err(|source| Error::File { action: "read", path, source })
    }

    /// Where the run stood.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn state(&self) -> Result<State> {
        let path = self.dir.join(TRAINING).join(STATE);
        let text = fs::read(&path).map_err(|source| Error::File { action: "read", path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|error| {
            let problem = "written by another version of ptm: continue with that one, or begin afresh";
            Error::Input(format!("{}: {error}; {problem}", path.display()))
        })
    }

    /// What of it is not as it was written.
    fn damage(&self) -> Option<String> {
        let sums = match fs::read_to_string(self.dir.join(TRAINING).join(SUMS)) {
            Ok(sums) => sums,
            Err(error) => return Some(format!("{TRAINING}/{SUMS}: {error}")),
        };
        for line in sums.lines() {
            let Some((sum, name)) = line.split_once("  ") else { return Some(format!("{TRAINING}/{SUMS} is damaged")) };
            match sum_of(&self.dir.join(name)) {
                Ok(found) if found == sum => {}
                Ok(_) => return Some(format!("{name} is not as it was written")),
                Err(error) => return Some(format!("{name}: {error}")),
            }
        }
        let needed = [format!("{TRAINING}/{STATE}"), format!("{TRAINING}/{OPTIMIZER}"), format!("{TRAINING}/{RECIPE}")];
        let missing = needed.into_iter().find(|name| !sums.lines().any(|line| line.ends_with(name.as_str())));
        missing.map(|name| format!("{TRAINING}/{SUMS} lacks {name}"))
    }
}

/// The SHA-256 of a file, in hexadecimal.
fn sum_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// What a checkpoint is made of.
pub struct Parts<'a> {
    /// Where the run stands.
    pub state: &'a State,
    /// The recipe that runs.
    pub recipe: &'a str,
    /// Writes the model into a directory.
    pub model: &'a mut dyn FnMut(&Path) -> Result<()>,
    /// Writes the weights that learn, where they are not the model's.
    pub learning: Option<&'a mut dyn FnMut(&Path) -> Result<()>>,
    /// Writes the optimizer's state into a file.
    pub optimizer: &'a dyn Fn(&Path) -> Result<()>,
}

impl Folder {
    /// Opens the folder of a run, which is made if need be. Nobody else may run in it meanwhile.
    ///
    /// # Errors
    /// When it can't be made, or another process runs in it.
    pub fn open(dir: &Path) -> Result<Self> {
        create_dir(dir)?;
        let path = dir.join(".lock");
        let failed = |source| Error::File { action: "lock", path: path.clone(), source };
        let lock = File::create(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let problem = "another run writes there: wait for it, or choose another output";
                return Err(Error::Input(format!("{}: {problem}", dir.display())));
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        let folder = Self { dir: dir.to_owned(), _lock: lock };
        folder.sweep()?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// All entries' names.
    fn entries(&self) -> Result<Vec<String>> {
        let failed = |source| Error::File { action: "read", path: self.dir.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        Ok(names)
    }

    /// Removes what a run that was killed left half made.
    fn sweep(&self) -> Result<()> {
        for name in self.entries()?.into_iter().filter(|name| name.starts_with(".making-")) {
            remove(&self.dir.join(name))?;
        }
        Ok(())
    }

    /// The checkpoints, oldest first, whole or not.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        let steps = self.entries()?.into_iter().filter_map(|name| {
            let step = name.strip_prefix("checkpoint-")?.parse().ok()?;
            Some(Checkpoint { step, dir: self.dir.join(name) })
        });
        let mut found: Vec<Checkpoint> = steps.collect();
        found.sort_by_key(|checkpoint| checkpoint.step);
        Ok(found)
    }

    /// The newest checkpoint that is as it was written; of newer ones that are not `note` hears.
    ///
    /// # Errors
    /// When there are checkpoints, but all are damaged.
    pub fn newest(&self, note: &mut dyn FnMut(&str)) -> Result<Option<Checkpoint>> {
        let all = self.checkpoints()?;
        for checkpoint in all.iter().rev() {
            match checkpoint.damage() {
                None => return Ok(Some(checkpoint.clone())),
                Some(damage) => {
                    note(&format!("{}: {damage}; the checkpoint before is used", checkpoint.dir.display()));
                }
            }
        }
        if all.is_empty() {
            return Ok(None);
        }
        let place = self.dir.display();
        Err(Error::Input(format!("{place}: every checkpoint is damaged: begin afresh, or restore them from a copy")))
    }

    /// Removes everything that an earlier run left.
    ///
    /// # Errors
    /// When something can't be removed.
    pub fn clear(&self) -> Result<()> {
        for name in self.entries()? {
            let ours = name.starts_with("checkpoint-") || name.starts_with("events.out.tfevents.");
            if ours || ["model", "log.jsonl", "report.html"].contains(&name.as_str()) {
                remove(&self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Writes a checkpoint, then removes all but the `keep` newest and the best; and what is newer than this one, which
    /// was damaged and passed over when the run went on.
    ///
    /// # Errors
    /// When the disk is full or fails; what was there before is there still.
    pub fn save(&self, keep: usize, parts: Parts<'_>) -> Result<()> {
        let step = parts.state.step;
        let made = self.dir.join(format!(".making-{step}"));
        let done = self.dir.join(format!("checkpoint-{step}"));
        remove(&made)?;
        let written = write(&made, parts).and_then(|()| {
            // of the same step again, as when an earlier one was damaged
            remove(&done)?;
            fs::rename(&made, &done).map_err(|source| Error::File { action: "write", path: done.clone(), source })
        });
        if let Err(error) = written {
            // what is half made only takes room; the first error is the one to tell
            let _ = remove(&made);
            return Err(error);
        }
        sync(&self.dir);
        self.thin(keep, &Checkpoint { step, dir: done })
    }

    fn thin(&self, keep: usize, newest: &Checkpoint) -> Result<()> {
        let best = newest.state()?.best.map(|best| best.step);
        let (newer, kept): (Vec<_>, Vec<_>) = self.checkpoints()?.into_iter().partition(|one| one.step > newest.step);
        let old = kept.into_iter().rev().skip(keep.max(1)).filter(|old| Some(old.step) != best);
        for checkpoint in newer.into_iter().chain(old) {
            remove(&checkpoint.dir)?;
        }
        Ok(())
    }

    /// Makes `model` the model of the checkpoint of `step`, without what only training reads; where that is damaged or
    /// missing, of the one of `otherwise`, and `note` hears of it.
    ///
    /// # Errors
    /// When neither is as it was written, or the disk is full.
    pub fn publish(&self, step: u64, otherwise: u64, note: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        let (made, done) = (self.dir.join(".making-model"), self.dir.join("model"));
        let at = |step: u64| Checkpoint { step, dir: self.dir.join(format!("checkpoint-{step}")) };
        let mut chosen = at(step);
        if let Some(damage) = chosen.damage() {
            let place = chosen.dir.display();
            if otherwise == step {
                let way = "restore it from a copy, or begin afresh";
                return Err(Error::Input(format!("{place}: {damage}, so that there is no model to publish: {way}")));
            }
            note(&format!("{place}: {damage}; the model is that of step {otherwise} instead"));
            chosen = at(otherwise);
            if let Some(damage) = chosen.damage() {
                let (place, way) = (chosen.dir.display(), "restore one of both from a copy, or begin afresh");
                return Err(Error::Input(format!("{place}: {damage} as well: {way}")));
            }
        }
        let from = chosen.dir;
        remove(&made)?;
        create_dir(&made)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { action: "copy", path, source }
        };
        let learnt = format!("{TRAINING}/");
        for name in files_below(&from, &from)?.iter().filter(|name| !name.starts_with(&learnt)) {
            // the parts of a model, as a generator, lie in folders of their own
            let (path, copy) = (from.join(name), made.join(name));
            create_dir(copy.parent().unwrap_or(&made))?;
            fs::copy(&path, &copy).map_err(failed(&path))?;
            sync(&copy);
        }
        remove(&done)?;
        fs::rename(&made, &done).map_err(failed(&done))?;
        sync(&self.dir);
        Ok(done)
    }
}

fn write(dir: &Path, parts: Parts<'_>) -> Result<()> {
    let training = dir.join(TRAINING);
    create_dir(&training)?;
    (parts.model)(dir)?;
    if let Some(learning) = parts.learning {
        learning(&training.join(LEARNING))?;
    }
    (parts.optimizer)(&training.join(OPTIMIZER))?;
    let state = serde_json::to_vec_pretty(parts.state).map_err(|error| Error::Input(error.to_string()))?;
    write_atomic(&training.join(STATE), &state)?;
    write_atomic(&training.join(RECIPE), parts.recipe.as_bytes())?;
    let mut sums = String::new();
    for name in files_below(dir, dir)? {
        let path = dir.join(&name);
        let sum = sum_of(&path).map_err(|source| Error::File { action: "read", path, source })?;
        sums.extend([sum.as_str(), "  ", name.as_str(), "\n"]);
    }
    write_atomic(&training.join(SUMS), sums.as_bytes())?;
    sync(dir);
    Ok(())
}

/// All files below `dir`, by their path from `root`, in order.
fn files_below(root: &Path, dir: &Path) -> Result<Vec<String>> {
    let failed = |source| Error::File { action: "read", path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.extend(files_below(root, &path)?);
        } else if let Ok(name) = path.strip_prefix(root) {
            found.push(name.to_string_lossy().replace('\\', "/"));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes a file or a directory; one that isn't there is fine.
fn remove(path: &Path) -> Result<()> {
    let done = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match done {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Makes a file or directory durable; file systems that cannot sync a directory don't need it.
fn sync(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = file.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(step: u64, best: Option<u64>) -> State {
        let best = best.map(|step| Best { step, metric: "f1".into(), value: 0.5 });
        State { step, best, seconds: 0.1 + 0.2, ..State::default() }
    }

    fn save(folder: &Folder, state: &State, keep: usize) -> Result<()> {
        let text = format!("weights of {}", state.step);
        folder.save(
            keep,
            Parts {
                state,
                recipe: "seed = 1",
                model: &mut |dir| {
                    create_dir(&dir.join("generator"))?;
                    write_atomic(&dir.join("generator/model.safetensors"), b"another")?;
                    Ok(write_atomic(&dir.join("model.safetensors"), text.as_bytes())?)
                },
                learning: None,
                optimizer: &|path| Ok(write_atomic(path, b"moments")?),
            },
        )
    }

    fn steps(folder: &Folder) -> Vec<u64> {
        folder.checkpoints().unwrap().iter().map(|checkpoint| checkpoint.step).collect()
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("run")).unwrap();
        assert_eq!(folder.newest(&mut |_| panic!("nothing to note")).unwrap(), None);
        for (step, best) in [(10, None), (20, Some(20)), (30, Some(20)), (40, Some(20)), (100, Some(20))] {
            save(&folder, &state(step, best), 2).unwrap();
        }
        assert_eq!(steps(&folder), [20, 40, 100]);
        let newest = folder.newest(&mut |_| panic!("nothing to note")).unwrap().unwrap();
        assert_eq!((newest.step, newest.state().unwrap()), (100, state(100, Some(20))));
        assert_eq!(newest.recipe().unwrap(), "seed = 1");
        let model = folder.publish(20, 100, &mut |_| panic!("nothing to note")).unwrap();
        assert_eq!(fs::read_to_string(model.join("model.safetensors")).unwrap(), "weights of 20");
        assert_eq!(fs::read_to_string(model.join("generator/model.safetensors")).unwrap(), "another");
        assert!(!model.join(TRAINING).exists());
        folder.clear().unwrap();
        assert!(steps(&folder).is_empty() && !model.exists());
    }

    #[test]
    fn what_is_damaged_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        for step in 1..=4 {
            save(&folder, &state(step, None), 9).unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        fs::write(at("checkpoint-4/model.safetensors"), "weights of 5").unwrap();
        fs::remove_file(at("checkpoint-3/training/optimizer.safetensors")).unwrap();
        fs::write(at("checkpoint-2/training/sha256.txt"), "").unwrap();
        let mut notes = Vec::new();
        let newest = folder.newest(&mut |note| notes.push(note.to_owned())).unwrap().unwrap();
        assert_eq!((newest.step, notes.len()), (1, 3));
        assert!(notes[0].contains("checkpoint-4") && notes[0].contains("model.safetensors"), "{notes:?}");
        fs::write(at("checkpoint-1/training/state.json"), "{}").unwrap();
        assert!(folder.newest(&mut |_| ()).is_err());
    }

    #[test]
    fn what_was_passed_over_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        for step in [20, 40] {
            save(&folder, &state(step, Some(20)), 1).unwrap();
        }
        fs::write(dir.path().join("checkpoint-40/model.safetensors"), "weights of 5").unwrap();
        assert_eq!(folder.newest(&mut |_| ()).unwrap().unwrap().step, 20);
        save(&folder, &state(25, Some(20)), 1).unwrap();
        assert_eq!(steps(&folder), [20, 25]);
        assert_eq!(folder.newest(&mut |_| panic!("nothing to note")).unwrap().unwrap().step, 25);
    }

    #[test]
    fn a_damaged_best_is_not_published() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        for step in [20, 40] {
            save(&folder, &state(step, Some(20)), 1).unwrap();
        }
        let weights = |model: &Path| fs::read_to_string(model.join("model.safetensors")).unwrap();
        fs::write(dir.path().join("checkpoint-20/model.safetensors"), "weights of 5").unwrap();
        let mut notes = Vec::new();
        let model = folder.publish(20, 40, &mut |note| notes.push(note.to_owned())).unwrap();
        assert_eq!((weights(&model).as_str(), notes.len()), ("weights of 40", 1));
        assert!(notes[0].contains("checkpoint-20") && notes[0].contains("step 40"), "{notes:?}");
        // one that is not there at all is no end of a run either
        fs::remove_dir_all(dir.path().join("checkpoint-20")).unwrap();
        assert_eq!(weights(&folder.publish(20, 40, &mut |_| ()).unwrap()), "weights of 40");
        // what was published stays where nothing better comes
        fs::remove_dir_all(dir.path().join("checkpoint-40")).unwrap();
        assert!(folder.publish(20, 40, &mut |_| ()).unwrap_err().to_string().contains("checkpoint-40"));
        assert!(folder.publish(40, 40, &mut |_| ()).unwrap_err().to_string().contains("checkpoint-40"));
        assert_eq!(weights(&model), "weights of 40");
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        save(&folder, &state(1, None), 2).unwrap();
        let failed = folder.save(
            2,
            Parts {
                state: &state(2, None),
                recipe: "",
                model: &mut |dir| {
                    write_atomic(&dir.join("half"), b"x")?;
                    Err(Error::Input("disk full".into()))
                },
                learning: None,
                optimizer: &|_| Ok(()),
            },
        );
        assert!(failed.is_err());
        assert_eq!(steps(&folder), [1]);
        assert!(folder.entries().unwrap().iter().all(|name| !name.starts_with(".making")));
        // and what a killed run left is swept
        fs::create_dir(dir.path().join(".making-7")).unwrap();
        drop(folder);
        let folder = Folder::open(dir.path()).unwrap();
        assert!(!dir.path().join(".making-7").exists());
        assert!(Folder::open(dir.path()).unwrap_err().to_string().contains("another run"));
        drop(folder);
    }

    #[test]
    fn sums_keep_their_bits() {
        let mut window = Window::default();
        for i in 0..7 {
            window.add(&[0.1 * f64::from(i)], 0.3, 5);
        }
        let read: Window = serde_json::from_str(&serde_json::to_string(&window).unwrap()).unwrap();
        assert_eq!(read, window);
        let (losses, norm) = read.means();
        assert!((losses[0] - 0.3).abs() < 1e-12 && (norm - 0.3).abs() < 1e-12);
    }
}
