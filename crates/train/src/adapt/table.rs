//! The comparison as a table: for each variant the mean over seeds of a metric on the test rows, its deviation, where it
//! lies, and how it differs from the model as it was.

use std::fmt::Write;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::variant::Variant;
use crate::evaluate::escape;
use crate::metrics::bootstrap::of_samples;

/// A model that learnt the task, as judged on the test rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// Of fine-tuning.
    pub seed: u64,
    /// Test rows.
    pub rows: usize,
    /// Seconds of learning.
    pub seconds: f64,
    /// The metrics, the main one first.
    pub metrics: Vec<Sampled>,
}

/// A metric on the test rows, and on the bootstrap's samples of them, which are the same for all models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Its name.
    pub name: String,
    /// Its value; none where it is undefined.
    pub value: Option<f64>,
    /// Its values on samples of rows.
    pub samples: Vec<Option<f64>>,
}

/// How a model went on with pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pretrained {
    /// Documents of its corpora: rows, sentences, documents.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// How often all was seen.
    pub epochs: f64,
    /// Tokens that were computed.
    pub seen: u64,
    /// Seconds.
    pub seconds: f64,
    /// The loss of held-out documents at the end, where there are such.
    pub loss: Option<f64>,
}

/// A number and where it lies with probability 0.95.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean over seeds.
    pub mean: f64,
    /// The lower end.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What was fine-tuned.
    pub variant: Variant,
    /// The metric of each seed.
    pub values: Vec<(u64, Option<f64>)>,
    /// Their mean; none where one is undefined.
    pub estimate: Option<Estimate>,
    /// Their standard deviation, of several seeds.
    pub deviation: Option<f64>,
    /// The mean less that of the model as it was, where both were compared.
    pub difference: Option<Estimate>,
    /// Its last stage of pretraining.
    pub pretrained: Option<Pretrained>,
    /// The means of all metrics.
    pub metrics: Vec<(String, Option<f64>)>,
}

/// The whole comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// What it is of: model and task.
    pub title: String,
    /// The metric.
    pub metric: String,
    /// Test rows.
    pub rows: usize,
    /// The variants in the recipe's order.
    pub lines: Vec<Line>,
    /// Sentences of the domain that were compared with the task's rows, and those left out for saying what a row says.
    pub neighbours: Option<(u64, u64)>,
    /// Documents of the domain's text that say what a row says, which were left out.
    pub domain_left_out: Option<u64>,
    /// Files with this table.
    pub files: Vec<std::path::PathBuf>,
}

/// Of the bootstrap over seeds.
const SEED: u64 = 0;
const LEVEL: f64 = 0.95;

/// A variant with what came of its seeds.
pub type Judged = (Variant, Vec<Tested>, Option<Pretrained>);

impl Table {
    /// Makes the table of `metric`, or of the task's main one.
    pub fn new(title: String, metric: Option<&str>, judged: &[Judged]) -> Self {
        let first = judged.iter().flat_map(|(_, tested, _)| tested).next();
        let known: Vec<&str> = first.iter().flat_map(|one| &one.metrics).map(|metric| metric.name.as_str()).collect();
        let metric = metric.or(known.first().copied()).unwrap_or_default().to_owned();
        let rows = first.map_or(0, |one| one.rows);
        let names: Vec<String> = known.iter().map(|&name| name.to_owned()).collect();
        let none = judged.iter().find(|(variant, ..)| *variant == Variant::NONE);
        let none: Vec<&Sampled> = none.iter().flat_map(|(_, tested, _)| sampled(tested, &metric)).collect();
        let lines = judged.iter().map(|(variant, tested, pretrained)| {
            let own: Vec<&Sampled> = sampled(tested, &metric).collect();
            let estimate = estimate(&own, &[]);
            let compared = *variant != Variant::NONE && !none.is_empty();
            let mean = |name: &String| {
                let values: Vec<&Sampled> = sampled(tested, name).collect();
                (name.clone(), mean(&values))
            };
            Line {
                variant: variant.clone(),
                values: tested.iter().zip(&own).map(|(one, metric)| (one.seed, metric.value)).collect(),
                deviation: deviation(&own),
                difference: if compared { self::estimate(&own, &none) } else { None },
                estimate,
                pretrained: pretrained.clone(),
                metrics: names.iter().map(mean).collect(),
            }
        });
        let lines = lines.collect();
        Self { title, metric, rows, lines, neighbours: None, domain_left_out: None, files: Vec::new() }
    }

