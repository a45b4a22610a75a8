//! Documents cut into what becomes an example each: stretches of one document, whole sentences or pairs of them (RoBERTa's
//! formats; Liu et al. 2019, §4.2), or blocks that documents fill one after the other. Where a cutting stands is told
//! exactly, so that it can be gone on with.

use std::sync::Arc;

use ptm_text::corpus::{Corpus, Document, Draws, Mixture, MixtureCursor, Part, Span};

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
    /// As many whole sentences, one after the other, as have so many tokens. A sentence is divided only where it is longer
    /// than that, or where a few tokens would be alone otherwise.
    Sentences {
        /// Tokens, with those that stand between documents.
        length: usize,
        /// Whether what a document leaves free the next one fills, behind a token that stands between them; of passes that
        /// come again the next one of the same pass.
        across: bool,
    },
    /// Two sentences that follow each other, each in one pair of a pass at most: of more than two the first is left out in
    /// every other pass, so that each follows the one before it in every second; where passes come in one order, never. A
    /// document of one sentence is that.
    SentencePairs {
        /// Tokens at most: what is longer loses those that are farthest from the boundary, of the longer sentence first.
        length: usize,
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

impl Cut {
    /// The most tokens of text that a window has.
    pub fn longest(self) -> usize {
        match self {
            Self::Within { length, .. }
            | Self::Sentences { length, .. }
            | Self::SentencePairs { length }
            | Self::Across { length, .. } => length,
        }
    }
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
        self.pieces[0].text()
    }

    /// The tokens of all pieces, with `between` between two of them if there is such a token, and where sentences begin.
    pub fn joined(&self, between: Option<u32>) -> (Vec<u32>, Vec<usize>) {
        let (mut ids, mut sentences) = (Vec::with_capacity(self.tokens() + self.pieces.len()), Vec::new());
        for (number, piece) in self.pieces.iter().enumerate() {
            ids.extend(between.filter(|_| number > 0));
            let (own, starts) = piece.text();
            sentences.extend(starts.into_iter().map(|start| ids.len() + start));
            ids.extend_from_slice(own);
        }
        (ids, sentences)
    }

    /// The spans that its only piece has as a whole, in tokens of it.
    pub fn spans(&self) -> Vec<Span> {
        let Piece { drawn, from, to } = &self.pieces[0];
        let inside = drawn.document.spans.iter().filter(|span| span.start >= *from && span.end <= *to);
        inside.map(|span| Span { start: span.start - from, end: span.end - from, ..*span }).collect()
    }
}

impl Piece {
    /// Its tokens, and where sentences begin in them: the first is 0.
    fn text(&self) -> (&[u32], Vec<usize>) {
        let Document { ids, sentences, .. } = &self.drawn.document;
        // a document may have many more than this part of it
        let inner = &sentences[sentences.partition_point(|&start| start <= self.from)..];
        let inner = inner.iter().take_while(|&&start| start < self.to).map(|start| start - self.from);
        (&ids[self.from..self.to], [0].into_iter().chain(inner).collect())
    }
}

/// Fewer tokens teach nothing: corrupting needs two.
const LEAST: usize = 2;

/// What remains of a text becomes no example of its own with fewer tokens than this, unless it is all there is.
fn few(most: usize) -> usize {
    (most / 2).clamp(LEAST, 8)
}

/// The stretch number `index` of a document of `length` tokens. Where few would remain for the last one, the last two have
/// as many each.
fn stretch(length: usize, most: usize, both: bool, index: usize) -> Option<(usize, usize, bool)> {
    // each stretch in both directions, so that neighbours are of different ones
    let (number, backwards) = if both { (index / 2, index % 2 == 1) } else { (index, false) };
    let (whole, rest) = (length / most, length % most);
    let begin = |number: usize| match number {
        _ if number > whole => length,
        _ if number == whole && whole > 0 && (1..few(most)).contains(&rest) => length - usize::midpoint(most, rest),
        _ => number * most,
    };
    let (from, to) = (begin(number), begin(number + 1));
    (to >= from + LEAST).then_some((from, to, backwards))
}

/// The pair number `index` of a document, in pass number `epoch`.
fn sentence_pair(document: &Document, most: usize, epoch: u64, index: usize) -> Option<(usize, usize)> {
    let length = document.ids.len();
    let begin = |from: usize| document.sentences.partition_point(|&start| start < from);
    let inner = &document.sentences[begin(1)..begin(length)];
    if inner.is_empty() {
        return (index == 0 && length >= LEAST).then_some((0, length.min(most)));
    }
    let left_out = if inner.len() > 1 { usize::from(epoch % 2 == 1) } else { 0 };
    let number = left_out + 2 * index;
    let at = *inner.get(number)?;
    let from = number.checked_sub(1).map_or(0, |before| inner[before]);
    let to = inner.get(number + 1).copied().unwrap_or(length);
    let (first, second) = (at - from, to - at);
    // what one leaves free the other may have
    let first = first.min((most / 2).max(most.saturating_sub(second)));
    Some((at - first, at + second.min(most - first)))
}

