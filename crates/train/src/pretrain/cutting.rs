//! Documents cut into what becomes an example each: stretches of one document, or blocks that documents fill one after
//! the other. Where a cutting stands is told exactly, so that it can be gone on with.

use std::sync::Arc;

use ptm_text::corpus::{Document, Draws, Mixture, MixtureCursor, Part, Span};

use crate::error::{Error, Result};
use crate::feed::Place;
use crate::objectives::Text;

/// How documents are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Stretches of at most this many tokens; those of two documents never touch.
    Within {
        /// Tokens.
        length: usize,
        /// Whether each document is read from its end too.
        both: bool,
    },
    /// Blocks of exactly so many tokens, which documents fill one after the other.
    Across {
        /// Tokens.
        length: usize,
        /// How many more than its own each document counts for: those that begin and end it, or less the last, which
        /// nothing follows.
        frame: isize,
    },
}

/// A document that was drawn.
#[derive(Debug)]
pub struct Drawn {
    /// The corpus in the mixture.
    pub corpus: usize,
    /// How often all of that corpus was drawn before.
    pub epoch: u64,
    /// The document.
    pub document: Document,
}

impl Drawn {
    /// The whole document.
    pub fn text(&self) -> Text<'_> {
        Text { ids: &self.document.ids, sentences: &self.document.sentences }
    }
}

/// A part of a document.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The document.
    pub drawn: Arc<Drawn>,
    /// The first token; of blocks counted with what begins the document.
    pub from: usize,
    /// Behind the last.
    pub to: usize,
}

/// What becomes an example.
#[derive(Clone, Debug)]
pub struct Window {
    /// One part, or those that fill a block; never none.
    pub pieces: Vec<Piece>,
    /// Whether it is read from its end; places count from there then.
    pub backwards: bool,
}

impl Window {
    /// How many tokens of text it has.
    pub fn tokens(&self) -> usize {
        self.pieces.iter().map(|piece| piece.to - piece.from).sum()
    }

    /// A number that no other window of a corpus has.
    pub fn number(&self) -> u64 {
        let Piece { drawn, from, .. } = &self.pieces[0];
        // documents have fewer than 2^23 tokens
        drawn.document.number << 24 | (*from as u64) << 1 | u64::from(self.backwards)
    }

    /// The corpus that it is of, or begins in, and how often all of that was drawn before.
    pub fn pass(&self) -> (usize, u64) {
        (self.pieces[0].drawn.corpus, self.pieces[0].drawn.epoch)
    }

    /// The tokens of the document of its only piece before it and behind it.
    pub fn around(&self) -> [&[u32]; 2] {
        let Piece { drawn, from, to } = &self.pieces[0];
        [&drawn.document.ids[..*from], &drawn.document.ids[*to..]]
    }

    /// The tokens of its only piece, and where sentences begin in them.
    pub fn stretch(&self) -> (&[u32], Vec<usize>) {
        let Piece { drawn, from, to } = &self.pieces[0];
        let Document { ids, sentences, .. } = &drawn.document;
        let inner = sentences.iter().filter(|&&start| start > *from && start < *to).map(|start| start - from);
        (&ids[*from..*to], [0].into_iter().chain(inner).collect())
    }

    /// The spans that its only piece has as a whole, in tokens of it.
    pub fn spans(&self) -> Vec<Span> {
        let Piece { drawn, from, to } = &self.pieces[0];
        let inside = drawn.document.spans.iter().filter(|span| span.start >= *from && span.end <= *to);
        inside.map(|span| Span { start: span.start - from, end: span.end - from, ..*span }).collect()
    }
}

/// Fewer tokens teach nothing: corrupting needs two.
const LEAST: usize = 2;

/// The stretch number `index` of a document of `length` tokens.
fn stretch(length: usize, most: usize, both: bool, index: usize) -> Option<(usize, usize, bool)> {
    // each stretch in both directions, so that neighbours are of different ones
    let (number, backwards) = if both { (index / 2, index % 2 == 1) } else { (index, false) };
    let from = number.checked_mul(most)?;
    let to = from.saturating_add(most).min(length);
    (to >= from + LEAST).then_some((from, to, backwards))
}

fn too_short() -> Error {
    Error::Input("no document of the corpora has two tokens to learn from".into())
}

/// Cuts the documents of a mixture, without end.
pub struct Cutting {
    draws: Draws,
    /// Where `draws` stood before the document in hand.
    before: MixtureCursor,
    document: Option<Arc<Drawn>>,
    /// How many stretches, or tokens of blocks, of it were given.
    read: usize,
    /// The number of documents, of all corpora.
    documents: u64,
}

impl Cutting {
    /// From `place` on.
    ///
    /// # Errors
    /// When it is a place of other corpora, or those of reading them.
    pub fn new(mixture: &Mixture, part: Part, seed: u64, place: Option<&Place>) -> Result<Self> {
        let draws = mixture.draws(part, seed, place.map(|place| place.draws.clone()))?;
        let documents = mixture.corpora().iter().map(|(corpus, _)| corpus.len()).sum();
        let mut this = Self { before: draws.cursor().clone(), draws, document: None, read: 0, documents };
        if let Some(place) = place.filter(|place| place.read > 0) {
            this.draw()?;
            this.read = place.read as usize;
        }
        Ok(this)
    }

