//! One text answered by another: text2text generation, summarization and translation with encoder-decoders. A text that
//! is longer than the model reads is divided into sentences, answered piece by piece, and joined again.

mod divide;
mod languages;
mod pieces;
mod telling;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;

use ptm_models::Family;
use ptm_text::Tokenizer;
use serde_json::{Map, Value, json};

use self::languages::{Languages, with_languages};
use self::pieces::{Pieces, joined};
use self::telling::Telling;
use crate::error::{Error, Result};
use crate::generation::{Engine, Fed, Generate, Input, Layers, Origin, Settings, Spoken};
use crate::task::Task;

/// What the answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Whatever the model was taught.
    Text2Text,
    /// A summary.
    Summarization,
    /// A translation, from one language to another where they are named (`en`, `de`).
    Translation(Option<(String, String)>),
}

impl Purpose {
    /// The name of the task, as model files write it.
    pub fn task(&self) -> String {
        match self {
            Self::Text2Text => "text2text-generation".into(),
            Self::Summarization => "summarization".into(),
            Self::Translation(None) => "translation".into(),
            Self::Translation(Some((from, to))) => format!("translation_{from}_to_{to}"),
        }
    }

    /// The key of its answers, `summary`.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Text2Text => "generated",
            Self::Summarization => "summary",
            Self::Translation(_) => "translation",
        }
    }
}

/// What becomes of a text that is longer than the model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Long {
    /// It is divided into sentences.
    #[default]
    Split,
    /// Its end is cut off.
    Cut,
}

/// An encoder-decoder with its tokenizer.
#[derive(Debug)]
pub struct Text2Text {
    engine: Engine,
    layers: Layers,
    purpose: Purpose,
    languages: Languages,
}

/// How texts are answered.
#[derive(Clone, Debug, Default)]
pub struct Text2TextOptions<'a> {
    /// Values of the generation by name, over those of the model's files; see [`crate::generation::Settings`].
    pub settings: Map<String, Value>,
    /// Put before every text; in place of the model's own.
    pub prefix: Option<String>,
    /// What becomes of long texts.
    pub long: Long,
    /// Whether English spaces before punctuation go.
    pub clean_up: bool,
    /// What else the text is to be like, and who guesses.
    pub how: Generate<'a>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// The token ids as the decoder read and said them, piece by piece.
    pub tokens: Vec<u32>,
    /// What was said, piece by piece.
    pub spoken: Vec<Spoken>,
    /// Into how many pieces the text was divided.
    pub pieces: usize,
    /// Tokens of the input that were cut off.
    pub cut: usize,
}

impl Text2Text {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, the model is no encoder-decoder, or doesn't know the languages.
    pub fn open(dir: &Path, purpose: Purpose) -> Result<Self> {
        let task = match purpose {
            Purpose::Text2Text => Task::Text2TextGeneration,
            Purpose::Summarization => Task::Summarization,
            Purpose::Translation(_) => Task::Translation,
        };
        task.check(dir, Family::of_dir(dir)?, "language-model")?;
        let tokenizer = Tokenizer::from_dir(dir)?;
        let engine = Engine::open(dir, Some(tokenizer.clone()))?;
        if !engine.has_encoder() {
            let problem = format!("{}: this model goes on with a text: use text-generation", dir.display());
            return Err(Error::Input(problem));
        }
        let purpose = with_languages(purpose, dir)?;
        let task = purpose.task();
        let defaults = [("max_new_tokens", json!(256)), ("num_beams", json!(4))];
        let mut layers = Layers::read(dir, &task, &defaults)?;
        layers.fallback("pad_token_id", tokenizer.special().pad.as_ref().map(|pad| pad.id));
        let languages = match &purpose {
            Purpose::Translation(Some((from, to))) => Languages::of(&tokenizer, from, to, &layers, dir)?,
            _ => Languages::None,
        };
        if let Languages::Tokens { target, .. } = languages {
            layers.suggest("forced_bos_token_id", target.into());
        }
        Ok(Self { engine, layers, purpose, languages })
    }

