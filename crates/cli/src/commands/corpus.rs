//! `ptm corpus pack` and `ptm corpus info`: running text as token ids on disk.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use ptm_text::Tokenizer;
use ptm_text::corpus::{Corpus, Lengths, Packed, Split, Survey, Texts, TokenizedBy, Writer, pack as pack_texts};
use serde_json::{Value, json};

use crate::args::{CorpusInfo, CorpusPack};
use crate::failure::Stopped;
use crate::output::{Output, bar};
use crate::progress::{Progress, Unit, duration, size};
use crate::{hub, stop};

pub fn pack(args: &CorpusPack, quiet: bool) -> anyhow::Result<()> {
    let mut texts = Texts::open(&args.texts, args.documents.layout(), args.text_key.clone())?;
    if let Some(key) = &args.spans_key {
        texts = texts.with_spans(key.clone())?;
    }
    let tokenizer = Tokenizer::from_dir(&hub::resolve(&args.tokenizer, None, quiet)?)?;
    let writer = Writer::create(&args.output, TokenizedBy::of(&tokenizer)?)?;
    let writer = writer.shard_bytes(usize::from(args.shard_mib) << 20);
    let begun = Instant::now();
    let done = stop::computing(|stop| {
        // of tables only some bytes are text
        let total = texts.is_plain().then(|| texts.bytes());
        let mut progress = Progress::new(Unit::Bytes("packed".to_owned()), total, quiet);
        let done = pack_texts(texts, &tokenizer, writer, &mut |packed| {
            progress.at(packed.text_bytes);
            !stop.load(SeqCst)
        })?;
        drop(progress);
        done.ok_or_else(|| Stopped.into())
    });
    let (corpus, packed) = done?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut output = Output::new();
    if args.json {
        let mut value = about(&corpus);
        value["empty"] = packed.empty.into();
        value["seconds"] = seconds.into();
        output.json(&value)?;
        return Ok(output.flush()?);
    }
    show_counts(&mut output, &corpus)?;
    show_speed(&mut output, &packed, seconds)?;
    output.line(&format!("corpus: {}", output.strong(&args.output.display().to_string())))?;
    Ok(output.flush()?)
}

fn about(corpus: &Corpus) -> Value {
    let (shards, bytes) = corpus.shards();
    json!({
        "corpus": corpus.dir().display().to_string(),
        "documents": corpus.len(),
        "sentences": corpus.sentences(),
        "tokens": corpus.tokens(),
        "spans": corpus.spans(),
        "text_bytes": corpus.text_bytes(),
        "shards": shards,
        "bytes": bytes,
        "id_bytes": corpus.id_bytes(),
        "tokenizer": corpus.tokenizer(),
        "fingerprint": format!("{:016x}", corpus.fingerprint()),
    })
}

fn show_counts(output: &mut Output, corpus: &Corpus) -> anyhow::Result<()> {
    let (documents, sentences, tokens) = (corpus.len(), corpus.sentences(), corpus.tokens());
    output.line(&format!("{documents} documents, {sentences} sentences, {tokens} tokens"))?;
    let spans = corpus.spans();
    if spans.all() > 0 {
        output.line(&format!("{} phrases and {} entities given with the text", spans.phrase, spans.entity))?;
    }
    let (shards, bytes) = corpus.shards();
    let files = if shards == 1 { "shard" } else { "shards" };
    let text = size(corpus.text_bytes());
    let each = corpus.text_bytes() as f64 / tokens as f64;
    output.line(&format!("{text} of text, {each:.2} bytes a token; {shards} {files}, {}", size(bytes)))?;
    Ok(())
}

fn show_speed(output: &mut Output, packed: &Packed, seconds: f64) -> anyhow::Result<()> {
    let rate = packed.text_bytes as f64 / 1e6 / seconds.max(1e-9);
    let empty = if packed.empty > 0 { format!(", {} without a token left out", packed.empty) } else { String::new() };
    output.line(&output.faint(&format!("{rate:.1} MB/s, {}{empty}", duration(seconds))))?;
    Ok(())
}

pub fn info(args: &CorpusInfo, quiet: bool) -> anyhow::Result<()> {
    let split = Split::new(args.validation, args.seed)?;
    let corpus = Corpus::open(&args.corpus)?;
    let survey = stop::computing(|stop| {
        let mut progress = Progress::new(Unit::Bytes("checked".to_owned()), Some(corpus.shards().1), quiet);
        corpus.verify(&mut |done| {
            progress.at(done);
            !stop.load(SeqCst)
        })?;
        drop(progress);
        let mut progress = Progress::new(Unit::Things("documents"), Some(corpus.len()), quiet);
        let survey = Survey::of(&corpus, split, &mut |done| {
            progress.at(done);
            !stop.load(SeqCst)
        })?;
        Ok(survey)
    })?;
    let mut output = Output::new();
    if args.json {
        let mut value = about(&corpus);
        let lengths = json!({ "documents": survey.documents, "sentences": survey.sentences });
        value["lengths"] = lengths;
        value["validation"] = json!({
            "share": split.validation,
            "seed": split.seed,
            "documents": survey.validation,
            "tokens": survey.validation_tokens,
        });
        output.json(&value)?;
        return Ok(output.flush()?);
    }
    show_counts(&mut output, &corpus)?;
    let by = corpus.tokenizer();
    let class = by.class.as_deref().unwrap_or("a tokenizer without a class");
    output.line(&format!("{class} with {} ids of {} bytes; every checksum is right", by.size, corpus.id_bytes()))?;
    show_lengths(&mut output, "documents", &survey.documents)?;
    show_lengths(&mut output, "sentences", &survey.sentences)?;
    let (held, tokens) = (survey.validation, survey.validation_tokens);
    output.line(&format!("held out for validation at {}: {held} documents, {tokens} tokens", split.validation))?;
    Ok(output.flush()?)
}

fn show_lengths(output: &mut Output, name: &str, lengths: &Lengths) -> anyhow::Result<()> {
    let spread = &lengths.spread;
    output.line(&format!(
        "tokens of {name}: {} to {}, half of them at most {}, nineteen of twenty at most {}, on the average {:.1}",
        spread.least, spread.most, spread.median, spread.p95, spread.mean
    ))?;
    let most = lengths.histogram.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (upper, count) in &lengths.histogram {
        let cells = bar(*count as f32 / most as f32);
        output.line(&output.faint(&format!("{upper:>9}  {cells} {count}")))?;
    }
    Ok(())
}
