//! What a model's files, its task and the caller say of generation, one over the other, and where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::settings::{DEFAULT_NEW, Settings};
use crate::error::{Error, Result};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything else.
    Default,
    /// The application's own default.
    Task,
    /// `generation_config.json`, or `config.json` in its absence.
    File(&'static str),
    /// `task_specific_params` of `config.json`, for this task.
    TaskOfFile(String),
    /// The caller.
    Caller,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Task => f.write_str("default of the task"),
            Self::File(name) => f.write_str(name),
            Self::TaskOfFile(task) => write!(f, "config.json, task_specific_params.{task}"),
            Self::Caller => f.write_str("given"),
        }
    }
}

/// The values of a generation as layers make them, each with its origin.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
    /// A prefix of inputs that files name.
    pub prefix: Option<String>,
    from_prefix: Option<Origin>,
}

/// What files say of generation that would change the text, and that ptm doesn't do.
const UNSUPPORTED: [&str; 8] = [
    "guidance_scale",
    "sequence_bias",
    "watermarking_config",
    "dola_layers",
    "constraints",
    "force_words_ids",
    "forced_decoder_ids",
    "token_healing",
];

impl Layers {
    /// What the directory `dir` says for `task` (`summarization`), over the task's own defaults: the files' word always
    /// counts, where some versions of the reference let a pipeline's own four beams go before a model's three.
    ///
    /// # Errors
    /// When a file can't be read, or asks for something that can't be done.
    pub fn read(dir: &Path, task: &str, defaults: &[(&str, Value)]) -> Result<Self> {
        let global = known(&Settings::default());
        let mut layers = Self::default();
        for (key, value) in defaults {
            layers.set(key, value.clone(), Origin::Task);
        }
        let config = json_file(dir, "config.json")?.unwrap_or_default();
        layers.prefix = config.get("prefix").and_then(Value::as_str).map(str::to_owned);
        layers.from_prefix = layers.prefix.as_ref().map(|_| Origin::File("config.json"));
        let (name, file) = match json_file(dir, "generation_config.json")? {
            Some(file) => ("generation_config.json", file),
            None => ("config.json", with_family_defaults(&config)),
        };
        for (key, value) in &file {
            if UNSUPPORTED.contains(&key.as_str()) && !is_unset(key, value) {
                let problem = format!("{key} is {value}, which ptm doesn't do: remove it, or set it to null");
                return Err(Error::Module { path: dir.join(name), problem });
            }
            // nothing is padded here, and a token that isn't there can't be said
            if key == "pad_token_id" && value.as_i64().is_some_and(|id| id < 0) {
                tracing::warn!(
                    "{}: pad_token_id is {value}, which is no token: it is left out",
                    dir.join(name).display()
                );
                continue;
            }
            // as the reference has it, a file that says what is the default anyway leaves the task's default alone
            let is_default = global.get(key).is_some_and(|default| is_equal(default, value));
            if global.contains_key(key) && !value.is_null() && !is_default {
                let is_default_length = key == "max_length" && value.as_u64() == Some(DEFAULT_NEW as u64);
                if !is_default_length {
                    layers.set(key, value.clone(), Origin::File(name));
                }
            }
        }
        let has_length = |layers: &Self, key: &str| matches!(layers.values.get(key), Some((_, Origin::File(_))));
        if has_length(&layers, "max_length") && !has_length(&layers, "max_new_tokens") {
            layers.values.remove("max_new_tokens");
        }
        if let Some(Value::Object(tasks)) = config.get("task_specific_params")
            && let Some(Value::Object(params)) = tasks.get(task)
        {
            for (key, value) in params {
                if key == "prefix" {
                    layers.prefix = value.as_str().map(str::to_owned);
                    layers.from_prefix = Some(Origin::TaskOfFile(task.to_owned()));
                } else if global.contains_key(key) && !value.is_null() {
                    // a max_length here stays behind the task's max_new_tokens, as in the reference
                    layers.set(key, value.clone(), Origin::TaskOfFile(task.to_owned()));
                }
            }
        }
        Ok(layers)
    }

    fn forget_default(&mut self, key: &str) {
        if matches!(self.values.get(key), Some((_, Origin::Task))) {
            self.values.remove(key);
        }
    }

