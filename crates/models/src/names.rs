//! Weights by name: the one table a family that says how its parameters are called in Hugging Face's files.
//! Reading tries every spelling of a name, old ones too; writing uses the first.

use std::collections::HashSet;

use crate::config::Family;
use crate::families;

/// One line of a table: the beginning of a parameter's path in the module, and how files spell it.
/// `#` stands for a layer's number, `@` for the body's prefix (`bert.`), which bare bodies lack.
pub type Entry = (&'static str, &'static [&'static str]);

/// The tables of one model: its family's body and one head.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The body's prefix without the dot, `bert`.
    pub prefix: &'static str,
    /// Whether files of this model write the prefix.
    pub prefixed: bool,
    /// Names of the body and of the head.
    pub tables: [&'static [Entry]; 2],
}

impl Names {
    /// The tables for `family` with the head called `head`.
    pub fn new(family: Family, head: &str, prefixed: bool) -> Self {
        let table = families::table(family);
        Self { prefix: table.prefix, prefixed, tables: [table.body, (table.head)(head)] }
    }

    /// Every spelling of the parameter at `path` (`body.layers.0.query.weight`), the one to write first.
    ///
    /// # Panics
    /// When the tables don't know the path: a mistake in ptm, not in a file.
    pub fn spellings(&self, path: &str) -> Vec<String> {
        let found = self.tables.iter().copied().flatten().find_map(|(pattern, spelled)| {
            let (number, rest) = matches(pattern, path)?;
            Some(spelled.iter().map(move |name| format!("{}{rest}", name.replace('#', &number))))
        });
        let found = found.unwrap_or_else(|| panic!("the name tables lack {path}"));
        let mut names = Vec::new();
        for name in found {
            let with = name.replacen('@', &format!("{}.", self.prefix), 1);
            let without = name.replacen('@', "", 1);
            let (first, second) = if self.prefixed { (with, without) } else { (without, with) };
            for name in [first, second] {
                let old = old_norm(&name);
                names.push(name);
                names.extend(old);
            }
        }
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

/// Whether `path` begins with `pattern`; gives the number under `#` and what follows.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<(String, &'a str)> {
    let mut number = String::new();
    let mut rest = path;
    if let Some((before, after)) = pattern.split_once('#') {
        rest = rest.strip_prefix(before)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        number.push_str(&rest[..digits]);
        rest = rest[digits..].strip_prefix(after)?;
    } else {
        rest = rest.strip_prefix(pattern)?;
    }
    (rest.is_empty() || rest.starts_with('.')).then_some((number, rest))
}

/// TensorFlow's names of a norm's scale and shift, which the oldest files keep.
fn old_norm(name: &str) -> Option<String> {
    let norm = name.contains("LayerNorm") || name.contains("layer_norm");
    let (start, end) = name.rsplit_once('.').filter(|_| norm)?;
    match end {
        "weight" => Some(format!("{start}.gamma")),
        "bias" => Some(format!("{start}.beta")),
        _ => None,
    }
}

/// Whether a tensor that nobody asked for is one that files carry without need: buffers, and copies of tied weights.
pub fn is_noise(name: &str, tied: bool) -> bool {
    const BUFFERS: [&str; 2] = ["position_ids", "embeddings.token_type_ids"];
    const DECODERS: [&str; 5] = [
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
        "lm_head.decoder.weight",
        "vocab_projector.weight",
        "generator_lm_head.weight",
    ];
    BUFFERS.iter().any(|buffer| name.ends_with(buffer))
        || name == "lm_head.decoder.bias"
        || (tied && DECODERS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bert_in_every_age() {
        let names = Names::new(Family::Bert, "masked-lm", true);
        assert_eq!(
            names.spellings("body.layers.11.attention_norm.weight"),
            [
                "bert.encoder.layer.11.attention.output.LayerNorm.weight",
                "bert.encoder.layer.11.attention.output.LayerNorm.gamma",
                "encoder.layer.11.attention.output.LayerNorm.weight",
                "encoder.layer.11.attention.output.LayerNorm.gamma",
            ]
        );
        assert_eq!(names.spellings("head.bias"), ["cls.predictions.bias", "cls.predictions.decoder.bias"]);
        let bare = Names::new(Family::Bert, "pooler", false);
        assert_eq!(bare.spellings("head.dense.bias"), ["pooler.dense.bias", "bert.pooler.dense.bias"]);
    }

    #[test]
    fn layer_one_is_not_layer_ten() {
        assert_eq!(matches("a.#.b", "a.10.b.weight"), Some(("10".into(), ".weight")));
        assert_eq!(matches("a.#.b", "a.1.bc"), None);
        assert_eq!(matches("a.b", "a.b"), Some((String::new(), "")));
    }
}
