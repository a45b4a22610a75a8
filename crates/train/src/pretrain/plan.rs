//! From corpora to steps: text is gathered for many steps, its windows shuffled among them, corrupted by all threads
//! and packed, ahead of the step. What a window becomes depends on the seed, the pass over the corpora and the window
//! alone, never on the thread or the batch. Of objectives that have tasks beside the text, some places hold rows instead.

use std::sync::Arc;
use std::thread;

use ptm_text::corpus::{Mixture, Part};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::cutting::{Cut, Cutting, Window, sizes};
use super::recipe::{Micro, Stage};
use super::task::{Listed, Others, Pretraining, Turn, numbers};
use super::text_tasks::{Row, TextTasks};
use crate::error::{Error, Result};
use crate::feed::{Cursor, Feed, Place, Ready};
use crate::objectives::generator;

/// Windows are shuffled among so many steps; among more where these have fewer tokens than the first number and less
/// than half of the corpora, since a long document follows itself for many small steps; among fewer where they have more
/// than the second, but never less than a step.
const STRETCH: usize = 64;
const LEAST_TOKENS: usize = 1 << 20;
const MOST_TOKENS: usize = 1 << 23;
/// Tokens that are made ahead of the step at most, unless a step has more.
const AHEAD: usize = 1 << 20;

/// Where batches come from.
pub(crate) struct Plan<T> {
    pub task: Arc<T>,
    pub mixture: Mixture,
    /// The documents of the part, where they are few.
    pub listed: Arc<Listed>,
    pub part: Part,
    pub seed: u64,
    /// How much a step sees, with the length of each stage.
    pub stages: Vec<(Stage, usize)>,
    /// Threads that corrupt; 0 for as many as there are.
    pub workers: usize,
}

impl<T> Clone for Plan<T> {
    fn clone(&self) -> Self {
        let (task, mixture, stages) = (self.task.clone(), self.mixture.clone(), self.stages.clone());
        Self { task, mixture, stages, listed: self.listed.clone(), ..*self }
    }
}

/// How much a micro-batch holds.
fn is_full(micro: Micro, windows: usize, tokens: usize, next: usize) -> bool {
    match micro {
        Micro::Examples(size) => windows >= size,
        Micro::Tokens(budget) => windows > 0 && tokens + next > budget,
    }
}

/// What becomes an example.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// Text of the corpora.
    Text(Window),
    /// A row of a task beside it.
    Row(Row),
}

impl From<Window> for Item {
    fn from(window: Window) -> Self {
        Self::Text(window)
    }
}

impl Item {
    /// How many tokens of text it has.
    fn tokens(&self) -> usize {
        match self {
            Self::Text(window) => window.tokens(),
            Self::Row(row) => row.tokens,
        }
    }
}

/// Items in micro-batches.
pub(crate) fn micro_batches(items: impl IntoIterator<Item = Item>, micro: Micro) -> Vec<Vec<Item>> {
    let mut batches: Vec<Vec<Item>> = Vec::new();
    let mut tokens = 0;
    for item in items {
        let next = item.tokens();
        match batches.last_mut() {
            Some(batch) if !is_full(micro, batch.len(), tokens, next) => {
                batch.push(item);
                tokens += next;
            }
            _ => {
                batches.push(vec![item]);
                tokens = next;
            }
        }
    }
    batches
}

/// Of windows that are read in both directions one of each in turn, each in the order in which they come: half of a batch
/// reads backwards.
fn alternating(items: Vec<Item>) -> Vec<Item> {
    let count = items.len();
    let is_backwards = |item: &Item| matches!(item, Item::Text(window) if window.backwards);
    let (backwards, forwards): (Vec<Item>, Vec<Item>) = items.into_iter().partition(is_backwards);
    if backwards.is_empty() {
        return forwards;
    }
    let (mut forwards, mut backwards) = (forwards.into_iter(), backwards.into_iter());
    let mut next = |_| [forwards.next(), backwards.next()];
    (0..count).flat_map(&mut next).flatten().collect()
}

