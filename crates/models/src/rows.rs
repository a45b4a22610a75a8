//! Which rows of the last layer somebody reads, and what attention needs to compute only those.

use std::sync::Arc;

use burn::prelude::*;
use ptm_ops::{Attention, Dropout, Indices, Mask, gather_rows};
use ptm_text::Packed;

use crate::body::beyond;
use crate::error::{Error, Result};

/// Which rows of the last layer are wanted; it computes only those.
#[derive(Clone, Debug)]
pub enum Rows {
    /// Every row, `[T]`.
    All,
    /// The first row of every sequence, `[CLS]`.
    First,
    /// The last row of every sequence, which a decoder continues.
    Last,
    /// These rows in ascending order.
    Chosen(Indices),
}

impl Rows {
    /// The rows of a batch with these `offsets`; none for all of them.
    ///
    /// # Errors
    /// When chosen rows don't ascend or are beyond the batch.
    pub(crate) fn wanted(&self, offsets: &[usize]) -> Result<Option<Indices>> {
        let count = offsets.last().copied().unwrap_or(0);
        let spans = offsets.windows(2).filter(|w| w[0] < w[1]);
        Ok(match self {
            Self::All => None,
            Self::First => Some(spans.map(|w| w[0] as u32).collect()),
            Self::Last => Some(spans.map(|w| w[1] as u32 - 1).collect()),
            Self::Chosen(rows) if !rows.is_sorted() || beyond(rows, count).is_some() => {
                return Err(Error::Input(format!("chosen rows should ascend and be below the batch's {count}")));
            }
            Self::Chosen(rows) => Some(rows.clone()),
        })
    }
}

/// What a decoder's layers look at beside themselves: an encoder's hidden states, and where its sequences begin and
/// end.
pub(crate) struct Source<'a> {
    pub hidden: Tensor<2>,
    pub offsets: &'a [usize],
}

impl<'a> Source<'a> {
    /// # Errors
    /// When there is not one source for each sequence of `target`.
    pub fn new(hidden: Tensor<2>, offsets: &'a [usize], target: &Packed) -> Result<Self> {
        let (sources, targets) = (offsets.len(), target.offsets.len());
        if sources != targets || offsets.last() != Some(&hidden.dims()[0]) {
            let (sources, targets) = (sources.saturating_sub(1), targets.saturating_sub(1));
            return Err(Error::Input(format!("{targets} targets for {sources} sources: give one each")));
        }
        Ok(Self { hidden, offsets })
    }
}

/// Which rows of a layer's input ask, and which are looked at: all by all, or in a last layer those that are read.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Rows that ask, `[R]`; all if none are named.
    rows: Option<Indices>,
    q_offsets: Arc<[usize]>,
    /// Rows that are looked at; all if none are named.
    seen: Option<Indices>,
    k_offsets: Arc<[usize]>,
    mask: Mask,
}

impl View {
    /// Every row of a batch with these `offsets`, under `mask`.
    pub fn all(offsets: &[usize], mask: Mask) -> Self {
        Self { rows: None, q_offsets: offsets.into(), seen: None, k_offsets: offsets.into(), mask }
    }

    /// The wanted `rows` of such a batch.
    ///
    /// # Errors
    /// When chosen rows don't ascend or are beyond the batch.
    pub fn of(rows: &Rows, offsets: &[usize], mask: &Mask) -> Result<Self> {
        let wanted = rows.wanted(offsets)?;
        Ok(wanted.map_or_else(|| Self::all(offsets, mask.clone()), |rows| Self::chosen(rows, offsets, mask)))
    }

    fn chosen(rows: Indices, offsets: &[usize], mask: &Mask) -> Self {
        let shares: Arc<[usize]> = offsets_of_rows(&rows, offsets).into();
        if let (Mask::Causal, Some(ends)) = (mask, ends_of_runs(&rows, &shares, offsets)) {
            // a causal mask lines the last query up with the last key: keys after it are left out
            let all = ends.iter().zip(&offsets[1..]).all(|(end, last)| end == last);
            let (seen, k_offsets) = if all { (None, offsets.into()) } else { rows_until(&ends, offsets) };
            return Self { rows: Some(rows), q_offsets: shares, seen, k_offsets, mask: Mask::Causal };
        }
        let mask = mask_of_rows(mask, &rows, offsets);
        Self { rows: Some(rows), q_offsets: shares, seen: None, k_offsets: offsets.into(), mask }
    }

    /// Whether the last query of every sequence stands where its last key stands: relative biases count from there.
    pub fn is_aligned(&self) -> bool {
        self.rows.is_none() || matches!(self.mask, Mask::Causal)
    }

    /// Whether the last query of every sequence is its last row, or all ask: a step of a cache needs it so.
    pub fn reaches_ends(&self) -> bool {
        self.is_aligned() && self.seen.is_none()
    }

    /// The same rows asking other sequences, of which they see everything.
    pub fn onto(&self, offsets: &[usize]) -> Self {
        Self {
            rows: self.rows.clone(),
            q_offsets: self.q_offsets.clone(),
            seen: None,
            k_offsets: offsets.into(),
            mask: Mask::None,
        }
    }

    /// The rows of `x` that ask.
    pub fn queries(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.rows {
            Some(rows) => gather_rows(x, rows),
            None => x,
        }
    }

    /// The rows of `x` that are looked at.
    pub fn keys(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.seen {
            Some(rows) => gather_rows(x, rows),
            None => x,
        }
    }

