//! Attention whose scores are sums of a content, a position and a segment term (Transformer-XL, Dai et al. 2019, §3.3;
//! XLNet, Yang et al. 2019, §2.5), tiled as the other: position scores exist for the distances of one tile, from where
//! the shift to keys reads them row by row.

use rayon::prelude::*;

use super::tile::{K_BLOCK, Place, Q_BLOCK, clear_rows, probabilities, row_dots, scale_rows, score_grads, weights};
use super::{Bias, Call, Forward, Mask, Sequence, Shape};
use crate::buffer::{SMALL, Shared};
use crate::dropout::Dropout;
use crate::gemm::{Threads, View, product, product_at};
use crate::math::add_assign;
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// The matrices of such a call, heads side by side in a row.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Queries as they meet keys, `[Tq, A·D]`.
    pub content: &'a [f32],
    /// Queries as they meet distances, `[Tq, A·D]`.
    pub position: &'a [f32],
    /// Queries as they meet segments, `[Tq, A·D]`.
    pub segment: &'a [f32],
    /// `[Tk, A·D]`.
    pub keys: &'a [f32],
    /// `[Tk, A·D]`.
    pub values: &'a [f32],
    /// The keys of distances, `[S, A·D]`.
    pub distances: &'a [f32],
    /// The keys of "same segment" and "another", `[2, A·D]`.
    pub segments: &'a [f32],
}

/// Where queries and keys stand.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// For each query the place of its own key among its sequence's keys, `[Tq]`.
    pub places: &'a [u32],
    /// The row of distance 0: the query at place `i` reads row `zero + j - i` of the distances for key `j`.
    pub zero: usize,
    /// Sequences that read row `zero + i - j`, `[B]`.
    pub backwards: &'a [bool],
    /// The segment of each query, `[Tq]`.
    pub queries: &'a [u32],
    /// The segment of each key, `[Tk]`.
    pub keys: &'a [u32],
}

/// The gradients of [`relative`], shaped as [`Terms`].
#[derive(Debug)]
pub struct TermGrads {
    /// Of the queries as they meet keys.
    pub content: Vec<f32>,
    /// Of the queries as they meet distances.
    pub position: Vec<f32>,
    /// Of the queries as they meet segments.
    pub segment: Vec<f32>,
    /// Of the keys.
    pub keys: Vec<f32>,
    /// Of the values.
    pub values: Vec<f32>,
    /// Of the keys of distances.
    pub distances: Vec<f32>,
    /// Of the keys of segments.
    pub segments: Vec<f32>,
}

/// A checked call.
#[derive(Clone, Copy)]
struct Parts<'a> {
    call: Call<'a>,
    terms: Terms<'a>,
    places: Places<'a>,
}

impl<'a> Parts<'a> {
    fn new(terms: &Terms<'a>, shape: &Shape<'a>, places: &Places<'a>, mask: Mask<'a>) -> (Self, Vec<Sequence>) {
        let (call, sequences) = Call::new(terms.content, terms.keys, terms.values, shape, mask, Bias::None);
        let Call { width, queries, .. } = call;
        for (name, x) in [("position", terms.position), ("segment", terms.segment)] {
            assert_eq!(x.len(), terms.content.len(), "{name}");
        }
        assert_eq!(terms.segments.len(), 2 * width, "segments");
        assert!(terms.distances.len().is_multiple_of(width), "distances are rows of {width}");
        assert_eq!((places.places.len(), places.queries.len()), (queries, queries), "a place and a segment a query");
        assert_eq!(places.keys.len() * width, terms.keys.len(), "a segment a key");
        assert_eq!(places.backwards.len(), sequences.len(), "a direction a sequence");
        let rows = terms.distances.len() / width;
        for s in sequences.iter().filter(|s| s.q_len > 0 && s.k_len > 0) {
            let at = &places.places[s.q_start..s.q_start + s.q_len];
            let (low, high) = at.iter().fold((u32::MAX, 0), |(low, high), &p| (low.min(p), high.max(p)));
            // how far keys lie before the last and behind the first query
            let (before, behind) = (high as usize, (s.k_len - 1).saturating_sub(low as usize));
            let (below, above) = if places.backwards[s.number] { (behind, before) } else { (before, behind) };
            assert!(below <= places.zero && places.zero + above < rows, "the distances don't span every pair");
        }
        (Self { call, terms: *terms, places: *places }, sequences)
    }

