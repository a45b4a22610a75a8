//! Reports, comparisons, and predictions through a tokenizer with logits that are made up.

use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_text::dataset::{Answer, Question};
use ptm_text::{Input, Packed, PositionStyle, Tokenizer};
use ptm_train::evaluate::{
    Answers, Classes, Evaluated, Generated, LabelSets, Prediction, Predictor, Ratings, Report, ReportOptions, Tags,
    Window, compare, page, sequence_logits,
};
use ptm_train::metrics::BleuOptions;

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn classes() -> Classes {
    let gold = vec![0, 0, 1, 1, 1, 0];
    let p = |one: f32| vec![1.0 - one, one];
    Classes::new(gold, &[p(0.1), p(0.6), p(0.9), p(0.01), p(0.7), p(0.2)], strings(&["no", "yes"]))
}

#[test]
fn a_report_of_classes() {
    let texts: Vec<String> = (0..6).map(|i| format!("text {i} <b>")).collect();
    let report = Report::new(&classes(), &texts, &[5, 9, 5, 7, 30, 2], &ReportOptions::default());
    assert_eq!(report.main(), Some(("accuracy", 4.0 / 6.0)));
    assert!((report.get("f1").unwrap() - 2.0 / 3.0).abs() < 1e-12);
    let figure = &report.metrics[0];
    assert!(figure.low.unwrap() < 0.66 && figure.high.unwrap() > 0.67);
    // what was wrong with the most confidence comes first
    assert_eq!(report.errors.iter().map(|e| e.row).collect::<Vec<_>>(), [4, 2]);
    assert_eq!((report.errors[0].gold.as_str(), report.errors[0].predicted.as_str()), ("yes", "no (0.99)"));
    assert_eq!(report.confusion, Some(vec![vec![2, 1], vec![1, 2]]));
    assert_eq!(report.lengths.iter().map(|group| group.rows).sum::<usize>(), 6);
    assert_eq!((report.lengths[1].from, report.lengths[1].to, report.lengths[1].rows), (5, 5, 2));
    let html = page("a & b", &report, None);
    assert!(html.contains("a &amp; b") && html.contains("text 3 &lt;b&gt;") && html.matches("<svg").count() == 3);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["metrics"][0]["name"], "accuracy");
}

#[test]
fn the_same_model_twice_differs_by_chance_alone() {
    let same = compare(&classes(), &classes(), 50, 1);
    assert!(same.len() >= 5 && same.iter().all(|c| c.difference == 0.0 && c.p == 1.0), "{same:?}");
    let n = 120;
    let gold: Vec<usize> = (0..n).map(|i| i % 3).collect();
    let model = |wrong: usize| {
        let row = |i: usize| {
            (0..3).map(|l| if l == (i + usize::from(i.is_multiple_of(wrong))) % 3 { 0.8 } else { 0.1 }).collect()
        };
        Classes::new(gold.clone(), &(0..n).map(row).collect::<Vec<Vec<f32>>>(), strings(&["a", "b", "c"]))
    };
    let found = compare(&model(2), &model(10), 200, 1);
    let accuracy = &found[0];
    assert!((accuracy.difference - 0.4).abs() < 1e-9 && accuracy.p < 0.02 && accuracy.low > 0.2, "{accuracy:?}");
    let report = Report::new(&model(10), &[], &[], &ReportOptions { resamples: 0, ..ReportOptions::default() });
    let html = page("x", &report, Some(("a<b", "c", &found)));
    assert!(html.contains("a&lt;b") && html.contains("+0.4000"), "{html}");
}

#[test]
fn every_task_reports_its_metrics() {
    let main = |report: Report| report.main().unwrap();
    let options = ReportOptions { resamples: 20, ..ReportOptions::default() };
    let sets = LabelSets::new(
        vec![vec![true, false], vec![true, true]],
        &[vec![0.9, 0.2], vec![0.4, 0.6]],
        strings(&["x", "y"]),
        0.5,
    );
    assert_eq!(main(Report::new(&sets, &[], &[], &options)), ("f1_micro", 0.8));
    let ratings = Ratings::new(vec![1.0, 2.0, 3.0, 4.0], vec![1.5, 2.5, 3.5, 4.5]);
    let report = Report::new(&ratings, &[], &[], &options);
    assert!((report.get("pearson").unwrap() - 1.0).abs() < 1e-12 && report.get("squared_error") == Some(0.25));
    let tags = |tags: &[&str]| vec![strings(tags)];
    let words = vec![strings(&["Anna", "saw", "Paris"])];
    let entities = Tags::new(words.clone(), tags(&["B-PER", "O", "B-LOC"]), tags(&["B-PER", "O", "O"]));
    let report = Report::new(&entities, &[], &[], &options);
    assert_eq!((report.get("precision"), report.get("recall")), (Some(1.0), Some(0.5)));
    assert_eq!((report.errors[0].gold.as_str(), report.errors[0].predicted.as_str()), ("Paris/B-LOC", "Paris/O"));
    let parts = Tags::new(words, tags(&["NP", "VB", "NP"]), tags(&["NP", "NP", "NP"]));
    assert_eq!(main(Report::new(&parts, &[], &[], &options)).0, "accuracy");
    let texts = Generated::new(
        vec![strings(&["a b c d e"]), strings(&["x"])],
        strings(&["a b c d e", "y"]),
        BleuOptions::default(),
    );
    let report = Report::new(&texts, &[], &[], &options);
    assert_eq!((report.get("exact_match"), report.wrong), (Some(0.5), 1));
}