    /// Where it stands: before which document, and how much of that was read.
    pub fn place(&self) -> (MixtureCursor, u64) {
        match &self.document {
            Some(_) => (self.before.clone(), self.read as u64),
            None => (self.draws.cursor().clone(), 0),
        }
    }

    /// How often all documents were seen, by tokens of the corpora.
    pub fn epochs(&self, mixture: &Mixture) -> f64 {
        let tokens: Vec<f64> = mixture.corpora().iter().map(|(corpus, _)| corpus.tokens() as f64).collect();
        let seen: f64 = self.draws.epochs().iter().zip(&tokens).map(|(epochs, tokens)| epochs * tokens).sum();
        seen / tokens.iter().sum::<f64>()
    }

    /// Leaves what remains of the document in hand.
    pub fn leave(&mut self) {
        (self.document, self.read) = (None, 0);
    }

    fn draw(&mut self) -> Result<()> {
        self.before = self.draws.cursor().clone();
        let Some((corpus, document)) = self.draws.next().transpose()? else {
            return Err(Error::Input("the corpora ended".into()));
        };
        let epoch = self.draws.cursor().places[corpus].epoch;
        self.document = Some(Arc::new(Drawn { corpus, epoch, document }));
        self.read = 0;
        Ok(())
    }

    /// The next window.
    ///
    /// # Errors
    /// Those of reading, and when no document is long enough.
    pub fn next(&mut self, cut: Cut) -> Result<Window> {
        match cut {
            Cut::Within { length, both } => {
                let mut drawn = 0;
                loop {
                    if let Some(document) = &self.document {
                        if let Some((from, to, backwards)) =
                            stretch(document.document.ids.len(), length, both, self.read)
                        {
                            self.read += 1;
                            let pieces = vec![Piece { drawn: document.clone(), from, to }];
                            return Ok(Window { pieces, backwards });
                        }
                        self.leave();
                    }
                    // each of them was seen, in whatever proportion they come
                    if drawn > 16 * self.documents {
                        return Err(too_short());
                    }
                    drawn += 1;
                    self.draw()?;
                }
            }
            Cut::Across { length, frame } => {
                let (mut pieces, mut filled, mut empty) = (Vec::new(), 0, 0);
                while filled < length {
                    let Some(document) = &self.document else {
                        self.draw()?;
                        continue;
                    };
                    let count = document.document.ids.len().saturating_add_signed(frame);
                    if count == 0 {
                        // as above
                        empty += 1;
                        if empty > 16 * self.documents {
                            return Err(too_short());
                        }
                        self.leave();
                        continue;
                    }
                    let to = count.min(self.read + length - filled);
                    pieces.push(Piece { drawn: document.clone(), from: self.read, to });
                    filled += to - self.read;
                    self.read = to;
                    if to == count {
                        self.leave();
                    }
                }
                Ok(Window { pieces, backwards: false })
            }
        }
    }
}

