//! DistilBERT.

use super::Table;
use crate::names::Entry;

pub(super) const TABLE: Table = Table { prefix: "distilbert", body: BODY, head };

const BODY: &[Entry] = &[
    ("body.word", &["@embeddings.word_embeddings.weight"]),
    ("body.position", &["@embeddings.position_embeddings.weight"]),
    ("body.norm", &["@embeddings.LayerNorm"]),
    ("body.layers.#.query", &["@transformer.layer.#.attention.q_lin"]),
    ("body.layers.#.key", &["@transformer.layer.#.attention.k_lin"]),
    ("body.layers.#.value", &["@transformer.layer.#.attention.v_lin"]),
    ("body.layers.#.attention_output", &["@transformer.layer.#.attention.out_lin"]),
    ("body.layers.#.attention_norm", &["@transformer.layer.#.sa_layer_norm"]),
    ("body.layers.#.up", &["@transformer.layer.#.ffn.lin1"]),
    ("body.layers.#.down", &["@transformer.layer.#.ffn.lin2"]),
    ("body.layers.#.output_norm", &["@transformer.layer.#.output_layer_norm"]),
];

fn head(name: &str) -> &'static [Entry] {
    match name {
        "masked-lm" => &[
            ("head.transform", &["vocab_transform"]),
            ("head.norm", &["vocab_layer_norm"]),
            ("head.decoder", &["vocab_projector.weight"]),
            ("head.bias", &["vocab_projector.bias"]),
        ],
        "question-answering" => &[("head.out", &["qa_outputs"])],
        _ => &[("head.dense", &["pre_classifier"]), ("head.out", &["classifier"])],
    }
}
