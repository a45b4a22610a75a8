//! The stack machine that a pickle is a program for: its stack, its marks, its memory, and the bytes it reads. What
//! the instructions do: `instructions.rs`.

use std::collections::HashMap;

use super::MAX_LENGTH;
use super::value::{Id, Node};
use crate::files::Error;

/// The three values that every table begins with.
pub(super) const NONE: Id = 0;
pub(super) const FALSE: Id = 1;
pub(super) const TRUE: Id = 2;

/// The machine while it runs.
pub(super) struct Machine<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) label: &'a str,
    pub(super) nodes: Vec<Node>,
    pub(super) stack: Vec<Id>,
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, Id>,
    /// Nodes for names, which are many times the same few.
    pub(super) names: HashMap<(String, String), Id>,
    pub(super) copied: usize,
}

impl<'a> Machine<'a> {
    /// The machine before the first instruction.
    pub(super) fn new(bytes: &'a [u8], label: &'a str) -> Self {
        Self {
            bytes,
            at: 0,
            label,
            nodes: vec![Node::None, Node::Bool(false), Node::Bool(true)],
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            names: HashMap::new(),
            copied: 0,
        }
    }
}

impl Machine<'_> {
    pub(super) fn wrong<T>(&self, problem: impl Into<String>) -> Result<T, Error> {
        Err(Error::Pickle { label: self.label.to_owned(), at: self.at, problem: problem.into() })
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&[u8], Error> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return self.wrong(if self.bytes.len() == MAX_LENGTH {
                "it is longer than any dictionary of tensors"
            } else {
                "it ends too early"
            });
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn length(&mut self, width: usize) -> Result<usize, Error> {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(wide)).or_else(|_| self.wrong("a length that does not fit the memory"))
    }

    pub(super) fn text(&mut self, width: usize) -> Result<String, Error> {
        let length = self.length(width)?;
        let text = std::str::from_utf8(self.take(length)?).map(str::to_owned);
        text.or_else(|_| self.wrong("text that is not UTF-8"))
    }

    pub(super) fn line(&mut self) -> Result<String, Error> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().take(1024).position(|&byte| byte == b'\n') else {
            return self.wrong("a name without end");
        };
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.at += 1;
        Ok(line)
    }

    pub(super) fn push(&mut self, node: Node) {
        // `MAX_VALUES` are fewer than an Id can tell apart
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
    }

    pub(super) fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<Id, Error> {
        if self.stack.len() <= self.floor() {
            return self.wrong("it takes a value where there is none");
        }
        match self.stack.pop() {
            Some(id) => Ok(id),
            None => self.wrong("it takes a value where there is none"),
        }
    }

    pub(super) fn top(&mut self) -> Result<Id, Error> {
        let id = self.pop()?;
        self.stack.push(id);
        Ok(id)
    }

    pub(super) fn pop_mark(&mut self) -> Result<Vec<Id>, Error> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.wrong("it closes what it did not open"),
        }
    }

    pub(super) fn tuple(&mut self, length: usize) -> Result<(), Error> {
        let mut items = vec![NONE; length];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        self.push(Node::Tuple(items));
        Ok(())
    }

    pub(super) fn set_items(&mut self, items: &[Id]) -> Result<(), Error> {
        let (pairs, rest) = items.as_chunks::<2>();
        let dict = self.top()?;
        match &mut self.nodes[dict as usize] {
            Node::Dict(entries) if rest.is_empty() => entries.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return self.wrong("it sets items of what is not a dictionary"),
        }
        Ok(())
    }

    pub(super) fn append(&mut self, items: &[Id]) -> Result<(), Error> {
        let list = self.top()?;
        match &mut self.nodes[list as usize] {
            Node::List(entries) => entries.extend(items),
            _ => return self.wrong("it appends to what is not a list"),
        }
        Ok(())
    }

    pub(super) fn memoize(&mut self, number: u32) -> Result<(), Error> {
        let id = self.top()?;
        self.memo.insert(number, id);
        Ok(())
    }

    pub(super) fn recall(&mut self, number: u32) -> Result<(), Error> {
        match self.memo.get(&number) {
            Some(&id) => self.stack.push(id),
            None => return self.wrong(format!("it recalls number {number}, which it did not store")),
        }
        Ok(())
    }

    pub(super) fn refuse<T>(&self, callable: &str) -> Result<T, Error> {
        Err(Error::PickleCode { label: self.label.to_owned(), callable: clean(callable) })
    }
}

/// A name from a file, fit to be shown.
fn clean(name: &str) -> String {
    name.chars().take(200).map(|c| if c.is_control() { '?' } else { c }).collect()
}
