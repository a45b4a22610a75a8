//! Python's pickle format (protocols 2 to 4), as much of it as dictionaries of tensors need. A pickle is a program for
//! a small stack machine whose instructions may call any Python function; here there are no functions, only the
//! names in [`Known`], and every other name ends the reading. Values live in one table and point to each other by
//! number: depth costs no stack, sharing no memory, and the table grows by the pickle's own length at most.

use std::collections::HashMap;

use super::Error;

/// Longer than the pickle of a hundred thousand tensors. What it describes lies outside of it.
const MAX_LENGTH: usize = 16 << 20;
/// Entries that may be copied out of lists, in all: the same list could be given again and again for two bytes each.
const MAX_COPIED: usize = 1 << 20;

/// Values in the table, and numbers that name some of them: three times what a hundred thousand tensors take. An
/// instruction of one byte makes a value of thirty.
const MAX_VALUES: usize = 1 << 22;

/// A value in the machine's table.
pub(super) type Id = u32;

/// A name that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Known {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch._utils._rebuild_tensor` and `_v2`: storage, offset, shape, strides.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`: a tensor, whether it needs a gradient, hooks.
    RebuildParameter,
    /// `torch.Size`: a tuple.
    Size,
    /// A type of storage.
    Storage(safetensors::Dtype),
}

fn known(module: &str, name: &str) -> Option<Known> {
    use safetensors::Dtype;
    Some(match (module, name) {
        ("collections", "OrderedDict") => Known::OrderedDict,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Known::RebuildTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Known::RebuildParameter,
        ("torch", "Size") => Known::Size,
        ("torch" | "torch.cuda", name) => Known::Storage(match name {
            "FloatStorage" => Dtype::F32,
            "HalfStorage" => Dtype::F16,
            "BFloat16Storage" => Dtype::BF16,
            "DoubleStorage" => Dtype::F64,
            "LongStorage" => Dtype::I64,
            "IntStorage" => Dtype::I32,
            "ShortStorage" => Dtype::I16,
            "CharStorage" => Dtype::I8,
            "ByteStorage" => Dtype::U8,
            "BoolStorage" => Dtype::BOOL,
            _ => return None,
        }),
        _ => return None,
    })
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(String),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Name(Known),
    /// What a persistent id stands for: the id's value.
    Persistent(Id),
    /// `_rebuild_tensor`'s arguments, the storage first.
    Tensor(Vec<Id>),
}

/// A pickle that has been read.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    /// The value that it stands for.
    pub(super) root: Id,
    /// How many bytes it took.
    pub(super) length: usize,
}

impl Pickle {
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// What every persistent id stands for.
    pub(super) fn persistent(&self) -> impl Iterator<Item = Id> {
        self.nodes.iter().filter_map(|node| if let Node::Persistent(id) = node { Some(*id) } else { None })
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        if let Node::Text(text) = self.node(id) { Some(text) } else { None }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        if let Node::Int(value) = self.node(id) { Some(*value) } else { None }
    }

    /// The elements of a tuple or a list.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        if let Node::Tuple(items) | Node::List(items) = self.node(id) { Some(items) } else { None }
    }

    pub(super) fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        if let Node::Dict(items) = self.node(id) { Some(items) } else { None }
    }
}

const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    label: &'a str,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Nodes for names, which are many times the same few.
    names: HashMap<(String, String), Id>,
    copied: usize,
}

/// Reads the pickle that `bytes` begin with.
pub(super) fn read(bytes: &[u8], label: &str) -> Result<Pickle, Error> {
    let nodes = vec![Node::None, Node::Bool(false), Node::Bool(true)];
    let bytes = &bytes[..bytes.len().min(MAX_LENGTH)];
    let mut machine = Machine {
        bytes,
        at: 0,
        label,
        nodes,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        names: HashMap::new(),
        copied: 0,
    };
    while machine.step()? {
        if machine.nodes.len().max(machine.memo.len()) > MAX_VALUES {
            return machine.wrong("it has more values than any dictionary of tensors");
        }
    }
    let root = machine.pop()?;
    Ok(Pickle { nodes: machine.nodes, root, length: machine.at })
}

