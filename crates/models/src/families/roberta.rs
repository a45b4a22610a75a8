//! RoBERTa and XLM-RoBERTa.

use super::{Table, bert};
use crate::names::Entry;

pub(super) const TABLE: Table = Table { prefix: "roberta", body: bert::BODY, head };

fn head(name: &str) -> &'static [Entry] {
    match name {
        "masked-lm" => &[
            ("head.transform", &["lm_head.dense"]),
            ("head.norm", &["lm_head.layer_norm"]),
            ("head.decoder", &["lm_head.decoder.weight"]),
            ("head.bias", &["lm_head.bias", "lm_head.decoder.bias"]),
        ],
        "sequence-classification" => &[("head.dense", &["classifier.dense"]), ("head.out", &["classifier.out_proj"])],
        other => bert::head(other),
    }
}
