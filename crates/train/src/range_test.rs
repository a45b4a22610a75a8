//! `--find-lr`: the range test of learning rates (Smith 2017): over a few steps the rate grows exponentially, and the loss
//! says where learning begins, where it is best and where it ends. It trains a model that is thrown away.

use std::path::{Path, PathBuf};

use ptm_models::files::{create_dir, write_atomic};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::finetune::pursue;
use crate::objective::{Aim, Objective};
use crate::optimizer::Optimizer;
use crate::parameters::{GradientSum, Parameters, set_learning};
use crate::recipe::Recipe;
use crate::report::{document, plot, table};
use crate::training::{Settings, gradients};

/// Which rates are tried.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeOptions {
    /// The first. Default: 1e-7.
    pub from: f64,
    /// The last, unless the loss diverges before. Default: 1.
    pub to: f64,
    /// In so many steps. Default: 100.
    pub steps: u64,
}

impl Default for RangeOptions {
    fn default() -> Self {
        Self { from: 1e-7, to: 1.0, steps: 100 }
    }
}

/// One step of the test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The learning rate.
    pub lr: f64,
    /// The loss before the step was made.
    pub loss: f64,
    /// Its exponential mean so far, corrected for its beginning.
    pub smoothed: f64,
}

/// What came of the test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RangeTest {
    /// The rate to begin with: a tenth of that with the least smoothed loss.
    pub suggested: f64,
    /// The rate at which the smoothed loss fell fastest.
    pub steepest: f64,
    /// Whether the loss left all bounds before the last rate.
    pub diverged: bool,
    /// All steps.
    pub points: Vec<Point>,
}

/// Runs the test on the model in the directory `source` with the data, the batches and the optimizer of `recipe`; `heard`
/// hears each step, and says whether to go on. Nothing is written.
///
/// # Errors
/// When recipe, data and model don't fit each other, the optimizer has no rate to find, or the loss says nothing.
pub fn find_lr(
    recipe: &Recipe,
    source: &Path,
    options: &RangeOptions,
    heard: &mut dyn FnMut(&Point) -> bool,
) -> Result<RangeTest> {
    if recipe.optimizer.lr().is_none() {
        return Err(Error::recipe("optimizer.lr", "this optimizer finds its own rate: give one to begin with"));
    }
    if !(options.from > 0.0 && options.to > options.from && options.to.is_finite() && options.steps >= 10) {
        let problem = "the range test needs rates that rise from above 0, and 10 steps or more";
        return Err(Error::Input(problem.into()));
    }
    pursue(recipe, source, Range { options, heard })
}

struct Range<'a> {
    options: &'a RangeOptions,
    heard: &'a mut dyn FnMut(&Point) -> bool,
}

/// How much of the mean each step keeps.
const SMOOTH: f64 = 0.9;
/// The smoothed loss has diverged when it is so many times the least.
const FAR: f64 = 4.0;

impl Aim for Range<'_> {
    type Output = RangeTest;

    fn pursue<O: Objective>(
        self,
        objective: &O,
        start: impl FnOnce() -> Result<O::Model>,
        settings: &Settings,
    ) -> Result<RangeTest> {
        let RangeOptions { from, to, steps } = *self.options;
        let mut model = start()?;
        let parameters = Parameters::of(&model, &objective.names(&model));
        let treatments = settings.tune.treatments(&parameters, settings.optimizer.weight_decay())?;
        // the factor of a step is its rate
        let config = settings.optimizer.clone().with_lr(1.0);
        let mut optimizer = Optimizer::new(config, parameters, treatments, None);
        model = set_learning(model, &optimizer.learning(1));
        let mut feed = objective.feed(crate::feed::Cursor::default());
        let (mut points, mut mean, mut diverged) = (Vec::<Point>::new(), 0.0, false);
        for step in 1..=steps {
            let lr = from * (to / from).powf((step - 1) as f64 / (steps - 1) as f64);
            let ready = feed.ready()?;
            let (gradients, losses) =
                gradients(objective, &model, &ready.micro, optimizer.parameters(), settings, step, true, &|| false)?;
            let (loss, norm) = (losses.iter().sum::<f64>(), gradients.norm());
            mean = SMOOTH * mean + (1.0 - SMOOTH) * loss;
            let point = Point { lr, loss, smoothed: mean / (1.0 - SMOOTH.powf(step as f64)) };
            let least = points.iter().fold(f64::INFINITY, |least, point| least.min(point.smoothed));
            diverged = !(loss.is_finite() && norm.is_finite()) || point.smoothed > FAR * least;
            if diverged {
                break;
            }
            points.push(point);
            if !(self.heard)(&point) {
                return Err(Error::Stopped);
            }
            let clip = GradientSum::clip_factor(norm, Some(settings.run.clip).filter(|limit| *limit > 0.0));
            model = optimizer.step(model, gradients, lr, clip);
        }
        judge(points, diverged)
    }
}

