//! What can be said before the first step: whether tokenizer, corpora and batches are what a run needs, which classes of
//! examples the corpora cannot give, and which parts of a loss would have nothing to learn or to be judged by.

use std::path::Path;

use ptm_text::Tokenizer;
use ptm_text::corpus::{Corpus, Mixture, Order, Part};

use super::plan::{Item, Plan};
use super::recipe::{Micro, Stage};
use super::task::{Pretraining, Turn, numbers};
use crate::error::{Error, Result};
use crate::training::Watch;

/// What documents have to be for every class of examples to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Whether there has to be another one, which is no copy: [`super::task::Others::draw`].
    pub other: bool,
    /// How many sentences one has to have at least.
    pub sentences: usize,
}

impl Needs {
    /// What the documents of `part` of a corpus lack of it; of a part without documents nothing.
    ///
    /// # Errors
    /// When one cannot be read, and [`Error::Stopped`] where `stop` says so.
    fn lacks(self, corpus: &Corpus, part: Part, stop: &dyn Fn() -> bool) -> Result<Option<String>> {
        let (mut first, mut other, mut sentences) = (None, !self.other, self.sentences < 2);
        let mut documents = numbers(corpus, part, stop);
        while !(other && sentences)
            && let Some(own) = documents.next()
        {
            let (number, hash) = own?;
            other |= *first.get_or_insert(hash) != hash;
            sentences = sentences || self.has_sentences(corpus, number)?;
        }
        Ok(match (first, other, sentences) {
            (None, ..) | (_, true, true) => None,
            (_, false, _) => Some("hold no two different documents, of which pairs are made".into()),
            _ => Some(format!("have fewer than {} sentences each, of which examples are made", self.sentences)),
        })
    }

    fn has_sentences(self, corpus: &Corpus, number: u64) -> Result<bool> {
        Ok(corpus.document(number)?.sentences.len() >= self.sentences)
    }

    /// About the share of a corpus's documents that have as many sentences.
    ///
    /// # Errors
    /// When one cannot be read.
    fn share(self, corpus: &Corpus) -> Result<f64> {
        const LOOKED_AT: u64 = 1000;
        let (all, count) = (corpus.len(), corpus.len().min(LOOKED_AT));
        if self.sentences < 2 || count == 0 {
            return Ok(1.0);
        }
        let mut enough = 0;
        for number in 0..count {
            // evenly from all of it
            let number = (u128::from(number) * u128::from(all) / u128::from(count)) as u64;
            enough += u64::from(self.has_sentences(corpus, number)?);
        }
        Ok(enough as f64 / count as f64)
    }
}

/// Whether examples of every class can be made of a corpus at least; says of which they can't, and where only few documents
/// give them.
pub(super) fn all_classes_come(mixture: &Mixture, part: Part, needs: Needs, watch: &mut dyn Watch) -> Result<()> {
    const FEW: f64 = 0.2;
    let mut problems = Vec::new();
    for (corpus, _) in mixture.corpora() {
        let place = corpus.dir().display();
        if let Some(problem) = needs.lacks(corpus, part, &|| watch.stop())? {
            problems.push(format!("the documents of {place} that are learnt from {problem}"));
            continue;
        }
        let share = needs.share(corpus)?;
        if share < FEW {
            let (sentences, percent) = (needs.sentences, 100.0 * share);
            watch.note(&format!(
                "{place}: {percent:.0} % of its documents have the {sentences} sentences of every class"
            ));
        }
    }
    if problems.len() < mixture.corpora().len() {
        problems.iter().for_each(|problem| watch.note(&format!("{problem}: not every class comes from there")));
        return Ok(());
    }
    let problem = problems.join("; ");
    Err(Error::recipe("corpus.packed", format!("{problem}: pack other text, a document a text")))
}

/// Whether `tokenizer` says of ids what that of the model in `from` says, if it has one.
///
/// # Errors
/// When an id is of another token: a row of the embeddings would stand for something else.
pub(super) fn are_alike(tokenizer: &Tokenizer, from: &Path) -> Result<()> {
    let Ok(own) = Tokenizer::from_dir(from) else { return Ok(()) };
    // rows that one of them leaves free may become something
    let differs = |id: &u32| matches!((own.token(*id), tokenizer.token(*id)), (Some(own), Some(new)) if own != new);
    let Some(id) = (0..=own.max_id().min(tokenizer.max_id())).find(differs) else { return Ok(()) };
    let [was, is] = [&own, tokenizer].map(|one| one.token(id).unwrap_or_default());
    let problem = format!("the id {id} is {is:?} in it and {was:?} in the tokenizer of model.from");
    Err(Error::recipe("model.tokenizer", format!("{problem}: leave it out, a model goes on with its own")))
}

/// The corpora that have a document in `part`, small ones may hold none out; none where none has one.
pub(super) fn held_out(mixture: &Mixture, part: Part) -> Result<Option<Mixture>> {
    let mut corpora = Vec::new();
    for (corpus, weight) in mixture.corpora() {
        if corpus.documents(part, Order::AsIs, 0).next().transpose()?.is_some() {
            corpora.push((corpus.clone(), *weight));
        }
    }
    Ok(if corpora.is_empty() { None } else { Some(Mixture::new(corpora)?) })
}