    /// Floating-point operations of the forward's products, about.
    fn flops(&self, sequences: &[Sequence]) -> u64 {
        let pairs: usize = sequences.iter().map(|s| s.q_len * (2 * s.k_len + s.q_len)).sum();
        2 * (pairs * self.call.width) as u64
    }

    /// The rows of distances that a tile meets, and where each of its queries begins among them.
    fn window(&self, place: &Place<'_>, starts: &mut Vec<usize>) -> Window {
        let first = place.sequence.q_start + place.q;
        let at = &self.places.places[first..first + place.q_len];
        let (low, high) = at.iter().fold((u32::MAX, 0), |(low, high), &p| (low.min(p), high.max(p)));
        let backwards = self.places.backwards[place.sequence.number];
        let start = |&p: &u32| (if backwards { p - low } else { high - p }) as usize;
        starts.clear();
        starts.extend(at.iter().map(start));
        let (low, high, zero) = (low as usize, high as usize, self.places.zero);
        let first = if backwards { zero + low + 1 - place.k - place.k_len } else { zero + place.k - high };
        Window { first, count: high - low + place.k_len, backwards }
    }

    /// `scale · segment·segmentsᵀ` of a block of queries: two numbers a query.
    fn segment_scores(&self, place: &Place<'_>, scores: &mut Vec<f32>) {
        scores.resize(2 * place.q_len, 0.0);
        let rows = self.rows(self.terms.segment, place);
        let segments = self.call.head(self.terms.segments, 0, 2, place.head);
        product(scores, false, self.call.shape.scale, rows, segments.t(), Threads::One);
    }

    /// A tile's rows of one of the queries' matrices.
    fn rows(&self, x: &'a [f32], place: &Place<'_>) -> View<'a> {
        self.call.head(x, place.sequence.q_start + place.q, place.q_len, place.head)
    }

    /// All three terms of a tile's scores.
    fn scores(&self, tile: &mut [f32], place: &Place<'_>, apart: &[f32], scratch: &mut Shift) -> Window {
        let (call, s) = (&self.call, &place.sequence);
        let keys = call.head(call.k, s.k_start + place.k, place.k_len, place.head);
        product(tile, false, call.shape.scale, self.rows(self.terms.content, place), keys.t(), Threads::One);
        let window = self.window(place, &mut scratch.starts);
        let distances = call.head(self.terms.distances, window.first, window.count, place.head);
        scratch.by_distance.resize(place.q_len * window.count, 0.0);
        let by_distance = &mut scratch.by_distance;
        product(
            by_distance,
            false,
            call.shape.scale,
            self.rows(self.terms.position, place),
            distances.t(),
            Threads::One,
        );
        let (first, k_first) = (s.q_start + place.q, s.k_start + place.k);
        let segments = (&self.places.queries[first..first + place.q_len], &self.places.keys[k_first..][..place.k_len]);
        add_terms(tile, by_distance, window, &scratch.starts, apart, segments);
        window
    }
}

/// The distances of a tile: rows `first..first + count` of the table, for ever later keys, or ever earlier ones.
#[derive(Clone, Copy)]
struct Window {
    first: usize,
    count: usize,
    backwards: bool,
}

/// What the shift from distances to keys needs from tile to tile.
#[derive(Default)]
struct Shift {
    by_distance: Vec<f32>,
    starts: Vec<usize>,
}

