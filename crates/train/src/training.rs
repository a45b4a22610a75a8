//! The loop: steps from the first to the last, for whatever is learnt. A run is a function of recipe, seed and data;
//! stopped at any step, by whatever, and continued from its newest checkpoint, it gives the same bits.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::prelude::*;
use ptm_kernels::timing;
use ptm_models::Pass;

use crate::adversarial;
use crate::checkpoint::{Best, Checkpoint, Folder, Parts, State, Window};
use crate::courses::Courses;
use crate::error::{Error, Result};
use crate::journal::{Journal, Line};
use crate::objective::{Judgement, Objective};
use crate::optimizer::{Optimizer, OptimizerConfig, Treatment};
use crate::parameters::{GradientSum, Parameter, Parameters, set_learning};
use crate::recipe::{self, CheckpointConfig, Evaluate, Log, Run};
use crate::report;
use crate::schedule::Schedule;
use crate::tune::Tune;

/// Everything about a run but what is learnt.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The folder for checkpoints, curves and the final model.
    pub output: PathBuf,
    /// Decides dropout; the objective has its own for the data.
    pub seed: u64,
    /// How long.
    pub run: Run,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// Its schedule.
    pub schedule: Schedule,
    /// Parts of the run with a learning rate or a dropout of their own.
    pub courses: Courses,
    /// Which parameters learn.
    pub tune: Tune,
    /// How far word embeddings are moved against the loss, 0 for not at all ([`crate::recipe::Regularize::fgm`]).
    pub fgm: f32,
    /// Judging on the way.
    pub evaluate: Evaluate,
    /// What is kept.
    pub checkpoint: CheckpointConfig,
    /// What is told.
    pub log: Log,
    /// The recipe as text, kept in each checkpoint.
    pub recipe: String,
}

impl Settings {
    /// The optimizer of a model with these parameters.
    ///
    /// # Errors
    /// When what is to learn, or how, doesn't fit them.
    pub(crate) fn optimizer_of(&self, parameters: Parameters) -> Result<Optimizer> {
        self.tune.check(&self.optimizer)?;
        let treatments = self.tune.treatments(&parameters, self.optimizer.weight_decay())?;
        let learnt = |(parameter, treatment): (&Parameter, &Treatment)| parameter.word && treatment.thaws.is_some();
        if self.fgm > 0.0 && !parameters.iter().zip(&treatments).any(learnt) {
            let problem =
                "moves word embeddings, but none ever learns: let them (tune.train, tune.group), or leave it out";
            return Err(Error::recipe("regularize.fgm", problem));
        }
        let averaged = Some(self.run.average).filter(|decay| *decay > 0.0);
        Ok(Optimizer::new(self.optimizer.clone(), parameters, treatments, averaged))
    }
}

/// Who looks on.
pub trait Watch {
    /// Whether to stop after this step; a checkpoint is written first. Asked again and again while data is read through
    /// before the first step, and while the model is judged, which a continued run does anew.
    fn stop(&self) -> bool;
    /// Something worth a line.
    fn note(&mut self, text: &str);
    /// A step was made.
    fn step(&mut self, progress: &Progress);
    /// The model was judged after this step.
    fn judged(&mut self, step: u64, judgement: &Judgement, is_best: bool);
}

/// How a run stands.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Steps made.
    pub step: u64,
    /// Steps there will be, perhaps an estimate.
    pub total: u64,
    /// How often all data was seen.
    pub epochs: f64,
    /// The parts of this step's loss.
    pub losses: Vec<(&'static str, f64)>,
    /// The learning rate; none where the optimizer finds its own.
    pub lr: Option<f64>,
    /// The gradients' norm before it was limited.
    pub norm: f64,
    /// Tokens a second in the last steps, some thirty, without judging and saving.
    pub speed: f64,
    /// Multiplications and additions a second in the products of the last steps, as they were made.
    pub flops: f64,
    /// Seconds to the end, if all goes on as in the last steps.
    pub left: f64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where it stands.
    pub state: State,
    /// The final model's directory.
    pub model: PathBuf,
    /// The last judgement of this process.
    pub judgement: Option<Judgement>,
    /// Seconds of this process's steps.
    pub seconds: f64,
    /// Seconds of those in which they waited for data.
    pub waited: f64,
}

