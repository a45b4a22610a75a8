//! Parts of a text by code points, as Python counts characters.

/// A text with the byte where each code point begins.
#[derive(Debug)]
pub(crate) struct CodePoints<'a> {
    text: &'a str,
    /// Empty for ASCII, where bytes and code points are the same.
    begins: Vec<usize>,
}

impl<'a> CodePoints<'a> {
    pub fn new(text: &'a str) -> Self {
        let begins = if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        Self { text, begins }
    }

    /// The code points from `start` up to `end`, as much of them as there is.
    pub fn slice(&self, start: usize, end: usize) -> &'a str {
        let byte = |point: usize| {
            let begin = if self.begins.is_empty() { Some(point) } else { self.begins.get(point).copied() };
            begin.unwrap_or(usize::MAX).min(self.text.len())
        };
        self.text.get(byte(start)..byte(end).max(byte(start))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_code_points() {
        let text = CodePoints::new("aü🦀b");
        assert_eq!((text.slice(1, 3), text.slice(3, 9), text.slice(7, 9), text.slice(2, 1)), ("ü🦀", "b", "", ""));
        let ascii = CodePoints::new("abc");
        assert_eq!((ascii.slice(1, 2), ascii.slice(1, 9), ascii.slice(5, 9)), ("b", "bc", ""));
    }
}
