//! One text answered by another: text2text generation, summarization and translation with encoder-decoders. A text that
//! is longer than the model reads is divided into sentences, answered piece by piece, and joined again.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::path::Path;

use ptm_models::Family;
use ptm_text::{EncodeOptions, Tokenizer, Truncation, sentences};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::generation::{Engine, Fed, Generate, Input, Layers, Origin, Settings, Spoken, TextStream};
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

/// How a model is told the languages.
#[derive(Debug)]
enum Languages {
    /// Not at all, or by the prefix that its files name.
    None,
    /// By tokens around the source and before the target, as mBART has it.
    Tokens { before: Vec<u32>, after: Vec<u32>, target: u32 },
    /// By a word before the source, as Marian has it (`>>de<<`).
    Word(String),
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
        let number = |place: usize| options.how.numbers.and_then(|all| all.get(place).copied()).unwrap_or(place as u64);
        let mut texts = texts.enumerate().map(|(place, text)| (number(place), text));
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
        let (settings, how) = self.settings(options)?;
        settings.check_streaming()?;
        let start = settings.decoder_start_token_id.or(settings.bos_token_id);
        let open = Pieces::default();
        let (mut all, mut numbers, mut places, mut tellings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (place, text) in texts.enumerate() {
            let (own, cut) = self.checked_pieces(&text, options, &settings, &how)?;
            open.add(place, own.len(), cut);
            let number = options.how.numbers.and_then(|all| all.get(place).copied()).unwrap_or(place as u64);
            // as without a stream
            numbers.extend((0..own.len() as u64).map(|piece| number | piece << 40));
            places.extend((0..own.len()).map(|piece| (place, piece)));
            tellings.push(Telling::new(self.tokenizer(), start, own.len(), options.clean_up));
            all.extend(own);
        }
        let how = Generate { numbers: Some(&numbers), ..how };
        // what is said, and what has ended, both add to the text
        let tellings = RefCell::new((tellings, heard));
        let tell = |piece: usize, tokens: &[u32], is_end: bool| {
            let (text, own) = places[piece];
            let mut held = tellings.borrow_mut();
            let (tellings, heard) = &mut *held;
            let more = tellings[text].hear(own, tokens, is_end);
            if !more.is_empty() {
                heard(text, &more);
            }
        };
        let mut inputs = all.iter().map(Vec::as_slice);
        let mut said = |piece: usize, tokens: &[u32]| tell(piece, tokens, false);
        self.engine.generate(&mut inputs, &settings, &how, Some(&mut said), &mut |piece, spoken| {
            if let [only] = &spoken[..] {
                tell(piece, &only.tokens, true);
            }
            let Some((text, answers, cut)) = open.put(piece, Ok(spoken)) else { return Ok(()) };
            done(text, self.join(answers?, start, cut, options.clean_up))
        })
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
        let (settings, how) = self.settings(options)?;
        let start = settings.decoder_start_token_id.or(settings.bos_token_id);
        let pieces = Pieces::default();
        let (mut place, mut waiting) = (0, VecDeque::new());
        let mut inputs = |alone: bool| {
            if let Some(piece) = waiting.pop_front() {
                return Fed::Input(Ok(piece));
            }
            texts(alone).map(|(number, text)| {
                place += 1;
                match self.checked_pieces(&text, options, &settings, &how) {
                    Ok((own, cut)) => {
                        pieces.add(place - 1, own.len(), cut);
                        // a text draws the same beside whatever others
                        let numbered =
                            |(piece, tokens): (u64, Vec<u32>)| Input { tokens, number: number | piece << 40 };
                        waiting.extend((0..).zip(own).map(numbered));
                        Ok(waiting.pop_front().expect("a text has a piece"))
                    }
                    Err(error) => {
                        pieces.add(place - 1, 1, 0);
                        Err(error)
                    }
                }
            })
        };
        self.engine.feed(&mut inputs, &settings, &how, None, &mut |piece, found| {
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

    /// As many tokens as the model reads.
    fn longest(&self) -> usize {
        let most = self.tokenizer().model_max_length().unwrap_or(usize::MAX);
        most.min(self.engine.longest().unwrap_or(usize::MAX))
    }

    fn encode(&self, text: &str, prefix: &str, max: Option<usize>) -> Result<Vec<u32>> {
        let tokenizer = self.tokenizer();
        let text = match &self.languages {
            Languages::Word(word) => format!("{prefix}{word} {text}"),
            _ => format!("{prefix}{text}"),
        };
        let Languages::Tokens { before, after, .. } = &self.languages else {
            let truncation = max.map_or(Truncation::None, |max| Truncation::Longest { max });
            return Ok(tokenizer.encode(&text, &EncodeOptions { truncation, ..EncodeOptions::default() })?.ids);
        };
        let truncation = max.map_or(Truncation::None, |max| Truncation::Longest {
            max: max.saturating_sub(before.len() + after.len()),
        });
        let plain = EncodeOptions { add_special_tokens: false, truncation, ..EncodeOptions::default() };
        let ids = tokenizer.encode(&text, &plain)?.ids;
        Ok([before.as_slice(), &ids, after].concat())
    }

    /// The text as the model reads it, in pieces if need be, and how many tokens were cut off.
    fn pieces(&self, text: &str, options: &Text2TextOptions<'_>) -> Result<(Vec<Vec<u32>>, usize)> {
        let prefix = options.prefix.as_deref().unwrap_or_else(|| self.prefix());
        let most = self.longest();
        let ids = self.encode(text, prefix, None)?;
        if ids.len() > most {
            let around = self.encode("", prefix, None)?.len();
            if around >= most {
                return Err(Error::Option(format!(
                    "the prefix alone makes {around} tokens, but the model reads {most}, which leaves nothing of the text: give \
                     a shorter prefix"
                )));
            }
        }
        if ids.len() <= most {
            return Ok((vec![ids], 0));
        }
        if options.long == Long::Cut {
            let cut = ids.len() - most;
            tracing::warn!("the last {cut} of {} tokens are cut off: the model reads {most}", ids.len());
            return Ok((vec![self.encode(text, prefix, Some(most))?], cut));
        }
        let (mut pieces, mut cut) = (Vec::new(), 0);
        let mut held = String::new();
        let mut settled: Option<Vec<u32>> = None;
        for sentence in sentences(text) {
            let longer = format!("{held}{sentence}");
            let ids = self.encode(longer.trim_end(), prefix, None)?;
            if ids.len() <= most {
                (held, settled) = (longer, Some(ids));
                continue;
            }
            pieces.extend(settled.take());
            let ids = self.encode(sentence.trim_end(), prefix, None)?;
            if ids.len() <= most {
                (held, settled) = (sentence.to_owned(), Some(ids));
                continue;
            }
            // a sentence that is too long by itself is divided at a space, or where it must be
            held.clear();
            for part in self.parts(sentence, prefix, most)? {
                let ids = self.encode(part, prefix, Some(most))?;
                cut += self.encode(part, prefix, None)?.len() - ids.len();
                pieces.push(ids);
            }
        }
        pieces.extend(settled);
        if cut > 0 {
            tracing::warn!(
                "{cut} of {} tokens are cut off: a sentence can't be divided into parts of {most}",
                ids.len()
            );
        }
        tracing::info!("a text of {} tokens is answered in {} pieces: the model reads {most}", ids.len(), pieces.len());
        Ok((pieces, cut))
    }

    /// Parts of a long sentence that each fit, cut at spaces where there are some; it is encoded once, however long.
    fn parts<'t>(&self, sentence: &'t str, prefix: &str, most: usize) -> Result<Vec<&'t str>> {
        let sentence = sentence.trim_end();
        let plain = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
        let starts: Vec<usize> =
            self.tokenizer().encode(sentence, &plain)?.offsets.iter().map(|&(start, _)| start).collect();
        // what is put around a text, and a token or two that a cut may add
        let around = self.encode("", prefix, None)?.len() + 2;
        let room = most.saturating_sub(around).max(1);
        let bytes: Vec<usize> = sentence.char_indices().map(|(at, _)| at).chain([sentence.len()]).collect();
        let (mut parts, mut first, mut from) = (Vec::new(), 0, 0);
        while first + room < starts.len() {
            let end = bytes[starts[first + room].min(bytes.len() - 1)];
            let blank = sentence[from..end].rfind(char::is_whitespace).filter(|&at| at > (end - from) / 2);
            let cut = blank.map_or(end, |at| from + at).max(from);
            if cut > from {
                parts.push(sentence[from..cut].trim());
            }
            from = cut;
            let next = starts.partition_point(|&start| bytes[start.min(bytes.len() - 1)] < cut);
            first = next.max(first + 1);
        }
        parts.push(sentence[from..].trim());
        parts.retain(|part| !part.is_empty());
        Ok(parts)
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

/// Pieces with one space between them.
fn joined(texts: &[String]) -> String {
    let all: Vec<&str> = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    all.join(" ")
}

/// Texts of which not all pieces were answered.
#[derive(Default)]
struct Pieces {
    open: RefCell<HashMap<usize, Open>>,
    /// Of each open piece: its text, and its place there.
    of: RefCell<HashMap<usize, (usize, usize)>>,
    count: std::cell::Cell<usize>,
}

/// A text of which not all pieces were answered.
struct Open {
    cut: usize,
    missing: usize,
    answers: Vec<Vec<Spoken>>,
}

/// A text, the answers to all its pieces, and how many of its tokens were cut off.
type Answered = (usize, Result<Vec<Vec<Spoken>>>, usize);

impl Pieces {
    /// The next `count` pieces are those of text `text`.
    fn add(&self, text: usize, count: usize, cut: usize) {
        let first = self.count.replace(self.count.get() + count);
        self.of.borrow_mut().extend((0..count).map(|own| (first + own, (text, own))));
        self.open.borrow_mut().insert(text, Open { cut, missing: count, answers: vec![Vec::new(); count] });
    }

    /// The text whose last piece was found with this one, or the first that couldn't be.
    fn put(&self, piece: usize, found: Result<Vec<Spoken>>) -> Option<Answered> {
        let (text, own) = self.of.borrow_mut().remove(&piece)?;
        let mut all = self.open.borrow_mut();
        // gone if another of its pieces couldn't be answered
        let open = all.get_mut(&text)?;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let cut = open.cut;
                all.remove(&text);
                return Some((text, Err(error), cut));
            }
        };
        open.answers[own] = found;
        open.missing -= 1;
        if open.missing > 0 {
            return None;
        }
        let open = all.remove(&text)?;
        Some((text, Ok(open.answers), open.cut))
    }
}

/// An answer while it is said: piece after piece, as [`joined`] has them.
struct Telling<'a> {
    start: Option<u32>,
    pieces: Vec<TextStream<'a>>,
    /// Of each piece what was said and not given out yet, and whether it has ended.
    waiting: Vec<(String, bool)>,
    /// The piece that is given out.
    current: usize,
    /// Whether anything was given out: at all, and of the current piece.
    begun: (bool, bool),
}

