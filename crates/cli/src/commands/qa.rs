//! `ptm qa`: answers found in a context, shown where they stand.

use std::path::Path;

use anyhow::Context;
use ptm_tasks::{FoundAnswers, Question, QuestionAnswering, QuestionAnsweringOptions};

use super::config::print_effective;
use super::many::{Many, TOGETHER, unwrapped};
use crate::args::{Qa, apart};
use crate::failure::hinted;
use crate::hub;
use crate::output::{Output, bar, one_line};

/// A question and its context.
type Asked = (String, String);

/// A longer context is not read into memory.
const LONGEST: u64 = 256 << 20;

pub fn run(args: &Qa, quiet: bool) -> anyhow::Result<()> {
    let asked = asked(args)?;
    let what = "question";
    let stream = args.keep.pairs(&args.stream, !args.question.is_empty(), what)?;
    if let (Some(output), Some(context)) = (&args.keep.output, &args.context_file) {
        apart(output, std::slice::from_ref(context))?;
    }
    let example = "distilbert/distilbert-base-cased-distilled-squad";
    let finder = QuestionAnswering::open(&hub::needed(&args.model, &args.stream.given, "qa", example, quiet)?)?;
    let options = QuestionAnsweringOptions {
        top_k: args.top_k.map(Into::into),
        doc_stride: args.doc_stride,
        max_answer_len: args.max_answer_len.map(Into::into),
        max_seq_len: args.max_seq_len.map(Into::into),
        max_question_len: args.max_question_len.map(Into::into),
        handle_impossible_answer: args.handle_impossible_answer.then_some(true),
        align_to_words: args.align_to_words,
        batch_tokens: args.model.batch_tokens.map(Into::into),
        stop: None,
    };
    if args.keep.print_config {
        return print_effective(finder.effective(&options)?, &args.stream.given, args.stream.json);
    }
    let many = Many {
        stream: &args.stream,
        keep: &args.keep,
        quiet,
        what,
        together: TOGETHER,
        read: &|_, record| record.two("question", "context"),
        answer: &|asked: &[Asked], stop, given| {
            let asked: Vec<Question<'_>> =
                asked.iter().map(|(question, context)| Question { question, context }).collect();
            let answers = finder.answer(
                &asked,
                &QuestionAnsweringOptions { stop: Some(stop), ..options.clone() },
                &mut |done| given.computed(done),
            )?;
            given.all(answers)
        },
        show: &show,
    };
    match stream {
        Some(stream) => many.lines(stream),
        None => many.arguments(&asked, &unwrapped),
    }
}

/// The questions of the arguments with their context.
fn asked(args: &Qa) -> anyhow::Result<Vec<Asked>> {
    if args.question.is_empty() {
        return Ok(Vec::new());
    }
    let context = match (&args.context, &args.context_file) {
        (Some(context), _) => context.clone(),
        (None, Some(file)) => whole(file)?,
        (None, None) => {
            return Err(hinted(
                "there is no context to find the answer in",
                "give it with --context or --context-file",
            ));
        }
    };
    if context.trim().is_empty() || args.question.iter().any(|question| question.trim().is_empty()) {
        return Err(hinted("a question or the context is empty", "give both some words"));
    }
    Ok(args.question.iter().map(|question| (question.clone(), context.clone())).collect())
}

fn whole(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let metadata = file.metadata().with_context(|| format!("{shown}: cannot open the file"))?;
    if !metadata.is_file() {
        return Err(hinted(format!("{shown}: this is no regular file"), "name a file of text"));
    }
    if metadata.len() > LONGEST {
        return Err(hinted(format!("{shown}: this has more than {} MB", LONGEST >> 20), "give the text in parts"));
    }
    let bytes = std::fs::read(file).with_context(|| format!("{shown}: cannot read the file"))?;
    String::from_utf8(bytes).map_err(|error| {
        hinted(
            format!("{shown}: not UTF-8 at byte {}", error.utf8_error().valid_up_to() + 1),
            "convert the file first, for instance with iconv -f LATIN1 -t UTF-8",
        )
    })
}

/// Each answer with some of the context around it.
fn show(output: &mut Output, (question, context): &Asked, answers: &FoundAnswers) -> anyhow::Result<()> {
    let head = output.faint(&one_line(question, 100));
    output.line(&head)?;
    if answers.all().is_empty() {
        output.line("no answer")?;
    }
    for answer in answers.all() {
        let cells = output.faint(&bar(answer.score));
        let text = if answer.answer.is_empty() {
            output.faint("no answer")
        } else {
            const AROUND: usize = 40;
            let from = answer.start.saturating_sub(AROUND);
            let before: String = context.chars().skip(from).take(answer.start - from).collect();
            let after: String = context.chars().skip(answer.end).take(AROUND).collect();
            let blank = |yes: bool| if yes { " " } else { "" };
            let spaces = (blank(before.ends_with(char::is_whitespace)), blank(after.starts_with(char::is_whitespace)));
            let left = if from > 0 { "…" } else { "" };
            let right = if after.chars().count() == AROUND { "…" } else { "" };
            let found = output.strong(&one_line(&answer.answer, 200));
            format!(
                "{left}{}{}{found}{}{}{right}",
                one_line(&before, AROUND),
                spaces.0,
                spaces.1,
                one_line(&after, AROUND)
            )
        };
        output.line(&format!("{:>7.4} {cells} {text}", answer.score))?;
    }
    Ok(())
}
