//! Exact nearest neighbours by cosine: candidates come a block at a time, in any number, and only the best of each query
//! are held. No index and no approximation.

use ptm_kernels::gemm::{Threads, View, product};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A candidate that is near to a query.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbour<P> {
    /// The cosine.
    pub score: f32,
    /// Where the candidate is found.
    pub place: P,
    /// What it says, as a number: of candidates with one mark a query has the nearest alone.
    pub mark: u64,
}

/// The nearest candidates of some queries, so far.
#[derive(Clone, Debug)]
pub struct Nearest<P> {
    /// `[queries, width]`, of length 1.
    queries: Vec<f32>,
    width: usize,
    k: usize,
    lists: Vec<Vec<Neighbour<P>>>,
}

/// Scores that are held at once.
const SCORES: usize = 1 << 22;

impl<P: Copy + Ord + Send + Sync> Nearest<P> {
    /// For queries `[n, width]` the nearest `k` of what will be offered.
    ///
    /// # Panics
    /// When queries differ in width.
    pub fn new(queries: &[Vec<f32>], k: usize) -> Self {
        let lists = vec![Vec::new(); queries.len()];
        Self { queries: normalized(queries), width: queries.first().map_or(0, Vec::len), k, lists }
    }

    /// For the same queries, with what an earlier search had found.
    ///
    /// # Panics
    /// When queries differ in width, or there is not a list for each.
    pub fn resumed(queries: &[Vec<f32>], k: usize, lists: Vec<Vec<Neighbour<P>>>) -> Self {
        assert_eq!(queries.len(), lists.len(), "a list a query");
        Self { lists, ..Self::new(queries, k) }
    }

    /// What was found, a list a query, the nearest first; of equally near ones the one with the lesser place.
    pub fn lists(&self) -> &[Vec<Neighbour<P>>] {
        &self.lists
    }

    /// Looks at candidates, `(place, mark)` each, and their vectors. What was offered in which block changes nothing.
    ///
    /// # Panics
    /// When there is not a vector a candidate, or one has another width than the queries.
    pub fn offer(&mut self, candidates: &[(P, u64)], vectors: &[Vec<f32>]) {
        assert_eq!(candidates.len(), vectors.len(), "a vector a candidate");
        if candidates.is_empty() || self.lists.is_empty() || self.k == 0 {
            return;
        }
        let (width, k, count) = (self.width, self.k, candidates.len());
        let offered = normalized(vectors);
        assert_eq!(offered.len(), count * width, "vectors of one width");
        let offered = View::new(&offered, count, width, width).t();
        let at_once = (SCORES / count).max(1);
        let mut scores = vec![0.0; at_once.min(self.lists.len()) * count];
        for (queries, lists) in self.queries.chunks(at_once * width).zip(self.lists.chunks_mut(at_once)) {
            let scores = &mut scores[..lists.len() * count];
            product(scores, false, 1.0, View::new(queries, lists.len(), width, width), offered, Threads::All);
            lists.par_iter_mut().zip(scores.par_chunks_exact(count)).for_each(|(list, scores)| {
                for (&(place, mark), &score) in candidates.iter().zip(scores) {
                    insert(list, k, Neighbour { score, place, mark });
                }
            });
        }
    }
}

/// Puts `new` where it belongs, if it belongs among the nearest `k`.
fn insert<P: Copy + Ord>(list: &mut Vec<Neighbour<P>>, k: usize, new: Neighbour<P>) {
    let nearer = |a: &Neighbour<P>, b: &Neighbour<P>| {
        b.score.total_cmp(&a.score).then_with(|| a.place.cmp(&b.place)) == std::cmp::Ordering::Less
    };
    if !new.score.is_finite() || (list.len() == k && list.last().is_some_and(|last| !nearer(&new, last))) {
        return;
    }
    if let Some(same) = list.iter().position(|known| known.mark == new.mark) {
        if !nearer(&new, &list[same]) {
            return;
        }
        list.remove(same);
    }
    let at = list.partition_point(|known| nearer(known, &new));
    list.insert(at, new);
    list.truncate(k);
}

