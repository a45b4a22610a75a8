//! Standard output: answers for readers, with colours on a terminal, or JSON and nothing else.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write, stdout};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Where answers go.
pub struct Output {
    to: BufWriter<StdoutLock<'static>>,
    colours: bool,
    terminal: bool,
}

impl Output {
    /// Standard output; colours on a terminal that has them unless `NO_COLOR` is set.
    pub fn new() -> Self {
        let colours = stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
        Self { to: BufWriter::new(stdout().lock()), colours, terminal: stdout().is_terminal() }
    }

    /// One line.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes()).and_then(|()| self.to.write_all(b"\n")).map_err(named)
    }

    /// Part of a line.
    pub fn part(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes()).map_err(named)
    }

    /// One JSON value on one line.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let written = serde_json::to_writer(&mut self.to, value);
        self.written(written)
    }

    /// An answer on one line, its scores as in [`write_answer`].
    pub fn answer(&mut self, answer: &impl Serialize) -> io::Result<()> {
        let written = write_answer(&mut self.to, answer);
        self.written(written)
    }

    fn written(&mut self, written: serde_json::Result<()>) -> io::Result<()> {
        let written = written.map_err(|error| match error.io_error_kind() {
            // keeps a closed pipe what it is
            Some(kind) => io::Error::new(kind, error),
            None => io::Error::other(error),
        });
        written.and_then(|()| self.to.write_all(b"\n")).map_err(named)
    }

    /// Lets the reader see what there is so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(named)
    }

    /// A text that a model said: on a terminal without characters that could steer it, else as it is.
    pub fn said(&self, text: &str) -> String {
        let steers = |c: char| steers(c) && !matches!(c, '\n' | '\t');
        if self.terminal { text.replace(steers, "·") } else { text.to_owned() }
    }

    /// `text` set off from its neighbours.
    pub fn strong(&self, text: &str) -> String {
        self.painted("1;32", text)
    }

    /// `text` as an aside.
    pub fn faint(&self, text: &str) -> String {
        self.painted("2", text)
    }

    /// `text` as something that was put in another's place.
    pub fn changed(&self, text: &str) -> String {
        self.painted("1;33", text)
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Numbers of single precision with all digits of the double that they are, as Python prints them and as a value of
/// `serde_json` does: an answer is the same whichever way it is written.
struct Doubles;

impl Formatter for Doubles {
    fn write_f32<W: ?Sized + Write>(&mut self, to: &mut W, value: f32) -> io::Result<()> {
        self.write_f64(to, f64::from(value))
    }
}

/// An answer as JSON.
///
/// # Errors
/// When it can't be written.
pub fn write_answer(to: impl Write, answer: &impl Serialize) -> serde_json::Result<()> {
    answer.serialize(&mut Serializer::with_formatter(to, Doubles))
}

/// The error with the place where it happened, its kind kept: a closed pipe is told by it.
fn named(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("standard output: cannot write: {error}"))
}

/// A share of 1 as twenty cells; what is less than nothing is empty.
pub fn bar(share: f32) -> String {
    const CELLS: usize = 20;
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let eighths = (share * (CELLS * 8) as f32).round() as usize;
    let mut cells = "█".repeat(eighths / 8);
    if eighths / 8 < CELLS {
        cells.push(PARTS[eighths % 8]);
        cells.extend(std::iter::repeat_n(' ', CELLS - 1 - eighths / 8));
    }
    cells
}

/// Whether a character could steer a terminal, or turn the direction in which others are shown.
pub fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text on one line of at most `width` characters. Control characters, which could steer the terminal, show as `·`.
pub fn one_line(text: &str, width: usize) -> String {
    let mut line = String::new();
    let mut spaced = false;
    for (shown, character) in text.trim().chars().enumerate() {
        if shown >= width {
            line.push('…');
            break;
        }
        let blank = character.is_whitespace();
        if !(blank && spaced) {
            line.push(if blank {
                ' '
            } else if steers(character) {
                '·'
            } else {
                character
            });
        }
        spaced = blank;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_written_as_values_are() {
        let answer = [(0.801_097_9_f32, "a"), (f32::NAN, "b"), (1.0, "c"), (1e-30, "d")];
        let mut written = Vec::new();
        write_answer(&mut written, &answer).unwrap();
        let written = String::from_utf8(written).unwrap();
        assert!(written.starts_with("[[0.8010979294776917"), "{written}");
        assert_eq!(written, serde_json::to_value(answer).unwrap().to_string());
    }

    #[test]
    fn bars_have_twenty_cells() {
        for share in [-1.0, 0.0, 0.003, 0.5, 0.97, 0.999, 1.0, 7.0, f32::NAN] {
            assert_eq!(bar(share).chars().count(), 20, "{share}");
        }
        assert_eq!(bar(0.5).trim_end(), "██████████");
        assert_eq!(bar(1.0), "█".repeat(20));
        assert_eq!(bar(-0.3).trim(), "");
    }

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\x1b[31m\n\n  b\0", 80), "a·[31m b·");
        assert_eq!(one_line("a\u{202e}b", 80), "a·b");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("  ", 3), "");
    }
}
