//! How far a long run is: a bar on a terminal, a line now and then elsewhere, nothing for what is over soon.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report;

/// Shorter runs show nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(15);

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
}

impl Progress {
    /// Of `total` things, when that is known.
    pub fn new(unit: Unit, total: Option<u64>, quiet: bool) -> Self {
        let now = Instant::now();
        Self { unit, total, begun: now, said: now, quiet, bar: None }
    }

    /// `done` of them are done.
    pub fn at(&mut self, done: u64) {
        if self.quiet || self.begun.elapsed() < PATIENCE {
            return;
        }
        if !stderr().is_terminal() {
            if self.said.elapsed() >= PAUSE {
                self.said = Instant::now();
                report::note(&self.line(done));
            }
            return;
        }
        let bar = self.bar.get_or_insert_with(|| draw(&self.unit, self.total));
        bar.set_position(done);
    }

    fn line(&self, done: u64) -> String {
        let speed = done as f64 / self.begun.elapsed().as_secs_f64();
        let of = self.total.map_or_else(String::new, |total| match &self.unit {
            Unit::Things(_) => format!(" of {total}"),
            Unit::Bytes(_) => format!(" of {}", size(total)),
        });
        match &self.unit {
            Unit::Things(name) => format!("{done}{of} {name}, {speed:.0} a second"),
            Unit::Bytes(file) => format!("{file}: {}{of}, {} a second", size(done), size(speed as u64)),
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

fn draw(unit: &Unit, total: Option<u64>) -> ProgressBar {
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::no_length(),
    };
    let template = match (unit, total.is_some()) {
        (Unit::Things(_), true) => "{bar:30} {pos}/{len} {msg} · {per_sec} · {eta} left",
        (Unit::Things(_), false) => "{spinner} {pos} {msg} · {per_sec}",
        (Unit::Bytes(_), true) => "{bar:30} {bytes}/{total_bytes} · {bytes_per_sec} · {eta} left · {msg}",
        (Unit::Bytes(_), false) => "{spinner} {bytes} {msg} · {bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    match unit {
        Unit::Things(name) => bar.set_message(*name),
        Unit::Bytes(file) => bar.set_message(file.clone()),
    }
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
    bar
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
        let progress = Progress::new(Unit::Things("texts"), Some(10), false);
        assert!(progress.line(3).starts_with("3 of 10 texts, "), "{}", progress.line(3));
    }
}
