//! An answer heard while it is said.

use ptm_text::Tokenizer;

use crate::generation::TextStream;

/// An answer while it is said: piece after piece, as [`joined`] has them.
pub(super) struct Telling<'a> {
    start: Option<u32>,
    pieces: Vec<TextStream<'a>>,
    /// Of each piece what was said and not given out yet, and whether it has ended.
    waiting: Vec<(String, bool)>,
    /// The piece that is given out.
    current: usize,
    /// Whether anything was given out: at all, and of the current piece.
    begun: (bool, bool),
}

impl<'a> Telling<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, start: Option<u32>, pieces: usize, cleans: bool) -> Self {
        let new = |_| TextStream::new(tokenizer, &[], cleans);
        let waiting = vec![(String::new(), false); pieces];
        Self { start, pieces: (0..pieces).map(new).collect(), waiting, current: 0, begun: (false, false) }
    }

    /// What can be given out when all that was said of `piece` is `tokens`.
    pub(super) fn hear(&mut self, piece: usize, tokens: &[u32], is_end: bool) -> String {
        let tokens: Vec<u32> = self.start.into_iter().chain(tokens.iter().copied()).collect();
        let stream = &mut self.pieces[piece];
        let more = if is_end { stream.rest(&tokens) } else { stream.more(&tokens) };
        let (waiting, ended) = &mut self.waiting[piece];
        waiting.push_str(&more);
        *ended = is_end;
        let mut out = String::new();
        while let Some((waiting, ended)) = self.waiting.get_mut(self.current) {
            if !self.begun.1 {
                waiting.drain(..waiting.len() - waiting.trim_start().len());
            }
            // blanks at the end wait for what comes after them
            let kept = waiting.split_off(waiting.trim_end().len());
            if !waiting.is_empty() {
                if self.begun == (true, false) {
                    out.push(' ');
                }
                out.push_str(waiting);
                self.begun = (true, true);
            }
            *waiting = kept;
            if !*ended {
                break;
            }
            self.current += 1;
            self.begun.1 = false;
        }
        out
    }
}
