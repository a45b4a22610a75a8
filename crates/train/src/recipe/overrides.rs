//! Settings over a recipe, `--set key=value`, and what two recipes differ in.

use std::collections::BTreeSet;

use toml::{Table, Value};

/// What of two recipes makes their runs differ: the first key whose values do, with both.
pub fn difference(before: &str, now: &str) -> Option<String> {
    let table = |text: &str| {
        let mut table: Table = toml::from_str(text).unwrap_or_default();
        for key in ["output", "log", "checkpoint"] {
            table.remove(key);
        }
        // how many threads prepare the data, and what is computed twice, changes nothing
        for (part, key) in [("data", "workers"), ("corpus", "workers"), ("run", "gradient_checkpointing")] {
            if let Some(Value::Table(part)) = table.get_mut(part) {
                part.remove(key);
            }
        }
        Value::Table(table)
    };
    differ("", Some(&table(before)), Some(&table(now)))
}

fn differ(path: &str, before: Option<&Value>, now: Option<&Value>) -> Option<String> {
    if let (Some(Value::Table(before)), Some(Value::Table(now))) = (before, now) {
        let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        return keys.into_iter().find_map(|key| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            differ(&path, before.get(key), now.get(key))
        });
    }
    let said = |value: Option<&Value>| value.map_or_else(|| "not given".to_owned(), Value::to_string);
    (before != now).then(|| format!("{path} was {}, now it is {}", said(before), said(now)))
}

/// Sets `a.b=value`; the value is TOML, or else a text.
///
/// # Errors
/// When it names no key, or one within what is no table.
pub fn set(table: &mut Table, given: &str) -> Result<(), String> {
    let Some((path, text)) =
        given.split_once('=').filter(|(path, _)| path.split('.').all(|key| !key.trim().is_empty()))
    else {
        return Err("give key=value".into());
    };
    let value: Value = toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let (parents, key) = path.trim().rsplit_once('.').unwrap_or(("", path.trim()));
    let mut at = table;
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        let next = at.entry(parent).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(next) = next else { return Err(format!("{parent} is no table")) };
        at = next;
    }
    // a table that is chosen by its name needs the name's own keys only
    if key == "name" && at.get("name").is_some_and(|name| *name != value) {
        at.clear();
    }
    at.insert(key.to_owned(), value);
    Ok(())
}