/// What one pass over the documents of a part gives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Windows that documents give alone.
    windows: usize,
    /// Windows that documents fill together, in the mean.
    shared: f64,
    /// Tokens of all of them.
    tokens: f64,
    /// Micro-batches by tokens that the windows fill, and what is left over.
    full: f64,
    left: usize,
}

impl Counted {
    /// All windows.
    pub fn windows(&self) -> f64 {
        self.windows as f64 + self.shared
    }
}

/// What one pass over the documents of `part` gives, and how micro-batches are filled with it.
///
/// # Errors
/// Those of reading the corpora, and [`Error::Stopped`] where `stop` says so.
pub(crate) fn count_all(
    mixture: &Mixture,
    part: Part,
    cut: Cut,
    micro: Micro,
    stop: &dyn Fn() -> bool,
) -> Result<Counted> {
    let mut all = Counted::default();
    for (corpus, _) in mixture.corpora() {
        for own in numbers(corpus, part, stop) {
            let (whole, of_one) = sizes(corpus, own?.0, cut)?;
            all.shared += of_one;
            all.windows += whole.len();
            all.tokens += whole.iter().sum::<usize>() as f64 + of_one * cut.longest() as f64;
            for tokens in whole {
                // as batches by tokens are filled
                if is_full(micro, usize::from(all.left > 0), all.left, tokens) {
                    (all.full, all.left) = (all.full + 1.0, 0);
                }
                all.left += tokens;
            }
        }
    }
    Ok(all)
}

/// Adds as many items from `next` to `batches` as the last step lacks: how many batches so many tokens make is not
/// known before.
fn fill(
    batches: &mut Vec<Vec<Item>>,
    budget: usize,
    accumulate: usize,
    longest: usize,
    next: &mut dyn FnMut() -> Result<Item>,
) -> Result<()> {
    let mut tokens: usize = batches.last().map_or(0, |batch| batch.iter().map(Item::tokens).sum());
    loop {
        // another might not fit, which cannot be given back
        let full = tokens + longest > budget;
        if full && batches.len().is_multiple_of(accumulate) {
            return Ok(());
        }
        if full || batches.is_empty() {
            batches.push(Vec::new());
            tokens = 0;
        }
        let item = next()?;
        tokens += item.tokens();
        if let Some(batch) = batches.last_mut() {
            batch.push(item);
        }
    }
}

/// In place of the number of a pass over corpora, which none has: the shuffle of a stretch, and which tasks it is of.
const SHUFFLE: u64 = u64::MAX;
const TASKS: u64 = u64::MAX - 1;

impl<T: Pretraining> Plan<T> {
    /// The stage of a step, and how documents are cut in it.
    pub(super) fn stage(&self, steps: u64) -> (Stage, Cut, usize) {
        let last = self.stages.len() - 1;
        let index = self.stages.iter().position(|(stage, _)| steps < stage.until).unwrap_or(last);
        let (stage, length) = self.stages[index];
        let stage = Stage { micro: self.task.micro(stage.micro, length), ..stage };
        (stage, self.task.cut(length), length)
    }