/// A run at work.
struct At<'a, O: Objective> {
    objective: &'a O,
    settings: &'a Settings,
    folder: Folder,
    optimizer: Optimizer,
    state: State,
    begun: Instant,
    /// Seconds that earlier processes used.
    before: f64,
    /// Steps of an epoch.
    steps_of_epoch: u64,
    /// Seconds and tokens of this process's steps.
    worked: (f64, u64),
    recent: Recent,
}

/// The last steps of this process: each counts a thirtieth less than the one after it.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    steps: f64,
    seconds: f64,
    tokens: f64,
    flops: f64,
}

impl Recent {
    fn add(&mut self, seconds: f64, tokens: usize, flops: u64) {
        const KEPT: f64 = 29.0 / 30.0;
        self.steps = KEPT * self.steps + 1.0;
        self.seconds = KEPT * self.seconds + seconds;
        self.tokens = KEPT * self.tokens + tokens as f64;
        self.flops = KEPT * self.flops + flops as f64;
    }

    /// Tokens a second.
    fn speed(&self) -> f64 {
        self.tokens / self.seconds.max(1e-9)
    }

    /// Multiplications and additions a second.
    fn flops(&self) -> f64 {
        self.flops / self.seconds.max(1e-9)
    }

    /// Seconds a step.
    fn pace(&self) -> f64 {
        self.seconds / self.steps.max(1.0)
    }
}

/// Trains what `start` gives, or goes on from the newest checkpoint in the folder of the run.
///
/// # Errors
/// When data or model don't fit, the loss is no number, or a file can't be written; [`Error::Stopped`] when `watch`
/// asked for it.
pub fn train<O: Objective>(
    objective: &O,
    start: impl FnOnce() -> Result<O::Model>,
    settings: &Settings,
    watch: &mut dyn Watch,
) -> Result<Outcome> {
    let folder = Folder::open(&settings.output)?;
    let found = folder.newest(&mut |text| watch.note(text))?;
    let mut model = match &found {
        Some(checkpoint) => objective.open(&checkpoint.learning())?,
        None => start()?,
    };
    let mut at = At::new(objective, settings, folder, &model, found.as_ref(), &|| watch.stop())?;
    if at.state.finished {
        watch.note(&format!("{}: the run was finished after step {}", settings.output.display(), at.state.step));
        return at.outcome(None, 0.0, watch);
    }
    if at.state.step > 0 {
        watch.note(&format!("going on after step {}", at.state.step));
    }
    let mut journal = Journal::open(at.folder.path(), at.state.step, &settings.log)?;
    let mut feed = objective.feed(at.state.cursor.clone());
    let mut learning = Vec::new();
    let mut judgement = None;
    // stopped while it was judged
    if at.state.step > 0 && at.is_to_be_judged() {
        (model, judgement) = at.settle(model, &mut journal, watch)?;
    }

    while !at.is_over() {
        let step = at.state.step + 1;
        let now = at.optimizer.learning(step);
        if now != learning {
            model = set_learning(model, &now);
            learning = now;
        }

        let (begun, flops) = (Instant::now(), timing::flops());
        let ready = feed.ready()?;
        let drops = (step as f64) <= settings.run.dropout_until * at.total();
        let parameters = at.optimizer.parameters();
        let made = gradients(objective, &model, &ready.micro, parameters, settings, step, drops, &|| watch.stop());
        if matches!(made, Err(Error::Stopped)) {
            // the step that was begun begins again in the run that goes on
            return at.leave(model, &mut journal);
        }
        let (gradients, losses) = made?;
        let norm = gradients.norm();
        if !(losses.iter().sum::<f64>().is_finite() && norm.is_finite()) {
            at.report()?;
            return Err(Error::Diverged { step });
        }

        let lr = settings.optimizer.lr();
        let factor = settings.courses.factor(&settings.schedule, lr, at.state.step as f64, at.total());
        let clip = GradientSum::clip_factor(norm, Some(settings.run.clip).filter(|limit| *limit > 0.0));
        model = at.optimizer.step(model, gradients, factor, clip);

        let tokens: usize = ready.micro.iter().map(|batch| objective.tokens(batch)).sum();
        let seconds = begun.elapsed().as_secs_f64();
        at.worked.0 += seconds;
        at.worked.1 += tokens as u64;
        at.recent.add(seconds, tokens, timing::flops().saturating_sub(flops));
        at.advance(&losses, norm, tokens as u64, ready.next, ready.epochs);
        let progress = at.progress(&losses, norm, factor);
        watch.step(&progress);
        let over = at.is_over();
        if step.is_multiple_of(settings.log.every) || over {
            let (means, norm) = at.state.window.means();
            journal.line(&Line::Step(&Progress { losses: named(objective, &means), norm, ..progress }))?;
            at.state.window = Window::default();
        }

        let found;
        (model, found) = at.settle(model, &mut journal, watch)?;
        judgement = found.or(judgement);
    }

    at.outcome(judgement, feed.waited().as_secs_f64(), watch)
}

