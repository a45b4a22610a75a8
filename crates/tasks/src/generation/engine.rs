//! A model with its tokenizer, ready to continue token ids by any settings.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::prelude::*;
use ptm_models::heads::LanguageModelHead;
use ptm_models::{Bart, BartDecoder, Configuration as _, Decoder, Family, Kind, Model, T5, Xlnet};
use ptm_text::Tokenizer;

use super::beam::Beams;
use super::constraint::Constraint;
use super::contrastive::Contrastive;
use super::draft::{Draft, DraftModel, Lookup};
use super::draws::Draws;
use super::feed::Fed;
use super::process::{Process, drawing, searching};
use super::sample::Sample;
use super::schedule::{Job, Listener, Room, run};
use super::search::{Given, Search, Spoken};
use super::settings::Settings;
use super::speaker::Speaker;
use super::stop::{Ends, Time};
use crate::error::{Error, Result};
use crate::task::Task;

/// Rows that are held at once unless the caller says otherwise.
pub(crate) const DEFAULT_ROWS: usize = 8192;

/// A language model of any family.
#[derive(Debug)]
enum AnyModel {
    Decoder(Box<Model<LanguageModelHead, Decoder>>),
    BartDecoder(Box<Model<LanguageModelHead, BartDecoder>>),
    Bart(Box<Model<LanguageModelHead, Bart>>),
    T5(Box<Model<LanguageModelHead, T5>>),
    Xlnet(Box<Model<LanguageModelHead, Xlnet>>),
}

/// Does the same with the model of whatever family.
macro_rules! each {
    ($any:expr, $model:ident => $what:expr) => {
        match $any {
            AnyModel::Decoder($model) => $what,
            AnyModel::BartDecoder($model) => $what,
            AnyModel::Bart($model) => $what,
            AnyModel::T5($model) => $what,
            AnyModel::Xlnet($model) => $what,
        }
    };
}

/// An input to continue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// What an encoder reads, or what a decoder alone is to go on with.
    pub tokens: Vec<u32>,
    /// The number by which its draws are told from those of others.
    pub number: u64,
}

/// Tokens allowed next, of which there must be one: hears which of the inputs of the call is asked for, from zero, and all
/// its tokens so far (the prompt, or the start of a decoder beside an encoder, and what was said). All if it gives none.
pub type Allowed<'a> = dyn Fn(usize, &[u32]) -> Option<Vec<u32>> + Sync + 'a;

/// How inputs are continued.
///
/// Scores can be changed by the caller's own processors, here one that makes a token likelier the longer it wasn't said:
/// ```no_run
/// use ptm_tasks::generation::process::{Context, Process};
/// use ptm_tasks::generation::{Engine, Generate, Settings};
///
/// #[derive(Debug)]
/// struct Overdue {
///     token: u32,
///     growth: f32,
/// }
///
/// impl Process for Overdue {
///     fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
///         let said = &context.tokens[context.given..];
///         let since = said.iter().rev().take_while(|&&token| token != self.token).count();
///         scores[self.token as usize] += self.growth * since as f32;
///     }
/// }
///
/// # fn main() -> ptm_tasks::Result<()> {
/// let engine = Engine::open("my-gpt2".as_ref(), None)?;
/// let (comma, even) = (Overdue { token: 11, growth: 0.2 }, |input: usize, tokens: &[u32]| {
///     // the first input may say anything, the others even tokens after three
///     (input > 0 && tokens.len() > 3).then(|| (0..50257).filter(|token| token % 2 == 0).collect::<Vec<u32>>())
/// });
/// let how = Generate { processors: &[&comma], allowed: Some(&even), ..Generate::default() };
/// let said = engine.generate_all(&[&[464, 10580], &[2061, 318]], &Settings::default(), &how)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Default)]
pub struct Generate<'a> {
    /// What the text is to be like, beyond the settings.
    pub constraint: Option<&'a Constraint>,
    /// Tokens allowed next, as `prefix_allowed_tokens_fn` of `transformers` has it.
    pub allowed: Option<&'a Allowed<'a>>,
    /// The caller's own changes of the scores, in order; after those that settings ask for, and before what only drawing
    /// uses (temperature, truncation).
    pub processors: &'a [&'a dyn Process],
    /// A smaller model of the same vocabulary that guesses ahead.
    pub draft: Option<&'a Engine>,
    /// Tokens that are held at once, 8,192 unless said otherwise; the scores of a step take at most 256 MiB beside. An input
    /// that needs more than either is continued alone.
    pub rows: Option<usize>,
    /// Whether a greatest length beyond the model's positions is lowered to them, not refused.
    pub shorten: bool,
    /// The numbers of the inputs, by which their draws are told apart: whoever gives inputs in parts makes the same
    /// draws. Their places, if none are given.
    pub numbers: Option<&'a [u64]>,
    /// Set to stop.
    pub stop: Option<&'a AtomicBool>,
}

