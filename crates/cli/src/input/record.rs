//! One line of what comes in, and the texts in it.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::failure::hinted;

/// One line of a stream and where it stood.
#[derive(Debug)]
pub struct Record {
    /// Where, for messages.
    pub place: Place,
    /// What it holds.
    pub content: Content,
}

/// A line of a file, or all of it.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) file: Arc<str>,
    /// From 1; 0 for the whole file.
    pub(super) line: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 { write!(f, ", line {}", self.line) } else { Ok(()) }
    }
}

/// A line's content.
#[derive(Debug)]
pub enum Content {
    /// A text.
    Plain(String),
    /// A line that held a JSON object.
    Object(Map<String, Value>),
}

impl Record {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        self.bytes().len()
    }

    /// What it holds, in bytes that are the same for the same line.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.content {
            Content::Plain(text) => text.as_bytes().into(),
            Content::Object(object) => serde_json::to_vec(object).unwrap_or_default().into(),
        }
    }

    /// The text itself, or the string under `key`.
    ///
    /// # Errors
    /// When there is no such string, or it is empty.
    pub fn text(self, key: &str) -> anyhow::Result<String> {
        match self.content {
            Content::Plain(text) => Ok(text),
            Content::Object(mut object) => take_string(&mut object, key, true, &self.place),
        }
    }

    /// The text itself or the string under `key`, and the string under `other` where there is one.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn text_and(self, key: &str, other: &str) -> anyhow::Result<(String, Option<String>)> {
        match self.content {
            Content::Plain(text) => Ok((text, None)),
            Content::Object(mut object) => {
                let text = take_string(&mut object, key, true, &self.place)?;
                let is_there = object.get(other).is_some_and(|value| !value.is_null());
                Ok((text, is_there.then(|| take_string(&mut object, other, false, &self.place)).transpose()?))
            }
        }
    }

    /// Two texts: the strings under `a` and `b`, or two columns with a tab between them.
    ///
    /// # Errors
    /// When there are not exactly two.
    pub fn pair(self) -> anyhow::Result<(String, String)> {
        self.two("a", "b")
    }

    /// Two texts: the strings under these keys, or two columns with a tab between them.
    ///
    /// # Errors
    /// When there are not exactly two.
    pub fn two(self, first: &str, second: &str) -> anyhow::Result<(String, String)> {
        match self.content {
            Content::Object(mut object) => {
                let is_lacking = object.contains_key(first) && !object.contains_key(second);
                let mut take = |key| take_string(&mut object, key, false, &self.place);
                // what the object has is told while it is whole
                if is_lacking {
                    take(second)?;
                }
                Ok((take(first)?, take(second)?))
            }
            Content::Plain(line) => {
                let columns: Vec<&str> = line.split('\t').collect();
                match columns[..] {
                    [a, b] if !a.trim().is_empty() && !b.trim().is_empty() => Ok((a.to_owned(), b.to_owned())),
                    _ => Err(hinted(
                        format!("{}: a pair needs two texts with one tab between them", self.place),
                        if first == "a" {
                            "or give each line as {\"a\": …, \"b\": …}; for one query against many lines use --query"
                                .to_owned()
                        } else {
                            format!("or give each line as {{\"{first}\": …, \"{second}\": …}}")
                        },
                    )),
                }
            }
        }
    }
}

/// The string under `key`, of which `is_chosen` says whether `--key` can be another.
fn take_string(object: &mut Map<String, Value>, key: &str, is_chosen: bool, place: &Place) -> anyhow::Result<String> {
    match object.remove(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text),
        Some(Value::String(_)) => {
            Err(hinted(format!("{place}: the text under \"{key}\" is empty"), "remove the line, or give it a text"))
        }
        Some(_) => Err(hinted(format!("{place}: \"{key}\" is no string"), "each line needs a text there")),
        None => {
            let keys: Vec<String> = object.keys().take(8).map(|key| format!("\"{key}\"")).collect();
            Err(hinted(
                format!("{place}: there is no \"{key}\""),
                if keys.is_empty() {
                    "the object is empty".to_owned()
                } else {
                    let which = if is_chosen { "; --key says which one holds the text" } else { "" };
                    format!("the line has {}{which}", keys.join(", "))
                },
            ))
        }
    }
}