    /// An attention between the two.
    pub fn spec(&self, heads: usize, scale: f32, dropout: Dropout) -> Attention {
        let (q_offsets, k_offsets) = (self.q_offsets.clone(), self.k_offsets.clone());
        Attention { heads, scale, q_offsets, k_offsets, mask: self.mask.clone(), dropout }
    }
}

/// Where each sequence's share of the chosen rows begins and ends.
pub(crate) fn offsets_of_rows(rows: &[u32], offsets: &[usize]) -> Vec<usize> {
    offsets.iter().map(|&offset| rows.partition_point(|&row| (row as usize) < offset)).collect()
}

/// If the rows of every sequence follow each other without a gap: the row after its last, its own start if it has none.
fn ends_of_runs(rows: &[u32], shares: &[usize], offsets: &[usize]) -> Option<Vec<usize>> {
    let runs = shares.windows(2).zip(offsets).map(|(w, &start)| match &rows[w[0]..w[1]] {
        [] => Some(start),
        run => run.windows(2).all(|pair| pair[1] == pair[0] + 1).then(|| run[run.len() - 1] as usize + 1),
    });
    runs.collect()
}

/// The rows of every sequence from its start to its end in `ends`, and where each sequence's begin and end.
fn rows_until(ends: &[usize], offsets: &[usize]) -> (Option<Indices>, Arc<[usize]>) {
    let mut rows = Vec::new();
    let mut shares = vec![0];
    for (&start, &end) in offsets.iter().zip(ends) {
        rows.extend((start..end).map(|row| row as u32));
        shares.push(rows.len());
    }
    (Some(rows.into()), shares.into())
}

/// The mask as the chosen queries see it; a mask of pairs keeps the rows of the chosen.
fn mask_of_rows(mask: &Mask, rows: &[u32], offsets: &[usize]) -> Mask {
    let shares = offsets_of_rows(rows, offsets);
    // of each row the number of its sequence, and its own in that
    let places = || {
        let sequences = shares.windows(2).zip(offsets).enumerate();
        sequences.flat_map(|(b, (w, &start))| rows[w[0]..w[1]].iter().map(move |&row| (b, row as usize - start)))
    };
    let first = |keys: &dyn Fn(usize, usize) -> usize| {
        Mask::Spans(places().map(|(b, query)| [0, keys(b, query) as u32]).collect())
    };
    match mask {
        Mask::None => Mask::None,
        Mask::Keys(keys) => Mask::Keys(keys.clone()),
        Mask::Spans(spans) => Mask::Spans(rows.iter().map(|&row| spans[row as usize]).collect()),
        // the kernels align queries with the last keys, which chosen rows are not
        Mask::Causal => first(&|_, query| query + 1),
        Mask::Prefix(prefix) => first(&|b, query| (query + 1).max(prefix[b])),
        Mask::Full(pairs) => {
            let mut blocks = vec![0];
            for w in offsets.windows(2) {
                let length = w[1] - w[0];
                blocks.push(blocks[blocks.len() - 1] + length * length);
            }
            let of_row = |(b, query): (usize, usize)| {
                let length = offsets[b + 1] - offsets[b];
                &pairs[blocks[b] + query * length..][..length]
            };
            Mask::Full(places().flat_map(of_row).copied().collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_sequence() {
        assert_eq!(offsets_of_rows(&[0, 2, 3, 3, 9], &[0, 3, 3, 5, 10]), [0, 2, 2, 4, 5]);
    }

    #[test]
    fn masks_follow_the_chosen_rows() {
        let spans = |mask: &Mask| match mask_of_rows(mask, &[1, 3, 4], &[0, 2, 2, 5]) {
            Mask::Spans(spans) => spans.to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(spans(&Mask::Causal), [[0, 2], [0, 2], [0, 3]]);
        assert_eq!(spans(&Mask::Prefix([1, 0, 3].into())), [[0, 2], [0, 3], [0, 3]]);
        assert_eq!(spans(&Mask::Spans([[0, 0], [1, 2], [0, 3], [2, 3], [1, 1]].into())), [[1, 2], [2, 3], [1, 1]]);
        let pairs = (0..13).map(|pair| pair % 3 == 0).collect();
        let Mask::Full(pairs) = mask_of_rows(&Mask::Full(pairs), &[1, 3], &[0, 2, 2, 5]) else { panic!("of pairs") };
        assert_eq!(&*pairs, [false, true, false, false, true]);
    }

    #[test]
    fn runs_of_rows_need_no_mask_of_pairs() {
        let view = View::chosen(vec![0, 1, 4].into(), &[0, 3, 5, 7], &Mask::Causal);
        assert!(matches!(view.mask, Mask::Causal));
        assert_eq!(&*view.q_offsets, [0, 2, 3, 3]);
        let seen = view.seen.expect("the last rows are left out");
        assert_eq!((&*seen, &*view.k_offsets), (&[0, 1, 3, 4][..], &[0, 2, 4, 4][..]));
        let last = View::chosen(vec![2, 4].into(), &[0, 3, 5], &Mask::Causal);
        assert!(last.seen.is_none() && matches!(last.mask, Mask::Causal));
        let gap = View::chosen(vec![0, 2].into(), &[0, 3], &Mask::Causal);
        assert!(matches!(gap.mask, Mask::Spans(_)));
    }
}
