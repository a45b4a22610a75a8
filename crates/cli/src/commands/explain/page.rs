//! Explained objectives on one page that needs nothing else: a picture each, side by side. Rows are tokens; beside them
//! stand what they predict and whom they see.

use std::fmt::Write;

use ptm_train::objectives::picture::{Picture, Sight};

use super::{Explained, Tokens, sees_all};

/// Pixels of a line, of a character, of a cell of a mask.
const LINE: usize = 18;
const CHARACTER: usize = 8;
const CELL: usize = 12;
const GAP: usize = 18;

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Pretraining objectives</title>
<style>
:root { color-scheme: light dark; --ink: #222; --faint: #888; --box: #eef1f4; --changed: #f6c177; --loss: #9fd8b4; --cell: #4c78a8; --blind: #e4e7ea; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --faint: #999; --box: #2a2f36; --changed: #8a5a1a; --loss: #256b45; --cell: #7aa6d8; --blind: #23272d; } }
body { font: 15px/1.5 sans-serif; margin: 2em; }
.all { display: flex; flex-wrap: wrap; gap: 2em; align-items: flex-start; }
figure { margin: 0; } figcaption { font-weight: bold; }
svg text { font: 12px monospace; fill: var(--ink); } svg .faint { fill: var(--faint); }
.box { fill: var(--box); } .changed { fill: var(--changed); } .loss { fill: var(--loss); } .cell { fill: var(--cell); } .blind { fill: var(--blind); }
.note { max-width: 32em; margin: .2em 0; font-size: 13px; color: var(--faint); }
.key { display: inline-block; width: 1em; height: 1em; vertical-align: -2px; margin: 0 .3em 0 1em; }
</style>
</head>
<body>
<h1>Pretraining objectives</h1>
";

const LEGEND: &str = "<p><span class=\"key\" style=\"background:var(--box)\"></span>read as it is\
<span class=\"key\" style=\"background:var(--changed)\"></span>changed\
<span class=\"key\" style=\"background:var(--loss)\"></span>predicted: a loss\
<span class=\"key\" style=\"background:var(--cell)\"></span>seen\
<span class=\"key\" style=\"background:var(--blind)\"></span>not seen</p>
";

/// The page.
pub fn page(texts: &[String], seed: u64, all: &[Explained], tokens: &Tokens) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("<blockquote>{}</blockquote>\n", escape(text))).collect();
    let texts = texts.concat();
    let mut page = format!("{HEAD}{texts}<p>Seed {seed}.</p>\n{LEGEND}<div class=\"all\">\n");
    for one in all {
        for (number, picture) in one.pictures.iter().enumerate() {
            let which = if one.pictures.len() > 1 { format!(", example {}", number + 1) } else { String::new() };
            let caption = escape(&one.name);
            let note = match &picture.note[..] {
                "" => String::new(),
                note => format!("<p class=\"note\">{}</p>\n", escape(note)),
            };
            let drawn = drawn(picture, tokens);
            let _ = writeln!(page, "<figure><figcaption>{caption}{which}</figcaption>\n{note}{drawn}</figure>");
        }
    }
    page.push_str("</div>\n</body>\n</html>\n");
    page
}

