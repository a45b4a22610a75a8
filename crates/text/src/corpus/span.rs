//! Spans that a corpus gives with its text: phrases and named entities, which knowledge masking (Sun et al. 2019, ERNIE 1.0)
//! hides as a whole. They come from outside (a chunker, a tagger, people); here they are checked and moved from code
//! points to bytes to tokens, never found.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::dataset::{Error, Example, Place, Role, RowOf};
use crate::json::kind as json_kind;

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// Words that belong together.
    Phrase,
    /// The name of a person, a place, a thing.
    Entity,
}

impl SpanKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Phrase, Self::Entity];

    /// As files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Phrase => "phrase",
            Self::Entity => "entity",
        }
    }
}

/// A stretch of a text in bytes, or of a document in tokens. Those of one kind never overlap; an entity may stand in a
/// phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Where it begins.
    pub start: usize,
    /// Behind its last.
    pub end: usize,
    /// What it is of.
    pub kind: SpanKind,
}

/// What is wrong with spans of a stretch of so many, if anything: they ascend, none is empty, and those of one kind do not
/// overlap.
pub(super) fn problem(spans: &[Span], length: usize) -> Option<String> {
    let mut ends = [0; 2];
    for (number, span) in spans.iter().enumerate() {
        let end = &mut ends[usize::from(span.kind == SpanKind::Entity)];
        let (start, kind) = (span.start, span.kind.name());
        if start >= span.end || span.end > length {
            return Some(format!("its {kind} from {start} to {} is empty, or ends behind its {length}", span.end));
        }
        if start < *end || number > 0 && spans[number - 1] > *span {
            return Some(format!("its {kind} at {start} overlaps the one before, or comes too late"));
        }
        *end = span.end;
    }
    None
}

/// A row with a text, and whatever else it has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spanned {
    pub text: String,
    values: Map<String, Value>,
    place: Place,
}

impl Example for Spanned {
    fn from_row(RowOf(mut row): RowOf<'_>) -> Result<Self, Error> {
        Ok(Self { text: row.text(Role::Text)?, values: row.values, place: row.place })
    }

    fn is_labelled(&self) -> bool {
        true
    }
}

impl Spanned {
    /// The spans under `key`, in bytes of the text, ascending.
    ///
    /// # Errors
    /// When there is no such key, or something is not as it should be; the message names file, line and key.
    pub fn spans(&self, key: &str) -> Result<Vec<Span>, Error> {
        let wrong = |problem: String| Error::row(&self.place, problem);
        let list = match self.values.get(key) {
            Some(Value::Array(list)) => list,
            Some(other) => return Err(wrong(format!("{key} should be a list of spans, found {}", json_kind(other)))),
            None => return Err(wrong(format!("there is no key {key:?} for spans: give [] where a text has none"))),
        };
        if list.is_empty() {
            return Ok(Vec::new());
        }
        // where each code point begins, and the end
        let bytes: Vec<usize> = self.text.char_indices().map(|(at, _)| at).chain([self.text.len()]).collect();
        let mut spans = Vec::with_capacity(list.len());
        for (number, value) in list.iter().enumerate() {
            let at = format!("{key}[{number}]");
            let span = self.span(value, &at, &bytes).map_err(wrong)?;
            spans.push((span, number));
        }
        spans.sort_unstable();
        for kind in SpanKind::ALL {
            let own: Vec<_> = spans.iter().filter(|(span, _)| span.kind == kind).collect();
            if let Some(pair) = own.windows(2).find(|pair| pair[1].0.start < pair[0].0.end) {
                let (name, [one, two]) = (kind.name(), [pair[0].1, pair[1].1]);
                let (one, two) = (one.min(two), one.max(two));
                let problem = format!("{key}[{one}] and {key}[{two}] overlap, and both are of the kind {name}");
                return Err(wrong(format!("{problem}: leave one of them out")));
            }
        }
        Ok(spans.into_iter().map(|(span, _)| span).collect())
    }

