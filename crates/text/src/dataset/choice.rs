//! Multiple choice: a context, perhaps a question, several continuations, one of them right (SWAG, RACE, COPA).

use super::options::Role;
use super::{Error, Example, RowOf};

/// A context with choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What the choices follow.
    pub context: String,
    /// A question or the beginning of each choice.
    pub question: Option<String>,
    /// The choices, two at least.
    pub choices: Vec<String>,
    /// Which is right, from 0; none where the row does not say.
    pub label: Option<usize>,
}

impl Example for Choice {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        let value = row.find(Role::Label)?;
        let several = row.options.columns.choices.as_deref().filter(|names| names.contains(','));
        let choices = if let Some(names) = several {
            let mut texts = Vec::new();
            for name in names.split(',').map(str::trim) {
                match row.values.get(name).and_then(|value| value.as_str()) {
                    Some(text) => texts.push(text.to_owned()),
                    None => return Err(Error::row(&row.place, format!("there is no text in column {name:?}"))),
                }
            }
            texts
        } else {
            row.texts(Role::Choices, Some('|'))?.unwrap_or_default()
        };
        if choices.len() < 2 {
            let problem = format!(
                "{} choices: give two at least, a list under columns.choices or several columns with commas",
                choices.len()
            );
            return Err(Error::row(&row.place, problem));
        }
        // the number of the choice, or its letter
        let label = match value.map(super::row::plain).transpose() {
            Err(value) => return Err(row.wrong(Role::Label, "the number of a choice", &value)),
            Ok(text) => text.filter(|text| !text.trim().is_empty() && text != "-1"),
        };
        let number = |text: &str| match text.parse::<usize>() {
            Ok(number) => Some(number),
            Err(_) => match text.as_bytes() {
                [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
                _ => choices.iter().position(|choice| choice == text),
            },
        };
        let label = match label {
            None => None,
            Some(text) => {
                let found = number(text.trim()).filter(|&number| number < choices.len());
                Some(found.ok_or_else(|| {
                    let last = choices.len() - 1;
                    Error::row(
                        &row.place,
                        format!("label {text:?} is none of the choices: give a number from 0 to {last}"),
                    )
                })?)
            }
        };
        let context = if row.has(Role::Context) || !row.has(Role::Text) { Role::Context } else { Role::Text };
        Ok(Self { context: row.text(context)?, question: row.text_if_any(Role::Question)?, choices, label })
    }

    fn is_labelled(&self) -> bool {
        self.label.is_some()
    }
}
