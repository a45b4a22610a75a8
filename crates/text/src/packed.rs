//! A packed batch: sequences laid end to end without padding, with the boundaries beside them.
//! The layout of variable-length attention kernels (`T` rows, `B + 1` offsets).
//! Not an attention mask and not a padded matrix: nothing here knows a maximum length.

use std::ops::Range;

use crate::encoding::Encoding;

/// How a model numbers the positions of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PositionStyle {
    /// `0, 1, 2, …` (BERT, DistilBERT, ELECTRA, ERNIE).
    #[default]
    Zero,
    /// `pad + 1, pad + 2, …` (RoBERTa, XLM-R). A padding token that stands inside the sequence gets the position
    /// `pad` and is not counted, as in the published models.
    AfterPadding {
        /// The id of the padding token.
        pad_id: u32,
    },
    /// `n, n + 1, …` (BART starts at 2; a decoder that continues starts where its cache ends).
    Offset(u32),
}

impl PositionStyle {
    /// Appends the positions of one sequence to `positions`, one for each id.
    pub fn extend(self, ids: &[u32], positions: &mut Vec<u32>) {
        match self {
            Self::Zero => positions.extend(0..ids.len() as u32),
            Self::Offset(start) => positions.extend((0..ids.len() as u32).map(|i| start.saturating_add(i))),
            Self::AfterPadding { pad_id } => {
                let mut last = pad_id;
                positions.extend(ids.iter().map(|&id| {
                    if id == pad_id {
                        return pad_id;
                    }
                    last = last.saturating_add(1);
                    last
                }));
            }
        }
    }
}

/// What makes a packed batch impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    /// A sequence without a token.
    #[error("sequence {sequence} of the batch is empty: leave it out, or encode it with special tokens")]
    EmptySequence {
        /// Its index in the batch.
        sequence: usize,
    },
    /// Two parallel lists differ in length.
    #[error("the batch has {ids} ids but {other} {what}: give one for each id")]
    LengthsDiffer {
        /// Number of ids.
        ids: usize,
        /// Number of entries of the other list.
        other: usize,
        /// What the other list holds.
        what: &'static str,
    },
    /// Offsets that do not run from 0 to the number of ids.
    #[error("the batch's offsets run from {first} to {last}, but must run from 0 to its {ids} ids")]
    OffsetsDoNotCover {
        /// The first offset.
        first: usize,
        /// The last offset.
        last: usize,
        /// Number of ids.
        ids: usize,
    },
    /// More rows than a 32-bit row number can name.
    #[error("the batch would hold {rows} tokens, more than {}: use smaller batches", u32::MAX)]
    TooManyRows {
        /// The number of rows.
        rows: usize,
    },
}

/// `B` sequences with `T` tokens in all.
///
/// # Shapes
/// `ids`, `positions`, `segments`: `[T]`; `offsets`: `[B + 1]`, ascending from 0 to `T`; sequence `b` is
/// `offsets[b]..offsets[b + 1]`. No sequence is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Token ids, `[T]`.
    pub ids: Vec<u32>,
    /// Positions inside each sequence, `[T]`, in the numbering of the batch's [`PositionStyle`].
    pub positions: Vec<u32>,
    /// Segment (token type) ids, `[T]`.
    pub segments: Vec<u32>,
    /// Where each sequence starts, and the end of the last, `[B + 1]`.
    pub offsets: Vec<usize>,
}

impl Default for Packed {
    fn default() -> Self {
        Self { ids: Vec::new(), positions: Vec::new(), segments: Vec::new(), offsets: vec![0] }
    }
}

impl Packed {
    /// A batch of the given sequences; `segments` all 0.
    ///
    /// # Errors
    /// When a sequence is empty, or there are more rows than 32 bits can count.
    pub fn from_ids<S: AsRef<[u32]>>(sequences: &[S], style: PositionStyle) -> Result<Self, PackedError> {
        let mut packed = Self::default();
        for sequence in sequences {
            packed.push(sequence.as_ref(), None, style)?;
        }
        Ok(packed)
    }

    /// A batch from its parts; positions are numbered by `style`.
    ///
    /// # Errors
    /// When a sequence is empty or the lists do not fit each other.
    pub fn new(
        ids: Vec<u32>,
        segments: Vec<u32>,
        offsets: Vec<usize>,
        style: PositionStyle,
    ) -> Result<Self, PackedError> {
        let mut packed = Self { positions: Vec::new(), ids, segments, offsets };
        packed.check_offsets()?;
        let mut positions = Vec::with_capacity(packed.ids.len());
        for b in 0..packed.sequences() {
            style.extend(&packed.ids[packed.range(b)], &mut positions);
        }
        packed.positions = positions;
        packed.validate()?;
        Ok(packed)
    }

