//! The neighbours of kNN-TAPT (Gururangan et al. 2020): for each row of a task the nearest sentences of the domain, by the
//! cosine of their embeddings. Exact: every sentence is compared with every row, as the domain is read from its beginning
//! to its end, in the memory of rows and their lists. What the task's own rows say is no neighbour.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use ptm_models::files::{AtomicFile, write_atomic};
use ptm_tasks::{EmbedOptions, Embedder, Nearest, Neighbour};
use ptm_text::Tokenizer;
use ptm_text::corpus::{self, Corpus, Document};
use serde::{Deserialize, Serialize};

use super::Audience;
use super::found::{Found, Row, Spot, Summary, ids_of, summary};
use super::recipe::{Neighbours, Unit};
use super::task_text::{self, Said};
use crate::error::{Error, Result};

/// A search that was stopped.
#[derive(Serialize, Deserialize)]
struct State {
    of: String,
    k: usize,
    /// The number of the corpus and of the document to go on with.
    next: (u32, u64),
    candidates: u64,
    left_out: u64,
    /// Score (its bits), spot and mark of what was found for each row.
    lists: Vec<Vec<(u32, Spot, u64)>>,
}

/// What is searched for what.
pub struct Search<'a> {
    pub corpora: &'a [Corpus],
    /// The corpora's.
    pub tokenizer: &'a Tokenizer,
    pub embedder: &'a Embedder,
    pub options: &'a Neighbours,
    /// Which units are drawn into a pool.
    pub seed: u64,
    /// The rows of the task.
    pub rows: &'a [String],
    /// What neighbours must not repeat.
    pub said: &'a Said,
    pub k: usize,
}

/// Units that are embedded together: enough to form batches of similar length.
const TOGETHER: usize = 512;
/// Between two notes of how far a search is.
const PAUSE: Duration = Duration::from_mins(1);

