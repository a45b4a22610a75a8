//! `report.html`: a run on one page that needs nothing else — curves, results, the recipe, the environment.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use ptm_models::files::write_atomic;
use serde_json::Value;

use crate::checkpoint::State;
use crate::environment;
use crate::error::Result;
use crate::journal;

/// One curve: steps and values.
pub(crate) type Curve = Vec<(f64, f64)>;

/// Points of a curve at most; of longer ones neighbours are joined to their mean.
const POINTS: usize = 400;

/// Writes the report of the run in `dir` from its journal; `data` says what it learns from.
///
/// # Errors
/// When the journal can't be read or the report can't be written.
pub fn write(dir: &Path, state: &State, recipe: &str, data: &[(String, String)]) -> Result<PathBuf> {
    let lines = journal::lines(&dir.join(journal::LOG))?;
    let path = dir.join("report.html");
    write_atomic(&path, page(&lines, state, recipe, data).as_bytes())?;
    Ok(path)
}

fn page(lines: &[Value], state: &State, recipe: &str, data: &[(String, String)]) -> String {
    let mut body = String::new();
    let unfinished = if state.finished { "" } else { ", not finished" };
    let mut facts = vec![
        ("Steps".to_owned(), format!("{}{unfinished}", state.step)),
        ("Epochs".into(), format!("{:.2}", state.epochs)),
        ("Tokens".into(), state.tokens.to_string()),
        ("Time".into(), format!("{:.0} s", state.seconds)),
    ];
    if let Some(best) = &state.best {
        facts.push(("Best".into(), format!("{} {:.4} after step {}", best.metric, best.value, best.step)));
    }
    let last = lines.iter().rev().find_map(|line| line.get("eval")?.as_object());
    facts.extend(last.into_iter().flatten().map(|(name, value)| (format!("Last {name}"), number(value))));
    table(&mut body, "Results", &facts);
    body.push_str("<h2>Curves</h2>\n<div class=\"curves\">\n");
    for name in names(lines, Some) {
        // a loss that is judged too is drawn with it
        let judged = curve(lines, |line| line.get("eval")?.get(&name));
        let training = curve(lines, |line| line.get(&name));
        plot(&mut body, &name, &[("training", training), ("validation", judged)], &step);
    }
    for name in names(lines, |line| line.get("eval")) {
        if lines.iter().all(|line| line.get(&name).is_none()) {
            plot(&mut body, &name, &[("validation", curve(lines, |line| line.get("eval")?.get(&name)))], &step);
        }
    }
    body.push_str("</div>\n");
    let _ = writeln!(body, "<h2>Recipe</h2>\n<pre>{}</pre>", escape(recipe));
    if !data.is_empty() {
        table(&mut body, "Data", data);
    }
    table(&mut body, "Environment", &environment::facts());
    document("Training report", &body)
}

fn step(value: f64) -> String {
    format!("step {value:.0}")
}

const STYLE: &str = ":root { color-scheme: light dark; }
body { font: 15px/1.5 sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; }
td { padding: 0 1.5em 0 0; } pre { overflow-x: auto; font-size: 13px; }
.curves { display: flex; flex-wrap: wrap; gap: 1em; } svg { max-width: 100%; }";

