//! Extractive question answering (BERT, §4.2 and 4.3): a long context is read in windows that overlap; where a window
//! holds no answer, its first token (`[CLS]`) stands for none. Answers of all windows compete (SQuAD 2.0).

use std::collections::HashMap;
use std::sync::Arc;

use ptm_text::dataset::Question;
use ptm_text::{EncodeOptions, Encoding, Truncation};

use super::batch::{Gold, Item, Sequence};
use super::reading::{Reading, lacking};
use crate::error::Result;
use crate::metrics::squad::{Answered, squad};

/// Tokens of an answer at most.
const LONGEST: usize = 30;

/// A window of a context, behind its question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Whose.
    pub question: Arc<Question>,
    /// First and last token of the answer; twice that of none, where the window doesn't hold it.
    pub span: [u32; 2],
    /// The token that stands for no answer.
    pub none: u32,
    /// Where each token stands in the context, in code points; none for those of the question and special ones.
    pub places: Vec<Option<[u32; 2]>>,
}

/// The best that a window offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// What was asked and read.
    pub window: Arc<Window>,
    /// The score of no answer: the sum of the logits of start and end.
    pub none: f32,
    /// The score of the best answer, and where it stands in the context, in code points.
    pub best: Option<(f32, [u32; 2])>,
}

impl Reading {
    /// The windows of a question's context.
    ///
    /// # Errors
    /// When the file says nothing of answers, or the text cannot be encoded.
    pub fn question(&self, question: Question) -> Result<Vec<Item>> {
        if !question.answered {
            return Err(lacking("answers", &question.question));
        }
        let question = Arc::new(question);
        let options = EncodeOptions {
            truncation: Truncation::OnlySecond { max: self.max_length },
            // beside a question of half the length, windows that share more would hardly advance
            stride: self.stride.min(self.max_length / 4),
            windows: true,
            ..EncodeOptions::default()
        };
        // a question that leaves no room for a context is cut first
        let asked = self.tokenizer.encode(&question.question, &EncodeOptions::truncated(self.max_length / 2))?;
        let text = asked.offsets.iter().map(|offset| offset.1).max().unwrap_or(0);
        let asked: String = question.question.chars().take(text).collect();
        let encoding = self.tokenizer.encode_pair(asked.trim_start(), &question.context, &options)?;
        let cls = self.tokenizer.special().cls.as_ref().map(|cls| cls.id);
        let items = encoding.windows().filter(|window| !window.ids.is_empty()).map(|window| {
            let none = window.ids.iter().position(|id| Some(*id) == cls).unwrap_or(0) as u32;
            let places = places(window);
            let span = span(&question, &places).unwrap_or([none; 2]);
            let sequence = Sequence { ids: window.ids.clone(), segments: window.segments.clone() };
            self.item(sequence, Gold::Answer(Arc::new(Window { question: question.clone(), span, none, places })))
        });
        Ok(items.collect())
    }
}

fn places(window: &Encoding) -> Vec<Option<[u32; 2]>> {
    let of_context = |row: usize| window.sequence[row] == Some(1) && !window.special[row];
    let offsets = window.offsets.iter().enumerate();
    offsets.map(|(row, &(from, to))| (of_context(row) && from < to).then_some([from as u32, to as u32])).collect()
}

/// The tokens of the first answer, where all of them are there.
fn span(question: &Question, places: &[Option<[u32; 2]>]) -> Option<[u32; 2]> {
    let answer = question.answers.first()?;
    let (start, end) = (answer.start as u32, (answer.start + answer.text.chars().count()) as u32);
    let first = places.iter().position(|place| place.is_some_and(|[_, to]| to > start))?;
    let last = places.iter().rposition(|place| place.is_some_and(|[from, _]| from < end))?;
    // what lies before the window begins with its first token too, what lies behind ends with its last
    let whole = places[first].is_some_and(|[from, _]| from <= start || blank(question, from, start))
        && places[last].is_some_and(|[_, to]| to >= end);
    (first <= last && whole).then_some([first as u32, last as u32])
}

/// Whether nothing stands between two places of the context, of which the first is not after the second.
fn blank(question: &Question, from: u32, to: u32) -> bool {
    from <= to && question.context.chars().skip(from as usize).take((to - from) as usize).all(char::is_whitespace)
}

impl Offer {
    /// The best of a window whose rows have these logits of start and end.
    pub fn new(window: Arc<Window>, rows: &[Vec<f32>]) -> Self {
        let places = &window.places;
        let mut best: Option<(f32, [u32; 2])> = None;
        for (start, place) in places.iter().enumerate() {
            let Some([from, _]) = *place else { continue };
            for (end, place) in places.iter().enumerate().skip(start).take(LONGEST) {
                let Some([_, to]) = *place else { break };
                let score = rows[start][0] + rows[end][1];
                if best.is_none_or(|(other, _)| score > other) {
                    best = Some((score, [from, to]));
                }
            }
        }
        let none = &rows[window.none as usize];
        Self { none: none[0] + none[1], best, window }
    }
}