impl Search<'_> {
    /// Searches, or goes on with a search that was stopped, and writes what was found to `path`; where it is there
    /// already, and of as many neighbours, nothing is done.
    ///
    /// # Errors
    /// When a corpus is damaged, an embedding is no number, or a file cannot be written; [`Error::Stopped`] when
    /// `audience` asks for it: what was found by then is kept.
    pub fn run(&self, path: &Path, audience: &mut dyn Audience) -> Result<Summary> {
        let of = self.of();
        if let Some(found) = summary(path)?
            && found.of == of
            && found.k >= self.k
        {
            return Ok(found);
        }
        let unfinished = path.with_extension("unfinished");
        let texts: Vec<&str> = self.rows.iter().map(String::as_str).collect();
        let Some(queries) = self.embed(&texts, audience)? else { return Err(Error::Stopped) };
        let mut state = State { of, k: self.k, next: (0, 0), candidates: 0, left_out: 0, lists: Vec::new() };
        let mut nearest = Nearest::new(&queries, self.k);
        if let Some(mut saved) = read::<State>(&unfinished)?
            && saved.of == state.of
            && saved.k == state.k
            && saved.lists.len() == queries.len()
        {
            let lists = std::mem::take(&mut saved.lists).into_iter().map(|list| {
                list.into_iter().map(|(bits, place, mark)| Neighbour { score: f32::from_bits(bits), place, mark })
            });
            nearest = Nearest::resumed(&queries, self.k, lists.map(Iterator::collect).collect());
            state = saved;
        }
        let before: Vec<u64> = self.corpora.iter().map(Corpus::len).collect();
        let total: u64 = before.iter().sum();
        let mut saved = Instant::now();
        let (mut units, mut texts): (Vec<(Spot, u64)>, Vec<String>) = (Vec::new(), Vec::new());
        let (mut left_out, share) = (0, self.share());
        let first = state.next;
        for (number, corpus) in self.corpora.iter().enumerate().skip(first.0 as usize) {
            let from = if number == first.0 as usize { first.1 } else { 0 };
            let done: u64 = before[..number].iter().sum();
            for at in from..corpus.len() {
                left_out += self.units((number as u32, share), &corpus.document(at)?, &mut units, &mut texts);
                let last = number + 1 == self.corpora.len() && at + 1 == corpus.len();
                if units.len() < TOGETHER && !last {
                    continue;
                }
                let mut vectors = Vec::with_capacity(units.len());
                // of a long document more than one batch
                for texts in texts.chunks(2 * TOGETHER) {
                    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                    match self.embed(&texts, audience)? {
                        Some(found) => vectors.extend(found),
                        None => {
                            self.save(&unfinished, &mut state, &nearest)?;
                            return Err(Error::Stopped);
                        }
                    }
                }
                nearest.offer(&units, &vectors);
                state.candidates += units.len() as u64;
                state.left_out += left_out;
                state.next = (number as u32, at + 1);
                left_out = 0;
                units.clear();
                texts.clear();
                audience.counted("documents searched", done + at + 1, total);
                if saved.elapsed() >= PAUSE {
                    self.save(&unfinished, &mut state, &nearest)?;
                    saved = Instant::now();
                }
            }
        }
        let summary = Summary {
            of: state.of,
            k: self.k,
            rows: self.rows.len(),
            candidates: state.candidates,
            left_out: state.left_out,
        };
        self.write(path, &summary, nearest.lists())?;
        remove(&unfinished)?;
        Ok(summary)
    }

    /// What decides the result, beside `k`.
    fn of(&self) -> String {
        let corpora: Vec<String> = self.corpora.iter().map(|corpus| format!("{:016x}", corpus.fingerprint())).collect();
        let rows = corpus::hash_of(&self.rows.join("\n"));
        let Neighbours { unit, shortest, pool, .. } = self.options;
        let (name, seed) = (self.embedder.name(), self.seed);
        format!("{name}, {unit:?}, shortest {shortest}, pool {pool:?} of {seed}, {}, {rows:016x}", corpora.join(" "))
    }

    /// The vectors of some texts; none where the audience wants to stop.
    fn embed(&self, texts: &[&str], audience: &mut dyn Audience) -> Result<Option<Vec<Vec<f32>>>> {
        if audience.stop() {
            return Ok(None);
        }
        Ok(Some(self.embedder.embed(texts, &EmbedOptions::default(), &mut |_| {})?))
    }

    /// Adds the units of a document that are candidates; gives how many the task's own rows say.
    fn units(
        &self,
        (corpus, share): (u32, f64),
        document: &Document,
        units: &mut Vec<(Spot, u64)>,
        texts: &mut Vec<String>,
    ) -> u64 {
        let mut left_out = 0;
        let parts: Vec<&[u32]> = match self.options.unit {
            Unit::Sentence => document.each_sentence().collect(),
            Unit::Document => vec![&document.ids],
        };
        for (at, ids) in parts.into_iter().enumerate() {
            let spot = (corpus, document.number, at as u32);
            if ids.len() < self.options.shortest || drawn(spot, self.seed) >= share {
                continue;
            }
            let text = self.text(ids);
            if text.trim().is_empty() {
                continue;
            }
            if self.said.holds(&text) {
                left_out += 1;
                continue;
            }
            units.push((spot, task_text::mark(&text)));
            texts.push(text);
        }
        left_out
    }

    /// The text of a unit's tokens, as far as the embedding model can read it.
    fn text(&self, ids: &[u32]) -> String {
        // its own tokens may be longer than these
        let most = 4 * self.embedder.max_length();
        self.tokenizer.decode_with(&ids[..ids.len().min(most)], false, true)
    }

    /// The share of all units that is searched.
    fn share(&self) -> f64 {
        let all: u64 = match self.options.unit {
            Unit::Sentence => self.corpora.iter().map(Corpus::sentences).sum(),
            Unit::Document => self.corpora.iter().map(Corpus::len).sum(),
        };
        self.options.pool.map_or(1.0, |pool| pool as f64 / all.max(1) as f64)
    }

    fn save(&self, path: &Path, state: &mut State, nearest: &Nearest<Spot>) -> Result<()> {
        let list = |list: &Vec<Neighbour<Spot>>| {
            list.iter().map(|found| (found.score.to_bits(), found.place, found.mark)).collect()
        };
        state.lists = nearest.lists().iter().map(list).collect();
        let text = serde_json::to_vec(state).map_err(|error| Error::Input(error.to_string()))?;
        state.lists = Vec::new();
        Ok(write_atomic(path, &text)?)
    }

    fn write(&self, path: &Path, summary: &Summary, lists: &[Vec<Neighbour<Spot>>]) -> Result<()> {
        let failed = |source| Error::File { action: "write", path: path.to_owned(), source };
        let mut file = AtomicFile::create(path)?;
        let mut line = |text: serde_json::Result<String>| {
            let text = text.map_err(|error| Error::Input(error.to_string()))?;
            writeln!(file, "{text}").map_err(failed)
        };
        line(serde_json::to_string(summary))?;
        for (text, list) in self.rows.iter().zip(lists) {
            let found = |near: &Neighbour<Spot>| -> Result<Found> {
                let ids = ids_of(&self.corpora[near.place.0 as usize], near.place, self.options.unit)?;
                Ok(Found { score: near.score, spot: near.place, text: self.text(&ids) })
            };
            let neighbours = list.iter().map(found).collect::<Result<_>>()?;
            line(serde_json::to_string(&Row { text: text.clone(), neighbours }))?;
        }
        Ok(file.commit()?)
    }
}

