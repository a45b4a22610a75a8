//! Texts that become other texts, and texts as they are.

use super::options::Role;
use super::{Error, Example, RowOf};

/// A text and what it becomes: a translation, a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextToText {
    /// What is read.
    pub source: String,
    /// What should be written; none where the row has none.
    pub target: Option<String>,
}

/// A text for language modelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
}

impl Example for TextToText {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        let target = row.text_if_any(Role::Target)?;
        Ok(Self { source: row.text(Role::Source)?, target })
    }

    fn is_labelled(&self) -> bool {
        self.target.is_some()
    }
}

impl Example for Text {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        Ok(Self { text: row.text(Role::Text)? })
    }

    fn is_labelled(&self) -> bool {
        true
    }
}
