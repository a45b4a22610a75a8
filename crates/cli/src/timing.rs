//! `PTM_TIMING=1`: where the time of a run went, by kind of kernel, as a table on standard error at its end.

use std::fmt::Write as _;
use std::io::{Write as _, stderr};

use ptm_kernels::timing::{Line, report};

/// Prints the table if it is wanted.
pub fn print() {
    // the kernels count on this value alone
    if std::env::var_os("PTM_TIMING").is_some_and(|value| value == "1") {
        // nobody is left to hear that standard error is closed
        let _ = stderr().write_all(table(&report()).as_bytes());
    }
}

/// A line a kind that was called, the slowest first, and their sum.
fn table(lines: &[Line]) -> String {
    let mut lines: Vec<&Line> = lines.iter().filter(|line| line.calls > 0).collect();
    lines.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let all = lines.iter().fold(0.0, |sum, line| sum + line.seconds);
    let mut table = format!("{:<14} {:>9} {:>10} {:>7} {:>9}\n", "kernel", "calls", "seconds", "share", "Gflop/s");
    for line in &lines {
        let share = if all > 0.0 { 100.0 * line.seconds / all } else { 0.0 };
        let rate = if line.flops > 0 && line.seconds > 0.0 {
            format!("{:.1}", line.flops as f64 * 1e-9 / line.seconds)
        } else {
            "-".to_owned()
        };
        // a string takes whatever is written
        let _ = writeln!(table, "{:<14} {:>9} {:>10.4} {share:>6.1}% {rate:>9}", line.name, line.calls, line.seconds);
    }
    let calls: u64 = lines.iter().map(|line| line.calls).sum();
    let _ = writeln!(table, "{:<14} {calls:>9} {all:>10.4}", "all");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_first() {
        let line = |name, calls, seconds, flops| Line { name, calls, seconds, flops };
        let table =
            table(&[line("norm", 3, 0.5, 0), line("product", 2, 1.5, 3_000_000_000), line("optimizer", 0, 0.0, 0)]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["kernel", "calls", "seconds", "share", "Gflop/s"]);
        assert_eq!(lines[1], ["product", "2", "1.5000", "75.0%", "2.0"]);
        assert_eq!(lines[2], ["norm", "3", "0.5000", "25.0%", "-"]);
        assert_eq!(lines[3], ["all", "5", "2.0000"]);
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn nothing_ran() {
        assert!(table(&report()).ends_with("  0.0000\n"));
    }
}
