//! `ptm doctor`: what ptm runs on. Never shows the token itself.

use ptm_kernels::{peak, simd};
use ptm_models::hub::{Hub, TokenSource};
use ptm_tasks::{Embedder, FillMask};
use serde_json::json;

use crate::args::Doctor;
use crate::output::Output;

/// The dependencies that matter when something is off.
const MAIN_CRATES: [&str; 4] = ["burn", "tokenizers", "safetensors", "rayon"];
/// The versions that this program is built from.
const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"));
/// The best of so many products is the machine's rate.
const RUNS: usize = 5;

pub fn run(args: &Doctor) -> anyhow::Result<()> {
    let hub = Hub::from_env();
    let settings = hub.settings();
    let (embedder, filler) = (Embedder::embedded()?, FillMask::embedded()?);
    let gflops = peak::f32_gflops(RUNS);
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let threads = rayon::current_num_threads();
    let (used, detected) = (simd::level().name(), simd::detected().name());
    let cache = settings.cache.display().to_string();
    let present = settings.token_source != TokenSource::None;
    let token_source = if present { Some(settings.token_source.to_string()) } else { None };
    let versions: Vec<(&str, &str)> =
        MAIN_CRATES.iter().filter_map(|&name| Some((name, locked(LOCK, name)?))).collect();
    let mut output = Output::new();
    if args.json {
        let crates: serde_json::Map<_, _> = versions.iter().map(|&(name, v)| (name.to_owned(), v.into())).collect();
        output.json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            "simd": { "used": used, "detected": detected },
            "cores": cores,
            "threads": threads,
            "f32_gflops": (gflops * 10.0).round() / 10.0,
            "cache": cache,
            "endpoint": settings.endpoint,
            "offline": settings.offline,
            "token": { "present": present, "source": token_source },
            "embedded": [
                { "name": embedder.name(), "dimension": embedder.dimension(), "max_length": embedder.max_length() },
                { "name": filler.name(), "max_length": filler.max_length() },
            ],
            "crates": crates,
        }))?;
        return Ok(output.flush()?);
    }
    let lower = if used == detected { String::new() } else { format!(" (the processor has {detected}; see PTM_SIMD)") };
    let absent = if settings.cache.is_dir() { "" } else { " (not there yet)" };
    let crates: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    for (label, text) in [
        ("version", format!("ptm {}", env!("CARGO_PKG_VERSION"))),
        ("machine", format!("{}, {}, {cores} cores", std::env::consts::ARCH, std::env::consts::OS)),
        ("instructions", format!("{used}{lower}")),
        ("threads", threads.to_string()),
        ("f32 products", format!("{gflops:.0} Gflop/s")),
        (
            "built in",
            format!("{}: {} numbers, {} tokens", embedder.name(), embedder.dimension(), embedder.max_length()),
        ),
        ("", format!("{}: masked words, {} tokens", filler.name(), filler.max_length())),
        ("cache", format!("{cache}{absent}")),
        ("hub", format!("{}{}", settings.endpoint, if settings.offline { ", offline" } else { "" })),
        ("token", token_source.map_or("none".into(), |source| format!("from {source}"))),
        ("built with", crates.join(", ")),
    ] {
        let label = output.faint(&format!("{label:<13}"));
        output.line(&format!("{label} {text}"))?;
    }
    Ok(output.flush()?)
}

/// The version of a crate in a `Cargo.lock`: where it holds several, the one that ptm's own crates use, else the newest.
fn locked<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let packages = || lock.split("[[package]]");
    let field = |package: &'a str, key: &str| package.split_once(&format!("\n{key} = \""))?.1.split('"').next();
    let ours = packages().filter(|package| field(package, "name").is_some_and(|name| name.starts_with("ptm")));
    // with several versions a dependency is named with its own
    let asked = format!("\n \"{name} ");
    let used = ours.filter_map(|package| package.split_once(&asked)?.1.split(['"', ' ']).next()).last();
    used.or_else(|| {
        packages().filter(|package| field(package, "name") == Some(name)).last().and_then(|p| field(p, "version"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock() {
        let lock =
            "[[package]]\nname = \"burn-x\"\nversion = \"9\"\n\n[[package]]\nname = \"burn\"\nversion = \"0.1.2\"\n";
        assert_eq!(locked(lock, "burn"), Some("0.1.2"));
        assert_eq!(locked(lock, "bur"), None);
        // of several the one that is ptm's own, whatever their order
        for (used, other) in [("0.3.3", "0.8.0"), ("0.8.0", "0.3.3")] {
            let package = |version: &str| format!("[[package]]\nname = \"st\"\nversion = \"{version}\"\n\n");
            let ours =
                format!("[[package]]\nname = \"ptm-x\"\nversion = \"1\"\ndependencies = [\n \"st {used}\",\n]\n\n");
            let theirs =
                format!("[[package]]\nname = \"x\"\nversion = \"1\"\ndependencies = [\n \"st {other}\",\n]\n\n");
            let lock = [ours, package(used), package(other), theirs].concat();
            assert_eq!(locked(&lock, "st"), Some(used));
        }
        for name in MAIN_CRATES {
            assert!(locked(LOCK, name).is_some(), "{name}");
        }
    }
}