multiversion! {
    /// Adds to a tile of scores those of its distances, and of its queries' segments.
    fn add_terms(
        tile: &mut [f32],
        by_distance: &[f32],
        window: Window,
        starts: &[usize],
        apart: &[f32],
        segments: (&[u32], &[u32]),
    ) {
        let count = segments.1.len();
        let rows = tile.chunks_exact_mut(count).zip(by_distance.chunks_exact(window.count));
        for (i, (scores, distances)) in rows.enumerate() {
            let distances = &distances[starts[i]..][..count];
            let (same, another, own) = (apart[2 * i], apart[2 * i + 1], segments.0[i]);
            let term = |segment: &u32| if *segment == own { same } else { another };
            if window.backwards {
                for ((x, d), s) in scores.iter_mut().zip(distances.iter().rev()).zip(segments.1) {
                    *x += *d + term(s);
                }
            } else {
                for ((x, d), s) in scores.iter_mut().zip(distances).zip(segments.1) {
                    *x += *d + term(s);
                }
            }
        }
    }
}

multiversion! {
    /// The gradients of a tile's scores, by distance; and added up by segment, two sums a query.
    fn sort_grads(
        tile: &[f32],
        by_distance: &mut [f32],
        window: Window,
        starts: &[usize],
        apart: &mut [f32],
        segments: (&[u32], &[u32]),
    ) {
        let count = segments.1.len();
        by_distance.fill(0.0);
        let rows = tile.chunks_exact(count).zip(by_distance.chunks_exact_mut(window.count));
        for (i, (grads, distances)) in rows.enumerate() {
            let distances = &mut distances[starts[i]..][..count];
            if window.backwards {
                for (d, g) in distances.iter_mut().rev().zip(grads) {
                    *d = *g;
                }
            } else {
                distances.copy_from_slice(grads);
            }
            let own = segments.0[i];
            let all = crate::math::sum(grads, |g| g);
            let mut another = 0.0;
            for (g, s) in grads.iter().zip(segments.1) {
                another += if *s == own { 0.0 } else { *g };
            }
            apart[2 * i] += all - another;
            apart[2 * i + 1] += another;
        }
    }
}

/// `softmax(scale·(content·keysᵀ + position·distanceᵀ + segment·segmentᵀ))·values` for every head of every sequence,
/// with dropout of the probabilities. A query that sees no key gives a row of zeros.
///
/// # Shapes
/// → `[Tq, A·D]`.
///
/// # Panics
/// When a slice doesn't fit the shape, or the distances don't span every pair.
pub fn relative(
    terms: &Terms<'_>,
    shape: &Shape<'_>,
    places: &Places<'_>,
    mask: Mask<'_>,
    dropout: Dropout,
) -> Forward {
    let (parts, sequences) = Parts::new(terms, shape, places, mask);
    let call = &parts.call;
    let flops = parts.flops(&sequences);
    timed(Kind::Attention, flops, || {
        let mut out = Vec::with_capacity(call.q.len());
        let mut lse = vec![f32::NEG_INFINITY; shape.heads * call.queries];
        let (out_at, lse_at) = (Shared::new(out.as_mut_ptr()), Shared::new(lse.as_mut_ptr()));
        let blocks: Vec<(Sequence, usize)> =
            sequences.iter().flat_map(|s| (0..s.q_len).step_by(Q_BLOCK).map(|from| (*s, from))).collect();
        let task = |scratch: &mut Scratch, task: usize| {
            let (sequence, from) = blocks[task / shape.heads];
            let head = task % shape.heads;
            let mut place = Place::new(call, sequence, head, dropout);
            place.q = from;
            place.q_len = Q_BLOCK.min(sequence.q_len - from);
            let first = sequence.q_start + from;
            let at = first * call.width + head * shape.head_dim;
            // SAFETY: tasks differ in their query rows or in their head, so no two write the same elements.
            let lse = unsafe { lse_at.slice(head * call.queries + first, place.q_len) };
            // SAFETY: a block's rows of one head begin at `at` and end within `out`.
            unsafe { one_block(&parts, place, scratch, out_at, at, lse) };
        };
        each(blocks.len() * shape.heads, flops, task);
        // SAFETY: the blocks of all heads are all of `out`, and `one_block` writes its own.
        unsafe { out.set_len(call.q.len()) };
        Forward { out, lse }
    })
}

