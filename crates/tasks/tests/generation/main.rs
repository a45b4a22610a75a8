//! Generation against transformers' `generate`: the same token ids and scores for every family and every way of choosing
//! (`parity/generation/make.py`), alone and beside other inputs.

use std::path::{Path, PathBuf};

mod callers;
mod forbidden;
mod odd;

use ptm_tasks::generation::process::{Context, processors};
use ptm_tasks::generation::{Engine, Generate, Layers, Settings, Spoken};
use serde_json::{Map, Value, json};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../parity/generation").join(name)
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(name)).expect("a committed file")).expect("JSON")
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// One case of `cases.json`.
struct Case {
    name: String,
    prompt: Vec<u32>,
    settings: Settings,
    sequences: Vec<Vec<u32>>,
    scores: Option<Vec<f32>>,
}

fn settings(family: &str, options: &Value) -> Settings {
    settings_in(&golden(family), options)
}

fn settings_in(model: &Path, options: &Value) -> Settings {
    let mut layers = Layers::read(model, "", &[]).expect("the model's files");
    let mut given: Map<String, Value> = options.as_object().expect("options").clone();
    given.entry("max_new_tokens").or_insert(json!(24));
    layers.give(&given).expect("known options");
    layers.settings().expect("possible options")
}

fn cases(family: &str) -> Vec<Case> {
    cases_of(family, "cases.json")
}

fn cases_of(family: &str, file: &str) -> Vec<Case> {
    let all = read(&format!("{family}/{file}"));
    let case = |case: &Value| Case {
        name: case["name"].as_str().expect("a name").to_owned(),
        prompt: ids(&case["prompt"]),
        settings: settings(family, &case["options"]),
        sequences: case["sequences"].as_array().expect("sequences").iter().map(ids).collect(),
        scores: case["scores"].as_array().map(|all| all.iter().map(|x| x.as_f64().expect("a score") as f32).collect()),
    };
    all.as_array().expect("cases").iter().map(case).collect()
}

fn compare(family: &str, case: &Case, ours: &[Spoken], wrong: &mut Vec<String>) {
    let said: Vec<&Vec<u32>> = ours.iter().map(|spoken| &spoken.tokens).collect();
    if said != case.sequences.iter().collect::<Vec<_>>() {
        wrong.push(format!("{family}, {}: {said:?} and not {:?}", case.name, case.sequences));
    }
    for (spoken, score) in ours.iter().zip(case.scores.iter().flatten()) {
        let own = spoken.score.expect("beams have scores");
        // a sum over all tokens, times the length where the penalty is negative
        if (own - score).abs() > 5e-4 * score.abs().max(1.0) {
            wrong.push(format!("{family}, {}: score {own} and not {score}", case.name));
        }
    }
}

fn check(family: &str) {
    let cases = cases(family);
    assert!(cases.len() > 100);
    check_cases(family, &cases);
}

fn check_cases(family: &str, cases: &[Case]) {
    let engine = Engine::open(&golden(family), None).expect("a model");
    let mut wrong = Vec::new();
    for case in cases {
        let ours = engine.generate_all(&[&case.prompt], &case.settings, &Generate::default()).expect("it fits");
        compare(family, case, &ours[0], &mut wrong);
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

macro_rules! families {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )*};
}

families!(gpt gpt2 bart mbart marian t5 mt5 xlnet);

/// Diverse beam search, as the last transformers that has it (`parity/generation/groups.py`).
#[test]
fn groups_of_beams() {
    for family in ["gpt2", "gpt", "bart", "mbart", "marian", "t5", "mt5", "xlnet"] {
        let cases = cases_of(family, "groups.json");
        assert!(cases.len() > 40, "{family}: {}", cases.len());
        check_cases(family, &cases);
    }
}

/// Models of the published sizes, where they were made: `parity/generation/full.py` says how.
#[test]
fn full_size() {
    let Some(models) = std::env::var_os("PTM_FULL_SIZE").map(PathBuf::from) else {
        eprintln!("skipped: PTM_FULL_SIZE names no folder of models, see parity/generation/full.py");
        return;
    };
    let golden = read("full.json");
    for (family, cases) in golden.as_object().expect("families") {
        let model = models.join(family);
        let engine = Engine::open(&model, None).expect("a model");
        for case in cases.as_array().expect("cases") {
            let mut options = case["options"].clone();
            options["min_new_tokens"] = json!(24);
            let settings = settings_in(&model, &options);
            let ours = engine.generate_all(&[&ids(&case["prompt"])], &settings, &Generate::default()).expect("it fits");
            let ours: Vec<&Vec<u32>> = ours[0].iter().map(|spoken| &spoken.tokens).collect();
            let wanted: Vec<Vec<u32>> = case["sequences"].as_array().expect("sequences").iter().map(ids).collect();
            assert_eq!(ours, wanted.iter().collect::<Vec<_>>(), "{family}, {}", case["options"]);
        }
    }
}

