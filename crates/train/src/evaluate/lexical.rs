//! The baseline that a reader of answers has to beat: the sentence that shares most with the question, as in the
//! sliding window of Richardson et al. (2013), and in it the span that looks most like the answers to such questions.
//! It knows words and their shapes, nothing of what they mean.

use std::collections::{HashMap, HashSet};

use ptm_text::dataset::Question;
use ptm_text::sentences;

use super::Prediction;

/// Words and marks of an answer at most.
const LONGEST: usize = 24;
/// Words of at least this share of the questions tell what kind of question it is.
const COMMON: f64 = 0.02;

/// What was learnt of questions with answers.
#[derive(Clone, Debug)]
pub struct Lexical {
    /// Of words of questions: rare ones say more.
    idf: HashMap<String, f64>,
    /// Of words in no question.
    rarest: f64,
    /// Words of many questions, which tell their kinds.
    common: HashSet<String>,
    /// How often answers of a shape belong to questions of a kind.
    shapes: HashMap<(String, String), f64>,
    /// The least share of a question's words, by weight, that an answer's sentence has.
    least: f64,
}

/// Words in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(str::to_lowercase)
}

/// A span's shape: `X` for words with a capital, `x` for others, `0` for numbers, marks as they are; repeated signs once.
fn shape(span: &str) -> String {
    let mut shape = String::new();
    for piece in span.split_whitespace() {
        let mut last = None;
        for c in piece.chars() {
            let class = match c {
                c if c.is_numeric() => '0',
                c if c.is_uppercase() => 'X',
                c if c.is_alphabetic() => 'x',
                c => c,
            };
            // `Xx` is a word with a capital
            if last != Some(class) && !(class == 'x' && last == Some('X')) {
                shape.push(class);
                last = Some(class);
            }
        }
        shape.push(' ');
    }
    shape.trim_end().to_owned()
}

/// Where tokens, runs of letters and digits or one mark, stand in a text, in bytes.
fn tokens(text: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut inside = false;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        match found.last_mut() {
            Some(last) if inside && c.is_alphanumeric() => last.1 = end,
            _ if !c.is_whitespace() => found.push((at, end)),
            _ => {}
        }
        inside = c.is_alphanumeric();
    }
    found
}

impl Lexical {
    /// Learns from questions with their answers, and from those without which share of words is too little.
    pub fn learn(questions: &[Question]) -> Self {
        let mut counts: HashMap<String, f64> = HashMap::new();
        for question in questions {
            let mut own: Vec<String> = words(&question.question).collect();
            own.sort_unstable();
            own.dedup();
            own.into_iter().for_each(|word| *counts.entry(word).or_default() += 1.0);
        }
        let n = questions.len() as f64;
        let weight = |count: f64| ((1.0 + n) / (1.0 + count)).ln();
        let many = (COMMON * n).max(2.0);
        let mut this = Self {
            rarest: weight(0.0),
            common: counts.iter().filter(|entry| *entry.1 >= many).map(|(word, _)| word.clone()).collect(),
            idf: counts.into_iter().map(|(word, count)| (word, weight(count))).collect(),
            shapes: HashMap::new(),
            least: 0.0,
        };
        for question in questions {
            for answer in question.answers.iter().take(1) {
                *this.shapes.entry((this.kind(&question.question), shape(&answer.text))).or_default() += 1.0;
            }
        }
        this.least = this.threshold(questions);
        this
    }

    /// A question's words that many have: `when was born`.
    fn kind(&self, question: &str) -> String {
        words(question).filter(|word| self.common.contains(word)).collect::<Vec<_>>().join(" ")
    }

    /// The share below which leaving questions unanswered is right most often.
    fn threshold(&self, questions: &[Question]) -> f64 {
        if !questions.iter().any(Question::is_impossible) {
            return 0.0;
        }
        let mut shares: Vec<(f64, bool)> = questions.iter().map(|q| (self.sentence(q).1, q.is_impossible())).collect();
        shares.sort_by(|a, b| a.0.total_cmp(&b.0));
        // all are answered, then one after the other isn't
        let mut right = shares.iter().filter(|share| !share.1).count();
        let mut best = (right, 0.0);
        for (at, &(share, impossible)) in shares.iter().enumerate() {
            right = if impossible { right + 1 } else { right - 1 };
            let next = shares.get(at + 1).map_or(f64::INFINITY, |next| next.0);
            if right > best.0 && next > share {
                best = (right, if next.is_finite() { f64::midpoint(share, next) } else { share + 1.0 });
            }
        }
        best.1
    }

