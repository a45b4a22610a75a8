//! What a run was made on, for its report: version, machine, threads, time.

use chrono::Utc;
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
        ("Written", Utc::now().format("%Y-%m-%d %H:%M UTC").to_string()),
    ]);
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The processor's name as Linux tells it; other systems don't say.
fn model(told: &str) -> Option<&str> {
    let line = told.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim()).filter(|model| !model.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_have_names() {
        assert_eq!(model("processor\t: 0\nmodel name\t: AMD EPYC 9B14\nflags\t: fpu\n"), Some("AMD EPYC 9B14"));
        assert_eq!(model("processor\t: 0\n"), None);
    }
}