/// Steps at the beginning of which the mean says little.
const FEW: usize = 5;

fn judge(points: Vec<Point>, diverged: bool) -> Result<RangeTest> {
    if points.len() < 2 * FEW {
        let problem = "the loss diverged before anything was learnt: is the model or the data damaged?";
        return Err(Error::Input(problem.into()));
    }
    let least = points[FEW..].iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed)).map_or(0.0, |point| point.lr);
    let slope = |w: &&[Point]| (w[2].smoothed - w[0].smoothed) / (w[2].lr / w[0].lr).ln();
    let steepest = points[FEW..].windows(3).min_by(|a, b| slope(a).total_cmp(&slope(b))).map_or(least, |w| w[1].lr);
    Ok(RangeTest { suggested: least / 10.0, steepest, diverged, points })
}

impl RangeTest {
    /// Writes `find-lr.html` with the plot and `find-lr.json` into `dir`.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn write(&self, dir: &Path) -> Result<[PathBuf; 2]> {
        create_dir(dir)?;
        let paths = ["find-lr.html", "find-lr.json"].map(|name| dir.join(name));
        write_atomic(&paths[0], self.page().as_bytes())?;
        let json = serde_json::to_vec_pretty(self).map_err(|error| Error::Input(error.to_string()))?;
        write_atomic(&paths[1], &json)?;
        Ok(paths)
    }

    fn page(&self) -> String {
        // beyond this a curve that left all bounds would press the others flat
        let first = self.points.first().map_or(1.0, |point| point.loss);
        let curve = |value: fn(&Point) -> f64| {
            self.points.iter().map(|point| (point.lr.log10(), value(point).min(2.0 * first))).collect::<Vec<_>>()
        };
        let (loss, smoothed) = (curve(|point| point.loss), curve(|point| point.smoothed));
        let (low, high) =
            smoothed.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), point| (low.min(point.1), high.max(point.1)));
        let at = self.suggested.log10();
        let curves = [("loss", loss), ("smoothed", smoothed), ("suggested", vec![(at, low), (at, high)])];
        let mut body = String::new();
        let facts = [
            ("Suggested".to_owned(), format!("{:.1e}", self.suggested)),
            ("Steepest".into(), format!("{:.1e}", self.steepest)),
            ("Steps".into(), self.points.len().to_string()),
            ("Diverged".into(), if self.diverged { "yes" } else { "no" }.into()),
        ];
        table(&mut body, "Results", &facts);
        plot(&mut body, "loss by learning rate", &curves, &|power| format!("{:.0e}", 10_f64.powf(power)));
        document("Range test of learning rates", &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss that falls most at 1e-4 and is least at 1e-2.
    fn points() -> Vec<Point> {
        let loss = |power: f64| 2.0 - 1.0 / (1.0 + (-3.0 * (power + 4.0)).exp()) + (4.0 * (power + 1.0)).exp();
        let point = |i: u32| {
            let power = -7.0 + f64::from(i) / 20.0;
            Point { lr: 10_f64.powf(power), loss: loss(power), smoothed: loss(power) }
        };
        (0..130).map(point).collect()
    }

    #[test]
    fn the_rate_lies_below_the_least_loss() {
        let test = judge(points(), true).unwrap();
        assert!((2e-4..2e-3).contains(&test.suggested), "{}", test.suggested);
        assert!((5e-5..2e-4).contains(&test.steepest), "{}", test.steepest);
        assert!(judge(points()[..6].to_vec(), true).is_err());
    }

    #[test]
    fn the_plot_has_its_curves() {
        let page = judge(points(), false).unwrap().page();
        assert_eq!(page.matches("<polyline").count(), 3);
        assert!(page.contains("1e-7") && !page.contains("NaN") && !page.contains("inf"));
    }
}
