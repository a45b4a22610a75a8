//! Chats as the text that a model was taught: the template of its tokenizer, in Jinja, run with bounds.

use std::path::Path;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};
use ptm_text::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::generation::layers::json_file;

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who says it: `system`, `user`, `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// A model's template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    name: String,
    text: String,
}

/// Steps that a template may take.
const FUEL: u64 = 1_000_000;

impl ChatTemplate {
    /// The template of a model directory, if it has one: `chat_template.jinja`, or in `tokenizer_config.json`.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("chat_template.jinja");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let config = json_file(dir, "tokenizer_config.json")?.unwrap_or_default();
                config.get("chat_template").and_then(serde_json::Value::as_str).map(str::to_owned)
            }
            Err(error) => return Err(Error::Module { path, problem: error.to_string() }),
        };
        Ok(text.map(|text| Self { name: dir.display().to_string(), text }))
    }

    /// `messages` as a text. The answer comes next, or goes on with the last message.
    ///
    /// # Errors
    /// When the template is none, refuses the chat, or takes too many steps.
    pub fn render(&self, messages: &[Message], tokenizer: &Tokenizer, goes_on: bool) -> Result<String> {
        let problem = |error: minijinja::Error| {
            let why =
                if error.kind() == ErrorKind::OutOfFuel { "it takes too many steps".into() } else { error.to_string() };
            Error::Input(format!("{}: the chat template can't be used: {why}", self.name))
        };
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |why: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, why))
        });
        environment.add_template("chat", &self.text).map_err(problem)?;
        let special = |token: &Option<ptm_text::Special>| token.as_ref().map(|s| s.text.clone()).unwrap_or_default();
        let tokens = tokenizer.special();
        let context = context! {
            messages => messages,
            add_generation_prompt => !goes_on,
            bos_token => special(&tokens.bos),
            eos_token => special(&tokens.eos),
            pad_token => special(&tokens.pad),
            unk_token => special(&tokens.unk),
        };
        let text = environment.get_template("chat").and_then(|chat| chat.render(context)).map_err(problem)?;
        let Some(last) = messages.last().filter(|_| goes_on) else { return Ok(text) };
        // what the template writes after the message that goes on is left out
        let content = last.content.trim();
        match text.rfind(content) {
            Some(at) => {
                let end = if text[at..].starts_with(&last.content) { last.content.len() } else { content.len() };
                Ok(text[..at + end].to_owned())
            }
            None => Err(Error::Input(format!(
                "{}: the chat template leaves out the last message, which can't go on then",
                self.name
            ))),
        }
    }
}
