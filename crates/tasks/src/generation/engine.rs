//! A model with its tokenizer, ready to continue token ids by any settings.

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
use super::process::{Process, processors};
use super::sample::Sample;
use super::schedule::{Job, Listener, run};
use super::search::{Given, Search, Spoken};
use super::settings::Settings;
use super::speaker::Speaker;
use super::stop::Ends;
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
#[derive(Clone, Copy, Debug, Default)]
pub struct Input<'a> {
    /// What an encoder reads, or what a decoder alone is to go on with.
    pub tokens: &'a [u32],
}

/// How inputs are continued.
#[derive(Clone, Copy, Default)]
pub struct Generate<'a> {
    /// What the text is to be like, beyond the settings.
    pub constraint: Option<&'a Constraint>,
    /// Tokens allowed after those of a sequence; all if it gives none.
    pub allowed: Option<&'a (dyn Fn(&[u32]) -> Option<Vec<u32>> + Sync)>,
    /// A smaller model of the same vocabulary that guesses ahead.
    pub draft: Option<&'a Engine>,
    /// Rows that are held at once.
    pub rows: Option<usize>,
    /// Whether a greatest length beyond the model's positions is lowered to them, not refused.
    pub shorten: bool,
    /// The numbers of the inputs, by which their draws are told apart: whoever gives inputs in parts makes the same
    /// draws. Their places, if none are given.
    pub numbers: Option<&'a [u64]>,
    /// Set to stop.
    pub stop: Option<&'a AtomicBool>,
}

impl std::fmt::Debug for Generate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generate")
            .field("constraint", &self.constraint)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// A function of the caller's as a processor.
struct Allowed<'a>(&'a (dyn Fn(&[u32]) -> Option<Vec<u32>> + Sync));

impl std::fmt::Debug for Allowed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Allowed")
    }
}

impl Process for Allowed<'_> {
    fn process(&self, context: &super::process::Context<'_>, scores: &mut [f32]) {
        let Some(mut allowed) = (self.0)(context.tokens) else { return };
        allowed.sort_unstable();
        for (token, score) in scores.iter_mut().enumerate() {
            if allowed.binary_search(&(token as u32)).is_err() {
                *score = f32::NEG_INFINITY;
            }
        }
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
        settings.check()?;
        self.check_tokens(settings)?;
        let ends: Vec<u32> = settings.ends();
        let processors = processors(settings, &ends);
        let strings = settings.stop_strings.as_ref().map(|texts| texts.to_vec().into());
        let strings = match (strings, &self.tokenizer) {
            (None, _) => None,
            (Some(strings), Some(tokenizer)) => Some((strings, tokenizer)),
            (Some(_), None) => return Err(Error::Option("stop strings need the model's tokenizer".into())),
        };
        let ends = Ends { tokens: ends.into(), strings };
        let shared = Shared { engine: self, settings, how, processors: &processors, ends: &ends };
        let mut jobs = inputs.enumerate().map(|(number, tokens)| shared.job(number, tokens));
        let mut listener = Listener { said, done, stop: how.stop };
        let rows = how.rows.unwrap_or(DEFAULT_ROWS);
        each!(&self.model, model => run(&**model, &mut jobs, rows, &mut listener))
    }

    /// Whether an input of so many tokens has room to go on.
    ///
    /// # Errors
    /// When it hasn't, or is empty and nothing else begins the text.
    pub fn check(&self, tokens: usize, settings: &Settings, how: &Generate<'_>) -> Result<()> {
        let shared = Shared { engine: self, settings, how, processors: &[], ends: &Ends::default() };
        let prompt = shared.prompt(&vec![0; tokens])?;
        shared.max_length(prompt.len()).map(drop)
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
    processors: &'s [Box<dyn Process>],
    ends: &'s Ends<'s>,
}

