//! The published tokenizer families: which recipe builds each class, and its special tokens where no file names them.
//! Names and defaults are those of the classes of the transformers library. Not the recipes themselves.

/// The roles a special token can have, in the order in which missing ones get ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Bos,
    Eos,
    Unk,
    Sep,
    Pad,
    Cls,
    Mask,
}

impl Role {
    pub const ALL: [Self; 7] = [Self::Bos, Self::Eos, Self::Unk, Self::Sep, Self::Pad, Self::Cls, Self::Mask];

    /// The field that names it in the configuration files.
    pub fn field(self) -> &'static str {
        match self {
            Self::Bos => "bos_token",
            Self::Eos => "eos_token",
            Self::Unk => "unk_token",
            Self::Sep => "sep_token",
            Self::Pad => "pad_token",
            Self::Cls => "cls_token",
            Self::Mask => "mask_token",
        }
    }
}

/// How the special tokens stand around the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// `[CLS] A [SEP] B [SEP]`, segments 0 and 1.
    Bert,
    /// As BERT, with segment 2 on `[CLS]`.
    Funnel,
    /// `<s> A </s> </s> B </s>`, segments 0 and 1.
    Mpnet,
    /// `<s> A </s> </s> B </s>`, segment 0 throughout, offsets trimmed of spaces.
    Roberta,
    /// `<s> A </s> </s> B </s>` of the SentencePiece models.
    FairSeq,
    /// Nothing.
    Bare,
    /// Nothing, or the begin token where `add_bos_token` says so.
    Gpt2,
    /// `A </s> B </s>`.
    T5,
    /// `A <sep> B <sep> <cls>`, segment 2 on `<cls>`.
    Xlnet,
    /// `A B </s> lang`.
    Mbart,
    /// `lang A B </s>`.
    Mbart50,
    /// `A B </s>`.
    Marian,
}

/// How the pieces of a SentencePiece model become the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// As they are; a score penalty for pieces that end in digit and comma (XLNet, ALBERT) where `true`.
    Plain { comma_penalty: bool },
    /// As they are, then `<extra_id_N>` downwards to 0.
    T5,
    /// fairseq's first four, the pieces from the fourth on, languages, `<mask>`.
    FairSeq { languages: &'static [&'static str] },
    /// CamemBERT's own first five, the pieces from the second on, `<mask>`.
    Camembert,
}

/// How text is normalised before a SentencePiece model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleaning {
    /// The model's table, no spaces at the end, runs of spaces as one mark.
    Model,
    /// Quotes, accents and case first (XLNet, ALBERT), then the model's table.
    Quotes,
    /// As `Quotes`, with runs of spaces joined before everything but the quotes (RemBERT).
    QuotesSpacesFirst,
    /// Case, spaces at both ends, then the model's table (DeBERTa-v2).
    Deberta,
}

/// What builds the tokenizer when there is no `tokenizer.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    WordPiece,
    ByteLevel,
    /// Pairs of letters merged within words, whose ends are marked (GPT).
    WordEnds,
    SentencePiece {
        pieces: Pieces,
        cleaning: Cleaning,
        unk_id: Option<u32>,
    },
    Marian,
    /// A token a byte, of no file at all (ByT5).
    Bytes,
}

/// One tokenizer class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    pub recipe: Recipe,
    pub frame: Frame,
    /// Default special tokens by role.
    pub specials: &'static [(Role, &'static str)],
    pub additional: &'static [&'static str],
    /// Roles whose token, named by its text alone in the older files, is looked for in the normalised text.
    pub normalized: &'static [Role],
    /// Whether a mask token given as plain text swallows the spaces before it.
    pub mask_lstrip: bool,
    /// The default of `do_lower_case`.
    pub lower: bool,
    /// The default of `keep_accents`, where the cleaning asks for it.
    pub keep_accents: bool,
}

use Role::{Bos, Cls, Eos, Mask, Pad, Sep, Unk};

