//! SentencePiece's own text normalisation and unigram segmentation (Kudo 2018, "Subword Regularization", without
//! sampling): the best path by single-precision scores, as the published models of Marian were used.
//! The other families are segmented by the tokenizers library, whose results differ in rare cases.

use crate::sentencepiece::{Kind, Model};

/// The mark of a space.
const SPACE: &str = "▁";
/// How much worse than the worst piece an unknown character is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// A piece of a text: its index in the model (the unknown one's for several unknown characters together), its
/// normalised text, and its bytes in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub piece: u32,
    pub text: String,
    pub range: (usize, usize),
}

/// A model ready to segment texts.
#[derive(Clone, Debug)]
pub(crate) struct Segmenter {
    trie: Trie,
    scores: Vec<f32>,
    user_defined: Vec<bool>,
    /// Whether there is any such piece.
    has_user_defined: bool,
    unknown: u32,
    unknown_score: f32,
    best_score: f32,
    table: Table,
    dummy_prefix: bool,
    single_spaces: bool,
}

/// The pieces by their bytes. The children of a node stand together, sorted by byte; the root is node 0.
#[derive(Clone, Debug, Default)]
struct Trie {
    /// Where each node's children start in `bytes` and `targets`, and the end of the last.
    starts: Vec<u32>,
    bytes: Vec<u8>,
    targets: Vec<u32>,
    /// The piece that ends at a node; `NO_PIECE` for none.
    ends: Vec<u32>,
}

const NO_PIECE: u32 = u32::MAX;

impl Trie {
    /// Of texts with their piece; of two equal texts the later piece counts.
    fn new(mut pieces: Vec<(&[u8], u32)>) -> Self {
        pieces.sort();
        let mut trie = Self::default();
        // Nodes wait with the range of pieces below them and their depth; children are made in order.
        let mut waiting = std::collections::VecDeque::from([(0..pieces.len(), 0_usize)]);
        let mut nodes = 1_u32;
        while let Some((mut range, depth)) = waiting.pop_front() {
            trie.starts.push(trie.bytes.len() as u32);
            let mut end = NO_PIECE;
            while range.start < range.end && pieces[range.start].0.len() == depth {
                end = pieces[range.start].1;
                range.start += 1;
            }
            trie.ends.push(end);
            while range.start < range.end {
                let byte = pieces[range.start].0[depth];
                let same = pieces[range.clone()].partition_point(|(text, _)| text[depth] <= byte);
                trie.bytes.push(byte);
                trie.targets.push(nodes);
                nodes += 1;
                waiting.push_back((range.start..range.start + same, depth + 1));
                range.start += same;
            }
        }
        trie.starts.push(trie.bytes.len() as u32);
        trie
    }

    fn child(&self, node: u32, byte: u8) -> Option<u32> {
        let (from, to) = (self.starts[node as usize] as usize, self.starts[node as usize + 1] as usize);
        self.bytes[from..to].binary_search(&byte).ok().map(|i| self.targets[from + i])
    }

    fn piece(&self, node: u32) -> Option<u32> {
        let piece = self.ends[node as usize];
        (piece != NO_PIECE).then_some(piece)
    }
}

/// The replacements before segmentation: a double array over bytes and the texts that its leaves name.
#[derive(Clone, Debug, Default)]
struct Table {
    units: Vec<u32>,
    texts: Vec<u8>,
}

impl Table {
    /// From bytes that `check_charsmap` accepted.
    fn new(bytes: &[u8]) -> Self {
        let Some((head, rest)) = bytes.split_first_chunk::<4>() else {
            return Self::default();
        };
        let (trie, texts) = rest.split_at(u32::from_le_bytes(*head) as usize / 4 * 4);
        let units = trie.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Self { units, texts: texts.to_vec() }
    }

    /// The longest entry that `text` begins with: its length, and what stands for it.
    fn longest(&self, text: &[u8]) -> Option<(usize, &[u8])> {
        let offset = |unit: u32| ((unit >> 10) as usize) << ((unit & (1 << 9)) >> 6);
        let mut node = offset(*self.units.first()?);
        let mut found = None;
        for (i, &byte) in text.iter().enumerate() {
            if byte == 0 {
                break;
            }
            node ^= byte as usize;
            let unit = *self.units.get(node)?;
            if unit & ((1 << 31) | 0xff) != u32::from(byte) {
                break;
            }
            node ^= offset(unit);
            if (unit >> 8) & 1 == 1 {
                found = Some((i + 1, (self.units.get(node)? & 0x7fff_ffff) as usize));
            }
        }
        let (length, entry) = found?;
        let rest = self.texts.get(entry..)?;
        Some((length, &rest[..rest.iter().position(|&b| b == 0).unwrap_or(rest.len())]))
    }
}