    /// Corrupts and packs by all threads, in the order of `batches`; those of which nothing can be learnt are left out.
    pub fn make(&self, batches: Vec<Vec<Item>>, seed: u64, turn: Turn) -> Result<Vec<T::Batch>> {
        let workers = match self.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        let items: Vec<Item> = batches.into_iter().flatten().collect();
        let share = items.len().div_ceil(workers).max(1);
        let (_, _, length) = self.stage(if let Turn::Step(step) = turn { step } else { u64::MAX });
        let others = Others { mixture: &self.mixture, part: self.part, listed: &self.listed, turn, length };
        let example = |item: &Item| {
            let window = match item {
                Item::Text(window) => window,
                Item::Row(row) => return Ok(self.task.tasks().and_then(|tasks| self.task.paired(tasks.pair(row)))),
            };
            let (corpus, epoch) = window.pass();
            // what is judged is corrupted the same whenever it is; corpora are few
            let pass = match turn {
                Turn::Judged(_) => u64::MAX - corpus as u64,
                Turn::Step(_) => (corpus as u64) << 48 | self.mixture.pass(epoch),
            };
            self.task.example(window, &others, &mut generator(seed, pass, window.number()))
        };
        let examples = thread::scope(|scope| {
            let make = |share: &[Item]| share.iter().map(example).collect::<Result<Vec<_>>>();
            let threads: Vec<_> = items.chunks(share).map(|share| scope.spawn(move || make(share))).collect();
            let mut examples = Vec::with_capacity(items.len());
            for thread in threads {
                examples.extend(thread.join().map_err(|_| Error::Input("a thread that corrupts ended".into()))??);
            }
            Ok::<_, Error>(examples)
        })?;
        let mut examples = examples.into_iter();
        let mut made = Vec::new();
        for size in sizes {
            let some: Vec<T::Example> = examples.by_ref().take(size).flatten().collect();
            if !some.is_empty() {
                made.push(self.task.batch(some)?);
            }
        }
        Ok(made)
    }

    /// The items of a stretch of steps, windows gathered from `cutting`, in the order in which they are given: a step a
    /// list.
    fn gather(&self, cutting: &mut Cutting, steps: u64) -> Result<Vec<Vec<Vec<Item>>>> {
        let (stage, cut, length) = self.stage(steps);
        let (step_items, step_tokens) = match stage.micro {
            Micro::Examples(size) => (size * stage.accumulate, size * stage.accumulate * length),
            Micro::Tokens(tokens) => (usize::MAX, tokens * stage.accumulate),
        };
        let left = usize::try_from(stage.until - steps).unwrap_or(usize::MAX);
        let half = self.mixture.corpora().iter().map(|(corpus, _)| corpus.tokens()).sum::<u64>() / 2;
        let steps_of = |tokens: usize| tokens / step_tokens.max(1);
        let least = steps_of(LEAST_TOKENS.min(usize::try_from(half).unwrap_or(usize::MAX))).max(STRETCH);
        let count = least.min(steps_of(MOST_TOKENS).max(1)).min(left);
        let enough = |items: usize, tokens: usize| match stage.micro {
            Micro::Examples(_) => items >= count * step_items,
            Micro::Tokens(_) => tokens >= count * step_tokens,
        };
        // of which task each place is follows from the step with which the stretch begins
        let mut random = generator(self.seed, TASKS, steps);
        let (mut items, mut tokens) = (Vec::new(), 0);
        while !enough(items.len(), tokens) {
            let item = self.draw(cutting, cut, &mut random)?;
            tokens += item.tokens();
            items.push(item);
        }
        let shuffle = &mut generator(self.seed, SHUFFLE, steps);
        items.shuffle(shuffle);
        let mut batches = micro_batches(alternating(items), stage.micro);
        if let Micro::Tokens(budget) = stage.micro {
            let longest = cut.longest().max(self.task.tasks().map_or(0, |tasks| tasks.longest));
            fill(&mut batches, budget, stage.accumulate, longest, &mut || self.draw(cutting, cut, &mut random))?;
            // what filled them is not for the last step alone
            batches.shuffle(shuffle);
        }
        let mut made: Vec<Vec<Vec<Item>>> = Vec::new();
        for batch in batches {
            match made.last_mut() {
                Some(step) if step.len() < stage.accumulate => step.push(batch),
                _ => made.push(vec![batch]),
            }
        }
        // batches by tokens may be more: a stage ends all the same after its steps
        made.truncate(left);
        let next = self.stage(stage.until).1;
        if steps + made.len() as u64 >= stage.until && next != cut {
            // what was cut in one way is not gone on with in another
            cutting.leave();
        }
        Ok(made)
    }

