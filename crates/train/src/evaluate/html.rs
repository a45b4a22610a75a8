//! A report as one page that needs no other file: tables, plots, errors.

use std::fmt::Write;

use super::svg::{bars, confusion_matrix, escape, reliability_curve};
use super::{Comparison, Report};

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color-scheme:light dark}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #8884;text-align:left;\
vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}figure{margin:1em 0;overflow-x:auto}";

/// Two models' names and their differences, the second less the first.
pub type Compared<'a> = Option<(&'a str, &'a str, &'a [Comparison])>;

/// A report with its plots. `title` names model and data.
pub fn page(title: &str, report: &Report, compared: Compared<'_>) -> String {
    let mut out = head(title);
    let _ = writeln!(out, "<p>{}, {} rows, {} not entirely right.</p>", escape(report.task), report.rows, report.wrong);
    out.push_str("<table><tr><th>metric<th class=n>value<th class=n>interval</tr>\n");
    for figure in &report.metrics {
        let value = figure.value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.4}"));
        let interval = match (figure.low, figure.high) {
            (Some(low), Some(high)) => format!("{low:.4} – {high:.4}"),
            _ => String::new(),
        };
        let _ = writeln!(out, "<tr><td>{}<td class=n>{value}<td class=n>{interval}</tr>", figure.name);
    }
    out.push_str("</table>\n");
    if let Some((first, second, rows)) = compared {
        comparison(&mut out, first, second, rows);
    }
    if !report.labels.is_empty() {
        out.push_str(
            "<h2>Labels</h2><table><tr><th>label<th class=n>precision<th class=n>recall<th class=n>F1<th class=n>rows</tr>\n",
        );
        for row in &report.labels {
            let _ = writeln!(
                out,
                "<tr><td>{}<td class=n>{:.4}<td class=n>{:.4}<td class=n>{:.4}<td class=n>{}</tr>",
                escape(&row.label),
                row.precision,
                row.recall,
                row.f1,
                row.support
            );
        }
        out.push_str("</table>\n");
    }
    for (name, svg) in pictures(report) {
        let title = match name {
            "confusion" => "Confusion",
            "reliability" => "Reliability",
            _ => "Score by length",
        };
        let _ = writeln!(out, "<h2>{title}</h2><figure>{svg}</figure>");
    }
    if !report.errors.is_empty() {
        out.push_str("<h2>Errors, the worst first</h2><table><tr><th class=n>row<th>text<th>gold<th>predicted</tr>\n");
        for error in &report.errors {
            let _ = writeln!(
                out,
                "<tr><td class=n>{}<td>{}<td>{}<td>{}</tr>",
                error.row,
                escape(&error.text),
                escape(&error.gold),
                escape(&error.predicted)
            );
        }
        out.push_str("</table>\n");
    }
    out.push_str("</html>\n");
    out
}

/// The plots of a report as SVG with their names: `confusion`, `reliability`, `lengths`, as far as there are such.
pub fn pictures(report: &Report) -> Vec<(&'static str, String)> {
    let confusion = report.confusion.as_ref().and_then(|counts| confusion_matrix(&report.labels, counts));
    let reliability = report.calibration.as_ref().map(|bins| reliability_curve(bins));
    let lengths = (!report.lengths.is_empty()).then(|| bars(&report.lengths));
    let all = [("confusion", confusion), ("reliability", reliability), ("lengths", lengths)];
    all.into_iter().filter_map(|(name, svg)| Some((name, svg?))).collect()
}

fn comparison(out: &mut String, first: &str, second: &str, rows: &[Comparison]) {
    let _ = writeln!(
        out,
        "<h2>Compared</h2><table><tr><th>metric<th class=n>{}<th class=n>{}<th class=n>difference<th class=n>interval\
         <th class=n>p</tr>",
        escape(first),
        escape(second)
    );
    for row in rows {
        let _ = writeln!(
            out,
            "<tr><td>{}<td class=n>{:.4}<td class=n>{:.4}<td class=n>{:+.4}<td class=n>{:+.4} – {:+.4}<td class=n>{:.4}</tr>",
            row.name, row.first, row.second, row.difference, row.low, row.high, row.p
        );
    }
    out.push_str("</table>\n");
}

/// A page of this look around other content.
pub(crate) fn page_of(title: &str, body: &str) -> String {
    format!("{}{body}</html>\n", head(title))
}

fn head(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style>\n<h1>{title}</h1>\n"
    )
}
