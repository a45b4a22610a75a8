//! The order of rows: as in the files, or shuffled in constant memory. Blocks are permuted, then gathered into windows
//! of bounded size, and the rows of a window permuted (a file below the window's size is shuffled uniformly). The
//! order is a function of files, seed and epoch, so that a number of rows is enough to continue where one stopped.

use rand::RngCore;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// In which order rows are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As in the files.
    AsIs,
    /// Shuffled, each epoch differently.
    Shuffled {
        /// Of the run.
        seed: u64,
        /// How often all rows were given before.
        epoch: u64,
    },
}

/// Where a run stands in its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// How often all rows were given before.
    pub epoch: u64,
    /// How many rows of this epoch were given or passed over.
    pub row: u64,
}

/// Blocks that are shuffled together: `(file, block)`, and how many rows they have.
#[derive(Debug)]
pub(crate) struct Window {
    pub blocks: Vec<(usize, usize)>,
    pub rows: u64,
}

impl Order {
    /// The windows of an epoch; `blocks` are `(file, block, rows, bytes)` in the order of the files.
    pub(crate) fn windows(self, mut blocks: Vec<(usize, usize, u32, u64)>, limit: u64) -> Vec<Window> {
        if let Self::Shuffled { seed, epoch } = self {
            shuffle(&mut blocks, &mut random(seed, epoch, 0));
        }
        let mut windows: Vec<Window> = Vec::new();
        let mut size = u64::MAX;
        for (file, block, rows, bytes) in blocks {
            // in the files' order nothing is gained from several blocks at a time
            if size.saturating_add(bytes) > limit || self == Self::AsIs {
                windows.push(Window { blocks: Vec::new(), rows: 0 });
                size = 0;
            }
            size += bytes;
            if let Some(window) = windows.last_mut() {
                window.blocks.push((file, block));
                window.rows += u64::from(rows);
            }
        }
        windows
    }

    /// Brings the rows of window number `index` into order.
    pub(crate) fn arrange<T>(self, index: usize, rows: &mut [T]) {
        if let Self::Shuffled { seed, epoch } = self {
            shuffle(rows, &mut random(seed, epoch, index as u64 + 1));
        }
    }
}

fn random(seed: u64, epoch: u64, stream: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    random.set_stream(stream);
    random
}

/// Fisher and Yates, written out: the order must not change with a library's version.
fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for i in (1..items.len()).rev() {
        // of 64 random bits the high part of the product is uniform but for 2^-32 at most
        let j = ((u128::from(random.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        items.swap(i, j);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permutation_is_as_likely() {
        let mut counts = std::collections::HashMap::new();
        for epoch in 0..6000 {
            let mut items = [0, 1, 2];
            Order::Shuffled { seed: 3, epoch }.arrange(0, &mut items);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|&n: &i32| (850..1150).contains(&n)), "{counts:?}");
    }

    #[test]
    fn windows_are_bounded_and_hold_every_block() {
        let blocks: Vec<_> = (0..100).map(|b| (0, b, 10, 100)).collect();
        let windows = Order::Shuffled { seed: 1, epoch: 0 }.windows(blocks.clone(), 350);
        assert!(windows.iter().all(|w| w.blocks.len() <= 3 && w.rows == 10 * w.blocks.len() as u64));
        let mut all: Vec<_> = windows.iter().flat_map(|w| w.blocks.clone()).collect();
        assert_ne!(all[..10], (0..10).map(|b| (0, b)).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..100).map(|b| (0, b)).collect::<Vec<_>>());
        // a block larger than the window stands alone
        assert_eq!(Order::Shuffled { seed: 1, epoch: 0 }.windows(blocks, 1).len(), 100);
    }
}
