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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_hold_separators() {
        assert_eq!(cells("1,\"a, \"\"b\"\"\nc\",", b','), ["1", "a, \"b\"\nc", ""]);
        assert_eq!(cells("a\"b,c", b','), ["a\"b", "c"]);
        // tabs have no marks
        assert_eq!(cells("\"a\tb\"", b'\t'), ["\"a", "b\""]);
    }
}
