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
    /// A file of texts to entities or answers.
    Pipeline(Pipeline),
    /// One optimizer step of a masked language model.
    Train(Train),
    /// Another family: hidden states, or one optimizer step.
    Family(Family),
    /// New tokens of a language model.
    Generate(Generate),
    /// Memory, once through.
    Read(Read),
    /// A directory to a model in memory.
    Load(Load),
    /// One large f32 product.
    Product(Product),
    /// A classifier of sentence pairs, fine-tuned by the loop of `ptm finetune`.
    Finetune(Finetune),
    /// Some steps of a recipe, by the loop of `ptm pretrain`.
    Pretrain(Pretrain),
}

/// A new model and packed text.
#[derive(Deserialize)]
pub struct Pretrain {
    /// The recipe's file.
    pub recipe: PathBuf,
    /// `key=value` to change in it.
    pub set: Vec<String>,
}

/// Labelled pairs, all of them once.
#[derive(Deserialize)]
pub struct Finetune {
    /// Model directory with a tokenizer.
    pub model: PathBuf,
    /// JSONL with `text`, `pair` and `label`.
    pub file: PathBuf,
    /// A folder for what the run writes; it is removed afterwards.
    pub output: PathBuf,
    /// Examples of a batch.
    pub size: usize,
    /// Peak learning rate.
    pub lr: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
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

/// Texts through a task.
#[derive(Deserialize)]
pub struct Pipeline {
    /// Model directory with the task's head and a tokenizer.
    pub model: PathBuf,
    /// `token-classification` or `question-answering`.
    pub task: String,
    /// Text file, a text a line.
    pub file: PathBuf,
    /// What is asked about each text.
    #[serde(default)]
    pub question: String,
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

/// A batch for a language model that is no encoder's.
#[derive(Deserialize)]
pub struct Family {
    /// Model directory with a language model's head.
    pub model: PathBuf,
    /// `gpt2`, `bart`, `t5` or `xlnet`.
    pub family: String,
    /// One optimizer step, or hidden states alone.
    pub train: bool,
    /// Token ids; of a text-to-text model those of its encoder.
    pub sequences: Vec<Vec<u32>>,
    /// What a text-to-text model is to say.
    #[serde(default)]
    pub targets: Vec<Vec<u32>>,
    /// Of a permuted order who sees whom, `[n, n]` a sequence: 1 or 0.
    #[serde(default)]
    pub visible: Vec<u8>,
    /// Of a permuted order the rows to predict, ascending, counted over all sequences end to end.
    #[serde(default)]
    pub rows: Vec<u32>,
    /// Learning rate.
    #[serde(default)]
    pub lr: f32,
    /// Decoupled weight decay.
    #[serde(default)]
    pub weight_decay: f32,
}

/// Sequences to continue.
#[derive(Deserialize)]
pub struct Generate {
    /// Model directory with a language model's head.
    pub model: PathBuf,
    /// Token ids; of a text-to-text model those of its encoder.
    pub sequences: Vec<Vec<u32>>,
    /// How many tokens each is to get.
    pub new: usize,
    /// Beams; 1 for the likeliest token each time.
    pub beams: usize,
    /// The token that would end a sequence, and is not said before.
    pub end: u32,
    /// The token that starts a decoder beside an encoder.
    #[serde(default)]
    pub start: u32,
}

/// Memory to read.
#[derive(Deserialize)]
pub struct Read {
    /// How much.
    pub bytes: usize,
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