impl Segmenter {
    /// Prepares a unigram model.
    pub fn new(model: &Model) -> Self {
        let pieces = model
            .pieces
            .iter()
            .enumerate()
            .filter(|(_, p)| matches!(p.kind, Kind::Normal | Kind::UserDefined) && !p.text.is_empty())
            .map(|(index, piece)| (piece.text.as_bytes(), index as u32))
            .collect();
        let normal = model.pieces.iter().filter(|p| p.kind == Kind::Normal).map(|p| p.score);
        let (worst, best) = normal.fold((f32::MAX, f32::MIN), |(low, high), s| (low.min(s), high.max(s)));
        Self {
            trie: Trie::new(pieces),
            scores: model.pieces.iter().map(|p| p.score).collect(),
            user_defined: model.pieces.iter().map(|p| p.kind == Kind::UserDefined).collect(),
            has_user_defined: model.pieces.iter().any(|p| p.kind == Kind::UserDefined),
            unknown: model.unk_id,
            unknown_score: worst - UNKNOWN_PENALTY,
            best_score: best,
            table: Table::new(&model.charsmap),
            dummy_prefix: model.dummy_prefix,
            single_spaces: model.single_spaces,
        }
    }

    /// The pieces of a text, consecutive unknown characters as one.
    pub fn segment(&self, text: &str) -> Vec<Segment> {
        let (normalized, origin) = self.normalize(text);
        let mut segments: Vec<Segment> = Vec::new();
        for (start, end, piece) in self.best_path(&normalized) {
            let (from, to) = (origin[start], origin[end]);
            let part = &normalized[start..end];
            match segments.last_mut() {
                Some(last) if piece == self.unknown && last.piece == self.unknown => {
                    last.text.push_str(part);
                    last.range.1 = to;
                }
                _ => segments.push(Segment { piece, text: part.to_owned(), range: (from, to) }),
            }
        }
        segments
    }

