//! Where the objects of a JSON list end, without reading the list as a whole: depth of brackets outside strings.
//! What stands between them is each object's parser's to judge.

/// The end of the first object in `bytes` and where it begins; `Some((end, None))` where nothing but the list's own
/// brackets and commas is left; `None` when more bytes are needed.
pub(super) fn end(bytes: &[u8], last: bool) -> Option<(usize, Option<usize>)> {
    let between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b'[' | b']');
    let Some(begin) = bytes.iter().position(|byte| !between(byte)) else {
        return (last || !bytes.is_empty()).then_some((bytes.len(), None));
    };
    let (mut depth, mut string, mut escaped) = (0usize, false, false);
    for (at, &byte) in bytes.iter().enumerate().skip(begin) {
        if string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some((at + 1, Some(begin)));
                }
            }
            // something that is no object: up to the end of its line, for the parser to complain about
            b'\n' if depth == 0 => return Some((at + 1, Some(begin))),
            _ => {}
        }
    }
    last.then_some((bytes.len(), Some(begin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_a_list() {
        let text = br#"[ {"a": "}]\"", "b": [1, {}]},
            {"c": 1}
        ]"#;
        let (end_1, begin) = end(text, false).unwrap();
        assert_eq!(&text[begin.unwrap()..end_1], br#"{"a": "}]\"", "b": [1, {}]}"#);
        let rest = &text[end_1..];
        let (end_2, begin) = end(rest, false).unwrap();
        assert_eq!(&rest[begin.unwrap()..end_2], br#"{"c": 1}"#);
        assert_eq!(end(&rest[end_2..], true), Some((rest.len() - end_2, None)));
        assert_eq!(end(b"{\"a\": [", false), None);
        assert_eq!(end(b"nonsense\n{}", false), Some((9, Some(0))));
    }
}
