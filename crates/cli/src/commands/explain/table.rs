//! An explained objective on a terminal: a line a token, with what it predicts and whom it sees.

use std::io;

use ptm_train::objectives::picture::{Picture, Sight};

use super::{Explained, Tokens};
use crate::output::Output;

/// Wider masks are left to the page and to JSON.
const WIDEST: usize = 64;
/// Longer tokens are cut.
const LONGEST: usize = 16;

/// Prints the objective's examples.
pub fn show(output: &mut Output, explained: &Explained, tokens: &Tokens) -> io::Result<()> {
    for (number, picture) in explained.pictures.iter().enumerate() {
        if number > 0 {
            output.line("")?;
        }
        let which = if explained.pictures.len() > 1 { format!(", example {}", number + 1) } else { String::new() };
        output.line(&format!("{}{which}", output.strong(&explained.name)))?;
        if !picture.note.is_empty() {
            output.line(&output.faint(&picture.note))?;
        }
        for row in 0..picture.rows.len() {
            if row > 0 {
                output.line("")?;
            }
            sequence(output, picture, row, tokens)?;
        }
    }
    Ok(())
}

fn sequence(output: &mut Output, picture: &Picture, number: usize, tokens: &Tokens) -> io::Result<()> {
    let row = &picture.rows[number];
    let n = row.ids.len();
    let names: Vec<String> = row.ids.iter().map(|&id| short(&tokens.name(id))).collect();
    let said = tokens.said(row);
    let has_loss = said.iter().any(Option::is_some);
    let said: Vec<String> = said.into_iter().map(|said| said.map_or_else(String::new, |said| short(&said))).collect();
    let wide = width(names.iter().map(String::as_str).chain([row.name]));
    let wide_said = width(said.iter().map(String::as_str).chain(["predicts"]));
    let sights: Vec<&Sight> = picture.sights.iter().filter(|sight| sight.row == number).collect();
    // a solid block says less than words
    let (all, sights): (Vec<&Sight>, Vec<&Sight>) = sights.into_iter().partition(|sight| super::sees_all(sight));
    let too_wide = n > WIDEST && !sights.is_empty();
    let sights = if too_wide { Vec::new() } else { sights };

    let mut head = vec!["    ".to_owned(), padded(row.name, wide)];
    let segments = Tokens::segments(row);
    if segments.is_some() {
        head.push("segment".to_owned());
    }
    if has_loss {
        head.push(format!("  {}", padded("predicts", wide_said)));
    }
    if !row.order.is_empty() {
        head.push("order".to_owned());
    }
    let wide_sight = |sight: &Sight| n.max(sight.name.chars().count());
    head.extend(sights.iter().map(|sight| padded(sight.name, wide_sight(sight))));
    output.line(&output.faint(head.join("  ").trim_end()))?;
    for place in 0..n {
        let token = padded(&names[place], wide);
        let token = match (row.corrupted[place], tokens.is_special(row.ids[place])) {
            (true, _) => output.changed(&token),
            (false, true) => output.faint(&token),
            (false, false) => token,
        };
        let mut line = vec![output.faint(&format!("{place:>4}")), token];
        if let Some(segments) = &segments {
            line.push(format!("{:<7}", segments[place]));
        }
        if has_loss {
            let arrow = if said[place].is_empty() { ' ' } else { '→' };
            line.push(format!("{arrow} {}", output.strong(&padded(&said[place], wide_said))));
        }
        if !row.order.is_empty() {
            line.push(format!("{:>5}", row.order[place].map_or_else(|| "first".to_owned(), |order| order.to_string())));
        }
        for sight in &sights {
            let seen = sight.asking.binary_search(&place).ok().map(|asking| &sight.visible[asking * n..][..n]);
            let cells: String = seen
                .map_or_else(String::new, |seen| seen.iter().map(|&visible| if visible { '█' } else { '·' }).collect());
            line.push(padded(&cells, wide_sight(sight)));
        }
        output.line(line.join("  ").trim_end())?;
    }
    for sight in all {
        output.line(&output.faint(&format!("      {}: all see all", sight.name)))?;
    }
    if too_wide {
        output.line(&output.faint("      who sees whom is too wide for a table: --html shows it, --json has it"))?;
    }
    Ok(())
}

fn short(token: &str) -> String {
    if token.chars().count() <= LONGEST {
        return token.to_owned();
    }
    token.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

fn padded(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tokens_are_cut() {
        assert_eq!(short("abcdefghijklmnop"), "abcdefghijklmnop");
        assert_eq!(short("abcdefghijklmnopq"), "abcdefghijklmno…");
        assert_eq!(padded("ä", 3), "ä  ");
    }
}
