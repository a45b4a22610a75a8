//! BART, mBART and Marian; mBART's stacks end in a norm, Marian's embeddings have none.

use super::Table;
use crate::names::Entry;

pub(super) const TABLE: Table = Table { prefix: "model", body: BODY, head };

const BODY: &[Entry] = &[
    ("body.word", &["@shared.weight", "@encoder.embed_tokens.weight", "@decoder.embed_tokens.weight"]),
    ("body.source_word", &["@encoder.embed_tokens.weight", "@shared.weight"]),
    ("body.target_word", &["@decoder.embed_tokens.weight", "@shared.weight"]),
    ("body.encoder.position.learned", &["@encoder.embed_positions.weight"]),
    ("body.encoder.embedding_norm", &["@encoder.layernorm_embedding"]),
    ("body.encoder.layers.#.attention.query", &["@encoder.layers.#.self_attn.q_proj"]),
    ("body.encoder.layers.#.attention.key", &["@encoder.layers.#.self_attn.k_proj"]),
    ("body.encoder.layers.#.attention.value", &["@encoder.layers.#.self_attn.v_proj"]),
    ("body.encoder.layers.#.attention.output", &["@encoder.layers.#.self_attn.out_proj"]),
    ("body.encoder.layers.#.attention_norm", &["@encoder.layers.#.self_attn_layer_norm"]),
    ("body.encoder.layers.#.up", &["@encoder.layers.#.fc1"]),
    ("body.encoder.layers.#.down", &["@encoder.layers.#.fc2"]),
    ("body.encoder.layers.#.output_norm", &["@encoder.layers.#.final_layer_norm"]),
    ("body.encoder.norm", &["@encoder.layer_norm"]),
    ("body.decoder.position.learned", &["@decoder.embed_positions.weight"]),
    ("body.decoder.embedding_norm", &["@decoder.layernorm_embedding"]),
    ("body.decoder.layers.#.attention.query", &["@decoder.layers.#.self_attn.q_proj"]),
    ("body.decoder.layers.#.attention.key", &["@decoder.layers.#.self_attn.k_proj"]),
    ("body.decoder.layers.#.attention.value", &["@decoder.layers.#.self_attn.v_proj"]),
    ("body.decoder.layers.#.attention.output", &["@decoder.layers.#.self_attn.out_proj"]),
    ("body.decoder.layers.#.attention_norm", &["@decoder.layers.#.self_attn_layer_norm"]),
    ("body.decoder.layers.#.cross.query", &["@decoder.layers.#.encoder_attn.q_proj"]),
    ("body.decoder.layers.#.cross.key", &["@decoder.layers.#.encoder_attn.k_proj"]),
    ("body.decoder.layers.#.cross.value", &["@decoder.layers.#.encoder_attn.v_proj"]),
    ("body.decoder.layers.#.cross.output", &["@decoder.layers.#.encoder_attn.out_proj"]),
    ("body.decoder.layers.#.cross_norm", &["@decoder.layers.#.encoder_attn_layer_norm"]),
    ("body.decoder.layers.#.up", &["@decoder.layers.#.fc1"]),
    ("body.decoder.layers.#.down", &["@decoder.layers.#.fc2"]),
    ("body.decoder.layers.#.output_norm", &["@decoder.layers.#.final_layer_norm"]),
    ("body.decoder.norm", &["@decoder.layer_norm"]),
];

fn head(name: &str) -> &'static [Entry] {
    match name {
        "language-model" => &[("head.decoder", &["lm_head.weight"]), ("head.fixed_bias", &["final_logits_bias?"])],
        "question-answering" => &[("head.out", &["qa_outputs"])],
        _ => &[("head.dense", &["classification_head.dense"]), ("head.out", &["classification_head.out_proj"])],
    }
}
