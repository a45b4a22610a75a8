//! What is streamed is what is given at the end: for every kind of tokenizer whatever it says, and for every family of
//! models that generate.

use std::path::{Path, PathBuf};

use ptm_tasks::generation::TextStream;
use ptm_tasks::{Purpose, Text2Text, Text2TextOptions, TextGeneration, TextGenerationOptions};
use ptm_text::Tokenizer;
use ptm_text::corpus::{Layout, Texts};
use ptm_text::train_tokenizer::{Family, Options, Words, train};
use serde_json::{Map, Value, json};

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parity").join(path)
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % count
    }
}

/// Says tokens in steps of one to three, after some that were given; all parts are the text that is decoded at once.
fn check(name: &str, tokenizer: &Tokenizer, given: &[u32], said: &[u32], numbers: &mut Numbers) {
    for cleans in [false, true] {
        let all = [given, said].concat();
        let before = tokenizer.decode_with(given, true, cleans).chars().count();
        let wanted: String = tokenizer.decode_with(&all, true, cleans).chars().skip(before).collect();
        let mut stream = TextStream::new(tokenizer, given, cleans);
        let (mut parts, mut read) = (Vec::new(), 0);
        while read < said.len() {
            read = (read + 1 + numbers.below(3)).min(said.len());
            parts.push(stream.more(&said[..read]));
        }
        parts.push(stream.rest(said));
        assert_eq!(parts.concat(), wanted, "{name}, {given:?} and {said:?}: {parts:?}");
    }
}

#[test]
fn every_tokenizer() {
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).expect("committed folders");
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        found.sort();
        found
    };
    let mut tokenizers: Vec<(String, Tokenizer)> = list(&folder("tokenizers/cases"))
        .iter()
        .flat_map(|kind| list(kind))
        .map(|path| (path.display().to_string(), Tokenizer::from_dir(&path).expect("a tokenizer")))
        .collect();
    // GPT's marks the ends of words, and no other does
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("text.txt");
    let text = "the tower doesn't stand in the city, it's tall. they've said: I'm there!\n\n";
    std::fs::write(&file, text.repeat(4)).expect("a file");
    let options = Options { vocab_size: 120, ..Options::new(Family::by_name("gpt").expect("a family")) };
    let texts = Texts::open(&[file], Layout::BlankLines, None).expect("a text");
    let words = Words::count(texts, &options, &mut |_| true).expect("words").expect("to the end");
    tokenizers.push(("gpt".into(), train(words, &options).expect("enough text").tokenizer));
    assert!(tokenizers.len() > 20);
    let mut numbers = Numbers(7);
    for (name, tokenizer) in &tokenizers {
        for text in ["the tower", " Don ' t , say it 's .", "Café Müller 北京 🍕 x", text] {
            let ids = tokenizer.encode(text, &ptm_text::EncodeOptions::default()).expect("a text").ids;
            for given in 0..ids.len().min(4) {
                check(name, tokenizer, &ids[..given], &ids[given..], &mut numbers);
            }
        }
        let size = tokenizer.max_id() as usize + 1;
        for _ in 0..100 {
            let all: Vec<u32> = (0..24).map(|_| numbers.below(size) as u32).collect();
            let given = numbers.below(5);
            check(name, tokenizer, &all[..given], &all[given..], &mut numbers);
        }
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().expect("a map").clone()
}

#[test]
fn texts_that_go_on() {
    for name in ["gpt2", "xlnet"] {
        let model = TextGeneration::open(&folder(&format!("pipelines/generation/{name}"))).expect("a model");
        for seed in 0..12 {
            let settings = map(json!({"seed": seed, "temperature": 3.0, "do_sample": true, "max_new_tokens": 20}));
            let options = TextGenerationOptions { settings, ..Default::default() };
            let prompts = ["The tower", "Café", "It doesn ' t"].map(ptm_tasks::Prompt::from);
            let wanted: Vec<String> = model
                .generate(&prompts, &options)
                .expect("they fit")
                .into_iter()
                .map(|mut answers| answers.remove(0).new_text)
                .collect();
            let mut heard = vec![String::new(); prompts.len()];
            let mut parts = 0;
            let mut hear = |number: usize, part: &str| {
                heard[number].push_str(part);
                parts += 1;
            };
            model.stream(&mut prompts.into_iter(), &options, &mut hear, &mut |_, _| Ok(())).expect("they fit");
            assert_eq!(heard, wanted, "{name}, {seed}");
            assert!(parts > 12, "{name}: {parts} parts");
        }
    }
}

#[test]
fn texts_that_are_answered() {
    for name in ["bart", "t5", "mbart", "marian"] {
        let purpose = if matches!(name, "bart" | "t5") { Purpose::Summarization } else { Purpose::Translation(None) };
        let model = Text2Text::open(&folder(&format!("pipelines/generation/{name}")), purpose).expect("a model");
        for (seed, sample) in [(0, false), (1, true), (2, true), (3, true)] {
            let settings = json!({"seed": seed, "do_sample": sample, "num_beams": 1, "max_new_tokens": 16});
            let options = Text2TextOptions { settings: map(settings), ..Default::default() };
            // the second is read in several pieces
            let texts = ["The tower is tall.".to_owned(), "The tower is tall. It stands in Paris. ".repeat(20)];
            let wanted: Vec<(String, usize)> = model
                .answer(&texts.each_ref().map(String::as_str), &options)
                .expect("they fit")
                .into_iter()
                .map(|mut replies| replies.remove(0))
                .map(|reply| (reply.text.trim().to_owned(), reply.pieces))
                .collect();
            assert!(wanted[0].1 == 1 && wanted[1].1 > 1, "{name}: {wanted:?}");
            let mut heard = vec![String::new(); 2];
            let mut hear = |number: usize, part: &str| heard[number].push_str(part);
            let mut done = Vec::new();
            let mut end = |number: usize, _| {
                done.push(number);
                Ok(())
            };
            model.stream(&mut texts.into_iter(), &options, &mut hear, &mut end).expect("they fit");
            assert_eq!(heard, wanted.into_iter().map(|(text, _)| text).collect::<Vec<_>>(), "{name}, {seed}");
            assert_eq!(done.len(), 2);
        }
        let beams = Text2TextOptions { settings: map(json!({"num_beams": 2})), ..Default::default() };
        let texts = &mut ["a text".to_owned()].into_iter();
        let error = model.stream(texts, &beams, &mut |_, _| {}, &mut |_, _| Ok(())).unwrap_err().to_string();
        assert!(error.contains("num_beams is 2"), "{error}");
    }
}
