//! Special and added tokens, from the files of every age that name them: `tokenizer_config.json` (with or without
//! `added_tokens_decoder`), `special_tokens_map.json`, `added_tokens.json`.
//! The order of precedence is that of the transformers library. Not the matching of tokens in text.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use crate::Error;
use crate::families::{Family, Role};
use crate::json::{self, Object};

/// Ids beyond this name no row of any embedding; they would only exhaust memory.
pub(crate) const MAX_ID: u64 = 1 << 26;

/// A special token and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Special {
    /// As it is written in text.
    pub text: String,
    /// Its id.
    pub id: u32,
}

/// The special tokens of a tokenizer, each where it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begin of sequence.
    pub bos: Option<Special>,
    /// End of sequence.
    pub eos: Option<Special>,
    /// Unknown token.
    pub unk: Option<Special>,
    /// Separator.
    pub sep: Option<Special>,
    /// Padding.
    pub pad: Option<Special>,
    /// Class token (the whole sequence's vector).
    pub cls: Option<Special>,
    /// Mask to be predicted.
    pub mask: Option<Special>,
    /// Others that are special, without a role (`<extra_id_0>`, language codes).
    pub additional: Vec<Special>,
}

impl SpecialTokens {
    /// All of them, each id once, in the order of the fields.
    pub fn all(&self) -> Vec<&Special> {
        let mut all: Vec<&Special> = Vec::new();
        let roles = [&self.bos, &self.eos, &self.unk, &self.sep, &self.pad, &self.cls, &self.mask];
        for special in roles.into_iter().flatten().chain(&self.additional) {
            if !all.iter().any(|s| s.id == special.id) {
                all.push(special);
            }
        }
        all
    }

    pub(crate) fn set(&mut self, role: Role, special: Special) {
        let slot = match role {
            Role::Bos => &mut self.bos,
            Role::Eos => &mut self.eos,
            Role::Unk => &mut self.unk,
            Role::Sep => &mut self.sep,
            Role::Pad => &mut self.pad,
            Role::Cls => &mut self.cls,
            Role::Mask => &mut self.mask,
        };
        *slot = Some(special);
    }
}

/// A token as the files describe it, with how it is found in text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "the fields of the file format")]
pub(crate) struct Token {
    pub content: String,
    pub single_word: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    /// Unset means: only where not special.
    pub normalized: Option<bool>,
    pub special: bool,
}

impl Token {
    pub fn special(content: &str) -> Self {
        Self { content: content.to_owned(), special: true, ..Self::default() }
    }

    /// The token as the tokenizers library adds it.
    pub fn added(&self) -> tokenizers::AddedToken {
        tokenizers::AddedToken::from(self.content.clone(), self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!self.special))
    }

    fn parse(map: &Map<String, Value>, file: &str, field: &str) -> Result<Self, Error> {
        let object = Object { file: file.to_owned(), map: map.clone() };
        let path = |e: Error| match e {
            Error::Field { file, field: inner, reason } => {
                Error::Field { file, field: format!("{field}.{inner}"), reason }
            }
            other => other,
        };
        let flag = |name: &str| object.bool(name).map_err(path);
        Ok(Self {
            content: object
                .str("content")
                .map_err(path)?
                .ok_or_else(|| Error::Field {
                    file: file.to_owned(),
                    field: format!("{field}.content"),
                    reason: "is missing: the token's text is expected here".to_owned(),
                })?
                .to_owned(),
            single_word: flag("single_word")?.unwrap_or(false),
            lstrip: flag("lstrip")?.unwrap_or(false),
            rstrip: flag("rstrip")?.unwrap_or(false),
            normalized: flag("normalized")?,
            special: flag("special")?.unwrap_or(false),
        })
    }
}

/// A special token by its text alone, or with how it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Text(String),
    Token(Token),
}

impl Named {
    pub fn content(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Token(token) => &token.content,
        }
    }

    fn parse(value: &Value, file: &str, field: &str, special: bool) -> Result<Self, Error> {
        match value {
            Value::String(text) => Ok(Self::Text(text.clone())),
            Value::Object(map) => {
                let mut token = Token::parse(map, file, field)?;
                token.special |= special;
                Ok(Self::Token(token))
            }
            other => Err(Error::Field {
                file: file.to_owned(),
                field: field.to_owned(),
                reason: format!("expected a token's text or an object with `content`, found {}", json::kind(other)),
            }),
        }
    }
}

