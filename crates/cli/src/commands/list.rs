//! `ptm list`: the models in the cache shared with Python.

use ptm_models::hub::{CachedModel, Hub};
use serde_json::{Value, json};

use crate::args::List;
use crate::output::Output;
use crate::progress::size;

pub fn run(args: &List) -> anyhow::Result<()> {
    let hub = Hub::from_env();
    let models = hub.list_cached();
    let mut output = Output::new();
    if args.json {
        output.json(&models.iter().map(value).collect::<Vec<_>>())?;
        return Ok(output.flush()?);
    }
    let width = models.iter().map(|model| model.id.len()).max().unwrap_or(0);
    for model in &models {
        let revisions: Vec<String> = model.revisions.iter().map(|r| revision(&r.commit, &r.refs)).collect();
        let aside = output.faint(&revisions.join(", "));
        output.line(&format!("{:width$}  {:>9}  {aside}", model.id, size(model.size_bytes)))?;
    }
    let total = models.iter().map(|model| model.size_bytes).sum();
    let cache = hub.settings().cache.display();
    let end = output.faint(&match models.len() {
        0 => format!("no models in {cache}"),
        n => format!("{n} {} in {cache}, {}", if n == 1 { "model" } else { "models" }, size(total)),
    });
    output.line(&end)?;
    Ok(output.flush()?)
}

fn value(model: &CachedModel) -> Value {
    let revisions: Vec<Value> = model
        .revisions
        .iter()
        .map(|r| json!({ "commit": r.commit, "refs": r.refs, "path": r.path.display().to_string() }))
        .collect();
    json!({
        "id": model.id,
        "size_bytes": model.size_bytes,
        "path": model.path.display().to_string(),
        "revisions": revisions,
    })
}

/// `main (1110a24)`, or the commit alone.
fn revision(commit: &str, refs: &[String]) -> String {
    let short: String = commit.chars().take(7).collect();
    if refs.is_empty() { short } else { format!("{} ({short})", refs.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_by_name() {
        assert_eq!(revision("0123456789", &["main".into()]), "main (0123456)");
        assert_eq!(revision("0123456789", &[]), "0123456");
    }
}
