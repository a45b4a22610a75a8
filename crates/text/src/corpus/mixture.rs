//! Several corpora as one endless stream of shuffled documents, in given proportions of tokens: the next document comes
//! from the corpus that is furthest behind its share. A corpus that is exhausted begins again in another order.

use serde::{Deserialize, Serialize};

use super::{Corpus, Cursor, Document, Documents, Error, Order, Part};

/// Corpora with weights.
#[derive(Clone, Debug)]
pub struct Mixture {
    corpora: Vec<(Corpus, f64)>,
    /// See [`Self::in_orders`].
    orders: u64,
}

/// Where a stream stands; enough to continue it exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureCursor {
    /// Documents that were given.
    pub documents: u64,
    /// Where it stands in each corpus.
    pub places: Vec<Cursor>,
    /// The tokens that each gave.
    pub tokens: Vec<u64>,
}

impl Mixture {
    /// One corpus or more, each with its weight: the share of tokens in proportion to the others'. Weights equal to
    /// [`Corpus::tokens`] let every corpus come to its end at the same time.
    ///
    /// # Errors
    /// When there is no corpus, a weight is not above 0, or two corpora were made with different tokenizers.
    pub fn new(corpora: Vec<(Corpus, f64)>) -> Result<Self, Error> {
        let Some((first, _)) = corpora.first() else {
            return Err(Error::Options("a mixture needs a corpus at least: name one".to_owned()));
        };
        for (corpus, weight) in &corpora {
            let place = corpus.dir().display();
            if !(*weight > 0.0 && weight.is_finite()) {
                return Err(Error::Options(format!("{place} has the weight {weight}: give a number above 0")));
            }
            if corpus.tokenizer().fingerprint != first.tokenizer().fingerprint {
                let other = first.dir().display();
                let problem = format!("{place} and {other} were made with different tokenizers: pack one again");
                return Err(Error::Options(problem));
            }
        }
        Ok(Self { corpora, orders: 0 })
    }

    /// The same whose passes come in so many orders, in turn; 0: each pass in another.
    #[must_use]
    pub fn in_orders(self, orders: u64) -> Self {
        Self { orders, ..self }
    }

    /// Whether passes come again: [`Self::in_orders`].
    pub fn comes_again(&self) -> bool {
        self.orders > 0
    }

    /// The number of a pass among those that differ.
    pub fn pass(&self, epoch: u64) -> u64 {
        epoch.checked_rem(self.orders).unwrap_or(epoch)
    }

    /// The corpora with their weights.
    pub fn corpora(&self) -> &[(Corpus, f64)] {
        &self.corpora
    }

    /// A number that differs for other content or weights.
    pub fn fingerprint(&self) -> u64 {
        let parts = self.corpora.iter().map(|(corpus, weight)| format!("{} {weight:?}", corpus.fingerprint()));
        crate::dataset::fnv(parts.collect::<Vec<_>>().join("\n").as_bytes())
    }

    /// Documents of a part without end, shuffled by `seed`; from `cursor` on where one is given.
    ///
    /// # Errors
    /// When `cursor` is not one of this mixture.
    pub fn draws(&self, part: Part, seed: u64, cursor: Option<MixtureCursor>) -> Result<Draws, Error> {
        let count = self.corpora.len();
        let none = MixtureCursor { documents: 0, places: vec![Cursor::default(); count], tokens: vec![0; count] };
        let cursor = cursor.unwrap_or(none);
        if cursor.places.len() != count || cursor.tokens.len() != count {
            return Err(Error::Options("the place to continue at is of another mixture of corpora".to_owned()));
        }
        let open = |((corpus, _), (index, place)): (&(Corpus, f64), (usize, &Cursor))| {
            corpus.documents(part, self.order(seed, index, place.epoch), place.row)
        };
        let streams = self.corpora.iter().zip(cursor.places.iter().enumerate()).map(open).collect();
        Ok(Draws { mixture: self.clone(), part, seed, cursor, streams, failed: false })
    }

    /// Copies of a corpus in one mixture have orders of their own.
    fn order(&self, seed: u64, index: usize, epoch: u64) -> Order {
        Order::Shuffled { seed: seed.wrapping_add((index as u64) << 32), epoch: self.pass(epoch) }
    }
}

/// An endless stream. After an error nothing follows.
#[derive(Debug)]
pub struct Draws {
    mixture: Mixture,
    part: Part,
    seed: u64,
    cursor: MixtureCursor,
    streams: Vec<Documents>,
    failed: bool,
}

impl Draws {
    /// What is drawn from.
    pub fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// Where it stands: for whoever continues here.
    pub fn cursor(&self) -> &MixtureCursor {
        &self.cursor
    }