fn too_short() -> Error {
    Error::Input("no document of the corpora has two tokens to learn from".into())
}

/// Where the sentences end that a sequence of `most` tokens has room for behind `filled` ones, from token `from` of a
/// document on; `from` where there is no room for any.
fn sentences_to(document: &Document, from: usize, filled: usize, most: usize) -> usize {
    let Document { ids, sentences, .. } = document;
    let room = from + (most - filled);
    if ids.len() <= room {
        return ids.len();
    }
    let behind = sentences.partition_point(|&start| start <= room);
    let to = sentences[..behind].last().map_or(from, |&start| start.max(from));
    if filled + to - from >= few(most) {
        return to;
    }
    // the next one has to be divided; what remains of it should not be a few tokens either
    let end = sentences.get(behind).copied().unwrap_or(ids.len());
    room.min(end - few(most)).max(from + usize::from(filled == 0))
}

/// The same of a sequence that has sentences of one document alone: few tokens don't remain at the document's end.
pub fn sentences_within(document: &Document, from: usize, most: usize) -> usize {
    let to = sentences_to(document, from, 0, most);
    let (length, few) = (document.ids.len(), few(most));
    if !(1..few).contains(&(length - to)) {
        return to;
    }
    let starts = document.sentences.iter().rev().skip_while(|&&start| start >= to);
    let mut earlier = starts.take_while(|&&start| start >= from + few && length - start <= most);
    earlier.find(|&&start| length - start >= few).copied().unwrap_or(from + (length - from).div_ceil(2))
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
        // a document that was looked at alone was not given: the same as for whoever goes on before it
        let ahead = self.document.is_some() && self.read == 0;
        let cursor = if ahead { &self.before } else { self.draws.cursor() };
        let (mut seen, mut all) = (0.0, 0.0);
        for ((corpus, _), place) in mixture.corpora().iter().zip(&cursor.places) {
            let tokens = corpus.tokens() as f64;
            seen += (place.epoch as f64 + place.row as f64 / corpus.len() as f64) * tokens;
            all += tokens;
        }
        seen / all
    }

    /// Leaves what remains of a document that was begun.
    pub fn leave(&mut self) {
        if self.read > 0 {
            self.close();
        }
    }

    fn close(&mut self) {
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

    /// Draws the next document where the last one gave nothing, `drawn` of them so far.
    fn search(&mut self, drawn: &mut u64) -> Result<()> {
        // each of them was seen, in whatever proportion they come
        if *drawn > 16 * self.documents {
            return Err(too_short());
        }
        *drawn += 1;
        self.draw()
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
                        self.close();
                    }
                    self.search(&mut drawn)?;
                }
            }
            Cut::Sentences { length, across: false } => {
                let mut drawn = 0;
                loop {
                    if let Some(document) = self.document.clone() {
                        let (from, whole) = (self.read, document.document.ids.len());
                        if from + LEAST <= whole {
                            let to = sentences_within(&document.document, from, length);
                            self.read = to;
                            return Ok(Window { pieces: vec![Piece { drawn: document, from, to }], backwards: false });
                        }
                        self.close();
                    }
                    self.search(&mut drawn)?;
                }
            }
            Cut::Sentences { length, across: true } => {
                let (mut pieces, mut filled) = (Vec::<Piece>::new(), 0);
                loop {
                    // the token between two documents, and one behind it at least
                    let before = filled + usize::from(filled > 0);
                    if before >= length {
                        break;
                    }
                    let Some(document) = &self.document else {
                        self.draw()?;
                        continue;
                    };
                    // what a pass leaves free no other fills: the same order makes the same windows
                    let earlier =
                        |piece: &Piece| piece.drawn.corpus == document.corpus && piece.drawn.epoch != document.epoch;
                    if self.draws.mixture().comes_again() && pieces.iter().any(earlier) {
                        break;
                    }
                    let (from, whole) = (self.read, document.document.ids.len());
                    let to = sentences_to(&document.document, from, before, length);
                    if to > from {
                        pieces.push(Piece { drawn: document.clone(), from, to });
                        filled = before + to - from;
                        self.read = to;
                    }
                    if to < whole {
                        break;
                    }
                    self.close();
                }
                Ok(Window { pieces, backwards: false })
            }
            Cut::SentencePairs { length } => {
                let mut drawn = 0;
                loop {
                    if let Some(document) = &self.document {
                        let Drawn { document: text, epoch, .. } = &**document;
                        let pass = self.draws.mixture().pass(*epoch);
                        if let Some((from, to)) = sentence_pair(text, length, pass, self.read) {
                            self.read += 1;
                            let pieces = vec![Piece { drawn: document.clone(), from, to }];
                            return Ok(Window { pieces, backwards: false });
                        }
                        self.close();
                    }
                    self.search(&mut drawn)?;
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
                        self.close();
                        continue;
                    }
                    let to = count.min(self.read + length - filled);
                    pieces.push(Piece { drawn: document.clone(), from: self.read, to });
                    filled += to - self.read;
                    self.read = to;
                    if to == count {
                        self.close();
                    }
                }
                Ok(Window { pieces, backwards: false })
            }
        }
    }
}

