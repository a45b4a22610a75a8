//! ERNIE as in `transformers`: BERT's names under another prefix. The classifiers of ERNIE 2.0's tasks, which `transformers`
//! doesn't have, are called `tasks.` and the task's name.

use super::{Table, bert};
use crate::names::Entry;

pub(super) const TABLE: Table = Table { prefix: "ernie", body: bert::BODY, head };

fn head(name: &str) -> &'static [Entry] {
    match name {
        "continual" => &[
            ("head.masked_lm.transform", &["cls.predictions.transform.dense"]),
            ("head.masked_lm.norm", &["cls.predictions.transform.LayerNorm"]),
            ("head.masked_lm.decoder", &["cls.predictions.decoder.weight"]),
            ("head.masked_lm.bias", &["cls.predictions.bias", "cls.predictions.decoder.bias"]),
            ("head.pooler.dense", &["@pooler.dense"]),
            ("head.tasks.sentence_reordering", &["tasks.sentence_reordering"]),
            ("head.tasks.sentence_distance", &["tasks.sentence_distance"]),
            ("head.tasks.capitalization", &["tasks.capitalization"]),
            ("head.tasks.token_document", &["tasks.token_document"]),
        ],
        other => bert::head(other),
    }
}
