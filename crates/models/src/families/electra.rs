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
        // both, the generator without the embeddings that it shares
        "generator-and-discriminator" => &[
            ("head.dense", &["discriminator_predictions.dense"]),
            ("head.out", &["discriminator_predictions.dense_prediction"]),
            ("generator.upper.project", &["generator.embeddings_project"]),
            ("generator.upper.layers.#.query", &["generator.encoder.layer.#.attention.self.query"]),
            ("generator.upper.layers.#.key", &["generator.encoder.layer.#.attention.self.key"]),
            ("generator.upper.layers.#.value", &["generator.encoder.layer.#.attention.self.value"]),
            ("generator.upper.layers.#.attention_output", &["generator.encoder.layer.#.attention.output.dense"]),
            ("generator.upper.layers.#.attention_norm", &["generator.encoder.layer.#.attention.output.LayerNorm"]),
            ("generator.upper.layers.#.up", &["generator.encoder.layer.#.intermediate.dense"]),
            ("generator.upper.layers.#.down", &["generator.encoder.layer.#.output.dense"]),
            ("generator.upper.layers.#.output_norm", &["generator.encoder.layer.#.output.LayerNorm"]),
            ("generator.head.transform", &["generator_predictions.dense"]),
            ("generator.head.norm", &["generator_predictions.LayerNorm"]),
            ("generator.head.bias", &["generator_lm_head.bias"]),
        ],
        "sequence-classification" => &[("head.dense", &["classifier.dense"]), ("head.out", &["classifier.out_proj"])],
        "multiple-choice" => &[("head.dense", &["sequence_summary.summary"]), ("head.out", &["classifier"])],
        other => bert::head(other),
    }
}
