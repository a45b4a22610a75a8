//! What a decoder keeps of the tokens it has read, so that the next one costs one row: each layer's keys and values of
//! the target, and of the source where there is one. Sequences name their rows; what beams have in common is there
//! once, and choosing among them copies row numbers alone. For inference.

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use ptm_ops::{Attention, Bias, Indices, KeyValues, attention, cached_attention};
use ptm_text::{Packed, PositionStyle};

use crate::body::Body;
use crate::error::{Error, Result};
use crate::layers::AttentionLayer;
use crate::pass::Pass;
use crate::rows::{Rows, Source, View};

/// Bodies that go on from what they have read, token by token.
pub trait Stepwise: Body {
    /// Reads the tokens of `batch`, which follow what `cache` holds of each sequence ([`Cache::batch`] packs them), and
    /// adds them to it; gives the wanted hidden states. No dropout, no gradients.
    ///
    /// # Errors
    /// When the batch doesn't fit the model or the cache; the cache stays as it was then.
    fn step(&self, batch: &Packed, cache: &mut Cache, rows: &Rows) -> Result<Tensor<2>>;
}

/// The keys and values of all layers.
#[derive(Clone, Debug)]
pub struct Cache {
    own: Vec<KeyValues>,
    /// Of the source, where there is one.
    source: Vec<KeyValues>,
    /// The rows of each sequence, the same in all layers.
    sequences: Vec<Vec<u32>>,
    /// The rows of each sequence's source.
    sources: Vec<Arc<[u32]>>,
}

impl Cache {
    /// Nothing read yet by `sequences` sequences, in `layers` layers of `width`.
    pub(crate) fn new(layers: usize, width: usize, sequences: usize) -> Self {
        Self {
            own: vec![KeyValues::new(width); layers],
            source: Vec::new(),
            sequences: vec![Vec::new(); sequences],
            sources: Vec::new(),
        }
    }

    /// The same for sources with these `offsets`, whose keys and values in each layer are `layers`.
    pub(crate) fn with_source(
        layers: impl ExactSizeIterator<Item = (Tensor<2>, Tensor<2>)>,
        width: usize,
        offsets: &[usize],
    ) -> Self {
        let mut cache = Self::new(layers.len(), width, offsets.len() - 1);
        for (keys, values) in layers {
            let mut store = KeyValues::new(width);
            store.append(keys, values);
            cache.source.push(store);
        }
        cache.sources = offsets.windows(2).map(|w| (w[0] as u32..w[1] as u32).collect()).collect();
        cache
    }

    /// How many sequences there are.
    pub fn sequences(&self) -> usize {
        self.sequences.len()
    }

    /// How many tokens of each sequence were read.
    pub fn lengths(&self) -> Vec<usize> {
        self.sequences.iter().map(Vec::len).collect()
    }

    /// How many tokens are held in all; those of several sequences count once.
    pub fn rows(&self) -> usize {
        self.own.first().map_or(0, KeyValues::rows)
    }

    /// Goes on with the sequences that `which` names, in that order; one may be named more than once, as when beams
    /// are chosen. Rows that no sequence names any more are given up when they are the greater part.
    ///
    /// # Panics
    /// When there is no such sequence.
    pub fn select(&mut self, which: &[usize]) {
        if which.len() == self.sequences.len() && which.iter().enumerate().all(|(i, &b)| i == b) {
            return;
        }
        self.sequences = which.iter().map(|&b| self.sequences[b].clone()).collect();
        self.give_up();
        if self.sources.is_empty() {
            return;
        }
        self.sources = which.iter().map(|&b| self.sources[b].clone()).collect();
        let held = self.source.first().map_or(0, KeyValues::rows);
        if let Some(kept) = mostly_unnamed(held, self.sources.iter().map(|rows| &**rows)) {
            self.source.iter_mut().for_each(|store| store.keep(&kept));
            for rows in &mut self.sources {
                *rows = rows.iter().map(|&row| place_in(&kept, row)).collect();
            }
        }
    }