impl<'a, O: Objective> At<'a, O> {
    fn new(
        objective: &'a O,
        settings: &'a Settings,
        folder: Folder,
        model: &O::Model,
        found: Option<&Checkpoint>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self> {
        let parameters = Parameters::of(model, &objective.names(model));
        let mut optimizer = settings.optimizer_of(parameters)?;
        let mut state = State { fingerprint: objective.fingerprint(), ..State::default() };
        if let Some(checkpoint) = found {
            let was = checkpoint.state()?;
            if was.fingerprint != state.fingerprint {
                let place = settings.output.display();
                let problem = "its checkpoints were made with other data: give that, or begin afresh";
                return Err(Error::Input(format!("{place}: {problem}")));
            }
            if let Some(difference) = recipe::difference(&checkpoint.recipe()?, &settings.recipe) {
                let problem = format!("its checkpoints were made by another recipe ({difference})");
                let way = "give the same, another output, or begin afresh";
                return Err(Error::Input(format!("{}: {problem}: {way}", settings.output.display())));
            }
            state = was;
            optimizer.load(&checkpoint.optimizer(), &Device::flex())?;
        }
        let epochs = settings.run.steps.is_none() && settings.run.minutes.is_none();
        let steps_of_epoch = if epochs { objective.steps_of_epoch(stop)?.max(1) } else { 1 };
        let before = state.seconds;
        Ok(Self {
            objective,
            settings,
            folder,
            optimizer,
            state,
            begun: Instant::now(),
            before,
            steps_of_epoch,
            worked: (0.0, 0),
            recent: Recent::default(),
        })
    }

    /// The number of steps that the recipe asks for; infinite where only time limits them.
    fn asked(&self) -> f64 {
        let Run { epochs, steps, minutes, .. } = self.settings.run;
        match (steps, minutes) {
            (Some(steps), _) => steps as f64,
            (None, None) => (epochs * self.steps_of_epoch as f64).ceil(),
            (None, Some(_)) => f64::INFINITY,
        }
    }

    /// The number of steps there will be; under a limit of time an estimate.
    fn total(&self) -> f64 {
        let by_count = self.asked();
        let Some(seconds) = self.settings.run.minutes.map(|minutes| 60.0 * minutes) else { return by_count };
        // before the first step nothing is known of its time
        let done = self.state.step.max(1) as f64;
        let used = if self.state.step == 0 { seconds / 1000.0 } else { self.state.seconds };
        (done * seconds / used.max(1e-3)).max(done).min(by_count)
    }

    fn is_over(&self) -> bool {
        let patience = self.settings.evaluate.patience;
        let late = self.settings.run.minutes.is_some_and(|minutes| self.state.seconds >= 60.0 * minutes);
        self.state.step as f64 >= self.total() || late || (patience > 0 && self.state.waiting >= patience)
    }

    /// Whether so many steps, or a tenth of all, were made since `last`.
    fn is_due(&self, every: Option<u64>, last: u64) -> bool {
        let every = every.unwrap_or_else(|| (self.total() / 10.0).ceil() as u64);
        self.state.step - last >= every.max(1)
    }

    fn advance(&mut self, losses: &[f64], norm: f64, tokens: u64, next: crate::feed::Cursor, epochs: f64) {
        let state = &mut self.state;
        state.step += 1;
        state.cursor = next;
        state.epochs = epochs;
        state.tokens += tokens;
        state.window.add(losses, norm, tokens);
        state.seconds = self.before + self.begun.elapsed().as_secs_f64();
    }

    /// Seconds to the end: by the pace of the last steps, with the share of judging and saving that this process had so
    /// far; at most what time is left.
    fn left(&self) -> f64 {
        let rest = (self.asked() - self.state.step as f64).max(0.0);
        let whole = self.begun.elapsed().as_secs_f64() / self.worked.0.max(1e-9);
        let time = self.settings.run.minutes.map_or(f64::INFINITY, |minutes| 60.0 * minutes - self.state.seconds);
        (rest * self.recent.pace() * whole.max(1.0)).min(time).max(0.0)
    }

    fn progress(&self, losses: &[f64], norm: f64, factor: f64) -> Progress {
        let (state, total, speed) = (&self.state, self.total(), self.recent.speed());
        Progress {
            step: state.step,
            total: total as u64,
            epochs: state.epochs,
            losses: named(self.objective, losses),
            lr: self.settings.optimizer.lr().map(|lr| f64::from(lr) * factor),
            norm,
            speed,
            flops: self.recent.flops(),
            left: self.left(),
        }
    }

    /// Whether the model is due to be judged and was not since its last step.
    fn is_to_be_judged(&self) -> bool {
        let State { step, judged, .. } = self.state;
        judged < step && (self.is_over() || self.is_due(self.settings.evaluate.every, judged))
    }

    /// What follows a step: the model is judged and written, if that is due.
    fn settle(
        &mut self,
        mut model: O::Model,
        journal: &mut Journal,
        watch: &mut dyn Watch,
    ) -> Result<(O::Model, Option<Judgement>)> {
        let (step, epochs) = (self.state.step, self.state.epochs);
        let (mut judgement, mut is_best) = (None, false);
        if self.is_to_be_judged() {
            let shown = self.optimizer.exchange(model);
            let found = self.objective.judge(&shown, &|| watch.stop());
            model = self.optimizer.exchange(shown);
            if matches!(found, Err(Error::Stopped)) {
                // written as not yet judged, so that a continued run begins with that
                return self.leave(model, journal);
            }
            self.state.judged = step;
            judgement = found?;
            if let Some(judgement) = &judgement {
                is_best = self.compare(judgement)?;
                watch.judged(step, judgement, is_best);
                journal.line(&Line::Judged { step, epochs, judgement, is_best })?;
            }
        }
        let stop = watch.stop();
        if self.is_over() || is_best || stop || self.is_due(self.settings.checkpoint.every, self.state.saved) {
            self.state.finished = self.is_over();
            journal.sync()?;
            model = self.save(model)?;
        }
        if stop && !self.state.finished {
            self.report()?;
            return Err(Error::Stopped);
        }
        Ok((model, judgement))
    }

    /// Ends a run that was stopped before its step was made.
    fn leave<T>(&mut self, model: O::Model, journal: &mut Journal) -> Result<T> {
        if self.state.saved < self.state.step {
            journal.sync()?;
            self.save(model)?;
        }
        self.report()?;
        Err(Error::Stopped)
    }

    /// Whether this is the best so far.
    fn compare(&mut self, judgement: &Judgement) -> Result<bool> {
        let chosen = match &self.settings.evaluate.metric {
            Some(name) => judgement.metrics.iter().find(|(metric, _)| metric == name),
            None => judgement.metrics.first(),
        };
        let Some((metric, value)) = chosen.cloned() else {
            let known: Vec<&str> = judgement.metrics.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::recipe("evaluate.metric", format!("there are {}", known.join(", "))));
        };
        let before = self.state.best.as_ref().map(|best| best.value);
        let is_best = Judgement::is_better(&metric, value, before);
        if is_best {
            self.state.best = Some(Best { step: self.state.step, metric, value });
            self.state.waiting = 0;
        } else {
            self.state.waiting += 1;
        }
        Ok(is_best)
    }

