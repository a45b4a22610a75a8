//! `ptm explain`: tables, JSON and pages of what objectives make of a text.

use serde_json::json as value;

use super::{json, printed, ptm, refused};

const TEXT: &str = "Thank you for inviting me to your party last week. It was great fun.";

#[test]
fn what_drops_out_is_in_the_target() {
    let made = json(ptm().args(["explain", "span-corruption", TEXT, "--json", "--seed", "3"]));
    assert_eq!(made, json(ptm().args(["explain", "span_corruption", TEXT, "--json", "--seed", "3"])));
    assert_ne!(made, json(ptm().args(["explain", "span_corruption", TEXT, "--json", "--seed", "4"])));
    let [encoder, decoder] = &made[0]["examples"][0]["rows"].as_array().unwrap()[..] else { panic!("two sequences") };
    let words = |row: &serde_json::Value, key: &str| -> Vec<String> {
        row[key].as_array().unwrap().iter().map(|token| token.as_str().unwrap().to_owned()).collect()
    };
    let (source, target) = (words(encoder, "tokens"), words(decoder, "targets"));
    // 16 tokens, 2 of which drop out as one span
    assert_eq!((source.len(), &target[0][..], target.len()), (16 - 2 + 2, "<extra_id_0>", 4));
    let place = source.iter().position(|token| token == "<extra_id_0>").unwrap();
    let whole = [&source[..place], &target[1..3], &source[place + 1..]].concat();
    assert_eq!(whole.join(" "), "thank you for inviting me to your party last week . it was great fun . </s>");
    assert_eq!(decoder["loss_positions"], value!([0, 1, 2, 3]));
    assert_eq!(made[0]["examples"][0]["attention"][1]["visible"][1], value!([1, 1, 0, 0]));
}

#[test]
fn a_table_shows_both_streams() {
    let shown =
        printed(ptm().args(["explain", "permutation_lm", TEXT, "--set", "longest_span=1", "--set", "backwards=false"]));
    let head = shown.lines().nth(1).unwrap();
    for part in ["text", "predicts", "order", "content stream", "query stream"] {
        assert!(head.contains(part), "{head}");
    }
    // what is predicted sees itself in one stream alone
    let columns: Vec<Vec<&str>> = shown.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    let predicted: Vec<&Vec<&str>> = columns.iter().filter(|columns| columns.get(2) == Some(&"→")).collect();
    assert!(predicted.len() >= 2, "{shown}");
    for columns in predicted {
        let place: usize = columns[0].parse().unwrap();
        assert_eq!(columns[1], columns[3]);
        let sees = |column: usize| columns[column].chars().nth(place).unwrap();
        assert_eq!((sees(5), sees(6)), ('█', '·'), "{shown}");
    }
}

#[test]
fn all_objectives_stand_on_one_page() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("objectives.html");
    let shown =
        printed(ptm().args(["explain", "all", "<b>You</b> & I. We danced all night long.", "--html"]).arg(&file));
    assert_eq!(shown, "");
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("&lt;b&gt;You&lt;/b&gt; &amp; I.") && !page.contains("<b>You"));
    assert_eq!(page.matches("<svg ").count(), page.matches("</svg>").count());
    // the built-in model's tokenizer has no capitals, and "I." ends no sentence
    for name in ["capitalization", "sentence_reordering"] {
        assert!(!page.contains(&format!("<figcaption>{name}")), "{name}");
    }
    for name in [
        "causal_lm",
        "knowledge_masking",
        "token_document",
        "permutation_lm, example 2",
        "text_infilling",
        "span_corruption",
        "iid_dropped",
    ] {
        assert!(page.contains(&format!("<figcaption>{name}</figcaption>")), "{name}");
    }
    // nothing is fetched
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("<script"));
}

#[test]
fn classes_stand_where_they_are_foretold() {
    let shown = printed(ptm().args(["explain", "token_document", "The cat sat. The dog ran."]));
    let said: Vec<(&str, &str)> = shown
        .lines()
        .filter_map(|line| line.split_once('→').map(|(token, said)| (token.trim(), said.trim())))
        .collect();
    let said: Vec<(&str, bool)> = said
        .iter()
        .map(|(token, said)| (token.split_whitespace().last().unwrap(), said.starts_with("elsewhere too")))
        .collect();
    assert_eq!(said, [("the", true), ("cat", false), ("sat", false), (".", true)]);
    let made = json(ptm().args(["explain", "sentence_distance", "The cat sat. The dog ran.", "--json"]));
    let row = &made[0]["examples"][0]["rows"][0];
    assert_eq!((&row["loss_positions"], &row["targets"][0]), (&value!([0]), &value!("adjacent")));
    let phrase = "phrases=[\"sat on the mat\"]";
    let shown = printed(
        ptm()
            .args(["explain", "knowledge_masking", "The cat sat on the mat.", "--set", phrase])
            .args(["--set", "rate=0.6", "--set", "masked=1", "--set", "random=0", "--seed", "3"]),
    );
    let phrases = shown.split("encoder, phrases").nth(1).unwrap();
    let hidden = ["→ sat", "→ on", "→ mat"].iter().filter(|said| phrases.contains(**said)).count();
    assert!(hidden == 0 || hidden == 3, "{shown}");
}

#[test]
fn what_cannot_be_explained_is_said() {
    for (arguments, parts) in [
        (&["spam", TEXT][..], &["spam", "span_corruption"][..]),
        (&["span_corruption", TEXT, "--set", "spam=1"], &["spam"]),
        (&["span_corruption", TEXT, "--set", "rate=2"], &["objective.rate"]),
        (&["causal_lm", TEXT, "--set", "length"], &["--set length"]),
        (&["capitalization", TEXT], &["no capitals", "--lowercase false"]),
        (&["sentence_reordering", "One sentence."], &["two at least"]),
        (&["span_corruption", ""], &["0 tokens"]),
        (&["causal_lm", &"word ".repeat(300)], &["300 tokens", "256"]),
    ] {
        let message = refused(ptm().arg("explain").args(arguments));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}