/// What the files together say about special and added tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    roles: Vec<(Role, Named)>,
    /// The roles that a file names, not only the family's defaults.
    named: Vec<Role>,
    pub additional: Vec<Named>,
    /// Added tokens by id; the id only gives their order.
    pub added: BTreeMap<u32, Token>,
}

impl Declared {
    /// Reads the files. `built_in` are the tokens that `tokenizer.json` adds, by id; `None` without that file.
    pub fn read(
        family: Option<&Family>,
        config: &Object,
        map: Option<&Object>,
        added: Option<&Object>,
        built_in: Option<&[(u32, Token)]>,
    ) -> Result<Self, Error> {
        let mut declared = Self::default();
        if let Some(family) = family {
            declared.roles = family.specials.iter().map(|&(r, t)| (r, Named::Text(t.to_owned()))).collect();
            declared.additional = family.additional.iter().map(|&t| Named::Text(t.to_owned())).collect();
        }
        declared.apply(config, false)?;
        let mut described: Vec<Token> = Vec::new();
        if let Some(value) = config.get("added_tokens_decoder") {
            let Value::Object(decoder) = value else {
                return Err(config.wrong("added_tokens_decoder", "an object from id to token", value));
            };
            for (id, value) in decoder {
                let field = format!("added_tokens_decoder.{id}");
                let number =
                    id.parse::<u32>().ok().filter(|&n| u64::from(n) <= MAX_ID).ok_or_else(|| Error::Field {
                        file: config.file.clone(),
                        field: field.clone(),
                        reason: format!("expected an id from 0 to {MAX_ID}"),
                    })?;
                let Value::Object(token) = value else {
                    return Err(config.wrong(&field, "an object with `content`", value));
                };
                let token = Token::parse(token, &config.file, &field)?;
                described.push(token.clone());
                declared.added.insert(number, token);
            }
        } else {
            if let Some(map) = map {
                declared.apply(map, true)?;
            }
            if let Some(object) = added {
                let special: Vec<String> = declared.all().map(|n| n.content().to_owned()).collect();
                for (content, id) in &object.map {
                    let id = id
                        .as_u64()
                        .filter(|&n| n <= MAX_ID)
                        .ok_or_else(|| object.wrong(content, &format!("an id from 0 to {MAX_ID}"), id))?;
                    let special = special.contains(content);
                    declared.added.insert(id as u32, Token { content: content.clone(), special, ..Token::default() });
                }
            }
            for (id, token) in built_in.unwrap_or_default() {
                described.push(token.clone());
                declared.added.insert(*id, token.clone());
            }
        }
        // A token named by its text alone is found as the file that describes it says.
        for (role, named) in &mut declared.roles {
            if !declared.named.contains(role) {
                continue;
            }
            if let Some(token) = described.iter().rev().find(|t| t.content == named.content()) {
                *named = Named::Token(token.clone());
            }
        }
        if let Some(family) = family {
            for (role, named) in &mut declared.roles {
                let Named::Text(text) = &*named else { continue };
                let mask = *role == Role::Mask && family.mask_lstrip;
                let normalized = built_in.is_none() && family.normalized.contains(role);
                if mask || normalized {
                    *named = Named::Token(Token { lstrip: mask, normalized: Some(normalized), ..Token::special(text) });
                }
            }
        }
        Ok(declared)
    }

    fn apply(&mut self, object: &Object, special: bool) -> Result<(), Error> {
        for role in Role::ALL {
            let Some(value) = object.map.get(role.field()) else {
                continue;
            };
            self.roles.retain(|(r, _)| *r != role);
            self.named.push(role);
            // An explicit null takes the family's default away. Old files also say false or "" for "none".
            if value.is_null() || value == &Value::Bool(false) || value.as_str() == Some("") {
                continue;
            }
            self.roles.push((role, Named::parse(value, &object.file, role.field(), special)?));
        }
        match object.get("additional_special_tokens") {
            None => {}
            Some(Value::Array(list)) => {
                let mut tokens = Vec::with_capacity(list.len());
                for (i, value) in list.iter().enumerate() {
                    let field = format!("additional_special_tokens[{i}]");
                    tokens.push(Named::parse(value, &object.file, &field, special)?);
                }
                // The map of the older files adds to the configuration's list; the configuration replaces defaults.
                if !special {
                    self.additional.clear();
                }
                for token in tokens {
                    if !self.additional.iter().any(|t| t.content() == token.content()) {
                        self.additional.push(token);
                    }
                }
            }
            Some(other) => return Err(object.wrong("additional_special_tokens", "a list", other)),
        }
        Ok(())
    }

