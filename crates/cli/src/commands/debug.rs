//! `ptm debug data`: what labelled files hold, before anybody trains on them.

use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;

use anyhow::Context;
use ptm_text::dataset::{
    Choice, Classified, Dataset, Measured, MultiLabelled, Options, Order, Question, Rated, Sentence, Survey, Surveyed,
    Tagged, Text, TextToText, Yardstick,
};
use ptm_text::{EncodeOptions, Encoding, Input, Tokenizer};
use ptm_train::finetune::Limits;
use ptm_train::recipe::{Recipe, Task};
use serde_json::json;

use crate::args::DebugData;
use crate::failure::{Stopped, hinted};
use crate::output::{Output, bar, one_line};
use crate::progress::{Progress, Unit};
use crate::{hub, stop};

/// Labels that are printed; --json has more.
const MOST_LABELS: usize = 20;
/// Tokens of a row that are printed.
const MOST_TOKENS: usize = 80;

const VALIDATION: &str = "validation";

/// What is looked at, and how.
struct Look {
    parts: Vec<(String, Vec<PathBuf>)>,
    options: Options,
    task: Option<Task>,
    model: Option<String>,
    max_length: Option<usize>,
    max_target: usize,
    prefix: String,
}

pub fn data(args: &DebugData, quiet: bool) -> anyhow::Result<()> {
    let look = look(args)?;
    let tokenizer = match &look.model {
        None => None,
        Some(model) => {
            let dir = hub::resolve(model, None, quiet)?;
            let tokenizer = Tokenizer::from_dir(&dir)?;
            let limits = Limits::of_dir(&dir, &tokenizer, look.max_length, look.max_target)?;
            Some((tokenizer, limits))
        }
    };
    let limits = tokenizer.as_ref().map(|measure| measure.1);
    let mut output = Output::new();
    let mut all = Vec::new();
    for (part, paths) in &look.parts {
        let task = look.task.map_or_else(|| guess(paths, &look.options), Ok)?;
        let mut options = look.options.clone();
        if part == VALIDATION && paths.iter().any(|path| path.is_dir()) {
            // as fine-tuning reads it
            options.split = Some(VALIDATION.into());
        }
        let page = Page { args, paths, options: &options, tokenizer: tokenizer.as_ref(), prefix: &look.prefix, quiet };
        let found = match task {
            Task::Classification => page.survey::<Classified>(),
            Task::MultiLabel => page.survey::<MultiLabelled>(),
            Task::Regression => page.survey::<Rated>(),
            Task::Tokens => page.survey::<Tagged>(),
            Task::Questions => page.survey::<Question>(),
            Task::Choice => page.survey::<Choice>(),
            Task::TextToText => page.survey::<TextToText>(),
            Task::LanguageModel => page.survey::<Text>(),
        };
        let (survey, rows) = found?;
        let name = if part.is_empty() { names(paths) } else { format!("{part}: {}", names(paths)) };
        if args.json {
            let mut value = serde_json::to_value(&survey).context("the survey")?;
            value["data"] = name.into();
            value["task"] = task.name().into();
            value["max_length"] = json!(limits.map(|limits| limits.max_length));
            value["examples"] = rows.iter().map(|row| json!({"tokens": row.tokens, "label": row.label})).collect();
            all.push(value);
        } else {
            show(&mut output, &name, task, &survey, limits, &rows)?;
        }
    }
    if args.json {
        match &mut all[..] {
            [only] => output.json(only)?,
            _ => output.json(&all)?,
        }
    }
    Ok(output.flush()?)
}

fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Files as the flags say, or those of a recipe.
fn look(args: &DebugData) -> anyhow::Result<Look> {
    let given = args.task.as_deref().map(|name| {
        Task::ALL.into_iter().find(|task| task.name() == name).ok_or_else(|| {
            let known = Task::ALL.map(Task::name).join(", ");
            hinted(format!("--task {name}: there is no such task"), format!("it is one of {known}"))
        })
    });
    let given = given.transpose()?;
    let max_length = args.max_length.map(usize::from);
    if let [only] = &args.data[..]
        && only.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"))
    {
        let recipe = Recipe::read(only, &[])?;
        let mut parts = vec![("train".to_owned(), found(&recipe.data.train)?)];
        if !recipe.data.validation.is_empty() {
            parts.push((VALIDATION.to_owned(), found(&recipe.data.validation)?));
        }
        return Ok(Look {
            parts,
            options: recipe.data.options.clone(),
            task: given.or(Some(recipe.task)),
            model: args.model.clone().or(Some(recipe.model)),
            max_length: max_length.or(recipe.data.max_length),
            max_target: recipe.data.max_target,
            prefix: recipe.data.prefix,
        });
    }
    Ok(Look {
        parts: vec![(String::new(), found(&args.data)?)],
        options: args.reading.options(None)?,
        task: given,
        model: args.model.clone(),
        max_length,
        max_target: ptm_train::recipe::MAX_TARGET,
        prefix: String::new(),
    })
}