#[test]
fn unanswered_questions_follow_the_threshold() {
    let question = |answers: &[&str]| Question {
        id: "1".into(),
        question: "?".into(),
        context: "a red fish".into(),
        answers: answers.iter().map(|text| Answer { text: (*text).into(), start: 0 }).collect(),
        answered: true,
    };
    let questions = [question(&["red fish"]), question(&[])];
    let says = |text: &str, null_score: f64| Prediction { text: text.into(), score: 1.0, null_score };
    let predictions = [says("red fish", 0.0), says("fish", 3.0)];
    let all: Vec<usize> = vec![0, 1];
    let score = |threshold| Answers::new(&questions, &predictions, threshold).metrics(&all)[1].1;
    assert_eq!((score(None), score(Some(0.0)), score(Some(-5.0))), (50.0, 100.0, 50.0));
    let found = Answers::new(&questions, &predictions, None).squad(&all).unwrap();
    assert_eq!(found.best_exact, (100.0, -1.0));
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_dir(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/all-MiniLM-L6-v2"))).unwrap()
}

fn predictor(tokenizer: &Tokenizer, max_length: usize) -> Predictor<'_> {
    Predictor { tokenizer, positions: PositionStyle::Zero, max_length, batch_tokens: 100, stop: None }
}

fn tensor(values: Vec<f32>, columns: usize) -> Tensor<2> {
    let rows = values.len() / columns;
    Tensor::from_data(TensorData::new(values, [rows, columns]), &Device::flex())
}

#[test]
fn rows_come_back_in_order() {
    let tokenizer = tokenizer();
    let by = predictor(&tokenizer, 64);
    let texts: Vec<String> = (1..40).map(|n| "word ".repeat(n)).collect();
    let inputs: Vec<Input<'_>> = texts.iter().map(Input::from).collect();
    let encodings = by.encode(&inputs).unwrap();
    let mut calls = 0;
    let mut lengths = |packed: &Packed| {
        calls += 1;
        Ok(tensor((0..packed.sequences()).flat_map(|b| [packed.range(b).len() as f32, 0.0]).collect(), 2))
    };
    let mut done = 0;
    let rows = sequence_logits(&by, &encodings, &mut lengths, &mut |n| done = n).unwrap();
    assert_eq!(done, 39);
    assert!(rows.iter().zip(&encodings).all(|(row, encoding)| row == &[encoding.len() as f32, 0.0]));
    assert!(calls > 5);
    let broken =
        sequence_logits(&by, &encodings, &mut |p: &Packed| Ok(tensor(vec![f32::NAN; p.sequences()], 1)), &mut |_| {});
    assert!(broken.unwrap_err().to_string().contains("not finite"));
    let stop = std::sync::atomic::AtomicBool::new(true);
    let stopped = Predictor { stop: Some(&stop), ..by };
    assert!(sequence_logits(&stopped, &encodings, &mut |_| unreachable!(), &mut |_| {}).is_err());
}

#[test]
fn every_word_of_a_long_sentence_gets_its_tag() {
    let tokenizer = tokenizer();
    let words: Vec<String> =
        (0..300).map(|i| ["unbelievableness", "cat", "Müller", "42", "\u{200b}"][i * 7 % 5].to_owned()).collect();
    let labels = strings(&["O", "B-X", "B-Y"]);
    // the label of a token is its id's remainder
    let mut logits = |packed: &Packed| {
        Ok(tensor(packed.ids.iter().flat_map(|id| (0..3).map(move |l| f32::from(u8::from(id % 3 == l)))).collect(), 3))
    };
    let expected: Vec<String> = words
        .iter()
        .map(|word| {
            let options = ptm_text::EncodeOptions { add_special_tokens: false, ..Default::default() };
            let ids = tokenizer.encode(word, &options).unwrap().ids;
            ids.first().map_or(labels[0].clone(), |id| labels[*id as usize % 3].clone())
        })
        .collect();
    for max_length in [24, 510] {
        let by = predictor(&tokenizer, max_length);
        let found = by.tags(std::slice::from_ref(&words), &labels, &mut logits, &mut |_| {}).unwrap();
        assert_eq!(found, std::slice::from_ref(&expected));
    }
}

#[test]
fn an_answer_is_found_in_any_window() {
    let tokenizer = tokenizer();
    let fish = tokenizer.id("fish").unwrap();
    let filler = "the sea is wide and blue , ".repeat(40);
    let question = |context: String, question: &str| Question {
        id: "1".into(),
        question: question.into(),
        context,
        answers: Vec::new(),
        answered: false,
    };
    let questions = [
        question(format!("{filler}Über a red fish swims. {filler}"), "What swims?"),
        question(filler.clone(), &"What swims? ".repeat(100)),
    ];
    let mut logits = |packed: &Packed| {
        let mut values = vec![0.0; packed.ids.len() * 2];
        for (token, &id) in packed.ids.iter().enumerate() {
            if id == fish {
                // from two tokens before to this one
                values[(token - 1) * 2] = 5.0;
                values[token * 2 + 1] = 4.0;
            }
        }
        for sequence in 0..packed.sequences() {
            values[packed.range(sequence).start * 2] = 2.0;
        }
        Ok(tensor(values, 2))
    };
    let by = predictor(&tokenizer, 64);
    let found = by.answers(&questions, Window::default(), &mut logits, &mut |_| {}).unwrap();
    assert_eq!(found[0], Prediction { text: "red fish".into(), score: 9.0, null_score: 2.0 });
    assert!(found[1].score == 0.0 && found[1].null_score == 2.0);
}