    /// What the answers are.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The engine, for a draft of another model or a constraint.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The values of all layers, what the caller gives last.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn layers(&self, given: &Map<String, Value>) -> Result<Layers> {
        let mut layers = self.layers.clone();
        layers.search_as(given);
        layers.give(given)?;
        Ok(layers)
    }

    /// What is put before every text.
    pub fn prefix(&self) -> &str {
        self.layers.prefix.as_deref().unwrap_or_default()
    }

    fn tokenizer(&self) -> &Tokenizer {
        self.engine.tokenizer().expect("it was opened with one")
    }

    /// Answers every text; `done` hears the answers to one, in the order in which they end.
    ///
    /// # Errors
    /// When an option or a text doesn't fit the model, or the caller asked to stop.
    pub fn run(
        &self,
        texts: &mut dyn Iterator<Item = String>,
        options: &Text2TextOptions<'_>,
        done: &mut dyn FnMut(usize, Vec<Reply>) -> Result<()>,
    ) -> Result<()> {
        let mut texts = texts.enumerate().map(|(place, text)| (options.how.number(place), text));
        self.feed(&mut |_| texts.next().into(), options, &mut |place, replies| done(place, replies?))
    }

    /// The same; `heard` hears the answer to a text part by part in whole characters, without blanks around it, all of it by
    /// the time that `done` hears it.
    ///
    /// # Errors
    /// As [`Self::run`]; when the settings make what is said known only at its end, as several beams do.
    pub fn stream(
        &self,
        texts: &mut dyn Iterator<Item = String>,
        options: &Text2TextOptions<'_>,
        heard: &mut dyn FnMut(usize, &str),
        done: &mut dyn FnMut(usize, Vec<Reply>) -> Result<()>,
    ) -> Result<()> {
        let mut texts = texts.enumerate().map(|(place, text)| (options.how.number(place), text));
        self.hear(&mut |_| texts.next().into(), options, Some(heard), &mut |place, replies| done(place, replies?))
    }

    /// Answers texts as they come, each with the number by which its draws are told from those of others; `texts` is asked
    /// for the next one when there may be room for it, and hears whether there is nothing else to do, so that it may wait.
    /// `done` hears the answers to a text or why there are none, by its place in the order in which they came. The function
    /// of allowed tokens and processors hear of pieces in place of texts, where texts are divided.
    ///
    /// # Errors
    /// When an option doesn't fit the model, or the caller asked to stop.
    pub fn feed(
        &self,
        texts: &mut dyn FnMut(bool) -> Fed<(u64, String)>,
        options: &Text2TextOptions<'_>,
        done: &mut dyn FnMut(usize, Result<Vec<Reply>>) -> Result<()>,
    ) -> Result<()> {
        self.hear(texts, options, None, done)
    }

    /// [`Self::feed`], and [`Self::stream`] where somebody hears.
    fn hear(
        &self,
        texts: &mut dyn FnMut(bool) -> Fed<(u64, String)>,
        options: &Text2TextOptions<'_>,
        heard: Option<&mut dyn FnMut(usize, &str)>,
        done: &mut dyn FnMut(usize, Result<Vec<Reply>>) -> Result<()>,
    ) -> Result<()> {
        let (settings, how) = self.settings(options)?;
        let streams = heard.is_some();
        if streams {
            settings.check_streaming()?;
        }
        let start = settings.decoder_start_token_id.or(settings.bos_token_id);
        let pieces = Pieces::default();
        // what is said, and what has ended, both add to the text
        let heard = RefCell::new(heard);
        let tell = |piece: usize, tokens: &[u32], is_end: bool| {
            let Some((text, more)) = pieces.hear(piece, tokens, is_end) else { return };
            if let Some(heard) = &mut *heard.borrow_mut() {
                heard(text, &more);
            }
        };
        let (mut count, mut waiting) = (0, VecDeque::new());
        let mut inputs = |alone: bool| {
            if let Some(piece) = waiting.pop_front() {
                return Fed::Input(Ok(piece));
            }
            texts(alone).map(|(number, text)| {
                let place = count;
                count += 1;
                match self.checked_pieces(&text, options, &settings, &how) {
                    Ok((own, cut)) => {
                        let telling = || Telling::new(self.tokenizer(), start, own.len(), options.clean_up);
                        pieces.add(place, own.len(), cut, streams.then(telling));
                        // a text draws the same beside whatever others
                        let numbered =
                            |(piece, tokens): (u64, Vec<u32>)| Input { tokens, number: number | piece << 40 };
                        waiting.extend((0..).zip(own).map(numbered));
                        Ok(waiting.pop_front().expect("a text has a piece"))
                    }
                    Err(error) => {
                        pieces.add(place, 1, 0, None);
                        Err(error)
                    }
                }
            })
        };
        let mut said = |piece: usize, tokens: &[u32]| tell(piece, tokens, false);
        let said: Option<&mut dyn FnMut(usize, &[u32])> = if streams { Some(&mut said) } else { None };
        self.engine.feed(&mut inputs, &settings, &how, said, &mut |piece, found| {
            if let Ok([only]) = found.as_deref() {
                tell(piece, &only.tokens, true);
            }
            let Some((text, answers, cut)) = pieces.put(piece, found) else { return Ok(()) };
            done(text, answers.map(|answers| self.join(answers, start, cut, options.clean_up)))
        })
    }

    /// The values of all layers together, and how texts are answered.
    fn settings<'o>(&self, options: &Text2TextOptions<'o>) -> Result<(Settings, Generate<'o>)> {
        let layers = self.layers(&options.settings)?;
        let is_given = |key: &str| layers.origin(key) == Origin::Caller;
        let how = Generate { shorten: !is_given("max_new_tokens") && !is_given("max_length"), ..options.how };
        Ok((layers.settings()?, how))
    }

    /// The pieces of a text, each of which fits the model.
    fn checked_pieces(
        &self,
        text: &str,
        options: &Text2TextOptions<'_>,
        settings: &Settings,
        how: &Generate<'_>,
    ) -> Result<(Vec<Vec<u32>>, usize)> {
        let (pieces, cut) = self.pieces(text, options)?;
        if pieces.is_empty() {
            return Err(Error::Input("a text with nothing to read: give some words".into()));
        }
        pieces.iter().try_for_each(|piece| self.engine.check(piece.len(), settings, how))?;
        Ok((pieces, cut))
    }

    /// Answers every text; results in their order.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn answer(&self, texts: &[&str], options: &Text2TextOptions<'_>) -> Result<Vec<Vec<Reply>>> {
        let mut all = vec![Vec::new(); texts.len()];
        self.run(&mut texts.iter().map(|&text| text.to_owned()), options, &mut |number, replies| {
            all[number] = replies;
            Ok(())
        })?;
        Ok(all)
    }

    /// The answers to the pieces of one text, joined: the best with the best, and so on.
    fn join(&self, pieces: Vec<Vec<Spoken>>, start: Option<u32>, cut: usize, clean: bool) -> Vec<Reply> {
        let count = pieces.iter().map(Vec::len).min().unwrap_or(0);
        let tokenizer = self.tokenizer();
        (0..count)
            .map(|rank| {
                let spoken: Vec<Spoken> = pieces.iter().map(|piece| piece[rank].clone()).collect();
                let tokens =
                    |spoken: &Spoken| start.into_iter().chain(spoken.tokens.iter().copied()).collect::<Vec<u32>>();
                let texts: Vec<String> =
                    spoken.iter().map(|spoken| tokenizer.decode_with(&tokens(spoken), true, clean)).collect();
                let text = if let [only] = &texts[..] { only.clone() } else { joined(&texts) };
                Reply { text, tokens: spoken.iter().flat_map(tokens).collect(), pieces: spoken.len(), spoken, cut }
            })
            .collect()
    }
}
