//! What a run was made on, for its report: version, machine, threads, time.

use std::time::{SystemTime, UNIX_EPOCH};

use ptm_kernels::simd;

/// Names and values, to be shown.
pub(crate) fn facts() -> Vec<(String, String)> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut facts = vec![
        ("ptm", env!("CARGO_PKG_VERSION").to_owned()),
        ("System", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
    ];
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    facts.extend(model(&told).map(|model| ("Processor", model.to_owned())));
    facts.extend([
        ("Instructions", simd::level().name().to_owned()),
        ("Threads", format!("{} of {processors} processors", rayon::current_num_threads())),
        ("Written", date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()))),
    ]);
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The processor's name as Linux tells it; other systems don't say.
fn model(told: &str) -> Option<&str> {
    let line = told.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim()).filter(|model| !model.is_empty())
}

/// Seconds since 1970 as a date of the Gregorian calendar, in UTC.
fn date(seconds: u64) -> String {
    let mut days = seconds / 86400;
    let leaps = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leaps(year)) {
        days -= 365 + u64::from(leaps(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leaps(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{year}-{:02}-{:02} {hour:02}:{minute:02} UTC", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_200, "2024-03-01 00:00 UTC"),
            (1_767_225_599, "2025-12-31 23:59 UTC"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn processors_have_names() {
        assert_eq!(model("processor\t: 0\nmodel name\t: AMD EPYC 9B14\nflags\t: fpu\n"), Some("AMD EPYC 9B14"));
        assert_eq!(model("processor\t: 0\n"), None);
    }
}
