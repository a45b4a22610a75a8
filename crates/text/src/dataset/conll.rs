//! Sentences of column files: a word a line, an empty line behind each sentence (CoNLL-2003), and the ten columns of
//! the Universal Dependencies (CoNLL-U), where comments, contracted words (`1-2`) and empty nodes (`1.1`) are left out.

/// The two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Conll,
    Conllu,
}

impl Style {
    /// The columns of a line that holds a word.
    fn columns(self, line: &str) -> Option<Vec<&str>> {
        match self {
            Self::Conll => {
                // the mark between documents of CoNLL-2003
                (!line.starts_with("-DOCSTART-")).then(|| split(line)).filter(|columns| !columns.is_empty())
            }
            Self::Conllu => {
                if line.starts_with('#') {
                    return None;
                }
                let columns: Vec<&str> = line.split('\t').collect();
                let counted = columns[0].bytes().all(|byte| byte.is_ascii_digit());
                (counted && !line.trim().is_empty()).then_some(columns)
            }
        }
    }

    /// The end of the first sentence, behind its empty line, and whether it holds a word; `None` when more bytes are
    /// needed.
    pub fn end(self, bytes: &[u8], last: bool) -> Option<(usize, bool)> {
        let (mut at, mut words, mut lines) = (0, false, false);
        while at < bytes.len() {
            let Some(length) = memchr::memchr(b'\n', &bytes[at..]) else {
                if !last {
                    return None;
                }
                words |= self.holds_word(&bytes[at..]);
                return Some((bytes.len(), words));
            };
            let line = &bytes[at..at + length];
            at += length + 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                if lines {
                    return Some((at, words));
                }
                // empty lines before a sentence are passed over one by one, so that line numbers stay right
                return Some((at, false));
            }
            lines = true;
            words |= self.holds_word(line);
        }
        last.then_some((bytes.len(), words))
    }

    fn holds_word(self, line: &[u8]) -> bool {
        // what is not UTF-8 is reported when it is read
        std::str::from_utf8(line).map_or(true, |line| self.columns(line.trim_end()).is_some())
    }

    /// The columns of a sentence: for each the entries of all words.
    pub fn table<'a>(self, sentence: &'a str, first_line: u64) -> Result<Vec<Vec<&'a str>>, (u64, String)> {
        let mut table: Vec<Vec<&'a str>> = Vec::new();
        for (line, number) in sentence.lines().zip(first_line..) {
            let Some(columns) = self.columns(line.trim_end_matches(['\r', '\n'])) else { continue };
            if table.is_empty() {
                table = vec![Vec::new(); columns.len()];
            }
            if columns.len() != table.len() {
                let (found, expected) = (columns.len(), table.len());
                return Err((
                    number,
                    format!("{found} columns, but the words before have {expected}: each word needs all of them"),
                ));
            }
            for (column, entry) in table.iter_mut().zip(columns) {
                column.push(entry);
            }
        }
        Ok(table)
    }

    /// Where words and tags stand unless columns are named.
    pub fn usual(self, columns: usize) -> (usize, usize) {
        match self {
            Self::Conll => (0, columns.saturating_sub(1)),
            Self::Conllu => (1.min(columns.saturating_sub(1)), 3.min(columns.saturating_sub(1))),
        }
    }
}

/// By tabs where there is one, so that words may hold spaces, else by blanks.
fn split(line: &str) -> Vec<&str> {
    if line.trim().is_empty() {
        Vec::new()
    } else if line.contains('\t') {
        line.split('\t').collect()
    } else {
        line.split(' ').filter(|entry| !entry.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_empty_lines() {
        let text = b"\nEU NNP B-ORG\nrejects VBZ O\n\nPeter";
        assert_eq!(Style::Conll.end(text, false), Some((1, false)));
        assert_eq!(Style::Conll.end(&text[1..], false), Some((28, true)));
        assert_eq!(Style::Conll.end(&text[29..], false), None);
        assert_eq!(Style::Conll.end(&text[29..], true), Some((5, true)));
        assert_eq!(Style::Conll.end(b"-DOCSTART- -X- O\n\nx", false), Some((18, false)));
    }

    #[test]
    fn tables() {
        let table = Style::Conll.table("EU NNP B-ORG\nrejects VBZ O\n\n", 4).unwrap();
        assert_eq!(table, [["EU", "rejects"], ["NNP", "VBZ"], ["B-ORG", "O"]]);
        assert_eq!(Style::Conll.table("a b\nc\n", 4).unwrap_err().0, 5);
        let text = "# text = vámonos\n1-2\tvámonos\t_\t_\n1\tvamos\tir\tVERB\n2\tnos\tnosotros\tPRON\n2.1\tx\ty\tz\n";
        let table = Style::Conllu.table(text, 1).unwrap();
        assert_eq!((&table[1][..], &table[3][..]), (&["vamos", "nos"][..], &["VERB", "PRON"][..]));
        assert_eq!(Style::Conllu.usual(10), (1, 3));
        // in CoNLL-2003 a number sign is a word
        assert_eq!(Style::Conll.table("# # O\n", 1).unwrap()[0], ["#"]);
    }
}