/// Runs the tasks, side by side where they are worth it.
fn each(tasks: usize, flops: u64, task: impl Fn(&mut Scratch, usize) + Sync + Send) {
    if flops <= SMALL as u64 {
        let mut scratch = Scratch::default();
        return (0..tasks).for_each(|i| task(&mut scratch, i));
    }
    let jobs = rayon::current_num_threads() * 8;
    (0..tasks).into_par_iter().with_min_len(tasks / jobs.max(1)).for_each_init(Scratch::default, task);
}

/// What a thread reuses from tile to tile.
#[derive(Default)]
struct Scratch {
    p: Vec<f32>,
    pd: Vec<f32>,
    /// Of each query: the sum of output times its gradient; in the forward pass the running maximum.
    delta: Vec<f32>,
    total: Vec<f32>,
    shrink: Vec<f32>,
    apart: Vec<f32>,
    apart_grads: Vec<f32>,
    shift: Shift,
}

/// One block of queries in one head, over all blocks of keys.
///
/// # Safety
/// The elements of the block (rows of `head_dim`, `width` apart, from `at` on) lie within `out`, and nobody else
/// touches them. All of them are written.
unsafe fn one_block(
    parts: &Parts<'_>,
    mut place: Place<'_>,
    scratch: &mut Scratch,
    out: Shared,
    at: usize,
    lse: &mut [f32],
) {
    let call = &parts.call;
    let (s, n, head_dim) = (place.sequence, place.q_len, call.shape.head_dim);
    let Scratch { p, delta: top, total, shrink, apart, shift, .. } = scratch;
    for values in [&mut *top, total, shrink] {
        values.clear();
        values.resize(n, 0.0);
    }
    top.fill(f32::NEG_INFINITY);
    parts.segment_scores(&place, apart);
    let mut begun = false;
    for from in (0..s.k_len).step_by(K_BLOCK) {
        place.k = from;
        place.k_len = K_BLOCK.min(s.k_len - from);
        if place.is_hidden() {
            continue;
        }
        p.resize(n * place.k_len, 0.0);
        parts.scores(p, &place, apart, shift);
        weights(p, place, top, total, shrink);
        if begun {
            // SAFETY: by this function's contract; written by the product of an earlier block of keys.
            unsafe { scale_rows(out, at, call.width, head_dim, shrink) };
        }
        let v = call.head(call.v, s.k_start + from, place.k_len, place.head);
        let tile = View::new(p, n, place.k_len, place.k_len);
        // SAFETY: by this function's contract.
        unsafe { product_at(out.at(at), call.width, begun, 1.0, tile, v, Threads::One) };
        begun = true;
    }
    for i in 0..n {
        shrink[i] = if total[i] > 0.0 { 1.0 / total[i] } else { 0.0 };
        lse[i] = if total[i] > 0.0 { top[i] + total[i].ln() } else { f32::NEG_INFINITY };
    }
    // SAFETY: by this function's contract.
    unsafe {
        if begun {
            scale_rows(out, at, call.width, head_dim, shrink);
        } else {
            clear_rows(out, at, call.width, head_dim, n);
        }
    }
}

/// Elements of the tables' gradients at most, where sequences that run side by side each have a set.
const TABLES: usize = 4 << 20;

/// The buffers that tasks write, each in rows and heads of its own; the tables are those of the task's sequences.
#[derive(Clone, Copy)]
struct Outputs {
    content: Shared,
    position: Shared,
    segment: Shared,
    keys: Shared,
    values: Shared,
    distances: Shared,
    segments: Shared,
}

