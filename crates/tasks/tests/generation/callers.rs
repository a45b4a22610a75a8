//! What callers add in Rust: a function of allowed tokens that hears which input it is asked for, against transformers'
//! `prefix_allowed_tokens_fn` (`parity/generation/prefix.py`), and processors of their own.

use std::sync::Mutex;

use ptm_tasks::generation::process::{Context, Process};
use ptm_tasks::generation::{Engine, Generate, Spoken};
use serde_json::json;

use super::{golden, ids, read, settings, small};

#[test]
fn a_function_of_allowed_tokens() {
    let all = read("prefix.json");
    let prompts: Vec<Vec<u32>> = all["prompts"].as_array().expect("prompts").iter().map(ids).collect();
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let cases = all["cases"].as_array().expect("cases");
    assert!(cases.len() > 20);
    for case in cases {
        let family = case["family"].as_str().expect("a family");
        let mut options = case["options"].clone();
        options["max_new_tokens"] = json!(12);
        let settings = settings(family, &options);
        let end = settings.ends()[0];
        let heard = Mutex::new(Vec::new());
        let allowed = |input: usize, tokens: &[u32]| {
            heard.lock().expect("no panic").push((input, tokens.to_vec()));
            let sum = 5 * input as u32 + tokens[tokens.len() - 1] + tokens.len() as u32;
            Some((0..64).filter(|token| (7 * token + sum).is_multiple_of(3) || *token == end).collect::<Vec<u32>>())
        };
        for rows in [None, Some(1)] {
            heard.lock().expect("no panic").clear();
            let engine = Engine::open(&golden(family), None).expect("a model");
            let how = Generate { allowed: Some(&allowed), rows, ..Generate::default() };
            let said = engine.generate_all(&prompts, &settings, &how).expect("it fits");
            let said: Vec<Vec<u32>> = said.into_iter().flatten().map(|spoken| spoken.tokens).collect();
            let wanted: Vec<Vec<u32>> = case["sequences"].as_array().expect("sequences").iter().map(ids).collect();
            assert_eq!(said, wanted, "{family}, {}", case["options"]);
            let Some(wanted) = case["heard"].as_array() else { continue };
            let mut heard = heard.lock().expect("no panic").clone();
            heard.sort();
            // the reference asks on for a sequence that has ended, as long as others go on
            let wanted: Vec<(usize, Vec<u32>)> = wanted
                .iter()
                .map(|one| (one[0].as_u64().expect("an input") as usize, ids(&one[1])))
                .filter(|(input, tokens)| !tokens[prompts[*input].len().min(tokens.len())..].contains(&end))
                .collect();
            assert_eq!(heard, wanted, "{family}");
        }
    }
}

/// Makes the least likely the likeliest, and keeps a record.
#[derive(Debug, Default)]
struct Contrary(Mutex<Vec<(usize, Vec<u32>)>>);

impl Process for Contrary {
    fn process(&self, context: &Context<'_>, scores: &mut [f32]) {
        assert_eq!(context.said(), context.tokens.len() - context.given);
        self.0.lock().expect("no panic").push((context.input, context.tokens.to_vec()));
        scores.iter_mut().for_each(|score| *score = -*score);
    }
}

/// Adds to one token.
#[derive(Debug)]
struct Likelier(u32, f32);

impl Process for Likelier {
    fn process(&self, _: &Context<'_>, scores: &mut [f32]) {
        scores[self.0 as usize] += self.1;
    }
}

#[test]
fn processors_of_the_callers() {
    let prompts: [&[u32]; 2] = [&[9, 17, 33, 41, 8], &[12, 50, 7]];
    let said = |all: Vec<Vec<Spoken>>| all.into_iter().map(|mut all| all.remove(0).tokens).collect::<Vec<_>>();
    for family in ["gpt2", "t5", "xlnet"] {
        let (engine, settings) = small(family, json!({"max_new_tokens": 5, "eos_token_id": null, "top_logprobs": 64}));
        let contrary = Contrary::default();
        let how = Generate { processors: &[&contrary], ..Generate::default() };
        let all = engine.generate_all(&prompts, &settings, &how).expect("it fits");
        for (input, spoken) in all.iter().enumerate() {
            for (place, (token, score)) in spoken[0].tokens.iter().zip(&spoken[0].logprobs).enumerate() {
                assert_eq!(*token, score.alternatives[63].0, "{family}: the least likely was said");
                let heard = contrary.0.lock().expect("no panic");
                let of_input = heard.iter().filter(|(other, _)| *other == input);
                let tokens = &of_input.clone().nth(place).expect("it was asked").1;
                assert!(tokens.ends_with(&spoken[0].tokens[..place]), "{family}: {tokens:?}");
            }
        }
        // in order, after the settings' own and before drawing: of what is drawn the caller's token is the best
        let (add, last) = (Likelier(7, 1000.0), Likelier(8, 2000.0));
        let drawing =
            super::settings(family, &json!({"max_new_tokens": 5, "eos_token_id": null, "do_sample": true, "top_k": 1}));
        let how = Generate { processors: &[&add, &last], ..Generate::default() };
        assert_eq!(said(engine.generate_all(&prompts, &drawing, &how).expect("it fits")), vec![vec![8; 5]; 2]);
        let how = Generate { processors: &[&last, &contrary, &add], ..Generate::default() };
        assert_eq!(said(engine.generate_all(&prompts, &drawing, &how).expect("it fits")), vec![vec![7; 5]; 2]);
        let without =
            super::settings(family, &json!({"max_new_tokens": 5, "eos_token_id": null, "suppress_tokens": [8]}));
        let how = Generate { processors: &[&add, &last], ..Generate::default() };
        let spoken = said(engine.generate_all(&prompts, &without, &how).expect("it fits"));
        assert_eq!(spoken, vec![vec![7; 5]; 2], "{family}: what is forbidden stays so");
        let (engine, beams) = small(family, json!({"max_new_tokens": 5, "eos_token_id": null, "num_beams": 3}));
        let how = Generate { processors: &[&add], ..Generate::default() };
        assert_eq!(said(engine.generate_all(&prompts, &beams, &how).expect("it fits")), vec![vec![7; 5]; 2]);
    }
}