/// Inputs of all lengths with little room: they wait, join and leave, and say what they say alone.
#[test]
fn companions_change_nothing() {
    for family in ["gpt2", "bart", "t5", "xlnet"] {
        let engine = Engine::open(&golden(family), None).expect("a model");
        for wanted in ["greedy to the end", "4 beams", "beams, three returned, many ends"] {
            let cases: Vec<Case> =
                cases(family).into_iter().filter(|case| case.name.starts_with(&format!("{wanted}, prompt"))).collect();
            let settings = &cases[0].settings;
            let prompts: Vec<&[u32]> = (0..12).map(|i| cases[i % cases.len()].prompt.as_slice()).collect();
            let alone: Vec<Vec<Spoken>> = prompts
                .iter()
                .map(|prompt| {
                    engine.generate_all(&[prompt], settings, &Generate::default()).expect("it fits").remove(0)
                })
                .collect();
            for rows in [1, 150, 100_000] {
                let how = Generate { rows: Some(rows), ..Generate::default() };
                let together = engine.generate_all(&prompts, settings, &how).expect("it fits");
                for (alone, together) in alone.iter().zip(&together) {
                    let tokens = |all: &[Spoken]| all.iter().map(|s| s.tokens.clone()).collect::<Vec<_>>();
                    assert_eq!(tokens(alone), tokens(together), "{family}, {wanted}, {rows} rows");
                }
            }
        }
    }
}

#[test]
fn processors_change_scores_as_the_reference_does() {
    let rows = read("processors.json");
    let rows = rows.as_array().expect("rows");
    assert!(rows.len() > 60);
    for row in rows {
        let name = row["name"].as_str().expect("a name");
        let mut given = json!({"do_sample": true, "top_k": 0});
        given[name] = row["value"].clone();
        let mut layers = Layers::default();
        layers.give(given.as_object().expect("a map")).expect("known");
        let all = processors(&layers.settings().expect("possible"), &ids(&json!([row["eos"]])));
        assert_eq!(all.len(), 1, "{name}");
        let (tokens, prompt) = (ids(&row["tokens"]), ids(&row["prompt"]));
        let context = Context { input: 0, tokens: &tokens, given: prompt.len(), source: &prompt, max_length: 99 };
        let number = |x: &Value| x.as_f64().map_or(f32::NEG_INFINITY, |x| x as f32);
        let mut scores: Vec<f32> = row["scores"].as_array().expect("scores").iter().map(number).collect();
        all[0].process(&context, &mut scores);
        let expected: Vec<f32> = row["processed"].as_array().expect("scores").iter().map(number).collect();
        for (token, (ours, theirs)) in scores.iter().zip(&expected).enumerate() {
            let same = ours == theirs || (ours - theirs).abs() <= 1e-5 * theirs.abs().max(1.0);
            assert!(same, "{name} {}: token {token}: {ours} and {theirs}", row["value"]);
        }
    }
}

fn small(family: &str, more: Value) -> (Engine, Settings) {
    (Engine::open(&golden(family), None).expect("a model"), settings(family, &more))
}

/// Guesses, of whatever quality, change nothing of what is said, of every family that reads ahead: those of the model
/// itself, of which all are kept, and of another family.
#[test]
fn guesses_leave_greedy_text_as_it_is() {
    let families = ["gpt2", "gpt", "bart", "mbart", "marian", "t5", "mt5"];
    let others = ["gpt", "gpt2", "mbart", "marian", "bart", "mt5", "t5"];
    for (family, other) in families.into_iter().zip(others) {
        let drafts = [family, other].map(|draft| Engine::open(&golden(draft), None).expect("a model"));
        for options in
            [json!({}), json!({"repetition_penalty": 1.3}), json!({"no_repeat_ngram_size": 3, "min_new_tokens": 9})]
        {
            let (engine, settings) = small(family, options);
            let prompts: [&[u32]; 3] = [&[9, 17, 33, 41, 8], &[12, 50, 7, 7, 30, 61, 22, 14, 19], &[25]];
            let plain = engine.generate_all(&prompts, &settings, &Generate::default()).expect("it fits");
            for (draft, count) in drafts.iter().zip([5, 1]).chain(drafts.iter().zip([2, 5])) {
                let how = Generate { draft: Some(draft), ..Generate::default() };
                let more = Settings { num_assistant_tokens: count, ..settings.clone() };
                let said = engine.generate_all(&prompts, &more, &how).expect("it fits");
                assert_eq!(plain, said, "{family}, {}, {count} tokens", draft.name());
            }
            for (count, ngram) in [(1, 1), (3, 2), (10, 3)] {
                let more = Settings {
                    prompt_lookup_num_tokens: Some(count),
                    max_matching_ngram_size: Some(ngram),
                    ..settings.clone()
                };
                let looked_up = engine.generate_all(&prompts, &more, &Generate::default()).expect("it fits");
                assert_eq!(plain, looked_up, "{family}, {count} tokens");
            }
        }
    }
}