/// Files, folders and data sets of the hub, as every command finds them.
fn found(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    paths.iter().map(|path| hub::data(path)).collect()
}

/// The task whose columns the first row has.
fn guess(paths: &[PathBuf], options: &Options) -> anyhow::Result<Task> {
    fn fits<E: Surveyed>(paths: &[PathBuf], options: &Options) -> anyhow::Result<bool> {
        let first = Dataset::<E>::open(paths, options)?.rows(Order::AsIs, 0).next();
        Ok(matches!(first, Some(Ok(example)) if example.is_labelled()))
    }
    let several = |paths: &[PathBuf]| -> anyhow::Result<bool> {
        let first = Dataset::<MultiLabelled>::open(paths, options)?.rows(Order::AsIs, 0).next();
        Ok(matches!(first, Some(Ok(example)) if example.labels.as_ref().is_some_and(|labels| labels.len() != 1)))
    };
    Ok(if fits::<Question>(paths, options)? {
        Task::Questions
    } else if fits::<Tagged>(paths, options)? {
        Task::Tokens
    } else if fits::<Choice>(paths, options)? {
        Task::Choice
    } else if fits::<Classified>(paths, options)? {
        Task::Classification
    } else if several(paths)? {
        Task::MultiLabel
    } else if fits::<Rated>(paths, options)? {
        Task::Regression
    } else if fits::<TextToText>(paths, options)? {
        Task::TextToText
    } else {
        Task::LanguageModel
    })
}

/// A row as a model reads it.
struct Seen {
    tokens: Vec<String>,
    label: String,
}

struct Page<'a> {
    args: &'a DebugData,
    paths: &'a [PathBuf],
    options: &'a Options,
    tokenizer: Option<&'a (Tokenizer, Limits)>,
    prefix: &'a str,
    quiet: bool,
}

impl Page<'_> {
    fn survey<E: Surveyed + Labelled>(&self) -> anyhow::Result<(Survey, Vec<Seen>)> {
        let data = Dataset::<E>::open(self.paths, self.options)?;
        let mut progress = Progress::new(Unit::Things("rows"), Some(data.len()), self.quiet);
        let survey = stop::computing(|stop| {
            let mut yardstick = Yardstick { prefix: self.prefix, ..Yardstick::default() };
            if let Some((tokenizer, Limits { max_length, max_target })) = self.tokenizer {
                yardstick = Yardstick {
                    tokenizer: Some(tokenizer),
                    max_length: *max_length,
                    max_target: *max_target,
                    ..yardstick
                };
            }
            let survey = Survey::of(&data, yardstick, &mut |rows| {
                progress.at(rows);
                !stop.load(SeqCst)
            })?;
            if stop.load(SeqCst) { Err(Stopped.into()) } else { Ok(survey) }
        })?;
        let examples = data.rows(Order::AsIs, 0).filter_map(Result::ok).take(self.args.show);
        let rows = examples.map(|example| self.seen(&example)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok((survey, rows))
    }

    /// The first input of an example as tokens, or as words.
    fn seen<E: Surveyed + Labelled>(&self, example: &E) -> anyhow::Result<Seen> {
        let (text, pair) = example.inputs().into_iter().next().unwrap_or_default();
        let text = if E::IS_WRITTEN_FROM { format!("{}{text}", self.prefix) } else { text };
        let Some((tokenizer, limits)) = self.tokenizer else {
            let pair = pair.map(|pair| format!(" ‖ {pair}")).unwrap_or_default();
            let words = format!("{text}{pair}").split_whitespace().map(str::to_owned).collect();
            return Ok(Seen { tokens: words, label: example.shown(None) });
        };
        let input = pair.as_deref().map_or(Input::Text(&text), |pair| Input::Pair(&text, pair));
        let options = EncodeOptions::truncated(limits.max_length.max(8));
        let encoding = tokenizer.encode_input(input, &options)?;
        Ok(Seen { label: example.shown(Some(&encoding)), tokens: encoding.tokens })
    }
}

/// What a row should give, for people.
trait Labelled {
    /// In tokens where there is an encoding.
    fn shown(&self, encoding: Option<&Encoding>) -> String;
}

const NONE: &str = "(no label)";

impl Labelled for Classified {
    fn shown(&self, _: Option<&Encoding>) -> String {
        self.label.clone().unwrap_or_else(|| NONE.into())
    }
}

impl Labelled for MultiLabelled {
    fn shown(&self, _: Option<&Encoding>) -> String {
        self.labels.as_ref().map_or_else(|| NONE.into(), |labels| format!("[{}]", labels.join(", ")))
    }
}

