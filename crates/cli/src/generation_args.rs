//! The flags of text generation, which `generate`, `summarize` and `translate` share. Their names are those of
//! `generation_config.json`, whose values they go over.

use clap::{ArgAction, Args};
use serde_json::{Map, Value, json};

use crate::args::TopK;
use crate::failure::hinted;

/// A number: what JSON, in which it goes on, cannot hold is none.
fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(|| "it must be a number".into())
}

/// How text is generated. What isn't given is as the model's files say.
#[derive(Args)]
pub struct GenerationArgs {
    /// Say at most so many tokens
    #[arg(long, help_heading = "Length", value_name = "N", env = "PTM_MAX_NEW_TOKENS", hide_env_values = true)]
    pub max_new_tokens: Option<usize>,

    /// At most so many tokens with the text that was given
    #[arg(long, help_heading = "Length", value_name = "N", env = "PTM_MAX_LENGTH", hide_env_values = true)]
    pub max_length: Option<usize>,

    /// Say at least so many tokens
    #[arg(long, help_heading = "Length", value_name = "N", env = "PTM_MIN_NEW_TOKENS", hide_env_values = true)]
    pub min_new_tokens: Option<usize>,

    /// At least so many tokens with the text that was given
    #[arg(long, help_heading = "Length", value_name = "N", env = "PTM_MIN_LENGTH", hide_env_values = true)]
    pub min_length: Option<usize>,

    /// End where the text says this; may be repeated
    #[arg(long, help_heading = "Length", value_name = "TEXT", env = "PTM_STOP", hide_env_values = true, action = ArgAction::Append)]
    pub stop: Vec<String>,

    /// Draw tokens by their probability instead of taking the likeliest
    #[arg(long, help_heading = "Search", value_name = "true|false", env = "PTM_DO_SAMPLE", hide_env_values = true)]
    pub do_sample: Option<bool>,

    /// Where drawing starts: the same seed gives the same text [default: 0]
    #[arg(long, help_heading = "Search", value_name = "N", env = "PTM_SEED", hide_env_values = true)]
    pub seed: Option<u64>,

    /// Search with so many beams
    #[arg(long, help_heading = "Search", value_name = "N", env = "PTM_NUM_BEAMS", hide_env_values = true)]
    pub num_beams: Option<usize>,

    /// Give so many answers to each text
    #[arg(long, help_heading = "Search", value_name = "N", env = "PTM_NUM_RETURN_SEQUENCES", hide_env_values = true)]
    pub num_return_sequences: Option<usize>,

    /// A beam's score is divided by its length to this power: above 0 favours long texts
    #[arg(
        long,
        help_heading = "Search",
        value_name = "X",
        env = "PTM_LENGTH_PENALTY",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub length_penalty: Option<f64>,

