//! An example as it can be shown: what is read and said, where there is a loss, and who sees whom. For eyes, not for
//! models.

use super::causal::Causal;
use super::classified::Classified;
use super::denoised::Denoised;
use super::knowledge_masking::Level;
use super::masking::Masked;
use super::next_sentence::SentencePair;
use super::permutation::Permuted;
use super::replaced_token_detection::Detection;
use super::span_masking::MaskedSpans;

/// One example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// What is read, sequence by sequence.
    pub rows: Vec<Row>,
    /// Who sees whom.
    pub sights: Vec<Sight>,
    /// What else is to be known of it; empty where nothing is.
    pub note: String,
}

/// One sequence that a model reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Who reads it: `text`, `encoder`, `decoder`.
    pub name: &'static str,
    /// Its tokens, `[n]`.
    pub ids: Vec<u32>,
    /// Whether a token is not the text's, `[n]`.
    pub corrupted: Vec<bool>,
    /// What is to be said at each place that has a loss, `[n]`.
    pub targets: Vec<Option<u32>>,
    /// Classes that are to be said in the place of tokens, `[n]`; empty where there are none.
    pub classes: Vec<Option<String>>,
    /// The segment of each token, `[n]`; empty where all are of one.
    pub segments: Vec<u32>,
    /// The place of each token in the order of prediction, `[n]`; empty where the order is the text's.
    pub order: Vec<Option<u32>>,
}

impl Row {
    fn new(name: &'static str, ids: Vec<u32>) -> Self {
        let n = ids.len();
        Self { name, ids, corrupted: vec![false; n], targets: vec![None; n], ..Self::default() }
    }
}

/// Which tokens of a sequence see which of the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The name of the stream: `attention`, `content stream`, `query stream`.
    pub name: &'static str,
    /// Which of [`Picture::rows`].
    pub row: usize,
    /// The places that look, `[q]`.
    pub asking: Vec<usize>,
    /// Row-major, `[q, n]`.
    pub visible: Vec<bool>,
}

impl Sight {
    fn new(name: &'static str, row: usize, asking: Vec<usize>, n: usize, sees: impl Fn(usize, usize) -> bool) -> Self {
        let visible = asking.iter().flat_map(|&query| (0..n).map(move |key| (query, key)));
        let visible = visible.map(|(query, key)| sees(query, key)).collect();
        Self { name, row, asking, visible }
    }
}

impl Denoised {
    /// As an encoder-decoder has it whose decoder begins with `start`.
    pub fn picture(&self, start: u32) -> Picture {
        let mut source = Row::new("encoder", self.source.clone());
        self.corrupted.iter().for_each(|&place| source.corrupted[place] = true);
        let mut target = Row::new("decoder", self.shifted(start));
        target.targets = self.target.iter().copied().map(Some).collect();
        let (n, m) = (source.ids.len(), target.ids.len());
        let sights = vec![
            Sight::new("attention", 0, (0..n).collect(), n, |_, _| true),
            Sight::new("attention", 1, (0..m).collect(), m, |query, key| key <= query),
        ];
        Picture { rows: vec![source, target], sights, ..Picture::default() }
    }
}

impl Causal {
    /// As a decoder has it.
    pub fn picture(&self) -> Picture {
        let n = self.ids.len();
        let mut row = Row::new("decoder", self.ids.clone());
        row.targets = self.targets.iter().copied().map(Some).collect();
        let sight = Sight::new("attention", 0, (0..n).collect(), n, |query, key| self.sees(query, key));
        Picture { rows: vec![row], sights: vec![sight], ..Picture::default() }
    }
}

impl Masked {
    /// As an encoder has it.
    pub fn picture(&self) -> Picture {
        let n = self.ids.len();
        let mut row = Row::new("encoder", self.ids.clone());
        for (&place, &target) in self.chosen.iter().zip(&self.targets) {
            row.corrupted[place] = self.ids[place] != target;
            row.targets[place] = Some(target);
        }
        let sight = Sight::new("attention", 0, (0..n).collect(), n, |_, _| true);
        Picture { rows: vec![row], sights: vec![sight], ..Picture::default() }
    }
}

impl Masked {
    /// The same of a stage of knowledge masking; the name says which.
    pub fn picture_at(&self, level: Level) -> Picture {
        let mut picture = self.picture();
        picture.rows[0].name = match level {
            Level::Tokens => "encoder, tokens",
            Level::Phrases => "encoder, phrases",
            Level::Entities => "encoder, entities",
            Level::PhrasesAndEntities => "encoder, phrases and entities",
        };
        picture
    }
}

impl SentencePair {
    /// As an encoder has it, which says at the first token whether the second segment follows.
    pub fn picture(&self) -> Picture {
        let mut picture = self.masked.picture();
        let row = &mut picture.rows[0];
        row.classes = vec![None; row.ids.len()];
        row.classes[0] = Some(["in order", "not in order"][self.label.min(1) as usize].to_owned());
        row.segments.clone_from(&self.masked.segments);
        picture
    }
}

