//! Every kernel at every instruction level of this machine, over odd shapes, against the loops of `reference`; and
//! the same bits on any number of threads, where that is promised.

mod attention;
mod cached;
mod cross_entropy;
mod elementwise;
mod linear;
mod reference;
mod relative;
mod rows;
mod threads;

use ptm_kernels::simd::{Level, detected, with_level};

/// Reproducible numbers, roughly even in -1..1 (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn ids(&mut self, len: usize, end: usize) -> Vec<u32> {
        (0..len).map(|_| self.below(end) as u32).collect()
    }
}

/// Of every query of sequences of so many queries and keys the keys that it sees: any of them, none for some; in half
/// of the sequences few, and the last.
fn spans(numbers: &mut Numbers, lens: impl Iterator<Item = (usize, usize)>) -> Vec<[u32; 2]> {
    let mut spans = Vec::new();
    for (queries, keys) in lens {
        let late = numbers.below(2) == 1;
        for _ in 0..queries {
            let [from, to] = [0; 2].map(|_| numbers.below(keys + 1));
            spans.push(if late { [keys.saturating_sub(1 + from % 10), keys] } else { [from, to] }.map(|at| at as u32));
        }
    }
    spans
}

/// Calls `f` at every level that this machine has.
fn at_every_level(f: impl Fn()) {
    for level in Level::ALL.into_iter().filter(|level| *level <= detected()) {
        with_level(level, &f);
    }
}

/// Asserts that each element is within `tolerance`, relative to the largest of its array (or to 0.01, where
/// everything cancels: what goes in is of size 1).
#[track_caller]
fn assert_close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_close_of(what, actual, expected, tolerance, 0.01);
}

/// [`assert_close`] for numbers of about `size` that may cancel in all elements of a small array.
#[track_caller]
fn assert_close_of(what: &str, actual: &[f32], expected: &[f64], tolerance: f64, size: f64) {
    assert_eq!(actual.len(), expected.len(), "length of {what}");
    let largest = expected.iter().filter(|e| e.is_finite()).fold(size, |a, e| a.max(e.abs()));
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let a = f64::from(a);
        let fits = a == e || (a - e).abs() <= tolerance * largest;
        assert!(fits, "{what}[{i}] of {}: {a} should be {e}, largest {largest}", expected.len());
    }
}
