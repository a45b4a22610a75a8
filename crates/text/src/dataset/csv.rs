//! Records of comma- and tab-separated files (RFC 4180): where one ends, and its fields. One automaton for both, so
//! that they never disagree; strict where the `csv` crate is lenient (a quotation mark that never closes is an error).

/// The dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub delimiter: u8,
    pub quoting: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// At the first byte of a field.
    Start,
    /// In a field without quotation marks.
    Bare,
    /// Within quotation marks.
    Quoted,
    /// After a quotation mark in a quoted field: it closes, or is doubled.
    Closing,
}

/// What the automaton makes of a byte.
#[derive(PartialEq)]
enum Step {
    /// It belongs to the field.
    Keep,
    /// It is part of the notation.
    Drop,
    /// The field ends.
    Field,
    /// The record ends.
    Record,
}

impl Dialect {
    fn step(self, state: State, byte: u8) -> (State, Step) {
        match (state, byte) {
            (State::Quoted, b'"') => (State::Closing, Step::Drop),
            (State::Quoted, _) | (State::Closing, b'"') => (State::Quoted, Step::Keep),
            (State::Start, b'"') if self.quoting => (State::Quoted, Step::Drop),
            (_, b'\n') => (State::Start, Step::Record),
            (_, byte) if byte == self.delimiter => (State::Start, Step::Field),
            _ => (State::Bare, Step::Keep),
        }
    }

    /// The end of the first record, behind its line end; `None` when more bytes are needed. `Err` where the bytes end
    /// within quotation marks and `last` says that no more will come.
    pub fn end(self, bytes: &[u8], last: bool) -> Result<Option<usize>, &'static str> {
        let mut state = State::Start;
        for (at, &byte) in bytes.iter().enumerate() {
            let (next, step) = self.step(state, byte);
            if step == Step::Record {
                return Ok(Some(at + 1));
            }
            state = next;
        }
        match (last, state) {
            (false, _) => Ok(None),
            (true, State::Quoted) => {
                Err("a quotation mark opens a field here and never closes: double the marks that \
                                          belong to the text, or set quoting = false")
            }
            (true, _) => Ok(Some(bytes.len())),
        }
    }

    /// The fields of one record.
    pub fn fields(self, record: &[u8]) -> Vec<Vec<u8>> {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        let (mut fields, mut field, mut state) = (Vec::new(), Vec::new(), State::Start);
        for &byte in record {
            let (next, step) = self.step(state, byte);
            match step {
                // within quotation marks no record ends
                Step::Keep | Step::Record => field.push(byte),
                Step::Drop => {}
                Step::Field => fields.push(std::mem::take(&mut field)),
            }
            state = next;
        }
        fields.push(field);
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: Dialect = Dialect { delimiter: b',', quoting: true };
    const TSV: Dialect = Dialect { delimiter: b'\t', quoting: false };

    fn fields(dialect: Dialect, record: &str) -> Vec<String> {
        dialect.fields(record.as_bytes()).into_iter().map(|field| String::from_utf8(field).unwrap()).collect()
    }

    #[test]
    fn fields_and_marks() {
        assert_eq!(fields(CSV, "a,b\r\n"), ["a", "b"]);
        assert_eq!(fields(CSV, "\"a,\"\"b\"\"\nc\",,d\n"), ["a,\"b\"\nc", "", "d"]);
        assert_eq!(fields(CSV, "a\"b\",\"x\"y"), ["a\"b\"", "xy"]);
        assert_eq!(fields(CSV, ""), [""]);
        assert_eq!(fields(TSV, "\"a\tb\"\n"), ["\"a", "b\""]);
    }

    #[test]
    fn ends() {
        assert_eq!(CSV.end(b"a,\"x\ny\"\nb", false), Ok(Some(8)));
        assert_eq!(CSV.end(b"a,\"x\ny", false), Ok(None));
        assert!(CSV.end(b"a,\"x\ny", true).is_err());
        assert_eq!(CSV.end(b"a,b", true), Ok(Some(3)));
        assert_eq!(TSV.end(b"a\t\"x\ny\"\n", false), Ok(Some(5)));
    }
}
