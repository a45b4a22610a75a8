//! Language models that go on with what they have read, whatever their family: what generation needs of a model.

use burn::prelude::*;
use ptm_models::heads::LanguageModelHead;
use ptm_models::xlnet::Memory as Remembered;
use ptm_models::{
    Bart, BartDecoder, Body as _, Cache, Configuration, Decoder, Model, Pass, Permuted, Rows, Stepwise, T5, Visible,
    Xlnet,
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

fn joined(mut own: Remembered, theirs: Remembered) -> Remembered {
    own.absorb(theirs);
    own
}

impl Memory for XlnetMemory {
    fn select(&mut self, which: &[usize]) {
        if let Some(remembered) = &mut self.remembered {
            *remembered = remembered.of(which);
        }
        self.last = which.iter().map(|&b| self.last[b].clone()).collect();
    }

    fn absorb(&mut self, other: Self) {
        // of sequences that were not read yet nothing is remembered
        let (held, joining) = (vec![None; self.last.len()], vec![None; other.last.len()]);
        self.remembered = match (self.remembered.take(), other.remembered) {
            (None, None) => None,
            (None, Some(theirs)) => Some(joined(theirs.spread(&held), theirs)),
            (Some(own), None) => Some(joined(own.clone(), own.spread(&joining))),
            (Some(own), Some(theirs)) => Some(joined(own, theirs)),
        };
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
        let input = Permuted {
            batch: &batch,
            visible: Visible::AllButLast,
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::generation::engine::Engine;

    type Xl = Model<LanguageModelHead, Xlnet>;

    fn dump(case: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity/dumps").join(case)
    }

    /// What comes next after each of `texts`, by a pass over all of it: the token that comes next is there without
    /// meaning, and seen by nobody.
    fn at_once(model: &Xl, texts: &[Vec<u32>]) -> Vec<f32> {
        let texts: Vec<Vec<u32>> = texts.iter().map(|text| [&text[..], &[0]].concat()).collect();
        let batch = Packed::from_ids(&texts, PositionStyle::Zero).unwrap();
        let pairs = texts.iter().map(Vec::len).flat_map(|n| (0..n * n).map(move |pair| pair % n + 1 < n));
        let input = Permuted {
            visible: Visible::Pairs(pairs.collect()),
            targets: Some(batch.offsets[1..].iter().map(|&end| end as u32 - 1).collect()),
            ..(&batch).into()
        };
        read_f32(model.logits(&input, &Rows::All, &Pass::eval()).unwrap())
    }

    /// Some texts that are read bit by bit.
    struct Talk<'a> {
        model: &'a Xl,
        memory: XlnetMemory,
        said: Vec<Vec<u32>>,
        /// How far a logit was from that of a pass over everything, as a share of that where it is above 1.
        worst: f32,
    }

    impl<'a> Talk<'a> {
        fn new(model: &'a Xl, sequences: usize) -> Self {
            let memory = model.begin(&vec![&[][..]; sequences]).unwrap();
            Self { model, memory, said: vec![Vec::new(); sequences], worst: 0.0 }
        }

        fn say(&mut self, tokens: &[&[u32]]) {
            self.said.iter_mut().zip(tokens).for_each(|(said, tokens)| said.extend_from_slice(tokens));
            let hidden = self.model.read(&mut self.memory, tokens, false).unwrap();
            let ours = Speaker::logits(self.model, hidden);
            let all = at_once(self.model, &self.said);
            assert_eq!((ours.len(), all.len()), (tokens.len() * self.model.vocabulary(), ours.len()));
            let apart = ours.iter().zip(&all).map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
            self.worst = apart.fold(self.worst, f32::max);
        }

        fn choose(&mut self, which: &[usize]) {
            self.memory.select(which);
            self.said = which.iter().map(|&b| self.said[b].clone()).collect();
        }

        fn join(&mut self, other: Self) {
            self.memory.absorb(other.memory);
            self.said.extend(other.said);
        }
    }

    /// The largest difference over steps after prompts of unequal lengths, as sequences are chosen and join.
    fn worst_of(case: &str) -> f32 {
        let model = Xl::open(&dump(case), &Device::flex()).unwrap().model;
        let mut talk = Talk::new(&model, 3);
        talk.say(&[&[5, 6, 7, 8], &[9], &[10, 11]]);
        for token in 12..16 {
            talk.say(&[&[token], &[token + 5], &[token + 9]]);
        }
        talk.choose(&[2, 0, 0]);
        talk.say(&[&[20], &[21], &[22]]);
        let mut other = Talk::new(&model, 2);
        other.say(&[&[30], &[31, 32, 33]]);
        talk.join(other);
        talk.say(&[&[23], &[24], &[25], &[34], &[35]]);
        // some that were not read yet, before and after those that were
        talk.join(Talk::new(&model, 1));
        talk.say(&[&[26], &[27], &[28], &[36], &[37], &[40, 41]]);
        let mut late = Talk::new(&model, 2);
        late.worst = talk.worst;
        late.join(talk);
        late.say(&[&[50, 51], &[52], &[29], &[38], &[39], &[42], &[43], &[44]]);
        late.choose(&[7, 0, 3]);
        late.say(&[&[45], &[53], &[46]]);
        late.worst
    }

    /// A row of one direction sees nothing after it, so that what is remembered of it stays true. A row of both sees
    /// what was there when it was read: later steps would have changed it.
    #[test]
    fn steps_of_one_direction_give_what_a_pass_over_everything_gives() {
        let one = worst_of("xlnet-lm-uni");
        assert!(one <= 1e-5, "{one}");
        let both = worst_of("xlnet-lm");
        assert!(both > 1e-3, "{both}");
    }

    #[test]
    fn half_of_a_batch_read_backwards_is_refused() {
        let error = Engine::open(&dump("xlnet-lm-bidata"), None).unwrap_err().to_string();
        assert!(error.contains("bi_data") && error.contains("set it to false"), "{error}");
    }
}
