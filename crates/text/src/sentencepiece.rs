//! SentencePiece model files (`spiece.model`, `sentencepiece.bpe.model`, `*.spm`): pieces, scores, normalisation table.
//! Follows `sentencepiece_model.proto` (Kudo and Richardson 2018). Reading only; the segmentation is elsewhere.

use crate::Error;
use crate::protobuf::{Broken, Fields, Value};

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: Kind,
}

/// How the pieces are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Unigram,
    Bpe,
}

/// What ptm uses of a model file.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub file: String,
    pub pieces: Vec<Piece>,
    pub algorithm: Algorithm,
    pub unk_id: u32,
    pub unk_piece: String,
    /// The table of replacements; empty for none.
    pub charsmap: Vec<u8>,
    /// Whether a space goes before the text.
    pub dummy_prefix: bool,
    /// Whether spaces at the ends go and runs of them become one.
    pub single_spaces: bool,
}

/// Pieces are at most some dozen characters; a longer one would only make reading quadratic.
const LONGEST_PIECE: usize = 4096;
const MOST_PIECES: usize = 1 << 24;

impl Model {
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Error> {
        let error = |Broken { offset, reason }: Broken| Error::SentencePiece {
            file: file.to_owned(),
            offset,
            reason: reason.to_owned(),
        };
        let wrong = |offset: usize, reason: String| Error::SentencePiece { file: file.to_owned(), offset, reason };
        let mut model = Self {
            file: file.to_owned(),
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            unk_id: 0,
            unk_piece: "<unk>".to_owned(),
            charsmap: Vec::new(),
            dummy_prefix: true,
            single_spaces: true,
        };
        let mut unk_id = 0_i32;
        let mut fields = Fields::new(bytes);
        loop {
            let start = fields.position();
            let Some((number, value)) = fields.next().map_err(error)? else {
                break;
            };
            match (number, value) {
                (1, Value::Bytes(message)) => {
                    if model.pieces.len() == MOST_PIECES {
                        return Err(wrong(start, format!("more than {MOST_PIECES} pieces")));
                    }
                    let piece = piece(message)
                        .map_err(|reason| wrong(start, format!("piece {}: {reason}", model.pieces.len())))?;
                    model.pieces.push(piece);
                }
                (2, Value::Bytes(message)) => {
                    let base = fields.position() - message.len();
                    let mut trainer = Fields::new(message);
                    while let Some((number, value)) =
                        trainer.next().map_err(|b| error(Broken { offset: base + b.offset, ..b }))?
                    {
                        match number {
                            3 => {
                                model.algorithm = match value.int() {
                                    Some(1) => Algorithm::Unigram,
                                    Some(2) => Algorithm::Bpe,
                                    _ => {
                                        return Err(wrong(
                                            start,
                                            "trainer_spec.model_type is neither unigram nor BPE".to_owned(),
                                        ));
                                    }
                                }
                            }
                            40 => unk_id = value.int().unwrap_or(0),
                            45 => {
                                let text = value.bytes().and_then(|b| std::str::from_utf8(b).ok());
                                text.ok_or_else(|| wrong(start, "trainer_spec.unk_piece is not UTF-8".to_owned()))?
                                    .clone_into(&mut model.unk_piece);
                            }
                            _ => {}
                        }
                    }
                }
                (3, Value::Bytes(message)) => {
                    let base = fields.position() - message.len();
                    let mut normalizer = Fields::new(message);
                    while let Some((number, value)) =
                        normalizer.next().map_err(|b| error(Broken { offset: base + b.offset, ..b }))?
                    {
                        match (number, value) {
                            (2, Value::Bytes(bytes)) => model.charsmap = bytes.to_vec(),
                            (3, Value::Varint(flag)) => model.dummy_prefix = flag != 0,
                            (4, Value::Varint(flag)) => model.single_spaces = flag != 0,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            return Err(wrong(0, "it holds no piece".to_owned()));
        }
        model.unk_id = match u32::try_from(unk_id) {
            Ok(id) if (id as usize) < model.pieces.len() => id,
            _ => {
                return Err(wrong(
                    0,
                    format!("trainer_spec.unk_id is {unk_id}, but there are {} pieces", model.pieces.len()),
                ));
            }
        };
        if !model.charsmap.is_empty() {
            check_charsmap(&model.charsmap)
                .map_err(|reason| wrong(0, format!("normalizer_spec.precompiled_charsmap is broken: {reason}")))?;
        }
        Ok(model)
    }
}

fn piece(message: &[u8]) -> Result<Piece, &'static str> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: Kind::Normal };
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next().map_err(|b| b.reason)? {
        match number {
            1 => {
                let bytes = value.bytes().ok_or("its text is no string")?;
                if bytes.len() > LONGEST_PIECE {
                    return Err("its text is too long");
                }
                std::str::from_utf8(bytes).map_err(|_| "its text is not UTF-8")?.clone_into(&mut piece.text);
            }
            2 => piece.score = value.float().filter(|s| s.is_finite()).ok_or("its score is no finite number")?,
            3 => {
                piece.kind = match value.int() {
                    Some(1) => Kind::Normal,
                    Some(2) => Kind::Unknown,
                    Some(3) => Kind::Control,
                    Some(4) => Kind::UserDefined,
                    Some(5) => Kind::Unused,
                    Some(6) => Kind::Byte,
                    _ => return Err("its type is unknown"),
                }
            }
            _ => {}
        }
    }
    Ok(piece)
}

/// Checks a table of replacements: a double array (Darts: units of 32 bits) whose leaves point into a text with
/// NUL-terminated entries. The reader of the tokenizers library relies on every step staying inside.
pub(crate) fn check_charsmap(table: &[u8]) -> Result<(), String> {
    let (head, rest) = table.split_first_chunk::<4>().ok_or("it ends in its first number")?;
    let size = u32::from_le_bytes(*head) as usize;
    if size > rest.len() {
        return Err(format!("its trie of {size} bytes is longer than the table"));
    }
    let (trie, texts) = rest.split_at(size / 4 * 4);
    let texts = std::str::from_utf8(texts).map_err(|_| "its texts are not UTF-8")?;
    let units: Vec<u32> = trie.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    if units.is_empty() {
        return Err("its trie is empty".to_owned());
    }
    for (i, &unit) in units.iter().enumerate() {
        // A unit with the top bit is a value: no step goes on from it.
        if unit >> 31 == 1 {
            continue;
        }
        let offset = ((unit >> 10) as usize) << ((unit & (1 << 9)) >> 6);
        let base = i ^ offset;
        if base | 0xff >= units.len() {
            return Err(format!("unit {i} of its trie points outside"));
        }
        if (unit >> 8) & 1 == 1 {
            let entry = (units[base] & 0x7fff_ffff) as usize;
            if !texts.is_char_boundary(entry) {
                return Err(format!("unit {i} of its trie names no text"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model with the given pieces, as bytes.
    pub(crate) fn bytes(pieces: &[(&str, f32, u8)], model_type: u8, unk_id: u8) -> Vec<u8> {
        let mut out = Vec::new();
        for (text, score, kind) in pieces {
            let mut message = vec![0x0a, text.len() as u8];
            message.extend_from_slice(text.as_bytes());
            message.push(0x15);
            message.extend_from_slice(&score.to_le_bytes());
            message.extend_from_slice(&[0x18, *kind]);
            out.extend_from_slice(&[0x0a, message.len() as u8]);
            out.extend_from_slice(&message);
        }
        out.extend_from_slice(&[0x12, 5, 0x18, model_type, 0xc0, 0x02, unk_id]);
        out
    }

    #[test]
    fn reads_pieces() {
        let model = Model::parse("m", &bytes(&[("<unk>", 0.0, 2), ("▁a", -1.5, 1)], 2, 0)).unwrap();
        assert_eq!(model.pieces[1], Piece { text: "▁a".to_owned(), score: -1.5, kind: Kind::Normal });
        assert_eq!((model.algorithm, model.unk_id), (Algorithm::Bpe, 0));
    }

    #[test]
    fn broken_models_are_refused() {
        let good = bytes(&[("<unk>", 0.0, 2), ("a", -1.0, 1)], 1, 0);
        for end in 0..good.len() {
            let _ = Model::parse("m", &good[..end]);
        }
        for (bytes, word) in [
            (bytes(&[("a", f32::NAN, 1)], 1, 0), "finite"),
            (bytes(&[("a", 0.0, 9)], 1, 0), "type"),
            (bytes(&[("a", 0.0, 1)], 3, 0), "model_type"),
            (bytes(&[("a", 0.0, 1)], 1, 7), "unk_id"),
            (Vec::new(), "no piece"),
            (b"version https://git-lfs.github.com/spec/v1".to_vec(), "SentencePiece"),
        ] {
            let e = Model::parse("m", &bytes).unwrap_err().to_string();
            assert!(e.contains(word), "{e}");
        }
    }

    #[test]
    fn charsmap_bounds() {
        let table = |units: &[u32], texts: &[u8]| {
            let mut t = ((units.len() * 4) as u32).to_le_bytes().to_vec();
            t.extend(units.iter().flat_map(|u| u.to_le_bytes()));
            t.extend_from_slice(texts);
            t
        };
        let mut units = vec![0_u32; 256];
        assert!(check_charsmap(&table(&units, b"x\0")).is_ok());
        assert!(check_charsmap(&table(&units[..255], b"x\0")).is_err(), "a step can leave a short array");
        units[0] = (1 << 8) | (5 << 10);
        units[5] = 1 << 31;
        assert!(check_charsmap(&table(&units, b"x\0")).is_ok());
        units[3] = 1 << 10;
        assert!(check_charsmap(&table(&units, b"x\0")).is_ok());
        units[3] = 1 << 20;
        assert!(check_charsmap(&table(&units, b"x\0")).is_err());
        units[3] = 0;
        units[0] = (1 << 8) | (5 << 10);
        units[5] = (1 << 31) | 0x28;
        assert!(check_charsmap(&table(&units, b"x\0")).is_err(), "text 40 does not exist");
        units[5] = (1 << 31) | 1;
        assert!(check_charsmap(&table(&units, "ü\0".as_bytes())).is_err(), "inside a character");
        assert!(check_charsmap(&[1, 2]).is_err());
        assert!(check_charsmap(&[255, 255, 255, 255, 0]).is_err());
    }
}