const BERT: Family = Family {
    recipe: Recipe::WordPiece,
    frame: Frame::Bert,
    specials: &[(Unk, "[UNK]"), (Sep, "[SEP]"), (Pad, "[PAD]"), (Cls, "[CLS]"), (Mask, "[MASK]")],
    additional: &[],
    normalized: &[],
    mask_lstrip: false,
    lower: true,
    keep_accents: false,
};

const ROBERTA_SPECIALS: &[(Role, &str)] =
    &[(Bos, "<s>"), (Eos, "</s>"), (Unk, "<unk>"), (Sep, "</s>"), (Pad, "<pad>"), (Cls, "<s>"), (Mask, "<mask>")];

const ROBERTA: Family = Family {
    recipe: Recipe::ByteLevel,
    frame: Frame::Roberta,
    specials: ROBERTA_SPECIALS,
    additional: &[],
    normalized: &[],
    mask_lstrip: true,
    lower: false,
    keep_accents: false,
};

const GPT: Family = Family { recipe: Recipe::WordEnds, frame: Frame::Bare, specials: &[(Unk, "<unk>")], ..BERT };

const GPT2: Family = Family {
    frame: Frame::Gpt2,
    specials: &[(Bos, "<|endoftext|>"), (Eos, "<|endoftext|>"), (Unk, "<|endoftext|>")],
    mask_lstrip: false,
    ..ROBERTA
};

const T5: Family = Family {
    recipe: Recipe::SentencePiece { pieces: Pieces::T5, cleaning: Cleaning::Model, unk_id: None },
    frame: Frame::T5,
    specials: &[(Eos, "</s>"), (Unk, "<unk>"), (Pad, "<pad>")],
    additional: &[],
    normalized: &[],
    mask_lstrip: false,
    lower: false,
    keep_accents: false,
};

const BYT5: Family = Family { recipe: Recipe::Bytes, ..T5 };

const XLNET: Family = Family {
    recipe: Recipe::SentencePiece {
        pieces: Pieces::Plain { comma_penalty: true },
        cleaning: Cleaning::Quotes,
        unk_id: None,
    },
    frame: Frame::Xlnet,
    specials: &[
        (Bos, "<s>"),
        (Eos, "</s>"),
        (Unk, "<unk>"),
        (Sep, "<sep>"),
        (Pad, "<pad>"),
        (Cls, "<cls>"),
        (Mask, "<mask>"),
    ],
    additional: &["<eop>", "<eod>"],
    normalized: &[],
    mask_lstrip: true,
    lower: false,
    keep_accents: false,
};

const ALBERT: Family = Family {
    frame: Frame::Bert,
    specials: &[
        (Bos, "[CLS]"),
        (Eos, "[SEP]"),
        (Unk, "<unk>"),
        (Sep, "[SEP]"),
        (Pad, "<pad>"),
        (Cls, "[CLS]"),
        (Mask, "[MASK]"),
    ],
    additional: &[],
    lower: true,
    ..XLNET
};

const XLM_ROBERTA: Family = Family {
    recipe: Recipe::SentencePiece {
        pieces: Pieces::FairSeq { languages: &[] },
        cleaning: Cleaning::Model,
        unk_id: Some(3),
    },
    frame: Frame::FairSeq,
    ..ROBERTA
};

const MBART: Family = Family {
    recipe: Recipe::SentencePiece {
        pieces: Pieces::FairSeq { languages: MBART_LANGUAGES },
        cleaning: Cleaning::Model,
        unk_id: Some(3),
    },
    frame: Frame::Mbart,
    additional: MBART_LANGUAGES,
    ..XLM_ROBERTA
};

const MARIAN: Family = Family {
    recipe: Recipe::Marian,
    frame: Frame::Marian,
    specials: &[(Unk, "<unk>"), (Eos, "</s>"), (Pad, "<pad>")],
    ..T5
};

const MBART_LANGUAGES: &[&str] = &[
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN", "it_IT", "ja_XX",
    "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN",
    "zh_CN",
];