    /// The end: the best model, or the last, becomes the run's.
    fn outcome(self, judgement: Option<Judgement>, waited: f64, watch: &mut dyn Watch) -> Result<Outcome> {
        let best = self.state.best.as_ref().filter(|_| self.settings.checkpoint.best);
        let step = best.map_or(self.state.step, |best| best.step);
        let published = self.folder.path().join("model");
        // a run that was killed at its very end has neither report nor model yet
        self.report()?;
        let model = if self.worked.1 == 0 && published.is_dir() {
            published
        } else {
            self.folder.publish(step, self.state.step, &mut |text| watch.note(text))?
        };
        Ok(Outcome { state: self.state, model, judgement, seconds: self.worked.0, waited })
    }

    /// Writes the report of the run so far.
    fn report(&self) -> Result<()> {
        if self.settings.log.html {
            let data = self.objective.data();
            report::write(self.folder.path(), &self.state, &self.settings.recipe, &data)?;
        }
        Ok(())
    }

    /// Writes a checkpoint.
    fn save(&mut self, model: O::Model) -> Result<O::Model> {
        self.state.saved = self.state.step;
        let averages = self.optimizer.averages();
        let (model, shown) = if averages {
            let shown = self.optimizer.exchange(model);
            (self.optimizer.exchange(shown.clone()), shown)
        } else {
            (model.clone(), model)
        };
        let (objective, optimizer) = (self.objective, &self.optimizer);
        let mut learning = |dir: &Path| objective.save(&model, dir);
        let parts = Parts {
            state: &self.state,
            recipe: &self.settings.recipe,
            model: &mut |dir| objective.save(&shown, dir),
            learning: averages.then_some(&mut learning),
            optimizer: &|path| optimizer.save(path),
        };
        self.folder.save(self.settings.checkpoint.keep, parts)?;
        Ok(model)
    }
}