    /// What is said beside the numbers.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!(
            "{} on {} test rows: mean and deviation over seeds of fine-tuning; intervals hold with probability 0.95, by \
             bootstrap over rows and seeds. Pretraining was gone on with once, with one seed.",
            self.metric, self.rows
        )];
        if let Some(left_out) = self.domain_left_out.filter(|&left_out| left_out > 0) {
            notes.push(format!(
                "{left_out} documents of the domain that say what a row of the task says were left out."
            ));
        }
        if let Some((candidates, left_out)) = self.neighbours {
            notes.push(format!(
                "Neighbours were searched among {candidates} sentences or documents of the domain; {left_out} that say \
                 what a row of the task says were left out."
            ));
        }
        notes
    }

    /// The head and the cells of each line.
    pub fn cells(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let seeds = self.lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
        let first = self.lines.iter().find(|line| line.values.len() == seeds);
        let each = first.iter().flat_map(|line| &line.values).map(|(seed, _)| format!("seed {seed}"));
        let head = ["variant".to_owned()].into_iter().chain(each);
        let head = head.chain(["mean", "deviation", "interval", "over none"].map(str::to_owned)).collect();
        let number = |value: Option<f64>| value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.4}"));
        let line = |line: &Line| {
            let values = line.values.iter().map(|(_, value)| number(*value));
            let interval = line.estimate.map_or_else(String::new, |found| between(&found, |x| format!("{x:.4}")));
            let over = line.difference.map_or_else(String::new, |found| {
                let interval = between(&found, |x| format!("{x:+.4}"));
                let interval = if interval.is_empty() { interval } else { format!(" ({interval})") };
                format!("{:+.4}{interval}", found.mean)
            });
            let deviation = line.deviation.map_or_else(String::new, |deviation| format!("{deviation:.4}"));
            let mean = number(line.estimate.map(|found| found.mean));
            [line.variant.to_string()].into_iter().chain(values).chain([mean, deviation, interval, over]).collect()
        };
        (head, self.lines.iter().map(line).collect())
    }

    /// The head and the cells of how each variant went on with pretraining.
    pub fn pretraining(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let head = ["variant", "documents", "tokens", "steps", "epochs", "tokens seen", "seconds", "held-out loss"];
        let line = |line: &Line| {
            let made = line.pretrained.as_ref()?;
            let loss = made.loss.map_or_else(String::new, |loss| format!("{loss:.4}"));
            let counts = [made.documents, made.tokens, made.steps].map(|count| count.to_string());
            let rest = [format!("{:.2}", made.epochs), made.seen.to_string(), format!("{:.0}", made.seconds), loss];
            Some([line.variant.to_string()].into_iter().chain(counts).chain(rest).collect())
        };
        (head.map(str::to_owned).to_vec(), self.lines.iter().filter_map(line).collect())
    }

    /// As Markdown.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# {}\n", self.title);
        let mut table = |(head, lines): (Vec<String>, Vec<Vec<String>>)| {
            if lines.is_empty() {
                return;
            }
            let row = |cells: &[String]| {
                format!("| {} |\n", cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
            };
            let _ = write!(out, "\n{}|{}\n", row(&head), "---|".repeat(head.len()));
            lines.iter().for_each(|line| out.push_str(&row(line)));
        };
        table(self.cells());
        table(self.pretraining());
        for note in self.notes() {
            let _ = write!(out, "\n{note}\n");
        }
        out
    }

    /// As a page that needs no other file.
    pub fn to_html(&self) -> String {
        let mut body = String::new();
        let mut table = |(head, lines): (Vec<String>, Vec<Vec<String>>)| {
            if lines.is_empty() {
                return;
            }
            let row = |tag: &str, cells: &[String]| {
                let cells = cells.iter().enumerate().map(|(at, cell)| {
                    let class = if at == 0 { "" } else { " class=n" };
                    format!("<{tag}{class}>{}</{tag}>", escape(cell))
                });
                format!("<tr>{}</tr>\n", cells.collect::<String>())
            };
            let _ = writeln!(body, "<table>{}", row("th", &head).trim_end());
            lines.iter().for_each(|line| body.push_str(&row("td", line)));
            body.push_str("</table>\n");
        };
        table(self.cells());
        table(self.pretraining());
        for note in self.notes() {
            let _ = writeln!(body, "<p>{}</p>", escape(&note));
        }
        crate::evaluate::page_of(&self.title, &body)
    }
}

fn between(found: &Estimate, number: impl Fn(f64) -> String) -> String {
    match (found.low, found.high) {
        (Some(low), Some(high)) => format!("{} – {}", number(low), number(high)),
        _ => String::new(),
    }
}

fn sampled<'a>(tested: &'a [Tested], metric: &'a str) -> impl Iterator<Item = &'a Sampled> {
    tested.iter().filter_map(move |one| one.metrics.iter().find(|found| found.name == metric))
}

