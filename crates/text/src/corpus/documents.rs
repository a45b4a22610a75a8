//! Documents of a corpus one after the other: as they are stored, or shuffled. Shuffling is global yet sequential on
//! disk, as in `dataset/order.rs`: blocks of neighbours are permuted, then gathered into windows, and the documents of
//! a window permuted. A corpus smaller than a window is shuffled uniformly.

use super::{Corpus, Document, Error, Order, Part};
use crate::dataset::Window;

/// About the bytes of ids in a block and in a window.
const BLOCK: u64 = 256 << 10;
const WINDOW: u64 = 64 << 20;

/// Documents in an order. After an error nothing follows.
#[derive(Debug)]
pub struct Documents {
    corpus: Corpus,
    part: Part,
    order: Order,
    windows: std::vec::IntoIter<Window>,
    /// The number of the next window.
    window: usize,
    /// Documents of the next window that are passed over.
    skip: usize,
    numbers: std::vec::IntoIter<u64>,
    position: u64,
}

impl Documents {
    pub(super) fn new(corpus: Corpus, part: Part, order: Order, from: u64) -> Self {
        let mut blocks = Vec::new();
        for (index, shard) in corpus.inner.shards.iter().enumerate() {
            let documents = shard.documents();
            let step = documents_of_a_block(documents, shard.offset(documents));
            for block in 0..documents.div_ceil(step) {
                let (first, last) = (block * step, ((block + 1) * step).min(documents));
                let bytes = shard.offset(last).saturating_sub(shard.offset(first));
                blocks.push((index, block, (last - first) as u32, bytes));
            }
        }
        let mut windows = order.windows(blocks, WINDOW);
        let (mut first, mut skip) = (0, from);
        while first < windows.len() && windows[first].rows <= skip {
            skip -= windows[first].rows;
            first += 1;
        }
        windows.drain(..first);
        let position = from.min(corpus.len());
        let windows = windows.into_iter();
        Self {
            corpus,
            part,
            order,
            windows,
            window: first,
            skip: skip as usize,
            numbers: Vec::new().into_iter(),
            position,
        }
    }

    /// Documents that were given or passed over: `from` for whoever continues here.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn load(&mut self, window: &Window) {
        let inner = &self.corpus.inner;
        let mut numbers = Vec::new();
        for &(index, block) in &window.blocks {
            let shard = &inner.shards[index];
            let documents = shard.documents();
            let step = documents_of_a_block(documents, shard.offset(documents));
            let (first, last) = (block * step, ((block + 1) * step).min(documents));
            numbers.extend((first..last).map(|at| inner.firsts[index] + at as u64));
        }
        self.order.arrange(self.window, &mut numbers);
        self.window += 1;
        numbers.drain(..self.skip);
        self.skip = 0;
        self.numbers = numbers.into_iter();
    }
}

/// Found without looking at each document: blocks have as many documents as fit on the average.
fn documents_of_a_block(documents: usize, bytes: u64) -> usize {
    (documents as u64 * BLOCK).checked_div(bytes).unwrap_or(1).clamp(1, 1 << 16) as usize
}

impl Iterator for Documents {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(number) = self.numbers.next() else {
                let window = self.windows.next()?;
                self.load(&window);
                continue;
            };
            self.position += 1;
            let found = self.corpus.hash(number).and_then(|hash| {
                let wanted = self.part.holds(hash);
                wanted.then(|| self.corpus.document(number)).transpose()
            });
            match found {
                Ok(None) => {}
                Ok(Some(document)) => return Some(Ok(document)),
                Err(error) => {
                    self.windows = Vec::new().into_iter();
                    self.numbers = Vec::new().into_iter();
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Split;
    use super::super::writer::tests::corpus;
    use super::*;

    fn numbers(documents: Documents) -> Vec<u64> {
        documents.map(|document| document.unwrap().number).collect()
    }

    #[test]
    fn each_document_once_and_resumed_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let corpus = corpus(dir.path(), 300, 50, 400);
        assert_eq!(numbers(corpus.documents(Part::All, Order::AsIs, 0)), (0..300).collect::<Vec<_>>());
        let order = |epoch| Order::Shuffled { seed: 5, epoch };
        let shuffled = numbers(corpus.documents(Part::All, order(0), 0));
        assert_ne!(shuffled, numbers(corpus.documents(Part::All, order(1), 0)));
        let mut sorted = shuffled.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..300).collect::<Vec<_>>());
        // neighbours come from everywhere
        let near = shuffled.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 10).count();
        assert!(near < 60, "{near}");
        for from in [0, 1, 150, 299, 300, 1000] {
            let rest = &shuffled[(from as usize).min(300)..];
            assert_eq!(numbers(corpus.documents(Part::All, order(0), from)), rest, "from {from}");
        }
        let split = Split::new(0.3, 0).unwrap();
        let part = |part| numbers(corpus.documents(part, order(0), 0));
        let (training, validation) = (part(Part::Training(split)), part(Part::Validation(split)));
        assert!((60..120).contains(&validation.len()), "{}", validation.len());
        assert_eq!(training.len() + validation.len(), 300);
        assert!(training.iter().all(|n| !validation.contains(n)));
        let mut begun = corpus.documents(Part::Validation(split), order(0), 0);
        let first: Vec<u64> = begun.by_ref().take(20).map(|document| document.unwrap().number).collect();
        let rest = numbers(corpus.documents(Part::Validation(split), order(0), begun.position()));
        assert_eq!([first, rest].concat(), validation);
    }

    #[test]
    fn blocks_hold_what_fits() {
        assert_eq!(documents_of_a_block(1000, 1000 * 1024), 256);
        assert_eq!(documents_of_a_block(10, 10 << 20), 1);
        assert_eq!(documents_of_a_block(1 << 20, 2 << 20), 1 << 16);
        assert_eq!(documents_of_a_block(0, 0), 1);
    }
}
