//! Schedules of the learning rate (METHODS of BERT, T5, GPT and the others): what the peak is multiplied by at each
//! step. Formulas are those of `transformers`; one-cycle is PyTorch's.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The shape: `[schedule]` of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Up, then level.
    Constant {
        /// Steps of linear warm-up; below 1 a share of all steps. Default: 0.
        #[serde(default)]
        warmup: f64,
    },
    /// Up, then down to 0 on a line: BERT's.
    Linear {
        /// As above. Default: 0.06, RoBERTa's for fine-tuning.
        #[serde(default = "usual_warmup")]
        warmup: f64,
    },
    /// Up, then along a cosine: GPT's.
    Cosine {
        /// As above. Default: 0.06.
        #[serde(default = "usual_warmup")]
        warmup: f64,
        /// Waves after the warm-up. Default: 0.5, down to 0 once.
        #[serde(default = "half")]
        cycles: f64,
    },
    /// Up, then along a cosine to 0 several times, each begun at the peak.
    CosineRestarts {
        /// As above. Default: 0.06.
        #[serde(default = "usual_warmup")]
        warmup: f64,
        /// How often. Default: 1.
        #[serde(default = "one")]
        cycles: u32,
    },
    /// Up, then down along a power.
    Polynomial {
        /// As above. Default: 0.06.
        #[serde(default = "usual_warmup")]
        warmup: f64,
        /// Default: 1.
        #[serde(default = "unit")]
        power: f64,
        /// Share of the peak at the end. Default: 0.
        #[serde(default)]
        end: f64,
    },
    /// Up, then with the inverse root of the step.
    InverseRoot {
        /// As above. Default: 0.06.
        #[serde(default = "usual_warmup")]
        warmup: f64,
        /// Steps in which the peak holds its value under the root; default: the warm-up, or 10,000 without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timescale: Option<f64>,
    },
    /// `1/√max(step, hold)`, T5's; the peak is 1 there.
    T5 {
        /// Default: 10,000.
        #[serde(default = "ten_thousand")]
        hold: f64,
    },
    /// Up and down along cosines (Smith and Topin 2018).
    OneCycle {
        /// Share of the steps that go up. Default: 0.3.
        #[serde(default = "three_tenths")]
        rise: f64,
        /// The peak over the start. Default: 25.
        #[serde(default = "twenty_five")]
        start_divisor: f64,
        /// The start over the end. Default: 10,000.
        #[serde(default = "ten_thousand")]
        end_divisor: f64,
    },
    /// From `start` of the peak up to the peak, by the same factor each step: the range test of `--find-lr`.
    Range {
        /// Share of the peak at the first step. Default: 1e-6.
        #[serde(default = "millionth")]
        start: f64,
    },
}

macro_rules! defaults {
    ($($name:ident: $kind:ty = $value:expr;)*) => { $(fn $name() -> $kind { $value })* };
}

defaults! {
    usual_warmup: f64 = 0.06;
    half: f64 = 0.5;
    one: u32 = 1;
    unit: f64 = 1.0;
    ten_thousand: f64 = 1e4;
    three_tenths: f64 = 0.3;
    twenty_five: f64 = 25.0;
    millionth: f64 = 1e-6;
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Linear { warmup: usual_warmup() }
    }
}

/// Steps of a warm-up of `warmup` steps or, below 1, of that share of `total`.
fn warm(warmup: f64, total: f64) -> f64 {
    if warmup < 1.0 { (warmup * total).ceil() } else { warmup }
}

impl Schedule {
    /// What the peak is multiplied by after `step` of `total` steps were made. `total` may be an estimate that changes,
    /// as under a limit of time.
    pub fn factor(&self, step: f64, total: f64) -> f64 {
        let rising = |warmup: f64| (step < warmup).then(|| step / warmup.max(1.0));
        // how much of what follows the warm-up is done
        let progress = |warmup: f64| (step - warmup) / (total - warmup).max(1.0);
        match *self {
            Self::Constant { warmup } => rising(warm(warmup, total)).unwrap_or(1.0),
            Self::Linear { warmup } => {
                let warmup = warm(warmup, total);
                rising(warmup).unwrap_or_else(|| (1.0 - progress(warmup)).max(0.0))
            }
            Self::Cosine { warmup, cycles } => {
                let warmup = warm(warmup, total);
                rising(warmup).unwrap_or_else(|| (0.5 * (1.0 + (2.0 * PI * cycles * progress(warmup)).cos())).max(0.0))
            }
            Self::CosineRestarts { warmup, cycles } => {
                let warmup = warm(warmup, total);
                rising(warmup).unwrap_or_else(|| match progress(warmup) {
                    done if done >= 1.0 => 0.0,
                    done => (0.5 * (1.0 + (PI * (f64::from(cycles) * done).fract()).cos())).max(0.0),
                })
            }
            Self::Polynomial { warmup, power, end } => {
                let warmup = warm(warmup, total);
                rising(warmup).unwrap_or_else(|| {
                    if step > total {
                        return end;
                    }
                    (1.0 - end) * (1.0 - progress(warmup)).max(0.0).powf(power) + end
                })
            }
            Self::InverseRoot { warmup, timescale } => {
                let warmup = warm(warmup, total);
                let timescale = timescale.unwrap_or(if warmup > 0.0 { warmup } else { 1e4 }).max(1.0);
                rising(warmup).unwrap_or_else(|| 1.0 / ((step + timescale - warmup).max(1.0) / timescale).sqrt())
            }
            Self::T5 { hold } => 1.0 / step.max(hold).sqrt(),
            Self::OneCycle { rise, start_divisor, end_divisor } => {
                let (low, last) = (1.0 / start_divisor, 1.0 / start_divisor / end_divisor);
                let between = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * (1.0 + (PI * share).cos());
                let (top, end) = (rise * total - 1.0, total - 1.0);
                if step <= top {
                    return between(low, 1.0, if top > 0.0 { step / top } else { 1.0 });
                }
                between(1.0, last, ((step - top) / (end - top).max(1e-9)).min(1.0))
            }
            Self::Range { start } => start.powf((1.0 - step / (total - 1.0).max(1.0)).max(0.0)),
        }
    }

