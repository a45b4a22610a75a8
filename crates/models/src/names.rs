//! Weights by name: the one table a family that says how its parameters are called in Hugging Face's files.
//! Reading tries every spelling of a name, old ones too; writing uses the first.

use std::collections::HashSet;

use crate::config::Family;
use crate::families;
use crate::layout::Layout;

/// One line of a table: the beginning of a parameter's path in the module, and how files spell it.
/// `#` stands for a layer's number, `@` for the body's prefix (`bert.`), which bare bodies lack. `^` at the end says
/// that the file's matrix is `[in, out]`, and a digit after it which third of its outputs this is. `?`
/// at the end says that files may lack it, which means zeros.
pub type Entry = (&'static str, &'static [&'static str]);

/// The tables of one model: its family's body and one head.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The body's prefix without the dot, `bert`.
    pub prefix: &'static str,
    /// Whether files of this model write the prefix.
    pub prefixed: bool,
    /// What files of this model leave out after the prefix, the name of their only stack (`encoder.`).
    pub stack: &'static str,
    /// Names of the body and of the head.
    pub tables: [&'static [Entry]; 2],
}

impl Names {
    /// The tables for `family` with the head called `head`.
    pub fn new(family: Family, head: &str, prefixed: bool) -> Self {
        let table = families::table(family);
        Self { prefix: table.prefix, prefixed, stack: "", tables: [table.body, (table.head)(head)] }
    }

    /// Every spelling of the parameter at `path` (`body.layers.0.query.weight`), the one to write first.
    ///
    /// # Panics
    /// When the tables don't know the path: a mistake in ptm, not in a file.
    pub fn spellings(&self, path: &str) -> Vec<String> {
        let (spelled, number, rest) = self.entry(path);
        let spelled: Vec<String> = spelled
            .iter()
            .map(|name| {
                let name = name.split(['^', '?']).next().unwrap_or(name);
                format!("{}{rest}", name.replace('#', &number))
            })
            .collect();
        let mut names = Vec::new();
        let mut add = |name: String| {
            let old = old_end(&name);
            names.push(name);
            names.extend(old);
        };
        let bare = spelled.iter().filter_map(|name| name.strip_prefix('@')?.strip_prefix(self.stack));
        bare.filter(|_| !self.stack.is_empty()).for_each(|name| add(name.to_owned()));
        for name in &spelled {
            let with = name.replacen('@', &format!("{}.", self.prefix), 1);
            let without = name.replacen('@', "", 1);
            let (first, second) = if self.prefixed { (with, without) } else { (without, with) };
            add(first);
            add(second);
        }
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

impl Names {
    /// How files hold the parameter at `path`.
    ///
    /// # Panics
    /// As [`Self::spellings`].
    pub fn layout(&self, path: &str) -> Layout {
        let (spelled, ..) = self.entry(path);
        match spelled[0].split_once('^').map(|(_, part)| part.parse().ok()) {
            None => Layout::Same,
            Some(None) => Layout::Columns { part: 0, parts: 1 },
            Some(Some(part)) => Layout::Columns { part, parts: 3 },
        }
    }

    /// Whether files may lack the parameter at `path`.
    ///
    /// # Panics
    /// As [`Self::spellings`].
    pub fn is_optional(&self, path: &str) -> bool {
        self.entry(path).0[0].ends_with('?')
    }

    /// The spellings of the entry for `path`, the layer's number, and what follows the entry.
    fn entry<'a>(&self, path: &'a str) -> (&'static [&'static str], String, &'a str) {
        let mut entries = self.tables.iter().copied().flatten();
        let found = entries.find_map(|(pattern, spelled)| {
            let (number, rest) = matches(pattern, path)?;
            Some((*spelled, number, rest))
        });
        found.unwrap_or_else(|| panic!("the name tables lack {path}"))
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

/// TensorFlow's names of a norm's scale and shift, and GPT's of those and of weights, which the oldest files keep.
fn old_end(name: &str) -> Option<String> {
    let (start, end) = name.rsplit_once('.')?;
    let layer = start.rsplit('.').next().unwrap_or(start);
    let old = match layer {
        "LayerNorm" | "layer_norm" | "sa_layer_norm" | "output_layer_norm" | "vocab_layer_norm" => ["gamma", "beta"],
        "ln_1" | "ln_2" | "ln_f" => ["g", "b"],
        "c_attn" | "c_proj" | "c_fc" => ["w", "b"],
        _ => return None,
    };
    match end {
        "weight" => Some(format!("{start}.{}", old[0])),
        "bias" => Some(format!("{start}.{}", old[1])),
        _ => None,
    }
}

/// Whether a tensor that nobody asked for is one that files carry without need: buffers, and copies of tied weights.
pub fn is_noise(name: &str, tied: bool) -> bool {
    // GPT's masks are named as if they were biases
    const BUFFERS: [&str; 8] = [
        "position_ids",
        "embeddings.token_type_ids",
        ".attn.bias",
        ".attn.masked_bias",
        "coder.version",
        "final_logits_bias",
        // of cross attention, where positions mean nothing
        "EncDecAttention.relative_attention_bias.weight",
        // Marian's, which are computed; learned ones are read
        "embed_positions.weight",
    ];
    const DECODERS: [&str; 7] = [
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
        "lm_head.decoder.weight",
        "vocab_projector.weight",
        "generator_lm_head.weight",
        "lm_head.weight",
        "lm_loss.weight",
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
    fn a_stack_of_its_own() {
        let names = Names { stack: "encoder.", ..Names::new(Family::Bart, "hidden-states", false) };
        assert_eq!(
            names.spellings("body.encoder.layers.1.up.bias"),
            ["layers.1.fc1.bias", "encoder.layers.1.fc1.bias", "model.encoder.layers.1.fc1.bias"]
        );
        let word = names.spellings("body.word");
        assert_eq!(word[..3], ["embed_tokens.weight", "shared.weight", "model.shared.weight"]);
    }

    #[test]
    fn layer_one_is_not_layer_ten() {
        assert_eq!(matches("a.#.b", "a.10.b.weight"), Some(("10".into(), ".weight")));
        assert_eq!(matches("a.#.b", "a.1.bc"), None);
        assert_eq!(matches("a.b", "a.b"), Some((String::new(), "")));
    }
}
