//! Fields of a configuration by their old and new names, checked. Each number has a limit far above what anybody
//! has published: beyond it a file lies, and what it asks for would overflow or fill the memory.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Rows of an embedding.
pub(super) const ROWS: u64 = 1 << 24;
/// Hidden states and heads.
pub(super) const WIDTH: u64 = 1 << 16;
/// The feed-forward layer.
pub(super) const INNER: u64 = 1 << 20;
/// Layers.
pub(super) const LAYERS: u64 = 1 << 12;
/// Labels without names; those with names are as many as the file has room for.
pub(super) const LABELS: u64 = 1 << 16;

/// The error of a field.
pub(crate) fn field(field: &'static str, problem: impl Into<String>) -> Error {
    Error::ConfigField { path: "config.json".into(), field, problem: problem.into() }
}

/// Reads fields under their old and new names.
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl Fields<'_> {
    pub(super) fn get(&self, names: &[&'static str]) -> Option<(&'static str, &Value)> {
        names.iter().find_map(|&name| self.0.get(name).filter(|value| !value.is_null()).map(|value| (name, value)))
    }

    /// The name that the file uses, for errors.
    fn name(&self, names: &[&'static str]) -> &'static str {
        self.get(names).map_or(names[0], |(name, _)| name)
    }

    pub(super) fn size(&self, names: &[&'static str], default: usize, most: u64) -> Result<usize> {
        let Some((name, value)) = self.get(names) else { return Ok(default) };
        match value.as_u64() {
            Some(size) if size <= most => Ok(size as usize),
            _ => Err(field(name, format!("should be a whole number from 0 to {most}, not {value}"))),
        }
    }

    pub(super) fn positive(&self, names: &[&'static str], default: usize, most: u64) -> Result<usize> {
        match self.size(names, default, most)? {
            0 => Err(field(self.name(names), "should not be 0")),
            size => Ok(size),
        }
    }

    pub(super) fn number(&self, names: &[&'static str], default: f32) -> Result<f32> {
        let Some((name, value)) = self.get(names) else { return Ok(default) };
        match value.as_f64().map(|number| number as f32) {
            // what f64 can hold may be infinite as f32
            Some(number) if number >= 0.0 && number.is_finite() => Ok(number),
            _ => Err(field(name, format!("should be a number that is not negative, not {value}"))),
        }
    }

    pub(super) fn rate(&self, names: &[&'static str], default: f32) -> Result<f32> {
        let rate = self.number(names, default)?;
        if rate < 1.0 {
            Ok(rate)
        } else {
            Err(field(self.name(names), format!("should be a dropout rate below 1, not {rate}")))
        }
    }

    pub(super) fn flag(&self, name: &'static str, default: bool) -> Result<bool> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(field(name, format!("should be true or false, not {other}"))),
        }
    }

    pub(super) fn text(&self, names: &[&'static str]) -> Result<Option<(&'static str, &str)>> {
        let Some((name, value)) = self.get(names) else { return Ok(None) };
        value.as_str().map(|text| Some((name, text))).ok_or_else(|| field(name, "should be a string"))
    }
}
