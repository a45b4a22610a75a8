//! A task's parameters as three layers make them: its default, what the model's `config.json` says for the task
//! (`task_specific_params`), and what the caller says. Those of generation are in `generation/settings.rs`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::generation::Origin;
use crate::task::Task;

/// A parameter's value, and who said so.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The parameter, as pipelines of `transformers` name it.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
    /// Where the value is from.
    pub origin: Origin,
}

/// Chooses the value of each parameter, and remembers where it came from.
pub(crate) struct Chooser<'a> {
    task: Task,
    stored: Option<&'a Map<String, Value>>,
    /// What was chosen so far.
    pub chosen: Vec<Effective>,
}

impl<'a> Chooser<'a> {
    /// Over the parameters that `config`, a whole `config.json`, has for `task`.
    pub fn new(task: Task, config: &'a Map<String, Value>) -> Self {
        let tasks = config.get("task_specific_params").and_then(Value::as_object);
        let stored = tasks.and_then(|tasks| tasks.get(task.name())).and_then(Value::as_object);
        Self { task, stored, chosen: Vec::new() }
    }

    /// The caller's value, else the model's, else the default.
    ///
    /// # Errors
    /// When the model's value is of another kind than it should be.
    pub fn choose<T>(&mut self, name: &'static str, given: Option<T>, default: impl FnOnce() -> T) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        let (value, origin) = match (given, self.stored.and_then(|stored| stored.get(name))) {
            (Some(given), _) => (given, Origin::Caller),
            (None, Some(stored)) => {
                let origin = Origin::TaskOfFile(self.task.name().to_owned());
                let value = T::deserialize(stored).map_err(|error| {
                    Error::Option(format!("{name} is {stored} ({origin}): {error}; correct the file, or say another"))
                })?;
                (value, origin)
            }
            (None, None) => (default(), Origin::Default),
        };
        self.note(name, &value, origin);
        Ok(value)
    }

    /// Remembers a value that was chosen in another way.
    pub fn note(&mut self, name: &'static str, value: &impl Serialize, origin: Origin) {
        // parameters are numbers, words and lists of them, which always serialise
        self.chosen.push(Effective { name, value: serde_json::to_value(value).unwrap_or_default(), origin });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_caller_goes_before_the_model_and_the_model_before_the_default() {
        let config = json!({"task_specific_params": {"question-answering": {"top_k": 3, "doc_stride": "far"}}});
        let mut chooser = Chooser::new(Task::QuestionAnswering, config.as_object().unwrap());
        assert_eq!(chooser.choose("top_k", Some(7), || 1).unwrap(), 7);
        assert_eq!(chooser.choose("top_k", None, || 1).unwrap(), 3);
        assert_eq!(chooser.choose("max_answer_len", None, || 15).unwrap(), 15);
        let error = chooser.choose("doc_stride", None, || 128).unwrap_err().to_string();
        assert!(
            error.contains("doc_stride is \"far\" (config.json, task_specific_params.question-answering)"),
            "{error}"
        );
        let origins: Vec<String> = chooser.chosen.iter().map(|one| one.origin.to_string()).collect();
        assert_eq!(origins, ["given", "config.json, task_specific_params.question-answering", "default"]);
        let mut other = Chooser::new(Task::TextClassification, config.as_object().unwrap());
        assert_eq!(other.choose("top_k", None, || 1).unwrap(), 1);
    }
}
