//! Attention over packed sequences (Vaswani et al. 2017), tiled with a running maximum (Milakov and Gimelshein 2018;
//! FlashAttention, Dao et al. 2022): scores exist one tile of one head at a time, the backward computes them again.
//! The forward divides over sequences × query blocks × heads, the backward over sequences × heads.

mod backward;
mod cached;
mod forward;
mod relative;
mod tile;

pub use backward::backward;
pub use cached::{Stored, cached};
pub use forward::forward;
pub use relative::{Places, TermGrads, Terms, relative, relative_backward};

use crate::gemm::View;

/// Which keys a query sees, beyond its own sequence. A query that sees none gives a row of zeros.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a> {
    /// Every key of its sequence.
    None,
    /// Query `i` of a sequence with `tq` queries and `tk` keys sees the keys `j ≤ i + tk - tq`.
    Causal,
    /// As causal, and every query of sequence `b` also sees its first `prefix[b]` keys.
    Prefix(&'a [usize]),
    /// Of each packed query the first key of its sequence that it sees, and the one after the last.
    Spans(&'a [[u32; 2]]),
    /// One flag a packed key: whether anyone sees it.
    Keys(&'a [bool]),
    /// The row-major `[tq, tk]` blocks of all sequences, one after the other; true is visible.
    Full(&'a [bool]),
}

/// What is added to the scaled scores.
#[derive(Clone, Copy, Debug)]
pub enum Bias<'a> {
    /// Nothing.
    None,
    /// `values[head, i, j]`, the same for all sequences.
    Dense {
        /// `[heads, q_max, k_max]`.
        values: &'a [f32],
        /// At least the longest queries.
        q_max: usize,
        /// At least the longest keys.
        k_max: usize,
    },
    /// `values[head, zero + j - (i + tk - tq)]`: a value a distance, so that T5's bias needs no `[T, T]`.
    Relative {
        /// `[heads, span]`; the span covers every distance that occurs.
        values: &'a [f32],
        /// Columns of the table.
        span: usize,
        /// The column of distance 0.
        zero: usize,
    },
}

/// The sizes of an attention call.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Number of heads, `A`.
    pub heads: usize,
    /// Width of a head, `D`.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Where each sequence of queries begins and ends, `[B + 1]`.
    pub q_offsets: &'a [usize],
    /// The same for keys.
    pub k_offsets: &'a [usize],
}

/// The result of [`forward`].
#[derive(Debug)]
pub struct Forward {
    /// `[Tq, A·D]`.
    pub out: Vec<f32>,
    /// The logarithm of each query's sum of exponentials, `[A, Tq]`; -∞ where nothing is visible.
    pub lse: Vec<f32>,
}

/// The gradients of attention.
#[derive(Debug)]
pub struct Grads {
    /// `[Tq, A·D]`.
    pub q: Vec<f32>,
    /// `[Tk, A·D]`.
    pub k: Vec<f32>,
    /// `[Tk, A·D]`.
    pub v: Vec<f32>,
    /// Shaped like the values of the bias.
    pub bias: Option<Vec<f32>>,
}

/// Which element of the dropout's mask belongs to the probability of packed query `query` (of `queries` in all) and
/// key `key` of its sequence, in head `head`. It depends on no tile and no other sequence's length.
pub fn dropout_index(head: usize, queries: usize, query: usize, key: usize) -> u64 {
    // a row of probabilities is given 2^20 elements: no sequence is longer
    (((head * queries + query) as u64) << 20) | key as u64
}

/// Everything a tile needs to know, checked once a call.
#[derive(Clone, Copy)]
struct Call<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    shape: Shape<'a>,
    mask: Mask<'a>,
    bias: Bias<'a>,
    width: usize,
    queries: usize,
}

/// One sequence of a call.
#[derive(Clone, Copy)]
struct Sequence {
    number: usize,
    q_start: usize,
    q_len: usize,
    k_start: usize,
    k_len: usize,
    /// Where its block of a full mask begins.
    pairs: usize,
}

impl Sequence {
    /// How many keys a causal query sees.
    #[inline(always)]
    fn leading(&self, query: usize) -> usize {
        (query + self.k_len + 1).saturating_sub(self.q_len)
    }
}

