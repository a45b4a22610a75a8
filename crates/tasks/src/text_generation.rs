//! Text generation: a text, or a chat, and what a language model goes on with.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use ptm_models::Family;
use ptm_text::{EncodeOptions, Tokenizer};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::chat::{ChatTemplate, Message};
use crate::error::{Error, Result};
use crate::generation::settings::Tokens;
use crate::generation::{Engine, Fed, Generate, Input, Layers, Origin, Settings, Spoken, TextStream};
use crate::task::Task;

/// A language model with its tokenizer.
#[derive(Debug)]
pub struct TextGeneration {
    engine: Engine,
    layers: Layers,
    template: Option<ChatTemplate>,
}

/// What is to be continued.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// A chat, which the model answers, or whose last message it goes on with if that is the assistant's.
    Chat(Vec<Message>),
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// How texts are continued.
#[derive(Clone, Debug)]
pub struct TextGenerationOptions<'a> {
    /// Values of the generation by name, over those of the model's files; see [`Settings`].
    pub settings: Map<String, Value>,
    /// Whether the answer begins with what was given.
    pub full_text: bool,
    /// Token ids in place of text.
    pub tensors: bool,
    /// Put before every text; in place of the model's own. A `max_length` or `min_length` counts without its tokens.
    pub prefix: Option<String>,
    /// Whether the beginning of a text that leaves no room is cut off; otherwise it is an error.
    pub cut: bool,
    /// A text of which every token ends the answer, in place of the model's own ends, as the pipeline has it. For a text
    /// that ends it as a whole, see [`Settings::stop_strings`].
    pub stop_sequence: Option<String>,
    /// Whether English spaces before punctuation go; unless said otherwise they do, but where a constraint counts them.
    pub clean_up: Option<bool>,
    /// What else the text is to be like, and who guesses.
    pub how: Generate<'a>,
}

impl Default for TextGenerationOptions<'_> {
    fn default() -> Self {
        Self {
            settings: Map::new(),
            full_text: true,
            tensors: false,
            prefix: None,
            cut: false,
            stop_sequence: None,
            clean_up: None,
            how: Generate::default(),
        }
    }
}

impl TextGenerationOptions<'_> {
    fn cleans_up(&self) -> bool {
        self.clean_up.unwrap_or(self.how.constraint.is_none())
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Generated {
    /// A text.
    Text {
        /// What was given, unless left out, and what was said.
        generated_text: String,
    },
    /// A chat with the answer.
    Chat {
        /// The messages.
        generated_text: Vec<Message>,
    },
    /// Token ids.
    Tokens {
        /// What was given and what was said.
        generated_token_ids: Vec<u32>,
    },
}

/// An answer with what is known of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// As Hugging Face's pipeline gives it.
    pub generated: Generated,
    /// Its tokens.
    pub spoken: Spoken,
    /// The text that was said alone.
    pub new_text: String,
    /// Tokens of the input that were cut off.
    pub cut: usize,
}

