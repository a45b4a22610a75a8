//! A row as columns with values, whatever file it came from, and what a task reads out of it by role.

use serde_json::{Map, Value};

use super::error::{Error, Place};
use super::options::{Options, Role};
use crate::json::kind;

/// Columns with values.
pub(crate) struct Row<'o> {
    pub values: Map<String, Value>,
    pub place: Place,
    pub options: &'o Options,
}

/// A problem names this many columns.
const SHOWN: usize = 12;

impl Row<'_> {
    /// The value that plays a role: of the column that is named, else of the first usual one; null counts as absent.
    pub fn find(&mut self, role: Role) -> Result<Option<Value>, Error> {
        if let Some(name) = self.options.columns.given(role) {
            return match self.values.get_mut(name) {
                Some(value) => Ok(some(value.take())),
                None => Err(self.without(role)),
            };
        }
        let name = role.usual().iter().find(|name| self.values.contains_key(**name));
        Ok(name.and_then(|name| self.values.get_mut(*name)).and_then(|value| some(value.take())))
    }

    /// The same, required.
    pub fn need(&mut self, role: Role) -> Result<Value, Error> {
        match self.find(role)? {
            Some(value) => Ok(value),
            None => Err(self.without(role)),
        }
    }

    /// Whether the role has a column here.
    pub fn has(&self, role: Role) -> bool {
        let here = |name: &str| self.values.contains_key(name);
        self.options.columns.given(role).map_or_else(|| role.usual().iter().any(|name| here(name)), here)
    }

    fn without(&self, role: Role) -> Error {
        let name = role.name();
        let mut columns: Vec<&str> = self.values.keys().take(SHOWN).map(String::as_str).collect();
        if self.values.len() > SHOWN {
            columns.push("…");
        }
        let problem = match self.options.columns.given(role) {
            Some(given) if self.values.contains_key(given) => format!("column {given:?} is empty here"),
            Some(given) => format!("there is no column {given:?} for {name}; the columns are {}", columns.join(", ")),
            None if role.usual().iter().any(|usual| self.values.contains_key(*usual)) => {
                format!("the column for {name} is empty here")
            }
            None => format!(
                "no column for {name}; the columns are {}: say which it is, --column {name}=…, in a recipe \
                 data.columns.{name} = \"…\", and of text that is packed or a tokenizer learnt from --text-key …",
                columns.join(", ")
            ),
        };
        Error::row(&self.place, problem)
    }

    /// The error that a value is of another kind.
    pub fn wrong(&self, role: Role, expected: &str, found: &Value) -> Error {
        Error::row(&self.place, format!("{} should be {expected}, found {}", role.name(), kind(found)))
    }

    /// A text; numbers and truth values are taken as they are written.
    pub fn text(&mut self, role: Role) -> Result<String, Error> {
        let value = self.need(role)?;
        plain(value).map_err(|value| self.wrong(role, "a text", &value))
    }

    /// A text that may be missing.
    pub fn text_if_any(&mut self, role: Role) -> Result<Option<String>, Error> {
        match self.find(role)? {
            None => Ok(None),
            Some(value) => plain(value).map(Some).map_err(|value| self.wrong(role, "a text", &value)),
        }
    }

    /// A list of texts: a list, or where `separator` is given a text with that between the parts.
    pub fn texts(&mut self, role: Role, separator: Option<char>) -> Result<Option<Vec<String>>, Error> {
        match self.find(role)? {
            None => Ok(None),
            Some(Value::Array(list)) => {
                let texts = list.into_iter().map(|value| match value {
                    Value::Null => Err(Value::Null),
                    other => plain(other),
                });
                texts.collect::<Result<_, _>>().map(Some).map_err(|value| self.wrong(role, "a list of texts", &value))
            }
            Some(Value::String(text)) => match separator {
                Some(c) => {
                    Ok(Some(text.split(c).map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()))
                }
                None => Err(self.wrong(role, "a list", &Value::String(text))),
            },
            Some(other) => Err(self.wrong(role, "a list", &other)),
        }
    }

    /// A number.
    pub fn number(&mut self, role: Role) -> Result<Option<f64>, Error> {
        let Some(value) = self.find(role)? else { return Ok(None) };
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|x| x.is_finite()).map(Some).ok_or_else(|| self.wrong(role, "a finite number", &value))
    }

    /// The name of a label: itself, or the one that `label_names` gives its number.
    pub fn label(&self, value: Value) -> Result<Option<String>, Error> {
        let text = plain(value).map_err(|value| self.wrong(Role::Label, "a name or a number", &value))?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let names = &self.options.label_names;
        if names.is_empty() {
            return Ok(Some(text));
        }
        match text.parse::<i64>() {
            Ok(-1) => Ok(None),
            Ok(number) => {
                let name = usize::try_from(number).ok().and_then(|number| names.get(number));
                name.cloned().map(Some).ok_or_else(|| {
                    let problem =
                        format!("label {number}, but label_names has {} names: it counts from 0", names.len());
                    Error::row(&self.place, problem)
                })
            }
            Err(_) if names.contains(&text) => Ok(Some(text)),
            Err(_) => Err(Error::row(&self.place, format!("label {text:?} is not among label_names"))),
        }
    }
}

fn some(value: Value) -> Option<Value> {
    (!value.is_null()).then_some(value)
}

/// A single value as text.
pub(crate) fn plain(value: Value) -> Result<String, Value> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Number(number) => Ok(match number.as_f64() {
            // 3.0 and 3 are the same label
            Some(x) if !number.is_i64() && !number.is_u64() && x.fract() == 0.0 && x.abs() < 1e15 => {
                (x as i64).to_string()
            }
            _ => number.to_string(),
        }),
        other => Err(other),
    }
}
