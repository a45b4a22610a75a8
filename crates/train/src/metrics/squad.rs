//! Exact match and F1 of extracted answers by the rule of SQuAD's script (1.1 and 2.0), with the threshold on the
//! no-answer score that would have been best, as transformers' `squad_evaluate` reports it. In percent, as it does.

use std::collections::HashMap;

use super::{ratio, words};

/// One question's part in the evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered<'a> {
    /// The right answers; none for a question without one.
    pub gold: Vec<&'a str>,
    /// The model's answer, empty for none.
    pub given: &'a str,
    /// How strongly the model thinks that there is none; compared with a threshold.
    pub no_answer: f64,
}

/// What the script reports, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquadScores {
    /// Answers that are right word for word.
    pub exact: f64,
    /// The mean overlap of words.
    pub f1: f64,
    /// Questions.
    pub total: usize,
    /// Those that have an answer: exact, F1, how many.
    pub has_answer: Option<(f64, f64, usize)>,
    /// Those that have none: how many are left unanswered, in percent, and how many there are.
    pub no_answer: Option<(f64, usize)>,
    /// The best exact match over all thresholds, and the threshold: answers with a higher no-answer score are dropped.
    pub best_exact: (f64, f64),
    /// The same of F1.
    pub best_f1: (f64, f64),
}

/// Lower case, without punctuation and articles, single spaces.
pub fn normalize(text: &str) -> String {
    let text: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let mut bare = String::with_capacity(text.len());
    let mut rest = text.as_str();
    // runs of letters and digits, and what stands between them
    while let Some(first) = rest.chars().next() {
        let letters = first.is_alphanumeric();
        let end = rest.find(|c: char| c.is_alphanumeric() != letters).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        bare.push_str(if matches!(run, "a" | "an" | "the") { " " } else { run });
        rest = after;
    }
    words(&bare).collect::<Vec<_>>().join(" ")
}

/// The overlap of two answers' words, 0 to 1.
pub fn f1(gold: &str, given: &str) -> f64 {
    let (gold, given) = (normalize(gold), normalize(given));
    let (gold, given): (Vec<&str>, Vec<&str>) = (words(&gold).collect(), words(&given).collect());
    if gold.is_empty() || given.is_empty() {
        return f64::from(u8::from(gold == given));
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in &gold {
        *left.entry(word).or_default() += 1;
    }
    let mut same = 0.0;
    for word in &given {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            same += 1.0;
        }
    }
    let (precision, recall) = (same / given.len() as f64, same / gold.len() as f64);
    ratio(2.0 * precision * recall, precision + recall)
}

/// Exact match and F1 of one question, the best over its right answers.
pub fn question(gold: &[&str], given: &str) -> (f64, f64) {
    let mut answers: Vec<&str> = gold.iter().copied().filter(|answer| !normalize(answer).is_empty()).collect();
    if answers.is_empty() {
        answers.push("");
    }
    let wanted = normalize(given);
    let exact = answers.iter().any(|answer| normalize(answer) == wanted);
    let best = answers.iter().map(|answer| f1(answer, given)).fold(0.0, f64::max);
    (f64::from(u8::from(exact)), best)
}

/// Evaluates answers. Those whose no-answer score is above `threshold` count as none. None without a question.
pub fn squad(questions: &[Answered<'_>], threshold: f64) -> Option<SquadScores> {
    if questions.is_empty() {
        return None;
    }
    let scores: Vec<(f64, f64)> = questions.iter().map(|q| question(&q.gold, q.given)).collect();
    let after: Vec<(f64, f64)> = questions
        .iter()
        .zip(&scores)
        .map(|(q, &score)| {
            let none = f64::from(u8::from(q.gold.is_empty()));
            if q.no_answer > threshold { (none, none) } else { score }
        })
        .collect();
    let mean = |keep: &dyn Fn(&Answered<'_>) -> bool| {
        let kept = questions.iter().zip(&after).filter(|(q, _)| keep(q));
        let (exact, f1, count) = kept.fold((0.0, 0.0, 0), |(e, f, n), (_, score)| (e + score.0, f + score.1, n + 1));
        (100.0 * ratio(exact, count as f64), 100.0 * ratio(f1, count as f64), count)
    };
    let (exact, f1, total) = mean(&|_| true);
    let with = mean(&|q| !q.gold.is_empty());
    let without = mean(&|q| q.gold.is_empty());
    Some(SquadScores {
        exact,
        f1,
        total,
        has_answer: (with.2 > 0).then_some(with),
        no_answer: (without.2 > 0).then_some((without.0, without.2)),
        best_exact: best_threshold(questions, scores.iter().map(|score| score.0)),
        best_f1: best_threshold(questions, scores.iter().map(|score| score.1)),
    })
}

/// Begins with no answer at all, then gives them in the order of their no-answer scores.
fn best_threshold(questions: &[Answered<'_>], scores: impl Iterator<Item = f64>) -> (f64, f64) {
    let scores: Vec<f64> = scores.collect();
    let mut order: Vec<usize> = (0..questions.len()).collect();
    order.sort_by(|&a, &b| questions[a].no_answer.total_cmp(&questions[b].no_answer));
    let mut now = questions.iter().filter(|q| q.gold.is_empty()).count() as f64;
    let (mut best, mut threshold) = (now, 0.0);
    for i in order {
        now += match (questions[i].gold.is_empty(), questions[i].given.is_empty()) {
            (false, _) => scores[i],
            (true, false) => -1.0,
            (true, true) => 0.0,
        };
        if now > best {
            (best, threshold) = (now, questions[i].no_answer);
        }
    }
    (100.0 * best / questions.len() as f64, threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_and_punctuation_do_not_count() {
        assert_eq!(normalize("The  Cat's an \"A\" in theatre!"), "cats in theatre");
        assert_eq!(question(&["the cat", "dog"], "A cat."), (1.0, 1.0));
        assert_eq!(question(&[], ""), (1.0, 1.0));
        assert_eq!(question(&["x"], ""), (0.0, 0.0));
        assert!(squad(&[], 1.0).is_none());
    }
}
