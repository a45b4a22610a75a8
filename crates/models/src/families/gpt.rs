//! GPT and GPT-2, whose linear layers are `[in, out]` in files, query, key and value side by side.

use super::Table;
use crate::names::Entry;

pub(super) const FIRST: Table = Table { prefix: "transformer", body: FIRST_BODY, head };
pub(super) const SECOND: Table = Table { prefix: "transformer", body: BODY, head };

const BODY: &[Entry] = &[
    ("body.word", &["@wte.weight"]),
    ("body.position", &["@wpe.weight"]),
    ("body.layers.#.attention.query", &["@h.#.attn.c_attn^0"]),
    ("body.layers.#.attention.key", &["@h.#.attn.c_attn^1"]),
    ("body.layers.#.attention.value", &["@h.#.attn.c_attn^2"]),
    ("body.layers.#.attention.output", &["@h.#.attn.c_proj^"]),
    ("body.layers.#.attention_norm", &["@h.#.ln_1"]),
    ("body.layers.#.up", &["@h.#.mlp.c_fc^"]),
    ("body.layers.#.down", &["@h.#.mlp.c_proj^"]),
    ("body.layers.#.output_norm", &["@h.#.ln_2"]),
    ("body.norm", &["@ln_f"]),
];

const FIRST_BODY: &[Entry] = &[
    ("body.word", &["@tokens_embed.weight"]),
    ("body.position", &["@positions_embed.weight"]),
    BODY[2],
    BODY[3],
    BODY[4],
    BODY[5],
    BODY[6],
    BODY[7],
    BODY[8],
    BODY[9],
];

fn head(name: &str) -> &'static [Entry] {
    match name {
        "language-model" => &[("head.decoder", &["lm_head.weight"])],
        "sequence-classification" => &[("head.out", &["score"])],
        "question-answering" => &[("head.out", &["qa_outputs"])],
        _ => &[("head.out", &["classifier"])],
    }
}