impl<'a> Call<'a> {
    fn new(
        q: &'a [f32],
        k: &'a [f32],
        v: &'a [f32],
        shape: &Shape<'a>,
        mask: Mask<'a>,
        bias: Bias<'a>,
    ) -> (Self, Vec<Sequence>) {
        let width = shape.heads * shape.head_dim;
        assert!(width > 0, "heads and head_dim");
        assert!(q.len().is_multiple_of(width) && k.len().is_multiple_of(width), "q and k are rows of {width}");
        assert_eq!(k.len(), v.len(), "v");
        let (queries, keys) = (q.len() / width, k.len() / width);
        for (name, offsets, rows) in [("q_offsets", shape.q_offsets, queries), ("k_offsets", shape.k_offsets, keys)] {
            assert!(
                offsets.first() == Some(&0) && offsets.is_sorted() && offsets.last() == Some(&rows),
                "{name} should rise from 0 to {rows}"
            );
        }
        assert_eq!(shape.q_offsets.len(), shape.k_offsets.len(), "k_offsets");
        let mut pairs = 0;
        let lengths = shape.q_offsets.windows(2).zip(shape.k_offsets.windows(2)).enumerate();
        let sequences: Vec<Sequence> = lengths
            .map(|(number, (q, k))| {
                let s =
                    Sequence { number, q_start: q[0], q_len: q[1] - q[0], k_start: k[0], k_len: k[1] - k[0], pairs };
                pairs += s.q_len * s.k_len;
                s
            })
            .collect();
        assert!(sequences.iter().all(|s| s.k_len < 1 << 20), "a sequence has fewer than 2^20 keys");
        match mask {
            Mask::None | Mask::Causal => {}
            Mask::Prefix(lengths) => {
                assert_eq!(lengths.len(), sequences.len(), "a prefix length a sequence")
            }
            Mask::Spans(spans) => assert_eq!(spans.len(), queries, "a span a query"),
            Mask::Keys(flags) => assert_eq!(flags.len(), keys, "a flag a key"),
            Mask::Full(flags) => assert_eq!(flags.len(), pairs, "a flag a pair"),
        }
        match bias {
            Bias::None => {}
            Bias::Dense { values, q_max, k_max } => {
                assert_eq!(values.len(), shape.heads * q_max * k_max, "bias");
                assert!(
                    sequences.iter().all(|s| s.q_len <= q_max && s.k_len <= k_max),
                    "bias is smaller than a sequence"
                );
            }
            Bias::Relative { values, span, zero } => {
                assert_eq!(values.len(), shape.heads * span, "bias");
                // distances run from -(tk - 1) to tq - 1 (the first query stands at tk - tq)
                let covered =
                    |s: &Sequence| s.q_len == 0 || s.k_len == 0 || (zero + 1 >= s.k_len && zero + s.q_len <= span);
                assert!(sequences.iter().all(covered), "the bias doesn't span every distance");
            }
        }
        (Self { q, k, v, shape: *shape, mask, bias, width, queries }, sequences)
    }

    /// Pairs of a query and a key that it may see, as far as that depends on their places alone.
    fn seen(&self, sequences: &[Sequence]) -> usize {
        let of = |s: &Sequence| match self.mask {
            Mask::Causal => (0..s.q_len).map(|query| s.leading(query)).sum(),
            Mask::Spans(spans) => {
                let within = |[from, to]: &[u32; 2]| (*to as usize).min(s.k_len).saturating_sub(*from as usize);
                spans[s.q_start..][..s.q_len].iter().map(within).sum()
            }
            _ => s.q_len * s.k_len,
        };
        sequences.iter().map(of).sum()
    }

    /// Rows `from..from + rows` of one head of a packed matrix.
    fn head<'b>(&self, x: &'b [f32], from: usize, rows: usize, head: usize) -> View<'b> {
        let at = from * self.width + head * self.shape.head_dim;
        View::new(if rows == 0 { &[] } else { &x[at..] }, rows, self.shape.head_dim, self.width)
    }

    /// The bias table of one head.
    fn head_bias(&self, head: usize) -> Bias<'a> {
        match self.bias {
            Bias::None => Bias::None,
            Bias::Dense { values, q_max, k_max } => {
                let size = q_max * k_max;
                Bias::Dense { values: &values[head * size..(head + 1) * size], q_max, k_max }
            }
            Bias::Relative { values, span, zero } => {
                Bias::Relative { values: &values[head * span..(head + 1) * span], span, zero }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_are_seen() {
        let x = [0.0; 12];
        let shape = Shape { q_offsets: &[0, 3, 4, 6], k_offsets: &[0, 3, 6, 6], heads: 1, head_dim: 2, scale: 1.0 };
        let seen = |mask| {
            let (call, sequences) = Call::new(&x, &x, &x, &shape, mask, Bias::None);
            call.seen(&sequences)
        };
        assert_eq!(seen(Mask::None), 9 + 3);
        // 1 + 2 + 3; the only query stands at the last key; no keys
        assert_eq!(seen(Mask::Causal), 6 + 3);
        assert_eq!(seen(Mask::Spans(&[[0, 1], [1, 3], [2, 2], [1, 9], [0, 0], [0, 1]])), 1 + 2 + 2);
    }
}
