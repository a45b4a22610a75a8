//! `ptm pull`: a model of the hub into the cache.

use serde_json::json;

use crate::args::Pull;
use crate::output::Output;
use crate::{hub, report};

pub fn run(args: &Pull, quiet: bool) -> anyhow::Result<()> {
    let dir = hub::resolve(&args.id, args.revision.as_deref(), quiet)?;
    if !quiet && std::path::Path::new(&args.id).is_dir() {
        report::note(&format!("{} is a directory here: nothing was fetched", args.id));
    }
    let shown = dir.display().to_string();
    let mut output = Output::new();
    if args.json {
        output.json(&json!({ "id": args.id, "path": shown }))?;
    } else {
        output.line(&shown)?;
    }
    Ok(output.flush()?)
}
