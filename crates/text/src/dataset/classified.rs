//! A text or two with a label, several labels, or a number: sentiment, topics, inference, similarity.

use serde_json::Value;

use super::options::Role;
use super::{Error, Example, HasLabels, RowOf};

/// A text or pair with one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// The text, or the first of two.
    pub text: String,
    /// The second.
    pub pair: Option<String>,
    /// Its label; none where the row has none.
    pub label: Option<String>,
}

/// A text or pair with any number of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiLabelled {
    /// The text, or the first of two.
    pub text: String,
    /// The second.
    pub pair: Option<String>,
    /// Its labels, perhaps an empty list; none where the row does not say.
    pub labels: Option<Vec<String>>,
}

/// A text or pair with a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Rated {
    /// The text, or the first of two.
    pub text: String,
    /// The second.
    pub pair: Option<String>,
    /// The number; none where the row has none.
    pub value: Option<f64>,
}

impl Example for Classified {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        let label = match row.find(Role::Label)? {
            None => None,
            Some(value) => row.label(value)?,
        };
        Ok(Self { text: row.text(Role::Text)?, pair: row.text_if_any(Role::Pair)?, label })
    }

    fn is_labelled(&self) -> bool {
        self.label.is_some()
    }
}

impl HasLabels for Classified {
    fn labels(&self) -> Vec<&str> {
        self.label.as_deref().into_iter().collect()
    }
}

impl Example for MultiLabelled {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        // a list, or one text with commas or bars between the labels
        let labels = match row.find(Role::Labels)? {
            None => None,
            Some(Value::Array(list)) => Some(list),
            Some(Value::String(text)) => {
                let parts = text.split([',', '|']).map(str::trim).filter(|part| !part.is_empty());
                Some(parts.map(Value::from).collect())
            }
            Some(single) => Some(vec![single]),
        };
        let labels = labels.map(|list| -> Result<Vec<String>, Error> {
            let mut names = Vec::new();
            for value in list {
                if let Some(name) = row.label(value)?
                    && !names.contains(&name)
                {
                    names.push(name);
                }
            }
            Ok(names)
        });
        Ok(Self { labels: labels.transpose()?, text: row.text(Role::Text)?, pair: row.text_if_any(Role::Pair)? })
    }

    fn is_labelled(&self) -> bool {
        self.labels.is_some()
    }
}

impl HasLabels for MultiLabelled {
    fn labels(&self) -> Vec<&str> {
        self.labels.iter().flatten().map(String::as_str).collect()
    }
}

impl Example for Rated {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        let value = row.number(Role::Value)?;
        Ok(Self { value, text: row.text(Role::Text)?, pair: row.text_if_any(Role::Pair)? })
    }

    fn is_labelled(&self) -> bool {
        self.value.is_some()
    }
}
