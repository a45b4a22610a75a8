//! Where rows come from: a file divided into blocks, each of which can be read by itself. Blocks are what is shuffled,
//! so that a file larger than memory needs no index of its rows.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::Error;

/// A record longer than this is refused: a file without line ends would otherwise fill the memory.
pub(super) const LONGEST_RECORD: usize = 16 << 20;
/// A block ends behind the record that passes this.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// Rows that stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub rows: u32,
    /// About what it takes in memory.
    pub bytes: u64,
}

/// A row that was read but not yet understood.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its line or row in the file, from 1.
    pub number: u64,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A piece of a file's bytes.
    Bytes { buffer: Arc<Vec<u8>>, start: usize, end: usize },
    /// Columns and values.
    #[cfg(feature = "parquet")]
    Values(Map<String, Value>),
    /// Understood by its number alone.
    Numbered,
}

/// One file.
pub(super) trait Source: Send + Sync {
    /// The file as it was named.
    fn name(&self) -> &Arc<str>;

    /// Whether records are numbered by lines.
    fn by_lines(&self) -> bool;

    /// A hash of its bytes.
    fn content(&self) -> u64;

    /// Its blocks in order.
    fn blocks(&self) -> &[Block];

    /// The records of a block, as many as it promises.
    fn read(&self, block: usize) -> Result<Vec<Record>, Error>;

    /// Columns and values of a record; an error names the line.
    fn values(&self, record: Record) -> Result<Map<String, Value>, (u64, String)>;
}
