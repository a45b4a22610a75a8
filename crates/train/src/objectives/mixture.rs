//! Mixtures of text-to-text tasks (Raffel et al. 2020, §2.4 and §3.5.2): every task is read and said as text, and each
//! example is drawn from one of them, by rates that come from how many examples they have. What is learnt without labels
//! is one of the tasks.

mod task_rows;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use self::task_rows::TaskRows;

use super::ObjectiveConfig;
use crate::error::{Error, Result};

/// Text of corpora, and tasks whose rows are text-to-text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureConfig {
    /// What is learnt from the corpora's text. Default: what the model's family was trained by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Box<ObjectiveConfig>>,
    /// How often each task is drawn. Default: in proportion to its examples.
    #[serde(default)]
    pub rates: Rates,
    /// The share of the examples that are of the corpora's text, whatever the rates, which divide the rest then. Default:
    /// none, the text is a task with as many examples as one pass over it gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_share: Option<f64>,
    /// The tasks.
    pub tasks: Vec<TaskRows>,
}

/// The name of what is learnt from the corpora's text, among those of the tasks.
pub const TEXT: &str = "text";

impl MixtureConfig {
    /// Says which value can't work.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self) -> Result<()> {
        let wrong = |place: &str, problem: String| Err(Error::recipe(place, problem));
        if let Some(share) = self.text_share.filter(|share| !(*share > 0.0 && *share < 1.0)) {
            let problem = format!("should be between 0 and 1, not {share}: tasks alone are learnt by ptm finetune");
            return wrong("objective.text_share", problem);
        }
        if self.tasks.is_empty() {
            return wrong("objective.tasks", "is empty: name a task at least, or drop the mixture".into());
        }
        for (number, task) in self.tasks.iter().enumerate() {
            let name = &task.form.name;
            // it is part of the names of metrics
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if name.is_empty() || !name.chars().all(fits) || name == TEXT {
                let problem = format!("{name:?} should be of small letters, digits and _, and not {TEXT:?}");
                return wrong("objective.tasks.name", problem);
            }
            if self.tasks[..number].iter().any(|other| other.form.name == *name) {
                return wrong("objective.tasks.name", format!("{name} is there twice"));
            }
            task.check()?;
        }
        Mixture::new(&[1], self.rates).map(|_| ())
    }
}

/// How rates come from numbers of examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rates {
    /// In proportion to the examples, none counting for more than `limit`.
    ExamplesProportional {
        /// The most that a task counts for. Default: 2^19.
        #[serde(default = "limit")]
        limit: u64,
    },
    /// The same to the power `1 / temperature`: 1 is in proportion, more is more equal.
    Temperature {
        /// The temperature, above 0.
        temperature: f64,
        /// The most that a task counts for. Default: 2^19.
        #[serde(default = "limit")]
        limit: u64,
    },
    /// All the same.
    Equal {},
}

impl Default for Rates {
    fn default() -> Self {
        Self::ExamplesProportional { limit: LIMIT }
    }
}

/// The paper's limit for pretraining's data as one of the tasks: 2^19.
pub const LIMIT: u64 = 1 << 19;

fn limit() -> u64 {
    LIMIT
}

/// A task as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextTask {
    /// Its name in messages.
    pub name: String,
    /// What is read: text, with the names of fields in braces, `cola sentence: {sentence}`.
    pub source: String,
    /// What is said, written alike.
    pub target: String,
}

impl TextTask {
    /// Source and target of an example whose fields `field` knows; `{{` and `}}` are braces.
    ///
    /// # Errors
    /// When a field is missing, or a brace is not closed.
    pub fn example<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> Result<(String, String)> {
        Ok((self.filled(&self.source, &field)?, self.filled(&self.target, &field)?))
    }

    fn filled<'a>(&self, form: &str, field: &impl Fn(&str) -> Option<&'a str>) -> Result<String> {
        let wrong = |problem: String| Error::recipe(format!("task {}", self.name), problem);
        let mut made = String::new();
        let mut rest = form;
        while let Some(place) = rest.find(['{', '}']) {
            made.push_str(&rest[..place]);
            let brace = &rest[place..=place];
            rest = &rest[place + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                made.push_str(brace);
                rest = after;
                continue;
            }
            let Some((name, after)) = rest.split_once('}').filter(|_| brace == "{") else {
                return Err(wrong(format!("{form:?} has a brace without its other: write {{{{ for a brace")));
            };
            let value = field(name).ok_or_else(|| wrong(format!("an example has no field {name:?}")))?;
            made.push_str(value);
            rest = after;
        }
        made.push_str(rest);
        Ok(made)
    }
}

