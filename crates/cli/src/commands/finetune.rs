//! `ptm finetune`: a model learns a task from labelled files.

mod dashboard;
mod find;

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ptm_train::finetune::finetune;
use ptm_train::objective::Judgement;
use ptm_train::recipe::Recipe;
use ptm_train::training::{Outcome, Progress, Watch};
use serde_json::{Map, Value, json};

use crate::args::Finetune;
use crate::failure::{Stopped, hinted};
use crate::output::Output;
use crate::progress::duration;
use crate::{hub, report, stop};
use dashboard::Dashboard;

pub fn run(args: &Finetune, quiet: bool) -> anyhow::Result<()> {
    let mut recipe = Recipe::read(&args.recipe, &args.set)?;
    let mut output = Output::new();
    if args.print_config {
        output.line(recipe.to_text().trim_end())?;
        return Ok(output.flush()?);
    }
    let data = &mut recipe.data;
    for path in data.train.iter_mut().chain(&mut data.validation) {
        *path = hub::data(path)?;
    }
    let source = hub::resolve(&recipe.model, None, quiet)?;
    if args.find_lr {
        let found = stop::computing(|stop| find::rate(&recipe, &source, args.find_steps, stop, quiet))?;
        if args.json {
            output.json(&found.0)?;
        } else {
            find::show_rate(&mut output, &found)?;
        }
        return Ok(output.flush()?);
    }
    if let Some(limit) = args.memory_limit {
        let found = stop::computing(|stop| find::batch(&recipe, &source, limit, stop, quiet))?;
        if args.json {
            output.json(&found)?;
        } else {
            find::show_batch(&mut output, &found, limit)?;
        }
        return Ok(output.flush()?);
    }
    let outcome = stop::computing(|stop| {
        let mut screen = Screen::new(stop, quiet);
        if args.dashboard && !quiet && stderr().is_terminal() {
            screen.dashboard = Some(Dashboard::new());
        }
        let done = finetune(&recipe, &source, args.afresh, &mut screen);
        drop(screen);
        done.map_err(explained)
    })?;
    if args.json {
        output.json(&result(&outcome))?;
    } else {
        show(&mut output, &outcome)?;
    }
    Ok(output.flush()?)
}

/// Why a run of training ended early.
pub(super) fn explained(error: ptm_train::Error) -> anyhow::Error {
    match error {
        ptm_train::Error::Stopped => Stopped.into(),
        other @ ptm_train::Error::Diverged { .. } => {
            hinted(other.to_string(), "the checkpoints before are kept: --set optimizer.lr=… --afresh begins again")
        }
        other => other.into(),
    }
}

/// What came of a run, for programs.
pub(super) fn result(outcome: &Outcome) -> Value {
    let state = &outcome.state;
    let metrics = outcome.judgement.iter().flat_map(|judgement| &judgement.metrics);
    let metrics: Map<String, Value> = metrics.map(|(name, value)| (name.clone(), json!(value))).collect();
    let best = state.best.as_ref().map(|best| json!({"step": best.step, "metric": best.metric, "value": best.value}));
    json!({
        "model": outcome.model,
        "steps": state.step,
        "epochs": state.epochs,
        "seconds": state.seconds,
        "tokens": state.tokens,
        "last": metrics,
        "best": best,
    })
}

/// What came of a run, for people.
pub(super) fn show(output: &mut Output, outcome: &Outcome) -> anyhow::Result<()> {
    let state = &outcome.state;
    let time = duration(state.seconds);
    output.line(&format!("{} steps, {:.2} epochs, {} tokens in {time}", state.step, state.epochs, state.tokens))?;
    if outcome.seconds > 0.0 {
        let share = 100.0 * outcome.waited / outcome.seconds;
        output.line(&output.faint(&format!("the steps waited {share:.1}% of their time for data")))?;
    }
    for (name, value) in outcome.judgement.iter().flat_map(|judgement| &judgement.metrics) {
        output.line(&format!("{name:>16}  {value:.4}"))?;
    }
    if let Some(best) = &state.best {
        output.line(&format!("best after step {}: {} {:.4}", best.step, best.metric, best.value))?;
    }
    let model = outcome.model.display().to_string();
    output.line(&format!("model: {}", output.strong(&model)))?;
    Ok(())
}