    /// Adds the sequences of `other`, which the same model read, after its own: those that join a batch on its way.
    ///
    /// # Panics
    /// When it is of another model.
    pub fn absorb(&mut self, other: Self) {
        let (held, held_sources) = (self.rows() as u32, self.source.first().map_or(0, KeyValues::rows) as u32);
        let stores = |own: &mut Vec<KeyValues>, theirs: Vec<KeyValues>| {
            assert_eq!(own.len(), theirs.len(), "layers");
            own.iter_mut().zip(theirs).for_each(|(own, theirs)| own.absorb(theirs));
        };
        stores(&mut self.own, other.own);
        stores(&mut self.source, other.source);
        let moved = |rows: &[u32], by: u32| rows.iter().map(|row| row + by).collect::<Vec<u32>>();
        self.sequences.extend(other.sequences.iter().map(|rows| moved(rows, held)));
        self.sources.extend(other.sources.iter().map(|rows| Arc::from(moved(rows, held_sources))));
    }

    /// Gives up the rows that no sequence names any more, if they are the greater part: each is moved seldom.
    fn give_up(&mut self) {
        if let Some(kept) = mostly_unnamed(self.rows(), self.sequences.iter().map(Vec::as_slice)) {
            self.own.iter_mut().for_each(|store| store.keep(&kept));
            self.sequences.iter_mut().flatten().for_each(|row| *row = place_in(&kept, *row));
        }
    }

    /// Forgets the last `counts` tokens of each sequence. Rows that no sequence names any more are given up when they
    /// are the greater part.
    ///
    /// # Panics
    /// When there is not one count for each sequence.
    pub fn forget(&mut self, counts: &[usize]) {
        assert_eq!(counts.len(), self.sequences.len(), "a count for each sequence");
        for (rows, count) in self.sequences.iter_mut().zip(counts) {
            rows.truncate(rows.len().saturating_sub(*count));
        }
        self.give_up();
    }

    /// A batch of the `tokens` that follow in each sequence, at the positions that come next in `style`, which is the
    /// configuration's.
    ///
    /// # Errors
    /// When there are not as many sequences, or one has no token.
    pub fn batch<S: AsRef<[u32]>>(&self, tokens: &[S], style: PositionStyle) -> Result<Packed> {
        let mut batch = Packed::default();
        let first = if let PositionStyle::Offset(first) = style { first } else { 0 };
        self.check(tokens.len())?;
        for (tokens, read) in tokens.iter().zip(&self.sequences) {
            let style = PositionStyle::Offset(first + read.len() as u32);
            batch.push(tokens.as_ref(), None, style).map_err(|error| Error::Input(error.to_string()))?;
        }
        Ok(batch)
    }

    fn check(&self, given: usize) -> Result<()> {
        let held = self.sequences.len();
        if given == held {
            return Ok(());
        }
        Err(Error::Input(format!("{given} sequences go on where the cache holds {held}: give one each")))
    }

    /// Makes room for the rows of `batch`, which every layer then adds.
    pub(crate) fn step(&mut self, batch: &Packed) -> Result<Step<'_>> {
        self.check(batch.offsets.len() - 1)?;
        let begins = self.sequences.iter().all(Vec::is_empty);
        let held = self.rows() as u32;
        for (rows, w) in self.sequences.iter_mut().zip(batch.offsets.windows(2)) {
            rows.extend(held + w[0] as u32..held + w[1] as u32);
        }
        let own = joined(self.sequences.iter().map(Vec::as_slice));
        let source = joined(self.sources.iter().map(|rows| &**rows));
        Ok(Step { begins, own, source, cache: self })
    }
}

/// The rows of `held` that sequences name, if they are the lesser part.
fn mostly_unnamed<'a>(held: usize, sequences: impl Iterator<Item = &'a [u32]>) -> Option<Vec<u32>> {
    let mut named = vec![false; held];
    sequences.flatten().for_each(|&row| named[row as usize] = true);
    let count = named.iter().filter(|&&named| named).count();
    (2 * count < held).then(|| (0..held as u32).filter(|&row| named[row as usize]).collect())
}

/// Where `row` is among those that were kept.
fn place_in(kept: &[u32], row: u32) -> u32 {
    kept.partition_point(|&other| other < row) as u32
}

/// All rows one after the other, and where each sequence's begin and end.
fn joined<'a>(sequences: impl Iterator<Item = &'a [u32]>) -> (Indices, Arc<[usize]>) {
    let (mut rows, mut offsets) = (Vec::new(), vec![0]);
    for sequence in sequences {
        rows.extend_from_slice(sequence);
        offsets.push(rows.len());
    }
    (rows.into(), offsets.into())
}

/// One pass over the rows that a batch adds to a cache.
pub(crate) struct Step<'a> {
    cache: &'a mut Cache,
    /// Whether nothing was read before: the batch sees itself alone.
    begins: bool,
    own: (Indices, Arc<[usize]>),
    source: (Indices, Arc<[usize]>),
}