    /// When a beam search ends: true as soon as there are enough, never when nothing can become better
    #[arg(
        long,
        help_heading = "Search",
        value_name = "true|false|never",
        env = "PTM_EARLY_STOPPING",
        hide_env_values = true
    )]
    pub early_stopping: Option<String>,

    /// Divide the beams into groups that avoid each other's tokens
    #[arg(long, help_heading = "Search", value_name = "N", env = "PTM_NUM_BEAM_GROUPS", hide_env_values = true)]
    pub num_beam_groups: Option<usize>,

    /// What a group pays for a token that an earlier one says at the same place
    #[arg(
        long,
        help_heading = "Search",
        value_name = "X",
        env = "PTM_DIVERSITY_PENALTY",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub diversity_penalty: Option<f64>,

    /// Contrastive search among --top-k candidates: the weight of being unlike what was said
    #[arg(
        long,
        help_heading = "Search",
        value_name = "X",
        env = "PTM_PENALTY_ALPHA",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub penalty_alpha: Option<f64>,

    /// Below 1 likely tokens get likelier, above 1 less so
    #[arg(
        long,
        help_heading = "Drawing",
        value_name = "X",
        env = "PTM_TEMPERATURE",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub temperature: Option<f64>,

    /// Draw from so many likeliest tokens; the candidates of a contrastive search
    #[arg(long, help_heading = "Drawing", value_name = "N|all", env = "PTM_TOP_K", hide_env_values = true)]
    pub top_k: Option<TopK>,

    /// Draw from the fewest likeliest tokens that hold this share of the probability
    #[arg(
        long,
        help_heading = "Drawing",
        value_name = "X",
        env = "PTM_TOP_P",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub top_p: Option<f64>,

    /// Draw from tokens at least this share as likely as the likeliest
    #[arg(
        long,
        help_heading = "Drawing",
        value_name = "X",
        env = "PTM_MIN_P",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub min_p: Option<f64>,

    /// Draw from tokens about as surprising as expected, that hold this share of the probability
    #[arg(
        long,
        help_heading = "Drawing",
        value_name = "X",
        env = "PTM_TYPICAL_P",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub typical_p: Option<f64>,

    /// Never draw tokens less likely than this
    #[arg(
        long,
        help_heading = "Drawing",
        value_name = "X",
        env = "PTM_EPSILON_CUTOFF",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub epsilon_cutoff: Option<f64>,

    /// The same, lower where much is possible
    #[arg(
        long,
        help_heading = "Drawing",
        value_name = "X",
        env = "PTM_ETA_CUTOFF",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub eta_cutoff: Option<f64>,

    /// Above 1 tokens that occurred get less likely, those of the text included
    #[arg(
        long,
        help_heading = "What may be said",
        value_name = "X",
        env = "PTM_REPETITION_PENALTY",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub repetition_penalty: Option<f64>,

    /// Subtracted from the scores of tokens that were said
    #[arg(
        long,
        help_heading = "What may be said",
        value_name = "X",
        env = "PTM_PRESENCE_PENALTY",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub presence_penalty: Option<f64>,

    /// Subtracted for each time that a token was said
    #[arg(
        long,
        help_heading = "What may be said",
        value_name = "X",
        env = "PTM_FREQUENCY_PENALTY",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = finite
    )]
    pub frequency_penalty: Option<f64>,

    /// No N tokens twice in this order
    #[arg(
        long,
        help_heading = "What may be said",
        value_name = "N",
        env = "PTM_NO_REPEAT_NGRAM_SIZE",
        hide_env_values = true
    )]
    pub no_repeat_ngram_size: Option<usize>,

    /// No N tokens in the order in which the source has them
    #[arg(
        long,
        help_heading = "What may be said",
        value_name = "N",
        env = "PTM_ENCODER_NO_REPEAT_NGRAM_SIZE",
        hide_env_values = true
    )]
    pub encoder_no_repeat_ngram_size: Option<usize>,

    /// Never say these words, as the tokenizer spells them alone and behind a space
    #[arg(
        long,
        help_heading = "What may be said",
        value_name = "WORD,…",
        env = "PTM_BAD_WORDS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub bad_words: Vec<String>,

    /// Say only what this regular expression matches; a space before it is free, since tokens begin words with one
    #[arg(
        long,
        help_heading = "What may be said",
        value_name = "PATTERN",
        env = "PTM_REGEX",
        hide_env_values = true,
        conflicts_with = "choices"
    )]
    pub regex: Option<String>,

    /// Say one of these; a space before it is free, since tokens begin words with one
    #[arg(
        long,
        help_heading = "What may be said",
        value_name = "TEXT,…",
        env = "PTM_CHOICES",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub choices: Vec<String>,

    /// Guess so many tokens ahead where the text says the same already; the answer stays the same
    #[arg(
        long,
        help_heading = "Speed",
        value_name = "N",
        env = "PTM_PROMPT_LOOKUP_NUM_TOKENS",
        hide_env_values = true
    )]
    pub prompt_lookup_num_tokens: Option<usize>,

    /// A smaller model of the same vocabulary that guesses ahead; the answer, or its distribution, stays the same
    #[arg(long, help_heading = "Speed", value_name = "ID|DIR", env = "PTM_DRAFT_MODEL", hide_env_values = true)]
    pub draft_model: Option<String>,

    /// So many tokens are guessed by --draft-model at a time [default: 5]
    #[arg(long, help_heading = "Speed", value_name = "N", env = "PTM_NUM_ASSISTANT_TOKENS", hide_env_values = true)]
    pub num_assistant_tokens: Option<usize>,

    /// Give each token's log-probability, and those of so many others
    #[arg(
        long,
        help_heading = "Values and probabilities",
        value_name = "N",
        env = "PTM_TOP_LOGPROBS",
        hide_env_values = true
    )]
    pub top_logprobs: Option<usize>,

    /// Set another value of generation_config.json that ptm knows, for instance renormalize_logits=true; may be repeated
    #[arg(
        long,
        help_heading = "Values and probabilities",
        value_name = "KEY=VALUE",
        action = ArgAction::Append,
        env = "PTM_SET",
        hide_env_values = true,
        value_delimiter = ';'
    )]
    pub set: Vec<String>,
}

