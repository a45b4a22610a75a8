//! Which pieces are those of which text, and what was answered so far.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::telling::Telling;
use crate::error::Result;
use crate::generation::Spoken;

/// Pieces with one space between them.
pub(super) fn joined(texts: &[String]) -> String {
    let all: Vec<&str> = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    all.join(" ")
}

/// Texts of which not all pieces were answered.
#[derive(Default)]
pub(super) struct Pieces<'a> {
    open: RefCell<HashMap<usize, Open<'a>>>,
    /// Of each open piece: its text, and its place there.
    of: RefCell<HashMap<usize, (usize, usize)>>,
    count: Cell<usize>,
}

/// A text of which not all pieces were answered.
struct Open<'a> {
    cut: usize,
    missing: usize,
    answers: Vec<Vec<Spoken>>,
    /// Where somebody hears it.
    telling: Option<Telling<'a>>,
}

/// A text, the answers to all its pieces, and how many of its tokens were cut off.
type Answered = (usize, Result<Vec<Vec<Spoken>>>, usize);

impl<'a> Pieces<'a> {
    /// The next `count` pieces are those of text `text`.
    pub(super) fn add(&self, text: usize, count: usize, cut: usize, telling: Option<Telling<'a>>) {
        let first = self.count.replace(self.count.get() + count);
        self.of.borrow_mut().extend((0..count).map(|own| (first + own, (text, own))));
        let open = Open { cut, missing: count, answers: vec![Vec::new(); count], telling };
        self.open.borrow_mut().insert(text, open);
    }

    /// A text, and what can be given out of its answer when all that was said of `piece` is `tokens`, if there is more.
    pub(super) fn hear(&self, piece: usize, tokens: &[u32], is_end: bool) -> Option<(usize, String)> {
        let (text, own) = *self.of.borrow().get(&piece)?;
        let more = self.open.borrow_mut().get_mut(&text)?.telling.as_mut()?.hear(own, tokens, is_end);
        (!more.is_empty()).then_some((text, more))
    }

    /// The text whose last piece was found with this one, or the first that couldn't be.
    pub(super) fn put(&self, piece: usize, found: Result<Vec<Spoken>>) -> Option<Answered> {
        let (text, own) = self.of.borrow_mut().remove(&piece)?;
        let mut all = self.open.borrow_mut();
        // gone if another of its pieces couldn't be answered
        let open = all.get_mut(&text)?;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let cut = open.cut;
                all.remove(&text);
                return Some((text, Err(error), cut));
            }
        };
        open.answers[own] = found;
        open.missing -= 1;
        if open.missing > 0 {
            return None;
        }
        let open = all.remove(&text)?;
        Some((text, Ok(open.answers), open.cut))
    }
}