    /// The next item: a row of a task beside the text, or a window.
    fn draw(&self, cutting: &mut Cutting, cut: Cut, random: &mut ChaCha8Rng) -> Result<Item> {
        match self.task.tasks().and_then(|tasks| tasks.draw(random)) {
            Some(row) => Ok(Item::Row(row)),
            None => cutting.next(cut).map(Item::Text),
        }
    }

    /// Makes everything from `cursor` on; `give` gets the steps and says whether to go on.
    fn run(&self, cursor: &Cursor, give: &mut dyn FnMut(Ready<T::Batch>) -> bool) -> Result<()> {
        let mut cutting = Cutting::new(&self.mixture, self.part, self.seed, cursor.corpora.as_ref())?;
        let (mut done, mut skip) = (cursor.corpora.as_ref().map_or(0, |place| place.steps), cursor.step);
        loop {
            let place = |cutting: &Cutting, steps: u64| {
                let (draws, read) = cutting.place();
                Some(Place { draws, read, steps })
            };
            let (begun, before) = (place(&cutting, done), cutting.epochs(&self.mixture));
            let steps = self.gather(&mut cutting, done)?;
            let (count, after) = (steps.len() as u64, cutting.epochs(&self.mixture));
            for (number, step) in (1..).zip(steps).skip(skip as usize) {
                let next = if number < count {
                    Cursor { step: number, corpora: begun.clone(), ..Cursor::default() }
                } else {
                    Cursor { corpora: place(&cutting, done + count), ..Cursor::default() }
                };
                let micro = self.make(step, self.seed, Turn::Step(done + number - 1))?;
                if micro.is_empty() {
                    return Err(Error::Input(
                        "a step's text holds nothing to learn from: is it of another language?".into(),
                    ));
                }
                let epochs = before + (after - before) * number as f64 / count as f64;
                if !give(Ready { micro, next, epochs }) {
                    return Ok(());
                }
            }
            (done, skip) = (done + count, 0);
        }
    }

    /// Begins to make batches from `cursor` on.
    pub fn begin(&self, cursor: Cursor) -> Feed<T::Batch> {
        let plan = self.clone();
        let largest = self.stages.iter().map(|(stage, length)| match stage.micro {
            Micro::Examples(size) => size * stage.accumulate * length,
            Micro::Tokens(tokens) => tokens * stage.accumulate,
        });
        let ahead = (AHEAD / largest.max().unwrap_or(1).max(1)).clamp(1, 16);
        Feed::begin_ahead(ahead, move |give| plan.run(&cursor, give))
    }

    /// About the number of steps in which all documents of the part are seen once, as the last stage has it.
    ///
    /// # Errors
    /// Those of reading the corpora, and [`Error::Stopped`] where `stop` says so.
    pub fn steps_of_epoch(&self, stop: &dyn Fn() -> bool) -> Result<u64> {
        let (stage, cut, _) = self.stage(u64::MAX);
        let counted = count_all(&self.mixture, self.part, cut, stage.micro, stop)?;
        // rows take places beside the windows
        let (rows, of_row) = self.task.tasks().map_or((0.0, 0.0), TextTasks::beside);
        let windows = counted.windows();
        let micro = match stage.micro {
            Micro::Examples(size) => windows * (1.0 + rows) / size as f64,
            Micro::Tokens(budget) => {
                let last = counted.left as f64 / budget as f64;
                let text = counted.full + last + counted.shared / (budget / cut.longest()).max(1) as f64;
                // of rows, which are of all lengths, batches are filled but for little
                text + windows * rows * of_row / budget as f64
            }
        };
        Ok((micro / stage.accumulate as f64).ceil() as u64)
    }