/// Whether the tokens of a step, all of which are made before it, are so few that memory holds them. The largest batch of
/// the papers here has 17 million (LAMB's).
pub(super) fn may_be_held(stage: Stage, length: usize) -> Result<()> {
    const MOST: usize = 1 << 27;
    let micro = match stage.micro {
        Micro::Examples(examples) => examples.saturating_mul(length),
        Micro::Tokens(tokens) => tokens,
    };
    let tokens = micro.saturating_mul(stage.accumulate);
    if tokens <= MOST {
        return Ok(());
    }
    let problem = format!("a step would have {tokens} tokens, more than the {MOST} that are made ahead of one");
    Err(Error::recipe("batch", format!("{problem}: lower size, tokens or accumulate")))
}

/// Whether a micro-batch by tokens has room for so many.
pub(super) fn holds(micro: Micro, of_what: &str, needed: usize) -> Result<()> {
    match micro {
        Micro::Tokens(tokens) if tokens < needed => {
            let problem = format!("{tokens} tokens are fewer than the {needed} {of_what}");
            Err(Error::recipe("batch.tokens", format!("{problem}: give more, or shorter examples")))
        }
        _ => Ok(()),
    }
}

/// Compares what is to be read with its checksums: a run takes hours, and a token that another has become in a file shows
/// in no loss. Someone who stops the run meanwhile stops this too.
pub(super) fn intact(mixture: &Mixture, watch: &mut dyn Watch) -> Result<()> {
    const LONG: u64 = 4 << 30;
    for (corpus, _) in mixture.corpora() {
        let bytes = corpus.shards().1;
        if bytes >= LONG {
            let (place, size) = (corpus.dir().display(), bytes >> 30);
            watch.note(&format!("{place}: its {size} GiB are compared with their checksums"));
        }
        corpus.verify(&mut |_| !watch.stop())?;
    }
    Ok(())
}

impl<T: Pretraining> Plan<T> {
    /// Whether every part of the loss has something to be judged by among at most `most` windows of the part; says which
    /// classes don't come.
    ///
    /// # Errors
    /// When one has nothing, and those of [`Self::sample`].
    pub fn can_judge(&self, most: usize, watch: &mut dyn Watch) -> Result<()> {
        for (corpus, _) in self.mixture.corpora() {
            if let Some(problem) = self.task.needs().lacks(corpus, self.part, &|| watch.stop())? {
                let place = corpus.dir().display();
                watch.note(&format!("{place}: the documents that are held out {problem}: not every class is judged"));
            }
        }
        let nothing = self.gives_nothing_for(most)?;
        if nothing.is_empty() {
            return Ok(());
        }
        let problem = format!("the documents that are held out give nothing to judge {} by", nothing.join(" and "));
        Err(Error::recipe("corpus.validation", format!("{problem}: hold out more, or 0 to judge nothing")))
    }

    /// Whether every part of the loss has something to learn from in the first thousand windows.
    ///
    /// # Errors
    /// When one has nothing, and those of [`Self::sample`].
    pub fn can_learn(&self) -> Result<()> {
        const LOOKED_AT: usize = 1000;
        let nothing = self.gives_nothing_for(LOOKED_AT)?;
        if nothing.is_empty() {
            return Ok(());
        }
        let problem = format!("the first {LOOKED_AT} examples give nothing to learn {} from", nothing.join(" and "));
        let way = "is the text of another language? Pack other text, or make batch.length shorter";
        Err(Error::recipe("corpus.packed", format!("{problem}: {way}")))
    }

    /// The parts of the loss for which the first windows, at most `most`, give nothing.
    fn gives_nothing_for(&self, most: usize) -> Result<Vec<&str>> {
        // nearly always these are enough
        const FIRST: usize = 64;
        let nothing = self.nothing_among(most.min(FIRST))?;
        if nothing.is_empty() || most <= FIRST { Ok(nothing) } else { self.nothing_among(most) }
    }

    fn nothing_among(&self, most: usize) -> Result<Vec<&str>> {
        const TOKENS_AT_ONCE: usize = 1 << 13;
        let windows = self.sample(most, usize::MAX)?;
        let (parts, rounds) = (self.task.parts(), self.task.rounds());
        let mut counts = vec![0.0; parts.len()];
        let (_, _, length) = self.stage(u64::MAX);
        for some in windows.chunks((TOKENS_AT_ONCE / length.max(1)).max(1)) {
            for round in 0..rounds {
                let batch = some.iter().cloned().map(Item::from).collect();
                for made in self.make(vec![batch], 0, Turn::Judged(round))? {
                    counts.iter_mut().zip(self.task.weights(&made)).for_each(|(count, weight)| *count += weight);
                }
            }
            if counts.iter().all(|&count| count > 0.0) {
                return Ok(Vec::new());
            }
        }
        Ok(parts.iter().zip(&counts).filter(|(_, count)| **count == 0.0).map(|(part, _)| *part).collect())
    }
}
