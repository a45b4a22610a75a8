//! Plots of a report as SVG, written by hand: three simple pictures need no library. Colours work on light and dark
//! pages, and every number that is drawn is there as text.

use std::fmt::Write;

use super::{LabelRow, Lengths};

/// More labels than that are no picture.
const MOST_LABELS: usize = 30;

/// Text that is safe between tags and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // XML has no way to write the others
            c if c.is_control() && !matches!(c, '\n' | '\t') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

fn short(text: &str) -> String {
    const LONGEST: usize = 16;
    if text.chars().count() <= LONGEST {
        return escape(text);
    }
    escape(&text.chars().take(LONGEST - 1).chain(['…']).collect::<String>())
}

fn open(width: usize, height: usize, title: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" font-family=\"sans-serif\" font-size=\"12\"><title>{title}</title>\n"
    )
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#808080\">{content}</text>");
}

/// What was taken for what: rows are gold, columns predictions, colour the share of the row. None for too many labels.
pub fn confusion_matrix(labels: &[LabelRow], counts: &[Vec<u64>]) -> Option<String> {
    let n = labels.len();
    if n == 0 || n > MOST_LABELS || counts.len() != n {
        return None;
    }
    let cell = if n <= 12 { 44 } else { 26 };
    let (left, top) = (130, 130);
    let mut out = open(left + n * cell + 20, top + n * cell + 20, "Confusion: gold in rows, predictions in columns");
    for (i, label) in labels.iter().enumerate() {
        let middle = (i * cell + cell / 2) as f64;
        text(&mut out, left as f64 - 8.0, top as f64 + middle + 4.0, "end", &short(&label.label));
        let (x, y) = (left as f64 + middle + 4.0, top as f64 - 8.0);
        let _ = writeln!(
            out,
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-60)\" fill=\"#808080\">{}</text>",
            short(&label.label)
        );
    }
    for (gold, row) in counts.iter().enumerate() {
        let total: u64 = row.iter().sum();
        for (predicted, &count) in row.iter().enumerate() {
            let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
            let (x, y) = (left + predicted * cell, top + gold * cell);
            let colour = if gold == predicted { "#2a7de1" } else { "#e1562a" };
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{cell}\" height=\"{cell}\" fill=\"{colour}\" fill-opacity=\"{share:.3}\" \
                 stroke=\"#808080\" stroke-opacity=\"0.3\"/>"
            );
            if count > 0 {
                let size = if n <= 12 { 12 } else { 9 };
                let (x, y) = (x + cell / 2, y + cell / 2 + 4);
                let _ = writeln!(
                    out,
                    "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"{size}\" fill=\"#808080\" \
                     paint-order=\"stroke\" stroke=\"#ffffff\" stroke-width=\"2\">{count}</text>"
                );
            }
        }
    }
    text(&mut out, left as f64 - 8.0, 14.0, "end", "gold ↓  predicted →");
    out.push_str("</svg>\n");
    Some(out)
}

/// Confidence against accuracy: bars on the diagonal mean that confidence can be believed. `bins` are count, mean
/// confidence and accuracy.
pub fn reliability_curve(bins: &[(u64, f64, f64)]) -> String {
    let (left, top, size) = (50.0, 14.0, 300.0);
    let mut out = open(370, 370, "Reliability: accuracy by confidence");
    axes(&mut out, left, top, size, size);
    let _ = writeln!(
        out,
        "<line x1=\"{left}\" y1=\"{}\" x2=\"{}\" y2=\"{top}\" stroke=\"#808080\" stroke-dasharray=\"4 4\"/>",
        top + size,
        left + size
    );
    let width = size / bins.len().max(1) as f64;
    let most = bins.iter().map(|bin| bin.0).max().unwrap_or(0).max(1);
    let mut path = String::new();
    for (i, &(count, confidence, accuracy)) in bins.iter().enumerate().filter(|(_, bin)| bin.0 > 0) {
        let (x, y) = (left + i as f64 * width, top + size * (1.0 - accuracy));
        let opacity = 0.25 + 0.6 * count as f64 / most as f64;
        let _ = writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#2a7de1\" fill-opacity=\"{opacity:.2}\">\
             <title>{count} predictions, confidence {confidence:.3}, accuracy {accuracy:.3}</title></rect>",
            width - 1.0,
            size * accuracy
        );
        let _ = write!(path, "{:.1},{y:.1} ", left + size * confidence);
    }
    let _ =
        writeln!(out, "<polyline points=\"{}\" fill=\"none\" stroke=\"#e1562a\" stroke-width=\"2\"/>", path.trim_end());
    text(&mut out, left + size / 2.0, top + size + 34.0, "middle", "confidence");
    text(&mut out, left, top - 3.0, "start", "accuracy");
    out.push_str("</svg>\n");
    out
}

/// The mean score by length.
pub fn bars(groups: &[Lengths]) -> String {
    let (left, top, width, height) = (50.0, 20.0, 420.0, 200.0);
    let mut out = open(490, 280, "Score by length in tokens");
    axes(&mut out, left, top, width, height);
    let step = width / groups.len().max(1) as f64;
    for (i, group) in groups.iter().enumerate() {
        let (x, y) = (left + i as f64 * step, top + height * (1.0 - group.score));
        let _ = writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#2a7de1\" fill-opacity=\"0.7\"/>",
            x + 4.0,
            step - 8.0,
            height * group.score
        );
        let middle = x + step / 2.0;
        text(&mut out, middle, y - 3.0, "middle", &format!("{:.3}", group.score));
        let range =
            if group.from == group.to { group.to.to_string() } else { format!("{}–{}", group.from, group.to) };
        text(&mut out, middle, top + height + 16.0, "middle", &range);
        text(&mut out, middle, top + height + 32.0, "middle", &format!("n {}", group.rows));
    }
    text(&mut out, left + width / 2.0, top + height + 52.0, "middle", "tokens");
    out.push_str("</svg>\n");
    out
}

/// A frame with marks from 0 to 1.
fn axes(out: &mut String, left: f64, top: f64, width: f64, height: f64) {
    let _ = writeln!(
        out,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#808080\"/>"
    );
    for mark in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let y = top + height * (1.0 - mark);
        let _ = writeln!(
            out,
            "<line x1=\"{left}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"#808080\" stroke-opacity=\"0.25\"/>",
            left + width
        );
        text(out, left - 6.0, y + 4.0, "end", &format!("{mark:.2}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        let label = |label: &str| LabelRow { label: label.into(), precision: 0.0, recall: 0.0, f1: 0.0, support: 0 };
        let labels = [label("<script>\"&"), label("a\0b")];
        let svg = confusion_matrix(&labels, &[vec![1, 2], vec![0, 0]]).unwrap();
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;&quot;&amp;") && !svg.contains('\0'));
        assert!(confusion_matrix(&vec![label("x"); 40], &vec![vec![0; 40]; 40]).is_none());
        assert!(confusion_matrix(&[], &[]).is_none());
    }

    #[test]
    fn pictures_are_closed_and_hold_their_numbers() {
        let svg = reliability_curve(&[(0, 0.0, 0.0), (3, 0.7, 0.5)]);
        assert!(svg.ends_with("</svg>\n") && svg.contains("accuracy 0.500") && !svg.contains("NaN"));
        let svg = bars(&[Lengths { from: 1, to: 4, rows: 7, score: 0.25 }]);
        assert!(svg.contains("1–4") && svg.contains("n 7") && svg.contains("0.250"));
        assert!(!bars(&[]).contains("NaN"));
    }
}
