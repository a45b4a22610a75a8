//! How near texts are: the cosine of their embeddings, and the order it gives.

use serde::Serialize;

/// The cosine of the angle between two vectors; 0 where one of them has no length.
///
/// # Panics
/// When they differ in length.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one width");
    let (mut dot, mut aa, mut bb) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x), f64::from(*y));
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    if aa == 0.0 || bb == 0.0 { 0.0 } else { (dot / (aa.sqrt() * bb.sqrt())) as f32 }
}

/// A candidate with its place in the input and its nearness to the query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// Its number in the input, from 0.
    pub index: usize,
    /// The cosine.
    pub score: f32,
    /// The text.
    pub text: String,
}

/// The candidates, the nearest first; equals keep their order.
///
/// # Panics
/// When there is not one text a candidate.
pub fn rank(query: &[f32], candidates: &[Vec<f32>], texts: &[&str]) -> Vec<Ranked> {
    assert_eq!(candidates.len(), texts.len(), "a text a candidate");
    let score = |(index, (vector, text)): (usize, (&Vec<f32>, &&str))| Ranked {
        index,
        score: cosine(query, vector),
        text: (*text).to_owned(),
    };
    let mut ranked: Vec<Ranked> = candidates.iter().zip(texts).enumerate().map(score).collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_comes_first() {
        let ranked =
            rank(&[1.0, 0.0], &[vec![0.0, 1.0], vec![2.0, 0.0], vec![1.0, 1.0], vec![0.0, 0.0]], &["a", "b", "c", "d"]);
        let order: Vec<usize> = ranked.iter().map(|r| r.index).collect();
        assert_eq!(order, [1, 2, 0, 3]);
        assert_eq!(ranked[0].score, 1.0);
        assert_eq!(ranked[3].score, 0.0);
    }
}
