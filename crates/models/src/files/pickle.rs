//! Python's pickle format (protocols 2 to 4), as much of it as dictionaries of tensors need. A pickle is a program for
//! a small stack machine whose instructions may call any Python function; here there are no functions, only the
//! names in [`Known`], and every other name ends the reading. Values live in one table and point to each other by
//! number: depth costs no stack, sharing no memory, and the table grows by the pickle's own length at most.

mod instructions;
mod machine;
mod value;

use machine::Machine;
pub(super) use value::{Id, Known, Node, Pickle};

use super::Error;

/// Longer than the pickle of a hundred thousand tensors. What it describes lies outside of it.
const MAX_LENGTH: usize = 16 << 20;

/// Values in the table, and numbers that name some of them: three times what a hundred thousand tensors take. An
/// instruction of one byte makes a value of thirty.
const MAX_VALUES: usize = 1 << 22;

/// Reads the pickle that `bytes` begin with.
pub(super) fn read(bytes: &[u8], label: &str) -> Result<Pickle, Error> {
    let bytes = &bytes[..bytes.len().min(MAX_LENGTH)];
    let mut machine = Machine::new(bytes, label);
    while machine.step()? {
        if machine.nodes.len().max(machine.memo.len()) > MAX_VALUES {
            return machine.wrong("it has more values than any dictionary of tensors");
        }
    }
    let root = machine.pop()?;
    Ok(Pickle { nodes: machine.nodes, root, length: machine.at })
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
