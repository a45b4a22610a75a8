//! Which files of a model are fetched: configuration, tokenizer, weights in one format, sentence-transformers modules;
//! never those of other frameworks, which are often larger than all the rest.

use std::collections::BTreeSet;

/// A file name or a pattern of names: `*` stands for any characters but `/`, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

const MODEL: [&str; 44] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "source.spm",
    "target.spm",
    "chat_template.jinja",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "pytorch_model-*-of-*.bin",
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "?_*/config.json",
    "?_*/model.safetensors",
    "?_*/pytorch_model.bin",
    "?_*/model.safetensors.index.json",
    "?_*/model-*-of-*.safetensors",
    "?_*/pytorch_model.bin.index.json",
    "?_*/pytorch_model-*-of-*.bin",
    // sentence-transformers may keep the encoder itself in a folder
    "?_Transformer/sentence_*_config.json",
    "?_Transformer/tokenizer.json",
    "?_Transformer/tokenizer_config.json",
    "?_Transformer/special_tokens_map.json",
    "?_Transformer/added_tokens.json",
    "?_Transformer/vocab.*",
    "?_Transformer/merges.txt",
    "?_Transformer/spiece.model",
    "?_Transformer/tokenizer.model",
    "?_Transformer/sentencepiece.bpe.model",
];

impl Pattern {
    /// A name or pattern.
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// Everything that is needed to use a model.
    pub fn model() -> Vec<Self> {
        MODEL.into_iter().map(Self::new).collect()
    }

    /// The name, if it is one and not a pattern.
    pub(super) fn name(&self) -> Option<&str> {
        (!self.0.contains(['*', '?'])).then_some(&self.0)
    }

    /// Whether a file's path is meant.
    pub fn matches(&self, file: &str) -> bool {
        let (pattern, file) = (self.0.as_bytes(), file.as_bytes());
        let (mut p, mut f) = (0, 0);
        // where to go on when the star before has to take one more character
        let mut again = None;
        while f < file.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    again = Some((p, f));
                    p += 1;
                    continue;
                }
                Some(b'?') if file[f] != b'/' => {}
                Some(&byte) if byte == file[f] => {}
                _ => {
                    let Some((star, from)) = again.filter(|&(_, from)| file[from] != b'/') else { return false };
                    again = Some((star, from + 1));
                    (p, f) = (star + 1, from + 1);
                    continue;
                }
            }
            (p, f) = (p + 1, f + 1);
        }
        pattern[p..].iter().all(|&byte| byte == b'*')
    }
}

/// The files of `all` that are wanted. Weights in one format: safetensors before PyTorch's, whole before shards.
pub(super) fn select<'a>(all: &'a [String], wanted: &[Pattern]) -> Vec<&'a str> {
    let there: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    let replaced = |file: &str| {
        let (folder, name) = file.rsplit_once('/').map_or(("", file), |(folder, name)| (folder, name));
        let beside = |name: &str| {
            there.contains(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }.as_str())
        };
        let shard = name.contains("-of-") || name.ends_with(".index.json");
        if name.starts_with("pytorch_model") {
            beside("model.safetensors")
                || beside("model.safetensors.index.json")
                || (shard && beside("pytorch_model.bin"))
        } else if name == "adapter_model.bin" {
            beside("adapter_model.safetensors")
        } else {
            shard && name.starts_with("model") && beside("model.safetensors")
        }
    };
    let mut files: Vec<&str> = there
        .iter()
        .copied()
        .filter(|file| wanted.iter().any(|pattern| pattern.matches(file)))
        // whoever names a file gets it
        .filter(|file| !replaced(file) || (wanted.len() == 1 && wanted[0].name().is_some()))
        .collect();
    // small ones first: a wrong model shows early
    files.sort_by_key(|file| matches!(file.rsplit('.').next(), Some("safetensors" | "bin")));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(all: &[&str]) -> Vec<String> {
        let all: Vec<String> = all.iter().map(|&name| name.to_owned()).collect();
        select(&all, &Pattern::model()).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn patterns() {
        let matches = |pattern: &str, file: &str| Pattern::new(pattern).matches(file);
        assert!(matches("model-*-of-*.safetensors", "model-00001-of-00003.safetensors"));
        assert!(matches("*", "a") && matches("a*", "a") && matches("*b*", "abc") && matches("**a", "xa"));
        assert!(matches("?_*/config.json", "1_Pooling/config.json"));
        assert!(!matches("?_*/config.json", "1_Pooling/x/config.json") && !matches("*", "a/b") && !matches("?", "/"));
        assert!(!matches("config.json", "onnx/config.json") && !matches("a?", "a") && !matches("", "a"));
    }

    #[test]
    fn one_format_and_no_other_framework() {
        let published = [
            ".gitattributes",
            "README.md",
            "config.json",
            "coreml/model.mlmodel",
            "flax_model.msgpack",
            "model.onnx",
            "model.safetensors",
            "onnx/model.onnx",
            "pytorch_model.bin",
            "rust_model.ot",
            "tf_model.h5",
            "tokenizer.json",
            "vocab.txt",
            "1_Pooling/config.json",
            "modules.json",
        ];
        assert_eq!(
            chosen(&published),
            [
                "1_Pooling/config.json",
                "config.json",
                "modules.json",
                "tokenizer.json",
                "vocab.txt",
                "model.safetensors"
            ]
        );
        assert_eq!(chosen(&["pytorch_model.bin", "tf_model.h5"]), ["pytorch_model.bin"]);
    }

    #[test]
    fn shards_only_without_the_whole() {
        let index = "model.safetensors.index.json";
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let old = ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"];
        assert_eq!(chosen(&[shards[0], shards[1], index, old[0], old[1]]), [index, shards[0], shards[1]]);
        assert_eq!(chosen(&["model.safetensors", shards[0], shards[1], index]), ["model.safetensors"]);
        assert_eq!(chosen(&["2_Dense/pytorch_model.bin", "2_Dense/model.safetensors"]), ["2_Dense/model.safetensors"]);
        let inner = ["0_Transformer/model.safetensors.index.json", "0_Transformer/model-00001-of-00001.safetensors"];
        assert_eq!(chosen(&[inner[0], inner[1], "0_Transformer/pytorch_model-00001-of-00001.bin"]), inner);
    }
}
