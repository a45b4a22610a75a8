//! What a family does with a stretch of text: how documents are cut for it, what a stretch becomes, and the loss of a
//! model on it. The loop, the feed and the judging are the same for all.

use std::path::Path;
use std::sync::OnceLock;

use burn::module::Module;
use burn::prelude::*;
use ptm_models::Pass;
use ptm_models::names::Names;
use ptm_text::corpus::{Corpus, Document, Mixture, Part};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::beforehand::Needs;
use super::cutting::{Cut, Window};
use super::recipe::Micro;
use super::text_tasks::TextTasks;
use crate::error::{Error, Result};
use crate::objectives::denoised::Denoised;

/// What is learnt from text.
pub(crate) trait Pretraining: Send + Sync + 'static {
    /// What learns.
    type Model: Module;
    /// What a window of text becomes.
    type Example: Send;
    /// Examples that go through the model together.
    type Batch: Send + 'static;

    /// The names of the loss's parts; the whole is their sum.
    fn parts(&self) -> &[&'static str] {
        &["loss"]
    }

    /// The fewest tokens that an example can have: what frames a text, and two of it.
    fn shortest(&self) -> usize {
        2
    }

    /// How documents are cut for examples of so many tokens.
    fn cut(&self, length: usize) -> Cut;

    /// How much a micro-batch holds of examples of at most so many tokens, where a recipe says `micro`.
    fn micro(&self, micro: Micro, _length: usize) -> Micro {
        micro
    }

    /// How many passes over a corpus differ: then the same examples come again. 0: each pass makes others.
    fn patterns(&self) -> u64 {
        0
    }

    /// How often held-out text is judged, each time for something else.
    fn rounds(&self) -> u64 {
        1
    }

    /// What documents have to be for every class of examples to come.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// A number that differs for other text that is learnt from beside the corpora: lexicons, rows of tasks.
    fn fingerprint(&self) -> u64 {
        0
    }

    /// The example that a window becomes; none where it holds nothing to learn.
    ///
    /// # Errors
    /// When the vocabulary lacks tokens for it, or another document cannot be read.
    fn example(&self, window: &Window, others: &Others<'_>, random: &mut ChaCha8Rng) -> Result<Option<Self::Example>>;

    /// The tasks whose rows take places beside the text, where there are any.
    fn tasks(&self) -> Option<&TextTasks> {
        None
    }

    /// The example that a row of them is.
    fn paired(&self, _pair: &Denoised) -> Option<Self::Example> {
        None
    }

    /// Packs examples.
    ///
    /// # Errors
    /// When there is none, or one is empty.
    fn batch(&self, examples: Vec<Self::Example>) -> Result<Self::Batch>;

    /// The number of tokens that are computed.
    fn tokens(&self, batch: &Self::Batch) -> usize;

    /// How many targets each part of the loss has.
    fn weights(&self, batch: &Self::Batch) -> Vec<f64>;

    /// The tokens that the first part of the loss predicts: what a baseline has to foretell.
    fn targets<'a>(&self, batch: &'a Self::Batch) -> &'a [u32];

    /// For each part its scale times the sum of the losses.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    fn losses(&self, model: &Self::Model, batch: &Self::Batch, scales: &[f32], pass: &Pass) -> Result<Vec<Tensor<1>>>;

    /// What of a batch is foretold.
    ///
    /// # Errors
    /// When the batch doesn't fit the model.
    fn answers(&self, model: &Self::Model, batch: &Self::Batch) -> Result<Answers>;

    /// A model with fresh weights.
    ///
    /// # Errors
    /// When its configuration cannot work.
    fn random(&self, seed: u64) -> Result<Self::Model>;

    /// The model of a directory; what its files lack of the head is drawn with the seed where one is given.
    ///
    /// # Errors
    /// When it cannot be read.
    fn open(&self, dir: &Path, new_head: Option<u64>) -> Result<Self::Model>;

    /// How files spell the model's parameters.
    fn names(&self, model: &Self::Model) -> Names;

    /// Writes configuration and weights.
    ///
    /// # Errors
    /// When a file can't be written.
    fn save(&self, model: &Self::Model, dir: &Path) -> Result<()>;
}

/// What a model makes of a batch whose targets it doesn't learn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answers {
    /// For each part the sum of its losses.
    pub losses: Vec<f64>,
    /// For each part how many targets are what the model thinks likeliest.
    pub right: Vec<u64>,
}

