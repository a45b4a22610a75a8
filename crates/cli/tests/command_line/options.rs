//! An option that does not apply is an error that names it and says why; where a value comes from is said by
//! `--print-config`.

use assert_cmd::Command;
use serde_json::{Value, json};

use super::{copy, json as answer, parity, printed, ptm, refused};

const GPT2: &str = "pipelines/generation/gpt2";
const T5: &str = "pipelines/generation/t5";
const BART: &str = "pipelines/generation/bart";
const LABELS: &str = "pipelines/heads/bert-sequence";
const SPANS: &str = "pipelines/heads/bert-span";

/// A command line with a model, or the built-in one; `DRAFT` and `FILE` stand for paths.
fn command(model: &str, words: &str) -> Command {
    let mut command = ptm();
    let draft = parity(GPT2);
    for word in words.split(' ') {
        match word {
            "DRAFT" => command.arg(&draft),
            "FILE" => command.arg("no-such-folder/answers.jsonl"),
            word => command.arg(word),
        };
    }
    if !model.is_empty() {
        command.arg("-m").arg(parity(model));
    }
    command.write_stdin("a\tb\n");
    command
}

#[test]
fn options_that_do_not_apply_are_refused() {
    let table = [
        // what only drawing reads
        (
            GPT2,
            "generate a --do-sample false --temperature 0.5",
            "--temperature",
            "nothing is drawn, do_sample is false (given)",
        ),
        (GPT2, "generate a --do-sample false --top-p 0.5", "--top-p", "nothing is drawn"),
        (GPT2, "generate a --do-sample false --min-p 0.5", "--min-p", "nothing is drawn"),
        (GPT2, "generate a --do-sample false --typical-p 0.5", "--typical-p", "nothing is drawn"),
        (GPT2, "generate a --do-sample false --epsilon-cutoff 0.5", "--epsilon-cutoff", "nothing is drawn"),
        (GPT2, "generate a --do-sample false --eta-cutoff 0.5", "--eta-cutoff", "nothing is drawn"),
        (GPT2, "generate a --do-sample false --seed 3", "--seed", "nothing is drawn"),
        (GPT2, "generate a --do-sample false --top-k 5", "--top-k", "for drawing and for contrastive search"),
        (GPT2, "generate a --num-beams 2 --top-p 0.5", "--top-p", "nothing is drawn, do_sample is false (config.json"),
        (GPT2, "generate a --penalty-alpha 0.6 --top-k 4 --temperature 2", "--temperature", "nothing is drawn"),
        (GPT2, "generate a --do-sample false --set top_p=0.5", "--set top_p", "nothing is drawn"),
        (T5, "summarize a --temperature 0.5", "--temperature", "nothing is drawn"),
        (T5, "translate a --seed 1", "--seed", "nothing is drawn"),
        // what judges beams
        (GPT2, "generate a --length-penalty 2", "--length-penalty", "num_beams is 1"),
        (GPT2, "generate a --early-stopping true", "--early-stopping", "num_beams is 1"),
        (T5, "summarize a --num-beams 1 --length-penalty 2", "--length-penalty", "num_beams is 1 (given)"),
        // guesses
        (GPT2, "generate a --num-beams 2 --draft-model DRAFT", "--draft-model", "one beam, and num_beams is 2 (given)"),
        (
            GPT2,
            "generate a --num-beams 2 --num-beam-groups 2 --diversity-penalty 1 --draft-model DRAFT",
            "--draft-model",
            "num_beams is 2",
        ),
        (GPT2, "generate a --penalty-alpha 0.6 --top-k 4 --draft-model DRAFT", "--draft-model", "contrastive"),
        (
            GPT2,
            "generate a --do-sample true --num-return-sequences 2 --draft-model DRAFT",
            "--draft-model",
            "num_return_sequences is 2",
        ),
        (GPT2, "generate a --prompt-lookup-num-tokens 2 --draft-model DRAFT", "--draft-model", "from the text itself"),
        (BART, "summarize a --draft-model DRAFT", "--draft-model", "num_beams is 4 (generation_config.json)"),
        (GPT2, "generate a --num-assistant-tokens 2", "--num-assistant-tokens", "no draft model"),
        (GPT2, "generate a --set max_matching_ngram_size=2", "--set max_matching_ngram_size", "looked up"),
        // lengths
        (GPT2, "generate a --max-length 20 --max-new-tokens 5", "--max-length", "--max-new-tokens says"),
        (GPT2, "generate a --min-length 20 --min-new-tokens 5", "--min-length", "--min-new-tokens says"),
        (GPT2, "generate a --set decoder_start_token_id=1", "--set decoder_start_token_id", "goes on with a text"),
        // where answers go
        (GPT2, "generate a --top-logprobs 2", "--top-logprobs", "part of the JSON"),
        (GPT2, "generate a --stream --json", "--stream", "--json writes it"),
        (GPT2, "generate a --stream --output FILE", "--stream", "--output writes it"),
        (GPT2, "generate a --stream --batch-tokens 9", "--batch-tokens", "one text is answered after the other"),
        (GPT2, "generate a --stream --num-beams 2", "--stream", "num_beams is 2 (given)"),
        (
            GPT2,
            "generate a --do-sample true --stream --num-return-sequences 2",
            "--stream",
            "num_return_sequences is 2",
        ),
        (T5, "summarize a --stream", "--stream", "num_beams is 3 (config.json, task_specific_params.summarization)"),
        (T5, "translate a --stream --json --num-beams 1", "--stream", "--json writes it"),
        (GPT2, "generate a --resume", "--resume", "without --output"),
        (LABELS, "classify a --resume", "--resume", "without --output"),
        ("", "embed a --resume", "--resume", "without --output"),
        ("", "similarity a b --resume", "--resume", "without --output"),
        ("", "rerank a --query b --resume", "--resume", "without --output"),
        ("", "embed a --json --output v.npy", "--json", "--output writes"),
        // what is put before texts, or left out
        (GPT2, "generate a --chat --prefix b", "--prefix", "a chat"),
        (BART, "generate a --chat", "--chat", "answers with another"),
        (BART, "generate a --no-full-text", "--no-full-text", "answers with another"),
        ("", "embed a --tokens --normalize true", "--normalize", "vectors of tokens"),
        ("", "embed a --tokens --prompt b", "--prompt", "vectors of tokens"),
        ("", "embed a --tokens --output v.npy", "--output", "vectors of tokens"),
        // how texts are read
        (GPT2, "generate a --key b", "--key", "texts are arguments"),
        (T5, "summarize a --format text", "--format", "texts are arguments"),
        (LABELS, "classify a --key b", "--key", "texts are arguments"),
        (LABELS, "nli --premise a --hypothesis b --format csv", "--format", "texts are arguments"),
        (SPANS, "qa --question a --context b --format csv", "--format", "texts are arguments"),
        (LABELS, "zero-shot --labels a,b --format lines --key c", "--key", "no keys in lines"),
        ("", "embed --format text --key b", "--key", "no keys in lines"),
        (LABELS, "nli --format text", "--format", "two texts are read from each line"),
        (SPANS, "qa --format text", "--format", "two texts are read from each line"),
        ("", "similarity --format text", "--format", "two texts are read from each line"),
        ("", "similarity --key b", "--key", "under \"a\" and \"b\""),
        // how many of the best
        ("", "similarity --top-k 2", "--top-k", "pairs are not ranked"),
        ("", "similarity a b c --json --top-k 1", "--top-k", "in the order of the texts"),
        ("", "similarity a b c --query d --output FILE --top-k 1", "--top-k", "in the order of the inputs"),
        ("", "rerank a b --query d --output FILE --top-k 1", "--top-k", "in the order of the inputs"),
        // which model
        ("", "embed a --revision v1", "--revision", "no model of the hub is named"),
        ("", "embed a --tokens --revision v1", "--revision", "no model of the hub is named"),
        ("", "similarity a b --revision v1", "--revision", "no model of the hub is named"),
        ("", "rerank a --query b --revision v1", "--revision", "no model of the hub is named"),
        (GPT2, "generate a --revision v1", "--revision", "is a directory here"),
        (BART, "generate a --stop-sequence b", "--stop-sequence", "answers with another"),
        (LABELS, "classify a --revision v1", "--revision", "is a directory here"),
        ("", "rerank a --query b --function-to-apply sigmoid", "--function-to-apply", "gives vectors"),
    ];
    for (model, words, option, why) in table {
        let said = refused(&mut command(model, words));
        let said = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(
            said.starts_with(&format!("error: {option} does not apply: ")) && said.contains(why),
            "{words}: {said}"
        );
    }
    // pairs have no key that could be another
    for (model, words) in [(LABELS, "nli --key b"), (SPANS, "qa --key b")] {
        assert!(refused(&mut command(model, words)).contains("unexpected argument '--key'"), "{words}");
    }
    let said = refused(&mut command(GPT2, "generate a --num-beams 2 --set num_beams=3"));
    assert!(said.contains("num_beams is given twice"), "{said}");
    let said = refused(&mut command(GPT2, "generate a --bad-words b --set bad_words_ids=[[1]]"));
    assert!(said.contains("--set and by --bad-words"), "{said}");
    let said = refused(ptm().arg("run").arg(parity(LABELS)).args(["a", "--revision", "v1"]));
    assert!(said.contains("--revision v1 does not apply") && said.contains("is a directory here"), "{said}");
    let said = refused(ptm().args(["explain", "masked_lm", "a", "--revision", "v1", "--model"]).arg(parity(GPT2)));
    assert!(said.contains("--revision v1 does not apply"), "{said}");
}