impl Generate<'_> {
    /// The number of the input at `place`.
    pub(crate) fn number(&self, place: usize) -> u64 {
        self.numbers.and_then(|numbers| numbers.get(place).copied()).unwrap_or(place as u64)
    }
}

impl std::fmt::Debug for Generate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generate")
            .field("constraint", &self.constraint)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// A language model, and its tokenizer where stop strings or constraints need one.
#[derive(Debug)]
pub struct Engine {
    name: String,
    model: AnyModel,
    tokenizer: Option<Tokenizer>,
}

impl Engine {
    /// Opens the language model of a directory.
    ///
    /// # Errors
    /// When there is none, or a file is missing or damaged.
    pub fn open(dir: &Path, tokenizer: Option<Tokenizer>) -> Result<Self> {
        let device = Device::flex();
        let (family, is_pair) = family_of(dir)?;
        Task::TextGeneration.check(dir, family, "language-model")?;
        macro_rules! open {
            ($kind:ident) => {{
                let model = Model::<_, $kind>::open(dir, &device)?.model;
                model.config().check_answers(dir)?;
                AnyModel::$kind(Box::new(model))
            }};
        }
        let model = match family.kind() {
            Kind::Decoder => open!(Decoder),
            Kind::Bart if is_pair => open!(Bart),
            Kind::Bart => open!(BartDecoder),
            Kind::T5 => open!(T5),
            Kind::Xlnet => open!(Xlnet),
            Kind::Encoder => {
                return Err(Error::Input(format!(
                    "{}: text is not generated with models of type {}",
                    dir.display(),
                    family.model_type()
                )));
            }
        };
        let this = Self { name: dir.display().to_string(), model, tokenizer };
        if let Some(tokenizer) = &this.tokenizer {
            let rows = this.vocabulary();
            if tokenizer.max_id() as usize >= rows {
                crate::batch::check_vocabulary(tokenizer, rows)?;
            }
        }
        Ok(this)
    }

    /// The model's directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// Rows of its output.
    pub fn vocabulary(&self) -> usize {
        each!(&self.model, model => model.vocabulary())
    }

    /// Tokens that a sequence may have; none where the model sets no limit.
    pub fn longest(&self) -> Option<usize> {
        each!(&self.model, model => model.longest())
    }

    /// Whether an encoder reads the input, and a decoder speaks.
    pub fn has_encoder(&self) -> bool {
        each!(&self.model, model => model.has_encoder())
    }