/// A page that needs no other file.
pub(crate) fn document(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

pub(crate) fn table(out: &mut String, title: &str, rows: &[(String, String)]) {
    let _ = writeln!(out, "<h2>{title}</h2>\n<table>");
    for (name, value) in rows {
        let _ = writeln!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
    }
    out.push_str("</table>\n");
}

fn number(value: &Value) -> String {
    value.as_f64().map_or_else(|| "no number".to_owned(), |value| format!("{value:.4}"))
}

/// Text that is safe between tags.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The names of numbers in the journal that make curves, in the order in which they come.
fn names<'a>(lines: &'a [Value], part: impl Fn(&'a Value) -> Option<&'a Value>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for object in lines.iter().filter_map(|line| part(line)?.as_object()) {
        for (name, value) in object {
            if value.is_f64() && !["epoch", "step"].contains(&name.as_str()) && !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

fn curve<'a>(lines: &'a [Value], part: impl Fn(&'a Value) -> Option<&'a Value>) -> Curve {
    let points = lines.iter().filter_map(|line| Some((line.get("step")?.as_f64()?, part(line)?.as_f64()?)));
    let points: Curve = points.collect();
    let mean = |some: &[(f64, f64)]| {
        let count = some.len() as f64;
        (some.iter().map(|p| p.0).sum::<f64>() / count, some.iter().map(|p| p.1).sum::<f64>() / count)
    };
    points.chunks(points.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

/// A plot of up to three curves, as SVG, whose ends on the axis are called `at`; nothing where there is nothing to draw.
pub(crate) fn plot(out: &mut String, title: &str, curves: &[(&str, Curve)], at: &dyn Fn(f64) -> String) {
    const COLOURS: [&str; 3] = ["#3b82f6", "#f59e0b", "#10b981"];
    const SIZE: [f64; 2] = [460.0, 240.0];
    // room for numbers at the left and below
    const FROM: [f64; 2] = [64.0, 30.0];
    const TO: [f64; 2] = [450.0, 210.0];
    let all = || curves.iter().flat_map(|(_, curve)| curve);
    if all().count() == 0 {
        return;
    }
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let (low, high) =
            all().map(pick).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if high > low { (low, high) } else { (low - 0.5, high + 0.5) }
    };
    let ((x0, x1), (y0, y1)) = (range(|p| p.0), range(|p| p.1));
    let place = |&(x, y): &(f64, f64)| {
        let x = FROM[0] + (x - x0) / (x1 - x0) * (TO[0] - FROM[0]);
        (x, TO[1] - (y - y0) / (y1 - y0) * (TO[1] - FROM[1]))
    };
    let [width, height] = SIZE;
    let title = escape(title);
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"#808080\"><title>{title}</title>\n\
         <text x=\"{}\" y=\"18\" font-size=\"13\">{title}</text>",
        FROM[0]
    );
    for share in [0.0, 0.5, 1.0] {
        let value = y0 + share * (y1 - y0);
        let y = TO[1] - share * (TO[1] - FROM[1]);
        let _ = writeln!(
            out,
            "<line x1=\"{}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#808080\" stroke-opacity=\"0.3\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            FROM[0],
            TO[0],
            FROM[0] - 6.0,
            y + 4.0,
            short(value)
        );
    }
    for (x, anchor, value) in [(FROM[0], "start", x0), (TO[0], "end", x1)] {
        let _ = writeln!(out, "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>", TO[1] + 18.0, at(value));
    }
    let drawn = curves.iter().zip(COLOURS).filter(|((_, curve), _)| !curve.is_empty());
    for (number, ((name, curve), colour)) in drawn.enumerate() {
        let points: Vec<String> = curve.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let _ = writeln!(out, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>");
        for (x, y) in curve.iter().map(place).filter(|_| curve.len() < 30) {
            let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{colour}\"/>");
        }
        let x = TO[0] - 90.0 * number as f64;
        let _ = writeln!(out, "<text x=\"{x}\" y=\"18\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>");
    }
    out.push_str("</svg>\n");
}

/// A number of about four figures.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn curves_are_drawn_and_text_is_safe() {
        let lines: Vec<Value> = (1..=900)
            .map(|step| json!({"step": step, "epoch": 0.1, "loss": 1.0 / f64::from(step), "lr": 1e-5}))
            .chain([json!({"step": 900, "epoch": 1.0, "eval": {"accuracy": 0.5, "loss": 0.25}, "best": true})])
            .collect();
        let page = page(
            &lines,
            &State { step: 900, ..State::default() },
            "output = \"<script>\"",
            &[("Training".into(), "<3 rows".into())],
        );
        assert!(page.contains("900, not finished") && page.contains("Training</td><td>&lt;3 rows"));
        assert!(page.contains("Instructions</td>") && page.contains("Threads</td>") && page.contains("UTC</td>"));
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
        assert_eq!(page.matches("<svg").count(), 3, "loss, lr and accuracy");
        assert_eq!(page.matches("<polyline").count(), 4, "two losses");
        assert!(page.contains("Last accuracy</td><td>0.5000"));
        assert!(!page.contains("NaN") && !page.contains("inf"));
        assert!(curve(&lines, |line| line.get("loss")).len() <= POINTS);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.00001, 0.5, 123.4, 1e6].map(short), ["0", "1.0e-5", "0.500", "123", "1.0e6"]);
    }
}
