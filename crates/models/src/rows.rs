//! Which rows of the last layer somebody reads, and what attention needs to compute only those.

use std::sync::Arc;

use ptm_ops::{Indices, Mask};

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
        Ok(match self {
            Self::All => None,
            Self::First => Some(offsets[..offsets.len() - 1].iter().map(|&row| row as u32).collect()),
            Self::Last => Some(offsets[1..].iter().map(|&row| row as u32 - 1).collect()),
            Self::Chosen(rows) if !rows.is_sorted() || beyond(rows, count).is_some() => {
                return Err(Error::Input(format!("chosen rows should ascend and be below the batch's {count}")));
            }
            Self::Chosen(rows) => Some(rows.clone()),
        })
    }
}

/// The queries of a layer that computes some rows alone.
#[derive(Debug)]
pub(crate) struct Queries {
    /// Rows of the batch, `[R]`.
    pub rows: Indices,
    /// Where each sequence's share of them begins and ends.
    pub offsets: Arc<[usize]>,
    /// The rows that they look at and where each sequence's begin and end, if not all.
    pub keys: Option<(Indices, Arc<[usize]>)>,
    /// Who sees whom among them.
    pub mask: Mask,
}

impl Queries {
    /// `rows` of a batch with these `offsets`, under `mask`.
    pub fn new(rows: Indices, offsets: &[usize], mask: &Mask) -> Self {
        let shares: Arc<[usize]> = offsets_of_rows(&rows, offsets).into();
        if let (Mask::Causal, Some(ends)) = (mask, ends_of_runs(&rows, &shares, offsets)) {
            // a causal mask lines the last query up with the last key: keys after it are left out
            let all = ends.iter().zip(&offsets[1..]).all(|(end, last)| end == last);
            let keys = (!all).then(|| keys_until(&ends, offsets));
            return Self { rows, offsets: shares, keys, mask: Mask::Causal };
        }
        let mask = mask_of_rows(mask, &rows, offsets);
        Self { rows, offsets: shares, keys: None, mask }
    }
}

/// Where each sequence's share of the chosen rows begins and ends.
fn offsets_of_rows(rows: &[u32], offsets: &[usize]) -> Vec<usize> {
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

/// The rows of every sequence from its start to its end in `ends`.
fn keys_until(ends: &[usize], offsets: &[usize]) -> (Indices, Arc<[usize]>) {
    let mut keys = Vec::new();
    let mut key_offsets = vec![0];
    for (&start, &end) in offsets.iter().zip(ends) {
        keys.extend((start..end).map(|row| row as u32));
        key_offsets.push(keys.len());
    }
    (keys.into(), key_offsets.into())
}

/// The mask as the chosen queries see it: a mask of pairs keeps the rows of the chosen, others are of keys only.
fn mask_of_rows(mask: &Mask, rows: &[u32], offsets: &[usize]) -> Mask {
    let full = |visible: &dyn Fn(usize, usize, usize) -> bool| {
        let mut pairs = Vec::new();
        for (b, w) in offsets.windows(2).enumerate() {
            for &row in rows.iter().filter(|&&row| (w[0]..w[1]).contains(&(row as usize))) {
                pairs.extend((0..w[1] - w[0]).map(|key| visible(b, row as usize - w[0], key)));
            }
        }
        Mask::Full(pairs.into())
    };
    match mask {
        Mask::None => Mask::None,
        Mask::Keys(keys) => Mask::Keys(keys.clone()),
        // the kernels align queries with the last keys, which chosen rows are not
        Mask::Causal => full(&|_, query, key| key <= query),
        Mask::Prefix(prefix) => full(&|b, query, key| key <= query || key < prefix[b]),
        Mask::Full(pairs) => {
            let mut blocks = vec![0];
            for w in offsets.windows(2) {
                let length = w[1] - w[0];
                blocks.push(blocks[blocks.len() - 1] + length * length);
            }
            full(&|b, query, key| pairs[blocks[b] + query * (offsets[b + 1] - offsets[b]) + key])
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
    fn causal_masks_follow_the_chosen_rows() {
        let Mask::Full(pairs) = mask_of_rows(&Mask::Causal, &[1, 3], &[0, 2, 5]) else { panic!("a mask of pairs") };
        assert_eq!(&*pairs, [true, true, true, true, false]);
    }

    #[test]
    fn runs_of_rows_need_no_mask_of_pairs() {
        let queries = Queries::new(vec![0, 1, 4].into(), &[0, 3, 5, 7], &Mask::Causal);
        assert!(matches!(queries.mask, Mask::Causal));
        assert_eq!(&*queries.offsets, [0, 2, 3, 3]);
        let (keys, offsets) = queries.keys.expect("the last keys are left out");
        assert_eq!((&*keys, &*offsets), (&[0, 1, 3, 4][..], &[0, 2, 4, 4][..]));
        let last = Queries::new(vec![2, 4].into(), &[0, 3, 5], &Mask::Causal);
        assert!(last.keys.is_none() && matches!(last.mask, Mask::Causal));
        let gap = Queries::new(vec![0, 2].into(), &[0, 3], &Mask::Causal);
        assert!(matches!(gap.mask, Mask::Full(_)));
    }
}
