//! `--dashboard`: the loss so far as a curve of dots and the last judgements, above the line that says how training goes.

use std::collections::VecDeque;

/// Characters of the curve, each two dots wide and four high.
const WIDTH: usize = 64;
const HEIGHT: usize = 10;
/// Dots from left to right.
const ACROSS: usize = 2 * WIDTH;
/// Judgements that are shown.
const SHOWN: usize = 3;

/// What the dashboard shows. It holds no more than two means a column, however long a run is.
pub struct Dashboard {
    /// Sum and count of the losses of so many steps each.
    bins: Vec<(f64, u64)>,
    /// Steps of a bin.
    stride: u64,
    judged: VecDeque<String>,
}

impl Dashboard {
    pub fn new() -> Self {
        Self { bins: Vec::new(), stride: 1, judged: VecDeque::new() }
    }

    /// The loss of one more step.
    pub fn loss(&mut self, loss: f64) {
        match self.bins.last_mut() {
            Some((sum, count)) if *count < self.stride => (*sum, *count) = (*sum + loss, *count + 1),
            _ => self.bins.push((loss, 1)),
        }
        if self.bins.len() > ACROSS {
            let halves = self.bins.chunks(2);
            self.bins = halves.map(|two| two.iter().fold((0.0, 0), |a, b| (a.0 + b.0, a.1 + b.1))).collect();
            self.stride *= 2;
        }
    }

    /// What a judgement says.
    pub fn judged(&mut self, text: String) {
        self.judged.push_back(text);
        if self.judged.len() > SHOWN {
            self.judged.pop_front();
        }
    }

    /// The picture, a line each.
    pub fn lines(&self) -> Vec<String> {
        let means: Vec<f64> = self.bins.iter().map(|(sum, count)| sum / *count as f64).collect();
        let (low, high) = means.iter().fold((f64::MAX, f64::MIN), |(low, high), &mean| (low.min(mean), high.max(mean)));
        let mut dots = [[0_u8; WIDTH]; HEIGHT];
        let last = (4 * HEIGHT - 1) as f64;
        let height = |mean: f64| (((high - mean) / (high - low).max(1e-9)) * last).round() as usize;
        let mut before = None;
        for (x, &mean) in means.iter().enumerate() {
            // between neighbours the curve has no gap
            let y = height(mean).min(4 * HEIGHT - 1);
            let from = before.replace(y).unwrap_or(y);
            for y in from.min(y)..=from.max(y) {
                dots[y / 4][x / 2] |= bit(x % 2, y % 4);
            }
        }
        let label = |row: usize| match row {
            _ if means.is_empty() => String::new(),
            0 => format!("{high:.4}"),
            row if row + 1 == HEIGHT => format!("{low:.4}"),
            _ => String::new(),
        };
        let curve = dots.iter().enumerate().map(|(row, dots)| {
            let drawn: String =
                dots.iter().map(|&bits| char::from_u32(0x2800 + u32::from(bits)).unwrap_or(' ')).collect();
            format!("{:>10} │{drawn}", label(row))
        });
        let steps: u64 = self.bins.iter().map(|(_, count)| count).sum();
        let axis = format!("{:>10} └ loss of {steps} steps", "");
        curve.chain([axis]).chain(self.judged.iter().cloned()).collect()
    }
}

/// The bit of a dot of a Braille pattern (Unicode's block 2800), `x` of 2 from the left, `y` of 4 from above.
fn bit(x: usize, y: usize) -> u8 {
    [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]][x][y]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_loss_falls() {
        let mut dashboard = Dashboard::new();
        (0..=100).for_each(|step| dashboard.loss(3.0 - 0.02 * f64::from(step)));
        dashboard.judged("step 50: accuracy 0.8".into());
        let lines = dashboard.lines();
        assert_eq!(lines.len(), HEIGHT + 2);
        let begins = |row: usize, text: &str| assert!(lines[row].starts_with(text), "{row} {text}: {lines:#?}");
        begins(0, "    3.0000 │⠉⠓");
        begins(HEIGHT - 1, "    1.0000 │\u{2800}");
        assert!(lines[HEIGHT - 1].chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{lines:#?}");
        assert!(lines[HEIGHT].ends_with("loss of 101 steps"), "{lines:#?}");
        assert_eq!(lines[HEIGHT + 1], "step 50: accuracy 0.8");
        assert!(lines.iter().all(|line| line.chars().count() <= 12 + WIDTH), "{lines:#?}");
    }

    #[test]
    fn long_runs_are_held_in_a_row_of_means() {
        let mut dashboard = Dashboard::new();
        (0..100_000).for_each(|step| dashboard.loss(f64::from(step % 2)));
        assert!(dashboard.bins.len() <= ACROSS && dashboard.bins.len() > ACROSS / 2);
        assert_eq!(dashboard.bins.iter().map(|bin| bin.1).sum::<u64>(), 100_000);
        // all means are alike but perhaps the last's, so the curve is one line
        assert!(dashboard.bins[..ACROSS / 2].iter().all(|(sum, count)| (sum / *count as f64 - 0.5).abs() < 1e-12));
        (0..10).for_each(|step| dashboard.judged(step.to_string()));
        assert_eq!(dashboard.judged, ["7", "8", "9"]);
    }

    #[test]
    fn nothing_yet_and_always_the_same() {
        assert_eq!(Dashboard::new().lines().len(), HEIGHT + 1);
        let mut dashboard = Dashboard::new();
        (0..5).for_each(|_| dashboard.loss(0.25));
        assert!(dashboard.lines()[0].contains("0.2500"));
    }
}
