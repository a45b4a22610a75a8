//! `ptm tokenizer`: making one from text, and looking at what one does.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use ptm_models::files::{create_dir, write_atomic};
use ptm_text::corpus::Texts;
use ptm_text::train_tokenizer::{FAMILIES, Family, Options, Words, train as learn};
use ptm_text::{EncodeOptions, Tokenizer};
use serde_json::json;

use crate::args::{TokenizerDecode, TokenizerEncode, TokenizerTrain};
use crate::failure::{Stopped, hinted};
use crate::output::{Output, one_line};
use crate::progress::{Progress, Unit, duration, size};
use crate::{hub, stop};

/// What a tokenizer's files are called.
const NAMES: [&str; 5] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json"];

pub fn train(args: &TokenizerTrain, quiet: bool) -> anyhow::Result<()> {
    let family = Family::by_name(&args.family)
        .ok_or_else(|| hinted(format!("--family {}: there is no such family", args.family), FAMILIES.join(", ")))?;
    let options = Options {
        vocab_size: args.vocab_size as usize,
        min_frequency: args.min_frequency,
        lowercase: args.lowercase,
        alphabet: args.alphabet as usize,
        most_words: args.most_words as usize,
        ..Options::new(family)
    };
    // asked before the work, not after
    for name in NAMES {
        let there = args.output.join(name);
        if there.exists() {
            let problem = format!("{} is there already", there.display());
            return Err(hinted(problem, "name a new directory, or remove that tokenizer"));
        }
    }
    let texts = Texts::open(&args.texts, args.documents.layout(), args.text_key.clone())?;
    let is_new = !args.output.exists();
    create_dir(&args.output)?;
    let made = learn_and_write(args, texts, &options, quiet);
    if made.is_err() && is_new {
        // what another program may have put there stays
        let _ = std::fs::remove_dir(&args.output);
    }
    made
}

fn learn_and_write(args: &TokenizerTrain, texts: Texts, options: &Options, quiet: bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    let words = stop::computing(|stop| {
        let total = texts.is_plain().then(|| texts.bytes());
        let mut progress = Progress::new(Unit::Bytes("counted".to_owned()), total, quiet);
        let words = Words::count(texts, options, &mut |bytes| {
            progress.at(bytes);
            !stop.load(SeqCst)
        })?;
        words.ok_or_else(|| Stopped.into())
    })?;
    let (different, bytes) = (words.len(), words.bytes());
    // from here on Ctrl-C ends the program at once: no file is written before everything is there
    let trained = learn(words, options)?;
    for (name, content) in &trained.files {
        write_atomic(&args.output.join(name), content)?;
    }
    let (tokens, seconds) = (trained.tokenizer.vocab_size(), begun.elapsed().as_secs_f64());
    let mut output = Output::new();
    if args.json {
        output.json(&json!({
            "tokenizer": args.output.display().to_string(),
            "family": options.family.name(),
            "tokens": tokens,
            "words": different,
            "text_bytes": bytes,
            "files": trained.files.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "seconds": seconds,
        }))?;
        return Ok(output.flush()?);
    }
    let text = size(bytes);
    output.line(&format!("{tokens} tokens from {different} different words in {text} of text"))?;
    output.line(&output.faint(&duration(seconds)))?;
    output.line(&format!("tokenizer: {}", output.strong(&args.output.display().to_string())))?;
    Ok(output.flush()?)
}

pub fn encode(args: &TokenizerEncode, quiet: bool) -> anyhow::Result<()> {
    let tokenizer = Tokenizer::from_dir(&hub::resolve(&args.tokenizer, None, quiet)?)?;
    let options = EncodeOptions { add_special_tokens: !args.no_special, ..EncodeOptions::default() };
    let mut output = Output::new();
    for (number, text) in args.texts.iter().enumerate() {
        let encoding = tokenizer.encode(text, &options)?;
        if args.json {
            output.json(&json!({"ids": encoding.ids, "tokens": encoding.tokens, "offsets": encoding.offsets}))?;
            continue;
        }
        if number > 0 {
            output.line("")?;
        }
        let ids = encoding.ids.iter().map(|id| id.to_string().len()).max().unwrap_or(0);
        let shown: Vec<String> = encoding.tokens.iter().map(|token| one_line(token, 40)).collect();
        let width = shown.iter().map(|token| token.chars().count()).max().unwrap_or(0);
        for (index, token) in shown.iter().enumerate() {
            let (from, to) = encoding.offsets[index];
            let place = if encoding.special[index] { "added".to_owned() } else { format!("{from}–{to}") };
            let aside = output.faint(&place);
            output.line(&format!("{:>ids$}  {token:width$}  {aside}", encoding.ids[index]))?;
        }
    }
    Ok(output.flush()?)
}

pub fn decode(args: &TokenizerDecode, quiet: bool) -> anyhow::Result<()> {
    let tokenizer = Tokenizer::from_dir(&hub::resolve(&args.tokenizer, None, quiet)?)?;
    if let Some(id) = args.ids.iter().find(|&&id| tokenizer.token(id).is_none()) {
        let most = tokenizer.max_id();
        return Err(hinted(format!("{id} is no token of {}", args.tokenizer), format!("its ids go up to {most}")));
    }
    let text = tokenizer.decode(&args.ids, args.skip_special);
    let mut output = Output::new();
    if args.json {
        output.json(&json!({ "text": text }))?;
    } else {
        output.line(&output.said(&text))?;
    }
    Ok(output.flush()?)
}