impl Labelled for Rated {
    fn shown(&self, _: Option<&Encoding>) -> String {
        self.value.map_or_else(|| NONE.into(), |value| value.to_string())
    }
}

impl Labelled for Tagged {
    fn shown(&self, encoding: Option<&Encoding>) -> String {
        let Some(tags) = &self.tags else { return NONE.into() };
        let first = encoding.map(|encoding| Sentence::new(&self.words).first_tokens(encoding));
        let pairs = self.words.iter().zip(tags).enumerate().map(|(i, (word, tag))| {
            match first.as_ref().map(|first| first[i]) {
                None => format!("{word}/{tag}"),
                // tags stand at the words' first tokens
                Some(Some(token)) => format!("{token}:{tag}"),
                Some(None) => format!("–:{tag}"),
            }
        });
        pairs.collect::<Vec<_>>().join(" ")
    }
}

impl Labelled for Question {
    fn shown(&self, _: Option<&Encoding>) -> String {
        let answers: Vec<String> = self.answers.iter().map(|a| format!("{:?} at {}", a.text, a.start)).collect();
        match (self.answered, answers.is_empty()) {
            (false, _) => NONE.into(),
            (true, true) => "(no answer)".into(),
            (true, false) => answers.join(" | "),
        }
    }
}

impl Labelled for Choice {
    fn shown(&self, _: Option<&Encoding>) -> String {
        let right = self.label.and_then(|label| Some(format!("{}: {}", label + 1, self.choices.get(label)?)));
        format!("{} of {}", right.unwrap_or_else(|| NONE.into()), self.choices.len())
    }
}

impl Labelled for TextToText {
    fn shown(&self, _: Option<&Encoding>) -> String {
        self.target.clone().unwrap_or_else(|| NONE.into())
    }
}

impl Labelled for Text {
    fn shown(&self, _: Option<&Encoding>) -> String {
        String::new()
    }
}

fn show(
    output: &mut Output,
    name: &str,
    task: Task,
    survey: &Survey,
    limits: Option<Limits>,
    rows: &[Seen],
) -> anyhow::Result<()> {
    output.line(&output.strong(&format!("{name} · {}", task.name())))?;
    let mut count = |name: &str, count: u64| output.line(&format!("{name:>26}  {count}"));
    count("rows", survey.rows)?;
    for (name, found) in [
        ("that cannot be read", survey.wrong),
        ("without a label", if task == Task::LanguageModel { 0 } else { survey.unlabelled }),
        ("empty", survey.empty),
        ("there before", survey.duplicates),
        ("… with another label", survey.conflicting),
    ] {
        if found > 0 {
            count(name, found)?;
        }
    }
    for problem in &survey.problems {
        output.line(&output.faint(&format!("  {}", one_line(problem, 110))))?;
    }
    lengths(output, survey.unit, &survey.read, limits.map(|limits| limits.max_length))?;
    if let Some(targets) = &survey.targets {
        let unit = format!("{} of targets", survey.unit);
        lengths(output, &unit, targets, limits.map(|limits| limits.max_target))?;
    }
    let total: u64 = survey.labels.iter().map(|label| label.1).sum();
    for (label, count) in survey.labels.iter().take(MOST_LABELS) {
        let share = *count as f64 / total.max(1) as f64;
        let cells = output.faint(&bar(share as f32));
        output.line(&format!("{:>26}  {count:>7} {:>5.1}% {cells}", one_line(label, 25), 100.0 * share))?;
    }
    if survey.labels.len() > MOST_LABELS {
        output.line(&format!("{:>26}  {} labels more", "…", survey.labels.len() - MOST_LABELS))?;
    }
    for row in rows {
        let more = if row.tokens.len() > MOST_TOKENS { " …" } else { "" };
        let tokens: Vec<&str> = row.tokens.iter().take(MOST_TOKENS).map(String::as_str).collect();
        output.line("")?;
        output.line(&format!("{}{more}", one_line(&tokens.join(" "), 1000)))?;
        if !row.label.is_empty() {
            output.line(&output.faint(&format!("→ {}", one_line(&row.label, 300))))?;
        }
    }
    Ok(())
}

/// How long texts are, and how many are longer than `limit`.
fn lengths(output: &mut Output, unit: &str, measured: &Measured, limit: Option<usize>) -> anyhow::Result<()> {
    let spread = measured.lengths;
    output.line(&format!(
        "{unit:>26}  {} to {}, half up to {}, 95% up to {}, mean {:.1}",
        spread.least, spread.most, spread.median, spread.p95, spread.mean
    ))?;
    if let Some(limit) = limit.filter(|&limit| limit != usize::MAX) {
        let share = 100.0 * measured.longer as f64 / measured.texts.max(1) as f64;
        let name = format!("longer than {limit}");
        output.line(&format!("{name:>26}  {} of {} texts ({share:.1}%)", measured.longer, measured.texts))?;
    }
    Ok(())
}