/// One example: its sequences one under the other.
fn drawn(picture: &Picture, tokens: &Tokens) -> String {
    let mut body = String::new();
    let (mut top, mut widest) = (0, 0);
    for (number, row) in picture.rows.iter().enumerate() {
        let names: Vec<String> = row.ids.iter().map(|&id| tokens.name(id)).collect();
        let said = tokens.said(row);
        let wide = |texts: &mut dyn Iterator<Item = usize>| (texts.max().unwrap_or(0) + 2) * CHARACTER;
        let left = 4 * CHARACTER;
        let reads = wide(&mut names.iter().map(|name| name.chars().count()).chain([row.name.len()]));
        let says = wide(&mut said.iter().flatten().map(|name| name.chars().count()).chain(["predicts".len()]));
        let mut right = left + reads + GAP;
        label(&mut body, left, top, row.name);
        if let Some(segments) = Tokens::segments(row) {
            label(&mut body, right, top, "segment");
            for (place, letter) in segments.iter().enumerate() {
                let _ = writeln!(body, "<text x=\"{right}\" y=\"{}\">{letter}</text>", top + (place + 1) * LINE + 13);
            }
            right += "segment".len() * CHARACTER + GAP;
        }
        let has_loss = said.iter().any(Option::is_some);
        if has_loss {
            label(&mut body, right, top, "predicts");
        }
        for (place, name) in names.iter().enumerate() {
            let y = top + (place + 1) * LINE;
            let _ = writeln!(body, "<text class=\"faint\" x=\"0\" y=\"{}\">{place}</text>", y + 13);
            token(&mut body, left, y, reads, if row.corrupted[place] { "changed" } else { "box" }, name);
            if let Some(said) = &said[place] {
                token(&mut body, right, y, says, "loss", said);
            }
        }
        if has_loss {
            right += says + GAP;
        }
        if !row.order.is_empty() {
            label(&mut body, right, top, "order");
            for (place, order) in row.order.iter().enumerate() {
                let order = order.map_or_else(|| "first".to_owned(), |order| order.to_string());
                let _ = writeln!(body, "<text x=\"{right}\" y=\"{}\">{order}</text>", top + (place + 1) * LINE + 13);
            }
            right += 6 * CHARACTER + GAP;
        }
        for sight in picture.sights.iter().filter(|sight| sight.row == number) {
            if sees_all(sight) {
                let said = format!("{}: all see all", sight.name);
                label(&mut body, right, top, &said);
                right += said.len() * CHARACTER + GAP;
                continue;
            }
            label(&mut body, right, top, sight.name);
            mask(&mut body, right, top, sight, row.ids.len());
            right += (row.ids.len() * CELL).max(sight.name.len() * CHARACTER) + GAP;
        }
        widest = widest.max(right);
        top += (row.ids.len() + 2) * LINE;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{widest}\" height=\"{top}\" role=\"img\">\n{body}</svg>\n"
    )
}

fn label(body: &mut String, x: usize, top: usize, text: &str) {
    let _ = writeln!(body, "<text class=\"faint\" x=\"{x}\" y=\"{}\">{}</text>", top + 13, escape(text));
}

fn token(body: &mut String, x: usize, y: usize, width: usize, class: &str, text: &str) {
    let height = LINE - 2;
    let _ =
        writeln!(body, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"3\"/>");
    let _ = writeln!(body, "<text x=\"{}\" y=\"{}\">{}</text>", x + CHARACTER, y + 13, escape(text));
}

/// Stretches of the same kind are one rectangle.
fn mask(body: &mut String, x: usize, top: usize, sight: &Sight, n: usize) {
    for (&place, seen) in sight.asking.iter().zip(sight.visible.chunks(n.max(1))) {
        let y = top + (place + 1) * LINE + 1;
        let mut start = 0;
        for run in seen.chunk_by(|a, b| a == b) {
            let class = if run[0] { "cell" } else { "blind" };
            let (from, width) = (x + start * CELL, run.len() * CELL - 1);
            let _ = writeln!(
                body,
                "<rect class=\"{class}\" x=\"{from}\" y=\"{y}\" width=\"{width}\" height=\"{}\"/>",
                LINE - 4
            );
            start += run.len();
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_a_mask_are_one_rectangle() {
        let sight = Sight { name: "attention", row: 0, asking: vec![1], visible: vec![true, true, false] };
        let mut body = String::new();
        mask(&mut body, 100, 0, &sight, 3);
        let lines: Vec<&str> = body.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("class=\"cell\" x=\"100\"") && lines[0].contains("width=\"23\""), "{body}");
        assert!(lines[1].contains("class=\"blind\" x=\"124\"") && lines[1].contains("width=\"11\""), "{body}");
    }

    #[test]
    fn tokens_are_no_markup() {
        let mut body = String::new();
        token(&mut body, 0, 0, 9, "box", "<extra_id_0>");
        assert!(body.contains(">&lt;extra_id_0&gt;<"), "{body}");
    }
}