    /// The same shape with another warm-up; none of one that has no such.
    pub fn with_warmup(self, other: f64) -> Option<Self> {
        let mut this = self;
        match &mut this {
            Self::Constant { warmup }
            | Self::Linear { warmup }
            | Self::Cosine { warmup, .. }
            | Self::CosineRestarts { warmup, .. }
            | Self::Polynomial { warmup, .. }
            | Self::InverseRoot { warmup, .. } => *warmup = other,
            Self::T5 { .. } | Self::OneCycle { .. } | Self::Range { .. } => return None,
        }
        Some(this)
    }

    /// Says which constant can't work.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, problem: &str| Err(Error::recipe(format!("schedule.{field}"), problem));
        let positive = |x: f64| x > 0.0 && x.is_finite();
        match *self {
            Self::Constant { warmup }
            | Self::Linear { warmup }
            | Self::Cosine { warmup, .. }
            | Self::CosineRestarts { warmup, .. }
            | Self::Polynomial { warmup, .. }
            | Self::InverseRoot { warmup, .. }
                if !(0.0..f64::INFINITY).contains(&warmup) =>
            {
                wrong("warmup", "should be 0, a share below 1, or a number of steps")
            }
            Self::Cosine { cycles, .. } if !positive(cycles) => wrong("cycles", "should be above 0"),
            Self::CosineRestarts { cycles: 0, .. } => wrong("cycles", "should be above 0"),
            Self::Polynomial { power, .. } if !positive(power) => wrong("power", "should be above 0"),
            Self::Polynomial { end, .. } if !(0.0..=1.0).contains(&end) => wrong("end", "should be from 0 to 1"),
            Self::InverseRoot { timescale: Some(t), .. } if !positive(t) => wrong("timescale", "should be above 0"),
            Self::T5 { hold } if !positive(hold) => wrong("hold", "should be above 0"),
            Self::OneCycle { rise, .. } if !(rise > 0.0 && rise < 1.0) => wrong("rise", "should be between 0 and 1"),
            Self::OneCycle { start_divisor: a, end_divisor: b, .. } if !(positive(a) && positive(b)) => {
                wrong("start_divisor, end_divisor", "should be above 0")
            }
            Self::Range { start } if !(start > 0.0 && start < 1.0) => wrong("start", "should be between 0 and 1"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_steps() {
        let linear = |warmup| Schedule::Linear { warmup };
        assert_eq!(linear(0.1).factor(5.0, 100.0), 0.5);
        assert_eq!(linear(10.0).factor(5.0, 100.0), 0.5);
        assert_eq!(linear(0.0).factor(0.0, 100.0), 1.0);
        assert_eq!(linear(0.1).factor(100.0, 100.0), 0.0);
        assert_eq!(linear(0.1).factor(150.0, 100.0), 0.0);
    }

    #[test]
    fn nothing_leaves_its_range() {
        let all = [
            Schedule::Constant { warmup: 0.5 },
            Schedule::Linear { warmup: 1e9 },
            Schedule::Cosine { warmup: 0.0, cycles: 3.3 },
            Schedule::CosineRestarts { warmup: 0.9, cycles: 7 },
            Schedule::Polynomial { warmup: 0.0, power: 0.5, end: 0.1 },
            Schedule::InverseRoot { warmup: 0.0, timescale: None },
            Schedule::T5 { hold: 10.0 },
            Schedule::OneCycle { rise: 0.3, start_divisor: 25.0, end_divisor: 1e4 },
            Schedule::Range { start: 1e-6 },
        ];
        for schedule in all {
            schedule.check().unwrap();
            for total in [1.0, 2.0, 3.0, 100.0] {
                for step in 0..120 {
                    let factor = schedule.factor(f64::from(step), total);
                    assert!((0.0..=1.0 + 1e-12).contains(&factor), "{schedule:?} {step} of {total}: {factor}");
                }
            }
        }
        assert!(Schedule::Linear { warmup: f64::NAN }.check().is_err());
        assert!(Schedule::Range { start: 1.0 }.check().is_err());
    }
}
