//! Which values of a generation that were given nothing would read: each is refused with the reason. Values that a model's
//! files have stay what they are, as in `transformers`.

use ptm_tasks::generation::{Layers, Settings};
use serde_json::{Map, Value};

use crate::args::Given;
use crate::commands::config::option;
use crate::failure::hinted;
use crate::generation_args::GenerationArgs;

/// What only drawing reads.
const DRAWING: [&str; 7] = ["temperature", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "seed"];

/// Refuses what does not apply to the `values` that were given, which are the last of `layers`; `has_encoder` says whether
/// one text is answered by another.
///
/// # Errors
/// For the first of them.
pub fn check(
    args: &GenerationArgs,
    values: &Map<String, Value>,
    layers: &Layers,
    has_encoder: bool,
    given: &Given,
) -> anyhow::Result<()> {
    let settings = layers.settings()?;
    if given.by("json").is_none() && given.by("output").is_none() {
        let why = "log-probabilities are part of the JSON";
        let instead = "add --json or --output, or leave it out";
        given.refuse("top_logprobs", why, instead)?;
        if values.contains_key("top_logprobs") {
            return Err(hinted(format!("--set top_logprobs does not apply: {why}"), instead));
        }
    }
    let by = |key: &str| -> Option<String> {
        let by_set = || values.contains_key(key).then(|| format!("{} {key}", given.by("set").unwrap_or("--set")));
        given.by(option(key)).map(str::to_owned).or_else(by_set)
    };
    for (key, why, instead) in unread(args, layers, &settings, has_encoder, &by) {
        if let Some(by) = by(key) {
            return Err(hinted(format!("{by} does not apply: {why}"), instead));
        }
    }
    Ok(())
}

/// The names of values that nothing reads, each with the reason and a way out.
fn unread(
    args: &GenerationArgs,
    layers: &Layers,
    s: &Settings,
    has_encoder: bool,
    by: &dyn Fn(&str) -> Option<String>,
) -> Vec<(&'static str, String, &'static str)> {
    let is = |key: &str, value: &dyn std::fmt::Display| format!("{key} is {value} ({})", layers.origin(key));
    let mut all = Vec::new();
    let mut add = |names: &[&'static str], why: String, instead: &'static str| {
        all.extend(names.iter().map(|&name| (name, why.clone(), instead)));
    };
    if !s.do_sample {
        let (why, instead) = (is("do_sample", &false), "leave it out, or add --do-sample true");
        add(&DRAWING, format!("nothing is drawn, {why}"), instead);
        if !s.is_contrastive() {
            let why = format!("it is for drawing and for contrastive search, and {why}");
            add(&["top_k"], why, "leave it out, or add --do-sample true or --penalty-alpha");
        }
    }
    if s.num_beams == 1 {
        let why = format!("it judges beams, and {}", is("num_beams", &1));
        add(&["length_penalty", "early_stopping"], why, "leave it out, or add --num-beams");
    }
    if args.draft_model.is_none() {
        let why = "no draft model guesses".to_owned();
        add(&["num_assistant_tokens"], why, "leave it out, or name a smaller model with --draft-model");
    } else {
        let instead = "leave it out, or search by one beam";
        if s.num_beams > 1 {
            add(&["draft_model"], format!("it guesses for one beam, and {}", is("num_beams", &s.num_beams)), instead);
        }
        if s.num_return_sequences > 1 {
            let why = is("num_return_sequences", &s.num_return_sequences);
            add(&["draft_model"], format!("it guesses for one sequence, and {why}"), "leave one of them out");
        }
        if s.is_contrastive() {
            let why = "a contrastive search (penalty_alpha) reads candidates of its own".to_owned();
            add(&["draft_model"], why, "leave one of them out");
        }
        if s.prompt_lookup_num_tokens.is_some() {
            let why = "guesses come from the text itself (prompt_lookup_num_tokens)".to_owned();
            add(&["draft_model"], why, "leave one of them out");
        }
    }
    if s.prompt_lookup_num_tokens.is_none() {
        let why = "no guesses are looked up".to_owned();
        add(&["max_matching_ngram_size"], why, "leave it out, or add --prompt-lookup-num-tokens");
    }
    for (less, more) in [("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")] {
        if let Some(other) = by(more) {
            add(&[less], format!("{other} says how long the answer is"), "leave one of them out");
        }
    }
    if !has_encoder {
        let why = "this model goes on with a text, and begins none".to_owned();
        add(&["decoder_start_token_id"], why, "leave it out");
    }
    all
}
