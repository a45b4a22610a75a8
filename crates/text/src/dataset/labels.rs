//! The labels of a data set: names in the order in which a model numbers them.

use std::collections::{BTreeSet, HashMap};

use super::error::Error;
use super::{Dataset, Example, Order};

/// More names than that are no labels.
const MOST: usize = 100_000;

/// Names and their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    numbers: HashMap<String, usize>,
}

/// Examples whose labels can be collected.
pub trait HasLabels: Example {
    /// The labels of this one, perhaps several times the same.
    fn labels(&self) -> Vec<&str>;
}

impl Labels {
    /// In this order.
    ///
    /// # Errors
    /// When a name occurs twice, or there is none.
    pub fn new(names: Vec<String>) -> Result<Self, Error> {
        let mut numbers = HashMap::with_capacity(names.len());
        for (number, name) in names.iter().enumerate() {
            if numbers.insert(name.clone(), number).is_some() {
                return Err(Error::Options(format!("the label {name:?} is there twice: each needs a name of its own")));
            }
        }
        if names.is_empty() {
            return Err(Error::Options("there are no labels: give rows with labels, or label_names".into()));
        }
        Ok(Self { names, numbers })
    }

    /// Those of a data set: `label_names` where they are given, else all that occur, sorted: numbers by value, names by
    /// letters (as the examples of transformers do).
    ///
    /// # Errors
    /// Those of reading; when no row has a label, or there are more than 100,000.
    pub fn discover<E: HasLabels>(data: &Dataset<E>) -> Result<Self, Error> {
        let labels = Self::discover_unless(data, &|| false)?;
        labels.map_or_else(|| Self::new(Vec::new()), Ok)
    }

    /// The same; none where `stop` says to give up, which it is asked before each row.
    ///
    /// # Errors
    /// As [`Self::discover`].
    pub fn discover_unless<E: HasLabels>(data: &Dataset<E>, stop: &dyn Fn() -> bool) -> Result<Option<Self>, Error> {
        if !data.options().label_names.is_empty() {
            return Self::new(data.options().label_names.clone()).map(Some);
        }
        let mut found = BTreeSet::new();
        for example in data.rows(Order::AsIs, 0) {
            if stop() {
                return Ok(None);
            }
            for label in example?.labels() {
                if !found.contains(label) {
                    found.insert(label.to_owned());
                }
            }
            if found.len() > MOST {
                let problem = format!(
                    "more than {MOST} different labels: is it the right column? Numbers that are \
                                       predicted as such are regression"
                );
                return Err(Error::Options(problem));
            }
        }
        let mut names: Vec<String> = found.into_iter().collect();
        if let Ok(numbers) = names.iter().map(|name| name.parse::<i64>()).collect::<Result<Vec<_>, _>>() {
            let mut both: Vec<_> = numbers.into_iter().zip(names).collect();
            both.sort();
            names = both.into_iter().map(|(_, name)| name).collect();
        }
        Self::new(names).map(Some)
    }

    /// The names in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never: there is at least one.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The number of a name.
    ///
    /// # Errors
    /// When there is no such label; the message has those there are.
    pub fn index(&self, name: &str) -> Result<usize, Error> {
        const SHOWN: usize = 20;
        self.numbers.get(name).copied().ok_or_else(|| {
            let mut known = self.names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            if self.names.len() > SHOWN {
                known.push_str(", …");
            }
            Error::Options(format!("label {name:?} is not one of {known}"))
        })
    }
}