impl Step<'_> {
    /// The length of the longest sequence, with the batch.
    fn longest(&self) -> usize {
        self.cache.sequences.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Layer `layer`'s attention of the rows of `x` that `view` asks for to all that was read, `x` included, which it
    /// adds.
    fn attend(
        &mut self,
        layer: usize,
        through: &AttentionLayer,
        x: Tensor<2>,
        view: &View,
        bias: Option<Bias>,
        spec: Attention,
    ) -> Tensor<2> {
        let (keys, values) = through.keys_and_values(x.clone());
        let q = through.queries(view.queries(x));
        let store = &mut self.cache.own[layer];
        store.append(keys.clone(), values.clone());
        let context = if self.begins {
            attention(q, keys, values, bias, &spec)
        } else {
            let (rows, k_offsets) = &self.own;
            cached_attention(q, store, rows, bias, &Attention { k_offsets: k_offsets.clone(), ..spec })
        };
        through.out(context)
    }

    /// Layer `layer`'s attention of `x` to the sources.
    fn attend_source(&self, layer: usize, through: &AttentionLayer, x: Tensor<2>, spec: &Attention) -> Tensor<2> {
        let store = &self.cache.source[layer];
        through.out(cached_attention(through.queries(x), store, &self.source.0, None, spec))
    }
}

/// Which of a layer's two attentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Towards {
    /// To the target itself.
    Itself,
    /// To the source.
    Source,
}

/// What a stack of layers looks at beside the batch.
pub(crate) enum Beside<'a, 'b> {
    /// Nothing: an encoder, or a decoder alone.
    Nothing,
    /// A source's hidden states.
    Source(&'a Source<'a>),
    /// What was read before.
    Step(Step<'b>),
}

impl Beside<'_, '_> {
    pub fn is_step(&self) -> bool {
        matches!(self, Self::Step(_))
    }

    /// Whether there is a source to look at.
    pub fn has_source(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Source(_) => true,
            Self::Step(step) => !step.cache.source.is_empty(),
        }
    }