impl Machine<'_> {
    fn wrong<T>(&self, problem: impl Into<String>) -> Result<T, Error> {
        Err(Error::Pickle { label: self.label.to_owned(), at: self.at, problem: problem.into() })
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Error> {
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

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn length(&mut self, width: usize) -> Result<usize, Error> {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(wide)).or_else(|_| self.wrong("a length that does not fit the memory"))
    }

    fn text(&mut self, width: usize) -> Result<String, Error> {
        let length = self.length(width)?;
        let text = std::str::from_utf8(self.take(length)?).map(str::to_owned);
        text.or_else(|_| self.wrong("text that is not UTF-8"))
    }

    fn line(&mut self) -> Result<String, Error> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().take(1024).position(|&byte| byte == b'\n') else {
            return self.wrong("a name without end");
        };
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.at += 1;
        Ok(line)
    }

    fn push(&mut self, node: Node) {
        // `MAX_VALUES` are fewer than an Id can tell apart
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, Error> {
        if self.stack.len() <= self.floor() {
            return self.wrong("it takes a value where there is none");
        }
        match self.stack.pop() {
            Some(id) => Ok(id),
            None => self.wrong("it takes a value where there is none"),
        }
    }

    fn top(&mut self) -> Result<Id, Error> {
        let id = self.pop()?;
        self.stack.push(id);
        Ok(id)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Error> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.wrong("it closes what it did not open"),
        }
    }

    fn tuple(&mut self, length: usize) -> Result<(), Error> {
        let mut items = vec![NONE; length];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Error> {
        let (pairs, rest) = items.as_chunks::<2>();
        let dict = self.top()?;
        match &mut self.nodes[dict as usize] {
            Node::Dict(entries) if rest.is_empty() => entries.extend(pairs.iter().map(|&[key, value]| (key, value))),
            _ => return self.wrong("it sets items of what is not a dictionary"),
        }
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Error> {
        let list = self.top()?;
        match &mut self.nodes[list as usize] {
            Node::List(entries) => entries.extend(items),
            _ => return self.wrong("it appends to what is not a list"),
        }
        Ok(())
    }

    fn memoize(&mut self, number: u32) -> Result<(), Error> {
        let id = self.top()?;
        self.memo.insert(number, id);
        Ok(())
    }

    fn recall(&mut self, number: u32) -> Result<(), Error> {
        match self.memo.get(&number) {
            Some(&id) => self.stack.push(id),
            None => return self.wrong(format!("it recalls number {number}, which it did not store")),
        }
        Ok(())
    }

    fn refuse<T>(&self, callable: &str) -> Result<T, Error> {
        Err(Error::PickleCode { label: self.label.to_owned(), callable: clean(callable) })
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

    /// One instruction; `false` after the last.
    fn step(&mut self) -> Result<bool, Error> {
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
}

/// A name from a file, fit to be shown.
fn clean(name: &str) -> String {
    name.chars().take(200).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        read(bytes, "x.bin").unwrap_err().to_string()
    }

    #[test]
    fn values_of_every_kind() {
        let pickle =
            read(b"\x80\x02}(X\x01\0\0\0aK\x05U\x01b\x8a\x01\xffX\x01\0\0\0c](K\x01NeX\x01\0\0\0d\x89\x88\x86u.", "x");
        let pickle = pickle.unwrap();
        let dict = pickle.dict(pickle.root).unwrap();
        assert_eq!(dict.iter().map(|&(key, _)| pickle.text(key).unwrap()).collect::<String>(), "abcd");
        assert_eq!(pickle.int(dict[0].1), Some(5));
        assert_eq!(pickle.int(dict[1].1), Some(-1));
        assert_eq!(pickle.items(dict[2].1).unwrap().len(), 2);
        assert!(matches!(pickle.node(pickle.items(dict[3].1).unwrap()[0]), Node::Bool(false)));
        assert!(matches!(pickle.node(pickle.items(dict[2].1).unwrap()[1]), Node::None));
    }

    #[test]
    fn runs_no_code() {
        let says = error(b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.");
        assert!(says.contains("pickle wants to run os.system: refused"), "{says}");
        assert!(error(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.").contains("builtins.eval"));
        assert!(error(b"(ios\nsystem\n.").contains("os.system"));
        // a name that is known, called as one that is not
        assert!(error(b"\x80\x02ctorch._utils\n_rebuild_device_tensor_from_numpy\n)R.").contains("_from_numpy"));
        assert!(error(b"\x80\x02ccollections\nOrderedDict\n)\x81.").contains("refused"));
        assert!(error(b"\x80\x02\x82\x01.").contains("refused"));
        assert!(error(b"\x80\x02cposix\n\x1b[2J\n.").contains("posix.?[2J"));
    }

    #[test]
    fn the_stack_is_never_left() {
        for program in [
            &b"0."[..],
            b".",
            b"R.",
            b"s.",
            b"e.",
            b"(0.",
            b"t.",
            b"}K\x01s.",
            b"a.",
            b"b.",
            b"Q.",
            b"2.",
            b"q\0.",
            b"h\x07.",
            b"(K\x01\x86.",
        ] {
            let _ = read(program, "x").unwrap_err();
        }
    }

    #[test]
    fn cut_off_everywhere() {
        let whole = b"\x80\x02}(X\x01\0\0\0aK\x05X\x01\0\0\0bG\0\0\0\0\0\0\0\0M\x01\x02r\x01\0\0\0X\x01\0\0\0zu.";
        for length in 0..whole.len() {
            let _ = read(&whole[..length], "x").unwrap_err();
        }
        assert!(error(b"X\xff\xff\xff\xffabc").contains("ends too early"));
        assert!(error(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff").contains("ends too early"));
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let mut deep = vec![b']'; 1_000_000];
        deep.extend(vec![b'a'; 999_999]);
        deep.push(b'.');
        assert_eq!(read(&deep, "x").unwrap().length, 2_000_000);
        let mut doubled = b")".to_vec();
        for _ in 0..10_000 {
            doubled.extend(b"2\x86");
        }
        doubled.push(b'.');
        assert!(read(&doubled, "x").is_ok());
    }

    #[test]
    fn values_without_end() {
        let empty = b")".repeat(5_000_000);
        assert!(error(&empty).contains("more values than any dictionary"));
        let numbered = [b"N".to_vec(), vec![0x94; 5_000_000]].concat();
        assert!(error(&numbered).contains("more values than any dictionary"));
    }

    #[test]
    fn one_list_given_again_and_again() {
        let mut pickle = b"ccollections\nOrderedDict\nq\x01](".to_vec();
        pickle.extend(b"K\x01K\x02\x86".repeat(300_000));
        pickle.extend(b"e\x85q\x02R0");
        pickle.extend(b"h\x01h\x02R0".repeat(100_000));
        pickle.extend(b"N.");
        assert!(error(&pickle).contains("longer than any dictionary"));
    }
}
