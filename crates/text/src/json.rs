//! Reading JSON objects from files of unknown origin: fields with their expected type, errors with the file's name.
//! Not a schema: unknown fields are ignored, as these files carry many for other programs.

use serde_json::{Map, Value};

use crate::Error;

/// A JSON object and the name of the file it came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    pub file: String,
    pub map: Map<String, Value>,
}

impl Object {
    /// Parses `bytes`, which must hold one JSON object.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Error> {
        match parse::<Value>(file, bytes)? {
            Value::Object(map) => Ok(Self { file: file.to_owned(), map }),
            other => Err(Error::Field {
                file: file.to_owned(),
                field: "(top level)".to_owned(),
                reason: format!("expected an object, found {}", kind(&other)),
            }),
        }
    }

    /// The field, where present and not null.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|v| !v.is_null())
    }

    pub fn bool(&self, field: &str) -> Result<Option<bool>, Error> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(*b)),
            Some(other) => Err(self.wrong(field, "true or false", other)),
        }
    }

    pub fn str(&self, field: &str) -> Result<Option<&str>, Error> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(other) => Err(self.wrong(field, "a string", other)),
        }
    }

    /// A count that must be reasonable to allocate for.
    pub fn count(&self, field: &str, limit: usize) -> Result<Option<usize>, Error> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match value.as_u64().map(usize::try_from) {
                Some(Ok(n)) if n <= limit => Ok(Some(n)),
                _ => Err(self.wrong(field, &format!("a whole number from 0 to {limit}"), value)),
            },
        }
    }

    pub fn wrong(&self, field: &str, expected: &str, found: &Value) -> Error {
        Error::Field {
            file: self.file.clone(),
            field: field.to_owned(),
            reason: format!("expected {expected}, found {}", kind(found)),
        }
    }
}

/// Parses JSON, with the file's name in the error.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(file: &str, bytes: &'a [u8]) -> Result<T, Error> {
    text(file, bytes)?;
    serde_json::from_slice(bytes).map_err(|e| json_error(file, &e))
}

pub(crate) fn json_error(file: &str, error: &serde_json::Error) -> Error {
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
    match error.classify() {
        serde_json::error::Category::Data => {
            let line = if error.line() > 0 { format!(" (line {})", error.line()) } else { String::new() };
            Error::Model { file: file.to_owned(), reason: format!("{reason}{line}") }
        }
        _ => Error::Json { file: file.to_owned(), line: error.line(), column: error.column(), reason },
    }
}

/// The bytes as text, or the line where they stop to be UTF-8.
pub(crate) fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].split(|&b| b == b'\n').count();
        Error::NotUtf8 { file: file.to_owned(), line }
    })
}

/// What a JSON value is, in words, with short values shown.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) if s.len() <= 40 => format!("the string {s:?}"),
        Value::String(_) => "a long string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_file_line_and_field() {
        let e = Object::parse("a.json", b"{\n \"x\": 1,\n \"y\": ").unwrap_err().to_string();
        assert!(e.contains("a.json") && e.contains("line 3"), "{e}");
        let e = Object::parse("a.json", b"[1]").unwrap_err().to_string();
        assert!(e.contains("expected an object, found a list"), "{e}");
        let e = Object::parse("a.json", b"{\n\"x\": \"\xff\"}").unwrap_err().to_string();
        assert!(e.contains("line 2") && e.contains("UTF-8"), "{e}");
        let object = Object::parse("a.json", br#"{"x": "yes", "n": 5, "none": null}"#).unwrap();
        let e = object.bool("x").unwrap_err().to_string();
        assert!(e.contains("field `x`") && e.contains("\"yes\""), "{e}");
        assert_eq!(object.count("n", 5).unwrap(), Some(5));
        assert!(object.count("n", 4).is_err());
        assert_eq!(object.bool("none").unwrap(), None);
    }
}
