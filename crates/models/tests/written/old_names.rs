//! Older spellings of the families that no file of `parity/formats` holds: a dump's tensors under the names of then
//! are the same model.

use burn::prelude::*;
use ptm_models::files::{Weights, write_safetensors};
use ptm_models::heads::{Bare, Head, LanguageModelHead, SequenceHead, SpanHead, TokenHead};
use ptm_models::{Bart, Body, Decoder, Model, T5, Xlnet};
use tempfile::TempDir;

use crate::bits;
use crate::reference::dumps;

/// The dump `case` with every tensor under the name that `rename` gives it, and more tensors.
fn renamed<H: Head<B>, B: Body>(case: &str, rename: impl Fn(&str) -> String, more: &[(&str, Vec<usize>)]) {
    let Some(dir) = dumps::case(case) else { return };
    let to = TempDir::new().expect("a temporary directory");
    std::fs::copy(dir.join("config.json"), to.path().join("config.json")).expect("a dump's configuration");
    let weights = Weights::open(&dir).expect("a dump");
    let tensors = weights.names().map(|name| {
        let view = weights.get(name).expect("named by itself");
        let values = view.bytes().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        (rename(name), view.shape, values)
    });
    let more = more.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone(), vec![0.5; shape.iter().product()]));
    write_safetensors(&to.path().join("model.safetensors"), tensors.chain(more)).expect("a temporary directory");
    let expected = Model::<H, B>::open(&dir, &Device::flex()).expect("a dump").model;
    let loaded = Model::<H, B>::open(to.path(), &Device::flex()).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert!(loaded.unused.is_empty() && loaded.new.is_empty(), "{case}: {:?} {:?}", loaded.unused, loaded.new);
    assert!(bits(&expected) == bits(&loaded.model), "{case}: other weights");
}

/// GPT-2 as published: no prefix, the masks of attention among the weights, and the tied decoder in some files.
#[test]
fn gpt2_without_prefix_and_with_masks() {
    renamed::<LanguageModelHead, Decoder>(
        "gpt2-lm",
        |name| name.trim_start_matches("transformer.").to_owned(),
        &[("h.0.attn.bias", vec![1, 1, 16, 16]), ("h.1.attn.masked_bias", vec![1]), ("lm_head.weight", vec![64, 16])],
    );
}

/// GPT and GPT-2 of 2018 and 2019, whose layers called their parameters `g`, `b` and `w`.
#[test]
fn gpt_with_letters() {
    let letters = |name: &str| {
        let (start, end) = name.rsplit_once('.').expect("a layer's parameter");
        let norm = start.ends_with("ln_1") || start.ends_with("ln_2") || start.ends_with("ln_f");
        match end {
            _ if start.contains("embed") || start.contains("wte") || start.contains("wpe") => name.to_owned(),
            "weight" => format!("{start}.{}", if norm { "g" } else { "w" }),
            _ => format!("{start}.b"),
        }
    };
    renamed::<LanguageModelHead, Decoder>("gpt-lm", letters, &[]);
    renamed::<LanguageModelHead, Decoder>("gpt2-lm", letters, &[]);
}

/// BART's one embedding under either stack's name, with what early files also hold.
#[test]
fn bart_without_shared() {
    for stack in ["encoder", "decoder"] {
        renamed::<LanguageModelHead, Bart>(
            "bart-lm",
            |name| name.replace("shared.weight", &format!("{stack}.embed_tokens.weight")),
            &[("model.encoder.version", vec![1]), ("model.decoder.version", vec![1]), ("lm_head.weight", vec![64, 16])],
        );
    }
    renamed::<SpanHead, Bart>("bart-qa", str::to_owned, &[("final_logits_bias", vec![1, 64])]);
}

/// T5 as first published: the embedding under another name, and a bias that cross attention never had a use for.
#[test]
fn t5_with_copies() {
    renamed::<LanguageModelHead, T5>(
        "t5-lm",
        |name| name.replace("shared.weight", "decoder.embed_tokens.weight"),
        &[
            ("lm_head.weight", vec![64, 16]),
            ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight", vec![32, 4]),
        ],
    );
}

/// Files from before 2020 lack the bias of logits, which is zero then.
#[test]
fn bart_without_a_bias_of_logits() {
    let Some(dir) = dumps::case("bart-hidden") else { return };
    let to = TempDir::new().expect("a temporary directory");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(dir.join(file), to.path().join(file)).expect("a dump");
    }
    let loaded = Model::<LanguageModelHead, Bart>::open(to.path(), &Device::flex()).expect("a tied body is enough");
    assert!(loaded.new.is_empty());
    let bias = loaded.model.named_parameters().into_iter().find(|p| p.name == "final_logits_bias").expect("made");
    let vocab = loaded.model.config().target_vocab_size;
    assert_eq!((bias.shape, bias.values), (vec![1, vocab], vec![0.0; vocab]));
}

/// A head that the family lacks is refused by its name, with those there are.
#[test]
fn heads_that_are_not_there() {
    let Some(dir) = dumps::case("gpt-lm") else { return };
    let error = Model::<TokenHead, Decoder>::open(&dir, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("openai-gpt has no token-classification head"), "{error}");
    assert!(error.contains("hidden-states, language-model, sequence-classification"), "{error}");
    let error = Model::<SequenceHead>::open(&dir, &Device::flex()).unwrap_err().to_string();
    assert!(
        error.contains("config.json: model_type \"openai-gpt\" is a decoder; this needs an encoder: bert"),
        "{error}"
    );
}

/// What a class with a head of another kind saved is not taken for what its tensors' names are like; its body is there.
#[test]
fn classes_whose_heads_are_not_there() {
    fn check<H: Head<B>, B: Body>(case: &str, class: &str) {
        let Some(dir) = dumps::case(case) else { return };
        let to = TempDir::new().expect("a temporary directory");
        std::fs::copy(dir.join("model.safetensors"), to.path().join("model.safetensors")).expect("a dump");
        let config = std::fs::read_to_string(dir.join("config.json")).expect("a dump");
        let mut config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&config).expect("JSON");
        config.insert("architectures".into(), vec![class].into());
        std::fs::write(to.path().join("config.json"), serde_json::to_string(&config).expect("JSON")).expect("room");
        Model::<Bare, B>::open(to.path(), &Device::flex()).expect("a body");
        Model::<H, B>::open_with_new_head(to.path(), 1, &Device::flex()).expect("a body under a new head");
        let error = Model::<H, B>::open(to.path(), &Device::flex()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains(&format!("this is a {class}, whose head")), "{error}");
        assert!(error.contains("sequence-classification"), "{error}");
    }
    check::<LanguageModelHead, Decoder>("gpt2-lm", "GPT2DoubleHeadsModel");
    check::<LanguageModelHead, Decoder>("gpt-lm", "OpenAIGPTDoubleHeadsModel");
    check::<SequenceHead, Xlnet>("xlnet-sequence", "XLNetForMultipleChoice");
    check::<SpanHead, Xlnet>("xlnet-qa", "XLNetForQuestionAnswering");
}
