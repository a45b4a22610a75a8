//! A model with a head over whichever body its family has, with its tokenizer: what classification of sequences, of
//! tokens, and questions share. Packed sequences in, logits out; what they mean is the tasks' own.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use burn::prelude::*;
use ptm_models::files::Weights;
use ptm_models::heads::{Head, SequenceHead, SpanHead, TokenHead};
use ptm_models::{Bart, Configuration, Decoder, Encoder, Family, Kind, Model, Pass, T5, T5Encoder, Xlnet};
use ptm_ops::read_f32;
use ptm_text::{EncodeOptions, Encoding, Input, Packed, PositionStyle, Tokenizer, Truncation};
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::batch::{check_vocabulary, plan};
use crate::cut::warn_of_rest;
use crate::error::{Error, Result};
use crate::generation::layers::json_file;
use crate::reads::Reads;
use crate::task::Task;

/// A model whose body is not named.
trait Logits: fmt::Debug + Send {
    /// Logits of the packed sequences, row by row.
    ///
    /// # Shapes
    /// `[B, labels]` for sequences, `[T, labels]` for tokens, `[T, 2]` for answers.
    fn logits(&self, batch: &Packed) -> ptm_models::Result<Vec<f32>>;
}

macro_rules! gives_logits {
    ($head:ident) => {
        impl<B: Reads> Logits for Model<$head, B> {
            fn logits(&self, batch: &Packed) -> ptm_models::Result<Vec<f32>> {
                B::read(self.config(), batch, |input| Ok(read_f32(self.logits(input, &Pass::eval())?)))
            }
        }
    };
}

gives_logits!(SequenceHead);
gives_logits!(TokenHead);
gives_logits!(SpanHead);

/// The head that a task reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A row of logits a sequence.
    Sequence,
    /// A row of logits a token.
    Token,
    /// Two logits a token: the answer starts here, ends here.
    Span,
}

impl Reading {
    /// The head's name in `ptm-models`.
    fn head(self) -> &'static str {
        match self {
            Self::Sequence => <SequenceHead as Head>::NAME,
            Self::Token => <TokenHead as Head>::NAME,
            Self::Span => <SpanHead as Head>::NAME,
        }
    }
}

/// A model with a head, and its tokenizer.
#[derive(Debug)]
pub(crate) struct Headed {
    /// The directory, for messages.
    pub name: String,
    pub tokenizer: Tokenizer,
    /// Names of the labels, in order.
    pub labels: Vec<String>,
    /// `config.json` with the parameters of the task over it.
    pub config: Map<String, Value>,
    /// Whether the tokenizer's files put padding before a text, which changes the order of question and context.
    pub pads_left: bool,
    /// Tokens that the model has positions for; none where it sets no limit.
    pub limit: Option<usize>,
    positions: PositionStyle,
    reads_segments: bool,
    reading: Reading,
    model: Box<dyn Logits>,
}

/// What a model of a kind says of itself.
struct Facts {
    labels: Vec<String>,
    positions: PositionStyle,
    limit: Option<usize>,
    vocabulary: usize,
    model: Box<dyn Logits>,
}

impl Headed {
    /// Opens a model directory for `task`, whose parameters in `config.json` go over those of the model.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the model is of another task.
    pub fn open(dir: &Path, reading: Reading, task: Task) -> Result<Self> {
        let family = Family::of_dir(dir)?;
        task.check(dir, family, reading.head())?;
        let tokenizer = Tokenizer::from_dir(dir)?;
        let mut config = json_file(dir, "config.json")?.unwrap_or_default();
        let own = config.get("task_specific_params").and_then(|tasks| tasks.get(task.name())).cloned();
        if let Some(Value::Object(own)) = own {
            config.extend(own);
        }
        let facts = match (reading, family.kind()) {
            (Reading::Token, Kind::T5) => facts::<TokenHead, T5Encoder>(dir, config.clone(), |_| None),
            (Reading::Sequence, kind) => by_kind::<SequenceHead>(dir, kind, config.clone()),
            (Reading::Span, kind) => by_kind::<SpanHead>(dir, kind, config.clone()),
            (Reading::Token, kind) => match kind {
                Kind::Encoder => facts::<TokenHead, Encoder>(dir, config.clone(), |c| Some(c.max_length())),
                Kind::Decoder => facts::<TokenHead, Decoder>(dir, config.clone(), |c| Some(c.max_positions)),
                Kind::Xlnet => facts::<TokenHead, Xlnet>(dir, config.clone(), |_| None),
                _ => Err(ptm_models::Error::NoSuchHead {
                    family: family.model_type(),
                    head: reading.head(),
                    known: ptm_models::auto::heads_of(family),
                }),
            },
        }?;
        check_vocabulary(&tokenizer, facts.vocabulary)?;
        Ok(Self {
            name: dir.display().to_string(),
            pads_left: pads_left(dir, &tokenizer)?,
            tokenizer,
            labels: facts.labels,
            config,
            positions: facts.positions,
            limit: facts.limit,
            reads_segments: matches!(family, Family::Bert | Family::Electra | Family::Ernie | Family::Xlnet),
            reading,
            model: facts.model,
        })
    }