    /// One layer, `run(layer, x, bias, beside, pass)`, which a pass may compute again unless it is a step.
    pub fn layer<M: Module + 'static>(
        &mut self,
        layer: &M,
        x: Tensor<2>,
        bias: Option<Tensor<2>>,
        pass: &Pass,
        run: impl Fn(&M, Tensor<2>, Option<Tensor<2>>, &mut Beside<'_, '_>, &Pass) -> Tensor<2> + Send + 'static,
    ) -> Tensor<2> {
        let source = match self {
            Self::Step(_) => return run(layer, x, bias, self, pass),
            Self::Nothing => {
                return match bias {
                    None => {
                        pass.layer(layer, [x], move |layer, [x], pass| run(layer, x, None, &mut Beside::Nothing, pass))
                    }
                    Some(bias) => pass.layer(layer, [x, bias], move |layer, [x, bias], pass| {
                        run(layer, x, Some(bias), &mut Beside::Nothing, pass)
                    }),
                };
            }
            Self::Source(source) => source,
        };
        let (hidden, offsets) = (source.hidden.clone(), source.offsets.to_vec());
        match bias {
            None => pass.layer(layer, [x, hidden], move |layer, [x, hidden], pass| {
                run(layer, x, None, &mut Beside::Source(&Source { hidden, offsets: &offsets }), pass)
            }),
            Some(bias) => pass.layer(layer, [x, bias, hidden], move |layer, [x, bias, hidden], pass| {
                run(layer, x, Some(bias), &mut Beside::Source(&Source { hidden, offsets: &offsets }), pass)
            }),
        }
    }

    /// The longest sequence that a step sees.
    pub fn longest(&self) -> Option<usize> {
        if let Self::Step(step) = self { Some(step.longest()) } else { None }
    }

    /// Layer `layer`'s attention of the rows of `x` that `view` asks for, with `bias` if towards themselves; `spec` is
    /// that of a view.
    pub fn attend(
        &mut self,
        layer: usize,
        towards: Towards,
        through: &AttentionLayer,
        x: Tensor<2>,
        view: &View,
        bias: Option<Bias>,
        spec: &dyn Fn(&View) -> Attention,
    ) -> Tensor<2> {
        match (towards, self) {
            (Towards::Itself, Self::Step(step)) => step.attend(layer, through, x, view, bias, spec(view)),
            (Towards::Itself, _) => through.forward(view.queries(x.clone()), view.keys(x), bias, &spec(view)),
            (Towards::Source, Self::Step(step)) => {
                let spec = spec(&view.onto(&step.source.1));
                step.attend_source(layer, through, x, &spec)
            }
            (Towards::Source, Self::Source(source)) => {
                through.forward(x, source.hidden.clone(), None, &spec(&view.onto(source.offsets)))
            }
            (Towards::Source, Self::Nothing) => unreachable!("without a source nothing looks at one"),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn read(cache: &mut Cache, tokens: &[&[u32]]) {
        let batch = cache.batch(tokens, PositionStyle::Zero).unwrap();
        let rows = batch.ids.len();
        let values = Tensor::<2>::from_data(TensorData::new(vec![1.0_f32; rows * 2], [rows, 2]), &Device::flex());
        let step = cache.step(&batch).unwrap();
        step.cache.own.iter_mut().for_each(|store| store.append(values.clone(), values.clone()));
    }

    #[test]
    fn positions_go_on_where_they_ended() {
        let mut cache = Cache::new(1, 2, 2);
        read(&mut cache, &[&[5, 6, 7], &[8]]);
        assert_eq!(cache.lengths(), [3, 1]);
        let next = cache.batch(&[&[9_u32][..], &[4, 4]], PositionStyle::Offset(2)).unwrap();
        assert_eq!(next.positions, [5, 3, 4]);
        assert!(cache.batch(&[[1_u32]], PositionStyle::Zero).is_err());
    }

    #[test]
    fn chosen_beams_share_their_rows() {
        let mut cache = Cache::new(2, 2, 2);
        read(&mut cache, &[&[5, 6, 7], &[8]]);
        cache.select(&[0, 0, 1]);
        assert_eq!((cache.lengths(), cache.rows()), (vec![3, 3, 1], 4));
        read(&mut cache, &[&[1], &[2], &[3]]);
        assert_eq!((cache.lengths(), cache.rows()), (vec![4, 4, 2], 7));
        assert_eq!(cache.sequences, [vec![0, 1, 2, 4], vec![0, 1, 2, 5], vec![3, 6]]);
        // two of seven are left: the others are given up
        cache.select(&[2]);
        assert_eq!((cache.lengths(), cache.rows()), (vec![2], 2));
        assert_eq!(cache.sequences, [vec![0, 1]]);
    }

    #[test]
    fn sequences_join_and_forget() {
        let mut cache = Cache::new(1, 2, 1);
        read(&mut cache, &[&[5, 6, 7]]);
        let mut other = Cache::new(1, 2, 2);
        read(&mut other, &[&[8], &[9, 10]]);
        cache.absorb(other);
        assert_eq!((cache.lengths(), cache.rows()), (vec![3, 1, 2], 6));
        assert_eq!(cache.sequences, [vec![0, 1, 2], vec![3], vec![4, 5]]);
        cache.forget(&[2, 0, 1]);
        assert_eq!(cache.sequences, [vec![0], vec![3], vec![4]]);
        let next = cache.batch(&[[1_u32], [2], [3]], PositionStyle::Zero).unwrap();
        assert_eq!(next.positions, [1, 1, 1]);
    }

    /// As when most guesses are wrong: what is held is bounded by what is remembered.
    #[test]
    fn what_is_forgotten_is_given_up() {
        let mut cache = Cache::new(2, 2, 2);
        for step in 1..100 {
            read(&mut cache, &[&[5, 6, 7, 8, 9], &[5, 6, 7]]);
            cache.forget(&[4, 2]);
            assert_eq!(cache.lengths(), [step, step]);
            assert!(cache.rows() <= 4 * step, "{} rows for {step} tokens in each of two", cache.rows());
        }
        // each sequence still names its own rows, in order
        let rows = cache.sequences.iter().flatten();
        assert!(rows.clone().all(|&row| (row as usize) < cache.rows()));
        assert_eq!(rows.collect::<std::collections::BTreeSet<_>>().len(), 198);
        assert!(cache.sequences.iter().all(|rows| rows.is_sorted()));
        cache.forget(&[99, 200]);
        assert_eq!((cache.lengths(), cache.rows()), (vec![0, 0], 0));
        read(&mut cache, &[&[5], &[6]]);
        assert_eq!(cache.sequences, [vec![0], vec![1]]);
    }
}