/// F1 and exact match by the rule of SQuAD, as shares of 1.
pub fn judge<'a>(offers: impl Iterator<Item = &'a Offer>) -> Vec<(&'static str, f64)> {
    // windows of a question follow each other in no order
    let mut order: Vec<&Arc<Question>> = Vec::new();
    let mut best: HashMap<*const Question, (f32, Option<(f32, [u32; 2])>)> = HashMap::new();
    for offer in offers {
        let question = &offer.window.question;
        let slot = best.entry(Arc::as_ptr(question)).or_insert_with(|| {
            order.push(question);
            (f32::INFINITY, None)
        });
        // the window that is surest of an answer decides whether there is one
        slot.0 = slot.0.min(offer.none);
        if let Some((score, place)) = offer.best
            && slot.1.is_none_or(|(other, _)| score > other)
        {
            slot.1 = Some((score, place));
        }
    }
    let given: Vec<(String, f64)> = order
        .iter()
        .map(|question| match best[&Arc::as_ptr(question)] {
            (none, Some((score, [from, to]))) => {
                let text = question.context.chars().skip(from as usize).take((to - from) as usize).collect();
                (text, f64::from(none) - f64::from(score))
            }
            (_, None) => (String::new(), f64::INFINITY),
        })
        .collect();
    let answered: Vec<Answered<'_>> = order
        .iter()
        .zip(&given)
        .map(|(question, (text, no_answer))| Answered {
            gold: question.answers.iter().map(|answer| answer.text.as_str()).collect(),
            given: text,
            no_answer: *no_answer,
        })
        .collect();
    let impossible = order.iter().any(|question| question.is_impossible());
    let Some(scores) = squad(&answered, if impossible { 0.0 } else { f64::INFINITY }) else {
        return vec![("f1", 0.0), ("exact", 0.0)];
    };
    let mut metrics = vec![("f1", scores.f1 / 100.0), ("exact", scores.exact / 100.0)];
    if impossible {
        metrics.push(("best_f1", scores.best_f1.0 / 100.0));
        metrics.push(("best_threshold", scores.best_f1.1));
    }
    metrics
}

#[cfg(test)]
mod tests {
    use ptm_text::dataset::Answer;

    use super::*;

    fn question(context: &str, answer: Option<(&str, usize)>) -> Question {
        let answers = answer.map(|(text, start)| Answer { text: text.into(), start }).into_iter().collect();
        Question { id: "1".into(), question: "where?".into(), context: context.into(), answers, answered: true }
    }

    fn window(question: Question, none: u32, places: &[Option<[u32; 2]>]) -> Arc<Window> {
        let span = span(&question, places).unwrap_or([none; 2]);
        Arc::new(Window { question: Arc::new(question), span, none, places: places.to_vec() })
    }

    const PLACES: [Option<[u32; 2]>; 6] = [None, Some([0, 2]), Some([3, 5]), Some([6, 8]), Some([8, 9]), None];

    #[test]
    fn spans_are_those_of_the_answers_tokens() {
        let at = |text: &str, start: usize| window(question("in my bed.", Some((text, start))), 0, &PLACES).span;
        assert_eq!(at("my", 3), [2, 2]);
        assert_eq!(at("my be", 3), [2, 3]);
        assert_eq!(at("n m", 1), [1, 2]);
        // the window ends before the answer does, or begins after it did
        assert_eq!(at("bed.", 6), [0, 0]);
        assert_eq!(window(question("in my bed.", Some(("in my", 0))), 5, &PLACES[2..]).span, [5, 5]);
        assert_eq!(window(question("in my bed.", None), 0, &PLACES).span, [0, 0]);
    }

    #[test]
    fn the_best_answer_lies_in_the_context_and_runs_forwards() {
        let asked = window(question("in my bed.", Some(("my bed", 3))), 0, &PLACES);
        let row = |start: f32, end: f32| vec![start, end];
        let rows = [row(9.0, 9.0), row(0.0, 5.0), row(3.0, 0.0), row(1.0, 2.0), row(0.0, 1.0), row(8.0, 8.0)];
        let offer = Offer::new(asked.clone(), &rows);
        assert_eq!((offer.none, offer.best), (18.0, Some((5.0, [0, 2]))));
        // of two windows the better answer counts, and the least of the scores of none
        let other = Offer { none: 1.0, best: Some((6.0, [3, 9])), window: asked };
        let metrics = judge([&offer, &other].into_iter());
        assert_eq!(metrics[1], ("exact", 1.0));
    }

    #[test]
    fn unanswered_questions_compete_with_their_answers() {
        let asked = window(question("in my bed.", None), 0, &PLACES);
        let none = Offer { none: 3.0, best: Some((2.0, [0, 2])), window: asked.clone() };
        assert_eq!(judge(std::iter::once(&none))[0], ("f1", 1.0));
        let some = Offer { none: 1.0, ..none };
        assert_eq!(judge(std::iter::once(&some))[0], ("f1", 0.0));
    }
}
