//! What is put before every source of text-to-text (T5, §2.4): the `config.json` of the model that was taught says it,
//! so that whoever asks the model, here or in `transformers`, writes sources as training read them.

use serde_json::{Map, Value};

/// Makes `prefix` the one that the configuration names. Tasks of the model it began with that put other words before a
/// text go: the model was not taught to read those.
pub(super) fn teach(config: &mut Map<String, Value>, prefix: &str) {
    if prefix.is_empty() {
        config.remove("prefix");
    } else {
        config.insert("prefix".into(), prefix.into());
    }
    if let Some(Value::Object(tasks)) = config.get_mut("task_specific_params") {
        let named = |task: &Value| task.get("prefix").and_then(Value::as_str).map(str::to_owned);
        tasks.retain(|_, task| named(task).is_none_or(|own| own == prefix));
        if tasks.is_empty() {
            config.remove("task_specific_params");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taught(config: Value, prefix: &str) -> Value {
        let Value::Object(mut config) = config else { panic!("an object") };
        teach(&mut config, prefix);
        config.into()
    }

    #[test]
    fn the_configuration_names_what_was_taught_and_nothing_else() {
        let small = json!({"prefix": "old: ", "task_specific_params": {
            "summarization": {"prefix": "summarize: ", "num_beams": 4}, "translation_en_to_fr": {"prefix": "to French: "},
            "other": {"num_beams": 2}}});
        let kept = json!({"prefix": "summarize: ", "task_specific_params": {
            "summarization": {"prefix": "summarize: ", "num_beams": 4}, "other": {"num_beams": 2}}});
        assert_eq!(taught(small.clone(), "summarize: "), kept);
        assert_eq!(taught(small, ""), json!({"task_specific_params": {"other": {"num_beams": 2}}}));
        let only = json!({"task_specific_params": {"summarization": {"prefix": "summarize: "}}});
        assert_eq!(taught(only, "tl;dr "), json!({"prefix": "tl;dr "}));
    }
}
