//! ELECTRA: the generator's masked language model, the discriminator's replaced-token detection.

use super::{Table, bert};
use crate::names::Entry;

pub(super) const TABLE: Table = Table { prefix: "electra", body: bert::BODY, head };

fn head(name: &str) -> &'static [Entry] {
    match name {
        "masked-lm" => &[
            ("head.transform", &["generator_predictions.dense"]),
            ("head.norm", &["generator_predictions.LayerNorm"]),
            ("head.decoder", &["generator_lm_head.weight"]),
            ("head.bias", &["generator_lm_head.bias"]),
        ],
        "replaced-token-detection" => &[
            ("head.dense", &["discriminator_predictions.dense"]),
            ("head.out", &["discriminator_predictions.dense_prediction"]),
        ],
        "sequence-classification" => &[("head.dense", &["classifier.dense"]), ("head.out", &["classifier.out_proj"])],
        "multiple-choice" => &[("head.dense", &["sequence_summary.summary"]), ("head.out", &["classifier"])],
        other => bert::head(other),
    }
}
