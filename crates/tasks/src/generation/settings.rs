//! How text is generated: every value with its default. Names and meanings are those of `generation_config.json`.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// One token or several, as files write them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tokens {
    /// One.
    One(u32),
    /// Several.
    Several(Vec<u32>),
}

impl Tokens {
    /// As a list.
    pub fn to_vec(&self) -> Vec<u32> {
        match self {
            Self::One(token) => vec![*token],
            Self::Several(tokens) => tokens.clone(),
        }
    }
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Texts {
    /// As a list.
    pub fn to_vec(&self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text.clone()],
            Self::Several(texts) => texts.clone(),
        }
    }
}

/// When a beam search ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "Value")]
pub enum EarlyStopping {
    /// When no open beam is likely to become better than the finished ones.
    Heuristic,
    /// As soon as there are as many finished ones as beams.
    Full,
    /// When no open beam can become better.
    Never,
}

impl From<EarlyStopping> for Value {
    fn from(early: EarlyStopping) -> Self {
        match early {
            EarlyStopping::Heuristic => Self::Bool(false),
            EarlyStopping::Full => Self::Bool(true),
            EarlyStopping::Never => Self::String("never".into()),
        }
    }
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Value::deserialize(from)? {
            Value::Bool(false) => Ok(Self::Heuristic),
            Value::Bool(true) => Ok(Self::Full),
            Value::String(text) if text == "never" => Ok(Self::Never),
            other => Err(serde::de::Error::custom(format!("{other} is neither true, false nor \"never\""))),
        }
    }
}

/// Every value of a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Tokens that are said at most; goes before `max_length`.
    pub max_new_tokens: Option<usize>,
    /// Tokens in all, with the prompt; without either, 20 new ones.
    pub max_length: Option<usize>,
    /// Tokens that are said at least; goes before `min_length`.
    pub min_new_tokens: Option<usize>,
    /// Tokens at least, with the prompt.
    pub min_length: usize,
    /// Seconds that an answer may take from its first token; what was said until then is the answer.
    pub max_time: Option<f64>,
    /// Texts that end a sequence, which they are part of.
    pub stop_strings: Option<Texts>,
    /// Whether tokens are drawn, not chosen.
    pub do_sample: bool,
    /// Where drawing starts; the same seed gives the same text.
    pub seed: u64,
    /// Beams of a beam search; 1 for none.
    pub num_beams: usize,
    /// Groups of beams that avoid each other's tokens.
    pub num_beam_groups: usize,
    /// Subtracted for each earlier group that says the same token at the same place.
    pub diversity_penalty: f32,
    /// When a beam search ends.
    pub early_stopping: EarlyStopping,
    /// A beam's score is divided by its length to this power.
    pub length_penalty: f32,
    /// Sequences that are given back for each input.
    pub num_return_sequences: usize,
    /// Weight of being unlike what was said, of a contrastive search.
    pub penalty_alpha: Option<f32>,
    /// See [`super::process::Temperature`].
    pub temperature: f32,
    /// See [`super::process::TopK`]; 0 for all. The candidates of a contrastive search.
    pub top_k: usize,
    /// See [`super::process::TopP`].
    pub top_p: f32,
    /// See [`super::process::MinP`].
    pub min_p: Option<f32>,
    /// See [`super::process::Typical`].
    pub typical_p: f32,
    /// See [`super::process::EpsilonCutoff`].
    pub epsilon_cutoff: f32,
    /// See [`super::process::EtaCutoff`].
    pub eta_cutoff: f32,
    /// See [`super::process::RepetitionPenalty`].
    pub repetition_penalty: f32,
    /// See [`super::process::CountPenalties`].
    pub presence_penalty: f32,
    /// See [`super::process::CountPenalties`].
    pub frequency_penalty: f32,
    /// See [`super::process::SourcePenalty`].
    pub encoder_repetition_penalty: f32,
    /// See [`super::process::NoRepeatedNgrams`].
    pub no_repeat_ngram_size: usize,
    /// See [`super::process::NoSourceNgrams`].
    pub encoder_no_repeat_ngram_size: usize,
    /// See [`super::process::BadWords`].
    pub bad_words_ids: Option<Vec<Vec<u32>>>,
    /// See [`super::process::Suppress`].
    pub suppress_tokens: Option<Vec<u32>>,
    /// See [`super::process::SuppressAtBeginning`].
    pub begin_suppress_tokens: Option<Vec<u32>>,
    /// See [`super::process::ForcedFirst`].
    pub forced_bos_token_id: Option<u32>,
    /// See [`super::process::ForcedLast`].
    pub forced_eos_token_id: Option<Tokens>,
    /// See [`super::process::DecayToEnd`].
    pub exponential_decay_length_penalty: Option<(usize, f32)>,
    /// See [`super::process::Normalize`].
    pub renormalize_logits: bool,
    /// Tokens guessed ahead from where the text says the same already (Saxena 2023); the answer stays the same.
    pub prompt_lookup_num_tokens: Option<usize>,
    /// The longest sequence of tokens that such a guess looks for; 2 unless said otherwise.
    pub max_matching_ngram_size: Option<usize>,
    /// Tokens that a draft model guesses ahead.
    pub num_assistant_tokens: usize,
    /// How many alternatives to each token are given with their log-probabilities.
    pub top_logprobs: Option<usize>,
    /// Starts a text.
    pub bos_token_id: Option<u32>,
    /// Ends a text.
    pub eos_token_id: Option<Tokens>,
    /// Fills what is shorter; never said to the model.
    pub pad_token_id: Option<u32>,
    /// Starts what a decoder says.
    pub decoder_start_token_id: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_new_tokens: None,
            max_length: None,
            min_new_tokens: None,
            min_length: 0,
            max_time: None,
            stop_strings: None,
            do_sample: false,
            seed: 0,
            num_beams: 1,
            num_beam_groups: 1,
            diversity_penalty: 0.0,
            early_stopping: EarlyStopping::Heuristic,
            length_penalty: 1.0,
            num_return_sequences: 1,
            penalty_alpha: None,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: None,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            encoder_repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            encoder_no_repeat_ngram_size: 0,
            bad_words_ids: None,
            suppress_tokens: None,
            begin_suppress_tokens: None,
            forced_bos_token_id: None,
            forced_eos_token_id: None,
            exponential_decay_length_penalty: None,
            renormalize_logits: false,
            prompt_lookup_num_tokens: None,
            max_matching_ngram_size: None,
            num_assistant_tokens: 5,
            top_logprobs: None,
            bos_token_id: None,
            eos_token_id: None,
            pad_token_id: None,
            decoder_start_token_id: None,
        }
    }
}