/// The tokens of the windows that document `number` of a corpus gives, one direction after the other; and of windows that
/// documents fill together how many it gives, in parts of one.
///
/// # Errors
/// Those of reading it.
pub fn sizes(corpus: &Corpus, number: u64, cut: Cut) -> Result<(Vec<usize>, f64)> {
    let tokens = corpus.length(number)?;
    let mut sizes = Vec::new();
    match cut {
        Cut::Within { length, both } => {
            let all = (0..).map_while(|index| stretch(tokens, length, false, index));
            sizes.extend(all.map(|(from, to, _)| to - from));
            if both {
                sizes.extend_from_within(..);
            }
        }
        Cut::Sentences { length, across } => {
            let document = corpus.document(number)?;
            let mut from = 0;
            while across && from < tokens || from + LEAST <= tokens {
                let to = if across {
                    sentences_to(&document, from, 0, length)
                } else {
                    sentences_within(&document, from, length)
                };
                if across && to == tokens {
                    // the next document goes on to fill the last one
                    return Ok((sizes, (to - from + 1) as f64 / length as f64));
                }
                sizes.push(to - from);
                from = to;
            }
        }
        Cut::SentencePairs { length } => {
            let document = corpus.document(number)?;
            let all = (0..).map_while(|index| sentence_pair(&document, length, 0, index));
            sizes.extend(all.map(|(from, to)| to - from));
        }
        Cut::Across { length, frame } => {
            return Ok((sizes, tokens.saturating_add_signed(frame) as f64 / length as f64));
        }
    }
    Ok((sizes, 0.0))
}

#[cfg(test)]
pub(super) mod tests {
    use ptm_text::corpus::{SpanKind, Split, TokenizedBy, Writer};
    use rand::Rng;