/// A variable is checked as its flag is, and named; a switch that it turns off is none.
#[test]
fn variables_are_options() {
    for (words, variable, value, why) in [
        ("generate a --do-sample false", "PTM_TOP_P", "0.5", "PTM_TOP_P does not apply: nothing is drawn"),
        ("generate a", "PTM_NUM_ASSISTANT_TOKENS", "3", "PTM_NUM_ASSISTANT_TOKENS does not apply: no draft model"),
        ("generate a", "PTM_KEY", "body", "PTM_KEY does not apply: it says how files"),
        ("generate a", "PTM_RESUME", "1", "PTM_RESUME does not apply: without --output"),
        ("generate a --json", "PTM_STREAM", "1", "PTM_STREAM does not apply"),
        ("generate a --do-sample false", "PTM_SET", "top_p=0.5", "PTM_SET top_p does not apply"),
    ] {
        let said = refused(command(GPT2, words).env(variable, value));
        assert!(said.contains(why), "{variable}: {said}");
    }
    for (variable, value) in [("PTM_STREAM", "0"), ("PTM_RESUME", "false"), ("PTM_CHAT", "no")] {
        let words = "generate a --json --prefix b --max-new-tokens 2";
        command(GPT2, words).env(variable, value).assert().success();
    }
    let dir = tempfile::tempdir().unwrap();
    command("", "embed a").env("PTM_JSON", "0").arg("--output").arg(dir.path().join("v.npy")).assert().success();
}