/// Rows end to end, each divided by its length; one without length stays.
fn normalized(rows: &[Vec<f32>]) -> Vec<f32> {
    let width = rows.first().map_or(0, Vec::len);
    let mut all = Vec::with_capacity(rows.len() * width);
    for row in rows {
        assert_eq!(row.len(), width, "vectors of one width");
        let length = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt().max(1e-12);
        all.extend(row.iter().map(|&x| (f64::from(x) / length) as f32));
    }
    all
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    use super::*;
    use crate::similarity::cosine;

    fn random(count: usize, width: usize, seed: u64) -> Vec<Vec<f32>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut number = || random.next_u32() as f32 / u32::MAX as f32 - 0.5;
        (0..count).map(|_| (0..width).map(|_| number()).collect()).collect()
    }

    /// All cosines, sorted; of one mark the nearest.
    fn brute_force(query: &[f32], vectors: &[Vec<f32>], marks: &[u64], k: usize) -> Vec<(usize, f32)> {
        let mut all: Vec<(usize, f32)> =
            vectors.iter().enumerate().map(|(at, vector)| (at, cosine(query, vector))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut seen = std::collections::HashSet::new();
        all.retain(|(at, _)| seen.insert(marks[*at]));
        all.truncate(k);
        all
    }

    fn places(nearest: &Nearest<usize>) -> Vec<Vec<usize>> {
        nearest.lists().iter().map(|list| list.iter().map(|found| found.place).collect()).collect()
    }

    #[test]
    fn as_brute_force_whatever_the_blocks() {
        let (queries, mut vectors) = (random(37, 24, 1), random(900, 24, 2));
        let mut marks: Vec<u64> = (0..900).collect();
        // some say the same as others, one of them in other words, and one says nothing
        for at in (10..900).step_by(9) {
            vectors[at] = vectors[at - 10].clone();
            marks[at] = marks[at - 10];
        }
        marks[500] = marks[3];
        vectors[7] = vec![0.0; 24];
        let candidates: Vec<(usize, u64)> = marks.iter().copied().enumerate().collect();
        for k in [1, 10, 2000] {
            let mut whole = Nearest::new(&queries, k);
            whole.offer(&candidates, &vectors);
            for (query, list) in queries.iter().zip(whole.lists()) {
                let expected = brute_force(query, &vectors, &marks, k);
                assert_eq!(list.len(), expected.len());
                for (found, (place, score)) in list.iter().zip(&expected) {
                    assert_eq!(found.place, *place, "{list:?}\n{expected:?}");
                    assert!((found.score - score).abs() < 1e-6);
                }
            }
            for block in [1, 64, 333] {
                let mut parts = Nearest::new(&queries, k);
                for (candidates, vectors) in candidates.chunks(block).zip(vectors.chunks(block)) {
                    parts.offer(candidates, vectors);
                    // what was found is all that a search needs to go on
                    parts = Nearest::resumed(&queries, k, parts.lists().to_vec());
                }
                assert_eq!(places(&parts), places(&whole), "{k} by {block}");
            }
        }
    }

    #[test]
    fn equals_keep_their_order_and_what_is_no_number_is_left_out() {
        let mut nearest = Nearest::new(&[vec![1.0, 0.0]], 3);
        let vectors = [vec![f32::NAN, 0.0], vec![2.0, 0.0], vec![3.0, 0.0], vec![0.0, 1.0], vec![5.0, 0.0]];
        nearest.offer(&[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)], &vectors);
        assert_eq!(places(&nearest), [[1, 2, 4]]);
        nearest.offer(&[], &[]);
        let mut none = Nearest::<usize>::new(&[], 3);
        none.offer(&[(0, 0)], &[vec![1.0]]);
        assert!(none.lists().is_empty());
    }
}