    /// A batch of encodings, in order. The windows in `overflow` are not included: pass them as encodings of their
    /// own where they are wanted ([`Encoding::windows`]).
    ///
    /// # Errors
    /// When an encoding is empty.
    pub fn from_encodings<'a>(
        encodings: impl IntoIterator<Item = &'a Encoding>,
        style: PositionStyle,
    ) -> Result<Self, PackedError> {
        let mut packed = Self::default();
        for encoding in encodings {
            packed.push(&encoding.ids, Some(&encoding.segments), style)?;
        }
        Ok(packed)
    }

    /// Adds one sequence; without `segments` they are 0.
    ///
    /// # Errors
    /// When the sequence is empty or `segments` has another length; the batch is then unchanged.
    pub fn push(&mut self, ids: &[u32], segments: Option<&[u32]>, style: PositionStyle) -> Result<(), PackedError> {
        if ids.is_empty() {
            return Err(PackedError::EmptySequence { sequence: self.sequences() });
        }
        if let Some(segments) = segments
            && segments.len() != ids.len()
        {
            return Err(PackedError::LengthsDiffer { ids: ids.len(), other: segments.len(), what: "segments" });
        }
        let rows = self.ids.len() + ids.len();
        if rows > u32::MAX as usize {
            return Err(PackedError::TooManyRows { rows });
        }
        self.ids.extend_from_slice(ids);
        match segments {
            Some(segments) => self.segments.extend_from_slice(segments),
            None => self.segments.resize(rows, 0),
        }
        style.extend(ids, &mut self.positions);
        self.offsets.push(rows);
        Ok(())
    }

    /// Checks everything the type promises; needed after the public fields were edited by hand.
    ///
    /// # Errors
    /// The first broken promise.
    pub fn validate(&self) -> Result<(), PackedError> {
        for (other, what) in [(self.positions.len(), "positions"), (self.segments.len(), "segments")] {
            if other != self.ids.len() {
                return Err(PackedError::LengthsDiffer { ids: self.ids.len(), other, what });
            }
        }
        self.check_offsets()
    }

    fn check_offsets(&self) -> Result<(), PackedError> {
        let rows = self.ids.len();
        if rows > u32::MAX as usize {
            return Err(PackedError::TooManyRows { rows });
        }
        let first = self.offsets.first().copied().unwrap_or(usize::MAX);
        let last = self.offsets.last().copied().unwrap_or(usize::MAX);
        if first != 0 || last != rows {
            return Err(PackedError::OffsetsDoNotCover { first, last, ids: rows });
        }
        match self.offsets.windows(2).position(|w| w[0] >= w[1]) {
            Some(sequence) => Err(PackedError::EmptySequence { sequence }),
            None => Ok(()),
        }
    }

    /// Number of rows (tokens), `T`.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no sequence at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Number of sequences, `B`.
    pub fn sequences(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The rows of sequence `b`.
    ///
    /// # Panics
    /// When `b` is not below [`Packed::sequences`].
    pub fn range(&self, b: usize) -> Range<usize> {
        self.offsets[b]..self.offsets[b + 1]
    }

    /// The length of each sequence, `[B]`.
    pub fn lengths(&self) -> Vec<usize> {
        self.offsets.windows(2).map(|w| w[1] - w[0]).collect()
    }

    /// The longest sequence's length; 0 for a batch without sequences.
    pub fn max_len(&self) -> usize {
        self.offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0)
    }

    /// The largest token id, for a check against the rows of an embedding.
    pub fn max_id(&self) -> Option<u32> {
        self.ids.iter().copied().max()
    }

    /// The row of each sequence's first token (`[CLS]`), `[B]`.
    pub fn first_rows(&self) -> Vec<usize> {
        self.offsets[..self.sequences()].to_vec()
    }

    /// The row of each sequence's last token, `[B]`.
    pub fn last_rows(&self) -> Vec<usize> {
        self.offsets.iter().skip(1).map(|&end| end - 1).collect()
    }

    /// The sequence that each row belongs to, `[T]`.
    pub fn sequence_of_rows(&self) -> Vec<u32> {
        (0..self.sequences()).flat_map(|b| self.range(b).map(move |_| b as u32)).collect()
    }

    /// Divides sequences of the given lengths into batches of at most `budget` tokens, sequences of similar length
    /// together, the longest first (so that memory peaks at once, and cores end together). Each batch lists
    /// indices into `lengths`; every index occurs once. A sequence longer than the budget is a batch of its own.
    /// [`restore_order`] brings results back.
    pub fn batches_by_tokens(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut used = 0_usize;
        for i in order {
            // An empty text still costs its result a row.
            let cost = lengths[i].max(1);
            match batches.last_mut() {
                Some(batch) if used.saturating_add(cost) <= budget => {
                    batch.push(i);
                    used += cost;
                }
                _ => {
                    batches.push(vec![i]);
                    used = cost;
                }
            }
        }
        batches
    }
}

