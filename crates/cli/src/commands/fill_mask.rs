//! `ptm fill-mask`: the likeliest words behind a mask.

use ptm_tasks::{FillMaskOptions, Filled, Guess};

use crate::args::FillMask;
use crate::failure::{Stopped, hinted};
use crate::input::{self, Stream};
use crate::output::{Output, bar, one_line};
use crate::progress::{Progress, Unit};
use crate::{hub, stop};

pub fn run(args: &FillMask, quiet: bool) -> anyhow::Result<()> {
    let Some(wanted) = &args.model.model else {
        return Err(hinted(
            "no model for fill-mask is built in",
            "name one with --model (or PTM_MODEL): a directory with config.json, weights and tokenizer, or an id of the \
             hub such as distilbert/distilroberta-base",
        ));
    };
    let arguments = input::checked(&args.texts)?;
    let mut stream = match (args.texts.is_empty(), args.stream.file.is_empty()) {
        (false, _) => None,
        (true, true) => Some(Stream::stdin("text")?),
        (true, false) => Some(Stream::files(&args.stream.file)),
    };
    let dir = hub::resolve(wanted, args.model.revision.as_deref(), quiet)?;
    let model = ptm_tasks::FillMask::open(&dir)?;
    let options = FillMaskOptions {
        top_k: args.top_k.map(Into::into),
        targets: args.targets.as_ref().map(|words| words.iter().map(|word| word.trim().to_owned()).collect()),
        batch_tokens: args.model.batch_tokens.map(Into::into),
        truncate: args.truncate,
        stop: None,
    };
    let mut output = Output::new();
    let Some(stream) = &mut stream else {
        let filled = fill(&model, &arguments, &options, quiet)?;
        if !args.stream.json {
            for (text, filled) in arguments.iter().zip(&filled) {
                show(&mut output, text, model.mask_token(), filled)?;
            }
        } else if let [only] = &filled[..] {
            output.json(only)?;
        } else {
            output.json(&filled)?;
        }
        return Ok(output.flush()?);
    };
    let mut any = false;
    while let Some(piece) = stream.piece()? {
        any = true;
        let texts =
            piece.into_iter().map(|record| record.text(&args.stream.key)).collect::<anyhow::Result<Vec<_>>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (text, filled) in texts.iter().zip(&fill(&model, &texts, &options, true)?) {
            if args.stream.json {
                output.json(filled)?;
            } else {
                show(&mut output, text, model.mask_token(), filled)?;
            }
        }
        output.flush()?;
    }
    if any { Ok(()) } else { Err(input::nothing("text")) }
}

fn fill(
    model: &ptm_tasks::FillMask,
    texts: &[&str],
    options: &FillMaskOptions<'_>,
    quiet: bool,
) -> anyhow::Result<Vec<Filled>> {
    let mut progress = Progress::new(Unit::Things("texts"), Some(texts.len() as u64), quiet);
    stop::computing(|stop| {
        let options = FillMaskOptions { stop: Some(stop), ..options.clone() };
        model.fill(texts, &options, &mut |done| progress.at(done as u64)).map_err(|error| match error {
            ptm_tasks::Error::Stopped => Stopped.into(),
            other => other.into(),
        })
    })
}

/// The guesses with their scores, each in its sentence.
fn show(output: &mut Output, text: &str, mask: &str, filled: &Filled) -> std::io::Result<()> {
    let lists: Vec<&Vec<Guess>> = match filled {
        Filled::One(guesses) => vec![guesses],
        Filled::Several(lists) => lists.iter().collect(),
    };
    for (place, guesses) in lists.into_iter().enumerate() {
        let width = guesses.iter().map(|guess| word(guess).chars().count()).max().unwrap_or(0);
        for guess in guesses {
            let word = word(guess);
            let pad = " ".repeat(width - word.chars().count());
            let cells = output.faint(&bar(guess.score));
            let strong = output.strong(&word);
            let sentence = filled_in(text, mask, place, &strong);
            output.line(&format!("{:>7.4} {cells} {strong}{pad}  {sentence}", guess.score))?;
        }
    }
    Ok(())
}

fn word(guess: &Guess) -> String {
    one_line(&guess.token_str, 40)
}

/// The text with `word` in place of the mask number `place`; around it, so much as fits a line.
fn filled_in(text: &str, mask: &str, place: usize, word: &str) -> String {
    let Some((at, _)) = text.match_indices(mask).nth(place) else { return one_line(text, 80) };
    let (before, after) = (&text[..at], &text[at + mask.len()..]);
    let kept: Vec<char> = before.chars().rev().take(60).collect();
    let cut = if kept.len() < before.chars().count() { "…" } else { "" };
    // the blanks next to the word are the text's own
    let (left, right): (String, _) = (kept.into_iter().rev().collect(), one_line(after, 60));
    let blank = |yes: bool| if yes { " " } else { "" };
    let (b, a) = (before.ends_with(char::is_whitespace), after.starts_with(char::is_whitespace));
    format!("{cut}{}{}{word}{}{right}", one_line(&left, 60), blank(b), blank(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guess_stands_where_the_mask_was() {
        assert_eq!(filled_in("a [MASK] c.", "[MASK]", 0, "b"), "a b c.");
        assert_eq!(filled_in("[MASK], [MASK]!", "[MASK]", 1, "x"), "[MASK], x!");
        assert_eq!(filled_in("<mask>", "<mask>", 0, "é"), "é");
        assert_eq!(filled_in("no mask", "<mask>", 0, "é"), "no mask");
        let long = format!("{}<mask>.", "ü ".repeat(100));
        let shown = filled_in(&long, "<mask>", 0, "x");
        assert!(shown.starts_with('…') && shown.ends_with("ü x."), "{shown}");
    }
}
