//! What the driver says and what it hears: one JSON object a line. Keys meant for other engines are passed over.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A line from the driver.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    /// Make ready to run a job.
    Prepare(Job),
    /// Run the prepared job once.
    Run,
    /// Tell the peak memory so far.
    Memory,
}

/// What can be run.
#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum Job {
    /// Token ids to hidden states.
    Encode(Encode),
    /// A file of sentences to vectors.
    Embed(Embed),
    /// One optimizer step of a masked language model.
    Train(Train),
    /// A directory to a model in memory.
    Load(Load),
    /// One large f32 product.
    Product(Product),
}

/// `[batch]` sequences through an encoder.
#[derive(Deserialize)]
pub struct Encode {
    /// Model directory.
    pub model: PathBuf,
    /// Token ids, special tokens included.
    pub sequences: Vec<Vec<u32>>,
}

/// Sentences through a sentence-transformers directory.
#[derive(Deserialize)]
pub struct Embed {
    /// Model directory.
    pub model: PathBuf,
    /// Text file, a sentence a line.
    pub file: PathBuf,
}

/// A batch with masked positions.
#[derive(Deserialize)]
pub struct Train {
    /// Model directory with a masked LM head.
    pub model: PathBuf,
    /// Token ids after masking.
    pub sequences: Vec<Vec<u32>>,
    /// Rows to predict, ascending, counted over all sequences end to end.
    pub rows: Vec<u32>,
    /// What stood there.
    pub targets: Vec<u32>,
    /// Learning rate.
    pub lr: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

/// Reading a model.
#[derive(Deserialize)]
pub struct Load {
    /// Model directory.
    pub model: PathBuf,
    /// Token ids of the first question.
    pub sequences: Vec<Vec<u32>>,
    /// Whether the first answer belongs to the job.
    pub answer: bool,
}

/// `[m, k] · [k, n]`.
#[derive(Deserialize)]
pub struct Product {
    /// Rows of the left matrix.
    pub m: usize,
    /// Columns of the left, rows of the right matrix.
    pub k: usize,
    /// Columns of the right matrix.
    pub n: usize,
}

/// A line to the driver.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Prepared.
    Ok {
        /// Always true.
        ok: bool,
    },
    /// Ran.
    Run {
        /// Wall-clock time.
        seconds: f64,
        /// Numbers that every engine must agree on.
        check: Vec<f32>,
    },
    /// Memory.
    Memory {
        /// Largest resident size of this process, bytes.
        peak_bytes: u64,
    },
    /// What went wrong.
    Error {
        /// One sentence.
        error: String,
    },
}
