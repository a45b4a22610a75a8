//! `corpus.json`: what a packed corpus holds, and what it was made with. The fields are those of `corpus.rs`.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::span_file::{SpanEntry, Spans};
use super::{Error, MANIFEST, UNFINISHED};
use crate::dataset::fnv;
use crate::{EncodeOptions, Tokenizer};

const FORMAT: &str = "ptm corpus";
/// The version of a corpus without spans and of one with them: who knows only the first should not overlook them.
const VERSION: u32 = 1;
const WITH_SPANS: u32 = 2;
/// Larger manifests are not believed.
const LIMIT: u64 = 64 << 20;
/// Nor are larger counts.
const MOST: u64 = 1 << 48;
/// How this is divided tells tokenizers with one vocabulary from each other.
const PROBE: &str = "Naïve  CAFÉS don't cost 1,234.50 € in\tRéunion;\n e-mail 北京 <s>?";

/// The tokenizer that a corpus was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizedBy {
    /// Its class, where its files name one.
    pub class: Option<String>,
    /// One more than the largest id that it can give.
    pub size: u32,
    /// Differs for another vocabulary, or where a probing text is divided otherwise.
    pub fingerprint: String,
}

impl TokenizedBy {
    /// What identifies `tokenizer`.
    ///
    /// # Errors
    /// When it cannot encode at all.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self, Error> {
        let size = tokenizer.max_id().saturating_add(1);
        let mut hash = Sha256::new();
        for id in 0..size {
            if let Some(token) = tokenizer.token(id) {
                hash.update(id.to_le_bytes());
                hash.update((token.len() as u64).to_le_bytes());
                hash.update(token);
            }
        }
        let probe = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
        for id in tokenizer.encode(PROBE, &probe)?.ids {
            hash.update(id.to_le_bytes());
        }
        let fingerprint = hexadecimal(&hash.finalize()[..16]);
        Ok(Self { class: tokenizer.class().map(str::to_owned), size, fingerprint })
    }

    /// Whether `tokenizer` divides text as the corpus was divided.
    ///
    /// # Errors
    /// When it cannot encode at all.
    pub fn is(&self, tokenizer: &Tokenizer) -> Result<bool, Error> {
        let other = Self::of(tokenizer)?;
        Ok((self.size, &self.fingerprint) == (other.size, &other.fingerprint))
    }
}

/// Bytes as digits, two each, `0` to `9` and `a` to `f`.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // a string takes whatever is written
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A shard, as the manifest has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub documents: u64,
    pub sentences: u64,
    pub tokens: u64,
    pub bytes: u64,
    pub sha256: String,
    /// Of the file of spans, where the shard has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<SpanEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: String,
    version: u32,
    pub id_bytes: usize,
    pub tokenizer: TokenizedBy,
    pub documents: u64,
    pub sentences: u64,
    pub tokens: u64,
    pub text_bytes: u64,
    /// Of all shards, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<Spans>,
    pub shards: Vec<Entry>,
}

/// The spans of all shards together; none where there are none, or more than can be.
fn spans_of(shards: &[Entry]) -> Option<Spans> {
    let mut counts = shards.iter().filter_map(|entry| entry.spans.as_ref()).map(SpanEntry::counts);
    let first = counts.next()?;
    let all = counts.try_fold(first, Spans::plus)?;
    (1..=MOST).contains(&all.all()).then_some(all)
}

impl Manifest {
    pub fn new(id_bytes: usize, tokenizer: TokenizedBy, text_bytes: u64, shards: Vec<Entry>) -> Self {
        let sum = |of: fn(&Entry) -> u64| shards.iter().map(of).sum();
        let spans = spans_of(&shards);
        Self {
            format: FORMAT.to_owned(),
            version: if spans.is_some() { WITH_SPANS } else { VERSION },
            id_bytes,
            tokenizer,
            documents: sum(|entry| entry.documents),
            sentences: sum(|entry| entry.sentences),
            tokens: sum(|entry| entry.tokens),
            text_bytes,
            spans,
            shards,
        }
    }

    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(MANIFEST);
        let failed = |source| Error::Read { path: path.clone(), source };
        // asked before opening: opening a named pipe would wait for its writer
        let meta = match std::fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && dir.is_dir() => {
                let dir = dir.to_owned();
                let begun = dir.join(UNFINISHED).exists();
                return Err(if begun { Error::Unfinished { dir } } else { Error::NoCorpus { dir } });
            }
            Err(source) => return Err(Error::Read { path: dir.to_owned(), source }),
        };
        if !meta.is_file() {
            return Err(failed(std::io::Error::other("not a regular file")));
        }
        let mut text = Vec::new();
        std::fs::File::open(&path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut text)).map_err(failed)?;
        if text.len() as u64 > LIMIT {
            return Err(Error::damaged(&path, format!("it has more than {LIMIT} bytes, no manifest does")));
        }
        let broken =
            |error: serde_json::Error| Error::damaged(&path, format!("it is no manifest of a corpus: {error}"));
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(broken)?;
        if value["format"] != FORMAT {
            return Err(Error::damaged(&path, format!("its field `format` is not {FORMAT:?}")));
        }
        match value["version"].as_u64() {
            Some(version) if [VERSION, WITH_SPANS].map(u64::from).contains(&version) => {}
            Some(found) => return Err(Error::Version { path, found, known: WITH_SPANS.into() }),
            None => return Err(Error::damaged(&path, "its field `version` is not a number")),
        }
        let this: Self = serde_json::from_value(value).map_err(broken)?;
        this.check().map_err(|problem| Error::damaged(&path, problem))?;
        Ok(this)
    }

    fn check(&self) -> Result<(), String> {
        if !matches!(self.id_bytes, 2 | 4) {
            return Err(format!("its field `id_bytes` is {}, not 2 or 4", self.id_bytes));
        }
        if self.documents == 0 {
            return Err("it says that the corpus has no document".to_owned());
        }
        type Count = (&'static str, u64, fn(&Entry) -> u64);
        let counts: [Count; 3] = [
            ("documents", self.documents, |entry| entry.documents),
            ("sentences", self.sentences, |entry| entry.sentences),
            ("tokens", self.tokens, |entry| entry.tokens),
        ];
        for (name, all, of) in counts {
            let sum = self.shards.iter().try_fold(0u64, |sum, entry| sum.checked_add(of(entry)));
            if sum.is_none_or(|sum| sum != all || sum > MOST) {
                return Err(format!("the {name} of its shards are not together the {all} that it says"));
            }
        }
        if self.spans != spans_of(&self.shards) {
            return Err("the spans of its shards are not together those that it says".to_owned());
        }
        if (self.version == WITH_SPANS) != self.spans.is_some() {
            return Err(format!("it has version {}, which contradicts its spans", self.version));
        }
        Ok(())
    }

    pub fn fingerprint(&self) -> u64 {
        let shards: Vec<&str> = self
            .shards
            .iter()
            .flat_map(|entry| [Some(&entry.sha256), entry.spans.as_ref().map(|spans| &spans.sha256)])
            .flatten()
            .map(String::as_str)
            .collect();
        fnv(format!("{}\n{}", self.tokenizer.fingerprint, shards.join("\n")).as_bytes())
    }
}
