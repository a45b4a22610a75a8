//! `ptm fill-mask`: the likeliest words behind a mask.

use ptm_tasks::{FillMaskOptions, Filled, Guess};

use super::config::print_effective;
use super::many::{Many, TOGETHER, singled_out, unwrapped};
use crate::args::FillMask;
use crate::output::{Output, bar, one_line};
use crate::{hub, input};

pub fn run(args: &FillMask, quiet: bool) -> anyhow::Result<()> {
    let arguments = input::checked(&args.texts, quiet)?;
    let stream = args.keep.lines(&args.stream, !args.texts.is_empty(), "text")?;
    let model = match hub::model(&args.model, &args.stream.given, quiet)? {
        Some(dir) => ptm_tasks::FillMask::open(&dir)?,
        None => ptm_tasks::FillMask::embedded()?,
    };
    let options = FillMaskOptions {
        top_k: args.top_k.map(Into::into),
        targets: args.targets.clone(),
        batch_tokens: args.model.batch_tokens.map(Into::into),
        truncate: args.truncate,
        stop: None,
    };
    if args.keep.print_config {
        return print_effective(model.effective(&options)?, &args.stream.given, args.stream.json);
    }
    let many = Many {
        stream: &args.stream,
        keep: &args.keep,
        quiet,
        what: "text",
        together: TOGETHER,
        read: &|_, record| record.text(&args.key.key),
        answer: &|texts: &[String], stop, given| {
            let options = FillMaskOptions { stop: Some(stop), ..options.clone() };
            singled_out(texts, given, &mut |texts, put| {
                let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
                let filled = model.fill(&texts, &options, &mut |_| {})?;
                filled.into_iter().enumerate().try_for_each(|(place, filled)| put(place, filled))
            })
        },
        show: &|output, text: &String, filled| Ok(show(output, text, model.mask_token(), filled)?),
    };
    match stream {
        Some(stream) => many.lines(stream),
        None => many.arguments(&arguments.into_iter().map(str::to_owned).collect::<Vec<_>>(), &unwrapped),
    }
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