const MBART50_LANGUAGES: &[&str] = &[
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN", "hi_IN", "it_IT", "ja_XX",
    "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN",
    "zh_CN", "af_ZA", "az_AZ", "bn_IN", "fa_IR", "he_IL", "hr_HR", "id_ID", "ka_GE", "km_KH", "mk_MK", "ml_IN",
    "mn_MN", "mr_IN", "pl_PL", "ps_AF", "pt_XX", "sv_SE", "sw_KE", "ta_IN", "te_IN", "th_TH", "tl_XX", "uk_UA",
    "ur_PK", "xh_ZA", "gl_ES", "sl_SI",
];

/// The class name without `Fast`, as both spellings occur in `tokenizer_config.json`.
pub(crate) fn plain_class(class: &str) -> &str {
    class.strip_suffix("Fast").unwrap_or(class)
}

/// The family of a tokenizer class; `None` for one that is not built in.
pub(crate) fn by_class(class: &str) -> Option<Family> {
    Some(match plain_class(class) {
        "BertTokenizer"
        | "DistilBertTokenizer"
        | "ElectraTokenizer"
        | "MobileBertTokenizer"
        | "ConvBertTokenizer"
        | "SqueezeBertTokenizer"
        | "LxmertTokenizer"
        | "LayoutLMTokenizer"
        | "RetriBertTokenizer"
        | "DPRReaderTokenizer"
        | "DPRQuestionEncoderTokenizer"
        | "DPRContextEncoderTokenizer"
        | "RealmTokenizer" => BERT,
        "FunnelTokenizer" => Family {
            frame: Frame::Funnel,
            specials: &[
                (Bos, "<s>"),
                (Eos, "</s>"),
                (Unk, "<unk>"),
                (Sep, "<sep>"),
                (Pad, "<pad>"),
                (Cls, "<cls>"),
                (Mask, "<mask>"),
            ],
            ..BERT
        },
        "MPNetTokenizer" => Family {
            frame: Frame::Mpnet,
            specials: &[
                (Bos, "<s>"),
                (Eos, "</s>"),
                (Unk, "[UNK]"),
                (Sep, "</s>"),
                (Pad, "<pad>"),
                (Cls, "<s>"),
                (Mask, "<mask>"),
            ],
            mask_lstrip: true,
            ..BERT
        },
        "RobertaTokenizer" | "BartTokenizer" | "LongformerTokenizer" | "LEDTokenizer" | "MvpTokenizer" => ROBERTA,
        "DebertaTokenizer" => Family {
            frame: Frame::Bert,
            specials: &[
                (Bos, "[CLS]"),
                (Eos, "[SEP]"),
                (Unk, "[UNK]"),
                (Sep, "[SEP]"),
                (Pad, "[PAD]"),
                (Cls, "[CLS]"),
                (Mask, "[MASK]"),
            ],
            ..ROBERTA
        },
        "OpenAIGPTTokenizer" => GPT,
        "GPT2Tokenizer" | "CodeGenTokenizer" => GPT2,
        "T5Tokenizer" | "MT5Tokenizer" => T5,
        "ByT5Tokenizer" => BYT5,
        "XLNetTokenizer" => XLNET,
        "AlbertTokenizer" => ALBERT,
        "RemBertTokenizer" => Family {
            recipe: Recipe::SentencePiece {
                pieces: Pieces::Plain { comma_penalty: false },
                cleaning: Cleaning::QuotesSpacesFirst,
                unk_id: None,
            },
            lower: false,
            keep_accents: true,
            specials: &[
                (Bos, "[CLS]"),
                (Eos, "[SEP]"),
                (Unk, "[UNK]"),
                (Sep, "[SEP]"),
                (Pad, "[PAD]"),
                (Cls, "[CLS]"),
                (Mask, "[MASK]"),
            ],
            normalized: &[Mask],
            ..ALBERT
        },
        "BigBirdTokenizer" => Family {
            recipe: Recipe::SentencePiece {
                pieces: Pieces::Plain { comma_penalty: false },
                cleaning: Cleaning::Model,
                unk_id: None,
            },
            frame: Frame::Bert,
            specials: &[
                (Bos, "<s>"),
                (Eos, "</s>"),
                (Unk, "<unk>"),
                (Sep, "[SEP]"),
                (Pad, "<pad>"),
                (Cls, "[CLS]"),
                (Mask, "[MASK]"),
            ],
            normalized: &[Bos, Eos, Unk, Sep, Pad, Cls, Mask],
            mask_lstrip: true,
            ..T5
        },
        "DebertaV2Tokenizer" => Family {
            recipe: Recipe::SentencePiece {
                pieces: Pieces::Plain { comma_penalty: false },
                cleaning: Cleaning::Deberta,
                unk_id: None,
            },
            frame: Frame::Bert,
            specials: &[
                (Bos, "[CLS]"),
                (Eos, "[SEP]"),
                (Unk, "[UNK]"),
                (Sep, "[SEP]"),
                (Pad, "[PAD]"),
                (Cls, "[CLS]"),
                (Mask, "[MASK]"),
            ],
            normalized: &[Unk],
            ..T5
        },
        "XLMRobertaTokenizer" => XLM_ROBERTA,
        "CamembertTokenizer" => Family {
            recipe: Recipe::SentencePiece { pieces: Pieces::Camembert, cleaning: Cleaning::Model, unk_id: Some(3) },
            additional: &["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"],
            ..XLM_ROBERTA
        },
        "BarthezTokenizer" => Family {
            recipe: Recipe::SentencePiece {
                pieces: Pieces::Plain { comma_penalty: false },
                cleaning: Cleaning::Model,
                unk_id: Some(3),
            },
            ..XLM_ROBERTA
        },
        "MBartTokenizer" => MBART,
        "MBart50Tokenizer" => Family {
            recipe: Recipe::SentencePiece {
                pieces: Pieces::FairSeq { languages: MBART50_LANGUAGES },
                cleaning: Cleaning::Model,
                unk_id: Some(3),
            },
            frame: Frame::Mbart50,
            specials: &[(Eos, "</s>"), (Unk, "<unk>"), (Sep, "</s>"), (Pad, "<pad>"), (Cls, "<s>"), (Mask, "<mask>")],
            additional: MBART50_LANGUAGES,
            ..MBART
        },
        "MarianTokenizer" => MARIAN,
        _ => return None,
    })
}