/// The gradients of a step from its micro-batches, with dropout if it `drops`, and the parts of its loss;
/// [`Error::Stopped`] where `stop` says so before one of them.
#[expect(clippy::too_many_arguments, reason = "all that a step depends on")]
pub(crate) fn gradients<O: Objective>(
    objective: &O,
    model: &O::Model,
    micro: &[O::Batch],
    parameters: &Parameters,
    settings: &Settings,
    step: u64,
    drops: bool,
    stop: &dyn Fn() -> bool,
) -> Result<(GradientSum, Vec<f64>)> {
    let scales = scales(objective, micro);
    let mut gradients = GradientSum::default();
    let mut losses = vec![0.0; objective.parts().len()];
    for (number, batch) in micro.iter().enumerate() {
        // a step of one batch is made whole
        if number > 0 && stop() {
            return Err(Error::Stopped);
        }
        let seed = seed_of(settings.seed, step, number as u64);
        let pass = || Pass::train(seed).recomputing(settings.run.gradient_checkpointing).dropping(drops);
        let parts = objective.losses(model, batch, &scales, &pass())?;
        add(&mut losses, &parts);
        let mut own = GradientSum::default();
        own.add(model, sum(parts).backward());
        let moved = Some(settings.fgm).filter(|distance| *distance > 0.0);
        if let Some(moved) = moved.and_then(|distance| adversarial::moved(model, &own, parameters, distance)) {
            let parts = objective.losses(&moved, batch, &scales, &pass())?;
            own.add(&moved, sum(parts).backward());
        }
        gradients.merge(own);
    }
    Ok((gradients, losses))
}

/// One over the count of targets of all micro-batches, for each part.
fn scales<O: Objective>(objective: &O, micro: &[O::Batch]) -> Vec<f32> {
    let mut totals = vec![0.0; objective.parts().len()];
    for batch in micro {
        for (total, weight) in totals.iter_mut().zip(objective.weights(batch)) {
            *total += weight;
        }
    }
    totals.into_iter().map(|total| if total > 0.0 { (1.0 / total) as f32 } else { 0.0 }).collect()
}

fn add(sums: &mut [f64], parts: &[Tensor<1>]) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += f64::from(part.clone().into_scalar::<f32>());
    }
}

fn sum(parts: Vec<Tensor<1>>) -> Tensor<1> {
    let mut parts = parts.into_iter();
    let first = parts.next().expect("an objective has a loss");
    parts.fold(first, |sum, part| sum + part)
}

fn named<O: Objective>(objective: &O, losses: &[f64]) -> Vec<(&'static str, f64)> {
    objective.parts().iter().copied().zip(losses.iter().copied()).collect()
}

/// The seed of the dropout of one micro-batch.
fn seed_of(seed: u64, step: u64, number: u64) -> u64 {
    // any injective arrangement will do: every place of a pass mixes it again
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(step << 20).wrapping_add(number)
}