    use super::*;
    use crate::objectives::generator;

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
            Cut::Sentences { length: 9, across: true },
            Cut::Sentences { length: 9, across: false },
            Cut::SentencePairs { length: 7 },
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
        for (cut, tokens) in [
            // single tokens are left out: two documents of one
            (Cut::Within { length: 7, both: false }, 2 * (23 * 24 / 2 - 1)),
            (Cut::Within { length: 30, both: true }, 2 * 2 * (23 * 24 / 2 - 1)),
            (Cut::Sentences { length: 9, across: false }, 2 * (23 * 24 / 2 - 1)),
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
            let counted: Vec<usize> = (0..46).flat_map(|number| sizes(&corpus, number, cut).unwrap().0).collect();
            assert_eq!((counted.len(), counted.iter().sum::<usize>()), (windows.len(), tokens));
            let short = |window: &Window| window.tokens() < few(7) && window.pieces[0].drawn.document.ids.len() > 2;
            assert!(!windows.iter().any(short), "{cut:?}");
        }
        let mut cutting = Cutting::new(&mixture, Part::All, 1, None).unwrap();
        let cut = Cut::Across { length: 10, frame: 1 };
        let blocks: Vec<Window> = (0..70).map(|_| cutting.next(cut).unwrap()).collect();
        assert!(blocks.iter().all(|block| block.tokens() == 10));
    }

    /// Static masking of sequences that documents make together: after three passes the first one's windows come again.
    #[test]
    fn passes_of_one_order_have_the_same_windows() {
        let dir = tempfile::tempdir().unwrap();
        for orders in [3, 0] {
            let mixture = Mixture::new(vec![(sentences(dir.path(), 60), 1.0)]).unwrap().in_orders(orders);
            let mut cutting = Cutting::new(&mixture, Part::All, 1, None).unwrap();
            let mut passes = vec![Vec::new(); 7];
            loop {
                let window = cutting.next(Cut::Sentences { length: 24, across: true }).unwrap();
                let within = window.pieces.iter().all(|piece| piece.drawn.epoch == window.pass().1);
                assert!(within || orders == 0);
                let Some(pass) = passes.get_mut(window.pass().1 as usize) else { break };
                pass.push(said(&window));
            }
            for (one, a) in passes.iter().enumerate() {
                assert!(a.iter().filter(|window| window.0.len() > 1).count() > 20);
                for (other, b) in passes.iter().enumerate().skip(one + 1) {
                    assert_eq!(a == b, orders > 0 && (other - one) % 3 == 0, "{one} and {other} of {orders} orders");
                }
            }
            std::fs::remove_dir_all(dir.path()).unwrap();
        }
    }

    /// By hand, at 16 tokens: what remains has 8 at least, and the last two share where it would be fewer.
    #[test]
    fn few_tokens_are_no_stretch() {
        let all = |length: usize| -> Vec<(usize, usize)> {
            let some = (0..5).map_while(|index| stretch(length, 16, false, index));
            some.map(|(from, to, _)| (from, to)).collect()
        };
        assert_eq!(all(32), [(0, 16), (16, 32)]);
        assert_eq!(all(33), [(0, 16), (16, 25), (25, 33)]);
        assert_eq!(all(34), [(0, 16), (16, 25), (25, 34)]);
        assert_eq!(all(40), [(0, 16), (16, 32), (32, 40)]);
        assert_eq!((all(2), all(1)), (vec![(0, 2)], vec![]));
    }

    /// Documents of sentences of one to 40 tokens, at random.
    pub fn sentences(dir: &std::path::Path, documents: u64) -> Corpus {
        let by = TokenizedBy { class: None, size: 100, fingerprint: "f".into() };
        let mut writer = Writer::create(dir, by).unwrap();
        let mut random = generator(1, 2, 3);
        for number in 0..documents {
            let (mut ids, mut sentences) = (Vec::new(), Vec::new());
            for _ in 0..random.random_range(1..12) {
                sentences.push(ids.len());
                let longest = if random.random_range(0..6) == 0 { 40 } else { 9 };
                ids.extend((0..random.random_range(1..=longest)).map(|_| random.random_range(0..100_u32)));
            }
            writer.add(&Document { number, ids, sentences, spans: Vec::new() }, number, 1).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn sentences_stay_whole_and_every_token_comes_once_a_pass() {
        const MOST: usize = 24;
        let dir = tempfile::tempdir().unwrap();
        let corpus = sentences(dir.path(), 400);
        let mixture = Mixture::new(vec![(corpus.clone(), 1.0)]).unwrap();
        for across in [true, false] {
            let cut = Cut::Sentences { length: MOST, across };
            let mut cutting = Cutting::new(&mixture, Part::All, 1, None).unwrap();
            let mut seen: Vec<Vec<u8>> = (0..400).map(|number| vec![0; corpus.length(number).unwrap()]).collect();
            let (mut windows, mut divided, mut two) = (0, 0, 0);
            loop {
                let window = cutting.next(cut).unwrap();
                assert!(across || window.pieces.len() == 1);
                // the next pass may begin in the last one's last window
                let ended = window.pieces.iter().any(|piece| piece.drawn.epoch > 0);
                for Piece { drawn, from, to } in window.pieces.iter().filter(|piece| piece.drawn.epoch == 0) {
                    let Document { number, ids, sentences, .. } = &drawn.document;
                    seen[*number as usize][*from..*to].iter_mut().for_each(|times| *times += 1);
                    if *to < ids.len() && !sentences.contains(to) {
                        divided += 1;
                        let index = sentences.partition_point(|start| start < to);
                        let end = sentences.get(index).copied().unwrap_or(ids.len());
                        let length = end - sentences[index - 1];
                        // longer than a sequence, but where few tokens would be alone
                        assert!(length + few(MOST) * (2 - usize::from(across)) > MOST, "one of {length} was divided");
                        assert!(if across { end } else { ids.len() } - to >= few(MOST), "few remain");
                    }
                }
                if ended {
                    break;
                }
                windows += 1;
                two += usize::from(window.pieces.len() > 1);
                let tokens = window.tokens() + window.pieces.len() - 1;
                assert!(tokens <= MOST);
                let alone = !across && window.pieces[0].drawn.document.ids.len() < few(MOST);
                assert!(tokens + 1 >= few(MOST) || alone, "{:?}", said(&window));
            }
            let mut missed = seen.iter().filter(|times| times.iter().any(|&times| times != 1));
            // documents of one token are no example of their own
            assert!(missed.all(|times| !across && times.len() == 1), "{across}");
            let parts = (0..400).map(|number| sizes(&corpus, number, cut).unwrap());
            let counted: f64 = parts.map(|(whole, part)| whole.len() as f64 + part).sum();
            assert!(
                (counted / f64::from(windows) - 1.0).abs() < if across { 0.1 } else { 1e-9 },
                "{counted} {windows}"
            );
            assert!(divided > 100 && (two > 200) == across, "{divided} divided, {two} of several documents");
        }
    }

    /// By hand: a document of five sentences, of 2, 3, 9, 1 and 4 tokens, one of two, one of one, and one of one token.
    #[test]
    fn sentences_are_in_one_pair_a_pass() {
        let dir = tempfile::tempdir().unwrap();
        let by = TokenizedBy { class: None, size: 100, fingerprint: "f".into() };
        let mut writer = Writer::create(dir.path(), by).unwrap();
        let documents = [(19, vec![0, 2, 5, 14, 15]), (6, vec![0, 4]), (12, vec![0]), (1, vec![0])];
        for (number, (length, sentences)) in (0..).zip(documents) {
            let document = Document { number, ids: (0..length).collect(), sentences, spans: Vec::new() };
            writer.add(&document, number, 1).unwrap();
        }
        let corpus = writer.finish().unwrap();
        let mixture = Mixture::new(vec![(corpus.clone(), 1.0)]).unwrap();
        let cut = Cut::SentencePairs { length: 10 };
        let mut cutting = Cutting::new(&mixture, Part::All, 1, None).unwrap();
        let mut passes = vec![Vec::new(); 5];
        loop {
            let window = cutting.next(cut).unwrap();
            let Some(pass) = passes.get_mut(window.pass().1 as usize) else { break };
            pass.push((said(&window).0[0], window.stretch().1));
        }
        // of 3 and 9 tokens the second loses its end, of 9 and 1 nothing has to go; a long sentence alone loses its end
        let others = [((1, 0, 6), vec![0, 4]), ((2, 0, 10), vec![0])];
        let even = [((0, 0, 5), vec![0, 2]), ((0, 5, 15), vec![0, 9])];
        let odd = [((0, 2, 12), vec![0, 3]), ((0, 14, 19), vec![0, 1])];
        for (number, mut pass) in passes.into_iter().enumerate() {
            pass.sort();
            let own = if number % 2 == 0 { &even } else { &odd };
            assert_eq!(pass, [&own[..], &others].concat(), "pass {number}");
        }
        let counted: Vec<Vec<usize>> = (0..4).map(|number| sizes(&corpus, number, cut).unwrap().0).collect();
        assert_eq!(counted, [vec![5, 10], vec![6], vec![10], vec![]]);
    }

    /// By hand: sentences of 4, 5 and 3 tokens, then a document of 2 and 9.
    #[test]
    fn documents_follow_each_other_behind_a_separator() {
        let dir = tempfile::tempdir().unwrap();
        let by = TokenizedBy { class: None, size: 100, fingerprint: "f".into() };
        let mut writer = Writer::create(dir.path(), by).unwrap();
        let one = Document { number: 0, ids: (10..22).collect(), sentences: vec![0, 4, 9], spans: Vec::new() };
        let two = Document { number: 1, ids: (30..41).collect(), sentences: vec![0, 2], spans: Vec::new() };
        writer.add(&one, 0, 1).unwrap();
        writer.add(&two, 1, 1).unwrap();
        let mixture = Mixture::new(vec![(writer.finish().unwrap(), 1.0)]).unwrap();
        let first = |seed: u64| Cutting::new(&mixture, Part::All, seed, None).unwrap();
        let cut = Cut::Sentences { length: 10, across: true };
        let seed = (0..64).find(|&seed| first(seed).next(cut).unwrap().pieces[0].drawn.document.number == 0).unwrap();
        let mut cutting = first(seed);
        let mut next = || cutting.next(cut).unwrap().joined(Some(1));
        assert_eq!(next(), ((10..19).collect(), vec![0, 4]));
        assert_eq!(next(), (vec![19, 20, 21, 1, 30, 31], vec![0, 4]));
        assert_eq!(next().0[..9], (32..41).collect::<Vec<u32>>());
        let mut cutting = first(seed);
        let mut next = || cutting.next(Cut::Sentences { length: 10, across: false }).unwrap().joined(Some(1));
        // behind 9 tokens 3 would remain, behind 4 enough, but 4 are few as well
        assert_eq!([next(), next()].map(|one| one.0), [(10..16).collect::<Vec<u32>>(), (16..22).collect()]);
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