/// The tokenizer class of a model type of `config.json`.
pub(crate) fn class_of_model_type(model_type: &str) -> Option<&'static str> {
    Some(match model_type {
        "bert" | "ernie" | "nezha" | "visual_bert" | "megatron-bert" | "qdqbert" => "BertTokenizer",
        "distilbert" => "DistilBertTokenizer",
        "electra" => "ElectraTokenizer",
        "mobilebert" => "MobileBertTokenizer",
        "convbert" => "ConvBertTokenizer",
        "squeezebert" => "SqueezeBertTokenizer",
        "lxmert" => "LxmertTokenizer",
        "layoutlm" => "LayoutLMTokenizer",
        "dpr" => "DPRQuestionEncoderTokenizer",
        "funnel" => "FunnelTokenizer",
        "mpnet" => "MPNetTokenizer",
        "roberta" | "roberta-prelayernorm" | "ibert" | "data2vec-text" => "RobertaTokenizer",
        "bart" => "BartTokenizer",
        "longformer" => "LongformerTokenizer",
        "led" => "LEDTokenizer",
        "mvp" => "MvpTokenizer",
        "deberta" => "DebertaTokenizer",
        "openai-gpt" => "OpenAIGPTTokenizer",
        "gpt2" | "gpt_neo" | "gptj" | "opt" | "gpt_bigcode" => "GPT2Tokenizer",
        "codegen" => "CodeGenTokenizer",
        "t5" | "mt5" | "umt5" | "longt5" | "switch_transformers" => "T5Tokenizer",
        "xlnet" => "XLNetTokenizer",
        "albert" => "AlbertTokenizer",
        "rembert" => "RemBertTokenizer",
        "big_bird" => "BigBirdTokenizer",
        "deberta-v2" => "DebertaV2Tokenizer",
        "xlm-roberta" | "xlm-roberta-xl" => "XLMRobertaTokenizer",
        "camembert" => "CamembertTokenizer",
        "mbart" => "MBartTokenizer",
        "marian" => "MarianTokenizer",
        _ => return None,
    })
}
