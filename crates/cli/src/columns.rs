//! The cells of rows of columns, separated by commas (RFC 4180) or tabs.

/// The cells of a row. In files with commas quotation marks hold separators and line ends, and stand for one where they
/// are doubled (RFC 4180).
pub fn cells(row: &str, separator: u8) -> Vec<String> {
    let separator = char::from(separator);
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = row.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' if quoted || (separator == ',' && cell.is_empty()) => quoted = !quoted,
            c if c == separator && !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

/// How far the quotation marks of a row with commas have come, line by line.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    quoted: bool,
    /// Whether a cell has just begun, the only place where a mark opens.
    begins: bool,
}

impl Default for Marks {
    fn default() -> Self {
        Self { quoted: false, begins: true }
    }
}

impl Marks {
    /// Whether the row goes on after this line of it, being within quotation marks.
    pub fn go_on(&mut self, line: &[u8]) -> bool {
        let mut bytes = line.iter().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' if self.quoted && bytes.peek() == Some(&&b'"') => {
                    bytes.next();
                    self.begins = false;
                }
                b'"' if self.quoted || self.begins => self.quoted = !self.quoted,
                b',' if !self.quoted => self.begins = true,
                _ => self.begins = false,
            }
        }
        self.quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_hold_separators() {
        assert_eq!(cells("1,\"a, \"\"b\"\"\nc\",", b','), ["1", "a, \"b\"\nc", ""]);
        assert_eq!(cells("a\"b,c", b','), ["a\"b", "c"]);
        assert_eq!(cells("5\" pipe,\"a\"", b','), ["5\" pipe", "a"]);
        // tabs have no marks
        assert_eq!(cells("\"a\tb\"", b'\t'), ["\"a", "b\""]);
    }

    #[test]
    fn rows_go_on_within_marks_alone() {
        for (row, wanted) in [
            ("a,\"b", true),
            ("\"a\nb", true),
            ("\"a \"\"b", true),
            ("\"a\"\"", true),
            ("\"a\",b", false),
            ("5\" pipe,c", false),
            ("\"\",\"\"", false),
            ("a \"b,c", false),
        ] {
            assert_eq!(Marks::default().go_on(row.as_bytes()), wanted, "{row}");
        }
    }
}
