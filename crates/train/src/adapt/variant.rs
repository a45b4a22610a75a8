//! Ways of going on with pretraining, as Gururangan et al. (2020) name them: DAPT, TAPT, kNN-TAPT, and one after another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One text that is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// `dapt`: text of the domain.
    Domain,
    /// `tapt`: the task's own text.
    Task,
    /// `knn-tapt`, or `50nn-tapt` for a number of its own: the task's text with its nearest of the domain.
    Nearest(Option<usize>),
}

impl Stage {
    /// The recipe's table of what differs for it.
    pub fn table(self) -> &'static str {
        match self {
            Self::Domain => "dapt",
            Self::Task => "tapt",
            Self::Nearest(_) => "knn-tapt",
        }
    }

    /// Whether there must be a domain.
    pub fn needs_domain(self) -> bool {
        self != Self::Task
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest(Some(k)) => write!(f, "{k}nn-tapt"),
            other => f.write_str(other.table()),
        }
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dapt" => Ok(Self::Domain),
            "tapt" => Ok(Self::Task),
            "knn-tapt" => Ok(Self::Nearest(None)),
            other => {
                let k = other.strip_suffix("nn-tapt").and_then(|k| k.parse().ok()).filter(|k| (1..=10_000).contains(k));
                let known = "there are none, dapt, tapt, knn-tapt, 50nn-tapt for another number of neighbours, and \
                             several after one another, dapt+tapt";
                k.map(|k| Self::Nearest(Some(k))).ok_or_else(|| format!("{other:?} is no way to go on: {known}"))
            }
        }
    }
}

/// What is fine-tuned: the model as it is, or after some stages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant(Vec<Stage>);

impl Variant {
    /// The model as it is.
    pub const NONE: Self = Self(Vec::new());

    /// What is compared if nothing else is said.
    pub fn usual(domain: bool) -> Vec<Self> {
        use Stage::{Domain, Nearest, Task};
        let all: [&[Stage]; 5] = [&[], &[Domain], &[Task], &[Nearest(None)], &[Domain, Task]];
        let wanted = all.into_iter().filter(|stages| domain || !stages.iter().any(|stage| stage.needs_domain()));
        wanted.map(|stages| Self(stages.to_vec())).collect()
    }

    /// The stages in their order.
    pub fn stages(&self) -> &[Stage] {
        &self.0
    }

    /// All but the last stage, and that; none of the model as it is.
    pub fn last(&self) -> Option<(Self, Stage)> {
        self.0.split_last().map(|(last, before)| (Self(before.to_vec()), *last))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<String> = self.0.iter().map(Stage::to_string).collect();
        f.write_str(&names.join("+"))
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let stages: Vec<Stage> = text.split('+').map(str::parse).collect::<Result<_, _>>()?;
        if stages.len() > 8 {
            return Err(format!("{text:?} has more than eight stages"));
        }
        Ok(Self(stages))
    }
}

impl Serialize for Variant {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Variant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("variants: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["none", "dapt", "tapt", "knn-tapt", "150nn-tapt", "dapt+tapt", "dapt+500nn-tapt+tapt"] {
            assert_eq!(name.parse::<Variant>().unwrap().to_string(), name);
        }
        for name in ["", "DAPT", "dapt+", "none+tapt", "0nn-tapt", "nn-tapt", "-1nn-tapt", "10001nn-tapt", "../x"] {
            assert!(name.parse::<Variant>().is_err(), "{name}");
        }
        let (before, last) = "dapt+tapt".parse::<Variant>().unwrap().last().unwrap();
        assert_eq!((before.to_string().as_str(), last), ("dapt", Stage::Task));
        assert!(Variant::NONE.last().is_none());
    }
}
