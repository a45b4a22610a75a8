//! Embeddings: rows of tables, summed over tables (word + position + segment + task) in one pass, and followed by
//! LayerNorm for inference.

use std::mem::MaybeUninit;

use crate::buffer::{filled, for_row_blocks};
use crate::gather::{self, check};
use crate::norm::{Block, LayerNormForward, by_blocks, normalise};
use crate::simd::multiversion;
use crate::timing::{Kind, timed};

/// `table[ids]`.
///
/// # Shapes
/// `table` `[V, width]`, `ids` `[T]` → `[T, width]`.
///
/// # Panics
/// When an id is beyond the table.
pub fn forward(table: &[f32], width: usize, ids: &[u32]) -> Vec<f32> {
    gather::rows(table, width, ids)
}

/// The gradient of a table of `table_rows` rows.
///
/// # Shapes
/// `dy` `[T, width]` → `[table_rows, width]`.
///
/// # Panics
/// When an id is beyond the table or `dy` doesn't have its size.
pub fn backward(dy: &[f32], width: usize, ids: &[u32], table_rows: usize) -> Vec<f32> {
    gather::scatter_add(dy, width, ids, table_rows)
}

/// Writes the sum of the tables' rows for row `i` of the batch.
#[inline(always)]
fn sum_row<'y>(tables: &[(&[f32], &[u32])], width: usize, i: usize, y: &'y mut [MaybeUninit<f32>]) -> &'y mut [f32] {
    let range = |ids: &[u32]| -> std::ops::Range<usize> {
        let at = ids[i] as usize * width;
        at..at + width
    };
    let y = y.write_copy_of_slice(&tables[0].0[range(tables[0].1)]);
    for table in &tables[1..] {
        for (y, v) in y.iter_mut().zip(&table.0[range(table.1)]) {
            *y += *v;
        }
    }
    y
}

multiversion! {
    fn sum_rows(tables: &[(&[f32], &[u32])], width: usize, first: usize, y: &mut [MaybeUninit<f32>]) {
        for (i, y) in y.chunks_exact_mut(width).enumerate() {
            sum_row(tables, width, first + i, y);
        }
    }
}

multiversion! {
    fn sum_norm_rows(tables: &[(&[f32], &[u32])], affine: (&[f32], &[f32], f32), first: usize, block: Block<'_>) {
        let (gamma, beta, eps) = affine;
        let width = gamma.len();
        for (i, y) in block.y.chunks_exact_mut(width).enumerate() {
            let (mean, rstd) = normalise(sum_row(tables, width, first + i, y), gamma, beta, eps);
            block.mean[i].write(mean);
            block.rstd[i].write(rstd);
        }
    }
}

/// The number of rows, once everything fits.
fn checked(tables: &[(&[f32], &[u32])], width: usize) -> usize {
    assert!(!tables.is_empty(), "tables");
    let rows = tables[0].1.len();
    for (table, ids) in tables {
        assert_eq!(ids.len(), rows, "ids");
        check(ids, table.len() / width.max(1));
    }
    rows
}

/// `Σ table[ids]` over the tables.
///
/// # Shapes
/// Tables `[V, width]`, each with `ids` `[T]` → `[T, width]`.
///
/// # Panics
/// Without tables, when the ids differ in length, or one is beyond its table.
pub fn sum_forward(tables: &[(&[f32], &[u32])], width: usize) -> Vec<f32> {
    let rows = checked(tables, width);
    timed(Kind::Embedding, 0, || {
        let fill = |y: &mut [MaybeUninit<f32>]| {
            for_row_blocks(y, width, |first, y| sum_rows(tables, width, first, y));
        };
        // SAFETY: blocks hold whole rows, and every row is written from the first table.
        unsafe { filled(rows * width, fill) }
    })
}

/// [`sum_forward`] and LayerNorm in one pass, for inference.
///
/// # Panics
/// As [`sum_forward`], and when gamma and beta are empty or differ in length.
pub fn sum_layer_norm(tables: &[(&[f32], &[u32])], gamma: &[f32], beta: &[f32], eps: f32) -> LayerNormForward {
    let width = gamma.len();
    assert!(width > 0, "gamma");
    assert_eq!(width, beta.len(), "beta");
    let rows = checked(tables, width);
    timed(Kind::Embedding, 0, || {
        // SAFETY: `sum_norm_rows` writes y, mean and rstd of every row; no sum is kept.
        unsafe {
            by_blocks(rows, width, false, |first, block| {
                sum_norm_rows(tables, (gamma, beta, eps), first, block);
            })
        }
    })
}