    /// The text of a role's token.
    pub fn text(&self, role: Role) -> Option<&str> {
        self.roles.iter().find(|(r, _)| *r == role).map(|(_, named)| named.content())
    }

    /// All special tokens, in the order in which missing ones get ids.
    pub fn all(&self) -> impl Iterator<Item = &Named> {
        Role::ALL
            .into_iter()
            .filter_map(|role| self.roles.iter().find(|(r, _)| *r == role).map(|(_, named)| named))
            .chain(&self.additional)
    }

    /// The tokens to add to a tokenizer that already has `present`, in order.
    pub fn to_add(&self, present: &[(u32, Token)]) -> Vec<Token> {
        // All that are described are added again, as the description may say more than the file before it.
        let mut tokens: Vec<Token> = self.added.values().cloned().collect();
        let known: HashSet<String> = present.iter().map(|(_, t)| t).chain(&tokens).map(|t| t.content.clone()).collect();
        let mut seen = HashSet::new();
        for named in self.all() {
            if !seen.insert(named.content()) {
                continue;
            }
            match named {
                Named::Text(text) if !known.contains(text) => tokens.push(Token::special(text)),
                Named::Text(_) => {}
                Named::Token(token) if tokens.contains(token) => {}
                Named::Token(token) => tokens.push(token.clone()),
            }
        }
        // Once special, a token is looked for where it was looked for first.
        let mut first: HashMap<String, bool> = present
            .iter()
            .filter(|(_, t)| t.special)
            .map(|(_, t)| (t.content.clone(), t.normalized.unwrap_or(false)))
            .collect();
        for token in &mut tokens {
            token.special |= seen.contains(token.content.as_str());
            if token.special {
                let normalized = token.normalized.unwrap_or(false);
                token.normalized = Some(*first.entry(token.content.clone()).or_insert(normalized));
            }
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families;

    fn object(text: &str) -> Object {
        Object::parse("x.json", text.as_bytes()).unwrap()
    }

    #[test]
    fn ages_of_files_agree() {
        let family = families::by_class("RobertaTokenizerFast").unwrap();
        let none = Object::default();
        let old = object(r#"{"mask_token": "<mask>", "unk_token": {"content": "<u>", "lstrip": false}}"#);
        let from_map = Declared::read(Some(&family), &none, Some(&old), None, None).unwrap();
        assert_eq!(from_map.text(Role::Unk), Some("<u>"));
        assert_eq!(from_map.text(Role::Bos), Some("<s>"));
        let mask = from_map.to_add(&[]).into_iter().find(|t| t.content == "<mask>").unwrap();
        assert!(mask.lstrip && mask.special && mask.normalized == Some(false));

        let new = object(
            r#"{"mask_token": "<mask>", "pad_token": null, "added_tokens_decoder":
                {"9": {"content": "<mask>", "special": true}, "3": {"content": "word"}}}"#,
        );
        let from_config = Declared::read(Some(&family), &new, Some(&old), None, None).unwrap();
        assert_eq!(from_config.text(Role::Unk), Some("<unk>"), "the map is of no account beside the decoder");
        assert_eq!(from_config.text(Role::Pad), None);
        let added = from_config.to_add(&[]);
        assert_eq!((added[0].content.as_str(), added[0].special), ("word", false));
        assert!(!added.iter().find(|t| t.content == "<mask>").unwrap().lstrip, "described by the decoder");
    }

    #[test]
    fn wrong_entries_are_named() {
        let none = Object::default();
        for (text, field) in [
            (r#"{"mask_token": 5}"#, "mask_token"),
            (r#"{"mask_token": {"lstrip": true}}"#, "mask_token.content"),
            (r#"{"mask_token": {"content": "x", "lstrip": 3}}"#, "mask_token.lstrip"),
            (r#"{"added_tokens_decoder": {"99999999999": {"content": "x"}}}"#, "added_tokens_decoder.99999999999"),
            (r#"{"added_tokens_decoder": []}"#, "added_tokens_decoder"),
            (r#"{"additional_special_tokens": "x"}"#, "additional_special_tokens"),
            (r#"{"additional_special_tokens": ["a", 1]}"#, "additional_special_tokens[1]"),
        ] {
            let e = Declared::read(None, &object(text), None, None, None).unwrap_err().to_string();
            assert!(e.contains(&format!("`{field}`")), "{text}: {e}");
        }
        let e = Declared::read(None, &none, None, Some(&object(r#"{"x": -1}"#)), None).unwrap_err().to_string();
        assert!(e.contains("`x`"), "{e}");
    }
}
