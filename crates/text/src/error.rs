//! What can go wrong between a model directory's tokenizer files and token ids.
//! Every message says where (file, line or field) and what to do. Not for packed batches: see `packed.rs`.

use std::path::PathBuf;

/// Errors of reading tokenizer files and of encoding.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No known tokenizer file.
    #[error(
        "{place} holds no tokenizer: expected one of tokenizer.json, vocab.txt, vocab.json with merges.txt, spiece.model, \
         sentencepiece.bpe.model, or source.spm with vocab.json"
    )]
    NoTokenizer {
        /// The folder, or what was given in its place.
        place: String,
    },
    /// A file larger than any tokenizer.
    #[error("{file} has {size} bytes, more than the {limit} that a tokenizer file may have: is it the right file?")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Bytes that are not UTF-8.
    #[error("{file}, line {line}, is not UTF-8 text: save it as UTF-8, or download it again")]
    NotUtf8 {
        /// The file.
        file: String,
        /// Line number from 1.
        line: usize,
    },
    /// Broken JSON.
    #[error("{file} is not valid JSON (line {line}, column {column}): {reason}; download it again")]
    Json {
        /// The file.
        file: String,
        /// Line number from 1.
        line: usize,
        /// Column from 1.
        column: usize,
        /// What the parser said.
        reason: String,
    },
    /// A field of a JSON file with a wrong type or value.
    #[error("{file}, field `{field}`: {reason}")]
    Field {
        /// The file.
        file: String,
        /// The field's name or path.
        field: String,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A wrong line of a vocabulary or merges file.
    #[error("{file}, line {line}: {reason}")]
    Line {
        /// The file.
        file: String,
        /// Line number from 1.
        line: usize,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A broken SentencePiece model.
    #[error("{file} is not a readable SentencePiece model (byte {offset}): {reason}; download it again")]
    SentencePiece {
        /// The file.
        file: String,
        /// Where, in bytes from the start.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// The files are readable but make no tokenizer.
    #[error("{file} describes no usable tokenizer: {reason}")]
    Model {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tokenizer class that only its own `tokenizer.json` can describe here.
    #[error(
        "the tokenizer class {class} cannot be built from {file}: add the model's tokenizer.json \
         (transformers writes one with save_pretrained of a fast tokenizer)"
    )]
    UnknownClass {
        /// The class named by the configuration.
        class: String,
        /// The vocabulary file that was found.
        file: String,
    },
    /// A maximum length that leaves nothing, or a stride that never advances.
    #[error("cannot truncate to {max} tokens with {added} special tokens and stride {stride}: {reason}")]
    Truncation {
        /// The maximum asked for.
        max: usize,
        /// Special tokens that are added.
        added: usize,
        /// The overlap asked for.
        stride: usize,
        /// Why not, and what to change.
        reason: &'static str,
    },
    /// Windows that together would fill the memory.
    #[error(
        "the text would give {tokens} tokens in overlapping windows, more than {limit}: use a smaller stride or a shorter text"
    )]
    TooManyWindows {
        /// Tokens of all windows together.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer could not encode the text: {reason}")]
    Encode {
        /// What it said.
        reason: String,
    },
}