    fn set(&mut self, key: &str, value: Value, origin: Origin) {
        self.values.insert(key.to_owned(), (value, origin));
    }

    /// Sets what the caller says, a map of names and values; null takes back what files said.
    ///
    /// # Errors
    /// When there is no such value.
    pub fn give(&mut self, values: &Map<String, Value>) -> Result<()> {
        let global = known(&Settings::default());
        for (key, value) in values {
            if !global.contains_key(key) {
                let names: Vec<&str> = global.keys().map(String::as_str).collect();
                return Err(Error::Option(format!("generation has no {key:?}; it has {}", names.join(", "))));
            }
            if value.is_null() {
                self.values.remove(key);
            } else {
                self.set(key, value.clone(), Origin::Caller);
            }
        }
        // a length that somebody asks for goes before one that files or tasks have
        for (given, other) in [("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")] {
            if values.contains_key(given) && !values.contains_key(other) {
                self.values.remove(other);
            }
        }
        self.lower_min_length();
        Ok(())
    }

    /// A `min_length` of files or tasks is no more than a `max_length` that somebody asks for.
    fn lower_min_length(&mut self) {
        let of = |key: &str| self.values.get(key).and_then(|(value, origin)| Some((value.as_u64()?, origin)));
        if let (Some((most, Origin::Caller)), Some((least, origin)), None) =
            (of("max_length"), of("min_length"), of("max_new_tokens"))
            && least > most
            && *origin != Origin::Caller
            && !self.values.contains_key("min_new_tokens")
        {
            tracing::warn!(
                "min_length is {least} ({origin}), more than the max_length {most} that was asked for: it counts as that"
            );
            let origin = origin.clone();
            self.set("min_length", most.into(), origin);
        }
    }

    /// Takes back a task's defaults that only drawing uses.
    pub(crate) fn drop_sampling(&mut self) {
        for key in ["do_sample", "temperature", "top_k", "top_p"] {
            self.forget_default(key);
        }
    }

    /// A contrastive search that the caller asks for (`given`) goes before what files and tasks say of other searches.
    pub(crate) fn search_as(&mut self, given: &Map<String, Value>) {
        if given.get("penalty_alpha").and_then(Value::as_f64).is_some_and(|alpha| alpha > 0.0) {
            self.drop_sampling();
            for (key, off) in
                [("do_sample", Value::Bool(false)), ("num_beams", 1.into()), ("num_beam_groups", 1.into())]
            {
                if self.values.contains_key(key) {
                    self.set(key, off, Origin::Task);
                }
            }
        }
    }

    /// Sets a value that the caller didn't, as a tokenizer's language code.
    pub(crate) fn suggest(&mut self, key: &str, value: Value) {
        if !matches!(self.values.get(key), Some((_, Origin::Caller))) {
            self.set(key, value, Origin::Task);
        }
    }

    /// Sets a value that nothing else sets, as the tokenizer has it.
    pub(crate) fn fallback(&mut self, key: &str, value: Option<u32>) {
        if let Some(value) = value
            && !self.values.contains_key(key)
        {
            self.set(key, value.into(), Origin::File("the tokenizer's files"));
        }
    }

    /// Who set this value.
    pub fn origin(&self, key: &str) -> Origin {
        if key == "prefix" {
            return self.from_prefix.clone().unwrap_or(Origin::Caller);
        }
        self.values.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The values of all layers together.
    ///
    /// # Errors
    /// When one is of the wrong kind, or impossible.
    pub fn settings(&self) -> Result<Settings> {
        let mut map = Map::new();
        for (key, (value, origin)) in &self.values {
            let one = Map::from_iter([(key.clone(), value.clone())]);
            if let Err(error) = serde_json::from_value::<Settings>(one.into()) {
                return Err(Error::Option(format!("{key} is {value} ({origin}): {error}")));
            }
            map.insert(key.clone(), value.clone());
        }
        let settings: Settings =
            serde_json::from_value(map.into()).map_err(|error| Error::Option(error.to_string()))?;
        settings.check()?;
        Ok(settings)
    }

    /// Every value with its origin, by name.
    ///
    /// # Errors
    /// As [`Self::settings`].
    pub fn effective(&self) -> Result<Vec<(String, Value, Origin)>> {
        let all = known(&self.settings()?);
        // as it was written, not as the nearest number that is computed with
        let written = |key: &str| self.values.get(key).map(|(value, _)| value.clone());
        Ok(all
            .into_iter()
            .map(|(key, value)| (key.clone(), written(&key).unwrap_or(value), self.origin(&key)))
            .collect())
    }
}

/// Every name with its value.
fn known(settings: &Settings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("settings are a map of names and values"),
    }
}

