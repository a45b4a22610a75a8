//! `ptm adapt`: ways of going on with pretraining before a task, compared.

use ptm_train::adapt::{Audience, Place, Recipe, Sources, Table, adapt};
use ptm_train::objective::Judgement;
use ptm_train::training::{self, Watch};

use super::finetune::{Screen, explained};
use crate::args::Adapt;
use crate::output::Output;
use crate::progress::{Progress, Unit};
use crate::{hub, report, stop};

pub fn run(args: &Adapt, quiet: bool) -> anyhow::Result<()> {
    let recipe = Recipe::read(&args.recipe, &args.set)?;
    let mut output = Output::new();
    if args.print_config {
        print_config(&mut output, &recipe)?;
        return Ok(output.flush()?);
    }
    let mut finetune = recipe.finetuning()?;
    let data = &mut finetune.data;
    for path in data.train.iter_mut().chain(&mut data.validation) {
        *path = hub::data(path)?;
    }
    let embedder = recipe.neighbours.model.as_ref();
    let sources = Sources {
        model: hub::resolve(&recipe.model, None, quiet)?,
        embedder: embedder.map(|name| hub::resolve(name, None, quiet)).transpose()?,
        finetune,
        test: recipe.test.iter().map(|path| hub::data(path)).collect::<anyhow::Result<_>>()?,
    };
    let table = stop::computing(|stop| {
        let mut looker = Looker { stop, quiet, screen: None, count: None };
        let done = adapt(&recipe, &sources, args.afresh, &mut looker);
        drop(looker);
        done.map_err(explained)
    })?;
    if args.json {
        output.json(&table)?;
    } else {
        show(&mut output, &table)?;
    }
    Ok(output.flush()?)
}

/// The recipe, then those that follow from it.
fn print_config(output: &mut Output, recipe: &Recipe) -> anyhow::Result<()> {
    output.line(recipe.to_text().trim_end())?;
    for stage in recipe.stages() {
        let place = Place { model: recipe.model.as_str().into(), ..Place::default() };
        let text = recipe.pretraining(stage, &place)?.to_text();
        output.line(&format!("\n# {stage}: as ptm pretrain would read it"))?;
        output.line(text.trim_end())?;
    }
    output.line("\n# the task: as ptm finetune would read it")?;
    output.line(recipe.finetuning()?.to_text().trim_end())?;
    Ok(())
}

/// Shows one run after the other, and how far what is between them is.
struct Looker {
    stop: &'static std::sync::atomic::AtomicBool,
    quiet: bool,
    screen: Option<Screen>,
    count: Option<(&'static str, Progress)>,
}

impl Looker {
    fn screen(&mut self) -> &mut Screen {
        self.count = None;
        self.screen.get_or_insert_with(|| Screen::new(self.stop, self.quiet))
    }
}

impl Watch for Looker {
    fn stop(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn note(&mut self, text: &str) {
        (self.screen, self.count) = (None, None);
        if !self.quiet {
            report::note(text);
        }
    }

    fn step(&mut self, progress: &training::Progress) {
        self.screen().step(progress);
    }

    fn judged(&mut self, step: u64, judgement: &Judgement, is_best: bool) {
        self.screen().judged(step, judgement, is_best);
    }
}

impl Audience for Looker {
    fn counted(&mut self, what: &'static str, done: u64, total: u64) {
        self.screen = None;
        if self.count.as_ref().is_none_or(|(counted, _)| *counted != what) {
            self.count = Some((what, Progress::new(Unit::Things(what), Some(total), self.quiet)));
        }
        if let Some((_, progress)) = &mut self.count {
            progress.at(done);
        }
    }
}

/// The table for people.
fn show(output: &mut Output, table: &Table) -> anyhow::Result<()> {
    output.line(&output.faint(&format!("{} · {} · {} test rows", table.title, table.metric, table.rows)))?;
    for (place, (head, lines)) in [table.cells(), table.pretraining()].into_iter().enumerate() {
        if lines.is_empty() {
            continue;
        }
        if place > 0 {
            output.line("")?;
        }
        let width = |at: usize| lines.iter().chain([&head]).map(|line| line[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let row = |cells: &[String]| {
            let cells = cells.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        output.line(&output.faint(&row(&head)))?;
        for line in &lines {
            output.line(&row(line))?;
        }
    }
    output.line("")?;
    for note in table.notes() {
        output.line(&output.faint(&note))?;
    }
    let files: Vec<String> = table.files.iter().map(|file| file.display().to_string()).collect();
    output.line(&format!("table: {}", output.strong(&files.join(", "))))?;
    Ok(())
}
