//! Embeddings: rows of tables, summed over tables (word + position + segment + task) in one pass, and followed by
//! LayerNorm for inference.

use std::mem::MaybeUninit;

use crate::buffer::{filled, for_row_blocks};
use crate::dropout::Dropout;
use crate::gather::{self, check};
use crate::norm::{LayerNormForward, add_layer_norm};
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

multiversion! {
    fn sum_rows(tables: &[(&[f32], &[u32])], width: usize, first: usize, y: &mut [MaybeUninit<f32>]) {
        for (i, y) in y.chunks_exact_mut(width).enumerate() {
            let row = |(table, ids): &(&[f32], &[u32])| -> std::ops::Range<usize> {
                let at = ids[first + i] as usize * width;
                debug_assert!(at + width <= table.len());
                at..at + width
            };
            let y = y.write_copy_of_slice(&tables[0].0[row(&tables[0])]);
            for table in &tables[1..] {
                for (y, v) in y.iter_mut().zip(&table.0[row(table)]) {
                    *y += *v;
                }
            }
        }
    }
}

/// `Σ table[ids]` over the tables.
///
/// # Shapes
/// Tables `[V, width]`, each with `ids` `[T]` → `[T, width]`.
///
/// # Panics
/// Without tables, when the ids differ in length, or one is beyond its table.
pub fn sum_forward(tables: &[(&[f32], &[u32])], width: usize) -> Vec<f32> {
    let rows = tables[0].1.len();
    for (table, ids) in tables {
        assert_eq!(ids.len(), rows, "ids");
        check(ids, table.len() / width.max(1));
    }
    timed(Kind::Embedding, 0, || {
        let fill = |y: &mut [MaybeUninit<f32>]| {
            for_row_blocks(y, width, |first, y| sum_rows(tables, width, first, y));
        };
        // SAFETY: blocks hold whole rows, and every row is written from the first table.
        unsafe { filled(rows * width, fill) }
    })
}

/// [`sum_forward`] and LayerNorm.
///
/// # Panics
/// As [`sum_forward`], and when gamma or beta are not `width` long.
pub fn sum_layer_norm(
    tables: &[(&[f32], &[u32])],
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
) -> LayerNormForward {
    let sum = sum_forward(tables, gamma.len());
    add_layer_norm(&sum, None, gamma, beta, eps, Dropout::OFF, false)
}