/// How many windows a document of so many tokens gives, and their tokens; of blocks in parts of one.
pub fn count(tokens: usize, cut: Cut) -> (f64, u64) {
    match cut {
        Cut::Within { length, both } => {
            let times = 1 + usize::from(both);
            let rest = tokens % length;
            let kept = if rest < LEAST { tokens - rest } else { tokens };
            ((kept.div_ceil(length) * times) as f64, (kept * times) as u64)
        }
        Cut::Across { length, frame } => {
            let tokens = tokens.saturating_add_signed(frame);
            (tokens as f64 / length as f64, tokens as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use ptm_text::corpus::{Corpus, SpanKind, Split, TokenizedBy, Writer};

    use super::*;

    /// Document `n` has `n % 23` tokens and one.
    fn corpus(dir: &std::path::Path, documents: u64) -> Corpus {
        let by = TokenizedBy { class: None, size: 100, fingerprint: "f".into() };
        let mut writer = Writer::create(dir, by).unwrap();
        for number in 0..documents {
            let length = number % 23 + 1;
            let ids = (0..length).map(|i| ((number + i) % 100) as u32).collect();
            let sentences = (0..length as usize).step_by(4).collect();
            writer.add(&Document { number, ids, sentences, spans: Vec::new() }, number, 1).unwrap();
        }
        writer.finish().unwrap()
    }

    /// A window as what it holds.
    fn said(window: &Window) -> (Vec<(u64, usize, usize)>, bool) {
        let piece = |piece: &Piece| (piece.drawn.document.number, piece.from, piece.to);
        (window.pieces.iter().map(piece).collect(), window.backwards)
    }

    #[test]
    fn cuttings_go_on_where_they_stood() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mixture = Mixture::new(vec![(corpus(a.path(), 60), 2.0), (corpus(b.path(), 30), 1.0)]).unwrap();
        let part = Part::Training(Split::new(0.2, 0).unwrap());
        for cut in [
            Cut::Within { length: 7, both: false },
            Cut::Within { length: 5, both: true },
            Cut::Across { length: 16, frame: 1 },
            Cut::Across { length: 16, frame: -1 },
        ] {
            let mut whole = Cutting::new(&mixture, part, 3, None).unwrap();
            let all: Vec<_> = (0..400).map(|_| said(&whole.next(cut).unwrap())).collect();
            for stop in [1, 50, 51, 52, 53, 399] {
                let mut first = Cutting::new(&mixture, part, 3, None).unwrap();
                for _ in 0..stop {
                    first.next(cut).unwrap();
                }
                let (draws, read) = first.place();
                let place = Place { draws, read, steps: 0 };
                let mut second = Cutting::new(&mixture, part, 3, Some(&place)).unwrap();
                let rest: Vec<_> = (stop..400).map(|_| said(&second.next(cut).unwrap())).collect();
                assert_eq!(rest, all[stop..], "{cut:?} after {stop}");
            }
        }
    }

    #[test]
    fn every_token_is_in_one_window_of_a_pass() {
        let dir = tempfile::tempdir().unwrap();
        let corpus = corpus(dir.path(), 46);
        let mixture = Mixture::new(vec![(corpus.clone(), 1.0)]).unwrap();
        let lengths: Vec<usize> = (0..46).map(|n| corpus.length(n).unwrap()).collect();
        for (cut, tokens) in [
            // single tokens are left out: two documents of one, and the rest of lengths 8, 15 and 22
            (Cut::Within { length: 7, both: false }, 2 * (23 * 24 / 2 - 4)),
            (Cut::Within { length: 30, both: true }, 2 * 2 * (23 * 24 / 2 - 1)),
        ] {
            let mut cutting = Cutting::new(&mixture, Part::All, 1, None).unwrap();
            let mut windows = Vec::new();
            while windows.iter().map(Window::tokens).sum::<usize>() < tokens {
                windows.push(cutting.next(cut).unwrap());
            }
            let mut numbers: Vec<u64> = windows.iter().map(Window::number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), windows.len(), "{cut:?}");
            assert!(windows.iter().all(|window| window.pass() == (0, 0)));
            let counted: Vec<(f64, u64)> = lengths.iter().map(|&length| count(length, cut)).collect();
            assert!((counted.iter().map(|one| one.0).sum::<f64>() - windows.len() as f64).abs() < 1e-9);
            assert_eq!(counted.iter().map(|one| one.1).sum::<u64>(), tokens as u64);
            assert!(windows.iter().all(|window| window.tokens() >= 2));
        }
        let mut cutting = Cutting::new(&mixture, Part::All, 1, None).unwrap();
        let cut = Cut::Across { length: 10, frame: 1 };
        let blocks: Vec<Window> = (0..70).map(|_| cutting.next(cut).unwrap()).collect();
        assert!(blocks.iter().all(|block| block.tokens() == 10));
    }

    #[test]
    fn sentences_and_spans_of_a_stretch_count_from_its_first_token() {
        let span = |start, end| Span { start, end, kind: SpanKind::Entity };
        let spans = [span(0, 2), span(5, 7), span(7, 9), span(14, 16), span(16, 18)];
        let document =
            Document { number: 0, ids: (10..30).collect(), sentences: vec![0, 4, 8, 12, 16], spans: spans.to_vec() };
        let drawn = Arc::new(Drawn { corpus: 0, epoch: 0, document });
        let window = Window { pieces: vec![Piece { drawn, from: 6, to: 16 }], backwards: false };
        assert_eq!(window.around(), [&(10..16).collect::<Vec<u32>>()[..], &(26..30).collect::<Vec<u32>>()]);
        assert_eq!(window.stretch(), (&(16..26).collect::<Vec<u32>>()[..], vec![0, 2, 6]));
        // what reaches out of it is not whole
        assert_eq!(window.spans(), [span(1, 3), span(8, 10)]);
    }

    #[test]
    fn corpora_of_single_tokens_are_an_error_and_no_search_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let by = TokenizedBy { class: None, size: 100, fingerprint: "f".into() };
        let mut writer = Writer::create(dir.path(), by).unwrap();
        for number in 0..5 {
            writer.add(&Document { number, ids: vec![1], sentences: vec![0], spans: Vec::new() }, number, 1).unwrap();
        }
        let mixture = Mixture::new(vec![(writer.finish().unwrap(), 1.0)]).unwrap();
        let mut cutting = Cutting::new(&mixture, Part::All, 1, None).unwrap();
        for cut in [Cut::Within { length: 8, both: false }, Cut::Across { length: 8, frame: -1 }] {
            let error = cutting.next(cut).unwrap_err();
            assert!(error.to_string().contains("two tokens"), "{error}");
        }
    }
}
