//! The backward pass: tiles are computed again from the rows' log-sum-exps.

use std::ops::Range;

use rayon::prelude::*;

use super::tile::{K_BLOCK, Place, add_bias_grad, clear_rows, probabilities, q_block, row_dots, score_grads};
use super::{Bias, Call, Grads, Mask, Sequence, Shape};
use crate::buffer::{SMALL, Shared, for_row_blocks};
use crate::dropout::Dropout;
use crate::gemm::{Threads, View, product, product_at};
use crate::math::add_assign;
use crate::timing::{Kind, timed};

/// What a thread reuses from tile to tile.
#[derive(Default)]
struct Scratch {
    p: Vec<f32>,
    pd: Vec<f32>,
    delta: Vec<f32>,
}

/// The buffers that tasks write, each in rows and heads of its own.
#[derive(Clone, Copy)]
struct Outputs {
    q: Shared,
    k: Shared,
    v: Shared,
}

/// The gradients of [`super::forward`], from its result and the gradient `dout` of its output.
///
/// # Panics
/// When a slice doesn't fit the shape.
pub fn backward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &[f32],
    lse: &[f32],
    dout: &[f32],
    shape: &Shape<'_>,
    mask: Mask<'_>,
    bias: Bias<'_>,
    dropout: Dropout,
    needs_bias: bool,
) -> Grads {
    let (call, sequences) = Call::new(q, k, v, shape, mask, bias);
    assert_eq!(out.len(), q.len(), "out");
    assert_eq!(dout.len(), q.len(), "dout");
    assert_eq!(lse.len(), shape.heads * call.queries, "lse");
    let pairs: usize = sequences.iter().map(|s| s.q_len * s.k_len).sum();
    timed(Kind::Attention, 10 * (call.seen(&sequences) * call.width) as u64, || {
        let (mut dq, mut dk, mut dv) =
            (Vec::with_capacity(q.len()), Vec::with_capacity(k.len()), Vec::with_capacity(k.len()));
        let table = match bias {
            Bias::None => 0,
            Bias::Dense { q_max, k_max, .. } => q_max * k_max,
            Bias::Relative { span, .. } => span,
        };
        let mut dbias = vec![0.0; if needs_bias { shape.heads * table } else { 0 }];
        // sequences share the bias of a head: every share adds into a table of its own, and there are few of them
        let most = if dbias.is_empty() { usize::MAX } else { (TABLES / dbias.len()).clamp(1, 16) };
        let shares = shares(&sequences, most);
        let mut tables = vec![0.0; dbias.len() * shares.len()];
        let mut partial: Vec<Vec<f32>> =
            shares.iter().map(|s| Vec::with_capacity(s.partial_rows() * call.width)).collect();
        let outputs = Outputs {
            q: Shared::new(dq.as_mut_ptr()),
            k: Shared::new(dk.as_mut_ptr()),
            v: Shared::new(dv.as_mut_ptr()),
        };
        let given = Given { out, lse, dout };
        let partial_at: Vec<Shared> = partial.iter_mut().map(|partial| Shared::new(partial.as_mut_ptr())).collect();
        let tables_at = Shared::new(tables.as_mut_ptr());
        let one = |scratch: &mut Scratch, i: usize| {
            let (number, head) = (i / shape.heads, i % shape.heads);
            let share = &shares[number];
            let table = if needs_bias { table } else { 0 };
            // SAFETY: every share of every head has a table.
            let dbias = unsafe { tables_at.slice(i * table, table) };
            for &sequence in share.sequences {
                let place = Place::new(&call, sequence, head, dropout);
                let (outputs, q_first) = match share.partial_rows() {
                    0 => (outputs, sequence.q_start),
                    _ => (Outputs { q: partial_at[number], ..outputs }, 0),
                };
                // SAFETY: tasks differ in their sequences, in their keys or in their head, so no two write the same
                // elements: those who share queries have gradients of their own for them.
                unsafe { one_head(&call, given, place, scratch, outputs, q_first, share.keys.clone(), dbias) }
            }
        };
        let tasks = shares.len() * shape.heads;
        if pairs * shape.heads <= SMALL / 8 {
            let mut scratch = Scratch::default();
            (0..tasks).for_each(|i| one(&mut scratch, i));
        } else {
            let jobs = rayon::current_num_threads() * 8;
            (0..tasks).into_par_iter().with_min_len(tasks / jobs.max(1)).for_each_init(Scratch::default, one);
        }
        // SAFETY: the shares of all heads are all of the three and of the partial ones, and `one_head` writes its own.
        unsafe {
            dq.set_len(q.len());
            dk.set_len(k.len());
            dv.set_len(k.len());
            for (share, partial) in shares.iter().zip(&mut partial) {
                partial.set_len(share.partial_rows() * call.width);
            }
        }
        for (share, partial) in shares.iter().zip(&partial).filter(|(share, _)| share.partial_rows() > 0) {
            let first = share.sequences[0].q_start * call.width;
            let dq = &mut dq[first..first + partial.len()];
            for_row_blocks(dq, call.width, |row, dq| add_assign(dq, &partial[row * call.width..][..dq.len()]));
        }
        if !dbias.is_empty() {
            let whole = dbias.len();
            tables.chunks_exact(whole).for_each(|tables| add_assign(&mut dbias, tables));
        }
        Grads { q: dq, k: dk, v: dv, bias: needs_bias.then_some(dbias) }
    })
}

/// Elements of bias gradients that shares have at most altogether, where more than one set is wanted.
const TABLES: usize = 4 << 20;

