//! The files that make a tokenizer, in memory, under the names of the model directories.
//! Not a downloader, and not a decision which of them to use: see `tokenizer.rs`.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use crate::Error;

/// A file's bytes, borrowed (an embedded model) or owned.
pub type Bytes<'a> = Cow<'a, [u8]>;

/// More than the largest published vocabulary by far.
const LIMIT: u64 = 512 << 20;

/// The tokenizer files of a model, each where present.
#[derive(Clone, Debug, Default)]
pub struct TokenizerFiles<'a> {
    /// `tokenizer.json`: the whole tokenizer.
    pub tokenizer_json: Option<Bytes<'a>>,
    /// `vocab.txt`: WordPiece, one token a line.
    pub vocab_txt: Option<Bytes<'a>>,
    /// `vocab.json`: byte-level BPE (with merges), or Marian's ids.
    pub vocab_json: Option<Bytes<'a>>,
    /// `merges.txt`: byte-level BPE.
    pub merges_txt: Option<Bytes<'a>>,
    /// A SentencePiece model: `spiece.model`, `sentencepiece.bpe.model`, `source.spm`, ...
    pub sentencepiece: Option<Bytes<'a>>,
    /// The name under which `sentencepiece` was found, for messages and to tell Marian's.
    pub sentencepiece_name: Option<String>,
    /// `target.spm`: how Marian segments what it says.
    pub target_spm: Option<Bytes<'a>>,
    /// `config.json` of the model: names the family.
    pub config: Option<Bytes<'a>>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<Bytes<'a>>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<Bytes<'a>>,
    /// `added_tokens.json`.
    pub added_tokens: Option<Bytes<'a>>,
}

/// The names under which SentencePiece models are published.
pub(crate) const SENTENCEPIECE_NAMES: [&str; 6] =
    ["spiece.model", "sentencepiece.bpe.model", "spm.model", "sentencepiece.model", "source.spm", "tokenizer.model"];

impl TokenizerFiles<'static> {
    /// Reads the files of a model directory that are there.
    ///
    /// # Errors
    /// When the directory or one of the files cannot be read, or is far too large.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        // An unreadable or missing directory would otherwise look like an empty one.
        std::fs::read_dir(dir).map_err(|source| Error::Read { path: dir.to_owned(), source })?;
        let file = |name: &str| read(&dir.join(name));
        let mut files = Self {
            tokenizer_json: file("tokenizer.json")?,
            config: file("config.json")?,
            tokenizer_config: file("tokenizer_config.json")?,
            special_tokens_map: file("special_tokens_map.json")?,
            added_tokens: file("added_tokens.json")?,
            ..Self::default()
        };
        if files.tokenizer_json.is_none() {
            files.vocab_txt = file("vocab.txt")?;
            files.vocab_json = file("vocab.json")?;
            files.merges_txt = file("merges.txt")?;
            files.target_spm = file("target.spm")?;
            for name in SENTENCEPIECE_NAMES {
                if let Some(bytes) = file(name)? {
                    files.sentencepiece = Some(bytes);
                    files.sentencepiece_name = Some(name.to_owned());
                    break;
                }
            }
        }
        Ok(files)
    }
}

fn read(path: &Path) -> Result<Option<Bytes<'static>>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    // Asked before opening: opening a named pipe would wait for its writer.
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    if !meta.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let too_large = |size| Error::TooLarge { file: path.display().to_string(), size, limit: LIMIT };
    if meta.len() > LIMIT {
        return Err(too_large(meta.len()));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    let read = file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)? as u64;
    if read > LIMIT {
        return Err(too_large(read));
    }
    Ok(Some(Cow::Owned(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_directory_is_named() {
        let e = TokenizerFiles::read(Path::new("no/such/folder")).unwrap_err().to_string();
        assert!(e.contains("no/such/folder"), "{e}");
    }
}
