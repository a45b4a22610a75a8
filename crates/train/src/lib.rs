//! Training: optimizers, schedules, the loop, checkpoints, fine-tuning by heads, metrics and evaluation.
//!
//! A run is a function of recipe, seed and data: stopped at any step and continued, it gives the same bits.

pub mod adapt;
mod adversarial;
pub mod batch_search;
pub mod checkpoint;
pub mod courses;
mod environment;
mod error;
pub mod evaluate;
pub mod feed;
pub mod finetune;
pub mod journal;
pub mod memory;
pub mod metrics;
pub mod objective;
pub mod objectives;
pub mod optimizer;
pub mod parameters;
pub mod pattern;
pub mod pretrain;
pub mod range_test;
pub mod recipe;
pub mod report;
pub mod schedule;
mod tensorboard;
pub mod training;
pub mod tune;

pub use error::{Error, Result};