    /// Windows of the part, at most `most` with about so many tokens, and until all corpora have come to their end, or one
    /// of them so often that its weight leaves the others too little: always the same, and nothing twice.
    ///
    /// # Errors
    /// Those of reading the corpora, and when the part holds nothing.
    pub fn sample(&self, most: usize, tokens: usize) -> Result<Vec<Window>> {
        const OFTEN: u64 = 64;
        let (_, cut, _) = self.stage(u64::MAX);
        let mut cutting = Cutting::new(&self.mixture, self.part, 0, None)?;
        let mut windows = Vec::new();
        let mut left = tokens;
        let mut passes = vec![0; self.mixture.corpora().len()];
        while windows.len() < most && left > 0 {
            let mut window = cutting.next(cut)?;
            window.pieces.retain(|piece| {
                passes[piece.drawn.corpus] = piece.drawn.epoch;
                piece.drawn.epoch == 0
            });
            left = left.saturating_sub(window.tokens());
            windows.extend((!window.pieces.is_empty()).then_some(window));
            if passes.iter().all(|&passes| passes > 0) || passes.iter().any(|&passes| passes >= OFTEN) {
                break;
            }
        }
        Ok(windows)
    }
}

#[cfg(test)]
mod tests {
    use ptm_models::{Configuration, EncoderConfig, XlnetConfig};
    use serde_json::json;

    use super::super::cutting::tests::sentences;
    use super::super::made::Made;
    use super::super::masked::{Hidden, MaskedTask};
    use super::super::permutation::PermutationTask;
    use super::super::sentence_pairs::SentencePairTask;
    use super::*;
    use crate::objectives::batches::SentencePairs;
    use crate::objectives::masked_lm::{Format, MaskedLm, MaskedLmConfig};
    use crate::objectives::next_sentence::{NextSentence, NextSentenceConfig, Otherwise, Unit};
    use crate::objectives::permutation::{PermutationConfig, PermutationLm};
    use crate::objectives::tests::vocabulary;

    fn plan<T: Pretraining>(task: T, mixture: &Mixture, micro: Micro, accumulate: usize, length: usize) -> Plan<T> {
        let stage = Stage { until: u64::MAX, length: Some(length), micro, accumulate };
        let listed = Arc::new(Listed::new(mixture));
        let (task, mixture) = (Arc::new(task), mixture.clone());
        Plan { task, mixture, listed, part: Part::All, seed: 3, stages: vec![(stage, length)], workers: 2 }
    }

    fn masked(format: Format) -> MaskedTask {
        let objective = MaskedLmConfig { format, ..MaskedLmConfig::default() };
        let objective = Hidden::Tokens(Box::new(MaskedLm::new(objective, &vocabulary()).unwrap()));
        let config = json!({"model_type": "bert", "vocab_size": 240, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "intermediate_size": 8, "max_position_embeddings": 64});
        let config = EncoderConfig::from_json(config.as_object().unwrap().clone()).unwrap();
        MaskedTask { objective, vocabulary: vocabulary(), made: Made::new(config) }
    }

    /// The steps of the first stretches.
    fn steps<T: Pretraining>(plan: &Plan<T>) -> Vec<Vec<Vec<Window>>> {
        let mut cutting = Cutting::new(&plan.mixture, plan.part, plan.seed, None).unwrap();
        let mut steps: Vec<Vec<Vec<Window>>> = Vec::new();
        let window = |item: Item| match item {
            Item::Text(window) => window,
            Item::Row(_) => panic!("there are no tasks beside the text"),
        };
        let windows = |batch: Vec<Item>| batch.into_iter().map(window).collect();
        for _ in 0..4 {
            let made = plan.gather(&mut cutting, steps.len() as u64).unwrap();
            steps.extend(made.into_iter().map(|step| step.into_iter().map(windows).collect()));
        }
        steps
    }

    fn tokens(batch: &[Window]) -> usize {
        batch.iter().map(Window::tokens).sum()
    }

    #[test]
    fn every_step_has_all_its_micro_batches_and_they_are_full() {
        let dir = tempfile::tempdir().unwrap();
        let mixture = Mixture::new(vec![(sentences(dir.path(), 300), 1.0)]).unwrap();
        for format in [Format::Stretches, Format::FullSentences, Format::DocSentences] {
            for accumulate in [1, 3, 5] {
                let plan = plan(masked(format), &mixture, Micro::Tokens(100), accumulate, 26);
                let steps = steps(&plan);
                assert!(steps.len() >= 4 * STRETCH);
                for step in steps {
                    assert_eq!(step.len(), accumulate, "{format:?}");
                    assert!(step.iter().all(|batch| (77..=100).contains(&tokens(batch))), "{format:?}");
                }
            }
        }
    }

