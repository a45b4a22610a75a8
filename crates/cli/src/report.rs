//! What goes to standard error: errors, hints, notes, the log.

use std::io::{IsTerminal, Write, stderr};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sends the log to standard error: by `RUST_LOG`, everything about ptm with `verbose`, else warnings unless `quiet`.
pub fn log(verbose: bool, quiet: bool) {
    let asked = std::env::var("RUST_LOG").ok().and_then(|spec| spec.parse::<Targets>().ok());
    let level = match (verbose, quiet) {
        (true, _) => LevelFilter::DEBUG,
        (false, true) => LevelFilter::ERROR,
        (false, false) => LevelFilter::WARN,
    };
    let ours = ["ptm", "ptm_kernels", "ptm_models", "ptm_ops", "ptm_tasks", "ptm_text", "ptm_train"];
    let filter = asked.unwrap_or_else(|| Targets::new().with_targets(ours.map(|name| (name, level))));
    let format = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(colours()).without_time();
    // a second call, as in tests, changes nothing
    let _ = tracing_subscriber::registry().with(format.with_target(verbose)).with(filter).try_init();
}

fn colours() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn line(label: &str, colour: &str, text: &str) {
    // nobody is left to hear that standard error is closed
    let _ = if colours() {
        writeln!(stderr(), "\x1b[1;{colour}m{label}:\x1b[0m {text}")
    } else {
        writeln!(stderr(), "{label}: {text}")
    };
}

/// `error: …`
pub fn error(text: &str) {
    line("error", "31", text);
}

/// `hint: …`
pub fn hint(text: &str) {
    line("hint", "36", text);
}

/// `note: …`
pub fn note(text: &str) {
    line("note", "33", text);
}
