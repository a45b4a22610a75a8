//! Words with a tag each: parts of speech, named entities.

use super::options::Role;
use super::{Error, Example, HasLabels, RowOf};

/// A sentence of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The words, at least one.
    pub words: Vec<String>,
    /// As many tags; none where the row has none.
    pub tags: Option<Vec<String>>,
}

impl Example for Tagged {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        // CSV columns have the words in one field
        let blank = Some(' ');
        let tags = match row.find(Role::Tags)? {
            None => None,
            Some(serde_json::Value::Array(list)) => Some(list),
            Some(serde_json::Value::String(text)) => {
                Some(text.split_whitespace().map(serde_json::Value::from).collect())
            }
            Some(other) => return Err(row.wrong(Role::Tags, "a list", &other)),
        };
        let tags = tags.map(|list| {
            list.into_iter()
                .map(|value| match row.label(value)? {
                    Some(tag) => Ok(tag),
                    None => Err(Error::row(&row.place, "a word has an empty tag: give each one, O for none")),
                })
                .collect::<Result<Vec<_>, Error>>()
        });
        let tags = tags.transpose()?;
        let Some(words) = row.texts(Role::Words, blank)? else {
            row.need(Role::Words)?;
            return Err(Error::row(&row.place, "there are no words"));
        };
        if words.is_empty() {
            return Err(Error::row(&row.place, "the sentence has no words: leave the row out"));
        }
        if let Some(tags) = tags.as_ref().filter(|tags| tags.len() != words.len()) {
            let problem = format!("{} words but {} tags: each word needs one", words.len(), tags.len());
            return Err(Error::row(&row.place, problem));
        }
        Ok(Self { words, tags })
    }

    fn is_labelled(&self) -> bool {
        self.tags.is_some()
    }
}

impl HasLabels for Tagged {
    fn labels(&self) -> Vec<&str> {
        self.tags.iter().flatten().map(String::as_str).collect()
    }
}