/// The task's own defaults.
fn defaults() -> [(&'static str, Value); 3] {
    [("max_new_tokens", json!(256)), ("do_sample", json!(true)), ("temperature", json!(0.7))]
}

impl TextGeneration {
    /// Opens a model directory.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the model is none that goes on with a text.
    pub fn open(dir: &Path) -> Result<Self> {
        Task::TextGeneration.check(dir, Family::of_dir(dir)?, "language-model")?;
        let engine = Engine::open(dir, Some(Tokenizer::from_dir(dir)?))?;
        if engine.has_encoder() {
            let problem = format!(
                "{}: this model answers a text with another: use text2text, summarization or translation",
                dir.display()
            );
            return Err(Error::Input(problem));
        }
        let mut layers = Layers::read(dir, "text-generation", &defaults())?;
        let pad = engine.tokenizer().and_then(|t| t.special().pad.as_ref().map(|pad| pad.id));
        layers.fallback("pad_token_id", pad);
        Ok(Self { engine, layers, template: ChatTemplate::read(dir)? })
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
        // what only drawing uses is no default of a search
        if given.get("do_sample") == Some(&json!(false))
            || given.contains_key("num_beams") && !given.contains_key("do_sample")
        {
            layers.drop_sampling();
        }
        layers.search_as(given);
        layers.give(given)?;
        Ok(layers)
    }

    fn tokenizer(&self) -> &Tokenizer {
        self.engine.tokenizer().expect("it was opened with one")
    }

    /// Continues every prompt; `done` hears the answers to one, in the order in which they end; `said` all tokens that
    /// were said of a prompt so far, where they don't change any more.
    ///
    /// # Errors
    /// When an option or a prompt doesn't fit the model, or the caller asked to stop.
    pub fn run(
        &self,
        prompts: &mut dyn Iterator<Item = Prompt>,
        options: &TextGenerationOptions<'_>,
        said: Option<&mut dyn FnMut(usize, &[u32])>,
        done: &mut dyn FnMut(usize, Vec<Answer>) -> Result<()>,
    ) -> Result<()> {
        let (prepared, settings, how) = self.prepare_all(prompts, options)?;
        let mut inputs = prepared.iter().map(|prepared| prepared.ids.as_slice());
        self.engine.generate(&mut inputs, &settings, &how, said, &mut |number, spoken| {
            let answers = spoken.into_iter().map(|spoken| self.answer(&prepared[number], spoken, options)).collect();
            done(number, answers)
        })
    }

    /// The same; `heard` hears what is said of a prompt as text, part by part in whole characters, all of it by the time that
    /// `done` hears its answer.
    ///
    /// # Errors
    /// As [`Self::run`]; when the settings make what is said known only at its end, as several beams do.
    pub fn stream(
        &self,
        prompts: &mut dyn Iterator<Item = Prompt>,
        options: &TextGenerationOptions<'_>,
        heard: &mut dyn FnMut(usize, &str),
        done: &mut dyn FnMut(usize, Vec<Answer>) -> Result<()>,
    ) -> Result<()> {
        let (prepared, settings, how) = self.prepare_all(prompts, options)?;
        settings.check_streaming()?;
        let cleans = options.cleans_up();
        let new = |prepared: &Prepared| TextStream::new(self.tokenizer(), &prepared.ids, cleans);
        // what is said, and what has ended, both add to the text
        let streams = RefCell::new((prepared.iter().map(new).collect::<Vec<_>>(), heard));
        let mut said = |number: usize, said: &[u32]| {
            let mut held = streams.borrow_mut();
            let (streams, heard) = &mut *held;
            let more = streams[number].more(said);
            if !more.is_empty() {
                heard(number, &more);
            }
        };
        let mut inputs = prepared.iter().map(|prepared| prepared.ids.as_slice());
        self.engine.generate(&mut inputs, &settings, &how, Some(&mut said), &mut |number, spoken| {
            let answers: Vec<Answer> =
                spoken.into_iter().map(|spoken| self.answer(&prepared[number], spoken, options)).collect();
            if let [answer] = &answers[..] {
                let mut held = streams.borrow_mut();
                let (streams, heard) = &mut *held;
                let rest = streams[number].rest(&answer.spoken.tokens);
                if !rest.is_empty() {
                    heard(number, &rest);
                }
            }
            done(number, answers)
        })
    }

    /// The prompts as the model reads them, checked before any is begun.
    fn prepare_all<'a>(
        &self,
        prompts: &mut dyn Iterator<Item = Prompt>,
        options: &TextGenerationOptions<'a>,
    ) -> Result<(Vec<Prepared>, Settings, Generate<'a>)> {
        let (settings, how) = self.settings(options)?;
        let prepared: Vec<Prepared> =
            prompts.map(|prompt| self.prepare(prompt, options, &settings)).collect::<Result<_>>()?;
        prepared.iter().try_for_each(|prepared| self.engine.check(prepared.ids.len(), &settings, &how))?;
        Ok((prepared, settings, how))
    }

    /// Continues prompts as they come, each with the number by which its draws are told from those of others; `prompts`
    /// is asked for the next one when there may be room for it, and hears whether there is nothing else to do, so that it
    /// may wait. `done` hears the answers to a prompt or why there are none, by its place in the order in which they came.
    ///
    /// # Errors
    /// When an option doesn't fit the model, or the caller asked to stop.
    pub fn feed(
        &self,
        prompts: &mut dyn FnMut(bool) -> Fed<(u64, Prompt)>,
        options: &TextGenerationOptions<'_>,
        done: &mut dyn FnMut(usize, Result<Vec<Answer>>) -> Result<()>,
    ) -> Result<()> {
        let (settings, how) = self.settings(options)?;
        let open: RefCell<HashMap<usize, Prepared>> = RefCell::default();
        let mut place = 0;
        let mut prepare = |(number, prompt): (u64, Prompt)| {
            place += 1;
            let prepared = self.prepare(prompt, options, &settings)?;
            let tokens = prepared.ids.clone();
            open.borrow_mut().insert(place - 1, prepared);
            Ok(Input { tokens, number })
        };
        let mut inputs = |alone: bool| prompts(alone).map(&mut prepare);
        self.engine.feed(&mut inputs, &settings, &how, None, &mut |place, found| {
            let prepared = open.borrow_mut().remove(&place);
            let answer = |spoken| Some(self.answer(prepared.as_ref()?, spoken, options));
            done(place, found.map(|found| found.into_iter().filter_map(answer).collect()))
        })
    }

    /// The values of all layers together, and how prompts are continued.
    fn settings<'o>(&self, options: &TextGenerationOptions<'o>) -> Result<(Settings, Generate<'o>)> {
        let layers = self.layers(&options.settings)?;
        let mut settings = layers.settings()?;
        let plain = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
        if let Some(text) = &options.stop_sequence {
            let ids = self.tokenizer().encode(text, &plain)?.ids;
            if ids.is_empty() {
                return Err(Error::Option(format!("the stop sequence {text:?} has no token: give some letters")));
            }
            settings.eos_token_id = Some(Tokens::Several(ids));
        }
        let is_given = |key: &str| layers.origin(key) == Origin::Caller;
        if let Some(prefix) = options.prefix.as_ref().or(self.layers.prefix.as_ref()) {
            // lengths that somebody gives count the texts that he gives, as in the pipeline
            let count = self.tokenizer().encode(prefix, &plain)?.ids.len();
            if let (None, Some(most)) = (settings.max_new_tokens, &mut settings.max_length) {
                let positions = self.engine.longest().unwrap_or(usize::MAX);
                *most = most.saturating_add(count).min(positions.max(*most));
            }
            if is_given("min_length") && settings.min_new_tokens.is_none() {
                settings.min_length = settings.min_length.saturating_add(count);
            }
        }
        let how = Generate { shorten: !is_given("max_new_tokens") && !is_given("max_length"), ..options.how };
        Ok((settings, how))
    }

    /// Continues every prompt; results in their order.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn generate(&self, prompts: &[Prompt], options: &TextGenerationOptions<'_>) -> Result<Vec<Vec<Answer>>> {
        let mut all = vec![Vec::new(); prompts.len()];
        self.run(&mut prompts.iter().cloned(), options, None, &mut |number, answers| {
            all[number] = answers;
            Ok(())
        })?;
        Ok(all)
    }

    fn prepare(&self, prompt: Prompt, options: &TextGenerationOptions<'_>, settings: &Settings) -> Result<Prepared> {
        let tokenizer = self.tokenizer();
        let mut goes_on = false;
        let text = match &prompt {
            Prompt::Text(text) => {
                let prefix = options.prefix.as_ref().or(self.layers.prefix.as_ref());
                format!("{}{text}", prefix.map_or("", String::as_str))
            }
            Prompt::Chat(messages) => {
                let template = self.template.as_ref().ok_or_else(|| {
                    let name = self.engine.name();
                    Error::Input(format!("{name} has no chat template: it was not made for chats; give it a text"))
                })?;
                goes_on = messages.last().is_some_and(|message| message.role == "assistant");
                template.render(messages, tokenizer, goes_on)?
            }
        };
        let plain = EncodeOptions { add_special_tokens: matches!(prompt, Prompt::Text(_)), ..EncodeOptions::default() };
        let mut ids = tokenizer.encode(&text, &plain)?.ids;
        let cut = if options.cut { self.overhang(ids.len(), settings)? } else { 0 };
        if cut > 0 {
            tracing::warn!("the first {cut} of {} tokens are cut off to leave room for the answer", ids.len());
            ids.drain(..cut);
        }
        Ok(Prepared { prompt, goes_on, ids, cut })
    }

    /// Tokens to cut from the beginning of a text of `length` tokens.
    fn overhang(&self, length: usize, settings: &Settings) -> Result<usize> {
        let most = self.tokenizer().model_max_length().unwrap_or(usize::MAX);
        let most = most.min(self.engine.longest().unwrap_or(usize::MAX));
        let new = settings.longest(length).saturating_sub(length);
        if length + new <= most {
            return Ok(0);
        }
        let keep = most.checked_sub(new).filter(|&keep| keep > 0);
        let keep = keep.ok_or_else(|| {
            Error::Option(format!(
                "{new} new tokens leave no room for a text in the model's {most}: lower max_new_tokens"
            ))
        })?;
        Ok(length.saturating_sub(keep))
    }

    fn answer(&self, prepared: &Prepared, spoken: Spoken, options: &TextGenerationOptions<'_>) -> Answer {
        let tokenizer = self.tokenizer();
        let all: Vec<u32> = prepared.ids.iter().chain(&spoken.tokens).copied().collect();
        let clean = options.cleans_up();
        let text = tokenizer.decode_with(&all, true, clean);
        let given = tokenizer.decode_with(&prepared.ids, true, clean).chars().count();
        let new_text: String = text.chars().skip(given).collect();
        let generated = match (&prepared.prompt, options.tensors, options.full_text) {
            (_, true, _) => Generated::Tokens { generated_token_ids: all },
            (_, _, false) => Generated::Text { generated_text: new_text.clone() },
            (Prompt::Text(prompt), ..) => Generated::Text { generated_text: format!("{prompt}{new_text}") },
            (Prompt::Chat(messages), ..) => {
                let mut messages = messages.clone();
                match messages.last_mut() {
                    Some(last) if prepared.goes_on => last.content.push_str(&new_text),
                    _ => messages.push(Message { role: "assistant".into(), content: new_text.clone() }),
                }
                Generated::Chat { generated_text: messages }
            }
        };
        Answer { generated, spoken, new_text, cut: prepared.cut }
    }
}

/// A prompt as the model reads it.
struct Prepared {
    prompt: Prompt,
    goes_on: bool,
    ids: Vec<u32>,
    cut: usize,
}