    /// Continues every input; `done` hears what was found for an input, in the order in which they end, `said` what is
    /// said meanwhile, where it doesn't change any more.
    ///
    /// # Errors
    /// When settings or an input don't fit the model, a listener fails, or the caller asks to stop.
    pub fn generate<'a>(
        &self,
        inputs: &mut dyn Iterator<Item = &'a [u32]>,
        settings: &Settings,
        how: &Generate<'_>,
        said: Option<&mut dyn FnMut(usize, &[u32])>,
        done: &mut dyn FnMut(usize, Vec<Spoken>) -> Result<()>,
    ) -> Result<()> {
        let mut inputs = (0..).zip(inputs).map(|(place, tokens): (usize, &[u32])| {
            let number = how.number(place);
            Ok(Input { tokens: tokens.to_vec(), number })
        });
        self.feed(&mut |_| inputs.next().into(), settings, how, said, &mut |place, found| done(place, found?))
    }

    /// Continues inputs as they come; `inputs` is asked for the next one when there may be room for it, and hears whether
    /// there is nothing else to do, so that it may wait. `done` hears what was found for an input or why nothing was, by
    /// its place in the order in which they came; `said` what is said meanwhile, where it doesn't change any more.
    ///
    /// # Errors
    /// When settings don't fit the model, a listener fails, or the caller asks to stop.
    pub fn feed(
        &self,
        inputs: &mut dyn FnMut(bool) -> Fed<Result<Input>>,
        settings: &Settings,
        how: &Generate<'_>,
        said: Option<&mut dyn FnMut(usize, &[u32])>,
        done: &mut dyn FnMut(usize, Result<Vec<Spoken>>) -> Result<()>,
    ) -> Result<()> {
        settings.check()?;
        self.check_tokens(settings)?;
        let ends: Vec<u32> = settings.ends();
        let (searching, drawing) = (searching(settings, &ends), drawing(settings, ends.len()));
        let strings = settings.stop_strings.as_ref().map(|texts| texts.to_vec().into());
        let strings = match (strings, &self.tokenizer) {
            (None, _) => None,
            (Some(strings), Some(tokenizer)) => Some((strings, tokenizer)),
            (Some(_), None) => return Err(Error::Option("stop strings need the model's tokenizer".into())),
        };
        let time = settings.max_time.map(Time::new);
        let ends = Ends { tokens: ends.into(), strings, time, ..Ends::default() };
        let shared = Shared {
            engine: self,
            settings,
            how,
            searching: &searching,
            drawing: &drawing,
            ends: &ends,
            told: Cell::default(),
        };
        shared.check()?;
        let mut place = 0;
        let mut jobs = |alone: bool| {
            let job = |input: Result<Input>| {
                place += 1;
                input.and_then(|input| shared.job(place - 1, input))
            };
            inputs(alone).map(job)
        };
        let mut fewer = false;
        let mut done = |place: usize, found: Result<Vec<Spoken>>| {
            let wanted = settings.num_return_sequences;
            if let (false, Ok(found)) = (fewer, &found)
                && found.len() < wanted
            {
                let (number, count) = (place + 1, found.len());
                tracing::warn!(
                    "text {number} has fewer answers than num_return_sequences asks for, {count} of {wanted}: give more \
                     num_beams, or allow more tokens"
                );
                fewer = true;
            }
            if let (Some(constraint), Ok(found)) = (how.constraint, &found)
                && found.iter().any(|spoken| !constraint.is_complete(&spoken.tokens))
            {
                let number = place + 1;
                tracing::warn!(
                    "{constraint}: the answer to text {number} ended before it was complete: allow more tokens"
                );
            }
            done(place, found)
        };
        let mut listener = Listener { said, done: &mut done, stop: how.stop };
        let room = Room::of(how.rows.unwrap_or(DEFAULT_ROWS), self.vocabulary());
        each!(&self.model, model => run(&**model, &mut jobs, room, &mut listener))
    }

    /// Whether an input of so many tokens has room to go on.
    ///
    /// # Errors
    /// When it hasn't, or is empty and nothing else begins the text.
    pub fn check(&self, tokens: usize, settings: &Settings, how: &Generate<'_>) -> Result<()> {
        let (searching, drawing, ends) = (&[], &[], &Ends::default());
        Shared { engine: self, settings, how, searching, drawing, ends, told: Cell::default() }
            .lengths(&vec![0; tokens])
            .map(drop)
    }

    /// Continues every input; results in their order.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_all(&self, inputs: &[&[u32]], settings: &Settings, how: &Generate<'_>) -> Result<Vec<Vec<Spoken>>> {
        let mut all = vec![Vec::new(); inputs.len()];
        self.generate(&mut inputs.iter().copied(), settings, how, None, &mut |number, spoken| {
            all[number] = spoken;
            Ok(())
        })?;
        Ok(all)
    }

    /// Tokens that settings name must be the model's.
    fn check_tokens(&self, settings: &Settings) -> Result<()> {
        let rows = self.vocabulary();
        let words = settings.bad_words_ids.iter().flatten().flatten();
        let lists: [(&str, Vec<u32>); 6] = [
            ("eos_token_id", settings.ends()),
            ("bad_words_ids", words.copied().collect()),
            ("suppress_tokens", settings.suppress_tokens.clone().unwrap_or_default()),
            ("forced_bos_token_id", settings.forced_bos_token_id.into_iter().collect()),
            (
                "forced_eos_token_id",
                settings.forced_eos_token_id.as_ref().map(super::settings::Tokens::to_vec).unwrap_or_default(),
            ),
            ("decoder_start_token_id", settings.decoder_start_token_id.into_iter().collect()),
        ];
        for (name, tokens) in lists {
            if let Some(token) = tokens.iter().find(|&&token| token as usize >= rows) {
                return Err(Error::Option(format!("{name} names token {token}, but the model knows {rows}")));
            }
        }
        Ok(())
    }
}