impl<'s> Shared<'s> {
    fn job(&self, number: usize, tokens: &[u32]) -> Result<Job<'s>> {
        let (settings, has_encoder) = (self.settings, self.engine.has_encoder());
        let prompt = self.prompt(tokens)?;
        let max_length = self.max_length(prompt.len())?;
        let given = || Given {
            processors: self.processors,
            own: self.own(),
            ends: self.ends.clone(),
            prompt: prompt.clone(),
            source: tokens.to_vec(),
            max_length,
            top_logprobs: settings.top_logprobs,
        };
        let number = self.how.numbers.and_then(|numbers| numbers.get(number).copied()).unwrap_or(number as u64);
        let search = self.search(&given, number)?;
        let source = if has_encoder { tokens.to_vec() } else { Vec::new() };
        Ok(Job { source, prompt, max_length, search })
    }

    /// What the decoder begins with.
    fn prompt(&self, tokens: &[u32]) -> Result<Vec<u32>> {
        let (settings, engine) = (self.settings, self.engine);
        let has_encoder = engine.has_encoder();
        let prompt = if has_encoder {
            let start = settings.decoder_start_token_id.or(settings.bos_token_id);
            let problem = "the model's files name no decoder_start_token_id: give one";
            vec![start.ok_or_else(|| Error::Option(problem.into()))?]
        } else if tokens.is_empty() {
            let problem = "an empty text, and the model's files name no bos_token_id to begin with: give some text";
            vec![settings.bos_token_id.ok_or_else(|| Error::Input(problem.into()))?]
        } else {
            tokens.to_vec()
        };
        if has_encoder && tokens.is_empty() {
            return Err(Error::Input("an input without a token: encode it with special tokens".into()));
        }
        Ok(prompt)
    }

    /// What the caller wants beyond the settings.
    fn own(&self) -> Vec<Box<dyn Process + 's>> {
        let mut own: Vec<Box<dyn Process + 's>> = Vec::new();
        if let Some(constraint) = self.how.constraint {
            own.push(Box::new(constraint));
        }
        if let Some(allowed) = self.how.allowed {
            own.push(Box::new(Allowed(allowed)));
        }
        own
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

    fn search(&self, given: &dyn Fn() -> Given<'s>, input: u64) -> Result<Box<dyn Search + 's>> {
        let s = self.settings;
        let reads_ahead = each!(&self.engine.model, model => model.reads_ahead());
        if !reads_ahead && (s.is_contrastive() || s.prompt_lookup_num_tokens.is_some() || self.how.draft.is_some()) {
            let problem = "this family neither searches contrastively nor reads guesses ahead: leave penalty_alpha, \
                           prompt_lookup_num_tokens and the draft model off";
            return Err(Error::Option(problem.into()));
        }
        if s.num_beam_groups > 1 {
            return Ok(Box::new(super::groups::Groups::new(given, s)));
        }
        if s.num_beams > 1 {
            let draws = s.do_sample.then(|| Draws::new(s.seed, input));
            let returned = s.num_return_sequences;
            return Ok(Box::new(Beams::new(given(), s.num_beams, returned, s.length_penalty, s.early_stopping, draws)));
        }
        if let Some(alpha) = s.penalty_alpha.filter(|&alpha| alpha > 0.0) {
            return Ok(Box::new(Contrastive::new(given(), s.top_k, alpha)));
        }
        let draft: Option<Box<dyn Draft + 's>> = match (s.prompt_lookup_num_tokens, self.how.draft) {
            (Some(_), Some(_)) => {
                return Err(Error::Option("guesses come from the prompt or from a draft model, not from both".into()));
            }
            (Some(count), None) => Some(Box::new(Lookup { count, ngram: s.max_matching_ngram_size.unwrap_or(2) })),
            (None, Some(draft)) => {
                if draft.vocabulary() != self.engine.vocabulary() || draft.has_encoder() != self.engine.has_encoder() {
                    let problem = format!(
                        "{} has {} tokens, the draft model {} {}: they must share a vocabulary",
                        self.engine.name,
                        self.engine.vocabulary(),
                        draft.name,
                        draft.vocabulary()
                    );
                    return Err(Error::Option(problem));
                }
                if s.num_return_sequences > 1 {
                    return Err(Error::Option(
                        "a draft model guesses for one sequence: leave num_return_sequences off".into(),
                    ));
                }
                Some(
                    each!(&draft.model, model => Box::new(DraftModel::new(&**model, s.num_assistant_tokens, s.do_sample))),
                )
            }
            (None, None) => None,
        };
        Ok(Box::new(Sample::new(given(), s.do_sample, s.seed, input, s.num_return_sequences, draft)))
    }
}

/// The family of a directory, and whether an encoder is part of the model.
fn family_of(dir: &Path) -> Result<(Family, bool)> {
    let family = Family::of_dir(dir)?;
    let config = super::layers::json_file(dir, "config.json")?.unwrap_or_default();
    let class = config.get("architectures").and_then(|list| list.get(0)).and_then(serde_json::Value::as_str);
    Ok((family, !class.is_some_and(|class| class.ends_with("ForCausalLM"))))
}