impl MaskedSpans {
    /// As an encoder has it, and from which two of its states the span boundary objective foretells each hidden token.
    pub fn picture(&self) -> Picture {
        let mut picture = self.masked.picture();
        let asking = self.masked.chosen.clone();
        let n = self.masked.ids.len();
        let outside = |query: usize, key: usize| {
            self.spans.iter().any(|span| span.contains(&query) && (key + 1 == span.start || key == span.end))
        };
        picture.sights.push(Sight::new("span boundary", 0, asking, n, outside));
        picture
    }
}

impl Classified {
    /// As an encoder has it; `read` is the text with nothing changed.
    pub fn picture(&self, read: &[u32]) -> Picture {
        let n = self.ids.len();
        let mut row = Row::new("encoder", self.ids.clone());
        row.segments.clone_from(&self.segments);
        row.corrupted = (0..n).map(|place| read.get(place).is_some_and(|own| *own != self.ids[place])).collect();
        row.classes = vec![None; n];
        for (&place, &label) in self.places.iter().zip(&self.labels) {
            row.classes[place] = Some(self.said(label));
        }
        let sight = Sight::new("attention", 0, (0..n).collect(), n, |_, _| true);
        Picture { rows: vec![row], sights: vec![sight], ..Picture::default() }
    }
}

impl Detection {
    /// As the generator has it, and the discriminator when the generator says `drawn`.
    ///
    /// # Panics
    /// As [`Self::replaced`].
    pub fn picture(&self, drawn: &[u32]) -> Picture {
        let mut picture = self.masked.picture();
        picture.rows[0].name = "generator";
        let (ids, replaced) = self.replaced(drawn);
        let n = ids.len();
        let mut row = Row::new("discriminator", ids);
        let class = |&replaced: &bool| Some(if replaced { "replaced" } else { "original" }.to_owned());
        row.classes = replaced.iter().map(class).collect();
        row.corrupted = replaced;
        picture.rows.push(row);
        picture.sights.push(Sight::new("attention", 1, (0..n).collect(), n, |_, _| true));
        picture
    }
}

impl Permuted {
    /// As XLNet's two streams have it; the memory, which all see, is left out.
    pub fn picture(&self) -> Picture {
        let n = self.ids.len();
        let name = match (self.backwards, self.elsewhere) {
            (false, false) => "text",
            (true, false) => "text, backwards",
            (false, true) => "two texts",
            (true, true) => "two texts, backwards",
        };
        let mut row = Row::new(name, self.ids.clone());
        row.segments.clone_from(&self.segments);
        self.targets.iter().for_each(|&place| row.targets[place] = Some(self.ids[place]));
        row.order = self.ranks.clone();
        let sights = vec![
            Sight::new("content stream", 0, (0..n).collect(), n, |query, key| query == key || self.sees(query, key)),
            Sight::new("query stream", 0, self.targets.clone(), n, |query, key| self.sees(query, key)),
        ];
        Picture { rows: vec![row], sights, ..Picture::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_stand_where_something_is_said() {
        let made = Denoised { source: vec![5, 9, 2], target: vec![5, 6, 2], corrupted: vec![1] };
        let picture = made.picture(0);
        assert_eq!(
            (&picture.rows[1].ids[..], picture.rows[0].corrupted.clone()),
            (&[0, 5, 6][..], vec![false, true, false])
        );
        assert_eq!(picture.rows[1].targets, [Some(5), Some(6), Some(2)]);
        assert_eq!(picture.sights[1].visible, [true, false, false, true, true, false, true, true, true]);
    }

    #[test]
    fn the_boundary_of_a_span_is_outside() {
        let masked = Masked { ids: vec![3, 4, 4, 9, 1], chosen: vec![1, 2], targets: vec![7, 8], ..Masked::default() };
        let picture = MaskedSpans { masked, spans: std::iter::once(1..3).collect() }.picture();
        assert_eq!((picture.sights[0].visible.len(), picture.sights[1].asking.clone()), (25, vec![1, 2]));
        let row = [true, false, false, true, false];
        assert_eq!(picture.sights[1].visible, [row, row].concat());
    }

    #[test]
    fn the_query_stream_does_not_see_itself() {
        let made = Permuted {
            ids: vec![7, 8, 9],
            targets: vec![1, 2],
            ranks: vec![None, Some(1), Some(0)],
            ..Permuted::default()
        };
        let picture = made.picture();
        assert_eq!(picture.rows[0].targets, [None, Some(8), Some(9)]);
        assert_eq!(picture.sights[0].visible, [true, false, false, true, true, true, true, false, true]);
        assert_eq!(picture.sights[1].asking, [1, 2]);
        assert_eq!(picture.sights[1].visible, [true, false, true, true, false, false]);
    }
}
