//! Where nothing may be said, an error names the place and who forbids it; nothing ends in silence.

use ptm_tasks::generation::{Constraint, Engine, Generate, Settings};
use ptm_text::Tokenizer;
use serde_json::{Value, json};

use super::{golden, settings, small};

const SEARCHES: [&str; 6] = [
    r"{}",
    r#"{"do_sample": true}"#,
    r#"{"num_beams": 3}"#,
    r#"{"num_beams": 3, "do_sample": true}"#,
    r#"{"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}"#,
    r#"{"penalty_alpha": 0.6, "top_k": 4}"#,
];

/// What is said of two inputs by every kind of search.
fn errors(family: &str, more: &Value, how: &Generate<'_>) -> Vec<String> {
    let engine = Engine::open(&golden(family), None).expect("a model");
    let searches = SEARCHES.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    let of = |mut options: Value| {
        let map = options.as_object_mut().expect("a map");
        map.extend(more.as_object().expect("a map").clone());
        map.insert("max_new_tokens".into(), json!(6));
        let prompts: [&[u32]; 2] = [&[9, 17, 33], &[12, 50]];
        engine.generate_all(&prompts, &settings(family, &options), how).expect_err(&options.to_string()).to_string()
    };
    searches.map(of).collect()
}

#[test]
fn every_token_is_forbidden() {
    let all: Vec<Value> = (0..64).map(|token| json!([token])).collect();
    let half: Vec<u32> = (0..40).collect();
    let rest: Vec<Value> = (40..64).map(|token| json!([token])).collect();
    for family in ["gpt2", "bart", "t5"] {
        for said in errors(family, &json!({"bad_words_ids": all, "eos_token_id": null}), &Generate::default()) {
            assert!(said.contains("token 1 of the answer to input 0") && said.contains("bad_words_ids"), "{said}");
        }
        let both = json!({"suppress_tokens": half, "bad_words_ids": rest, "eos_token_id": null});
        for said in errors(family, &both, &Generate::default()) {
            assert!(said.contains("by bad_words_ids and suppress_tokens;"), "{said}");
        }
        let early = json!({"suppress_tokens": (1..64).collect::<Vec<u32>>(), "eos_token_id": 0, "min_new_tokens": 3});
        for said in errors(family, &early, &Generate::default()) {
            assert!(said.contains("the least length and suppress_tokens"), "{said}");
        }
        let twice =
            json!({"suppress_tokens": (2..64).collect::<Vec<u32>>(), "no_repeat_ngram_size": 1, "eos_token_id": null});
        let said = errors(family, &twice, &Generate::default());
        assert!(said.iter().all(|said| said.contains("no_repeat_ngram_size and suppress_tokens")), "{said:?}");
        assert!(said.iter().all(|said| said.contains("token 3 of") || said.contains("token 2 of")), "{said:?}");
    }
}

/// As transformers raises it.
#[test]
fn a_function_that_allows_nothing() {
    let allowed = |input: usize, tokens: &[u32]| {
        // the decoder's start counts
        Some(if input == 1 && tokens.len() >= 3 { Vec::new() } else { (0..60).collect() })
    };
    let how = Generate { allowed: Some(&allowed), ..Generate::default() };
    for (family, place) in [("gpt2", "token 2"), ("bart", "token 3"), ("t5", "token 3")] {
        let more = json!({"eos_token_id": 63});
        for said in errors(family, &more, &how) {
            assert!(said.contains("function of allowed tokens allows none"), "{said}");
            assert!(said.contains(&format!("as {place} of the answer to input 1")), "{said}");
        }
    }
    // one that names what the model doesn't know allows nothing either
    let beyond = |_: usize, _: &[u32]| Some(vec![64, 1000]);
    let how = Generate { allowed: Some(&beyond), ..Generate::default() };
    for said in errors("gpt2", &json!({"eos_token_id": 63}), &how) {
        assert!(said.contains("token 1 of") && said.contains("by the function of allowed tokens"), "{said}");
    }
}

/// A beam that can't go on is given up for those that can, and what has ended is found.
#[test]
fn some_beams_end_where_others_cannot_go_on() {
    // after 7 nothing but the end, after others only 7: no text is longer than two tokens
    let allowed = |_: usize, tokens: &[u32]| {
        let said = &tokens[1..];
        Some(if said.contains(&7) { vec![63] } else { vec![7, 8] })
    };
    let how = Generate { allowed: Some(&allowed), ..Generate::default() };
    let options = json!({"num_beams": 3, "num_return_sequences": 3, "eos_token_id": 63, "suppress_tokens": [8], "max_new_tokens": 9});
    let (engine, settings) = small("t5", options);
    let found = engine.generate_all(&[&[9, 17, 33]], &settings, &how).expect("it fits").remove(0);
    assert_eq!(found.iter().map(|spoken| spoken.tokens.as_slice()).collect::<Vec<_>>(), [[7, 63]]);
}

/// A constraint that the vocabulary can't write, or that bad words contradict.
#[test]
fn a_constraint_that_leaves_nothing() {
    let dir = golden("../pipelines/generation/gpt");
    let tokenizer = Tokenizer::from_dir(&dir).expect("a tokenizer");
    let end = 5;
    let engine = Engine::open(&dir, Some(tokenizer.clone())).expect("a model");
    let settings = Settings {
        max_new_tokens: Some(8),
        eos_token_id: Some(serde_json::from_value(json!(end)).unwrap()),
        ..Settings::default()
    };
    for (pattern, kept) in [("[A-Z]{3}", ""), ("[A-Z]+|the", "the")] {
        let constraint = Constraint::regex(pattern, &tokenizer, engine.vocabulary(), &[end]).expect("a pattern");
        let how = Generate { constraint: Some(&constraint), ..Generate::default() };
        let said = engine.generate_all(&[&[10, 20]], &settings, &how);
        match said {
            // GPT's letters are small ones
            Err(error) => {
                let error = error.to_string();
                assert!(kept.is_empty() && error.contains("token 1 of") && error.contains("[A-Z]{3}"), "{error}");
            }
            Ok(said) => {
                let text = tokenizer.decode(&said[0][0].tokens[..said[0][0].tokens.len() - 1], true);
                assert_eq!(text.trim(), kept, "{pattern}");
            }
        }
    }
}
