//! Mixtures of text-to-text tasks (Raffel et al. 2020, §2.4 and §3.5.2): every task is read and said as text, and each
//! example is drawn from one of them, by rates that come from how many examples they have.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How rates come from numbers of examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rates {
    /// In proportion to the examples, none counting for more than `limit`.
    ExamplesProportional {
        /// The most that a task counts for.
        limit: u64,
    },
    /// The same to the power `1 / temperature`: 1 is in proportion, more is more equal.
    Temperature {
        /// The temperature, above 0.
        temperature: f64,
        /// The most that a task counts for.
        limit: u64,
    },
    /// All the same.
    Equal,
}

/// The paper's limit for pretraining's data as one of the tasks: 2^19.
pub const LIMIT: u64 = 1 << 19;

/// A task as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
            Rates::Equal => (1, 1.0),
            Rates::ExamplesProportional { limit } => (limit, 1.0),
            Rates::Temperature { temperature, limit } => (limit, 1.0 / temperature),
        };
        if limit == 0 || !(power > 0.0 && power.is_finite()) {
            return Err(Error::recipe("mixture", format!("limit and temperature should be above 0: {rates:?}")));
        }
        let most = examples.iter().map(|&count| count.min(limit)).max().unwrap_or(0);
        if most == 0 {
            return Err(Error::recipe("mixture", "no task has an example"));
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
        near(&rates(&examples, Rates::Equal), &[1.0 / 3.0; 3]);
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
        assert!(Mixture::new(&[], Rates::Equal).is_err());
        assert!(Mixture::new(&[0, 0], Rates::Equal).is_err());
        assert!(Mixture::new(&[5], Rates::ExamplesProportional { limit: 0 }).is_err());
        for temperature in [0.0, -1.0, f64::NAN] {
            assert!(Mixture::new(&[5], Rates::Temperature { temperature, limit: 9 }).is_err());
        }
    }
}