    #[test]
    fn batches_of_short_documents_have_more_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let mixture = Mixture::new(vec![(sentences(dir.path(), 300), 1.0)]).unwrap();
        let sizes = |format: Format| -> Vec<usize> {
            let batches = steps(&plan(masked(format), &mixture, Micro::Examples(4), 2, 66)).concat();
            assert!(batches.iter().all(|batch| tokens(batch) <= 4 * 66), "{format:?}");
            batches.iter().map(Vec::len).collect()
        };
        assert!(sizes(Format::Stretches).iter().chain(&sizes(Format::FullSentences)).all(|&size| size == 4));
        let more = sizes(Format::DocSentences);
        assert!(more.iter().all(|&size| size >= 4) && more.iter().sum::<usize>() > 5 * more.len(), "{more:?}");
    }

    /// RoBERTa's SENTENCE-PAIR: two sentences are a few of a sequence's tokens, and a batch holds as many as with segments.
    #[test]
    fn batches_of_pairs_of_sentences_have_more_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let mixture = Mixture::new(vec![(sentences(dir.path(), 300), 1.0)]).unwrap();
        let task = || {
            let config = NextSentenceConfig { unit: Unit::Sentences, ..NextSentenceConfig::default() };
            let objective = NextSentence::new(config, Otherwise::Random, &vocabulary()).unwrap();
            SentencePairTask {
                objective,
                vocabulary: vocabulary(),
                made: Made::new(masked(Format::Stretches).made.config),
            }
        };
        let plan = plan(task(), &mixture, Micro::Examples(4), 2, 66);
        let batches = steps(&plan).concat();
        let most = 4 * 66;
        assert!(batches.iter().all(|batch| (most - 63..=most).contains(&tokens(batch))));
        assert!(batches.iter().map(Vec::len).sum::<usize>() > 4 * 4 * batches.len());
        // what they become has about so many tokens too, and no second sentence that was cut for being from elsewhere
        let some: Vec<Vec<Item>> =
            batches[..40].iter().map(|batch| batch.iter().cloned().map(Item::from).collect()).collect();
        let (windows, counted) = (some.concat().len() as f64, batches[..40].concat());
        let made = plan.make(some, 3, Turn::Step(0)).unwrap();
        let own = tokens(&counted) as f64 + 3.0 * windows;
        let all = made.iter().map(SentencePairs::tokens).sum::<usize>() as f64;
        assert!((all / own - 1.0).abs() < 0.15, "{all} tokens of {own}");
    }

    #[test]
    fn half_of_each_batch_reads_backwards() {
        let dir = tempfile::tempdir().unwrap();
        let mixture = Mixture::new(vec![(sentences(dir.path(), 300), 1.0)]).unwrap();
        let task = || {
            let objective = PermutationLm::new(PermutationConfig::default(), &vocabulary()).unwrap();
            let config = json!({"model_type": "xlnet", "vocab_size": 240, "d_model": 8, "n_layer": 1, "n_head": 1,
                "d_inner": 8});
            let config = XlnetConfig::from_json(config.as_object().unwrap().clone()).unwrap();
            PermutationTask { objective, made: Made::new(config) }
        };
        for micro in [Micro::Examples(6), Micro::Examples(5), Micro::Tokens(120)] {
            for batch in steps(&plan(task(), &mixture, micro, 1, 30)).concat() {
                let backwards = batch.iter().filter(|window| window.backwards).count();
                // by tokens a stretch of steps may end between the two directions of one text
                let most = if matches!(micro, Micro::Tokens(_)) { 2 } else { batch.len() % 2 };
                assert!((2 * backwards).abs_diff(batch.len()) <= most, "{backwards} of {}", batch.len());
            }
        }
    }
}