/// The greatest length where nothing says another, of new tokens.
pub(crate) const DEFAULT_NEW: usize = 20;

impl Settings {
    /// The tokens that end a sequence, each once.
    pub fn ends(&self) -> Vec<u32> {
        let mut ends = self.eos_token_id.as_ref().map(Tokens::to_vec).unwrap_or_default();
        let mut seen = HashSet::new();
        ends.retain(|end| seen.insert(*end));
        ends
    }

    /// How many tokens there may be in all after `given` ones.
    pub fn longest(&self, given: usize) -> usize {
        match (self.max_new_tokens, self.max_length) {
            (Some(new), _) => given.saturating_add(new),
            (None, Some(all)) => all,
            (None, None) => given + DEFAULT_NEW,
        }
    }

    /// Says which values are impossible, alone or together.
    ///
    /// # Errors
    /// For the first of them.
    pub fn check(&self) -> Result<()> {
        let no = |problem: String| Err(Error::Option(problem));
        let at_least_one = [
            ("num_beams", self.num_beams),
            ("num_beam_groups", self.num_beam_groups),
            ("num_return_sequences", self.num_return_sequences),
            ("max_new_tokens", self.max_new_tokens.unwrap_or(1)),
            ("max_length", self.max_length.unwrap_or(1)),
            ("num_assistant_tokens", self.num_assistant_tokens),
            ("prompt_lookup_num_tokens", self.prompt_lookup_num_tokens.unwrap_or(1)),
            ("max_matching_ngram_size", self.max_matching_ngram_size.unwrap_or(1)),
        ];
        if let Some((name, _)) = at_least_one.into_iter().find(|&(_, value)| value == 0) {
            return no(format!("{name} is 0; it must be at least 1"));
        }
        if let Some((name, value)) =
            [("num_beams", self.num_beams), ("num_return_sequences", self.num_return_sequences)]
                .into_iter()
                .find(|&(_, value)| value > 4096)
        {
            return no(format!("{name} is {value}; more than 4096 can't be meant"));
        }
        let positive = [
            ("temperature", self.temperature),
            ("repetition_penalty", self.repetition_penalty),
            ("encoder_repetition_penalty", self.encoder_repetition_penalty),
        ];
        if let Some((name, value)) = positive.into_iter().find(|&(_, value)| !(value > 0.0 && value.is_finite())) {
            let hint =
                if name == "temperature" && value == 0.0 { "; for no randomness leave do_sample off" } else { "" };
            return no(format!("{name} is {value}; it must be above 0{hint}"));
        }
        let shares = [
            ("top_p", self.top_p),
            ("typical_p", self.typical_p),
            ("min_p", self.min_p.unwrap_or(0.0)),
            ("epsilon_cutoff", self.epsilon_cutoff),
            ("eta_cutoff", self.eta_cutoff),
            ("penalty_alpha", self.penalty_alpha.unwrap_or(0.0)),
        ];
        if let Some((name, value)) = shares.into_iter().find(|&(_, value)| !(0.0..=1.0).contains(&value)) {
            return no(format!("{name} is {value}; it is a share from 0 to 1"));
        }
        if self.top_p == 0.0 || self.typical_p == 0.0 {
            return no("top_p and typical_p must be above 0".into());
        }
        let numbers = [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
            ("diversity_penalty", self.diversity_penalty),
            ("length_penalty", self.length_penalty),
        ];
        if let Some((name, value)) = numbers.into_iter().find(|&(_, value)| !value.is_finite()) {
            return no(format!("{name} is {value}; it must be a number"));
        }
        let (n, beams) = (self.num_return_sequences, self.num_beams);
        if beams > 1 && n > beams {
            return no(format!("{n} sequences are to be returned of {beams} beams; num_beams must be as large"));
        }
        if n > 1 && beams == 1 && !self.do_sample {
            return no(format!("choosing the likeliest token gives one sequence, not {n}: set num_beams or do_sample"));
        }
        if !beams.is_multiple_of(self.num_beam_groups) {
            return no(format!("{beams} beams don't divide into {} groups", self.num_beam_groups));
        }
        if self.num_beam_groups > 1 && self.do_sample {
            return no("groups of beams are not drawn: leave do_sample or num_beam_groups off".into());
        }
        if self.num_beam_groups == 1 && self.diversity_penalty != 0.0 {
            return no("diversity_penalty is between groups of beams: set num_beam_groups".into());
        }
        if self.is_contrastive() && (beams > 1 || self.do_sample) {
            return no("penalty_alpha asks for a contrastive search: leave num_beams and do_sample off".into());
        }
        if self.is_contrastive() && self.top_k < 2 {
            return no(format!("a contrastive search chooses among top_k candidates; {} is none", self.top_k));
        }
        if self.prompt_lookup_num_tokens.is_some() && (beams > 1 || self.is_contrastive()) {
            let problem =
                format!("prompt_lookup_num_tokens guesses for one beam, but num_beams is {beams}: set it to 1");
            let contrastive = "prompt_lookup_num_tokens guesses for no contrastive search: leave penalty_alpha off";
            return no(if beams > 1 { problem } else { contrastive.into() });
        }
        if let (Some(least), Some(most)) = (self.min_new_tokens, self.max_new_tokens)
            && least > most
        {
            return no(format!("min_new_tokens is {least}, but max_new_tokens {most}"));
        }
        if let (None, Some(most)) = (self.max_new_tokens, self.max_length)
            && self.min_length > most
        {
            return no(format!("min_length is {}, but max_length {most}", self.min_length));
        }
        if self.exponential_decay_length_penalty.is_some_and(|(_, factor)| !(factor > 0.0 && factor.is_finite())) {
            return no("the factor of exponential_decay_length_penalty must be above 0".into());
        }
        if let Some(seconds) = self.max_time.filter(|&seconds| seconds.is_nan() || seconds <= 0.0) {
            return no(format!("max_time is {seconds}; it is a number of seconds above 0"));
        }
        if let Some(texts) = &self.stop_strings
            && texts.to_vec().iter().any(String::is_empty)
        {
            return no("a stop string is empty: it would stop before anything is said".into());
        }
        Ok(())
    }

    /// Says why what is said can't be heard before its end, if it can't.
    ///
    /// # Errors
    /// When several beams or sequences are open at once.
    pub fn check_streaming(&self) -> Result<()> {
        let (what, value) = match (self.num_beams, self.num_return_sequences) {
            (1, 1) => return Ok(()),
            (1, sequences) => ("num_return_sequences", sequences),
            (beams, _) => ("num_beams", beams),
        };
        Err(Error::Option(format!(
            "{what} is {value}, and what is said is known at the end alone: set it to 1 to stream"
        )))
    }

    /// Whether a contrastive search is asked for.
    pub fn is_contrastive(&self) -> bool {
        self.penalty_alpha.is_some_and(|alpha| alpha > 0.0)
    }
}
