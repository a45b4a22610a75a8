//! `ptm evaluate`: how good a model is on labelled data, and whether it is better than another.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ptm_train::evaluate::{
    Candidate, Comparison, EvaluateOptions, Evaluation, Figure, Report, ReportOptions, baseline, evaluate, page,
    pictures,
};
use serde_json::{Map, Value, json};

use crate::args::Evaluate;
use crate::failure::{Negative, Stopped, hinted};
use crate::output::{Output, one_line};
use crate::progress::{Progress, Unit};
use crate::{hub, report, stop};

/// More labels than that are not printed; --json and the report have them all.
const MOST_LABELS: usize = 30;

pub fn run(args: &Evaluate, quiet: bool) -> anyhow::Result<()> {
    let thresholds = args.threshold.iter().map(|text| Threshold::read(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let models: Vec<&str> = [&args.model].into_iter().chain(&args.against).map(String::as_str).collect();
    hub::check_revision(args.revision.as_deref(), &models)?;
    let paths = args.data.iter().map(|path| hub::data(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let test = paths.iter().any(|path| path.is_dir()).then_some("test");
    let mut options = EvaluateOptions {
        data: args.reading.options(test)?,
        limit: args.limit.map(Into::into),
        max_length: args.max_length,
        label_threshold: args.label_threshold,
        null_threshold: args.null_threshold,
        prefix: args.prefix.clone(),
        ..EvaluateOptions::default()
    };
    if let Some(tokens) = args.batch_tokens {
        options.batch_tokens = tokens.get();
    }
    for (name, value) in [("num_beams", args.num_beams), ("max_new_tokens", args.max_new_tokens)] {
        if let Some(value) = value {
            options.generation.insert(name.into(), value.get().into());
        }
    }
    let about = ReportOptions {
        resamples: args.resamples as usize,
        seed: args.seed,
        errors: args.errors,
        ..ReportOptions::default()
    };
    let (found, candidate) = answers(&args.model, args, &paths, &options, quiet)?;
    let own = found.report(&about);
    let second = if let Some(other) = &args.against {
        Some((other.as_str(), answers(other, args, &paths, &options, quiet)?.0))
    } else if args.baseline.is_empty() {
        None
    } else {
        let train = args.baseline.iter().map(|path| hub::data(path)).collect::<anyhow::Result<Vec<_>>>()?;
        Some(baseline(&candidate, &train, &paths, &options)?)
    };
    let against = match second {
        None => None,
        Some((model, second)) => {
            let rows = second.compare(&found, (args.resamples as usize).max(1), args.seed)?;
            Some(Against { model, report: second.report(&about), rows })
        }
    };
    if let Some(path) = &args.report {
        write(path, args, &own, against.as_ref())?;
        if !quiet {
            report::note(&format!("{}: report written", path.display()));
        }
    }
    let mut output = Output::new();
    if args.json {
        output.json(&as_json(args, &found, &own, against.as_ref())?)?;
    } else {
        show(&mut output, args, &found, &own)?;
        if let Some(against) = &against {
            show_comparison(&mut output, args, against)?;
        }
    }
    output.flush()?;
    let missed = thresholds.iter().map(|threshold| threshold.missed(&own)).collect::<anyhow::Result<Vec<_>>>()?;
    let missed: Vec<String> = missed.into_iter().flatten().collect();
    if missed.is_empty() { Ok(()) } else { Err(Negative(missed.join("; ")).into()) }
}

/// Another model on the same rows.
struct Against<'a> {
    model: &'a str,
    report: Report,
    rows: Vec<Comparison>,
}

fn answers(
    model: &str,
    args: &Evaluate,
    paths: &[PathBuf],
    options: &EvaluateOptions<'_>,
    quiet: bool,
) -> anyhow::Result<(Evaluation, Candidate)> {
    let dir = hub::resolve(model, args.revision.as_deref(), quiet)?;
    let candidate = Candidate::open(&dir)?;
    let found = stop::computing(|stop| {
        let options = EvaluateOptions { stop: Some(stop), ..options.clone() };
        let mut progress: Option<Progress> = None;
        let mut heard = |done: usize, total: usize| {
            let new = || Progress::new(Unit::Things("texts"), Some(total as u64), quiet);
            progress.get_or_insert_with(new).at(done as u64);
        };
        evaluate(&candidate, &dir, paths, &options, &mut heard).map_err(|error| match error {
            ptm_train::Error::Stopped => Stopped.into(),
            other => other.into(),
        })
    })?;
    Ok((found, candidate))
}

/// What a metric must not be worse than.
struct Threshold {
    metric: Option<String>,
    value: f64,
}

impl Threshold {
    fn read(text: &str) -> anyhow::Result<Self> {
        let (metric, value) = match text.split_once('=') {
            Some((metric, value)) => (Some(metric.trim().to_owned()), value),
            None => (None, text),
        };
        let value = value.trim().parse::<f64>().ok().filter(|value| value.is_finite());
        let value = value.ok_or_else(|| {
            hinted(format!("--threshold {text}: no number"), "write it as --threshold 0.9, or --threshold f1_macro=0.8")
        })?;
        Ok(Self { metric, value })
    }

    /// What to say if it is missed.
    fn missed(&self, report: &Report) -> anyhow::Result<Option<String>> {
        let name = match &self.metric {
            Some(name) => name.as_str(),
            None => report.metrics.first().map_or("", |figure| figure.name),
        };
        let Some(figure) = report.metrics.iter().find(|figure| figure.name == name) else {
            let known: Vec<&str> = report.metrics.iter().map(|figure| figure.name).collect();
            let problem = format!("--threshold: {} has no metric {name:?}", report.task);
            return Err(hinted(problem, format!("there are {}", known.join(", "))));
        };
        let wanted = self.value;
        Ok(match figure.value {
            None => Some(format!("{name} is undefined, {wanted} was asked for")),
            Some(value) if less_is_better(name) && value > wanted => {
                Some(format!("{name} is {value:.4}, above the threshold {wanted}"))
            }
            Some(value) if !less_is_better(name) && value < wanted => {
                Some(format!("{name} is {value:.4}, below the threshold {wanted}"))
            }
            Some(_) => None,
        })
    }
}

fn less_is_better(metric: &str) -> bool {
    matches!(metric, "loss" | "perplexity" | "bits_per_byte") || metric.ends_with("_error")
}

fn as_json(
    args: &Evaluate,
    found: &Evaluation,
    own: &Report,
    against: Option<&Against<'_>>,
) -> anyhow::Result<Map<String, Value>> {
    let Value::Object(mut json) = serde_json::to_value(own).context("the report")? else {
        anyhow::bail!("the report is no object");
    };
    json.insert("model".into(), args.model.as_str().into());
    json.insert("truncated".into(), found.truncated.into());
    if let Some(against) = against {
        let other = json!({"model": against.model, "report": against.report, "differences": against.rows});
        json.insert("against".into(), other);
    }
    Ok(json)
}

fn show(output: &mut Output, args: &Evaluate, found: &Evaluation, report: &Report) -> anyhow::Result<()> {
    let cut = match found.truncated {
        0 => String::new(),
        cut => format!(" · {cut} cut, too long for the model"),
    };
    output.line(&output.faint(&format!("{} · {} · {} rows{cut}", args.model, report.task, report.rows)))?;
    for (place, figure) in report.metrics.iter().enumerate() {
        let line = metric(figure);
        output.line(&if place == 0 { output.strong(&line) } else { line })?;
    }
    if report.labels.len() <= MOST_LABELS && !report.labels.is_empty() {
        let width = report.labels.iter().map(|row| row.label.chars().count()).max().unwrap_or(0).clamp(5, 24);
        output.line("")?;
        output.line(&output.faint(&format!("{:>width$}  precision  recall      F1   rows", "label")))?;
        for row in &report.labels {
            let label = one_line(&row.label, width);
            let pad = " ".repeat(width.saturating_sub(label.chars().count()));
            let numbers = format!("{:>9.4}  {:>6.4}  {:>6.4}  {:>5}", row.precision, row.recall, row.f1, row.support);
            output.line(&format!("{pad}{label}  {numbers}"))?;
        }
    }
    if !report.errors.is_empty() {
        output.line("")?;
        let head = format!("{} of {} rows not entirely right, the worst first:", report.wrong, report.rows);
        output.line(&output.faint(&head))?;
        for error in &report.errors {
            let (gold, predicted) = (one_line(&error.gold, 60), one_line(&error.predicted, 60));
            output.line(&format!("row {}: {gold} → {predicted}", error.row))?;
            output.line(&output.faint(&format!("  {}", one_line(&error.text, 90))))?;
        }
    }
    Ok(())
}

/// `        accuracy  0.9123  0.8812 – 0.9401`
fn metric(figure: &Figure) -> String {
    let value = figure.value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.4}"));
    match (figure.low, figure.high) {
        (Some(low), Some(high)) => format!("{:>20}  {value:>9}  {low:.4} – {high:.4}", figure.name),
        _ => format!("{:>20}  {value:>9}", figure.name),
    }
}

fn show_comparison(output: &mut Output, args: &Evaluate, against: &Against<'_>) -> anyhow::Result<()> {
    output.line("")?;
    let head =
        format!("{} against {}: difference, where it lies, how likely it is by chance", args.model, against.model);
    output.line(&output.faint(&head))?;
    for row in &against.rows {
        let line = format!(
            "{:>20}  {:>9.4}  {:>9.4}  {:+.4}  {:+.4} – {:+.4}  p {:.4}",
            row.name, row.second, row.first, row.difference, row.low, row.high, row.p
        );
        output.line(&line)?;
    }
    Ok(())
}

fn write(path: &Path, args: &Evaluate, own: &Report, against: Option<&Against<'_>>) -> anyhow::Result<()> {
    let data: Vec<String> = args.data.iter().map(|path| path.display().to_string()).collect();
    let title = format!("{} on {}", args.model, data.join(", "));
    let compared = against.map(|against| (against.model, args.model.as_str(), &against.rows[..]));
    let html = page(&title, own, compared);
    let save = |path: &Path, text: &str| {
        ptm_models::files::write_atomic(path, text.as_bytes())
            .with_context(|| format!("{}: cannot write", path.display()))
    };
    if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("html") || end.eq_ignore_ascii_case("htm")) {
        return save(path, &html);
    }
    std::fs::create_dir_all(path).with_context(|| format!("{}: cannot make the folder", path.display()))?;
    save(&path.join("report.html"), &html)?;
    save(&path.join("report.json"), &serde_json::to_string_pretty(own).context("the report")?)?;
    for (name, picture) in pictures(own) {
        save(&path.join(format!("{name}.svg")), &picture)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let report = |name, value| Report {
            task: "x",
            rows: 1,
            metrics: vec![Figure { name, value, low: None, high: None }],
            labels: Vec::new(),
            confusion: None,
            calibration: None,
            lengths: Vec::new(),
            wrong: 0,
            errors: Vec::new(),
        };
        let missed = |threshold: &str, report: &Report| Threshold::read(threshold).unwrap().missed(report).unwrap();
        let good = report("f1", Some(0.8));
        assert!(missed("0.8", &good).is_none() && missed("f1=0.81", &good).unwrap().contains("below"));
        let loss = report("loss", Some(0.8));
        assert!(missed("0.9", &loss).is_none() && missed("loss=0.7", &loss).unwrap().contains("above"));
        assert!(missed("0.1", &report("f1", None)).is_some());
        assert!(Threshold::read("f1=much").is_err() && Threshold::read("nan").is_err());
        assert!(Threshold::read("f2=0.1").unwrap().missed(&good).is_err());
    }
}
