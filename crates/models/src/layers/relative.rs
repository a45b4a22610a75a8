//! T5's relative positions (Raffel et al. 2020, §2.1): a learned number a head and bucket of distances, added to the
//! scores. Near distances have buckets of their own, far ones share buckets that grow with their logarithm.

use burn::module::Param;
use burn::prelude::*;
use ptm_ops::{Indices, gather_rows};

use super::parameter;

/// The table of one stack, shared by its layers.
#[derive(Module, Debug)]
pub struct RelativeBias {
    /// `[buckets, A]`.
    table: Param<Tensor<2>>,
    both_ways: bool,
    max_distance: usize,
}

/// The bucket of the key at `distance` from the query. Both ways, keys after the query have the upper half; otherwise
/// they share bucket 0, for nobody sees them.
fn bucket(distance: isize, both_ways: bool, buckets: usize, max_distance: usize) -> usize {
    let (first, buckets) = match (both_ways, distance > 0) {
        (false, _) => (0, buckets),
        (true, later) => (if later { buckets / 2 } else { 0 }, buckets / 2),
    };
    let distance = if both_ways { distance.unsigned_abs() } else { distance.min(0).unsigned_abs() };
    let exact = buckets / 2;
    if distance < exact {
        return first + distance;
    }
    // in f32, as the published models were trained
    let share = (distance as f32 / exact as f32).ln() / (max_distance as f64 / exact as f64).ln() as f32;
    first + (exact + (share * (buckets - exact) as f32) as usize).min(buckets - 1)
}

impl RelativeBias {
    /// A table for `heads` heads; `both_ways` in encoders.
    pub fn new(buckets: usize, heads: usize, both_ways: bool, max_distance: usize, device: &Device) -> Self {
        Self { table: parameter([buckets, heads], device), both_ways, max_distance }
    }

    /// The bias of sequences of up to `longest` tokens: a value a head and distance, and the column of distance 0.
    ///
    /// # Shapes
    /// `[A, 2·longest - 1]`.
    pub fn values(&self, longest: usize) -> (Tensor<2>, usize) {
        let table = self.table.val();
        let buckets = table.dims()[0];
        let far = longest.max(1) as isize - 1;
        let columns: Indices =
            (-far..=far).map(|d| bucket(d, self.both_ways, buckets, self.max_distance) as u32).collect();
        (gather_rows(table, &columns).transpose(), far as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first distance of every bucket, as `transformers` 4.57.6 computes them.
    #[test]
    fn buckets_begin_where_the_published_ones_do() {
        let starts = |both_ways, buckets, max| -> Vec<usize> {
            let at = |d: usize| bucket(-(d as isize), both_ways, buckets, max);
            (0..400).filter(|&d| d == 0 || at(d) != at(d - 1)).collect()
        };
        assert_eq!(starts(true, 32, 128), [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]);
        assert_eq!(starts(true, 32, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 14, 18, 23, 30, 39, 50]);
        assert_eq!(starts(true, 8, 6), [0, 1, 2, 4]);
        let near: Vec<usize> = (0..=16).collect();
        assert_eq!(starts(false, 32, 128)[..17], near);
        assert_eq!(starts(false, 32, 128)[17..], [19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]);
        assert_eq!(starts(false, 8, 6), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!([3, -3, 0, 50].map(|d| bucket(d, true, 32, 128)), [19, 3, 0, 29]);
        assert_eq!([3, -3, 0, 50].map(|d| bucket(d, false, 32, 128)), [0, 3, 0, 0]);
    }
}