/// Where no terminal is, a line now and then.
const PAUSE: Duration = Duration::from_secs(15);
/// Between two pictures of the line.
const FRAME: Duration = Duration::from_millis(125);

/// The line that says how training goes.
pub(super) struct Screen {
    stop: &'static AtomicBool,
    quiet: bool,
    bar: Option<ProgressBar>,
    said: Instant,
    /// Multiplications and additions a second that this machine does at most.
    peak: f64,
    /// What is drawn above the line, if it is wished.
    dashboard: Option<Dashboard>,
}

impl Screen {
    pub(super) fn new(stop: &'static AtomicBool, quiet: bool) -> Self {
        let peak = if quiet { 0.0 } else { 1e9 * ptm_kernels::peak::f32_gflops(5) };
        Self { stop, quiet, bar: None, said: Instant::now(), peak, dashboard: None }
    }

    /// A line that stays, above the one that moves.
    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| report::note(text)),
            None => report::note(text),
        }
    }
}

impl Watch for Screen {
    fn stop(&self) -> bool {
        self.stop.load(SeqCst)
    }

    fn note(&mut self, text: &str) {
        self.say(text);
    }

    fn step(&mut self, progress: &Progress) {
        let terminal = stderr().is_terminal();
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.loss(progress.losses.iter().map(|(_, loss)| loss).sum());
        }
        if self.quiet || self.said.elapsed() < if terminal { FRAME } else { PAUSE } {
            return;
        }
        self.said = Instant::now();
        // others had a part of the machine while it was measured
        self.peak = self.peak.max(progress.flops);
        let line = line(progress, self.peak);
        if !terminal {
            report::note(&line);
            return;
        }
        let above = self.dashboard.as_ref().map(|dashboard| dashboard.lines().join("\n"));
        let bar = self.bar.get_or_insert_with(|| draw(above.is_some()));
        bar.set_length(progress.total);
        bar.set_position(progress.step);
        bar.set_message(line);
        if let Some(above) = above {
            bar.set_prefix(above);
        }
    }

    fn judged(&mut self, step: u64, judgement: &Judgement, is_best: bool) {
        if self.quiet {
            return;
        }
        let metrics: Vec<String> = judgement.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        let best = if is_best { ", the best so far" } else { "" };
        let text = format!("step {step}: {}{best}", metrics.join(", "));
        match &mut self.dashboard {
            Some(dashboard) => dashboard.judged(text),
            None => self.say(&text),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar with its line, and above both what else is drawn.
fn draw(above: bool) -> ProgressBar {
    // no line is drawn before the bar is as it should be, for it would stay
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let line = "{bar:24} {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(&if above { format!("{{prefix}}\n{line}") } else { line.into() }) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
    bar
}

/// `step 120 of 900, epoch 0.40, loss 0.4312, lr 3.2e-5, 5210 tokens/s, 41% of peak, 3 min left`
fn line(progress: &Progress, peak: f64) -> String {
    let mut parts = vec![format!("step {} of {}, epoch {:.2}", progress.step, progress.total, progress.epochs)];
    parts.extend(progress.losses.iter().map(|(name, value)| format!("{name} {value:.4}")));
    parts.extend(progress.lr.map(|lr| format!("lr {lr:.1e}")));
    parts.push(format!("{:.0} tokens/s", progress.speed));
    if peak > 0.0 {
        parts.push(format!("{:.0}% of peak", 100.0 * progress.flops / peak));
    }
    parts.push(format!("{} left", duration(progress.left)));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_it_all() {
        let progress = Progress {
            step: 120,
            total: 900,
            epochs: 0.4,
            losses: vec![("loss", 0.43123)],
            lr: Some(3.2e-5),
            norm: 1.0,
            speed: 5210.4,
            flops: 41e9,
            left: 170.2,
        };
        let expected = "step 120 of 900, epoch 0.40, loss 0.4312, lr 3.2e-5, 5210 tokens/s, 41% of peak, 3 min left";
        assert_eq!(line(&progress, 1e11), expected);
        let unknown = Progress { lr: None, ..progress };
        assert!(!line(&unknown, 0.0).contains("lr") && !line(&unknown, 0.0).contains("peak"));
    }
}
