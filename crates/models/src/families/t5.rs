//! T5 in all versions, ByT5 and mT5. Blocks number their parts: attention 0, cross attention 1, feed-forward last.

use super::Table;
use crate::names::Entry;

pub(super) const TABLE: Table = Table { prefix: "transformer", body: BODY, head };

const BODY: &[Entry] = &[
    ("body.word", &["@shared.weight", "@encoder.embed_tokens.weight", "@decoder.embed_tokens.weight"]),
    ("body.encoder.bias.table", &["@encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]),
    ("body.encoder.layers.#.attention.query", &["@encoder.block.#.layer.0.SelfAttention.q"]),
    ("body.encoder.layers.#.attention.key", &["@encoder.block.#.layer.0.SelfAttention.k"]),
    ("body.encoder.layers.#.attention.value", &["@encoder.block.#.layer.0.SelfAttention.v"]),
    ("body.encoder.layers.#.attention.output", &["@encoder.block.#.layer.0.SelfAttention.o"]),
    ("body.encoder.layers.#.attention_norm", &["@encoder.block.#.layer.0.layer_norm"]),
    ("body.encoder.layers.#.plain", &["@encoder.block.#.layer.1.DenseReluDense.wi"]),
    ("body.encoder.layers.#.gated.gate", &["@encoder.block.#.layer.1.DenseReluDense.wi_0"]),
    ("body.encoder.layers.#.gated.up", &["@encoder.block.#.layer.1.DenseReluDense.wi_1"]),
    ("body.encoder.layers.#.down", &["@encoder.block.#.layer.1.DenseReluDense.wo"]),
    ("body.encoder.layers.#.output_norm", &["@encoder.block.#.layer.1.layer_norm"]),
    ("body.encoder.norm", &["@encoder.final_layer_norm"]),
    ("body.decoder.bias.table", &["@decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]),
    ("body.decoder.layers.#.attention.query", &["@decoder.block.#.layer.0.SelfAttention.q"]),
    ("body.decoder.layers.#.attention.key", &["@decoder.block.#.layer.0.SelfAttention.k"]),
    ("body.decoder.layers.#.attention.value", &["@decoder.block.#.layer.0.SelfAttention.v"]),
    ("body.decoder.layers.#.attention.output", &["@decoder.block.#.layer.0.SelfAttention.o"]),
    ("body.decoder.layers.#.attention_norm", &["@decoder.block.#.layer.0.layer_norm"]),
    ("body.decoder.layers.#.cross.query", &["@decoder.block.#.layer.1.EncDecAttention.q"]),
    ("body.decoder.layers.#.cross.key", &["@decoder.block.#.layer.1.EncDecAttention.k"]),
    ("body.decoder.layers.#.cross.value", &["@decoder.block.#.layer.1.EncDecAttention.v"]),
    ("body.decoder.layers.#.cross.output", &["@decoder.block.#.layer.1.EncDecAttention.o"]),
    ("body.decoder.layers.#.cross_norm", &["@decoder.block.#.layer.1.layer_norm"]),
    ("body.decoder.layers.#.plain", &["@decoder.block.#.layer.2.DenseReluDense.wi"]),
    ("body.decoder.layers.#.gated.gate", &["@decoder.block.#.layer.2.DenseReluDense.wi_0"]),
    ("body.decoder.layers.#.gated.up", &["@decoder.block.#.layer.2.DenseReluDense.wi_1"]),
    ("body.decoder.layers.#.down", &["@decoder.block.#.layer.2.DenseReluDense.wo"]),
    ("body.decoder.layers.#.output_norm", &["@decoder.block.#.layer.2.layer_norm"]),
    ("body.decoder.norm", &["@decoder.final_layer_norm"]),
];

fn head(name: &str) -> &'static [Entry] {
    match name {
        "language-model" => &[("head.decoder", &["lm_head.weight"])],
        "question-answering" => &[("head.out", &["qa_outputs"])],
        "token-classification" => &[("head.out", &["classifier"])],
        _ => &[("head.dense", &["classification_head.dense"]), ("head.out", &["classification_head.out_proj"])],
    }
}