    /// The first of the sentences that share most with the question, and its share of the question's words by weight.
    fn sentence<'a>(&self, question: &'a Question) -> (&'a str, f64) {
        let weight = |word: &String| self.idf.get(word).copied().unwrap_or(self.rarest);
        let asked: Vec<String> = words(&question.question).collect();
        let all: f64 = asked.iter().map(weight).sum();
        let mut best = ("", -1.0);
        for sentence in sentences(&question.context) {
            let own: Vec<String> = words(sentence).collect();
            let share = asked.iter().filter(|word| own.contains(word)).map(weight).sum::<f64>() / all.max(1e-9);
            if share > best.1 {
                best = (sentence, share);
            }
        }
        (best.0, best.1.max(0.0))
    }

    /// The answer, scored by how much its sentence shares with the question; no answer by the share that is too little.
    pub fn answer(&self, question: &Question) -> Prediction {
        let (sentence, share) = self.sentence(question);
        let (kind, asked) = (self.kind(&question.question), words(&question.question).collect::<Vec<_>>());
        let tokens = tokens(sentence);
        let is_asked = |&(start, end): &(usize, usize)| asked.contains(&sentence[start..end].to_lowercase());
        let mut best = ("", 0.0);
        for (at, &(start, _)) in tokens.iter().enumerate() {
            // an answer doesn't repeat the question
            for &(_, end) in tokens[at..].iter().take(LONGEST).take_while(|token| !is_asked(token)) {
                let span = &sentence[start..end];
                let often = self.shapes.get(&(kind.clone(), shape(span))).copied().unwrap_or(0.0);
                if often > best.1 {
                    best = (span, often);
                }
            }
        }
        Prediction { text: best.0.to_owned(), score: share, null_score: self.least }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ptm_text::dataset::Answer;

    fn question(question: &str, answer: Option<&str>) -> Question {
        let context = "Ann Lee: English poet (1801-1850). Bo Ek: Danish painter who lived in Rome (1790-1831). \
                       Una Moor: Irish actress (1905-1990).";
        let at = |text: &str| context.find(text).unwrap();
        let answers = answer.map(|text| Answer { text: text.into(), start: at(text) }).into_iter().collect();
        Question { id: String::new(), question: question.into(), context: context.into(), answers, answered: true }
    }

    #[test]
    fn the_sentence_and_the_shape() {
        let rows = [
            question("When was Ann Lee born?", Some("1801")),
            question("Who was Bo Ek?", Some("Danish painter")),
            question("Who was Una Moor?", Some("Irish actress")),
            question("When was Una Moor born?", Some("1905")),
            question("Who was Ida Holm?", None),
        ];
        let learnt = Lexical::learn(&rows);
        let found = |text: &str| learnt.answer(&question(text, None));
        assert_eq!(found("When was Bo Ek born?").text, "1790");
        assert_eq!(found("Who was Ann Lee?").text, "English poet");
        assert!(found("Who was Ann Lee?").score > learnt.least);
        let missing = found("Who was Ole Berg?");
        assert!(missing.score < missing.null_score, "{missing:?}");
    }

    #[test]
    fn shapes_and_tokens() {
        assert_eq!(shape("United States poet"), "X X x");
        assert_eq!(shape("1743-1820"), "0-0");
        let text = "Bo's 3 (é)";
        let found: Vec<&str> = tokens(text).into_iter().map(|(start, end)| &text[start..end]).collect();
        assert_eq!(found, ["Bo", "'", "s", "3", "(", "é", ")"]);
    }

    #[test]
    fn nothing_to_go_by() {
        let learnt = Lexical::learn(&[]);
        let mut empty = question("", None);
        empty.context = String::new();
        assert_eq!(learnt.answer(&empty).text, "");
    }
}
