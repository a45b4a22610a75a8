//! What each instruction of a pickle does (Python's `pickletools` describes them). Those that would call a function or
//! build an object build a plain value where the name is known, and end the reading everywhere else.

use super::machine::{FALSE, Machine, NONE, TRUE};
use super::value::{Id, Known, Node, known};
use crate::files::Error;

/// Entries that may be copied out of lists, in all: the same list could be given again and again for two bytes each.
const MAX_COPIED: usize = 1 << 20;

impl Machine<'_> {
    /// One instruction; `false` after the last.
    pub(super) fn step(&mut self) -> Result<bool, Error> {
        let [code] = self.array()?;
        match code {
            b'.' => return Ok(false),
            0x80 => {
                let [protocol] = self.array()?;
                if protocol > 5 {
                    return self.wrong(format!("unknown protocol {protocol}"));
                }
            }
            // a frame only says how much to read ahead
            0x95 => {
                self.take(8)?;
            }
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b'K' => {
                let [value] = self.array()?;
                self.push(Node::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                self.take(8)?;
                self.push(Node::Float);
            }
            b'X' | 0x8c | 0x8d => {
                let width = [(b'X', 4), (0x8c, 1), (0x8d, 8)].iter().find(|w| w.0 == code).map_or(4, |w| w.1);
                let text = self.text(width)?;
                self.push(Node::Text(text));
            }
            b'U' | b'T' => {
                // Python 2's text
                let length = self.length(if code == b'U' { 1 } else { 4 })?;
                let text = String::from_utf8_lossy(self.take(length)?).into_owned();
                self.push(Node::Text(text));
            }
            b'C' | b'B' | 0x8e => {
                let length = self.length(if code == b'C' {
                    1
                } else if code == b'B' {
                    4
                } else {
                    8
                })?;
                self.take(length)?;
                self.push(Node::Bytes);
            }
            b')' => self.push(Node::Tuple(Vec::new())),
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Node::List(items));
            }
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Node::Dict(Vec::new()));
                self.set_items(&items)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_mark()?;
            }
            b'2' => {
                let id = self.top()?;
                self.stack.push(id);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b'q' => {
                let [number] = self.array()?;
                self.memoize(number.into())?;
            }
            b'r' => {
                let number = u32::from_le_bytes(self.array()?);
                self.memoize(number)?;
            }
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'h' => {
                let [number] = self.array()?;
                self.recall(number.into())?;
            }
            b'j' => {
                let number = u32::from_le_bytes(self.array()?);
                self.recall(number)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Text(module), Node::Text(name)) = (&self.nodes[module as usize], &self.nodes[name as usize])
                else {
                    return self.wrong("a name that is not text");
                };
                let (module, name) = (module.clone(), name.clone());
                self.global(module, name)?;
            }
            b'R' => self.reduce()?,
            // attributes of an object: dictionaries of tensors have `_metadata`, which only PyTorch's modules use
            b'b' => {
                self.pop()?;
                let object = self.top()?;
                if !matches!(self.nodes[object as usize], Node::Dict(_) | Node::Tensor(_)) {
                    return self.wrong("it sets attributes of what has none");
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                return self.refuse(&format!("{module}.{name}"));
            }
            b'o' | 0x81 | 0x92 => return self.refuse("the constructor of a class"),
            0x82..=0x84 => return self.refuse("a registered extension"),
            _ => return self.wrong(format!("unknown instruction {code:#04x}")),
        }
        Ok(true)
    }

    fn long(&mut self) -> Result<(), Error> {
        let length = self.length(1)?;
        let digits = self.take(length)?;
        let negative = digits.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        // longer ones (a magic number of PyTorch's) are told apart before; here they only must not be taken for others
        let short = digits.len() <= 8;
        if short {
            wide[..digits.len()].copy_from_slice(digits);
        }
        self.push(if short { Node::Int(i64::from_le_bytes(wide)) } else { Node::Bytes });
        Ok(())
    }

    fn global(&mut self, module: String, name: String) -> Result<(), Error> {
        let Some(found) = known(&module, &name) else {
            return self.refuse(&format!("{module}.{name}"));
        };
        let key = (module, name);
        if let Some(&id) = self.names.get(&key) {
            self.stack.push(id);
        } else {
            self.push(Node::Name(found));
            self.names.insert(key, self.nodes.len() as Id - 1);
        }
        Ok(())
    }

    /// A call: none runs anything, each only builds a value that its caller can read.
    fn reduce(&mut self) -> Result<(), Error> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Node::Tuple(arguments) = &self.nodes[arguments as usize] else {
            return self.wrong("a call without a tuple of arguments");
        };
        let Node::Name(callable) = &self.nodes[callable as usize] else {
            return self.wrong("it calls what is not a function");
        };
        let first = arguments.first().copied();
        match callable {
            Known::OrderedDict if first.is_none() => self.push(Node::Dict(Vec::new())),
            Known::OrderedDict if arguments.len() == 1 => return self.ordered(first.unwrap_or(NONE)),
            Known::RebuildTensor if (4..=7).contains(&arguments.len()) => {
                let arguments = arguments[..4].to_vec();
                self.push(Node::Tensor(arguments));
            }
            Known::RebuildParameter | Known::Size if first.is_some() => self.stack.push(first.unwrap_or(NONE)),
            _ => return self.wrong(format!("{callable:?} with {} arguments", arguments.len())),
        }
        Ok(())
    }

    /// `OrderedDict([(key, value), …])`, as Python 2 wrote it.
    fn ordered(&mut self, list: Id) -> Result<(), Error> {
        let mut entries = Vec::new();
        if let Node::List(items) | Node::Tuple(items) = &self.nodes[list as usize] {
            self.copied += items.len();
            if self.copied > MAX_COPIED {
                return self.wrong("it is longer than any dictionary of tensors");
            }
            for &item in items {
                match &self.nodes[item as usize] {
                    Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => entries.push((pair[0], pair[1])),
                    _ => return self.wrong("OrderedDict of what are not pairs"),
                }
            }
        }
        self.push(Node::Dict(entries));
        Ok(())
    }
}