impl<'a> Telling<'a> {
    fn new(tokenizer: &'a Tokenizer, start: Option<u32>, pieces: usize, cleans: bool) -> Self {
        let new = |_| TextStream::new(tokenizer, &[], cleans);
        let waiting = vec![(String::new(), false); pieces];
        Self { start, pieces: (0..pieces).map(new).collect(), waiting, current: 0, begun: (false, false) }
    }

    /// What can be given out when all that was said of `piece` is `tokens`.
    fn hear(&mut self, piece: usize, tokens: &[u32], is_end: bool) -> String {
        let tokens: Vec<u32> = self.start.into_iter().chain(tokens.iter().copied()).collect();
        let stream = &mut self.pieces[piece];
        let more = if is_end { stream.rest(&tokens) } else { stream.more(&tokens) };
        let (waiting, ended) = &mut self.waiting[piece];
        waiting.push_str(&more);
        *ended = is_end;
        let mut out = String::new();
        while let Some((waiting, ended)) = self.waiting.get_mut(self.current) {
            if !self.begun.1 {
                waiting.drain(..waiting.len() - waiting.trim_start().len());
            }
            // blanks at the end wait for what comes after them
            let kept = waiting.split_off(waiting.trim_end().len());
            if !waiting.is_empty() {
                if self.begun == (true, false) {
                    out.push(' ');
                }
                out.push_str(waiting);
                self.begun = (true, true);
            }
            *waiting = kept;
            if !*ended {
                break;
            }
            self.current += 1;
            self.begun.1 = false;
        }
        out
    }
}