/// Tasks to draw from.
#[derive(Clone, Debug)]
pub struct Mixture {
    /// For each task the rate of it and those before it.
    sums: Vec<f64>,
}

impl Mixture {
    /// A mixture of tasks with so many examples each.
    ///
    /// # Errors
    /// When no task has an example, or the temperature or the limit is not above 0.
    pub fn new(examples: &[u64], rates: Rates) -> Result<Self> {
        let (limit, power) = match rates {
            Rates::Equal {} => (1, 1.0),
            Rates::ExamplesProportional { limit } => (limit, 1.0),
            Rates::Temperature { temperature, limit } => (limit, 1.0 / temperature),
        };
        if limit == 0 || !(power > 0.0 && power.is_finite()) {
            return Err(Error::recipe(
                "objective.rates",
                format!("limit and temperature should be above 0: {rates:?}"),
            ));
        }
        let most = examples.iter().map(|&count| count.min(limit)).max().unwrap_or(0);
        if most == 0 {
            return Err(Error::recipe("objective.tasks", "no task has an example"));
        }
        // in shares of the largest, which no power takes beyond 1
        let share = |count: u64| (count.min(limit) as f64 / most as f64).powf(power);
        let weights: Vec<f64> = examples.iter().map(|&count| share(count)).collect();
        let total: f64 = weights.iter().sum();
        let sums = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(*sum)
        });
        Ok(Self { sums: sums.collect() })
    }

    /// The same tasks behind another, which has this share whatever theirs are.
    #[must_use]
    pub fn behind(&self, share: f64) -> Self {
        let rest = self.sums.iter().map(|sum| share + (1.0 - share) * sum);
        Self { sums: [share].into_iter().chain(rest).collect() }
    }

    /// Each task's rate; they sum to 1.
    pub fn rates(&self) -> Vec<f64> {
        let before = [0.0].into_iter().chain(self.sums.iter().copied());
        self.sums.iter().zip(before).map(|(sum, before)| sum - before).collect()
    }

    /// A task.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> usize {
        let drawn = random.random::<f64>() * self.sums[self.sums.len() - 1];
        self.sums.partition_point(|sum| *sum <= drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::draws::tests::{chi_square, random};
    use super::*;

    fn rates(examples: &[u64], rates: Rates) -> Vec<f64> {
        Mixture::new(examples, rates).unwrap().rates()
    }

    fn near(a: &[f64], b: &[f64]) {
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} {b:?}");
    }

    #[test]
    fn rates_are_the_papers() {
        let examples = [100, 400, 100_000];
        near(&rates(&examples, Rates::ExamplesProportional { limit: 500 }), &[0.1, 0.4, 0.5]);
        near(&rates(&examples, Rates::Equal {}), &[1.0 / 3.0; 3]);
        let limit = 900;
        near(&rates(&examples, Rates::Temperature { temperature: 2.0, limit }), &[1.0 / 6.0, 2.0 / 6.0, 0.5]);
        let one = rates(&examples, Rates::Temperature { temperature: 1.0, limit });
        near(&one, &rates(&examples, Rates::ExamplesProportional { limit }));
        near(&rates(&[0, 5], Rates::Temperature { temperature: 100.0, limit }), &[0.0, 1.0]);
        near(&rates(&[1000, 500], Rates::Temperature { temperature: 1e-3, limit: LIMIT }), &[1.0, 0.0]);
    }

    #[test]
    fn tasks_are_drawn_at_their_rates() {
        let mixture = Mixture::new(&[0, 300, 0, 500, 200, 0], Rates::ExamplesProportional { limit: LIMIT }).unwrap();
        let (mut random, mut counts) = (random(1), [0_u64; 6]);
        (0..100_000).for_each(|_| counts[mixture.draw(&mut random)] += 1);
        assert_eq!((counts[0], counts[2], counts[5]), (0, 0, 0));
        assert!(chi_square(&[counts[1], counts[3], counts[4]], &[0.3, 0.5, 0.2]) < 13.8, "{counts:?}");
    }

    #[test]
    fn a_share_of_its_own_leaves_the_rest_to_the_others() {
        let mixture = Mixture::new(&[300, 100], Rates::default()).unwrap();
        near(&mixture.behind(0.2).rates(), &[0.2, 0.6, 0.2]);
    }

    fn config(text: &str) -> Result<MixtureConfig> {
        let config: ObjectiveConfig =
            toml::from_str(&format!("name = 'mixture'\n{text}")).map_err(|error| Error::Input(error.to_string()))?;
        let ObjectiveConfig::Mixture(config) = config else { panic!("a mixture") };
        config.check()?;
        Ok(config)
    }

    #[test]
    fn what_is_written_is_read_again() {
        const TASK: &str = "[[tasks]]\nname = 'a'\nsource = '{x}'\ntarget = '{y}'\ntrain = 'a.csv'\n";
        let least = config(TASK).unwrap();
        assert_eq!((least.rates, least.text_share, least.tasks.len()), (Rates::default(), None, 1));
        let rich = config(&format!(
            "text_share = 0.5\nrates = {{name = 'temperature', temperature = 2, limit = 9}}\n\
             text = {{name = 'span_corruption', rate = 0.3}}\n{TASK}format = 'tsv'\nmax_target = 9\n\
             validation = ['b.csv', 'c.csv']\n{}",
            TASK.replace("'a'", "'b'")
        ))
        .unwrap();
        assert_eq!(rich.rates, Rates::Temperature { temperature: 2.0, limit: 9 });
        assert_eq!((rich.tasks[0].max_target, rich.tasks[0].validation.len()), (9, 2));
        for config in [least, rich] {
            let config = ObjectiveConfig::Mixture(config);
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<ObjectiveConfig>(&text).unwrap(), config, "{text}");
        }
        for (text, said) in [
            (String::new(), "tasks"),
            (TASK.replace("train", "trian"), "trian"),
            (format!("{TASK}trian = 'x'"), "trian"),
            (format!("{TASK}columns.txt = 'x'"), "txt"),
            (format!("shares = 1\n{TASK}"), "shares"),
            (format!("rates = {{name = 'equal', limit = 3}}\n{TASK}"), "limit"),
            (format!("rates = {{name = 'temperature', temperature = 0}}\n{TASK}"), "objective.rates"),
            (format!("text = {{name = 'span_corruption', spam = 3}}\n{TASK}"), "spam"),
            (format!("text_share = 1.0\n{TASK}"), "objective.text_share"),
            (format!("{TASK}{TASK}"), "twice"),
            (TASK.replace("'a'", "'text'"), "objective.tasks.name"),
            (TASK.replace("{y}", "y}"), "brace"),
            (TASK.replace("{y}", ""), "target"),
            (format!("{TASK}max_length = 1"), "max_length"),
            ("tasks = []".into(), "objective.tasks"),
        ] {
            let error = config(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn tasks_are_text() {
        let task = TextTask {
            name: "cola".into(),
            source: "cola sentence: {sentence} {{{label}}}".into(),
            target: "{label}".into(),
        };
        let fields =
            |name: &str| [("sentence", "It is {so}."), ("label", "yes")].iter().find(|f| f.0 == name).map(|f| f.1);
        let made = task.example(fields).unwrap();
        assert_eq!(made, ("cola sentence: It is {so}. {yes}".to_owned(), "yes".to_owned()));
        for source in ["{sentence", "}", "{other}", "a } b {label}"] {
            let task = TextTask { source: source.into(), ..task.clone() };
            let message = task.example(fields).unwrap_err().to_string();
            assert!(message.starts_with("task cola: "), "{message}");
        }
    }

    #[test]
    fn impossible_mixtures_are_refused() {
        assert!(Mixture::new(&[], Rates::Equal {}).is_err());
        assert!(Mixture::new(&[0, 0], Rates::Equal {}).is_err());
        assert!(Mixture::new(&[5], Rates::ExamplesProportional { limit: 0 }).is_err());
        for temperature in [0.0, -1.0, f64::NAN] {
            assert!(Mixture::new(&[5], Rates::Temperature { temperature, limit: 9 }).is_err());
        }
    }
}
