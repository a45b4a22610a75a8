//! Language models that go on with what they have read, whatever their family: what generation needs of a model.

use burn::prelude::*;
use ptm_models::heads::LanguageModelHead;
use ptm_models::xlnet::Memory as Remembered;
use ptm_models::{
    Bart, BartDecoder, Body as _, Cache, Configuration, Decoder, Model, Pass, Permuted, Rows, Stepwise, T5, Xlnet,
};
use ptm_ops::{Indices, read_f32};
use ptm_text::{Packed, PositionStyle};

use crate::error::{Error, Result};

/// What a model keeps of the sequences it has read.
pub trait Memory: Send {
    /// Goes on with these sequences, in that order; one may be named more than once.
    fn select(&mut self, which: &[usize]);
    /// Adds the sequences of another after its own.
    fn absorb(&mut self, other: Self);
    /// Forgets the last so many tokens of each sequence.
    fn forget(&mut self, counts: &[usize]);
}

impl Memory for Cache {
    fn select(&mut self, which: &[usize]) {
        Self::select(self, which);
    }

    fn absorb(&mut self, other: Self) {
        Self::absorb(self, other);
    }

    fn forget(&mut self, counts: &[usize]) {
        Self::forget(self, counts);
    }
}

/// A language model that says what comes next.
pub trait Speaker {
    /// What it keeps of what it has read.
    type Memory: Memory;

    /// Rows of its output, `V`.
    fn vocabulary(&self) -> usize;

    /// Tokens that a sequence may have; none where the model sets no limit.
    fn longest(&self) -> Option<usize>;

    /// Whether an encoder reads the prompt, and a decoder speaks.
    fn has_encoder(&self) -> bool;

    /// Whether it reads several tokens of a sequence at once after the prompt, and gives hidden states of all rows.
    fn reads_ahead(&self) -> bool {
        true
    }

    /// Begins as many sequences; an encoder reads the sources now.
    ///
    /// # Errors
    /// When a source doesn't fit the model.
    fn begin(&self, sources: &[&[u32]]) -> Result<Self::Memory>;

    /// Reads what follows in each sequence; gives the hidden states of all its rows, or of the last of each sequence.
    ///
    /// # Shapes
    /// → `[R, H]`.
    ///
    /// # Errors
    /// When the tokens don't fit the model.
    fn read(&self, memory: &mut Self::Memory, tokens: &[&[u32]], all_rows: bool) -> Result<Tensor<2>>;

    /// Logits of the next token after each row.
    ///
    /// # Shapes
    /// `[R, H]` → `[R, V]`.
    fn logits(&self, hidden: Tensor<2>) -> Vec<f32>;
}

macro_rules! speaks {
    ($body:ident, $has_encoder:literal, |$model:ident, $sources:ident| $begin:expr, |$config:ident| $longest:expr) => {
        impl Speaker for Model<LanguageModelHead, $body> {
            type Memory = Cache;

            fn vocabulary(&self) -> usize {
                self.config().output_size()
            }

            fn longest(&self) -> Option<usize> {
                let $config = self.config();
                $longest
            }

            fn has_encoder(&self) -> bool {
                $has_encoder
            }

            fn begin(&self, $sources: &[&[u32]]) -> Result<Cache> {
                let $model = self;
                $begin
            }

            fn read(&self, memory: &mut Cache, tokens: &[&[u32]], all_rows: bool) -> Result<Tensor<2>> {
                let batch = memory.batch(tokens, self.config().positions())?;
                let rows = if all_rows { Rows::All } else { Rows::Last };
                Ok(self.body.step(&batch, memory, &rows)?)
            }

            fn logits(&self, hidden: Tensor<2>) -> Vec<f32> {
                read_f32(self.head.logits(hidden, self.body.word()))
            }
        }
    };
}

fn pack(sources: &[&[u32]], style: PositionStyle) -> Result<Packed> {
    Packed::from_ids(sources, style).map_err(|error| Error::Input(error.to_string()))
}

speaks!(Decoder, false, |model, sources| Ok(model.body.begin(sources.len())), |config| Some(config.max_positions));
speaks!(BartDecoder, false, |model, sources| Ok(model.body.begin(sources.len())), |config| Some(config.max_positions));
speaks!(
    Bart,
    true,
    |model, sources| Ok(model.body.begin(&pack(sources, model.config().positions())?)?),
    |config| Some(config.max_positions)
);
speaks!(T5, true, |model, sources| Ok(model.body.begin(&pack(sources, model.config().positions())?)?), |_config| None);

/// XLNet's: hidden states of all but the last token of each sequence. Both streams see everything that is known, so what
/// is remembered is not quite what a pass over all would give; `transformers` generates in the same way.
#[derive(Debug)]
pub struct XlnetMemory {
    remembered: Option<Remembered>,
    /// The last token of each sequence, once there is one.
    last: Vec<Vec<u32>>,
}

impl Memory for XlnetMemory {
    fn select(&mut self, which: &[usize]) {
        if let Some(remembered) = &mut self.remembered {
            *remembered = remembered.of(which);
        }
        self.last = which.iter().map(|&b| self.last[b].clone()).collect();
    }

    fn absorb(&mut self, other: Self) {
        match (&mut self.remembered, other.remembered) {
            (Some(own), Some(theirs)) => own.absorb(theirs),
            (own, theirs) => *own = theirs,
        }
        self.last.extend(other.last);
    }

    fn forget(&mut self, counts: &[usize]) {
        assert!(counts.iter().all(|&count| count == 0), "XLNet doesn't read ahead");
    }
}

impl Speaker for Model<LanguageModelHead, Xlnet> {
    type Memory = XlnetMemory;

    fn vocabulary(&self) -> usize {
        self.config().output_size()
    }

    fn longest(&self) -> Option<usize> {
        None
    }

    fn has_encoder(&self) -> bool {
        false
    }

    fn reads_ahead(&self) -> bool {
        false
    }

    fn begin(&self, sources: &[&[u32]]) -> Result<XlnetMemory> {
        Ok(XlnetMemory { remembered: None, last: vec![Vec::new(); sources.len()] })
    }

    /// A token without meaning stands for the one that comes next: its place is known, and seen by nobody.
    fn read(&self, memory: &mut XlnetMemory, tokens: &[&[u32]], all_rows: bool) -> Result<Tensor<2>> {
        assert!(!all_rows, "XLNet doesn't read ahead");
        let mut parts: Vec<Vec<u32>> =
            memory.last.iter().zip(tokens).map(|(last, new)| [last.as_slice(), new, &[0]].concat()).collect();
        let sources: Vec<&[u32]> = parts.iter().map(Vec::as_slice).collect();
        let batch = pack(&sources, self.config().positions())?;
        let targets: Indices = batch.offsets[1..].iter().map(|&end| end as u32 - 1).collect();
        let seen = parts.iter().flat_map(|part| {
            let length = part.len();
            (0..length * length).map(move |pair| pair % length + 1 < length)
        });
        let input = Permuted {
            batch: &batch,
            visible: Some(seen.collect()),
            targets: Some(targets),
            memory: memory.remembered.as_ref(),
            backwards: None,
        };
        let (hidden, mut remembered) = self.body.forward_and_remember(&input, &Rows::All, &Pass::eval())?;
        remembered.forget(2);
        memory.remembered = Some(remembered);
        memory.last = parts.iter_mut().map(|part| vec![part[part.len() - 2]]).collect();
        Ok(hidden)
    }

    fn logits(&self, hidden: Tensor<2>) -> Vec<f32> {
        read_f32(self.head.logits(hidden, self.body.word()))
    }
}
