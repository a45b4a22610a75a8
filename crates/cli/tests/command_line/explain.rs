//! `ptm explain`: tables, JSON and pages of what objectives make of a text.

use serde_json::json as value;

use super::{json, parity, printed, ptm, refused};

const TEXT: &str = "Thank you for inviting me to your party last week. It was great fun.";

#[test]
fn what_drops_out_is_in_the_target() {
    let made = json(ptm().args(["explain", "span-corruption", TEXT, "--json", "--seed", "3"]));
    assert_eq!(made, json(ptm().args(["explain", "span_corruption", TEXT, "--json", "--seed", "3"])));
    assert_ne!(made, json(ptm().args(["explain", "span_corruption", TEXT, "--json", "--seed", "4"])));
    let [encoder, decoder] = &made[0]["examples"][0]["rows"].as_array().unwrap()[..] else { panic!("two sequences") };
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
    for part in ["text", "segment", "predicts", "order", "content stream", "query stream"] {
        assert!(head.contains(part), "{head}");
    }
    // what is predicted sees itself in one stream alone
    let columns: Vec<Vec<&str>> = shown.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    let predicted: Vec<&Vec<&str>> = columns.iter().filter(|columns| columns.get(3) == Some(&"→")).collect();
    assert!(predicted.len() >= 2, "{shown}");
    for columns in predicted {
        let place: usize = columns[0].parse().unwrap();
        assert_eq!(columns[1], columns[4]);
        let sees = |column: usize| columns[column].chars().nth(place).unwrap();
        assert_eq!((sees(6), sees(7)), ('█', '·'), "{shown}");
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
    let made =
        json(ptm().args(["explain", "sentence_reordering", "The cat sat. The dog ran.", "--json", "--seed", "2"]));
    let row = &made[0]["examples"][0]["rows"][0];
    let order = if words(row, "tokens")[2] == "dog" { "order 2 1" } else { "order 1" };
    assert!(row["targets"][0].as_str().unwrap().starts_with(order), "{row}");
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

/// The words in a row's list.
fn words(row: &serde_json::Value, key: &str) -> Vec<String> {
    let said = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    row[key].as_array().unwrap().iter().map(said).collect()
}

/// Not sentence by sentence, which would leave a space alone at the end of one; and no special tokens of the text's own.
#[test]
fn a_text_has_the_tokens_that_a_corpus_has() {
    let text = "The train went. The weather was fine. Is <mask> there?";
    let roberta = parity("pipelines/roberta");
    let made = json(ptm().args(["explain", "causal_lm", text, "--json", "--model"]).arg(&roberta));
    let read = words(&made[0]["examples"][0]["rows"][0], "tokens");
    let tokenizer = ptm_text::Tokenizer::from_dir(&roberta).unwrap();
    let document = ptm_text::corpus::document(text, &tokenizer).unwrap();
    let tokens: Vec<String> = document.ids.iter().map(|&id| tokenizer.token(id).unwrap()).collect();
    assert_eq!(read[1..], tokens);
    assert!(read.contains(&"ĠThe".to_owned()) && !read.contains(&"<mask>".to_owned()), "{read:?}");
}

/// The generator reads masks and says what was hidden; the discriminator reads what was drawn and judges every token.
#[test]
fn the_discriminator_reads_what_was_drawn() {
    let text = "The cat sat on the mat and the dog sat on the cat.";
    let (mut replaced, mut right) = (0, 0);
    for seed in ["1", "2", "3", "4"] {
        let made = json(ptm().args([
            "explain",
            "replaced_token_detection",
            text,
            "--json",
            "--set",
            "rate=0.6",
            "--seed",
            seed,
        ]));
        let example = &made[0]["examples"][0];
        assert!(example["note"].as_str().unwrap().contains("how often each token occurs in the text"), "{example}");
        let [generator, discriminator] = &example["rows"].as_array().unwrap()[..] else { panic!("two sequences") };
        let (hidden, drawn) = (words(generator, "tokens"), words(discriminator, "tokens"));
        let (targets, labels) = (words(generator, "targets"), words(discriminator, "targets"));
        for place in 0..hidden.len() {
            let was_hidden = hidden[place] == "[MASK]";
            assert_eq!(was_hidden, !targets[place].is_empty());
            let original = if was_hidden { &targets[place] } else { &hidden[place] };
            assert_ne!(drawn[place], "[MASK]");
            assert_eq!(labels[place], if drawn[place] == *original { "original" } else { "replaced" });
            assert_eq!(discriminator["corrupted"][place], value!(labels[place] == "replaced"));
            assert!(text.to_lowercase().contains(&drawn[place]) || place == 0 || place + 1 == hidden.len());
            replaced += u32::from(was_hidden && drawn[place] != *original);
            right += u32::from(was_hidden && drawn[place] == *original);
        }
    }
    // some of what is drawn is what was there
    assert!(replaced > 5 && right > 0, "{replaced} {right}");
}

#[test]
fn a_model_draws_the_replacements() {
    let explain = |model: &str| {
        let mut command = ptm();
        command.args(["explain", "replaced_token_detection", "The cat sat on the mat.", "--json", "--model"]);
        json(command.arg(parity(model)))[0]["examples"][0].clone()
    };
    let drawn = explain("pipelines/bert");
    let note = drawn["note"].as_str().unwrap();
    assert!(note.contains("drawn by") && note.contains("pipelines/bert") && !note.contains("how often"), "{note}");
    assert!(!words(&drawn["rows"][1], "tokens").contains(&"[MASK]".to_owned()));
    // one that foretells no masked tokens is no generator, and that is said
    let drawn = explain("pipelines/heads/bert-token");
    let note = drawn["note"].as_str().unwrap();
    assert!(note.contains("how often") && note.contains("no masked language model"), "{note}");
}

#[test]
fn pairs_of_two_documents_are_shown_beside_those_of_one() {
    let (text, other) = ("The cat sat. The dog ran. It rained.", "Stars shine. The moon rose.");
    let cases = |objective: &str, others: &[&str]| -> Vec<(String, bool)> {
        let made = json(ptm().args(["explain", objective, text, "--json"]).args(others));
        let examples = made[0]["examples"].as_array().unwrap().clone();
        let case = |example: serde_json::Value| {
            let row = &example["rows"][0];
            let all = [words(row, "tokens"), words(row, "targets")].concat();
            let class = row["targets"][0].as_str().unwrap_or_default().to_owned();
            (class, ["stars", "shine", "moon", "rose"].iter().any(|word| all.contains(&(*word).to_owned())))
        };
        examples.into_iter().map(case).collect()
    };
    let said =
        |cases: &[(&str, bool)]| cases.iter().map(|(class, far)| ((*class).to_owned(), *far)).collect::<Vec<_>>();
    assert_eq!(cases("next_sentence", &[]), said(&[("in order", false)]));
    // a pair that is made shorter may have nothing left of the other but a full stop
    assert_eq!(
        cases("next_sentence", &[other, "--set", "short=0", "--set", "unit=sentences", "--set", "masking.rate=0.5"]),
        said(&[("in order", false), ("not in order", true)])
    );
    assert_eq!(cases("sentence_order", &[]), said(&[("in order", false), ("not in order", false)]));
    let apart = [("adjacent", false), ("same document", false), ("other document", true)];
    assert_eq!(cases("sentence_distance", &[]), said(&apart[..2]));
    assert_eq!(cases("sentence_distance", &[other]), said(&apart));
    let shown = printed(ptm().args(["explain", "permutation_lm", text, other]));
    assert!(shown.contains("two texts"), "{shown}");
    assert!(!printed(ptm().args(["explain", "permutation_lm", text])).contains("two texts"));
    let shown = printed(ptm().args(["explain", "next_sentence", text, other]));
    assert!(shown.contains("segment") && shown.contains("attention: all see all"), "{shown}");
    // whoever asks for an objective that reads one text hears that the other isn't read
    let output = ptm().args(["explain", "masked_lm", text, other]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("the first text is read alone"));
}

#[test]
fn what_cannot_be_explained_is_said() {
    for (arguments, parts) in [
        (&["spam", TEXT][..], &["spam", "span_corruption"][..]),
        (&["span_corruption", TEXT, "--set", "spam=1"], &["spam"]),
        (&["span_corruption", TEXT, "--set", "rate=2"], &["objective.rate"]),
        (&["span_corruption", TEXT, "--set", "rate="], &["span_corruption", "invalid type"]),
        (&["span_corruption", TEXT, "--set", "rate=0.3\n[x]"], &["span_corruption", "invalid type"]),
        (&["causal_lm", TEXT, "--set", "length"], &["--set length"]),
        (&["capitalization", TEXT], &["no capitals", "--lowercase false"]),
        (&["sentence_reordering", "One sentence."], &["two at least"]),
        (&["span_corruption", ""], &["0 tokens"]),
        (&["causal_lm", &"word ".repeat(300)], &["300 tokens", "256"]),
        (&["next_sentence", TEXT, &"word ".repeat(300)], &["text 2 has 300 tokens"]),
        (&["next_sentence", "-", "-"], &["read once"]),
    ] {
        let message = refused(ptm().arg("explain").args(arguments));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}