    /// How often each corpus was gone through, on the average by tokens of the part that is drawn from.
    pub fn epochs(&self) -> Vec<f64> {
        let places = self.cursor.places.iter().zip(self.mixture.corpora());
        places.map(|(place, (corpus, _))| place.epoch as f64 + place.row as f64 / corpus.len() as f64).collect()
    }

    /// The corpus whose tokens are furthest behind its weight; the first of several.
    fn behind(&self) -> usize {
        let given = |index: usize| self.cursor.tokens[index] as f64 / self.mixture.corpora[index].1;
        (1..self.streams.len()).fold(0, |least, index| if given(index) < given(least) { index } else { least })
    }

    fn draw(&mut self) -> Result<(usize, Document), Error> {
        let index = self.behind();
        let corpus = &self.mixture.corpora[index].0;
        let mut begun = 0;
        loop {
            let Some(document) = self.streams[index].next().transpose()? else {
                if begun == 1 {
                    let place = corpus.dir().display().to_string();
                    return Err(Error::Empty { place, what: self.part.named() });
                }
                begun = 1;
                let place = &mut self.cursor.places[index];
                *place = Cursor { epoch: place.epoch + 1, row: 0 };
                let order = self.mixture.order(self.seed, index, place.epoch);
                self.streams[index] = corpus.documents(self.part, order, 0);
                continue;
            };
            self.cursor.places[index].row = self.streams[index].position();
            self.cursor.tokens[index] += document.ids.len() as u64;
            self.cursor.documents += 1;
            return Ok((index, document));
        }
    }
}

impl Iterator for Draws {
    /// The number of the corpus in the mixture, and a document of it.
    type Item = Result<(usize, Document), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let drawn = self.draw();
        self.failed = drawn.is_err();
        Some(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Split;
    use super::super::Writer;
    use super::super::writer::tests::{corpus, document, tokenized};
    use super::*;

    #[test]
    fn shares_are_of_tokens_and_resume_is_exact() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (corpus(a.path(), 30, 50, 100), corpus(b.path(), 200, 50, 100));
        let mixture = Mixture::new(vec![(a, 3.0), (b, 1.0)]).unwrap();
        let part = Part::Training(Split::new(0.2, 0).unwrap());
        let mut draws = mixture.draws(part, 1, None).unwrap();
        let take = |draws: &mut Draws, n: usize| -> Vec<(usize, u64)> {
            draws
                .by_ref()
                .take(n)
                .map(|drawn| drawn.map(|(index, document)| (index, document.number)).unwrap())
                .collect()
        };
        let all = take(&mut draws, 400);
        let cursor = draws.cursor().clone();
        assert_eq!(cursor.documents, 400);
        let share = cursor.tokens[0] as f64 / (cursor.tokens[0] + cursor.tokens[1]) as f64;
        assert!((share - 0.75).abs() < 0.01, "{share}");
        assert!(cursor.places[0].epoch >= 8 && draws.epochs()[0] > 8.0, "{cursor:?}");
        for stop in [1, 77, 399] {
            let mut first = mixture.draws(part, 1, None).unwrap();
            take(&mut first, stop);
            let saved = serde_json::to_string(first.cursor()).unwrap();
            let mut second = mixture.draws(part, 1, serde_json::from_str(&saved).unwrap()).unwrap();
            assert_eq!(take(&mut second, 400 - stop), all[stop..]);
            assert_eq!(second.cursor(), &cursor);
        }
        assert_ne!(take(&mut mixture.draws(part, 2, None).unwrap(), 400), all);
    }

    #[test]
    fn impossible_mixtures_are_refused() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = corpus(a.path(), 5, 50, 100);
        let mut writer =
            Writer::create(b.path(), super::super::TokenizedBy { fingerprint: "other".into(), ..tokenized(50) })
                .unwrap();
        writer.add(&document(0, 50), 0, 1).unwrap();
        let other = writer.finish().unwrap();
        assert!(Mixture::new(Vec::new()).is_err());
        assert!(Mixture::new(vec![(one.clone(), 0.0)]).is_err());
        assert!(Mixture::new(vec![(one.clone(), 1.0), (other, 1.0)]).unwrap_err().to_string().contains("tokenizers"));
        let mixture = Mixture::new(vec![(one, 1.0)]).unwrap();
        assert!(mixture.draws(Part::All, 0, Some(MixtureCursor::default())).is_err());
        // nothing held out: an error, not a search without end
        let mut none = mixture.draws(Part::Validation(Split::new(0.0, 0).unwrap()), 0, None).unwrap();
        assert!(matches!(none.next(), Some(Err(Error::Empty { what: " for validation", .. }))));
        assert!(none.next().is_none());
    }
}