/// The gradients of [`relative`], from its result and the gradient `dout` of its output.
///
/// # Panics
/// When a slice doesn't fit the shape.
pub fn relative_backward(
    terms: &Terms<'_>,
    forward: (&[f32], &[f32]),
    dout: &[f32],
    shape: &Shape<'_>,
    places: &Places<'_>,
    mask: Mask<'_>,
    dropout: Dropout,
) -> TermGrads {
    let (parts, sequences) = Parts::new(terms, shape, places, mask);
    let call = &parts.call;
    let (out, lse) = forward;
    assert_eq!(out.len(), terms.content.len(), "out");
    assert_eq!(dout.len(), terms.content.len(), "dout");
    assert_eq!(lse.len(), shape.heads * call.queries, "lse");
    let flops = 5 * parts.flops(&sequences) / 2;
    timed(Kind::Attention, flops, || {
        let of = |x: &[f32]| Vec::with_capacity(x.len());
        let mut grads = TermGrads {
            content: of(terms.content),
            position: of(terms.position),
            segment: of(terms.segment),
            keys: of(terms.keys),
            values: of(terms.values),
            distances: Vec::new(),
            segments: Vec::new(),
        };
        // sequences share the tables: every group of them adds into tables of its own, and there are few
        let table = terms.distances.len();
        let groups = (TABLES / table.max(1)).clamp(1, 16);
        let groups: Vec<&[Sequence]> = sequences.chunks(sequences.len().div_ceil(groups).max(1)).collect();
        let mut distances = vec![0.0; groups.len() * table];
        let mut segments = vec![0.0; groups.len() * terms.segments.len()];
        let at = |x: &mut Vec<f32>| Shared::new(x.as_mut_ptr());
        let outputs = Outputs {
            content: at(&mut grads.content),
            position: at(&mut grads.position),
            segment: at(&mut grads.segment),
            keys: at(&mut grads.keys),
            values: at(&mut grads.values),
            distances: at(&mut distances),
            segments: at(&mut segments),
        };
        let task = |scratch: &mut Scratch, i: usize| {
            let (group, head) = (i / shape.heads, i % shape.heads);
            let tables = [group * table, group * terms.segments.len()].map(|at| at + head * shape.head_dim);
            for &sequence in groups[group] {
                let place = Place::new(call, sequence, head, dropout);
                // SAFETY: tasks differ in their sequences and tables or in their head, so no two write the same
                // elements.
                unsafe { one_head(&parts, [out, lse, dout], place, scratch, outputs, tables) };
            }
        };
        each(groups.len() * shape.heads, flops, task);
        // SAFETY: all heads of all sequences are all of these, and `one_head` writes its own.
        unsafe {
            grads.content.set_len(terms.content.len());
            grads.position.set_len(terms.content.len());
            grads.segment.set_len(terms.content.len());
            grads.keys.set_len(terms.keys.len());
            grads.values.set_len(terms.keys.len());
        }
        let summed = |mut tables: Vec<f32>, len: usize| {
            if tables.is_empty() {
                return vec![0.0; len];
            }
            let others = tables.split_off(len);
            others.chunks_exact(len.max(1)).for_each(|other| add_assign(&mut tables, other));
            tables
        };
        grads.distances = summed(distances, table);
        grads.segments = summed(segments, terms.segments.len());
        grads
    })
}