fn mean(seeds: &[&Sampled]) -> Option<f64> {
    let values: Option<Vec<f64>> = seeds.iter().map(|one| one.value).collect();
    values.filter(|values| !values.is_empty()).map(|values| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of a sample.
fn deviation(seeds: &[&Sampled]) -> Option<f64> {
    let mean = mean(seeds).filter(|_| seeds.len() > 1)?;
    let squares: f64 = seeds.iter().filter_map(|one| one.value).map(|value| (value - mean).powi(2)).sum();
    Some((squares / (seeds.len() - 1) as f64).sqrt())
}

/// The mean over seeds, less that of `other` seeds where there are such. A sample of the bootstrap is one of the rows, the
/// same for all models, and one of the seeds.
fn estimate(own: &[&Sampled], other: &[&Sampled]) -> Option<Estimate> {
    let total = |seeds: &[&Sampled]| if seeds.is_empty() { Some(0.0) } else { mean(seeds) };
    let mean = mean(own)? - total(other)?;
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let count = own.iter().chain(other).map(|one| one.samples.len()).min().unwrap_or(0);
    let mut drawn = |seeds: &[&Sampled], at: usize| -> Option<f64> {
        let picks = (0..seeds.len()).map(|_| seeds[random.random_range(0..seeds.len())].samples[at]);
        let values: Option<Vec<f64>> = picks.collect();
        values.map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64)
    };
    let samples: Option<Vec<f64>> = (0..count).map(|at| Some(drawn(own, at)? - drawn(other, at)?)).collect();
    let interval = samples.and_then(|samples| of_samples(samples, LEVEL));
    Some(Estimate { mean, low: interval.map(|found| found.low), high: interval.map(|found| found.high) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model whose metric is `value`, and on samples of rows that and something that all models share.
    fn tested(seed: u64, value: f64) -> Tested {
        let samples = (0..200).map(|at| Some(value + 0.001 * f64::from(at % 21 - 10))).collect();
        let accuracy = Sampled { name: "accuracy".into(), value: Some(value), samples };
        let loss = Sampled { name: "loss".into(), value: Some(1.0 - value), samples: vec![None; 200] };
        Tested { seed, rows: 50, seconds: 1.0, metrics: vec![accuracy, loss] }
    }

    fn variant(name: &str) -> Variant {
        name.parse().unwrap()
    }

    #[test]
    fn means_deviations_and_differences() {
        let made =
            Pretrained { documents: 7, tokens: 70, steps: 3, epochs: 1.5, seen: 105, seconds: 2.0, loss: Some(2.5) };
        let judged = vec![
            (variant("none"), vec![tested(0, 0.5), tested(1, 0.5)], None),
            (variant("tapt"), vec![tested(0, 0.6), tested(1, 0.7)], Some(made)),
        ];
        let table = Table::new("model on task".into(), None, &judged);
        assert_eq!((table.metric.as_str(), table.rows), ("accuracy", 50));
        let [none, tapt] = &table.lines[..] else { panic!() };
        assert_eq!((none.estimate.unwrap().mean, none.deviation, none.difference), (0.5, Some(0.0), None));
        assert!((tapt.estimate.unwrap().mean - 0.65).abs() < 1e-12);
        assert!((tapt.deviation.unwrap() - 0.05 * 2.0_f64.sqrt()).abs() < 1e-12);
        // what the rows have in common is no difference: what remains is that of the seeds
        let over = tapt.difference.unwrap();
        assert!((over.mean - 0.15).abs() < 1e-12);
        assert!((over.low.unwrap() - 0.1).abs() < 1e-9 && (over.high.unwrap() - 0.2).abs() < 1e-9, "{over:?}");
        // both seeds and rows vary the mean
        let found = tapt.estimate.unwrap();
        assert!(found.low.unwrap() < 0.6 && found.high.unwrap() > 0.7, "{found:?}");
        let loss = Table::new("t".into(), Some("loss"), &judged);
        assert_eq!(loss.lines[1].estimate.unwrap().low, None);
        assert!(Table::new("t".into(), Some("f1"), &judged).lines[0].estimate.is_none());
    }

    #[test]
    fn pages_hold_the_numbers() {
        let judged = vec![(variant("none"), vec![tested(3, 0.25)], None)];
        let mut table = Table::new("<m> on t".into(), None, &judged);
        table.neighbours = Some((1000, 3));
        let (head, lines) = table.cells();
        assert_eq!(head, ["variant", "seed 3", "mean", "deviation", "interval", "over none"]);
        assert_eq!(lines[0][..4], ["none", "0.2500", "0.2500", ""]);
        let markdown = table.to_markdown();
        assert!(markdown.contains("| none | 0.2500 | 0.2500 |  | 0.2400 – 0.2600 |  |"), "{markdown}");
        assert!(markdown.contains("1000 sentences") && !markdown.contains("held-out loss"), "{markdown}");
        let html = table.to_html();
        assert!(html.contains("&lt;m&gt; on t") && html.contains("<td class=n>0.2500</td>"), "{html}");
        assert!(html.trim_end().ends_with("</html>"));
    }
}
