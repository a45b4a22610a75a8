//! One file into the cache: asked about, locked, continued where an earlier attempt stopped, checked, then made visible.
//! Two processes that want the same file wait for each other; the second finds it there.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::cache::{self, ModelCache};
use super::http::{ATTEMPTS, Answer, Failure, header};
use super::{Error, Hub, names};

/// How often a file may change while it is fetched, or prove damaged, before that is an error.
const ROUNDS: u32 = 3;

/// What the server says about a file.
struct Facts {
    etag: String,
    size: Option<u64>,
}

impl Hub {
    /// Fetches `file` of a commit unless it is there.
    pub(super) fn fetch(&self, cache: &ModelCache, id: &str, commit: &str, file: &str) -> Result<(), Error> {
        if cache.pointer(commit, file).exists() {
            return Ok(());
        }
        let url = format!("{}/{id}/resolve/{commit}/{}", self.settings.endpoint, names::quote(file, b"/"));
        let mut rounds = 0;
        let etag = loop {
            let facts = self.facts(&url, id, commit, file)?;
            rounds += 1;
            match self.fetch_blob(cache, &url, file, &facts) {
                Ok(()) => break facts.etag,
                // the partial file is gone: begin again, with what the server says now
                Err(Error::Damaged { .. }) if rounds < ROUNDS => {}
                Err(error) => return Err(error),
            }
        };
        cache.link(&etag, commit, file, self.settings.symlinks)
    }

    fn facts(&self, url: &str, id: &str, commit: &str, file: &str) -> Result<Facts, Error> {
        self.http()?.persist(
            ATTEMPTS,
            || 0,
            || {
                let answer = self.http()?.head(url)?;
                if !answer.status().is_success() && !answer.status().is_redirection() {
                    return Err(self.refusal(&answer, id, commit, Some(file)));
                }
                let bad = |problem: &str| Error::BadAnswer { url: url.to_owned(), problem: problem.into() };
                if header(&answer.first, "x-repo-commit").is_some_and(|found| found != commit) {
                    return Err(bad("it is of another commit than was asked for").into());
                }
                let etag = etag_of(&answer).ok_or_else(|| bad("it has no ETag that could name a file"))?;
                let length = if answer.status().is_success() { answer.header("content-length") } else { None };
                let size = header(&answer.first, "x-linked-size").or(length).and_then(|size| size.parse().ok());
                Ok(Facts { etag, size })
            },
        )
    }

    fn fetch_blob(&self, cache: &ModelCache, url: &str, file: &str, facts: &Facts) -> Result<(), Error> {
        let (blob, incomplete) = (cache.blob(&facts.etag), cache.incomplete(&facts.etag));
        if blob.exists() {
            return Ok(());
        }
        cache::make_parent(&blob)?;
        let _lock = lock(&cache.lock(&facts.etag))?;
        // whoever held the lock before may have fetched it
        if blob.exists() {
            return Ok(());
        }
        let open = File::options().read(true).append(true).create(true).open(&incomplete);
        let mut partial = open.map_err(Error::io(&incomplete, "write"))?;
        let length = || fs::metadata(&incomplete).map_or(0, |found| found.len());
        let filled = self.http()?.persist(ATTEMPTS, length, || self.fill(url, file, &incomplete, &mut partial, facts));
        let result = filled.and_then(|()| check(&mut partial, file, facts)).and_then(|()| {
            partial.sync_all().map_err(Error::io(&incomplete, "write"))?;
            fs::rename(&incomplete, &blob).map_err(Error::io(&blob, "write"))
        });
        if matches!(result, Err(Error::Damaged { .. })) {
            let _ = fs::remove_file(&incomplete);
        }
        result
    }

