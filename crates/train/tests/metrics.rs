//! Every metric against the package that defines it: golden values of `parity/metrics/make.py`.

use ptm_train::metrics::classification::multi_label_counts;
use ptm_train::metrics::squad::Answered;
use ptm_train::metrics::{
    Averages, BleuOptions, ChrfOptions, Confusion, Perplexity, Rouge, Smoothing, accuracy, bootstrap, calibration,
    corpus_bleu, corpus_chrf, entity_scores, exact_match, matthews, pearson, rouge, spearman, squad,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn cases(name: &str, least: usize) -> Vec<Value> {
    let path = format!("{}/../../parity/metrics/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert!(cases.len() >= least, "{name}: {}", cases.len());
    cases
}

fn get<T: DeserializeOwned>(case: &Value, key: &str) -> T {
    serde_json::from_value(case[key].clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
}

#[track_caller]
fn close(found: f64, wanted: f64, what: &dyn std::fmt::Debug) {
    assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{found} is not {wanted}: {what:?}");
}

#[track_caller]
fn averages(found: Averages, case: &Value, key: &str) {
    let wanted: [f64; 3] = get(case, key);
    close(found.precision, wanted[0], case);
    close(found.recall, wanted[1], case);
    close(found.f1, wanted[2], case);
}

#[test]
fn classification_as_scikit_learn() {
    for case in cases("classification", 300) {
        let (gold, predicted): (Vec<usize>, Vec<usize>) = (get(&case, "gold"), get(&case, "predicted"));
        let confusion = Confusion::new(&gold, &predicted, get(&case, "labels"));
        close(accuracy(&gold, &predicted), get(&case, "accuracy"), &case);
        close(matthews(&confusion), get(&case, "matthews"), &case);
        let seen = confusion.seen();
        averages(Averages::micro(&seen), &case, "micro");
        averages(Averages::macro_(&seen), &case, "macro");
        averages(Averages::weighted(&seen), &case, "weighted");
        let per_label: Vec<[f64; 3]> = get(&case, "per_label");
        for (counts, wanted) in confusion.counts().iter().zip(&per_label) {
            close(counts.precision(), wanted[0], &case);
            close(counts.recall(), wanted[1], &case);
            close(counts.f1(), wanted[2], &case);
        }
        let table: Vec<Vec<u64>> = get(&case, "confusion");
        for (gold, row) in table.iter().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                assert_eq!(confusion.count(gold, predicted), count);
            }
        }
    }
}

#[test]
fn several_labels_as_scikit_learn() {
    for case in cases("multi_label", 250) {
        let (gold, predicted): (Vec<Vec<bool>>, Vec<Vec<bool>>) = (get(&case, "gold"), get(&case, "predicted"));
        let counts = multi_label_counts(&gold, &predicted, get(&case, "labels"));
        averages(Averages::micro(&counts), &case, "micro");
        averages(Averages::macro_(&counts), &case, "macro");
        averages(Averages::weighted(&counts), &case, "weighted");
        close(accuracy(&gold, &predicted), get(&case, "accuracy"), &case);
    }
}

#[test]
fn correlations_as_scipy() {
    for case in cases("correlation", 300) {
        let (x, y): (Vec<f64>, Vec<f64>) = (get(&case, "x"), get(&case, "y"));
        for (found, key) in [(pearson(&x, &y), "pearson"), (spearman(&x, &y), "spearman")] {
            match (found, get::<Option<f64>>(&case, key)) {
                (Some(found), Some(wanted)) => close(found, wanted, &case),
                (found, wanted) => assert_eq!(found, wanted, "{case}"),
            }
        }
    }
}

#[test]
fn entities_as_seqeval() {
    for case in cases("entities", 300) {
        let (gold, predicted): (Vec<Vec<String>>, Vec<Vec<String>>) = (get(&case, "gold"), get(&case, "predicted"));
        let found = entity_scores(&gold, &predicted);
        averages(found.micro, &case, "micro");
        averages(found.macro_, &case, "macro");
        averages(found.weighted, &case, "weighted");
        close(found.accuracy, get(&case, "accuracy"), &case);
        let kinds: Vec<(String, f64, f64, f64, u64)> = get(&case, "kinds");
        assert_eq!(found.kinds.len(), kinds.len(), "{case}");
        for ((name, counts), wanted) in found.kinds.iter().zip(&kinds) {
            assert_eq!((name, counts.gold), (&wanted.0, wanted.4), "{case}");
            close(counts.precision(), wanted.1, &case);
            close(counts.recall(), wanted.2, &case);
            close(counts.f1(), wanted.3, &case);
        }
    }
}

#[test]
fn answers_as_the_script_of_squad() {
    for case in cases("squad", 250) {
        let questions: Vec<(Vec<String>, String, f64)> = case["questions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|q| (get(q, "gold"), get(q, "given"), get(q, "no_answer")))
            .collect();
        let questions: Vec<Answered<'_>> = questions
            .iter()
            .map(|(gold, given, no_answer)| Answered {
                gold: gold.iter().map(String::as_str).collect(),
                given,
                no_answer: *no_answer,
            })
            .collect();
        let found = squad(&questions, get(&case, "threshold")).unwrap();
        let wanted = |key: &str| case["result"][key].as_f64();
        close(found.exact, wanted("exact").unwrap(), &case);
        close(found.f1, wanted("f1").unwrap(), &case);
        assert_eq!(found.total as f64, wanted("total").unwrap());
        assert_eq!(found.has_answer.is_some(), wanted("HasAns_total").is_some());
        if let Some((exact, f1, total)) = found.has_answer {
            close(exact, wanted("HasAns_exact").unwrap(), &case);
            close(f1, wanted("HasAns_f1").unwrap(), &case);
            assert_eq!(total as f64, wanted("HasAns_total").unwrap());
        }
        assert_eq!(found.no_answer.is_some(), wanted("NoAns_total").is_some());
        if let Some((exact, _)) = found.no_answer {
            close(exact, wanted("NoAns_exact").unwrap(), &case);
        }
        close(found.best_exact.0, wanted("best_exact").unwrap(), &case);
        close(found.best_exact.1, wanted("best_exact_thresh").unwrap(), &case);
        close(found.best_f1.0, wanted("best_f1").unwrap(), &case);
        close(found.best_f1.1, wanted("best_f1_thresh").unwrap(), &case);
    }
}

#[test]
fn rouge_as_rouge_score() {
    for case in cases("rouge", 300) {
        let (reference, text): (String, String) = (get(&case, "reference"), get(&case, "text"));
        let found = rouge(&reference, &text, get(&case, "stem"));
        let check = |found: Rouge, key: &str| {
            let wanted: [f64; 3] = get(&case, key);
            close(found.precision, wanted[0], &(key, &case));
            close(found.recall, wanted[1], &(key, &case));
            close(found.f, wanted[2], &(key, &case));
        };
        check(found.one, "rouge1");
        check(found.two, "rouge2");
        check(found.l, "rougeL");
        check(found.l_sum, "rougeLsum");
    }
}

#[test]
fn bleu_as_sacrebleu() {
    for case in cases("bleu", 300) {
        let value: Option<f64> = get(&case, "value");
        let options = BleuOptions {
            tokens: get(&case, "tokens"),
            smoothing: match case["smoothing"].as_str().unwrap() {
                "none" => Smoothing::None,
                "floor" => Smoothing::Floor(value.unwrap()),
                "add-k" => Smoothing::AddK(value.unwrap()),
                _ => Smoothing::Exp,
            },
            lowercase: get(&case, "lowercase"),
            effective_order: get(&case, "effective_order"),
        };
        let (references, hypotheses): (Vec<Vec<String>>, Vec<String>) =
            (get(&case, "references"), get(&case, "hypotheses"));
        let found = corpus_bleu(&references, &hypotheses, &options);
        assert_eq!(found.length, get::<u64>(&case, "length"), "{case}");
        assert_eq!(found.reference_length, get::<u64>(&case, "reference_length"), "{case}");
        let precisions: [f64; 4] = get(&case, "precisions");
        for (found, wanted) in found.precisions.iter().zip(precisions) {
            close(*found, wanted, &case);
        }
        close(found.brevity_penalty, get(&case, "brevity_penalty"), &case);
        close(found.score, get(&case, "score"), &case);
    }
}

#[test]
fn chrf_as_sacrebleu() {
    for case in cases("chrf", 300) {
        let options = ChrfOptions {
            char_order: get(&case, "char_order"),
            word_order: get(&case, "word_order"),
            beta: get(&case, "beta"),
            lowercase: get(&case, "lowercase"),
        };
        let (references, hypotheses): (Vec<Vec<String>>, Vec<String>) =
            (get(&case, "references"), get(&case, "hypotheses"));
        close(corpus_chrf(&references, &hypotheses, &options), get(&case, "score"), &case);
    }
}

#[test]
fn exact_match_as_the_accuracy_of_whole_texts() {
    for case in cases("exact_match", 300) {
        let (references, hypotheses): (Vec<Vec<String>>, Vec<String>) =
            (get(&case, "references"), get(&case, "hypotheses"));
        close(exact_match(&references, &hypotheses), get(&case, "score"), &case);
    }
}

#[test]
fn calibration_and_perplexity_as_torchmetrics() {
    for case in cases("calibration", 250) {
        let confidences: Vec<f64> = get(&case, "confidences");
        let right: Vec<bool> = get(&case, "right");
        let bins = calibration::reliability(&confidences, &right, get(&case, "bins"));
        // its own sums are in single precision
        let (found, wanted): (f64, f64) = (calibration::expected_error(&bins), get(&case, "error"));
        assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    }
    for case in cases("perplexity", 250) {
        let mut perplexity = Perplexity::default();
        for (loss, tokens) in get::<Vec<(f64, u64)>>(&case, "batches") {
            perplexity.add(loss, tokens);
        }
        let (found, wanted): (f64, f64) = (perplexity.value().unwrap(), get(&case, "perplexity"));
        assert!((found / wanted - 1.0).abs() < 1e-5, "{found} {wanted}");
    }
}

#[test]
fn the_paired_test_as_scipy() {
    for case in cases("permutation", 200) {
        let (first, second): (Vec<f64>, Vec<f64>) = (get(&case, "first"), get(&case, "second"));
        let found = bootstrap::paired_means(&first, &second, 100, 1).unwrap();
        close(found.difference, get(&case, "difference"), &case);
        close(found.permutation, get(&case, "p"), &case);
    }
}
