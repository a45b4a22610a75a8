//! BERT and SpanBERT.

use super::Table;
use crate::names::Entry;

pub(super) const TABLE: Table = Table { prefix: "bert", body: BODY, head };

pub(super) const BODY: &[Entry] = &[
    ("body.word", &["@embeddings.word_embeddings.weight"]),
    ("body.position", &["@embeddings.position_embeddings.weight"]),
    ("body.segment", &["@embeddings.token_type_embeddings.weight"]),
    ("body.task", &["@embeddings.task_type_embeddings.weight"]),
    ("body.norm", &["@embeddings.LayerNorm"]),
    ("body.project", &["@embeddings_project"]),
    ("body.layers.#.query", &["@encoder.layer.#.attention.self.query"]),
    ("body.layers.#.key", &["@encoder.layer.#.attention.self.key"]),
    ("body.layers.#.value", &["@encoder.layer.#.attention.self.value"]),
    ("body.layers.#.attention_output", &["@encoder.layer.#.attention.output.dense"]),
    ("body.layers.#.attention_norm", &["@encoder.layer.#.attention.output.LayerNorm"]),
    ("body.layers.#.up", &["@encoder.layer.#.intermediate.dense"]),
    ("body.layers.#.down", &["@encoder.layer.#.output.dense"]),
    ("body.layers.#.output_norm", &["@encoder.layer.#.output.LayerNorm"]),
];

pub(super) fn head(name: &str) -> &'static [Entry] {
    match name {
        "masked-lm" => &[
            ("head.transform", &["cls.predictions.transform.dense"]),
            ("head.norm", &["cls.predictions.transform.LayerNorm"]),
            ("head.decoder", &["cls.predictions.decoder.weight"]),
            ("head.bias", &["cls.predictions.bias", "cls.predictions.decoder.bias"]),
        ],
        "next-sentence" => &[("head.dense", &["@pooler.dense"]), ("head.out", &["cls.seq_relationship"])],
        "pretraining" => &[
            ("head.masked_lm.transform", &["cls.predictions.transform.dense"]),
            ("head.masked_lm.norm", &["cls.predictions.transform.LayerNorm"]),
            ("head.masked_lm.decoder", &["cls.predictions.decoder.weight"]),
            ("head.masked_lm.bias", &["cls.predictions.bias", "cls.predictions.decoder.bias"]),
            ("head.next_sentence.dense", &["@pooler.dense"]),
            ("head.next_sentence.out", &["cls.seq_relationship"]),
        ],
        "span-boundary" => &[
            ("head.masked_lm.transform", &["cls.predictions.transform.dense"]),
            ("head.masked_lm.norm", &["cls.predictions.transform.LayerNorm"]),
            ("head.masked_lm.decoder", &["cls.predictions.decoder.weight"]),
            ("head.masked_lm.bias", &["cls.predictions.bias", "cls.predictions.decoder.bias"]),
            // transformers has no such head
            ("head.boundary.place", &["cls.span_boundary.position_embeddings.weight"]),
            ("head.boundary.first", &["cls.span_boundary.first.dense"]),
            ("head.boundary.first_norm", &["cls.span_boundary.first.LayerNorm"]),
            ("head.boundary.second", &["cls.span_boundary.second.dense"]),
            ("head.boundary.second_norm", &["cls.span_boundary.second.LayerNorm"]),
            ("head.boundary.bias", &["cls.span_boundary.bias"]),
        ],
        "question-answering" => &[("head.out", &["qa_outputs"])],
        _ => &[("head.dense", &["@pooler.dense"]), ("head.out", &["classifier"])],
    }
}
