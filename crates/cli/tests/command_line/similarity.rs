//! `ptm similarity`.

use serde_json::Value;

use super::{json, printed, ptm, refused};

const MEAL: &str = "A man is eating food.";
const LUNCH: &str = "Someone is having a meal.";
const BABY: &str = "The girl is carrying a baby.";

#[test]
fn near_is_nearer_than_far() {
    let scores = json(ptm().args(["similarity", "--json", MEAL, BABY, LUNCH]));
    let scores: Vec<f64> = scores.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    // in the order of the arguments
    assert!(scores.len() == 2 && scores[0] < 0.3 && scores[1] > 0.5, "{scores:?}");
    // the best first for readers
    let text = printed(ptm().args(["similarity", MEAL, BABY, LUNCH]));
    assert!(text.find(LUNCH).unwrap() < text.find(BABY).unwrap(), "{text}");
    let alone = printed(ptm().args(["similarity", MEAL, LUNCH]));
    assert_eq!(alone.lines().count(), 1);
    assert!(alone.trim_start().starts_with(&format!("{:.4}", scores[1])), "{alone}");
}

#[test]
fn a_query_ranks_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lines.txt");
    std::fs::write(&file, format!("{BABY}\n\n{LUNCH}\nA cheetah chases its prey.\n")).unwrap();
    let value = json(ptm().args(["similarity", "--json", "--query", MEAL, "--top-k", "2", "--file"]).arg(&file));
    let ranking = value.as_array().unwrap();
    assert_eq!(ranking.len(), 2);
    assert_eq!(ranking[0]["index"], 1);
    assert_eq!(ranking[0]["text"], LUNCH);
    assert!(ranking[0]["score"].as_f64() > ranking[1]["score"].as_f64());
    let keys: Vec<&String> = ranking[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["index", "score", "text"]);
    let all = printed(ptm().args(["similarity", "--query", MEAL, "--file"]).arg(&file));
    assert_eq!(all.lines().count(), 3);
}

#[test]
fn pairs_one_score_a_line() {
    let wanted = json(ptm().args(["similarity", "--json", MEAL, LUNCH]));
    let lines = format!("{MEAL}\t{BABY}\n{{\"a\": \"{MEAL}\", \"b\": \"{LUNCH}\"}}\n");
    let text = printed(ptm().args(["similarity", "--json"]).write_stdin(lines));
    let scores: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(scores.len(), 2);
    assert!((scores[1].as_f64().unwrap() - wanted[0].as_f64().unwrap()).abs() < 1e-5);
    let output = ptm().arg("similarity").write_stdin("a\tb\nonly one\na\tb\n").assert().code(2).get_output().clone();
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("standard input, line 2") && said.contains("1 of 3 inputs"), "{said}");
    assert_eq!(shown.lines().count(), 2, "the rest goes on");
}

#[test]
fn one_text_is_not_enough() {
    assert!(refused(ptm().args(["similarity", MEAL])).contains("hint: "));
    refused(ptm().args(["similarity", "--query", " ", "a"]));
    refused(ptm().args(["similarity", "--query", "a"]).write_stdin("\n\n"));
    refused(ptm().args(["similarity", "--query", "a", "b", "--top-k", "0"]));
}
