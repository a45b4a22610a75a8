//! XLNet, whose attention keeps its matrices as `[H, A, D]`.

use super::Table;
use crate::names::Entry;

pub(super) const TABLE: Table = Table { prefix: "transformer", body: BODY, head };

const BODY: &[Entry] = &[
    ("body.word", &["@word_embedding.weight"]),
    ("body.mask", &["@mask_emb"]),
    ("body.layers.#.attention.query", &["@layer.#.rel_attn.q"]),
    ("body.layers.#.attention.key", &["@layer.#.rel_attn.k"]),
    ("body.layers.#.attention.value", &["@layer.#.rel_attn.v"]),
    ("body.layers.#.attention.output", &["@layer.#.rel_attn.o"]),
    ("body.layers.#.attention.distance", &["@layer.#.rel_attn.r"]),
    ("body.layers.#.attention.content_bias", &["@layer.#.rel_attn.r_w_bias"]),
    ("body.layers.#.attention.distance_bias", &["@layer.#.rel_attn.r_r_bias"]),
    ("body.layers.#.attention.segment_bias", &["@layer.#.rel_attn.r_s_bias"]),
    ("body.layers.#.attention.segment", &["@layer.#.rel_attn.seg_embed"]),
    ("body.layers.#.attention_norm", &["@layer.#.rel_attn.layer_norm"]),
    ("body.layers.#.up", &["@layer.#.ff.layer_1"]),
    ("body.layers.#.down", &["@layer.#.ff.layer_2"]),
    ("body.layers.#.output_norm", &["@layer.#.ff.layer_norm"]),
];

fn head(name: &str) -> &'static [Entry] {
    match name {
        "language-model" => &[("head.decoder", &["lm_loss.weight"]), ("head.bias", &["lm_loss.bias"])],
        "question-answering" => &[("head.out", &["qa_outputs"])],
        "token-classification" => &[("head.out", &["classifier"])],
        _ => &[("head.dense", &["sequence_summary.summary"]), ("head.out", &["logits_proj"])],
    }
}
