//! Whatever a model's files or a caller say of generation either works or is an error that says something: never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ptm_tasks::generation::{Engine, Generate, Layers, Spoken};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Map, Value, json};

use super::golden;

/// Values that a key may have, most of them odd.
fn values(key: &str) -> Vec<Value> {
    match key {
        "pad_token_id" | "bos_token_id" | "decoder_start_token_id" | "forced_bos_token_id" => {
            vec![
                json!(0),
                json!(3),
                json!(63),
                json!(64),
                json!(50_256),
                json!(u32::MAX),
                json!(-1),
                json!([1, 2]),
                Value::Null,
            ]
        }
        "eos_token_id" | "forced_eos_token_id" => vec![
            json!(2),
            json!(9),
            json!([1, 2, 9]),
            json!([]),
            json!((0..64).collect::<Vec<u32>>()),
            json!(64),
            json!([2, 70_000]),
            json!(-1),
            json!([-1]),
            Value::Null,
        ],
        "num_beams" => {
            vec![json!(0), json!(1), json!(2), json!(4), json!(6), json!(70), json!(5000), json!(-2), json!(2.5)]
        }
        "num_beam_groups" => vec![json!(0), json!(1), json!(2), json!(3), json!(6), json!(7), json!(-1)],
        "num_return_sequences" => vec![json!(0), json!(1), json!(2), json!(6), json!(9), json!(5000)],
        "max_length" | "max_new_tokens" => {
            vec![json!(0), json!(1), json!(2), json!(5), json!(9), json!(-3), json!("9"), Value::Null]
        }
        "min_length" | "min_new_tokens" => vec![json!(0), json!(1), json!(4), json!(1000), json!(-1)],
        "diversity_penalty" => vec![json!(0.0), json!(0.5), json!(-2.0), json!(1e38), json!(1e300)],
        "length_penalty" => vec![json!(0.0), json!(1.0), json!(-3.0), json!(1e30), json!(-1e30)],
        "early_stopping" => vec![json!(true), json!(false), json!("never"), json!("soon")],
        "do_sample" | "renormalize_logits" => vec![json!(true), json!(false), json!(1)],
        "temperature" => vec![json!(1.0), json!(0.0), json!(1e-42), json!(1e-6), json!(1e30), json!(-1.0)],
        "top_k" | "no_repeat_ngram_size" | "encoder_no_repeat_ngram_size" => {
            vec![json!(0), json!(1), json!(2), json!(64), json!(u64::MAX), json!(-1)]
        }
        "top_p" | "typical_p" | "min_p" | "epsilon_cutoff" | "eta_cutoff" => {
            vec![json!(0.0), json!(1e-30), json!(0.5), json!(1.0), json!(1.5), json!(-0.1)]
        }
        "penalty_alpha" => vec![json!(0.0), json!(0.6), json!(1.0), json!(2.0)],
        "repetition_penalty" | "encoder_repetition_penalty" => {
            vec![json!(1.3), json!(0.0), json!(1e-40), json!(1e38), json!(-1.0)]
        }
        "presence_penalty" | "frequency_penalty" => vec![json!(0.5), json!(-2.0), json!(3e38), json!(-3e38)],
        "bad_words_ids" => vec![json!([]), json!([[]]), json!([[64]]), json!([[2], [1, 3]]), json!([[-1]]), json!(5)],
        "suppress_tokens" | "begin_suppress_tokens" => {
            vec![json!([]), json!([2, 2]), json!((0..64).collect::<Vec<u32>>()), json!([99]), json!([-1])]
        }
        "exponential_decay_length_penalty" => {
            vec![json!([0, 1.5]), json!([0, 1e38]), json!([1000, 2.0]), json!([0, -1.0]), json!([1]), json!([-1, 1.1])]
        }
        "prompt_lookup_num_tokens" | "max_matching_ngram_size" => vec![json!(0), json!(1), json!(3), json!(u64::MAX)],
        "top_logprobs" => vec![json!(0), json!(3), json!(u64::MAX)],
        "max_time" => vec![json!(1e-9), json!(1e300), json!(0.0), json!(-1.0)],
        "stop_strings" => vec![json!("x"), json!([""]), json!([])],
        _ => vec![json!(0)],
    }
}

const KEYS: [&str; 39] = [
    "pad_token_id",
    "bos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "eos_token_id",
    "forced_eos_token_id",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "diversity_penalty",
    "length_penalty",
    "early_stopping",
    "do_sample",
    "renormalize_logits",
    "temperature",
    "top_k",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "top_p",
    "typical_p",
    "min_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "penalty_alpha",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "exponential_decay_length_penalty",
    "prompt_lookup_num_tokens",
    "top_logprobs",
    "max_time",
];

