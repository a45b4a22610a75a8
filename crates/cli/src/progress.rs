//! How far a long run is: a bar on a terminal, a line now and then elsewhere, nothing for what is over soon.

use std::collections::VecDeque;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report;

/// Shorter runs show nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(15);

/// Between two pictures of a bar.
const FRAME: Duration = Duration::from_millis(125);
/// Speed is that of the last so many steps of so long.
const STEPS: usize = 12;
const STEP: Duration = Duration::from_millis(500);

/// What is counted.
pub enum Unit {
    /// Texts, pairs and other things.
    Things(&'static str),
    /// Bytes of this file.
    Bytes(String),
}

/// Progress of one run.
pub struct Progress {
    unit: Unit,
    total: Option<u64>,
    begun: Instant,
    said: Instant,
    quiet: bool,
    bar: Option<ProgressBar>,
    /// How much was done when.
    steps: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// Of `total` things, when that is known.
    pub fn new(unit: Unit, total: Option<u64>, quiet: bool) -> Self {
        let now = Instant::now();
        let steps = match unit {
            Unit::Things(_) => VecDeque::from([(now, 0)]),
            // what an earlier run fetched is there at once, and says nothing of the speed
            Unit::Bytes(_) => VecDeque::new(),
        };
        Self { unit, total, begun: now, said: now, quiet, bar: None, steps }
    }

    /// `done` of them are done.
    pub fn at(&mut self, done: u64) {
        if self.quiet {
            return;
        }
        let now = Instant::now();
        if self.steps.back().is_none_or(|(then, _)| now.duration_since(*then) >= STEP) {
            self.steps.push_back((now, done));
            if self.steps.len() > STEPS {
                self.steps.pop_front();
            }
        }
        if self.begun.elapsed() < PATIENCE {
            return;
        }
        let terminal = stderr().is_terminal();
        if self.said.elapsed() < if terminal { FRAME } else { PAUSE } {
            return;
        }
        self.said = now;
        let line = self.line(done, self.speed(now, done));
        if !terminal {
            report::note(&line);
            return;
        }
        let bar = self.bar.get_or_insert_with(|| draw(self.total));
        bar.set_message(line);
        bar.set_position(done);
    }

    /// Things or bytes a second.
    fn speed(&self, now: Instant, done: u64) -> Option<f64> {
        let (then, before) = self.steps.front()?;
        let seconds = now.duration_since(*then).as_secs_f64();
        (seconds > 0.1 && done > *before).then(|| (done - before) as f64 / seconds)
    }

    fn line(&self, done: u64, speed: Option<f64>) -> String {
        let of = self.total.map_or_else(String::new, |total| match &self.unit {
            Unit::Things(_) => format!(" of {total}"),
            Unit::Bytes(_) => format!(" of {}", size(total)),
        });
        let how_fast = speed.map_or_else(String::new, |speed| match &self.unit {
            Unit::Things(_) if speed < 10.0 => format!(", {speed:.1} a second"),
            Unit::Things(_) => format!(", {speed:.0} a second"),
            Unit::Bytes(_) => format!(", {} a second", size(speed as u64)),
        });
        let left = self.total.zip(speed).map_or_else(String::new, |(total, speed)| {
            format!(", {} left", duration(total.saturating_sub(done) as f64 / speed))
        });
        match &self.unit {
            Unit::Things(name) => format!("{done}{of} {name}{how_fast}{left}"),
            Unit::Bytes(file) => format!("{file}: {}{of}{how_fast}{left}", size(done)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn draw(total: Option<u64>) -> ProgressBar {
    // no line is drawn before the bar is as it should be, for it would stay
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
    let template = if total.is_some() { "{bar:24} {wide_msg}" } else { "{spinner} {wide_msg}" };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
    bar
}

/// Seconds for a reader: `8 s`, `12 min`, `3 h 5 min`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Bytes for a reader: `90.9 MB`.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1000), "1.0 kB");
        assert_eq!(size(90_868_376), "90.9 MB");
        assert_eq!(size(u64::MAX), "18446744.1 TB");
    }

    #[test]
    fn lines_say_how_far() {
        let texts = Progress::new(Unit::Things("texts"), Some(10), false);
        assert_eq!(texts.line(3, Some(2.0)), "3 of 10 texts, 2.0 a second, 4 s left");
        assert_eq!(texts.line(3, None), "3 of 10 texts");
        let file = Progress::new(Unit::Bytes("model.safetensors".into()), Some(90_000_000), false);
        let line = file.line(30_000_000, Some(5e5));
        assert_eq!(line, "model.safetensors: 30.0 MB of 90.0 MB, 500.0 kB a second, 2 min left");
        let unknown = Progress::new(Unit::Bytes("x".into()), None, false);
        assert_eq!(unknown.line(5, Some(1000.0)), "x: 5 B, 1.0 kB a second");
        assert_eq!([0.0, 90.0, 91.0, 5400.0, 11_100.0].map(duration), ["0 s", "90 s", "2 min", "90 min", "3 h 5 min"]);
    }

    #[test]
    fn what_was_there_before_is_not_speed() {
        let mut resumed = Progress::new(Unit::Bytes("x".into()), Some(100), false);
        resumed.at(80);
        assert_eq!(resumed.speed(resumed.steps[0].0 + Duration::from_secs(2), 90), Some(5.0));
        let texts = Progress::new(Unit::Things("texts"), Some(100), false);
        assert_eq!(texts.speed(texts.begun + Duration::from_secs(2), 90), Some(45.0));
        assert_eq!(texts.speed(texts.begun, 0), None);
    }
}