    /// Adds what is missing. On failure what came stays, for the next attempt.
    fn fill(&self, url: &str, file: &str, path: &Path, partial: &mut File, facts: &Facts) -> Result<(), Failure> {
        let io = |error| Failure::from(Error::io(path, "write")(error));
        let mut have = partial.metadata().map_err(io)?.len();
        if facts.size.is_some_and(|size| have > size) {
            partial.set_len(0).map_err(io)?;
            have = 0;
        }
        self.progress.start(file, facts.size);
        if have > 0 && facts.size == Some(have) {
            self.progress.advance(have);
            self.progress.finish();
            return Ok(());
        }
        let answer = self.http()?.download(url, have)?;
        match answer.status().as_u16() {
            200 => {
                // the server sends everything, asked for the rest or not
                partial.set_len(0).map_err(io)?;
                have = 0;
            }
            206 if answer.header("content-range").is_some_and(|r| r.trim().starts_with(&format!("bytes {have}-"))) => {}
            // it does not have so much: what is here is of something else
            206 | 416 => {
                partial.set_len(0).map_err(io)?;
                let problem = "the server continues at another place".into();
                // not an attempt of this round: rounds are counted, so that no server keeps us here for ever
                return Err(Error::Damaged { file: file.to_owned(), problem }.into());
            }
            _ => return Err(answer.unexpected()),
        }
        if etag_of(&answer).is_some_and(|etag| etag != facts.etag) && same_place(&answer, url) {
            partial.set_len(0).map_err(io)?;
            let problem = "the file changed on the server meanwhile".into();
            return Err(Error::Damaged { file: file.to_owned(), problem }.into());
        }
        self.progress.advance(have);
        let cut = |problem: String| Failure::passing(Error::Network { url: url.to_owned(), problem });
        let mut reader = answer.reader();
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = reader.read(&mut buffer).map_err(|error| cut(error.to_string()))?;
            if count == 0 {
                break;
            }
            have += count as u64;
            if facts.size.is_some_and(|size| have > size) {
                partial.set_len(0).map_err(io)?;
                let problem = "the server sends more than it announced".into();
                return Err(Error::Damaged { file: file.to_owned(), problem }.into());
            }
            partial.write_all(&buffer[..count]).map_err(io)?;
            self.progress.advance(count as u64);
        }
        if let Some(size) = facts.size.filter(|&size| have < size) {
            return Err(cut(format!("the connection ended after {have} of {size} bytes")));
        }
        self.progress.finish();
        Ok(())
    }
}

/// The name of the contents.
fn etag_of(answer: &Answer) -> Option<String> {
    let etag = header(&answer.first, "x-linked-etag").or_else(|| header(&answer.first, "etag"))?;
    names::normal_etag(etag)
}

/// Whether the first answer speaks of the contents: the endpoint's own does, or one that says so.
fn same_place(answer: &Answer, url: &str) -> bool {
    answer.url == url || header(&answer.first, "x-linked-etag").is_some()
}

/// Length, and contents where the ETag is their SHA-256.
fn check(partial: &mut File, file: &str, facts: &Facts) -> Result<(), Error> {
    let damaged = |problem: String| Error::Damaged { file: file.to_owned(), problem };
    let read = |error: std::io::Error| damaged(format!("it cannot be read back: {error}"));
    let length = partial.metadata().map_err(read)?.len();
    if let Some(size) = facts.size.filter(|&size| size != length) {
        return Err(damaged(format!("{length} bytes where {size} were announced")));
    }
    if names::is_sha256(&facts.etag) {
        partial.seek(SeekFrom::Start(0)).map_err(read)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = partial.read(&mut buffer).map_err(read)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
        }
        let found = names::hex(&hash.finalize());
        if found != facts.etag {
            return Err(damaged(format!("its SHA-256 is {found} where {} was announced", facts.etag)));
        }
    }
    Ok(())
}

/// Waits for the file's lock, which ends with the value. Python's library takes the same one.
fn lock(path: &Path) -> Result<File, Error> {
    cache::make_parent(path)?;
    let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = open.map_err(Error::io(path, "lock"))?;
    if matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)) {
        tracing::info!("waiting for another program that fetches the same file");
    }
    if let Err(error) = file.lock() {
        // some network file systems know no locks; then the worst is a file fetched twice
        tracing::debug!(path = %path.display(), %error, "no lock");
    }
    Ok(file)
}