    /// One of the list, without the space around it.
    fn span(&self, value: &Value, at: &str, bytes: &[usize]) -> Result<Span, String> {
        let Value::Object(object) = value else {
            let found = json_kind(value);
            return Err(format!("{at} should be an object with start, end and kind, found {found}"));
        };
        let number = |name: &str| match object.get(name) {
            Some(value) => value.as_u64().and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
                format!("{at}.{name} should be a whole number from 0, in code points of the text, found {value}")
            }),
            None => Err(format!("{at} has no {name}: a span is {{\"start\": …, \"end\": …, \"kind\": …}}")),
        };
        let (start, end) = (number("start")?, number("end")?);
        let length = bytes.len() - 1;
        if start >= end {
            return Err(format!("{at} begins at {start} and ends at {end}: its end should be behind its start"));
        }
        if end > length {
            return Err(format!("{at} ends at {end}, but the text has {length} code points"));
        }
        let kind = match object.get("kind") {
            Some(Value::String(name)) => SpanKind::ALL.into_iter().find(|kind| kind.name() == name),
            _ => None,
        };
        let Some(kind) = kind else {
            let found = object.get("kind").map_or_else(|| "nothing".to_owned(), json_kind);
            return Err(format!("{at}.kind should be \"phrase\" or \"entity\", found {found}"));
        };
        let own = &self.text[bytes[start]..bytes[end]];
        let kept = own.trim();
        if kept.is_empty() {
            return Err(format!("{at} holds nothing but space"));
        }
        let start = bytes[start] + (own.len() - own.trim_start().len());
        Ok(Span { start, end: start + kept.len(), kind })
    }
}