/// Whether two values are the same, 1 and 1.0 too.
fn is_equal(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a == b)
}

fn is_unset(key: &str, value: &Value) -> bool {
    value.is_null() || value == false || (key == "guidance_scale" && value.as_f64() == Some(1.0))
}

/// A file of a model directory that holds a JSON object; none if it isn't there.
pub(crate) fn json_file(dir: &Path, name: &str) -> Result<Option<Map<String, Value>>> {
    let path = dir.join(name);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Module { path, problem: error.to_string() }),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::Module { path, problem: format!("not a JSON object: {error}") })
}

/// What `config.json` says, with the ids that a family has where it says nothing.
fn with_family_defaults(config: &Map<String, Value>) -> Map<String, Value> {
    let family = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let ids: &[(&str, u32)] = match family {
        "gpt2" => &[("bos_token_id", 50256), ("eos_token_id", 50256)],
        "bart" | "mbart" => &[
            ("bos_token_id", 0),
            ("pad_token_id", 1),
            ("eos_token_id", 2),
            ("decoder_start_token_id", 2),
            ("forced_eos_token_id", 2),
        ],
        "marian" => &[
            ("eos_token_id", 0),
            ("pad_token_id", 58100),
            ("decoder_start_token_id", 58100),
            ("forced_eos_token_id", 0),
        ],
        "t5" | "mt5" => &[("pad_token_id", 0), ("eos_token_id", 1), ("decoder_start_token_id", 0)],
        "xlnet" => &[("bos_token_id", 1), ("eos_token_id", 2), ("pad_token_id", 5)],
        _ => &[],
    };
    // mBART's start depends on the language
    let ids = ids.iter().filter(|(key, _)| family != "mbart" || *key != "decoder_start_token_id");
    let mut all: Map<String, Value> = ids.map(|&(key, id)| (key.to_owned(), id.into())).collect();
    all.extend(config.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())));
    // as BART's first summarizers say it
    let forced = all.get("force_bos_token_to_be_generated").is_some_and(|value| value == true);
    if let Some(bos) = all.get("bos_token_id").filter(|_| forced).cloned() {
        all.entry("forced_bos_token_id").or_insert(bos);
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::settings::Tokens;
    use super::*;

    fn dir(files: &[(&str, Value)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in files {
            std::fs::write(dir.path().join(name), value.to_string()).unwrap();
        }
        dir
    }

    const TASK: [(&str, Value); 0] = [];

    #[test]
    fn barts_first_summarizers_force_their_first_token() {
        let of = |fields: Value| {
            let Value::Object(config) = fields else { panic!("an object") };
            with_family_defaults(&config).get("forced_bos_token_id").cloned()
        };
        assert_eq!(of(json!({"model_type": "bart", "force_bos_token_to_be_generated": true})), Some(json!(0)));
        assert_eq!(of(json!({"model_type": "bart", "force_bos_token_to_be_generated": false})), None);
        let both = json!({"model_type": "bart", "force_bos_token_to_be_generated": true, "forced_bos_token_id": 7});
        assert_eq!(of(both), Some(json!(7)));
    }

    #[test]
    fn layers_go_over_each_other() {
        let dir = dir(&[
            (
                "config.json",
                json!({"model_type": "t5", "num_beams": 9, "task_specific_params": {"summarization":
                {"prefix": "summarize: ", "max_length": 200, "length_penalty": 2.0, "num_beams": 4}}}),
            ),
            (
                "generation_config.json",
                json!({"max_length": 50, "top_k": 50, "eos_token_id": [1, 2], "use_cache": true}),
            ),
        ]);
        let defaults = [("max_new_tokens", json!(256)), ("num_beams", json!(3))];
        let mut layers = Layers::read(dir.path(), "translation", &defaults).unwrap();
        let settings = layers.settings().unwrap();
        assert_eq!((settings.max_new_tokens, settings.max_length, settings.num_beams), (None, Some(50), 3));
        assert_eq!(layers.origin("max_length"), Origin::File("generation_config.json"));
        layers.give(json!({"max_new_tokens": 7, "eos_token_id": null}).as_object().unwrap()).unwrap();
        let settings = layers.settings().unwrap();
        assert_eq!((settings.longest(3), settings.ends()), (10, vec![]));
        let layers = Layers::read(dir.path(), "summarization", &defaults).unwrap();
        let settings = layers.settings().unwrap();
        assert_eq!(
            (layers.prefix.as_deref(), settings.length_penalty, settings.num_beams),
            (Some("summarize: "), 2.0, 4)
        );
        assert_eq!(layers.origin("num_beams"), Origin::TaskOfFile("summarization".into()));
        assert_eq!(settings.longest(1), 200);
    }

    #[test]
    fn without_a_file_of_its_own_the_configuration_counts() {
        let dir = dir(&[("config.json", json!({"model_type": "bart", "num_beams": 4, "forced_eos_token_id": 7}))]);
        let settings = Layers::read(dir.path(), "", &TASK).unwrap().settings().unwrap();
        assert_eq!((settings.num_beams, settings.decoder_start_token_id), (4, Some(2)));
        assert_eq!(settings.forced_eos_token_id, Some(Tokens::One(7)));
    }

    #[test]
    fn a_files_min_length_is_no_more_than_the_length_that_is_asked_for() {
        let dir = dir(&[("generation_config.json", json!({"min_length": 6, "max_length": 30}))]);
        let given = |values: Value| {
            let mut layers = Layers::read(dir.path(), "", &TASK).unwrap();
            layers
                .give(values.as_object().unwrap())
                .and_then(|()| layers.settings())
                .map(|settings| settings.min_length)
        };
        assert_eq!(given(json!({"max_length": 4})).unwrap(), 4);
        assert_eq!(given(json!({"max_length": 9})).unwrap(), 6);
        assert_eq!(given(json!({"max_length": 4, "max_new_tokens": 9})).unwrap(), 6);
        assert!(given(json!({"max_length": 4, "min_length": 6})).unwrap_err().to_string().contains("min_length is 6"));
    }

    #[test]
    fn an_end_that_is_named_twice_is_one() {
        let mut layers = Layers::default();
        layers.give(json!({"eos_token_id": [9, 4, 9, 4, 7]}).as_object().unwrap()).unwrap();
        assert_eq!(layers.settings().unwrap().ends(), [9, 4, 7]);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let check = |values: Value| {
            let mut layers = Layers::default();
            layers.give(values.as_object().unwrap()).and_then(|()| layers.settings()).unwrap_err().to_string()
        };
        assert!(check(json!({"beams": 3})).contains("no \"beams\""));
        assert!(check(json!({"temperature": 0.0})).contains("above 0"));
        assert!(check(json!({"top_p": 1.5})).contains("share"));
        assert!(check(json!({"num_beams": 2, "num_return_sequences": 3})).contains("of 2 beams"));
        assert!(check(json!({"num_return_sequences": 3})).contains("one sequence"));
        assert!(check(json!({"num_beams": "many"})).contains("num_beams is \"many\" (given)"));
        assert!(check(json!({"max_new_tokens": 0})).contains("at least 1"));
        assert!(check(json!({"early_stopping": "soon"})).contains("never"));
        assert!(check(json!({"penalty_alpha": 0.6, "num_beams": 2})).contains("contrastive"));
        assert!(check(json!({"max_time": 0.0})).contains("seconds above 0"));
        for (name, value) in [("guidance_scale", json!(1.5)), ("token_healing", json!(true))] {
            let dir = dir(&[("generation_config.json", json!({ name: value }))]);
            let error = Layers::read(dir.path(), "", &TASK).unwrap_err().to_string();
            assert!(error.contains("generation_config.json") && error.contains(name), "{error}");
        }
        let usual = dir(&[("generation_config.json", json!({"guidance_scale": 1.0, "token_healing": false}))]);
        Layers::read(usual.path(), "", &TASK).unwrap();
    }
}