/// One head of one sequence; its columns of the tables' gradients begin at `tables`.
///
/// # Safety
/// Nobody else writes this head's columns in the sequence's rows of the outputs, or in these tables, which are
/// initialised. All of the rows are written.
unsafe fn one_head(
    parts: &Parts<'_>,
    [out, lse, dout]: [&[f32]; 3],
    mut place: Place<'_>,
    scratch: &mut Scratch,
    outputs: Outputs,
    tables: [usize; 2],
) {
    let call = &parts.call;
    let (s, head, width) = (place.sequence, place.head, call.width);
    let (head_dim, scale) = (call.shape.head_dim, call.shape.scale);
    let Sequence { q_start, q_len, k_start, k_len, .. } = s;
    let column = head * head_dim;
    let k_at = k_start * width + column;
    // SAFETY: by this function's contract, here and in what follows.
    unsafe {
        clear_rows(outputs.keys, k_at, width, head_dim, k_len);
        clear_rows(outputs.values, k_at, width, head_dim, k_len);
    }
    let Scratch { p, pd, delta, apart, apart_grads, shift, .. } = scratch;
    for q_from in (0..q_len).step_by(Q_BLOCK) {
        place.q = q_from;
        place.q_len = Q_BLOCK.min(q_len - q_from);
        let n = place.q_len;
        let first = q_start + q_from;
        let q_at = first * width + column;
        if k_len == 0 {
            for rows in [outputs.content, outputs.position, outputs.segment] {
                // SAFETY: as above.
                unsafe { clear_rows(rows, q_at, width, head_dim, n) };
            }
            continue;
        }
        let lse = &lse[head * call.queries + first..][..n];
        let dout_rows = parts.rows(dout, &place);
        delta.resize(n, 0.0);
        row_dots(&out[q_at..], &dout[q_at..], width, head_dim, &mut delta[..n]);
        parts.segment_scores(&place, apart);
        apart_grads.clear();
        apart_grads.resize(2 * n, 0.0);
        let mut begun = false;
        for k_from in (0..k_len).step_by(K_BLOCK) {
            place.k = k_from;
            place.k_len = K_BLOCK.min(k_len - k_from);
            if place.is_hidden() {
                continue;
            }
            let m = place.k_len;
            p.resize(n * m, 0.0);
            pd.resize(n * m, 0.0);
            let window = parts.scores(p, &place, apart, shift);
            probabilities(p, pd, place, lse);
            let k_at = k_at + k_from * width;
            let [k, v] = [call.k, call.v].map(|x| call.head(x, k_start + k_from, m, head));
            let kept = View::new(pd, n, m, m).t();
            // SAFETY: as above; cleared before.
            unsafe { product_at(outputs.values.at(k_at), width, true, 1.0, kept, dout_rows, Threads::One) };
            product(pd, false, 1.0, dout_rows, v.t(), Threads::One);
            score_grads(p, pd, place, &delta[..n]);
            let segments = (&parts.places.queries[first..first + n], &parts.places.keys[k_start + k_from..][..m]);
            sort_grads(p, &mut shift.by_distance, window, &shift.starts, apart_grads, segments);
            let (ds, by_distance) =
                (View::new(p, n, m, m), View::new(&shift.by_distance, n, window.count, window.count));
            let distances = call.head(parts.terms.distances, window.first, window.count, head);
            let (content, position) =
                (parts.rows(parts.terms.content, &place), parts.rows(parts.terms.position, &place));
            // SAFETY: as above; the queries' rows were written before where we add to them.
            unsafe {
                product_at(outputs.content.at(q_at), width, begun, scale, ds, k, Threads::One);
                product_at(outputs.keys.at(k_at), width, true, scale, ds.t(), content, Threads::One);
                product_at(outputs.position.at(q_at), width, begun, scale, by_distance, distances, Threads::One);
                let table = outputs.distances.at(tables[0] + window.first * width);
                product_at(table, width, true, scale, by_distance.t(), position, Threads::One);
            }
            begun = true;
        }
        if !begun {
            for rows in [outputs.content, outputs.position] {
                // SAFETY: as above.
                unsafe { clear_rows(rows, q_at, width, head_dim, n) };
            }
        }
        let (grads, rows) = (View::new(apart_grads, n, 2, 2), parts.rows(parts.terms.segment, &place));
        let segments = call.head(parts.terms.segments, 0, 2, head);
        // SAFETY: as above.
        unsafe {
            product_at(outputs.segment.at(q_at), width, false, scale, grads, segments, Threads::One);
            product_at(outputs.segments.at(tables[1]), width, true, scale, grads.t(), rows, Threads::One);
        }
    }
}