/// A decoder of BART's alone reads ahead too; XLNet doesn't, nor does it guess for others.
#[test]
fn who_reads_ahead() {
    let causal = golden("../pipelines/generation/bart-causal");
    let engine = Engine::open(&causal, None).expect("a model");
    let settings = settings_in(&causal, &json!({}));
    let prompts: [&[u32]; 2] = [&[0, 90, 117, 33, 41, 2], &[0, 250, 8, 8, 8]];
    let plain = engine.generate_all(&prompts, &settings, &Generate::default()).expect("it fits");
    let how = Generate { draft: Some(&engine), ..Generate::default() };
    assert_eq!(plain, engine.generate_all(&prompts, &settings, &how).expect("it fits"));
    let looking = Settings { prompt_lookup_num_tokens: Some(5), ..settings };
    assert_eq!(plain, engine.generate_all(&prompts, &looking, &Generate::default()).expect("it fits"));

    let (xlnet, settings) = small("xlnet", json!({}));
    let (gpt2, _) = small("gpt2", json!({}));
    for (engine, draft) in [(&xlnet, &gpt2), (&gpt2, &xlnet)] {
        let how = Generate { draft: Some(draft), ..Generate::default() };
        let error = engine.generate_all(&[&[9, 17]], &settings, &how).expect_err("it doesn't").to_string();
        assert!(error.contains("ahead"), "{error}");
    }
}

/// Chi-square of two samples, with how many degrees of freedom; rare values together.
fn chi_square(a: &[u32], b: &[u32]) -> (f64, usize) {
    let mut cells = vec![(0.0, 0.0)];
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        if a + b >= 30.0 {
            cells.push((a, b));
        } else {
            cells[0] = (cells[0].0 + a, cells[0].1 + b);
        }
    }
    let cells: Vec<(f64, f64)> = cells.into_iter().filter(|(a, b)| a + b > 0.0).collect();
    (cells.iter().map(|(a, b)| (a - b).powi(2) / (a + b)).sum(), cells.len() - 1)
}

/// Sampled text has the same distribution with guesses and without: all pairs of the second and third token.
#[test]
fn guesses_leave_the_distribution_as_it_is() {
    const COUNT: usize = 6000;
    let options = json!({"do_sample": true, "temperature": 1.5, "top_k": 6, "max_new_tokens": 4, "eos_token_id": 63});
    let (engine, settings) = small("gpt2", options);
    let draft = Engine::open(&golden("gpt"), None).expect("a model");
    // a text that repeats itself, so that looking up finds something
    let prompt: &[u32] = &[9, 17, 33, 9, 17, 41, 9, 17];
    let prompts = vec![prompt; COUNT];
    let histogram = |seed: u64, more: &dyn Fn(&mut Settings), how: &Generate<'_>| {
        let mut settings = Settings { seed, ..settings.clone() };
        more(&mut settings);
        let mut counts = vec![0_u32; 64 * 64];
        for spoken in engine.generate_all(&prompts, &settings, how).expect("it fits") {
            let said = &spoken[0].tokens;
            if let [_, second, third, ..] = said[..] {
                counts[(second * 64 + third) as usize] += 1;
            }
        }
        counts
    };
    let plain = histogram(1, &|_| (), &Generate::default());
    let again = histogram(2, &|_| (), &Generate::default());
    let looked_up = histogram(3, &|s| s.prompt_lookup_num_tokens = Some(3), &Generate::default());
    let drafted =
        histogram(4, &|s| s.num_assistant_tokens = 2, &Generate { draft: Some(&draft), ..Generate::default() });
    let warmer = histogram(5, &|s| s.temperature = 2.0, &Generate::default());
    // the mean of chi-square is its degrees of freedom, and twice that its variance: five deviations
    let differs = |other: &[u32]| {
        let (chi, degrees) = chi_square(&plain, other);
        assert!(degrees > 20, "{degrees} degrees of freedom");
        chi > degrees as f64 + 5.0 * (2.0 * degrees as f64).sqrt()
    };
    assert!(!differs(&again) && !differs(&looked_up) && !differs(&drafted));
    assert!(differs(&warmer), "the test would see a difference");
}