impl Answers {
    /// Of a loss with one part.
    pub fn one((loss, right): (f64, u64)) -> Self {
        Self { losses: vec![loss], right: vec![right] }
    }
}

/// What an example is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// To learn from in this step, counted from 0.
    Step(u64),
    /// To judge by, in this round of [`Pretraining::rounds`]: it is the same whenever it is made.
    Judged(u64),
}

/// What is beside the window in hand: other documents, and what it is for.
pub(crate) struct Others<'a> {
    pub mixture: &'a Mixture,
    pub part: Part,
    /// Those of the part, where they are few.
    pub listed: &'a Listed,
    pub turn: Turn,
    /// The most tokens of an example.
    pub length: usize,
}

/// For each corpus of a mixture the documents of one part of it, listed when they are first needed.
#[derive(Debug)]
pub(crate) struct Listed(Vec<OnceLock<Vec<u64>>>);

impl Listed {
    /// Of a part that has not been looked at.
    pub fn new(mixture: &Mixture) -> Self {
        Self(mixture.corpora().iter().map(|_| OnceLock::new()).collect())
    }

    fn of(&self, index: usize, corpus: &Corpus, part: Part) -> Result<&[u64]> {
        if let Some(known) = self.0[index].get() {
            return Ok(known);
        }
        let all = numbers(corpus, part, &|| false).map(|own| Ok(own?.0)).collect::<Result<Vec<u64>>>()?;
        Ok(self.0[index].get_or_init(|| all))
    }
}

/// The documents of a part of a corpus by number, each with its hash; [`Error::Stopped`] where `stop` says so, which is asked
/// now and then.
pub(crate) fn numbers<'a>(
    corpus: &'a Corpus,
    part: Part,
    stop: &'a dyn Fn() -> bool,
) -> impl Iterator<Item = Result<(u64, u64)>> + 'a {
    const LOOK: u64 = 1 << 12;
    let own = move |number: u64| {
        if number.is_multiple_of(LOOK) && stop() {
            return Some(Err(Error::Stopped));
        }
        match corpus.hash(number) {
            Ok(hash) => part.holds(hash).then_some(Ok((number, hash))),
            Err(error) => Some(Err(error.into())),
        }
    };
    (0..corpus.len()).filter_map(own)
}

