//! What was given, by a flag or by its variable: an option that doesn't apply is refused by the name under which it came.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::{Deserialize, Serialize};

use crate::failure::hinted;

/// What says how inputs come, answers go and how quick that is, but not what the answers are.
const BESIDE: [&str; 11] = [
    "output",
    "resume",
    "file",
    "format",
    "json",
    "stream",
    "batch_tokens",
    "threads",
    "quiet",
    "verbose",
    "print_config",
];

/// The options that were given.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Each with the flag or the variable that gave it.
    by: BTreeMap<String, String>,
    settings: Settings,
}

/// What decides the answers to given inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The command's name.
    pub command: String,
    /// What was given, in words, by the options' names.
    pub options: BTreeMap<String, Vec<String>>,
}

impl Given {
    /// Those of `command` among `matches`. A switch that a variable turns off is not given.
    pub fn of(command: &Command, matches: &ArgMatches) -> Self {
        let by = |arg: &Arg| {
            let (id, long) = (arg.get_id().as_str(), arg.get_long()?);
            let name = match matches.value_source(id)? {
                ValueSource::CommandLine => format!("--{long}"),
                ValueSource::EnvVariable => arg.get_env()?.to_string_lossy().into_owned(),
                _ => return None,
            };
            let is_off = matches!(arg.get_action(), ArgAction::SetTrue) && !matches.get_flag(id);
            (!is_off).then(|| (long.replace('-', "_"), name))
        };
        let words = |arg: &Arg| {
            let id = arg.get_id().as_str();
            let is_given =
                matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
            let words = || matches.get_raw(id).into_iter().flatten().map(|word| word.to_string_lossy().into_owned());
            (is_given && !BESIDE.contains(&id)).then(|| (id.to_owned(), words().collect()))
        };
        let options = command.get_arguments().filter_map(words).collect();
        let settings = Settings { command: command.get_name().to_owned(), options };
        Self { by: command.get_arguments().filter_map(by).collect(), settings }
    }

    /// What decides the answers.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What gave `option` (`num_beams`): `--num-beams`, or `PTM_NUM_BEAMS`; none if it was not given.
    pub fn by(&self, option: &str) -> Option<&str> {
        self.by.get(option).map(String::as_str)
    }

    /// Refuses `option` if it was given: why it does not apply, and what to do instead.
    ///
    /// # Errors
    /// If it was.
    pub fn refuse(&self, option: &str, why: &str, instead: &str) -> anyhow::Result<()> {
        self.by(option).map_or(Ok(()), |by| Err(hinted(format!("{by} does not apply: {why}"), instead)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_known_by_its_flag() {
        let option = |name: &'static str| Arg::new(name).long(name);
        let command = Command::new("a")
            .arg(option("num-beams"))
            .arg(option("top-k").default_value("3"))
            .arg(option("json").action(ArgAction::SetTrue))
            .arg(option("stream").action(ArgAction::SetTrue));
        let matches = command.clone().try_get_matches_from(["a", "--num-beams", "2", "--stream"]).unwrap();
        let given = Given::of(&command, &matches);
        assert_eq!(
            ["num_beams", "top_k", "json", "stream"].map(|name| given.by(name)),
            [Some("--num-beams"), None, None, Some("--stream")]
        );
        let error = given.refuse("num_beams", "why", "instead").unwrap_err().to_string();
        assert_eq!(error, "--num-beams does not apply: why");
        given.refuse("top_k", "why", "instead").unwrap();
    }
}