/// What comes of `given`, by the caller or by a file.
fn answers(
    engine: &Engine,
    given: &Map<String, Value>,
    in_file: bool,
    how: &Generate<'_>,
) -> ptm_tasks::Result<Vec<Vec<Spoken>>> {
    let mut layers = if in_file {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::copy(engine.name().to_owned() + "/config.json", dir.path().join("config.json")).expect("a file");
        std::fs::write(dir.path().join("generation_config.json"), json!(given).to_string()).expect("a file");
        Layers::read(dir.path(), "", &[])?
    } else {
        let mut layers = Layers::read(engine.name().as_ref(), "", &[])?;
        layers.give(given)?;
        layers
    };
    if !given.contains_key("max_length") && !given.contains_key("max_new_tokens") {
        layers.give(json!({"max_new_tokens": 6}).as_object().expect("a map"))?;
    }
    let settings = layers.settings()?;
    // an empty text too, where one may begin by itself
    let prompts: [&[u32]; 4] = [&[9, 17, 33, 9, 17], &[25], &[], &[12, 64]];
    for prompt in &prompts[2..] {
        let _ = engine.check(prompt.len(), &settings, how);
        let _ = engine.generate_all(&[prompt], &settings, how);
    }
    engine.generate_all(&prompts[..2], &settings, how)
}

fn tried(engine: &Engine, given: &Map<String, Value>, in_file: bool, how: &Generate<'_>) -> bool {
    let result = catch_unwind(AssertUnwindSafe(|| answers(engine, given, in_file, how)));
    let named = || format!("{} with {}", engine.name(), json!(given));
    match result.unwrap_or_else(|_| panic!("a panic: {}", named())) {
        Ok(all) => {
            for spoken in all.iter().flatten() {
                assert!(!spoken.tokens.is_empty(), "nothing was said: {}", named());
                assert!(spoken.tokens.iter().all(|&token| token < 64), "{:?}: {}", spoken.tokens, named());
            }
            assert!(all.iter().all(|spoken| !spoken.is_empty()), "nothing was found: {}", named());
            true
        }
        Err(error) => {
            assert!(error.to_string().len() > 15, "{error}: {}", named());
            false
        }
    }
}

#[test]
fn odd_values_work_or_are_refused() {
    let draft = Engine::open(&golden("gpt"), None).expect("a model");
    for (number, family) in ["gpt2", "bart", "t5", "xlnet"].into_iter().enumerate() {
        let engine = Engine::open(&golden(family), None).expect("a model");
        let (mut worked, mut refused) = (0, 0);
        let mut count = |did: bool| if did { worked += 1 } else { refused += 1 };
        // each value alone, by both ways
        for key in KEYS.into_iter().chain(["max_matching_ngram_size", "stop_strings", "seed"]) {
            for value in values(key) {
                let given = Map::from_iter([(key.to_owned(), value)]);
                count(tried(&engine, &given, false, &Generate::default()));
                if number < 2 {
                    count(tried(&engine, &given, true, &Generate::default()));
                }
            }
        }
        // several together, searches with beams among them
        let mut random = ChaCha8Rng::seed_from_u64(number as u64);
        let mut one_of = |count: usize| random.next_u32() as usize % count;
        for round in 0..300 {
            let mut given = Map::new();
            if round % 2 == 0 {
                let (beams, groups) = [(2, 1), (4, 2), (6, 3), (4, 4)][one_of(4)];
                given.insert("num_beams".into(), json!(beams));
                given.insert("num_beam_groups".into(), json!(groups));
            }
            for _ in 0..=one_of(3) {
                let key = KEYS[one_of(KEYS.len())];
                let values = values(key);
                given.insert(key.into(), values[one_of(values.len())].clone());
            }
            let how = Generate { draft: (round % 5 == 0).then_some(&draft), ..Generate::default() };
            count(tried(&engine, &given, round % 3 == 0, &how));
        }
        assert!(worked > 100 && refused > 100, "{family}: {worked} worked, {refused} were refused");
    }
}

/// Groups that are done are padded, with a token that the model can say, can't say, or has none of.
#[test]
fn padding_of_groups() {
    for family in ["gpt2", "bart", "t5"] {
        let engine = Engine::open(&golden(family), None).expect("a model");
        let say = |pad: Value, eos: Value| {
            let given = json!({"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.7, "num_return_sequences": 6,
                "max_new_tokens": 12, "early_stopping": true, "pad_token_id": pad, "eos_token_id": eos});
            let mut layers = Layers::read(&golden(family), "", &[]).expect("files");
            layers.give(given.as_object().expect("a map")).expect("known");
            let settings = layers.settings().expect("possible");
            let mut all = engine.generate_all(&[&[9, 17, 33]], &settings, &Generate::default()).expect("it works");
            all.remove(0).into_iter().map(|spoken| spoken.tokens).collect::<Vec<_>>()
        };
        // half of all tokens end, so that groups end at different places
        let ends: Vec<u32> = (0..32).collect();
        let beyond = say(json!(64), json!(ends));
        assert_eq!(beyond, say(json!(4_000_000_000_u32), json!(ends)));
        assert!(beyond.iter().any(|said| said.len() < 12), "{family}: {beyond:?}");
        assert_eq!(say(Value::Null, json!(ends)), say(json!(0), json!(ends)), "{family}: the first end pads");
        assert_eq!(say(Value::Null, json!([])).len(), 6);
    }
}