impl Others<'_> {
    /// A random document of the same corpus and part, each as likely, that is not the one that `window` is of, nor another
    /// part or a copy of it; none where there is no other.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn draw(&self, window: &Window, random: &mut ChaCha8Rng) -> Result<Option<Document>> {
        self.drawn(window, random, &|corpus, random| Ok(random.random_range(0..corpus.len())))
    }

    /// The same, but each as likely as it has tokens: so that all tokens are as likely.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn draw_by_tokens(&self, window: &Window, random: &mut ChaCha8Rng) -> Result<Option<Document>> {
        self.drawn(window, random, &|corpus, random| Ok(corpus.holder(random.random_range(0..corpus.tokens()))?))
    }

    /// The first of those that `pick` gives that is another one; of the few of a small part any.
    fn drawn(
        &self,
        window: &Window,
        random: &mut ChaCha8Rng,
        pick: &dyn Fn(&Corpus, &mut ChaCha8Rng) -> Result<u64>,
    ) -> Result<Option<Document>> {
        // of a tenth of a corpus all of them miss once in a thousand times; the list of a smaller part is short
        const TRIES: usize = 64;
        let drawn = &window.pieces[0].drawn;
        let (corpus, _) = &self.mixture.corpora()[drawn.corpus];
        let own = corpus.hash(drawn.document.number)?;
        for _ in 0..TRIES {
            let number = pick(corpus, random)?;
            let hash = corpus.hash(number)?;
            if hash != own && self.part.holds(hash) {
                return Ok(Some(corpus.document(number)?));
            }
        }
        let listed = self.listed.of(drawn.corpus, corpus, self.part)?;
        if listed.is_empty() {
            return Ok(None);
        }
        for _ in 0..TRIES {
            let number = listed[random.random_range(0..listed.len())];
            if corpus.hash(number)? != own {
                return Ok(Some(corpus.document(number)?));
            }
        }
        // nearly all are parts of this one: the next that isn't
        let (before, behind) = listed.split_at(random.random_range(0..listed.len()));
        for &number in behind.iter().chain(before) {
            if corpus.hash(number)? != own {
                return Ok(Some(corpus.document(number)?));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use ptm_text::corpus::{Split, TokenizedBy, Writer};

    use super::super::cutting::Cutting;
    use super::*;
    use crate::objectives::next_sentence::{FRAME, NextSentence, NextSentenceConfig, Otherwise};
    use crate::objectives::tests::vocabulary;
    use crate::objectives::{Text, generator};

    fn corpus(dir: &Path, documents: u64, hash: impl Fn(u64) -> u64) -> Mixture {
        let by = TokenizedBy { class: None, size: 140, fingerprint: "f".into() };
        let mut writer = Writer::create(dir, by).unwrap();
        for number in 0..documents {
            let ids = (0..8).map(|i| 10 + ((number + i) % 130) as u32).collect();
            writer.add(&Document { number, ids, sentences: vec![0, 4], spans: Vec::new() }, hash(number), 1).unwrap();
        }
        Mixture::new(vec![(writer.finish().unwrap(), 1.0)]).unwrap()
    }

    #[test]
    fn half_of_the_pairs_are_negatives_however_little_is_held_out() {
        let dir = tempfile::tempdir().unwrap();
        let mixture = corpus(dir.path(), 20_000, |number| number);
        let part = Part::Validation(Split::new(0.0005, 0).unwrap());
        let held: Vec<u64> = (0..20_000).filter(|&number| part.holds(number)).collect();
        assert!((4..20).contains(&held.len()), "{held:?}");
        let listed = Listed::new(&mixture);
        let others = Others { mixture: &mixture, part, listed: &listed, turn: Turn::Judged(0), length: 11 };
        let objective = NextSentence::new(NextSentenceConfig::default(), Otherwise::Random, &vocabulary()).unwrap();
        let mut cutting = Cutting::new(&mixture, part, 1, None).unwrap();
        let (mut negatives, mut drawn, pairs) = (0, vec![0; held.len()], 20_000);
        for number in 0..pairs {
            let window = cutting.next(Cut::Within { length: 8, both: false }).unwrap();
            let mut random = generator(1, 2, number);
            let other = others.draw(&window, &mut random).unwrap().unwrap();
            let own = window.pieces[0].drawn.document.number;
            assert!(other.number != own);
            drawn[held.iter().position(|&number| number == other.number).unwrap()] += 1_u64;
            let (ids, sentences) = window.stretch();
            let other = Text { ids: &other.ids, sentences: &other.sentences };
            let text = Text { ids, sentences: &sentences };
            let made = objective.corrupt(&text, Some(&other), ids.len() + FRAME, &mut random).unwrap();
            negatives += made.label;
        }
        let squares = 4.0 * (f64::from(negatives) - pairs as f64 / 2.0).powi(2) / pairs as f64;
        assert!(squares < 10.8, "{negatives} of {pairs}");
        // each document is another one of all others as often
        let expected = pairs as f64 / held.len() as f64;
        let squares: f64 = drawn.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
        // up to 18 degrees of freedom
        assert!(squares < 42.3, "{drawn:?}");
    }

    #[test]
    fn parts_of_one_document_are_no_other_document() {
        let dir = tempfile::tempdir().unwrap();
        // 0 to 997 are parts of one
        let mixture = corpus(dir.path(), 1000, |number| number.max(997));
        let (listed, part) = (Listed::new(&mixture), Part::All);
        let others = Others { mixture: &mixture, part, listed: &listed, turn: Turn::Judged(0), length: 11 };
        let mut cutting = Cutting::new(&mixture, part, 1, None).unwrap();
        for number in 0..300 {
            let window = cutting.next(Cut::Within { length: 8, both: false }).unwrap();
            let own = window.pieces[0].drawn.document.number;
            let other = others.draw(&window, &mut generator(1, 2, number)).unwrap().unwrap().number;
            assert!(own.max(997) != other.max(997), "{own} and {other}");
        }
        let alone = tempfile::tempdir().unwrap();
        let mixture = corpus(alone.path(), 20, |_| 7);
        let listed = Listed::new(&mixture);
        let others = Others { mixture: &mixture, part, listed: &listed, turn: Turn::Judged(0), length: 11 };
        let window =
            Cutting::new(&mixture, part, 1, None).unwrap().next(Cut::Within { length: 8, both: false }).unwrap();
        assert!(others.draw(&window, &mut generator(1, 2, 3)).unwrap().is_none());
    }
}
