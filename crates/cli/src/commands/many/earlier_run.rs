//! Whose answers a file holds: beside `FILE`, `FILE.run` says by which command and options they are and what the inputs
//! were, as a checksum of them one after the other. Answers to other inputs or by other options are not gone on with.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ptm_text::corpus::hexadecimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::args::Settings;
use crate::failure::hinted;

/// How often a run says how far it is.
const EVERY: Duration = Duration::from_secs(1);

type Chain = [u8; 32];

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    #[serde(flatten)]
    settings: Settings,
    /// So many inputs were answered at least.
    inputs: u64,
    /// The checksum of these.
    sha256: String,
}

/// A run as it was, or as it goes on.
pub struct EarlierRun {
    answers: PathBuf,
    path: PathBuf,
    run: Run,
    /// What the earlier run had answered, until that many came again.
    expected: Option<(u64, String)>,
    /// So many inputs came, and their checksum.
    come: (u64, Chain),
    /// The checksums after inputs that came and were not answered.
    waiting: VecDeque<Chain>,
    /// When that was written, and with how many inputs.
    kept: Option<(Instant, u64)>,
}

impl EarlierRun {
    /// That of answers in a new file.
    pub fn new(answers: &Path, settings: &Settings) -> Self {
        let mut path = answers.as_os_str().to_owned();
        path.push(".run");
        let run = Run { settings: settings.clone(), inputs: 0, sha256: hexadecimal(&Chain::default()) };
        Self {
            answers: answers.to_owned(),
            path: path.into(),
            run,
            expected: None,
            come: (0, Chain::default()),
            waiting: VecDeque::new(),
            kept: None,
        }
    }

    /// That of the answers that are there.
    ///
    /// # Errors
    /// When it is not known, or had other options.
    pub fn of(answers: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let mut this = Self::new(answers, settings);
        let name = answers.display();
        let unknown = |why: &str| {
            let sentence = format!("{name}: which run its answers are of is not known: {} {why}", this.path.display());
            hinted(sentence, "leave --resume out: the run begins afresh then")
        };
        let text = std::fs::read(&this.path).map_err(|error| unknown(&format!("cannot be read ({error})")))?;
        let run: Run = serde_json::from_slice(&text).map_err(|_| unknown("is damaged"))?;
        let other = |what: String| {
            let sentence = format!("{name}: its answers are of another run: {what}");
            Err(hinted(sentence, "give what was given then, or leave --resume out"))
        };
        let then = &run.settings;
        if then.command != settings.command {
            return other(format!("ptm {} then, ptm {} now", then.command, settings.command));
        }
        for option in then.options.keys().chain(settings.options.keys()) {
            let (before, now) = (then.options.get(option), settings.options.get(option));
            if before != now {
                let words = |words: Option<&Vec<String>>| match words {
                    Some(words) => format!("{:?}", words.join(" ")),
                    None => "not given".to_owned(),
                };
                return other(format!(
                    "{} was {} then, is {} now",
                    option.replace('_', "-"),
                    words(before),
                    words(now)
                ));
            }
        }
        this.expected = (run.inputs > 0).then(|| (run.inputs, run.sha256.clone()));
        this.run = run;
        Ok(this)
    }

    /// Whether the answers that are there, `held` of them, are all that were written.
    ///
    /// # Errors
    /// When some are gone.
    pub fn check(&self, held: usize) -> anyhow::Result<()> {
        if self.run.inputs <= held as u64 {
            return Ok(());
        }
        let sentence =
            format!("{}: it holds {held} answers, but {} were written", self.answers.display(), self.run.inputs);
        Err(hinted(sentence, "leave --resume out: the run begins afresh then"))
    }

    /// An input, `held` of which are answered.
    ///
    /// # Errors
    /// When it ends those that the earlier run had, and they were others.
    pub fn comes(&mut self, bytes: &[u8], held: usize) -> anyhow::Result<()> {
        let chain = Sha256::new().chain_update(self.come.1).chain_update(Sha256::digest(bytes)).finalize().into();
        self.come = (self.come.0 + 1, chain);
        if self.come.0 > held as u64 {
            self.waiting.push_back(chain);
        }
        if let Some((inputs, expected)) = self.expected.take_if(|(inputs, _)| *inputs == self.come.0)
            && expected != hexadecimal(&chain)
        {
            let sentence = format!("{}: its {inputs} answers are to other inputs", self.answers.display());
            return Err(hinted(sentence, "give the inputs of the earlier run, or leave --resume out"));
        }
        Ok(())
    }

    /// The next input that was waiting has its answer.
    pub fn answered(&mut self) {
        if let Some(chain) = self.waiting.pop_front() {
            self.run.inputs = self.come.0 - self.waiting.len() as u64;
            self.run.sha256 = hexadecimal(&chain);
        }
    }

    /// Whether more is known than was written.
    pub fn is_behind(&self) -> bool {
        self.kept.is_none_or(|(_, inputs)| inputs != self.run.inputs)
    }

    /// Whether that should be written, as it was not just before.
    pub fn is_due(&self) -> bool {
        self.is_behind() && self.kept.is_none_or(|(kept, inputs)| inputs == 0 || kept.elapsed() >= EVERY)
    }

    /// Writes what is known; the answers must have been written before.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep(&mut self) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(&self.run)?;
        text.push(b'\n');
        ptm_models::files::write_atomic(&self.path, &text)?;
        self.kept = Some((Instant::now(), self.run.inputs));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(command: &str, options: &[(&str, &str)]) -> Settings {
        let options = options.iter().map(|&(name, word)| (name.to_owned(), vec![word.to_owned()])).collect();
        Settings { command: command.to_owned(), options }
    }

    #[test]
    fn other_runs_are_not_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let answers = dir.path().join("a.jsonl");
        let own = settings("ner", &[("stride", "3")]);
        let mut run = EarlierRun::new(&answers, &own);
        for input in ["a", "b", "c"] {
            run.comes(input.as_bytes(), 0).unwrap();
        }
        run.answered();
        run.answered();
        run.keep().unwrap();
        let again = |inputs: &[&str]| {
            let mut run = EarlierRun::of(&answers, &own).unwrap();
            inputs.iter().try_for_each(|input| run.comes(input.as_bytes(), 2))
        };
        again(&["a", "b", "d"]).unwrap();
        for others in [["a", "c", "c"], ["b", "a", "c"], ["ab", "", "c"]] {
            assert!(again(&others).unwrap_err().to_string().contains("to other inputs"), "{others:?}");
        }
        for (other, said) in [
            (settings("qa", &[("stride", "3")]), "ptm ner then, ptm qa now"),
            (settings("ner", &[("stride", "4")]), "stride was \"3\" then, is \"4\" now"),
            (settings("ner", &[]), "is not given now"),
            (settings("ner", &[("stride", "3"), ("top_k", "1")]), "top-k was not given then"),
        ] {
            let error = EarlierRun::of(&answers, &other).err().unwrap().to_string();
            assert!(error.contains(said), "{error}");
        }
        let run = EarlierRun::of(&answers, &own).unwrap();
        assert!(run.check(1).unwrap_err().to_string().contains("it holds 1 answers, but 2 were written"));
        run.check(3).unwrap();
        std::fs::write(dir.path().join("a.jsonl.run"), "{").unwrap();
        assert!(EarlierRun::of(&answers, &own).err().unwrap().to_string().contains("is damaged"));
    }
}