impl GenerationArgs {
    /// The values that were given, by name.
    ///
    /// # Errors
    /// When `--set` or `--early-stopping` can't be understood.
    pub fn values(&self) -> anyhow::Result<Map<String, Value>> {
        let mut map = Map::new();
        let mut give = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(name.to_owned(), value);
            }
        };
        give("max_new_tokens", self.max_new_tokens.map(Value::from));
        give("max_length", self.max_length.map(Value::from));
        give("min_new_tokens", self.min_new_tokens.map(Value::from));
        give("min_length", self.min_length.map(Value::from));
        give("do_sample", self.do_sample.map(Value::from));
        give("seed", self.seed.map(Value::from));
        give("num_beams", self.num_beams.map(Value::from));
        give("num_beam_groups", self.num_beam_groups.map(Value::from));
        give("diversity_penalty", self.diversity_penalty.map(|x| json!(x)));
        give("length_penalty", self.length_penalty.map(|x| json!(x)));
        give("num_return_sequences", self.num_return_sequences.map(Value::from));
        give("penalty_alpha", self.penalty_alpha.map(|x| json!(x)));
        give("temperature", self.temperature.map(|x| json!(x)));
        give("top_p", self.top_p.map(|x| json!(x)));
        give("min_p", self.min_p.map(|x| json!(x)));
        give("typical_p", self.typical_p.map(|x| json!(x)));
        give("epsilon_cutoff", self.epsilon_cutoff.map(|x| json!(x)));
        give("eta_cutoff", self.eta_cutoff.map(|x| json!(x)));
        give("repetition_penalty", self.repetition_penalty.map(|x| json!(x)));
        give("presence_penalty", self.presence_penalty.map(|x| json!(x)));
        give("frequency_penalty", self.frequency_penalty.map(|x| json!(x)));
        give("no_repeat_ngram_size", self.no_repeat_ngram_size.map(Value::from));
        give("encoder_no_repeat_ngram_size", self.encoder_no_repeat_ngram_size.map(Value::from));
        give("num_assistant_tokens", self.num_assistant_tokens.map(Value::from));
        give("prompt_lookup_num_tokens", self.prompt_lookup_num_tokens.map(Value::from));
        give("top_logprobs", self.top_logprobs.map(Value::from));
        let top_k = |k: TopK| if k == TopK::All { 0 } else { k.count() };
        give("top_k", self.top_k.map(|k| top_k(k).into()));
        give("stop_strings", (!self.stop.is_empty()).then(|| json!(self.stop)));
        let early = match self.early_stopping.as_deref() {
            None => None,
            Some("true") => Some(true.into()),
            Some("false") => Some(false.into()),
            Some("never") => Some("never".into()),
            Some(other) => {
                return Err(hinted(format!("--early-stopping is {other:?}"), "give true, false or never"));
            }
        };
        give("early_stopping", early);
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(hinted(format!("--set {pair:?} has no ="), "give it as KEY=VALUE"));
            };
            let key = key.trim();
            if map.contains_key(key) {
                return Err(hinted(format!("{key} is given twice, by --set and before"), "leave one of them out"));
            }
            map.insert(key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into()));
        }
        Ok(map)
    }
}
