//! The families that a tokenizer can be trained for: class, special tokens in the order of their ids, length.

use crate::families;

/// How text is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words into pieces, those inside of words marked by `##`.
    WordPiece,
    /// Bytes that are merged.
    ByteLevel,
    /// Letters that are merged within words, the last of each marked by `</w>`.
    WordEnds,
    /// The likeliest pieces.
    Unigram,
}

/// The names that [`Family::by_name`] knows.
pub const FAMILIES: [&str; 10] =
    ["bert", "distilbert", "electra", "albert", "roberta", "bart", "gpt", "gpt2", "t5", "xlnet"];

/// T5's sentinels.
const SENTINELS: usize = 100;

/// A family of models, as its tokenizer is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    name: &'static str,
    pub(super) class: &'static str,
    kind: Kind,
    special: &'static [&'static str],
    pub(super) max_length: Option<usize>,
}

impl Family {
    /// The family of this name, one of [`FAMILIES`].
    pub fn by_name(name: &str) -> Option<Self> {
        const BERT: &[&str] = &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        const ROBERTA: &[&str] = &["<s>", "<pad>", "</s>", "<unk>", "<mask>"];
        let name = *FAMILIES.iter().find(|known| **known == name)?;
        let family = |class, kind, special, max_length| Self { name, class, kind, special, max_length };
        Some(match name {
            "bert" => family("BertTokenizer", Kind::WordPiece, BERT, Some(512)),
            "distilbert" => family("DistilBertTokenizer", Kind::WordPiece, BERT, Some(512)),
            "electra" => family("ElectraTokenizer", Kind::WordPiece, BERT, Some(512)),
            "albert" => {
                let special = &["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"];
                family("AlbertTokenizer", Kind::Unigram, special, Some(512))
            }
            "roberta" => family("RobertaTokenizer", Kind::ByteLevel, ROBERTA, Some(512)),
            "bart" => family("BartTokenizer", Kind::ByteLevel, ROBERTA, Some(1024)),
            "gpt" => family("OpenAIGPTTokenizer", Kind::WordEnds, &["<unk>"], Some(512)),
            "gpt2" => family("GPT2Tokenizer", Kind::ByteLevel, &["<|endoftext|>"], Some(1024)),
            "t5" => family("T5Tokenizer", Kind::Unigram, &["<pad>", "</s>", "<unk>"], Some(512)),
            "xlnet" => {
                let special = &["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"];
                family("XLNetTokenizer", Kind::Unigram, special, None)
            }
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How it divides text.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Special tokens: those of the first ids, then the sentinels, which have the last.
    pub fn vocabulary(&self) -> Vec<String> {
        self.special.iter().map(ToString::to_string).chain(self.sentinels()).collect()
    }

    /// T5's `<extra_id_99>` down to `<extra_id_0>`, in the order of their ids.
    pub fn sentinels(&self) -> Vec<String> {
        let count = if self.name == "t5" { SENTINELS } else { 0 };
        (0..count).rev().map(|number| format!("<extra_id_{number}>")).collect()
    }

    /// As the tokenizer's loading knows it.
    pub(super) fn published(&self) -> Option<families::Family> {
        families::by_class(self.class)
    }
}