impl Languages {
    /// How `tokenizer`'s model is told to translate.
    fn of(tokenizer: &Tokenizer, from: &str, to: &str, layers: &Layers, dir: &Path) -> Result<Self> {
        let class = tokenizer.class().unwrap_or_default().trim_end_matches("Fast");
        let codes =
            |name: &str| tokenizer.special().additional.iter().find(|special| special.text == name).map(|s| s.id);
        let known = || {
            let all: Vec<&str> = tokenizer.special().additional.iter().map(|s| s.text.as_str()).collect();
            all.join(", ")
        };
        let find = |name: &str| {
            codes(name)
                .ok_or_else(|| Error::Option(format!("{} has no language {name:?}; it has {}", dir.display(), known())))
        };
        let end = tokenizer.special().eos.as_ref().map(|eos| eos.id);
        match class {
            "MBartTokenizer" => {
                let after = end.into_iter().chain([find(from)?]).collect();
                Ok(Self::Tokens { before: Vec::new(), after, target: find(to)? })
            }
            "MBart50Tokenizer" => {
                Ok(Self::Tokens { before: vec![find(from)?], after: end.into_iter().collect(), target: find(to)? })
            }
            "MarianTokenizer" => {
                let word = format!(">>{to}<<");
                let file = crate::generation::layers::json_file(dir, "tokenizer_config.json")?.unwrap_or_default();
                let named = |key: &str| file.get(key).and_then(Value::as_str);
                if tokenizer.id(&word).is_some() {
                    if let Some(source) = named("source_lang").filter(|&source| source != from) {
                        tracing::warn!("{} reads texts in {source}, as its files say, not in {from}", dir.display());
                    }
                    return Ok(Self::Word(word));
                }
                // a model of one pair has no such words
                if (named("source_lang"), named("target_lang")) == (Some(from), Some(to)) {
                    return Ok(Self::None);
                }
                let pair = named("source_lang").zip(named("target_lang"));
                let pair = pair.map_or_else(|| "names none".to_owned(), |(a, b)| format!("is from {a} to {b}"));
                Err(Error::Option(format!(
                    "{} doesn't translate from {from} to {to}: it has no word {word}, and the pair of languages that its \
                     tokenizer_config.json has {pair}; leave the languages out if it is the right model",
                    dir.display()
                )))
            }
            _ if matches!(layers.origin("prefix"), Origin::TaskOfFile(_)) => Ok(Self::None),
            _ => {
                let tasks = tasks_of(dir)?;
                let known = if tasks.is_empty() { "none".to_owned() } else { tasks.join(", ") };
                Err(Error::Option(format!(
                    "{} doesn't say how it translates from {from} to {to}; its config.json names {known}: leave the \
                     languages out, or give the prefix",
                    dir.display()
                )))
            }
        }
    }
}

/// A translation without languages is the first that the model's configuration has parameters for.
fn with_languages(purpose: Purpose, dir: &Path) -> Result<Purpose> {
    if purpose != Purpose::Translation(None) {
        return Ok(purpose);
    }
    let tasks = tasks_of(dir)?;
    let named = tasks.iter().find_map(|task| task.strip_prefix("translation_")?.split_once("_to_"));
    let Some((from, to)) = named else { return Ok(purpose) };
    tracing::warn!("no languages were named: the model's first is taken, from {from} to {to}");
    Ok(Purpose::Translation(Some((from.to_owned(), to.to_owned()))))
}

/// The tasks that a model's configuration has parameters for.
fn tasks_of(dir: &Path) -> Result<Vec<String>> {
    let config = crate::generation::layers::json_file(dir, "config.json")?.unwrap_or_default();
    let tasks = config.get("task_specific_params").and_then(Value::as_object);
    Ok(tasks.into_iter().flatten().map(|(name, _)| name.clone()).collect())
}