/// Spans of a text as spans of its tokens, which stand at `offsets` in it, in bytes. A token that reaches out of a span
/// belongs to it; of two spans of a kind that share a token the first has it. A span of what the tokenizer drops is left
/// out.
pub(super) fn of_tokens(spans: &[Span], offsets: &[(usize, usize)]) -> Vec<Span> {
    let (mut ends, mut begin) = ([0; 2], 0);
    let mut found: Vec<Span> = Vec::with_capacity(spans.len());
    for &Span { start, end, kind } in spans {
        // spans ascend, and what ends before one of them ends before those that follow
        while offsets.get(begin).is_some_and(|token| token.1 <= start) {
            begin += 1;
        }
        let count = offsets[begin..].iter().take_while(|token| token.0 < end).count();
        let taken = &mut ends[usize::from(kind == SpanKind::Entity)];
        let (from, to) = (begin.max(*taken), begin + count);
        if from < to {
            *taken = to;
            found.push(Span { start: from, end: to, kind });
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn phrase(start: usize, end: usize) -> Span {
        Span { start, end, kind: SpanKind::Phrase }
    }

    pub fn entity(start: usize, end: usize) -> Span {
        Span { start, end, kind: SpanKind::Entity }
    }

    fn spans(text: &str, list: &str) -> Result<Vec<Span>, String> {
        let mut values = Map::new();
        values.insert("own".into(), serde_json::from_str(list).unwrap());
        let place = Place { file: "a.jsonl".into(), number: 7, lines: true };
        let row = Spanned { text: text.to_owned(), values, place };
        row.spans("own").map_err(|error| error.to_string())
    }

    #[test]
    fn code_points_become_bytes() {
        let list =
            r#"[{"start": 5, "end": 9, "kind": "entity", "by": "me"}, {"start": 0, "end": 9, "kind": "phrase"}]"#;
        assert_eq!(spans("über Köln!", list), Ok(vec![phrase(0, 11), entity(6, 11)]));
        // space around a span is no part of it
        assert_eq!(spans("a  b c", r#"[{"start": 1, "end": 5, "kind": "phrase"}]"#), Ok(vec![phrase(3, 4)]));
        assert_eq!(spans("a", "[]"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_key() {
        for (list, said) in [
            ("null", "own should be a list of spans, found null"),
            ("[3]", "own[0] should be an object with start, end and kind, found 3"),
            (r#"[{"end": 2, "kind": "phrase"}]"#, "own[0] has no start"),
            (r#"[{"start": 0, "kind": "phrase"}]"#, "own[0] has no end"),
            (r#"[{"start": -1, "end": 2, "kind": "phrase"}]"#, "own[0].start should be a whole number"),
            (r#"[{"start": 0, "end": 1.5, "kind": "phrase"}]"#, "own[0].end should be a whole number"),
            (r#"[{"start": 2, "end": 2, "kind": "phrase"}]"#, "own[0] begins at 2 and ends at 2"),
            (r#"[{"start": 2, "end": 6, "kind": "phrase"}]"#, "own[0] ends at 6, but the text has 5 code points"),
            (r#"[{"start": 2, "end": 3, "kind": "phrase"}]"#, "own[0] holds nothing but space"),
            (r#"[{"start": 0, "end": 1}]"#, "own[0].kind should be \"phrase\" or \"entity\", found nothing"),
            (r#"[{"start": 0, "end": 1, "kind": "PER"}]"#, "found the string \"PER\""),
            (
                r#"[{"start": 1, "end": 5, "kind": "entity"}, {"start": 0, "end": 5, "kind": "phrase"},
                    {"start": 0, "end": 2, "kind": "entity"}]"#,
                "own[0] and own[2] overlap, and both are of the kind entity",
            ),
        ] {
            let error = spans("äb cd", list).unwrap_err();
            assert!(error.starts_with("a.jsonl, line 7: ") && error.contains(said), "{list}: {error}");
        }
        let row = Spanned {
            text: "a".into(),
            values: Map::new(),
            place: Place { file: "a.jsonl".into(), number: 2, lines: true },
        };
        let error = row.spans("own").unwrap_err().to_string();
        assert!(error.contains("line 2: there is no key \"own\""), "{error}");
    }

    #[test]
    fn bytes_become_tokens() {
        // a token without a place, then "new", "york", "##er", "s", of which the last two are of one word, and two of one
        // character
        let offsets = [(0, 0), (0, 3), (4, 8), (8, 10), (10, 11), (12, 14), (12, 14)];
        assert_eq!(of_tokens(&[phrase(0, 8)], &offsets), [phrase(1, 3)]);
        // a token that reaches out of a span belongs to it, and of two spans to the first
        assert_eq!(of_tokens(&[phrase(0, 9)], &offsets), [phrase(1, 4)]);
        assert_eq!(of_tokens(&[phrase(0, 9), phrase(9, 11)], &offsets), [phrase(1, 4), phrase(4, 5)]);
        assert_eq!(of_tokens(&[phrase(4, 5), phrase(5, 8)], &offsets), [phrase(2, 3)]);
        // of other kinds both have it
        assert_eq!(of_tokens(&[phrase(0, 11), entity(4, 8)], &offsets), [phrase(1, 5), entity(2, 3)]);
        assert_eq!(of_tokens(&[entity(12, 14)], &offsets), [entity(5, 7)]);
        // the tokenizer dropped what stands there
        assert_eq!(of_tokens(&[phrase(3, 4), phrase(20, 22)], &offsets), []);
    }

    #[test]
    fn what_is_stored_is_checked() {
        assert_eq!(problem(&[phrase(0, 9), entity(0, 9), entity(9, 10), phrase(9, 12)], 12), None);
        for (wrong, said) in [
            (vec![phrase(2, 2)], "empty"),
            (vec![phrase(2, 13)], "ends behind its 12"),
            (vec![phrase(0, 3), phrase(2, 4)], "overlaps"),
            (vec![phrase(3, 4), entity(0, 2)], "too late"),
        ] {
            assert!(problem(&wrong, 12).unwrap().contains(said), "{wrong:?}");
        }
    }
}