/// Puts results that came batch by batch back into the order of the inputs.
///
/// `results` holds one entry for each index of `batches`, in the order of their concatenation; `None` when the
/// counts differ or `batches` does not name each index below their count once.
pub fn restore_order<R>(batches: &[Vec<usize>], results: Vec<R>) -> Option<Vec<R>> {
    let mut slots: Vec<Option<R>> = Vec::with_capacity(results.len());
    slots.resize_with(results.len(), || None);
    let mut results = results.into_iter();
    for &i in batches.iter().flatten() {
        let slot = slots.get_mut(i)?;
        if slot.is_some() {
            return None;
        }
        *slot = Some(results.next()?);
    }
    slots.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_ranges() {
        let mut packed = Packed::from_ids(&[vec![5, 6, 7], vec![8]], PositionStyle::Zero).unwrap();
        packed.push(&[9, 9], Some(&[0, 1]), PositionStyle::Zero).unwrap();
        assert_eq!(packed.offsets, [0, 3, 4, 6]);
        assert_eq!(packed.positions, [0, 1, 2, 0, 0, 1]);
        assert_eq!(packed.segments, [0, 0, 0, 0, 0, 1]);
        assert_eq!((packed.len(), packed.sequences(), packed.max_len()), (6, 3, 3));
        assert_eq!(packed.lengths(), [3, 1, 2]);
        assert_eq!(packed.range(1), 3..4);
        assert_eq!(packed.first_rows(), [0, 3, 4]);
        assert_eq!(packed.last_rows(), [2, 3, 5]);
        assert_eq!(packed.sequence_of_rows(), [0, 0, 0, 1, 2, 2]);
        assert_eq!(packed.max_id(), Some(9));
        packed.validate().unwrap();
    }

    #[test]
    fn positions_as_roberta_counts_them() {
        let style = PositionStyle::AfterPadding { pad_id: 1 };
        let packed = Packed::from_ids(&[vec![0, 7, 8, 2], vec![0, 1, 8, 2]], style).unwrap();
        assert_eq!(packed.positions, [2, 3, 4, 5, 2, 1, 3, 4]);
        let packed = Packed::from_ids(&[[4, 4], [4, 4]], PositionStyle::Offset(2)).unwrap();
        assert_eq!(packed.positions, [2, 3, 2, 3]);
    }

    #[test]
    fn new_equals_pushes() {
        let style = PositionStyle::AfterPadding { pad_id: 1 };
        let whole = Packed::new(vec![0, 4, 2, 0, 2], vec![0, 0, 1, 0, 0], vec![0, 3, 5], style).unwrap();
        let mut steps = Packed::default();
        steps.push(&[0, 4, 2], Some(&[0, 0, 1]), style).unwrap();
        steps.push(&[0, 2], None, style).unwrap();
        assert_eq!(whole, steps);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut packed = Packed::from_ids(&[[1]], PositionStyle::Zero).unwrap();
        let before = packed.clone();
        assert_eq!(packed.push(&[], None, PositionStyle::Zero), Err(PackedError::EmptySequence { sequence: 1 }));
        assert!(matches!(
            packed.push(&[1, 2], Some(&[0]), PositionStyle::Zero),
            Err(PackedError::LengthsDiffer { ids: 2, other: 1, .. })
        ));
        assert_eq!(packed, before);
        for offsets in [vec![], vec![0], vec![1, 3], vec![0, 2], vec![0, 4]] {
            let made = Packed::new(vec![1, 2, 3], vec![0; 3], offsets, PositionStyle::Zero);
            assert!(matches!(made, Err(PackedError::OffsetsDoNotCover { .. })));
        }
        for offsets in [vec![0, 0, 3], vec![0, 2, 1, 3], vec![0, 9, 3]] {
            let made = Packed::new(vec![1, 2, 3], vec![0; 3], offsets, PositionStyle::Zero);
            assert!(matches!(made, Err(PackedError::EmptySequence { .. })));
        }
        assert!(Packed::new(vec![1, 2], vec![0], vec![0, 2], PositionStyle::Zero).is_err());
        packed.positions.clear();
        assert!(packed.validate().is_err());
    }

    #[test]
    fn batches_hold_the_budget_and_restore() {
        let lengths = [3, 100, 5, 0, 7, 7, 30, 1];
        let batches = Packed::batches_by_tokens(&lengths, 32);
        let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
        for batch in &batches {
            let sum: usize = batch.iter().map(|&i| lengths[i]).sum();
            assert!(sum <= 32 || batch.len() == 1);
        }
        let results: Vec<usize> = seen.iter().map(|&i| lengths[i]).collect();
        assert_eq!(restore_order(&batches, results).unwrap(), lengths);
        seen.sort_unstable();
        assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        assert!(Packed::batches_by_tokens(&[], 32).is_empty());
        assert_eq!(Packed::batches_by_tokens(&[4, 4], 0).len(), 2);
        assert!(restore_order(&[vec![0, 0]], vec![1, 2]).is_none());
        assert!(restore_order(&[vec![0]], vec![1, 2]).is_none());
        assert!(restore_order(&[vec![5]], vec![1]).is_none());
    }
}