    /// The next stretch of text: what it becomes, and its length.
    fn prefix<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        // Symbols that the model's maker defined stay as they are.
        if let Some(length) = self.user_symbol(text.as_bytes()) {
            return (&text[..length], length);
        }
        if let Some((length, replacement)) = self.table.longest(text.as_bytes())
            && text.is_char_boundary(length)
            && let Ok(replacement) = std::str::from_utf8(replacement)
        {
            return (replacement, length);
        }
        let length = text.chars().next().map_or(0, char::len_utf8);
        (&text[..length], length)
    }

    fn user_symbol(&self, text: &[u8]) -> Option<usize> {
        if !self.has_user_defined {
            return None;
        }
        let mut node = 0;
        let mut longest = None;
        for (i, &byte) in text.iter().enumerate() {
            match self.trie.child(node, byte) {
                Some(child) => node = child,
                None => break,
            }
            if self.trie.piece(node).is_some_and(|piece| self.user_defined[piece as usize]) {
                longest = Some(i + 1);
            }
        }
        longest
    }

    /// The normalised text, and for each of its bytes (and its end) the byte of the text that it comes from.
    fn normalize(&self, text: &str) -> (String, Vec<usize>) {
        let mut out = String::with_capacity(text.len() + SPACE.len());
        let mut origin = Vec::with_capacity(text.len() + SPACE.len() + 1);
        let mut at = 0;
        if self.single_spaces {
            while at < text.len() {
                let (stretch, length) = self.prefix(&text[at..]);
                if stretch != " " {
                    break;
                }
                at += length;
            }
        }
        if at == text.len() {
            return (out, vec![at]);
        }
        let mut push = |part: &str, from: usize, out: &mut String| {
            out.push_str(part);
            origin.resize(out.len(), from);
        };
        if self.dummy_prefix {
            push(SPACE, at, &mut out);
        }
        let mut after_space = self.single_spaces;
        while at < text.len() {
            let (mut stretch, length) = self.prefix(&text[at..]);
            if after_space {
                stretch = stretch.trim_start_matches(' ');
            }
            if !stretch.is_empty() {
                for c in stretch.chars() {
                    let mut buffer = [0; 4];
                    push(if c == ' ' { SPACE } else { c.encode_utf8(&mut buffer) }, at, &mut out);
                }
                after_space = self.single_spaces && stretch.ends_with(' ');
            }
            at += length;
        }
        let mut end = at;
        if self.single_spaces {
            while out.ends_with(SPACE) {
                out.truncate(out.len() - SPACE.len());
                end = origin[out.len()];
                origin.truncate(out.len());
            }
        }
        origin.push(end);
        (out, origin)
    }

    /// The pieces of the best path as start, end, piece.
    fn best_path(&self, text: &str) -> Vec<(usize, usize, u32)> {
        #[derive(Clone, Copy)]
        struct Node {
            piece: u32,
            score: f32,
            start: usize,
        }
        const NONE: usize = usize::MAX;
        let bytes = text.as_bytes();
        let mut nodes = vec![Node { piece: 0, score: 0.0, start: NONE }; bytes.len() + 1];
        let better = |node: &mut Node, piece: u32, score: f32, start: usize| {
            if node.start == NONE || score > node.score {
                *node = Node { piece, score, start };
            }
        };
        for (start, c) in text.char_indices() {
            let so_far = nodes[start].score;
            let mut single = false;
            let mut node = 0;
            for (i, &byte) in bytes[start..].iter().enumerate() {
                match self.trie.child(node, byte) {
                    Some(child) => node = child,
                    None => break,
                }
                let Some(piece) = self.trie.piece(node) else { continue };
                let length = i + 1;
                let score = if self.user_defined[piece as usize] {
                    // Such symbols are always chosen.
                    (f64::from(length as f32 * self.best_score) - 0.1) as f32
                } else {
                    self.scores[piece as usize]
                };
                better(&mut nodes[start + length], piece, score + so_far, start);
                single |= length == c.len_utf8();
            }
            if !single {
                better(&mut nodes[start + c.len_utf8()], self.unknown, self.unknown_score + so_far, start);
            }
        }
        let mut path = Vec::new();
        let mut end = bytes.len();
        while end > 0 {
            let node = nodes[end];
            path.push((node.start, end, node.piece));
            end = node.start;
        }
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentencepiece::tests::bytes;

    fn pieces(text: &str) -> Vec<(String, (usize, usize))> {
        let pieces =
            [("<unk>", 0.0, 2), ("</s>", 0.0, 3), ("▁a", -1.0, 1), ("b", -2.0, 1), ("ab", -2.5, 1), ("▁", -3.0, 1)];
        let model = Model::parse("m", &bytes(&pieces, 1, 0)).unwrap();
        Segmenter::new(&model).segment(text).into_iter().map(|s| (s.text, s.range)).collect()
    }

    fn own(list: &[(&str, (usize, usize))]) -> Vec<(String, (usize, usize))> {
        list.iter().map(|(t, r)| ((*t).to_owned(), *r)).collect()
    }

    #[test]
    fn trie_finds_every_text() {
        let texts = ["b", "ab", "abc", "a", "\u{e9}", "abd", "b"];
        let trie = Trie::new(texts.iter().zip(0..).map(|(t, i)| (t.as_bytes(), i)).collect());
        let find = |text: &str| {
            let node = text.bytes().try_fold(0, |node, byte| trie.child(node, byte));
            node.and_then(|node| trie.piece(node))
        };
        for (text, piece) in texts.iter().zip(0..).skip(1) {
            assert_eq!(find(text), Some(piece));
        }
        assert_eq!((find(""), find("abcd"), find("c")), (None, None, None));
    }

    #[test]
    fn best_path_and_spaces() {
        assert_eq!(pieces("ab"), own(&[("▁a", (0, 1)), ("b", (1, 2))]));
        assert_eq!(pieces("  a   b "), own(&[("▁a", (2, 3)), ("▁", (3, 6)), ("b", (6, 7))]));
        assert_eq!(pieces(""), own(&[]));
        assert_eq!(pieces("   "), own(&[]));
    }

    #[test]
    fn unknown_characters_are_one_piece() {
        assert_eq!(pieces("aüß</s>b"), own(&[("▁a", (0, 1)), ("üß</s>", (1, 9)), ("b", (9, 10))]));
    }
}
