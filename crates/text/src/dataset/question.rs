//! Questions whose answers stand in a text (SQuAD 1.1), or do not (SQuAD 2.0).

use serde_json::Value;

use super::options::Role;
use super::row::{Row, plain};
use super::{Error, Example, RowOf};

/// A question about a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its name; the row's number where the file gives none.
    pub id: String,
    /// The question.
    pub question: String,
    /// Where the answer stands.
    pub context: String,
    /// The right answers, each as good as the others; none for questions that the context does not answer.
    pub answers: Vec<Answer>,
    /// Whether the file says anything about answers.
    pub answered: bool,
}

/// An answer and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The text, exactly as it stands in the context.
    pub text: String,
    /// Where it begins in the context, in code points.
    pub start: usize,
}

impl Question {
    /// Whether the context is known not to answer it.
    pub fn is_impossible(&self) -> bool {
        self.answered && self.answers.is_empty()
    }
}

impl Example for Question {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        let id = row.text_if_any(Role::Id)?.unwrap_or_else(|| row.place.number.to_string());
        let (question, context) = (row.text(Role::Question)?, row.text(Role::Context)?);
        let answers = row.find(Role::Answers)?;
        let answered = answers.is_some();
        let answers = answers.map_or(Ok(Vec::new()), |value| read(value, &context, &row))?;
        Ok(Self { id, question, context, answers, answered })
    }

    fn is_labelled(&self) -> bool {
        self.answered
    }
}

/// `{"text": […], "answer_start": […]}`, or a list of `{"text": …, "answer_start": …}`, or texts alone, whose first
/// place in the context counts.
fn read(value: Value, context: &str, row: &Row<'_>) -> Result<Vec<Answer>, Error> {
    let expected = "{\"text\": […], \"answer_start\": […]}, a list of {\"text\": …, \"answer_start\": …}, or texts";
    let mut found: Vec<(Value, Value)> = Vec::new();
    match value {
        Value::Object(mut object) => {
            let mut list = |name: &str| match object.remove(name) {
                Some(Value::Array(list)) => Some(list),
                Some(Value::Null) | None => None,
                Some(single) => Some(vec![single]),
            };
            let starts = list("answer_start").or_else(|| list("start"));
            let Some(texts) = list("text") else {
                return Err(row.wrong(Role::Answers, expected, &Value::Object(object)));
            };
            let starts = starts.unwrap_or_else(|| vec![Value::Null; texts.len()]);
            if texts.len() != starts.len() {
                let problem = format!("{} answers but {} places of them", texts.len(), starts.len());
                return Err(Error::row(&row.place, problem));
            }
            found.extend(texts.into_iter().zip(starts));
        }
        Value::Array(list) => {
            for item in list {
                found.push(match item {
                    Value::Object(mut object) => {
                        let start = object.remove("answer_start").or_else(|| object.remove("start"));
                        (object.remove("text").unwrap_or_default(), start.unwrap_or_default())
                    }
                    other => (other, Value::Null),
                });
            }
        }
        // a field of a CSV file that is empty says that there is no answer
        Value::String(text) if text.trim().is_empty() => {}
        other => found.push((other, Value::Null)),
    }
    found.into_iter().map(|(text, start)| answer(text, &start, context, row)).collect()
}

fn answer(text: Value, start: &Value, context: &str, row: &Row<'_>) -> Result<Answer, Error> {
    let text = plain(text).map_err(|value| row.wrong(Role::Answers, "texts", &value))?;
    let shown: String = text.chars().take(40).collect();
    if text.is_empty() {
        return Err(Error::row(&row.place, "an answer is empty: an impossible question has an empty list of answers"));
    }
    if start.is_null() {
        let at = context
            .find(&text)
            .ok_or_else(|| Error::row(&row.place, format!("the answer {shown:?} does not stand in the context")))?;
        return Ok(Answer { start: context[..at].chars().count(), text });
    }
    let place = start.as_u64().and_then(|start| usize::try_from(start).ok());
    let start = place.ok_or_else(|| row.wrong(Role::Answers, "a place in the context, from 0", start))?;
    let fits = context.char_indices().nth(start).is_some_and(|(at, _)| context[at..].starts_with(&text));
    if !fits {
        let problem = format!("the answer {shown:?} does not stand at {start} (counted in characters) of the context");
        return Err(Error::row(&row.place, problem));
    }
    Ok(Answer { text, start })
}