/// What all inputs of one call have in common.
struct Shared<'s> {
    engine: &'s Engine,
    settings: &'s Settings,
    how: &'s Generate<'s>,
    searching: &'s [Box<dyn Process>],
    drawing: &'s [Box<dyn Process>],
    ends: &'s Ends<'s>,
    /// Whether somebody was told of a `min_length` that is never reached.
    told: Cell<bool>,
}

impl<'s> Shared<'s> {
    /// The input at `place`, ready to begin.
    fn job(&self, place: usize, input: Input) -> Result<Job<'s>> {
        let Input { tokens, number } = input;
        let (prompt, max_length) = self.lengths(&tokens)?;
        self.check_ids(&tokens)?;
        let least = self.settings.min_length;
        if self.settings.min_new_tokens.is_none() && least > max_length && !self.told.replace(true) {
            let number = place + 1;
            tracing::warn!(
                "what is said to text {number} ends at {max_length} tokens in all, before the {least} of min_length"
            );
        }
        let given = || Given {
            input: place,
            constraint: self.how.constraint,
            allowed: self.how.allowed,
            searching: self.searching,
            callers: self.how.processors,
            drawing: self.drawing,
            ends: self.ends.anew(&prompt),
            prompt: prompt.clone(),
            source: tokens.clone(),
            max_length,
            top_logprobs: self.settings.top_logprobs,
        };
        let search = self.search(&given, number);
        let source = if self.engine.has_encoder() { tokens.clone() } else { Vec::new() };
        Ok(Job { source, prompt: prompt.clone(), max_length, search })
    }

    /// What the decoder is given of `tokens`, and how many there may be in all.
    fn lengths(&self, tokens: &[u32]) -> Result<(Vec<u32>, usize)> {
        let prompt = self.prompt(tokens)?;
        let most = self.engine.longest().unwrap_or(usize::MAX);
        if self.engine.has_encoder() && tokens.len() > most {
            let problem =
                format!("a text of {} tokens is longer than the {most} that the model reads: shorten it", tokens.len());
            return Err(Error::Input(problem));
        }
        let max_length = self.max_length(prompt.len())?;
        Ok((prompt, max_length))
    }

    /// Tokens that are read must be the model's.
    fn check_ids(&self, tokens: &[u32]) -> Result<()> {
        let rows = self.engine.vocabulary();
        let Some(token) = tokens.iter().find(|&&token| token as usize >= rows) else { return Ok(()) };
        Err(Error::Input(format!(
            "an input has token {token}, but the model knows {rows}: its tokenizer is another model's"
        )))
    }

    /// What the decoder begins with.
    fn prompt(&self, tokens: &[u32]) -> Result<Vec<u32>> {
        let (settings, engine) = (self.settings, self.engine);
        let has_encoder = engine.has_encoder();
        let prompt = if has_encoder {
            let start = settings.decoder_start_token_id.or(settings.bos_token_id);
            let problem = "the model's files name no decoder_start_token_id: give one";
            vec![self.first(start.ok_or_else(|| Error::Option(problem.into()))?)?]
        } else if tokens.is_empty() {
            let problem = "an empty text, and the model's files name no bos_token_id to begin with: give some text";
            vec![self.first(settings.bos_token_id.ok_or_else(|| Error::Input(problem.into()))?)?]
        } else {
            tokens.to_vec()
        };
        if has_encoder && tokens.is_empty() {
            return Err(Error::Input("an input without a token: encode it with special tokens".into()));
        }
        Ok(prompt)
    }

    /// The token that begins, if the model knows it.
    fn first(&self, token: u32) -> Result<u32> {
        let rows = self.engine.vocabulary();
        if (token as usize) < rows {
            return Ok(token);
        }
        Err(Error::Option(format!("a text begins with token {token} (bos_token_id), but the model knows {rows}")))
    }

    /// How many tokens there may be in all; a length that somebody asked for must fit the model.
    fn max_length(&self, given: usize) -> Result<usize> {
        let wanted = self.settings.longest(given);
        let most = self.engine.longest().unwrap_or(usize::MAX);
        if given >= wanted {
            return Err(Error::Input(format!(
                "a text of {given} tokens is as long as max_length ({wanted}) allows: raise it, or give max_new_tokens"
            )));
        }
        let least = if self.settings.min_new_tokens.is_some() { 0 } else { self.settings.min_length };
        if least > most {
            return Err(Error::Option(format!("min_length is {least}, but the model has {most} positions")));
        }
        if wanted > most && self.how.shorten && given < most {
            return Ok(most);
        }
        if wanted > most {
            return Err(Error::Option(format!(
                "{given} tokens and {} new ones are more than the {most} positions of the model: lower max_new_tokens \
                 or shorten the text",
                wanted - given
            )));
        }
        Ok(wanted)
    }

    /// Says which settings the model, or the draft model, can't follow.
    fn check(&self) -> Result<()> {
        let (s, engine) = (self.settings, self.engine);
        let reads_ahead = each!(&engine.model, model => model.reads_ahead());
        if !reads_ahead && (s.is_contrastive() || s.prompt_lookup_num_tokens.is_some() || self.how.draft.is_some()) {
            let problem = "this family neither searches contrastively nor reads guesses ahead: leave penalty_alpha, \
                           prompt_lookup_num_tokens and the draft model off";
            return Err(Error::Option(problem.into()));
        }
        let Some(draft) = self.how.draft else { return Ok(()) };
        if s.prompt_lookup_num_tokens.is_some() {
            return Err(Error::Option("guesses come from the prompt or from a draft model, not from both".into()));
        }
        if draft.vocabulary() != engine.vocabulary() || draft.has_encoder() != engine.has_encoder() {
            let problem = format!(
                "{} has {} tokens, the draft model {} {}: they must share a vocabulary",
                engine.name,
                engine.vocabulary(),
                draft.name,
                draft.vocabulary()
            );
            return Err(Error::Option(problem));
        }
        if !each!(&draft.model, model => model.reads_ahead()) {
            return Err(Error::Option(format!(
                "the draft model {} is of a family that doesn't read ahead",
                draft.name
            )));
        }
        if s.num_return_sequences > 1 {
            return Err(Error::Option("a draft model guesses for one sequence: leave num_return_sequences off".into()));
        }
        if s.num_beams > 1 || s.is_contrastive() {
            return Err(Error::Option(
                "a draft model guesses for one beam: leave num_beams and penalty_alpha off".into(),
            ));
        }
        Ok(())
    }

    fn search(&self, given: &dyn Fn() -> Given<'s>, input: u64) -> Box<dyn Search + 's> {
        let s = self.settings;
        if s.num_beam_groups > 1 {
            return Box::new(super::groups::Groups::new(given, s));
        }
        if s.num_beams > 1 {
            let draws = s.do_sample.then(|| Draws::new(s.seed, input));
            let returned = s.num_return_sequences;
            return Box::new(Beams::new(given(), s.num_beams, returned, s.length_penalty, s.early_stopping, draws));
        }
        if let Some(alpha) = s.penalty_alpha.filter(|&alpha| alpha > 0.0) {
            return Box::new(Contrastive::new(given(), s.top_k, alpha));
        }
        let lookup = |count| Lookup { count, ngram: s.max_matching_ngram_size.unwrap_or(2) };
        let draft: Option<Box<dyn Draft + 's>> = match (s.prompt_lookup_num_tokens, self.how.draft) {
            (Some(count), _) => Some(Box::new(lookup(count))),
            (None, Some(draft)) => Some(
                each!(&draft.model, model => Box::new(DraftModel::new(&**model, s.num_assistant_tokens, s.do_sample))),
            ),
            (None, None) => None,
        };
        Box::new(Sample::new(given(), s.do_sample, s.seed, input, s.num_return_sequences, draft))
    }
}

/// The family of a directory, and whether an encoder is part of the model.
fn family_of(dir: &Path) -> Result<(Family, bool)> {
    let family = Family::of_dir(dir)?;
    let config = super::layers::json_file(dir, "config.json")?.unwrap_or_default();
    let class = config.get("architectures").and_then(|list| list.get(0)).and_then(serde_json::Value::as_str);
    Ok((family, !class.is_some_and(|class| class.ends_with("ForCausalLM"))))
}
