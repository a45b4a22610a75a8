//! BERT's pooler, over a change of heads: masked language modelling has none, so that a model that went on by it would
//! begin to learn a task with a fresh one, and the model as it was with its own. Compared are the bodies, so each keeps it.

use std::path::Path;

use ptm_models::files::{SHARD_BYTES, Weights, Writer};

use crate::error::Result;

/// Writes the pooler of `from` to the model of `to`, where that has none; where `from` has none, nothing is done.
///
/// # Errors
/// When weights can't be read or written.
pub fn carry(from: &Path, to: &Path) -> Result<()> {
    let (before, after) = (Weights::open(from)?, Weights::open(to)?);
    let is_pooler = |name: &&str| name.starts_with("pooler.") || name.contains(".pooler.");
    let names: Vec<&str> = before.names().filter(is_pooler).collect();
    if names.is_empty() || after.names().any(|name| is_pooler(&name)) {
        return Ok(());
    }
    let mut poolers = Vec::new();
    for view in names.iter().filter_map(|name| before.get(name)) {
        poolers.push((view.name().to_owned(), view.shape.clone(), view.to_f32()?));
    }
    let mut writer = Writer::new();
    for view in after.names().filter_map(|name| after.get(name)) {
        writer.view(&view);
    }
    for (name, shape, values) in &poolers {
        writer.f32(name, shape, values);
    }
    Ok(writer.write_sharded(to, SHARD_BYTES)?)
}

#[cfg(test)]
mod tests {
    use ptm_models::files::write_safetensors;

    use super::*;

    #[test]
    fn what_is_missing_is_carried_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, tensors: &[(&str, f32)]| {
            let place = dir.path().join(name);
            std::fs::create_dir_all(&place).unwrap();
            let tensors = tensors.iter().map(|&(name, value)| (name.to_owned(), vec![1, 2], vec![value, 9.0]));
            write_safetensors(&place.join("model.safetensors"), tensors).unwrap();
            place
        };
        let read = |place: &Path| -> Vec<(String, f32)> {
            let weights = Weights::open(place).unwrap();
            weights.names().map(|name| (name.to_owned(), weights.get(name).unwrap().to_f32().unwrap()[0])).collect()
        };
        let base = write("base", &[("a", 1.0), ("bert.pooler.dense.weight", 2.0), ("cls.b", 3.0)]);
        let grown = write("grown", &[("bert.a", 4.0)]);
        carry(&base, &grown).unwrap();
        let expected = [("bert.a".to_owned(), 4.0), ("bert.pooler.dense.weight".to_owned(), 2.0)];
        assert_eq!(read(&grown), expected);
        carry(&write("other", &[("pooler.dense.weight", 7.0)]), &grown).unwrap();
        assert_eq!(read(&grown), expected);
        let none = write("none", &[("x", 5.0)]);
        carry(&none, &none).unwrap();
        assert_eq!(read(&none), [("x".to_owned(), 5.0)]);
    }
}
