//! From the logits of windows to answers: probabilities of starts and ends over a window, the best spans, whole words,
//! equal answers together (after Chen et al. 2017, as `transformers` has it).

use std::collections::HashMap;

use ptm_kernels::softmax::softmax;
use ptm_text::Encoding;

use super::{FoundAnswer, FoundAnswers, QuestionAnswering, Settled};
use crate::code_points::CodePoints;

/// What a logit is where no answer can be.
const NOWHERE: f32 = -10000.0;

/// A span of tokens, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    score: f32,
    start: usize,
    end: usize,
}

impl QuestionAnswering {
    /// The answers that the windows of a context hold.
    pub(super) fn best(
        &self,
        context: &str,
        windows: &[Encoding],
        logits: &[Vec<f32>],
        settled: &Settled,
    ) -> FoundAnswers {
        let text = CodePoints::new(context);
        // aligned to words, spans become equal
        let wanted =
            if settled.align_to_words { settled.top_k.saturating_mul(2).saturating_add(10) } else { settled.top_k };
        let mut answers: Vec<FoundAnswer> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut impossible = 1e6_f32;
        for (window, logits) in windows.iter().zip(logits) {
            let allowed = self.allowed(window);
            let column = |side: usize| {
                let masked = logits
                    .chunks_exact(2)
                    .zip(&allowed)
                    .map(|(two, &allowed)| if allowed { two[side] } else { NOWHERE });
                softmax(&masked.collect::<Vec<f32>>(), allowed.len())
            };
            let (mut starts, mut ends) = (column(0), column(1));
            impossible = impossible.min(starts[0] * ends[0]);
            // the first token stands for no answer
            starts[0] = 0.0;
            ends[0] = 0.0;
            for span in best_spans(&starts, &ends, settled.max_answer_len, wanted) {
                if !allowed[span.start] || !allowed[span.end] {
                    continue;
                }
                let (start, end) = place(window, span, u8::from(!self.model.pads_left), settled.align_to_words);
                let answer = text.slice(start, end);
                match known.get(&answer.to_lowercase()) {
                    Some(&same) => answers[same].score += span.score,
                    None => {
                        known.insert(answer.to_lowercase(), answers.len());
                        answers.push(FoundAnswer { score: span.score, start, end, answer: answer.to_owned() });
                    }
                }
            }
        }
        if settled.handle_impossible_answer {
            answers.push(FoundAnswer { score: impossible, start: 0, end: 0, answer: String::new() });
        }
        answers.sort_by(|a, b| b.score.total_cmp(&a.score));
        answers.truncate(settled.top_k);
        match answers.len() {
            1 => FoundAnswers::One(answers.swap_remove(0)),
            _ => FoundAnswers::Several(answers),
        }
    }

    /// Which tokens of a window may be part of an answer: the context's, and what stands for the whole. Where the context
    /// comes first, all: as in the reference.
    fn allowed(&self, window: &Encoding) -> Vec<bool> {
        let whole = self.model.tokenizer.special().cls.as_ref().map(|cls| cls.id);
        let tokens = window.sequence.iter().zip(&window.ids);
        tokens.map(|(sequence, id)| self.model.pads_left || *sequence == Some(1) || Some(*id) == whole).collect()
    }
}

/// The `wanted` likeliest spans of at most `longest` tokens, the likeliest first. Where there are fewer, the reference goes
/// on with spans of no probability in no defined order, an empty answer among them; here these are none.
fn best_spans(starts: &[f32], ends: &[f32], longest: usize, wanted: usize) -> Vec<Span> {
    let order = |a: &Span, b: &Span| b.score.total_cmp(&a.score).then((a.start, a.end).cmp(&(b.start, b.end)));
    let mut spans: Vec<Span> = Vec::new();
    let mut least = 0.0_f32;
    for (start, &opens) in starts.iter().enumerate() {
        let until = start.saturating_add(longest).min(ends.len());
        for (end, &closes) in ends.iter().enumerate().take(until).skip(start) {
            let score = opens * closes;
            if score > least {
                spans.push(Span { score, start, end });
            }
        }
        // what cannot be among the best any more goes now and then
        if wanted > 0 && spans.len() > wanted.saturating_mul(2).saturating_add(1024) {
            spans.select_nth_unstable_by(wanted - 1, order);
            spans.truncate(wanted);
            least = spans.iter().map(|span| span.score).fold(f32::INFINITY, f32::min);
        }
    }
    spans.sort_unstable_by(order);
    spans.truncate(wanted);
    spans
}

/// Where a span begins and ends in its text, in code points; whole words if need be. Where the tokens are of no words,
/// or of no words of the context, their own places count.
fn place(window: &Encoding, span: Span, context: u8, align: bool) -> (usize, usize) {
    let own = (window.offsets[span.start].0, window.offsets[span.end].1);
    if !align {
        return own;
    }
    let word_of = |token: usize| window.sequence[token].and(window.words[token]);
    let ends = |word: u32| {
        let tokens = (0..window.len()).filter(|&token| window.sequence[token] == Some(context));
        let of_word: Vec<usize> = tokens
            .take_while(|&token| window.words[token] <= Some(word))
            .filter(|&token| window.words[token] == Some(word))
            .collect();
        Some((window.offsets[*of_word.first()?].0, window.offsets[*of_word.last()?].1))
    };
    let first = word_of(span.start).and_then(ends);
    let last = word_of(span.end).and_then(ends);
    first.zip(last).map_or(own, |(first, last)| (first.0, last.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_ordered_and_bounded() {
        let (starts, ends) = ([0.0, 0.7, 0.1, 0.2], [0.0, 0.1, 0.3, 0.6]);
        let best = best_spans(&starts, &ends, 2, 3);
        let ranges: Vec<(usize, usize)> = best.iter().map(|span| (span.start, span.end)).collect();
        assert_eq!(ranges, [(1, 2), (3, 3), (1, 1)]);
        assert_eq!(best_spans(&starts, &ends, 9, 1)[0].end, 3);
        assert!(best_spans(&starts, &ends, 2, 0).is_empty());
        // no span ends before it begins, and none has no probability
        assert!(best_spans(&starts, &ends, 9, 99).iter().all(|span| span.start <= span.end && span.score > 0.0));
    }

    #[test]
    fn many_spans_keep_the_best() {
        let starts: Vec<f32> = (0..3000).map(|i| (i % 977) as f32 / 1e6).collect();
        let all = best_spans(&starts, &starts, 5, usize::MAX);
        let few = best_spans(&starts, &starts, 5, 7);
        assert_eq!(few[..], all[..7]);
    }

    fn window() -> Encoding {
        // "ab c" after a question of one word
        Encoding {
            ids: vec![0, 1, 2, 3, 4, 5],
            offsets: vec![(0, 0), (0, 3), (0, 0), (0, 1), (1, 2), (3, 4)],
            words: vec![None, Some(0), None, Some(0), Some(0), Some(1)],
            sequence: vec![None, Some(0), None, Some(1), Some(1), Some(1)],
            ..Encoding::default()
        }
    }

    #[test]
    fn answers_are_whole_words() {
        let span = |start, end| Span { score: 1.0, start, end };
        assert_eq!(place(&window(), span(4, 4), 1, true), (0, 2));
        assert_eq!(place(&window(), span(4, 4), 1, false), (1, 2));
        assert_eq!(place(&window(), span(3, 5), 1, true), (0, 4));
        // a token of no word
        assert_eq!(place(&window(), span(2, 4), 1, true), (0, 2));
    }
}