/// A number below 1 that is as good as random, and always the same for a spot.
fn drawn(spot: Spot, seed: u64) -> f64 {
    let hash = corpus::hash_of(&format!("{seed} {} {} {}", spot.0, spot.1, spot.2));
    // the hash's upper bits vary little between neighbours: mix it as SplitMix64 does
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// A JSON file; none where there is none, or it is not what it should be.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { action: "read", path: path.to_owned(), source }),
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ptm_tasks::cosine;
    use ptm_text::corpus::{TokenizedBy, Writer};

    use super::super::found::{found, lines};
    use super::*;
    use crate::objective::Judgement;
    use crate::training::{Progress, Watch};

    /// Wants to stop once it was asked so often.
    struct Patience(std::cell::Cell<u32>);

    impl Watch for Patience {
        fn stop(&self) -> bool {
            self.0.set(self.0.get().saturating_sub(1));
            self.0.get() == 0
        }

        fn note(&mut self, _: &str) {}
        fn step(&mut self, _: &Progress) {}
        fn judged(&mut self, _: u64, _: &Judgement, _: bool) {}
    }

    impl Audience for Patience {
        fn counted(&mut self, _: &'static str, _: u64, _: u64) {}
    }

    /// Sentences of a corpus, some of them twice.
    fn sentence(number: usize) -> String {
        let who = ["A cat", "The old dog", "My neighbour", "No teacher", "A small bird"][number % 5];
        let does = ["sleeps in", "walks to", "writes about", "sees", "paints"][number / 5 % 5];
        let what = ["the garden", "a house", "the river", "an empty street", "the moon", "a school"][number / 25 % 6];
        let when = ["", " today", " at night", " in winter", " again"][number / 150 % 5];
        format!("{who} {does} {what}{when}.")
    }

    fn corpus(dir: &Path, tokenizer: &Tokenizer, numbers: std::ops::Range<usize>) -> Corpus {
        let mut writer = Writer::create(dir, TokenizedBy::of(tokenizer).unwrap()).unwrap();
        let sentences: Vec<String> = numbers.map(sentence).collect();
        for some in sentences.chunks(3) {
            let text = some.join(" ");
            let document = corpus::document(&text, tokenizer).unwrap();
            assert_eq!(document.sentences.len(), some.len(), "{text}");
            writer.add(&document, corpus::hash_of(&text), 1).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn the_nearest_of_all_however_often_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let embedder = Embedder::embedded().unwrap();
        let tokenizer = ptm_tasks::embedded_tokenizer().unwrap();
        let corpora = [
            corpus(&dir.path().join("a"), &tokenizer, 0..700),
            // some are in both
            corpus(&dir.path().join("b"), &tokenizer, 650..1400),
        ];
        let rows = [sentence(31), sentence(777), "The lady paints a lonely road".to_owned()];
        let mut said = Said::default();
        rows.iter().for_each(|row| said.add(row));
        let options = Neighbours::default();
        let search = Search {
            corpora: &corpora,
            tokenizer: &tokenizer,
            embedder: &embedder,
            options: &options,
            seed: 0,
            rows: &rows,
            said: &said,
            k: 10,
        };
        let whole = dir.path().join("whole.jsonl");
        let summary = search.run(&whole, &mut Patience(u32::MAX.into())).unwrap();
        // what a row says may also be the beginning of a sentence
        let repeats = |n: usize| rows.iter().any(|row| sentence(n).contains(row.trim_end_matches('.')));
        let left_out = (0..700).chain(650..1400).filter(|&n| repeats(n)).count() as u64;
        assert!(left_out > 5, "{left_out}");
        assert_eq!((summary.rows, summary.k), (3, 10));
        assert_eq!((summary.candidates, summary.left_out), (1450 - left_out, left_out));
        // all cosines; sentences repeat after 750
        let known: Vec<String> = (0..750).map(|n| sentence(n).to_lowercase()).collect();
        let mut vectors =
            embedder.embed(&rows.each_ref().map(String::as_str), &EmbedOptions::default(), &mut |_| {}).unwrap();
        let texts: Vec<&str> = known.iter().map(String::as_str).collect();
        vectors.extend(embedder.embed(&texts, &EmbedOptions::default(), &mut |_| {}).unwrap());
        let lines: Vec<String> = lines(&whole).unwrap().unwrap().map(Result::unwrap).collect();
        for (row, line) in lines[1..].iter().enumerate() {
            let found: Row = serde_json::from_str(line).unwrap();
            let mut all: Vec<(f32, &str)> =
                (0..750).filter(|&n| !repeats(n)).map(|n| (cosine(&vectors[row], &vectors[3 + n]), texts[n])).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            assert_eq!((&found.text, found.neighbours.len()), (&rows[row], 10));
            let mut texts = HashSet::new();
            for (near, (score, _)) in found.neighbours.iter().zip(&all) {
                assert!((near.score - score).abs() < 1e-4, "{near:?} {score}");
                assert!(all.iter().any(|(score, text)| *text == near.text && (near.score - score).abs() < 1e-4));
                assert!(texts.insert(&near.text), "{line}");
            }
        }
        let parts = dir.path().join("parts.jsonl");
        let mut stops = 0;
        while let Err(error) = search.run(&parts, &mut Patience(3.into())) {
            assert!(matches!(error, Error::Stopped) && !parts.exists());
            stops += 1;
            assert!(stops < 10);
        }
        assert!(stops >= 1 && !parts.with_extension("unfinished").exists());
        assert!(std::fs::read(&parts).unwrap() == std::fs::read(&whole).unwrap());
        // fewer are part of what was found; what each says is there once
        assert_eq!(Search { k: 4, ..search }.run(&parts, &mut Patience(1.into())).unwrap().k, 10);
        let few = found(&parts, 4, &corpora, Unit::Sentence).unwrap();
        assert!((4..=12).contains(&few.len()), "{}", few.len());
        let texts: HashSet<String> = few.iter().map(|(ids, ..)| tokenizer.decode(ids, false)).collect();
        assert_eq!(texts.len(), few.len());
    }

    #[test]
    fn a_pool_is_a_part_and_short_ones_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let embedder = Embedder::embedded().unwrap();
        let tokenizer = ptm_tasks::embedded_tokenizer().unwrap();
        let corpora = [corpus(&dir.path().join("a"), &tokenizer, 0..600)];
        let (rows, said) = (["A lady".to_owned()], Said::default());
        let count = |options: &Neighbours, seed: u64| {
            let search = Search {
                corpora: &corpora,
                tokenizer: &tokenizer,
                embedder: &embedder,
                options,
                seed,
                rows: &rows,
                said: &said,
                k: 3,
            };
            search.run(&dir.path().join("found.jsonl"), &mut Patience(u32::MAX.into())).unwrap()
        };
        let pool = Neighbours { pool: Some(100), ..Neighbours::default() };
        let (drawn, other) = (count(&pool, 0), count(&pool, 1));
        assert!((70..130).contains(&drawn.candidates) && drawn.of != other.of, "{drawn:?} {other:?}");
        assert_eq!(count(&Neighbours { unit: Unit::Document, ..Neighbours::default() }, 0).candidates, 200);
        let long = count(&Neighbours { shortest: 8, ..Neighbours::default() }, 0).candidates;
        assert!(long > 0 && long < 500, "{long}");
    }
}