#[test]
fn drawn_text_hangs_on_the_seed_alone() {
    for family in ["gpt2", "t5", "xlnet"] {
        for options in [
            json!({"do_sample": true, "temperature": 5.0, "num_return_sequences": 3}),
            json!({"do_sample": true, "temperature": 5.0, "num_beams": 3}),
        ] {
            let (engine, settings) = small(family, options);
            let prompts: Vec<&[u32]> = vec![&[9, 17, 33], &[12, 50], &[25, 40, 41, 42, 43], &[8]];
            let say = |seed: u64, rows: usize| {
                let settings = Settings { seed, ..settings.clone() };
                let how = Generate { rows: Some(rows), ..Generate::default() };
                engine.generate_all(&prompts, &settings, &how).expect("it fits")
            };
            let tokens =
                |all: Vec<Vec<Spoken>>| -> Vec<Vec<u32>> { all.into_iter().flatten().map(|s| s.tokens).collect() };
            let first = tokens(say(1, 100_000));
            assert_eq!(first, tokens(say(1, 1)), "{family}");
            assert_ne!(first, tokens(say(2, 100_000)), "{family}");
            if settings.num_beams == 1 {
                assert_ne!(first[0], first[1], "sequences of one prompt are drawn apart");
            }
        }
    }
}

/// The logarithms of the probabilities are those of the model, and sum up to a beam's score.
#[test]
fn log_probabilities() {
    let (engine, settings) = small("gpt2", json!({"top_logprobs": 3, "max_new_tokens": 6, "eos_token_id": 63}));
    let prompt: &[u32] = &[9, 17, 33];
    let spoken = engine.generate_all(&[prompt], &settings, &Generate::default()).expect("it fits").remove(0).remove(0);
    assert_eq!(spoken.logprobs.len(), spoken.tokens.len());
    for (token, score) in spoken.tokens.iter().zip(&spoken.logprobs) {
        assert_eq!(score.alternatives.len(), 3);
        assert_eq!(score.alternatives[0], (*token, score.logprob), "the likeliest was said");
        assert!(score.alternatives.windows(2).all(|w| w[0].1 >= w[1].1) && score.logprob < 0.0);
    }
    for (more, groups) in [(json!({}), 1), (json!({"num_beam_groups": 2, "diversity_penalty": 0.0}), 2)] {
        let mut options = json!({"top_logprobs": 1, "max_new_tokens": 6, "num_beams": 4, "num_return_sequences": 4, "eos_token_id": 63});
        options.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        let (engine, settings) = small("gpt2", options);
        let all = engine.generate_all(&[prompt], &settings, &Generate::default()).expect("it fits").remove(0);
        assert_eq!(all.len(), 4);
        for spoken in all {
            let sum: f32 = spoken.logprobs.iter().map(|score| score.logprob).sum();
            let score = spoken.score.expect("beams have scores");
            assert!((sum / spoken.tokens.len() as f32 - score).abs() < 1e-4, "{sum} {score} of {groups} groups");
        }
    }
}

/// Groups without a penalty find the same; with one they begin differently, and each finds its best.
#[test]
fn groups_of_beams_avoid_each_other() {
    let find = |penalty: f32, groups: usize| {
        let options = json!({"num_beams": groups * 2, "num_beam_groups": groups, "num_return_sequences": groups * 2,
            "diversity_penalty": penalty, "max_new_tokens": 8, "eos_token_id": 63});
        let (engine, settings) = small("bart", options);
        engine.generate_all(&[&[9, 17, 33, 2]], &settings, &Generate::default()).expect("it fits").remove(0)
    };
    let alone = {
        let (engine, settings) =
            small("bart", json!({"num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 8, "eos_token_id": 63}));
        engine.generate_all(&[&[9, 17, 33, 2]], &settings, &Generate::default()).expect("it fits").remove(0)
    };
    let same = find(0.0, 3);
    for (rank, spoken) in same.iter().enumerate() {
        assert_eq!(spoken.tokens, alone[rank / 3].tokens);
    }
    let apart = find(50.0, 3);
    let firsts: std::collections::BTreeSet<u32> = apart.iter().map(|spoken| spoken.tokens[0]).collect();
    assert!(firsts.len() >= 3, "{firsts:?}");
    assert!(apart.iter().any(|spoken| spoken.tokens == alone[0].tokens), "the first group pays nothing");
}