    /// How many tokens the model reads; `usize::MAX` where nothing says.
    pub fn longest(&self) -> usize {
        let named = self.tokenizer.model_max_length().unwrap_or(usize::MAX);
        named.min(self.limit.unwrap_or(usize::MAX))
    }

    /// Answers inputs that are read in one window or several: `answer` makes an answer of an input's number, its windows
    /// and their logits. An input whose windows could not be made, or whose answer fails, has its own error; `progress`
    /// hears how many inputs are done.
    ///
    /// # Errors
    /// When the model can't read a window, or the caller asked to stop.
    pub fn answer_each<T>(
        &self,
        inputs: Vec<Result<Vec<Encoding>>>,
        batches: Batches<'_>,
        answer: &dyn Fn(usize, &[Encoding], &[Vec<f32>]) -> Result<T>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<T>>> {
        let mut answers: Vec<Option<Result<T>>> = Vec::with_capacity(inputs.len());
        let mut open: Vec<Open> = Vec::new();
        for (input, windows) in inputs.into_iter().enumerate() {
            let windows = windows.and_then(|windows| self.checked(windows));
            answers.push(match windows {
                Ok(windows) => {
                    open.push(Open { input, logits: vec![Vec::new(); windows.len()], missing: windows.len(), windows });
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        let places: Vec<(usize, usize)> =
            open.iter().enumerate().flat_map(|(o, open)| (0..open.windows.len()).map(move |w| (o, w))).collect();
        let batches_of_all = {
            let all: Vec<&Encoding> = open.iter().flat_map(|open| &open.windows).collect();
            plan(&all, batches.tokens)
        };
        let mut done = answers.len() - open.len();
        for batch in batches_of_all {
            if batches.stop.is_some_and(|stop| stop.load(Relaxed)) {
                return Err(Error::Stopped);
            }
            let places: Vec<(usize, usize)> = batch.iter().map(|&i| places[i]).collect();
            let read = self.read(places.iter().map(|&(o, w)| &open[o].windows[w]))?;
            for (&(o, w), logits) in places.iter().zip(read) {
                let open = &mut open[o];
                open.logits[w] = logits;
                open.missing -= 1;
                if open.missing == 0 {
                    let logits = std::mem::take(&mut open.logits);
                    answers[open.input] = Some(if logits.iter().flatten().all(|x| x.is_finite()) {
                        answer(open.input, &open.windows, &logits)
                    } else {
                        Err(Error::not_finite(&self.name, &self.tokenizer.decode(&open.windows[0].ids, true)))
                    });
                    done += 1;
                }
            }
            progress(done);
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// The logits of each of these sequences, which are one batch.
    fn read<'a>(&self, encodings: impl Iterator<Item = &'a Encoding>) -> Result<Vec<Vec<f32>>> {
        let mut packed = Packed::default();
        for encoding in encodings {
            let segments = self.reads_segments.then_some(&encoding.segments[..]);
            let pushed = packed.push(&encoding.ids, segments, self.positions);
            pushed.map_err(|error| Error::Input(error.to_string()))?;
        }
        let logits = self.model.logits(&packed)?;
        let rows = |b: usize| if self.reading == Reading::Sequence { b..b + 1 } else { packed.range(b) };
        let width = logits.len() / rows(packed.sequences() - 1).end;
        Ok((0..packed.sequences()).map(|b| logits[rows(b).start * width..rows(b).end * width].to_vec()).collect())
    }

    /// The windows, each of which the model can read.
    fn checked(&self, windows: Vec<Encoding>) -> Result<Vec<Encoding>> {
        for window in &windows {
            if window.is_empty() {
                return Err(Error::Input("a text has no token that the model knows".into()));
            }
            self.check_length(window.len())?;
        }
        Ok(windows)
    }

    /// Each input encoded by itself: cut to what the model reads where `cuts` says so, which is said, else whole.
    pub fn encode_cut(&self, inputs: &[Input<'_>], cuts: bool) -> Vec<Result<Vec<Encoding>>> {
        let max = self.longest();
        let truncation = if cuts { Truncation::Longest { max } } else { Truncation::None };
        let options = EncodeOptions { truncation, ..EncodeOptions::default() };
        let tokenizer = &self.tokenizer;
        let encode = |input: &Input<'_>| Ok(vec![tokenizer.encode_input(*input, &options)?]);
        let encodings: Vec<Result<Vec<Encoding>>> = inputs.par_iter().map(encode).collect();
        if cuts {
            for (input, encoding) in inputs.iter().zip(&encodings) {
                let Ok([encoding]) = encoding.as_deref() else { continue };
                match *input {
                    Input::Text(text) => warn_of_rest(&[text], encoding, max),
                    Input::Pair(first, second) => warn_of_rest(&[first, second], encoding, max),
                }
            }
        }
        encodings
    }

    /// Says that a text of so many tokens is longer than the model reads.
    fn check_length(&self, tokens: usize) -> Result<()> {
        // what the tokenizer's files name is a wish, which models without positions outlive
        let Some(longest) = self.limit.filter(|&limit| tokens > limit) else { return Ok(()) };
        Err(Error::Input(format!("a text has {tokens} tokens, but the model reads {longest}; shorten it or truncate")))
    }
}

/// An input of which not all windows are read.
struct Open {
    input: usize,
    windows: Vec<Encoding>,
    logits: Vec<Vec<f32>>,
    missing: usize,
}

/// How many tokens go together, and whether to stop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batches<'a> {
    pub tokens: Option<usize>,
    pub stop: Option<&'a AtomicBool>,
}

fn by_kind<H>(dir: &Path, kind: Kind, config: Map<String, Value>) -> ptm_models::Result<Facts>
where
    H: Head<Encoder> + Head<Decoder> + Head<Bart> + Head<T5> + Head<Xlnet> + 'static,
    Model<H, Encoder>: Logits,
    Model<H, Decoder>: Logits,
    Model<H, Bart>: Logits,
    Model<H, T5>: Logits,
    Model<H, Xlnet>: Logits,
{
    match kind {
        Kind::Encoder => facts::<H, Encoder>(dir, config, |config| Some(config.max_length())),
        Kind::Decoder => facts::<H, Decoder>(dir, config, |config| Some(config.max_positions)),
        Kind::Bart => facts::<H, Bart>(dir, config, |config| Some(config.max_positions)),
        Kind::T5 => facts::<H, T5>(dir, config, |_| None),
        Kind::Xlnet => facts::<H, Xlnet>(dir, config, |_| None),
    }
}

/// Reads the model with this head and this body.
fn facts<H, B>(
    dir: &Path,
    config: Map<String, Value>,
    limit: impl FnOnce(&B::Config) -> Option<usize>,
) -> ptm_models::Result<Facts>
where
    H: Head<B>,
    B: Reads,
    Model<H, B>: Logits + 'static,
{
    let config = B::Config::from_json(config)?;
    config.check_answers(dir)?;
    let model = Model::<H, B>::from_weights(config, &Weights::open(dir)?, &Device::flex(), None)?.model;
    let config = model.config();
    Ok(Facts {
        labels: config.labels().to_vec(),
        positions: config.positions(),
        limit: limit(config),
        vocabulary: model.body.word().val().dims()[0],
        model: Box::new(model),
    })
}

/// Whether padding would stand before a text: as `tokenizer_config.json` says, else as the class does.
fn pads_left(dir: &Path, tokenizer: &Tokenizer) -> Result<bool> {
    let file = json_file(dir, "tokenizer_config.json")?.unwrap_or_default();
    Ok(match file.get("padding_side").and_then(Value::as_str) {
        Some(side) => side == "left",
        None => tokenizer.class().is_some_and(|class| class.starts_with("XLNet")),
    })
}
