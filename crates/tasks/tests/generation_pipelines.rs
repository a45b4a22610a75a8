//! Text generation, text2text, summarization and translation against transformers' pipelines
//! (`parity/pipelines/generation/make.py`), and what those don't have.

use std::path::PathBuf;

use ptm_tasks::generation::{Constraint, Finish, Generate, TextStream};
use ptm_tasks::{
    Generated, Long, Message, Prompt, Purpose, Text2Text, Text2TextOptions, TextGeneration, TextGenerationOptions,
};
use ptm_text::EncodeOptions;
use serde_json::{Map, Value, json};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../parity/pipelines/generation").join(name)
}

fn cases(name: &str) -> Vec<Value> {
    let bytes = std::fs::read(golden(name).join("pipelines.json")).expect("a committed file");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// As text, in which the order of keys counts.
fn written(value: &Value) -> String {
    value.to_string()
}

fn take(parameters: &mut Map<String, Value>, key: &str) -> Option<Value> {
    parameters.remove(key)
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().expect("a map").clone()
}

#[test]
fn text_generation() {
    continued("gpt2", 24);
}

#[test]
fn text_generation_of_other_decoders() {
    continued("gpt", 12);
    continued("bart-causal", 12);
}

/// Without the article that transformers puts before what XLNet reads, and with a text in its place.
#[test]
fn text_generation_of_a_permutation_model() {
    continued("xlnet", 7);
}

fn continued(name: &str, least: usize) {
    let model = TextGeneration::open(&golden(name)).expect("a model");
    let mut wrong = Vec::new();
    let all = cases(name);
    assert!(all.len() >= least);
    for case in all {
        let mut settings = map(case["parameters"].clone());
        let flag = |value: Option<Value>, other: bool| value.map_or(other, |v| v.as_bool().expect("a flag"));
        let full_text = flag(take(&mut settings, "return_full_text"), true);
        let tensors = flag(take(&mut settings, "return_tensors"), false);
        let prefix = take(&mut settings, "prefix").map(|v| v.as_str().expect("a text").to_owned());
        let cut = take(&mut settings, "handle_long_generation").is_some();
        let stop_sequence = take(&mut settings, "stop_sequence").map(|v| v.as_str().expect("a text").to_owned());
        let clean_up = take(&mut settings, "clean_up_tokenization_spaces").map(|v| v.as_bool().expect("a flag"));
        let options = TextGenerationOptions {
            settings,
            full_text,
            tensors,
            prefix,
            cut,
            stop_sequence,
            clean_up,
            ..Default::default()
        };
        let chat = |value: &Value| -> Prompt {
            Prompt::Chat(serde_json::from_value::<Vec<Message>>(value.clone()).expect("a chat"))
        };
        let prompt = |value: &Value| value.as_str().map_or_else(|| chat(value), Prompt::from);
        let (prompts, single) = match &case["inputs"] {
            Value::Array(list) if list[0].is_object() => (vec![chat(&case["inputs"])], true),
            Value::Array(list) => (list.iter().map(prompt).collect(), false),
            one => (vec![prompt(one)], true),
        };
        let answers = model.generate(&prompts, &options).expect("it fits");
        let ours: Vec<Vec<Generated>> =
            answers.into_iter().map(|all| all.into_iter().map(|answer| answer.generated).collect()).collect();
        let ours = if single { json!(ours[0]) } else { json!(ours) };
        if written(&ours) != written(&case["output"]) {
            wrong.push(format!("{} {}\n  {ours}\n  {}", case["inputs"], case["parameters"], case["output"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn purpose(task: &str) -> Purpose {
    match task {
        "text2text-generation" => Purpose::Text2Text,
        "summarization" => Purpose::Summarization,
        "translation" => Purpose::Translation(None),
        _ => Purpose::Translation(Some(("en".into(), "de".into()))),
    }
}

#[test]
fn text_to_text() {
    let mut wrong = Vec::new();
    for (name, least) in [("bart", 40), ("t5", 40), ("mbart", 12), ("marian", 16), ("mt5", 15), ("byt5", 12)] {
        let all = cases(name);
        assert!(all.len() >= least);
        for case in all {
            let task = case["task"].as_str().expect("a task");
            // languages that this model isn't told are refused here
            let mut settings = map(case["parameters"].clone());
            let mut language = |key| take(&mut settings, key).map(|code| code.as_str().expect("a code").to_owned());
            let languages = language("src_lang").zip(language("tgt_lang"));
            let purpose = if languages.is_some() || name == "bart" && task == "translation_en_to_de" {
                Purpose::Translation(languages)
            } else {
                purpose(task)
            };
            let model = Text2Text::open(&golden(name), purpose).expect("a model");
            let tensors = take(&mut settings, "return_tensors").is_some();
            let long = if take(&mut settings, "truncation").is_some() { Long::Cut } else { Long::Split };
            let clean_up = take(&mut settings, "clean_up_tokenization_spaces").is_some_and(|clean| clean == true);
            let options = Text2TextOptions { settings, long, clean_up, ..Default::default() };
            let texts: Vec<&str> = match &case["inputs"] {
                Value::Array(list) => list.iter().map(|text| text.as_str().expect("a text")).collect(),
                text => vec![text.as_str().expect("a text")],
            };
            let key = model.purpose().key();
            let one = |reply: &ptm_tasks::Reply| {
                if tensors {
                    json!({format!("{key}_token_ids"): reply.tokens})
                } else {
                    json!({format!("{key}_text"): reply.text})
                }
            };
            let replies = model.answer(&texts, &options).expect("it fits");
            let ours: Vec<Vec<Value>> = replies.iter().map(|all| all.iter().map(one).collect()).collect();
            let ours = match (&case["inputs"], ours.iter().all(|all| all.len() == 1)) {
                (Value::Array(_), true) => json!(ours.concat()),
                (Value::Array(_), false) => json!(ours),
                _ => json!(ours[0]),
            };
            if written(&ours) != written(&case["output"]) {
                wrong.push(format!("{name} {task} {}\n  {ours}\n  {}", case["parameters"], case["output"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
}

/// A language is named, or its word stands before the text; one that a model hasn't is refused with those it has.
#[test]
fn languages() {
    let cases = cases("marian");
    let case = cases.iter().find(|case| case["inputs"].as_str().is_some_and(|text| text.starts_with(">>fra<<")));
    let case = case.expect("a text into French");
    let text = case["inputs"].as_str().expect("a text").trim_start_matches(">>fra<< ");
    let open =
        |name: &str, to: &str| Text2Text::open(&golden(name), Purpose::Translation(Some(("en_XX".into(), to.into()))));
    let options = Text2TextOptions { settings: map(case["parameters"].clone()), ..Default::default() };
    let reply = open("marian", "fra").expect("a model").answer(&[text], &options).expect("it fits").remove(0).remove(0);
    assert_eq!(json!(reply.text), case["output"][0]["translation_text"]);
    let said = open("mbart", "xx_YY").unwrap_err().to_string();
    assert!(said.contains("xx_YY") && said.contains("ro_RO"), "{said}");
}

fn greedy(more: Value) -> TextGenerationOptions<'static> {
    let mut settings = map(json!({"do_sample": false, "max_new_tokens": 20}));
    settings.extend(map(more));
    TextGenerationOptions { settings, ..Default::default() }
}

fn one(model: &TextGeneration, text: &str, options: &TextGenerationOptions<'_>) -> ptm_tasks::Answer {
    model.generate(&[text.into()], options).expect("it fits").remove(0).remove(0)
}

#[test]
fn streaming_gives_the_text_in_whole_characters() {
    let model = TextGeneration::open(&golden("gpt2")).expect("a model");
    let tokenizer = model.engine().tokenizer().expect("it has one");
    for text in ["Café Müller", "北京 🍕 and 🍕", "The tower"] {
        let ids = tokenizer.encode(text, &EncodeOptions::default()).expect("a text").ids;
        let mut stream = TextStream::new(tokenizer, &[], false);
        let parts: Vec<String> = (1..=ids.len()).map(|n| stream.more(&ids[..n])).collect();
        assert!(parts.iter().all(|part| !part.contains(char::REPLACEMENT_CHARACTER)), "{parts:?}");
        assert_eq!(parts.concat() + &stream.rest(&ids), text);
    }
    // the same from a generation
    let mut heard = String::new();
    let given = tokenizer.encode("The tower", &EncodeOptions::default()).expect("a text").ids;
    let mut stream = TextStream::new(tokenizer, &given, true);
    let mut tokens = Vec::new();
    let mut whole = String::new();
    let mut said = |_: usize, said: &[u32]| {
        heard.push_str(&stream.more(said));
        tokens = said.to_vec();
    };
    model
        .run(&mut ["The tower".into()].into_iter(), &greedy(json!({})), Some(&mut said), &mut |_, mut answers| {
            whole = answers.remove(0).new_text;
            Ok(())
        })
        .expect("it fits");
    heard.push_str(&stream.rest(&tokens));
    assert_eq!(heard, whole);
    assert_eq!(tokens.len(), 20);
}

#[test]
fn a_stop_string_ends_the_text_where_it_is_said() {
    let model = TextGeneration::open(&golden("gpt2")).expect("a model");
    let free = one(&model, "The tower", &greedy(json!({})));
    let letters: Vec<char> = free.new_text.chars().collect();
    // a string that runs over the border of two tokens
    let stop: String = letters[3..6].iter().collect();
    let stopped = one(&model, "The tower", &greedy(json!({"stop_strings": [stop, "never said"]})));
    assert_eq!(stopped.spoken.finish, Finish::Stop);
    assert!(stopped.new_text.contains(&stop) && free.new_text.starts_with(&stopped.new_text));
    assert!(stopped.spoken.tokens.len() < free.spoken.tokens.len());
    assert_eq!(free.spoken.finish, Finish::Length);
}

#[test]
fn constrained_text_is_what_it_should_be() {
    let model = TextGeneration::open(&golden("gpt2")).expect("a model");
    let tokenizer = model.engine().tokenizer().expect("it has one");
    let vocabulary = model.engine().vocabulary();
    let say = |constraint: &Constraint, more: Value| {
        let mut options = greedy(more);
        options.settings.insert("max_new_tokens".into(), json!(60));
        options.how = Generate { constraint: Some(constraint), ..Generate::default() };
        let answer = one(&model, "When was it built?", &options);
        assert_eq!(answer.spoken.finish, Finish::End, "{}", answer.new_text);
        answer.new_text.trim().to_owned()
    };
    let date = Constraint::regex("[0-9]{4}-(0[1-9]|1[0-2])", tokenizer, vocabulary, &[0]).expect("a pattern");
    for more in [json!({}), json!({"num_beams": 3}), json!({"do_sample": true, "seed": 4})] {
        let text = say(&date, more);
        let (year, month) = text.split_once('-').expect("a date");
        assert!(year.len() == 4 && year.parse::<u32>().is_ok(), "{text}");
        assert!((1..=12).contains(&month.parse::<u32>().expect(&text)), "{text}");
    }
    let phrases = ["in Paris", "on Sunday", "nobody knew (why?)", "北京 🍕"];
    let one_of = Constraint::one_of(&phrases, tokenizer, vocabulary, &[0]).expect("phrases");
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        seen.insert(say(&one_of, json!({"do_sample": true, "temperature": 5.0, "seed": seed})));
    }
    assert!(seen.iter().all(|text| phrases.contains(&text.as_str())) && seen.len() > 1, "{seen:?}");
    let error = Constraint::regex("[a", tokenizer, vocabulary, &[0]).expect_err("no pattern").to_string();
    assert!(error.contains("\"[a\"") && error.contains("unclosed"), "{error}");
    let large = Constraint::regex("(a|[a-z]{1,200}){1,200}x", tokenizer, vocabulary, &[0]).expect_err("too large");
    assert!(large.to_string().contains("can't be used"), "{large}");
}

/// Vocabularies of bytes (GPT-2, BART), and such that begin words with a space (T5, XLNet, mBART, Marian) or end them with
/// one (GPT) and can't spell everything: what is printed is what the constraint says, to the letter.
#[test]
fn constraints_on_every_kind_of_vocabulary() {
    let phrases = ["the tower in paris", "doesn't he?", "more food , he likes it.", "why; or when?"];
    let expression = "[a-z]{2}( [a-z]{1,4}){2}[.?] (the|a) [a-z]";
    let is_expressed = |text: &str| {
        let words: Vec<&str> = text.split(' ').collect();
        let small = |word: &str| word.chars().all(|c| c.is_ascii_lowercase());
        let [first, second, third, article, last] = words[..] else { return false };
        let third = third.strip_suffix(['.', '?']).unwrap_or("!");
        small(first)
            && first.len() == 2
            && [second, third].iter().all(|word| small(word) && (1..=4).contains(&word.len()))
            && ["the", "a"].contains(&article)
            && small(last)
            && last.len() == 1
    };
    for name in ["gpt2", "gpt", "xlnet", "bart-causal", "bart", "t5", "mt5", "mbart", "marian"] {
        let dir = golden(name);
        let is_pair = !["gpt2", "gpt", "xlnet", "bart-causal"].contains(&name);
        let decoder = (!is_pair).then(|| TextGeneration::open(&dir).expect("a model"));
        let pair = is_pair.then(|| Text2Text::open(&dir, Purpose::Text2Text).expect("a model"));
        let engine =
            decoder.as_ref().map_or_else(|| pair.as_ref().expect("one of them").engine(), |model| model.engine());
        let tokenizer = engine.tokenizer().expect("it has one");
        // GPT has no end of its own
        let end = if name == "gpt" { json!(0) } else { json!(null) };
        let ends = |model: &Map<String, Value>| -> Vec<u32> {
            let layers =
                decoder.as_ref().map_or_else(|| pair.as_ref().expect("one").layers(model), |one| one.layers(model));
            layers.expect("values").settings().expect("possible").ends()
        };
        let say = |constraint: &Constraint, more: Value| {
            let mut settings = map(json!({"max_new_tokens": 80, "min_length": 0, "do_sample": false, "num_beams": 1,
                "forced_bos_token_id": null, "forced_eos_token_id": null, "no_repeat_ngram_size": 0, "bad_words_ids": null}));
            settings.extend(map(more));
            if !end.is_null() {
                settings.insert("eos_token_id".into(), end.clone());
            }
            let how = Generate { constraint: Some(constraint), ..Generate::default() };
            let (text, finish) = if let Some(model) = &decoder {
                let answer = one(model, "The tower", &TextGenerationOptions { settings, how, ..Default::default() });
                (answer.new_text, answer.spoken.finish)
            } else {
                let options = Text2TextOptions { settings, how, ..Default::default() };
                let model = pair.as_ref().expect("one of them");
                let reply = model.answer(&["The tower is tall."], &options).expect("it fits").remove(0).remove(0);
                (reply.text, reply.spoken[0].finish)
            };
            assert_eq!(finish, Finish::End, "{name}: {text:?}");
            text.trim().to_owned()
        };
        let own = if end.is_null() { ends(&Map::new()) } else { vec![0] };
        let one_of = Constraint::one_of(&phrases, tokenizer, engine.vocabulary(), &own).expect("phrases");
        let shaped = Constraint::regex(expression, tokenizer, engine.vocabulary(), &own).expect("a pattern");
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..12 {
            let drawn = json!({"do_sample": true, "temperature": 20.0, "top_k": 0, "seed": seed});
            let text = say(&one_of, drawn.clone());
            assert!(phrases.contains(&text.as_str()), "{name}: {text:?}");
            seen.insert(text);
            let text = say(&shaped, drawn);
            assert!(is_expressed(&text), "{name}: {text:?}");
        }
        assert!(seen.len() > 1, "{name}: {seen:?}");
        for more in [json!({}), json!({"num_beams": 3})] {
            let text = say(&shaped, more.clone());
            assert!(is_expressed(&text), "{name}: {text:?}");
            let text = say(&one_of, more);
            assert!(phrases.contains(&text.as_str()), "{name}: {text:?}");
        }
    }
}

/// What is put before a text takes nothing of the lengths that are asked for.
#[test]
fn lengths_count_without_the_prefix() {
    let model = TextGeneration::open(&golden("gpt2")).expect("a model");
    let tokenizer = model.engine().tokenizer().expect("it has one");
    let encode = |text: &str| tokenizer.encode(text, &EncodeOptions::default()).expect("text").ids.len();
    let (text, prefix) = ("A man is eating food.", "Once upon a time. ");
    let given = encode(text);
    let said = |prefix: Option<&str>, more: Value| {
        let mut settings = map(json!({"do_sample": false, "eos_token_id": null}));
        settings.extend(map(more));
        let options = TextGenerationOptions { settings, prefix: prefix.map(str::to_owned), ..Default::default() };
        one(&model, text, &options).spoken.tokens.len()
    };
    assert!(encode(prefix) > 4);
    for prefix in [None, Some(prefix)] {
        assert_eq!(said(prefix, json!({"max_length": given + 4})), 4, "{prefix:?}");
        assert_eq!(said(prefix, json!({"max_length": given + 4, "max_new_tokens": 6})), 6, "{prefix:?}");
        // every token ends the answer, as soon as one may
        let all: Vec<u32> = (0..tokenizer.max_id()).collect();
        let ended = json!({"max_length": given + 9, "min_length": given + 3, "eos_token_id": all});
        assert_eq!(said(prefix, ended), 4, "{prefix:?}");
    }
}

/// The text ends with the token that completes the string, and not before, however words begin and end.
#[test]
fn stop_strings_on_every_kind_of_vocabulary() {
    for name in ["gpt2", "gpt", "xlnet", "bart-causal", "bart", "t5", "mt5", "mbart", "marian"] {
        let dir = golden(name);
        let drawn = |more: Value| {
            let mut settings =
                map(json!({"max_new_tokens": 30, "min_new_tokens": 30, "do_sample": true, "temperature": 3.0,
                "num_beams": 1, "seed": 5, "forced_eos_token_id": null}));
            settings.extend(map(more));
            settings
        };
        let is_pair = !["gpt2", "gpt", "xlnet", "bart-causal"].contains(&name);
        let say = |settings: Map<String, Value>| -> (String, Vec<u32>, Finish) {
            if is_pair {
                let model = Text2Text::open(&dir, Purpose::Text2Text).expect("a model");
                let options = Text2TextOptions { settings, ..Default::default() };
                let reply = model.answer(&["The tower is tall."], &options).expect("it fits").remove(0).remove(0);
                (reply.text, reply.spoken[0].tokens.clone(), reply.spoken[0].finish)
            } else {
                let model = TextGeneration::open(&dir).expect("a model");
                let options = TextGenerationOptions { settings, clean_up: Some(false), ..Default::default() };
                let answer = one(&model, "The tower", &options);
                (answer.new_text, answer.spoken.tokens, answer.spoken.finish)
            }
        };
        let (free, tokens, _) = say(drawn(json!({})));
        // strings within and over the borders of tokens, spaces among them, that come first where they are taken from
        let letters: Vec<char> = free.trim().chars().collect();
        let mut tried = 0;
        for at in (2..letters.len().saturating_sub(4)).step_by(3) {
            let stop: String = letters[at..at + 3].iter().collect();
            if stop.contains(char::REPLACEMENT_CHARACTER) || stop.trim() != stop {
                continue;
            }
            tried += 1;
            let (text, said, finish) = say(drawn(json!({"stop_strings": stop})));
            assert_eq!(finish, Finish::Stop, "{name}: {stop:?} in {free:?}");
            assert!(text.contains(&stop), "{name}: {stop:?} in {text:?}");
            assert!(tokens.starts_with(&said), "{name}: {stop:?}");
            let tokenizer = ptm_text::Tokenizer::from_dir(&dir).expect("a tokenizer");
            let before = tokenizer.decode_with(&said[..said.len() - 1], true, false);
            assert!(!before.contains(&stop), "{name}: {stop:?} was there before: {before:?}");
        }
        assert!(tried >= 3, "{name}: {free:?}");
    }
}

/// A time that is over stops after the first token; one that is not changes nothing.
#[test]
fn a_time_that_is_over_ends_the_text() {
    let model = TextGeneration::open(&golden("gpt2")).expect("a model");
    for more in [json!({}), json!({"num_beams": 3}), json!({"penalty_alpha": 0.6, "top_k": 4})] {
        let with = |time: f64| {
            let mut more = more.clone();
            more["max_time"] = json!(time);
            one(&model, "The tower", &greedy(more)).spoken
        };
        let short = with(1e-9);
        assert_eq!((short.tokens.len(), short.finish), (1, Finish::Time));
        assert_eq!(with(1e6), one(&model, "The tower", &greedy(more.clone())).spoken);
    }
}

#[test]
fn long_texts_are_answered_in_pieces_and_nothing_is_lost() {
    let model = Text2Text::open(&golden("bart"), Purpose::Summarization).expect("a model");
    let sentence = "The tower is the tallest structure in Paris, and it was the tallest in the world for 41 years. ";
    let options = Text2TextOptions { settings: map(json!({"max_new_tokens": 6})), ..Default::default() };
    let replies = model.answer(&[&sentence.repeat(12), sentence], &options).expect("it fits");
    let (long, short) = (&replies[0][0], &replies[1][0]);
    assert!(long.pieces >= 3 && short.pieces == 1, "{} pieces", long.pieces);
    assert_eq!((long.spoken.len(), long.cut), (long.pieces, 0));
    // one sentence without an end, longer than the model reads
    let endless = "tower ".repeat(400);
    let reply = &model.answer(&[&endless], &options).expect("it fits")[0][0];
    assert!(reply.pieces >= 4 && reply.cut == 0, "{} pieces, {} cut", reply.pieces, reply.cut);
    // nor a space to cut at
    let reply = &model.answer(&[&"北京🍕x".repeat(200)], &options).expect("it fits")[0][0];
    assert!(reply.pieces >= 4 && reply.cut == 0, "{} pieces, {} cut", reply.pieces, reply.cut);
    let cut = Text2TextOptions { long: Long::Cut, ..options };
    let reply = &model.answer(&[&endless], &cut).expect("it fits")[0][0];
    assert!(reply.pieces == 1 && reply.cut > 100);
}

#[test]
fn what_does_not_fit_says_so() {
    let model = TextGeneration::open(&golden("gpt2")).expect("a model");
    let fails =
        |text: &str, more: Value| model.generate(&[text.into()], &greedy(more)).expect_err("it can't").to_string();
    assert!(fails("The tower", json!({"max_new_tokens": 500})).contains("128 positions"));
    assert!(fails("The tower", json!({"max_new_tokens": null, "max_length": 2})).contains("max_length (2)"));
    assert!(fails("The tower", json!({"bad_words_ids": [[9999]]})).contains("token 9999"));
    assert!(fails("The tower", json!({"top_p": 2})).contains("top_p"));
    let error = TextGeneration::open(&golden("bart")).expect_err("an encoder-decoder").to_string();
    assert!(error.contains("summarization"), "{error}");
    let error = Text2Text::open(&golden("gpt2"), Purpose::Summarization).expect_err("a decoder").to_string();
    assert!(error.contains("text-generation"), "{error}");
    let wrong = Purpose::Translation(Some(("en".into(), "fr".into())));
    let error = Text2Text::open(&golden("t5"), wrong).expect_err("no such languages").to_string();
    assert!(error.contains("translation_en_to_de"), "{error}");
    // an empty text begins with the token for it
    let answer = one(&model, "", &greedy(json!({"max_new_tokens": 3})));
    assert_eq!(answer.spoken.tokens.len(), 3);
}
