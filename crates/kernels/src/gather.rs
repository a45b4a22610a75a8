//! Chosen rows of a matrix, and their way back: rows that were taken more than once add up.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::buffer::{SMALL, filled, for_row_blocks};
use crate::math::add_assign;
use crate::timing::{Kind, timed};

/// The rows of `x` that `index` names, in that order.
///
/// # Shapes
/// `x` `[n, width]` → `[index.len(), width]`.
///
/// # Panics
/// When a row is beyond the matrix.
pub fn rows(x: &[f32], width: usize, index: &[u32]) -> Vec<f32> {
    check(index, x.len() / width.max(1));
    timed(Kind::Embedding, 0, || {
        let fill = |y: &mut [MaybeUninit<f32>]| {
            for_row_blocks(y, width, |first, y| {
                for (y, &row) in y.chunks_exact_mut(width).zip(&index[first..]) {
                    let at = row as usize * width;
                    y.write_copy_of_slice(&x[at..at + width]);
                }
            });
        };
        // SAFETY: blocks hold whole rows, and every row is written from its source.
        unsafe { filled(index.len() * width, fill) }
    })
}

/// `y[index[i]] += dy[i]` into `n` rows of zeros, in the order of `i` whatever the number of threads.
///
/// # Shapes
/// `dy` `[index.len(), width]` → `[n, width]`.
///
/// # Panics
/// When a row is beyond `n` or `dy` doesn't have its size.
pub fn scatter_add(dy: &[f32], width: usize, index: &[u32], n: usize) -> Vec<f32> {
    check(index, n);
    assert_eq!(dy.len(), index.len() * width, "dy");
    timed(Kind::Embedding, 0, || {
        let mut sum = vec![0.0; n * width];
        if sum.is_empty() {
            return sum;
        }
        // every task owns a range of rows and walks over the whole index: no two tasks meet, and the order is fixed
        let tasks = if dy.len() <= SMALL { 1 } else { rayon::current_num_threads() };
        let share = n.div_ceil(tasks);
        sum.par_chunks_mut(share * width).enumerate().for_each(|(task, sum)| {
            let first = task * share;
            let end = first + sum.len() / width;
            for (dy, &row) in dy.chunks_exact(width).zip(index) {
                let row = row as usize;
                if (first..end).contains(&row) {
                    add_assign(&mut sum[(row - first) * width..][..width], dy);
                }
            }
        });
        sum
    })
}

pub(crate) fn check(index: &[u32], n: usize) {
    if let Some(row) = index.iter().max() {
        assert!((*row as usize) < n, "row {row} of {n}");
    }
}