/// Keys of a share at least, and shares of one sequence at most: beyond the first each needs memory for the gradient
/// of its queries.
const PART: (usize, usize) = (K_BLOCK, 4);

/// What one task does of every head: some sequences, or some keys of one.
struct Share<'a> {
    sequences: &'a [Sequence],
    keys: Range<usize>,
}

impl Share<'_> {
    /// Query rows whose gradient is added to that of the sequence's first share.
    fn partial_rows(&self) -> usize {
        if self.keys.start == 0 { 0 } else { self.sequences[0].q_len }
    }
}

/// At most `most` shares; they depend on the lengths alone, and so do the results.
fn shares(sequences: &[Sequence], most: usize) -> Vec<Share<'_>> {
    let parts = |s: &Sequence| {
        let part = s.k_len.div_ceil(PART.1).next_multiple_of(PART.0).max(PART.0);
        (s.k_len.div_ceil(part).max(1), part)
    };
    if sequences.iter().map(|s| parts(s).0).sum::<usize>() > most {
        let each = sequences.len().div_ceil(most).max(1);
        return sequences.chunks(each).map(|sequences| Share { sequences, keys: 0..usize::MAX }).collect();
    }
    let of_one = |sequence| {
        let (count, part) = parts(sequence);
        (0..count).map(move |i| Share { sequences: std::slice::from_ref(sequence), keys: i * part..(i + 1) * part })
    };
    sequences.iter().flat_map(of_one).collect()
}

/// What the forward pass left, and the gradient that comes in.
#[derive(Clone, Copy)]
struct Given<'a> {
    out: &'a [f32],
    lse: &'a [f32],
    dout: &'a [f32],
}

/// One head of one sequence, with some of its keys; the gradients of its queries begin at row `q_first` of the output.
///
/// # Safety
/// Nobody else writes this head's columns in these rows of the outputs. All of them are written.
unsafe fn one_head(
    call: &Call<'_>,
    given: Given<'_>,
    mut place: Place<'_>,
    scratch: &mut Scratch,
    outputs: Outputs,
    q_first: usize,
    keys: Range<usize>,
    dbias: &mut [f32],
) {
    let (s, head, head_dim, width) = (place.sequence, place.head, call.shape.head_dim, call.width);
    let Sequence { q_start, q_len, k_start, k_len, .. } = s;
    let first = q_start * width + head * head_dim;
    let q_to = q_first * width + head * head_dim;
    let keys = keys.start.min(k_len)..keys.end.min(k_len);
    // the first product into a place writes, later ones add; where several blocks of queries meet in a key's
    // gradient, or perhaps none sees it, zeros come first
    let block = q_block(place.mask);
    let adds = q_len > block || matches!(place.mask, Mask::Prefix(_) | Mask::Spans(_));
    if adds || q_len == 0 {
        let at = (k_start + keys.start) * width + head * head_dim;
        // SAFETY: by this function's contract.
        unsafe {
            clear_rows(outputs.k, at, width, head_dim, keys.len());
            clear_rows(outputs.v, at, width, head_dim, keys.len());
        }
    }
    if q_len == 0 || keys.is_empty() {
        // SAFETY: by this function's contract.
        unsafe { clear_rows(outputs.q, q_to, width, head_dim, q_len) };
        return;
    }
    let Scratch { p, pd, delta } = scratch;
    delta.resize(delta.len().max(q_len), 0.0);
    row_dots(&given.out[first..], &given.dout[first..], width, head_dim, &mut delta[..q_len]);
    for q_from in (0..q_len).step_by(block) {
        place.q = q_from;
        place.q_len = block.min(q_len - q_from);
        let n = place.q_len;
        let q = call.head(call.q, q_start + q_from, n, head);
        let dout = call.head(given.dout, q_start + q_from, n, head);
        let lse = &given.lse[head * call.queries + q_start + q_from..][..n];
        let q_at = q_to + q_from * width;
        let mut begun = false;
        for k_from in keys.clone().step_by(K_BLOCK) {
            place.k = k_from;
            place.k_len = K_BLOCK.min(keys.end - k_from);
            if !place.narrow() {
                continue;
            }
            let m = place.k_len;
            if p.len() < n * m {
                p.resize(n * m, 0.0);
                pd.resize(n * m, 0.0);
            }
            let (p, pd) = (&mut p[..n * m], &mut pd[..n * m]);
            let k = call.head(call.k, k_start + place.k, m, head);
            let v = call.head(call.v, k_start + place.k, m, head);
            let k_at = (k_start + place.k) * width + head * head_dim;
            product(p, false, call.shape.scale, q, k.t(), Threads::One);
            probabilities(p, pd, place, lse);
            let weights = View::new(pd, n, m, m).t();
            // SAFETY: these rows of this head are ours by the contract, and cleared before where we add.
            unsafe { product_at(outputs.v.at(k_at), width, adds, 1.0, weights, dout, Threads::One) };
            product(pd, false, 1.0, dout, v.t(), Threads::One);
            score_grads(p, pd, place, &delta[q_from..q_from + n]);
            if !dbias.is_empty() {
                add_bias_grad(p, &place, dbias);
            }
            let scale = call.shape.scale;
            let ds = View::new(p, n, m, m);
            // SAFETY: as above; q's rows were written before where we add to them.
            unsafe {
                product_at(outputs.q.at(q_at), width, begun, scale, ds, k, Threads::One);
                product_at(outputs.k.at(k_at), width, adds, scale, ds.t(), q, Threads::One);
            }
            begun = true;
        }
        if !begun {
            // SAFETY: by this function's contract.
            unsafe { clear_rows(outputs.q, q_at, width, head_dim, n) };
        }
    }
}