/// What a model's files say stays, whether something reads it or not, as in transformers.
#[test]
fn what_the_files_say_is_not_refused() {
    let dir = copy(GPT2);
    let path = dir.path().join("generation_config.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in [
        ("temperature", json!(0.5)),
        ("top_p", json!(0.9)),
        ("length_penalty", json!(2.0)),
        ("early_stopping", json!(true)),
        ("num_assistant_tokens", json!(3)),
    ] {
        file[key] = value;
    }
    std::fs::write(&path, file.to_string()).unwrap();
    let say = |dir: &std::path::Path| {
        printed(ptm().args(["generate", "The tower", "--do-sample", "false", "--max-new-tokens", "8", "-m"]).arg(dir))
    };
    assert_eq!(say(dir.path()), say(&parity(GPT2)));
}

fn config(model: &std::path::Path, words: &str) -> Value {
    let mut command = ptm();
    command.args(words.split(' '));
    if model.is_dir() {
        command.arg("-m").arg(model);
    }
    answer(command.args(["--print-config", "--json"]))
}

/// A model's directory whose `config.json` has `params` for tasks.
fn with_params(model: &str, params: &Value) -> tempfile::TempDir {
    let dir = copy(model);
    let path = dir.path().join("config.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    file["task_specific_params"] = params.clone();
    std::fs::write(&path, file.to_string()).unwrap();
    dir
}

#[test]
fn every_value_has_its_origin() {
    let given = |name: &str| format!("given by --{name}");
    // of a summary
    let t5 = parity(T5);
    let one = config(&t5, "summarize");
    let params = "config.json, task_specific_params.summarization";
    for (name, value, from) in [
        ("num_beams", json!(3), params),
        ("prefix", json!("summarize: "), params),
        ("max_new_tokens", json!(256), "default of the task"),
        ("eos_token_id", json!(1), "generation_config.json"),
        ("do_sample", json!(false), "default"),
        ("truncation", json!(false), "default"),
        ("regex", Value::Null, "default"),
    ] {
        assert_eq!(one[name], json!({"value": value, "from": from}), "{name}");
    }
    let one =
        config(&t5, "summarize --prefix tell: --stop x --bad-words tower --truncate --set renormalize_logits=true");
    for (name, by) in [
        ("prefix", "prefix"),
        ("stop_strings", "stop"),
        ("bad_words_ids", "bad-words"),
        ("truncation", "truncate"),
        ("renormalize_logits", "set"),
    ] {
        assert_eq!(one[name]["from"], given(by), "{name}");
    }
    assert_eq!(one["prefix"]["value"], "tell:");
    let one = config(&parity(BART), "summarize");
    assert_eq!(one["prefix"], json!({"value": "", "from": "default"}));
    assert_eq!(one["num_beams"], json!({"value": 4, "from": "generation_config.json"}));
    // of a text that goes on
    let dir = with_params(GPT2, &json!({"text-generation": {"prefix": "Say: ", "max_length": 30}}));
    let one = config(dir.path(), "generate");
    let params = "config.json, task_specific_params.text-generation";
    assert_eq!(one["prefix"], json!({"value": "Say: ", "from": params}));
    assert_eq!(one["return_full_text"], json!({"value": true, "from": "default"}));
    assert_eq!(one["clean_up_tokenization_spaces"], json!({"value": true, "from": "default"}));
    assert_eq!(one["stop_sequence"], json!({"value": null, "from": "default"}));
    let one = config(dir.path(), "generate --clean-up false --stop-sequence end");
    assert_eq!(one["clean_up_tokenization_spaces"], json!({"value": false, "from": given("clean-up")}));
    assert_eq!(one["stop_sequence"], json!({"value": "end", "from": given("stop-sequence")}));
    let one = config(dir.path(), "generate --prefix Tell: --no-full-text");
    assert_eq!(one["prefix"], json!({"value": "Tell:", "from": given("prefix")}));
    assert_eq!(one["return_full_text"], json!({"value": false, "from": given("no-full-text")}));
    // of entities: for readers another default, which is one all the same
    let ner = |model: &std::path::Path, words: &str, as_json: bool| {
        let mut command = ptm();
        command.args(["ner", "--print-config"]).args(words.split_whitespace()).arg("-m").arg(model);
        if as_json {
            return answer(command.arg("--json"))["aggregation_strategy"].to_string();
        }
        let all = printed(&mut command);
        let line = all.lines().find(|line| line.starts_with("aggregation_strategy")).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    let tags = parity("pipelines/heads/bert-token");
    assert_eq!(ner(&tags, "", true), "{\"value\":\"none\",\"from\":\"default\"}");
    assert_eq!(ner(&tags, "", false), "\"simple\" default");
    assert_eq!(ner(&tags, "--aggregation-strategy max", false), "\"max\" given by --aggregation-strategy");
    let dir =
        with_params("pipelines/heads/bert-token", &json!({"token-classification": {"aggregation_strategy": "first"}}));
    let params = "config.json, task_specific_params.token-classification";
    assert_eq!(ner(dir.path(), "", false), format!("\"first\" {params}"));
    // of masks
    let dir = with_params("pipelines/bert", &json!({"fill-mask": {"top_k": 2, "targets": ["east", "come"]}}));
    let one = config(dir.path(), "fill-mask");
    let params = "config.json, task_specific_params.fill-mask";
    assert_eq!(one["top_k"], json!({"value": 2, "from": params}));
    assert_eq!(one["targets"], json!({"value": ["east", "come"], "from": params}));
    let text = "The capital of France is [MASK].";
    let filled = answer(ptm().args(["fill-mask", "--json", text, "-m"]).arg(dir.path()));
    assert_eq!(filled.as_array().unwrap().len(), 2);
    assert_eq!(config(dir.path(), "fill-mask --top-k 1")["top_k"], json!({"value": 1, "from": given("top-k")}));
    // of labels
    let one = config(&parity(LABELS), "zero-shot --labels a,b");
    assert_eq!(one["candidate_labels"], json!({"value": ["a", "b"], "from": given("labels")}));
    assert_eq!(one["multi_label"], json!({"value": false, "from": "default"}));
    let one = config(&parity(LABELS), "nli --truncate");
    assert_eq!(one["truncation"], json!({"value": true, "from": given("truncate")}));
    let dir = with_params(LABELS, &json!({"text-classification": {"top_k": 2}}));
    let one = config(dir.path(), "classify --function-to-apply sigmoid");
    assert_eq!(one["top_k"], json!({"value": 2, "from": "config.json, task_specific_params.text-classification"}));
    assert_eq!(one["function_to_apply"], json!({"value": "sigmoid", "from": given("function-to-apply")}));
    // of vectors
    let none = std::path::Path::new("");
    for name in ["embed", "similarity", "rerank"] {
        let one = config(none, name);
        assert_eq!(one["normalize"], json!({"value": true, "from": "modules.json"}), "{name}");
        assert_eq!(one["prompt"], json!({"value": "", "from": "default"}), "{name}");
    }
    let one = config(&parity("sentence/prompts"), "embed --prompt-name query --normalize false");
    assert_eq!(one["prompt"], json!({"value": "query: ", "from": given("prompt-name")}));
    assert_eq!(one["normalize"], json!({"value": false, "from": given("normalize")}));
    assert_eq!(config(none, "rerank --top-k 3")["top_k"], json!({"value": 3, "from": given("top-k")}));
    let one = config(&parity("pipelines/heads/bert-one"), "rerank");
    assert_eq!(one["function_to_apply"], json!({"value": "sigmoid", "from": "default"}));
}
