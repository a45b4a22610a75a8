//! Examples as the model reads them: text to tokens, labels to numbers.

use std::sync::Arc;

use ptm_text::dataset::{Choice, Classified, Labels, MultiLabelled, Rated, Sentence, Tagged, Text, TextToText};
use ptm_text::{EncodeOptions, Encoding, Input, Tokenizer};

use super::batch::{Gold, Item, Part, Sequence};
use crate::error::{Error, Result};

/// How examples become items. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The model's.
    pub tokenizer: Tokenizer,
    /// Numbers of labels, where the task has them.
    pub labels: Option<Arc<Labels>>,
    /// Most tokens of a sequence.
    pub max_length: usize,
    /// Most tokens of a target text.
    pub max_target: usize,
    /// Whether sentences are judged: of those that are longer all words count. Learning leaves their ends out.
    pub whole: bool,
    /// Tokens that windows share.
    pub stride: usize,
    /// What is put before a source.
    pub prefix: String,
    /// How a decoder begins, of models that have one beside an encoder.
    pub starts: Option<Starts>,
}

/// How a decoder begins to say a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// With this token.
    With(u32),
    /// With the last token of what it is to say: mBART's language, where nothing else is configured.
    WithLast,
}

impl Starts {
    /// What a decoder reads to say `ids`.
    fn shifted(self, ids: &[u32]) -> Vec<u32> {
        let Some((&last, before)) = ids.split_last() else { return Vec::new() };
        let start = match self {
            Self::With(start) => start,
            Self::WithLast => last,
        };
        std::iter::once(start).chain(before.iter().copied()).collect()
    }
}

pub(super) fn lacking(what: &str, text: &str) -> Error {
    let text: String = text.chars().take(60).collect();
    let way = "give it one, or set data.skip_unlabelled = true";
    Error::Input(format!("the row with {text:?} has no {what} to learn from: {way}"))
}

impl Reading {
    fn labels(&self) -> Result<&Labels> {
        self.labels.as_deref().ok_or_else(|| Error::Input("the task has no labels".into()))
    }

    fn encode(&self, input: Input<'_>, max: usize) -> Result<Encoding> {
        Ok(self.tokenizer.encode_input(input, &EncodeOptions::truncated(max))?)
    }

    /// An item of one sequence; of encoder-decoders the decoder reads the same, behind its start.
    pub(super) fn item(&self, sequence: Sequence, gold: Gold) -> Item {
        let decoder = self.starts.map(|starts| starts.shifted(&sequence.ids));
        Item { sequences: vec![sequence], decoder, gold }
    }

    fn of_text(&self, text: &str, pair: Option<&str>, gold: Gold) -> Result<Vec<Item>> {
        let input = pair.map_or(Input::Text(text), |pair| Input::Pair(text, pair));
        let sequence = Sequence::from(self.encode(input, self.max_length)?);
        if sequence.ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![self.item(sequence, gold)])
    }

    /// One label.
    ///
    /// # Errors
    /// When the example lacks what is learnt, or cannot be encoded.
    pub fn classified(&self, example: Classified) -> Result<Vec<Item>> {
        let label = example.label.ok_or_else(|| lacking("label", &example.text))?;
        let gold = Gold::Class(self.labels()?.index(&label)? as u32);
        self.of_text(&example.text, example.pair.as_deref(), gold)
    }

    /// Any of the labels.
    ///
    /// # Errors
    /// When the example lacks what is learnt, or cannot be encoded.
    pub fn multi_labelled(&self, example: MultiLabelled) -> Result<Vec<Item>> {
        let names = example.labels.ok_or_else(|| lacking("labels", &example.text))?;
        let labels = self.labels()?;
        let mut values = vec![0.0; labels.len()];
        for name in &names {
            values[labels.index(name)?] = 1.0;
        }
        self.of_text(&example.text, example.pair.as_deref(), Gold::Values(values))
    }

    /// A number.
    ///
    /// # Errors
    /// When the example lacks what is learnt, or cannot be encoded.
    pub fn rated(&self, example: Rated) -> Result<Vec<Item>> {
        let value = example.value.ok_or_else(|| lacking("number", &example.text))?;
        self.of_text(&example.text, example.pair.as_deref(), Gold::Values(vec![value as f32]))
    }

    /// A label of each word, learnt at its first token; words behind the most that is read are left out, unless all
    /// is to be judged.
    ///
    /// # Errors
    /// When the example lacks what is learnt, or cannot be encoded.
    pub fn tagged(&self, example: Tagged) -> Result<Vec<Item>> {
        let tags = example.tags.as_ref().ok_or_else(|| lacking("tags", &example.words.join(" ")))?;
        let labels = self.labels()?;
        let tags = tags.iter().map(|tag| Ok(labels.index(tag)? as u32)).collect::<Result<Vec<u32>>>()?;
        // words are told apart by where they stand: the tokenizer's own idea of words may be another
        let sentence = Sentence::new(&example.words);
        if self.whole {
            return self.parts(&sentence, tags);
        }
        let encoding = self.encode(Input::Text(&sentence.text), self.max_length)?;
        let first = sentence.first_tokens(&encoding).into_iter().zip(tags);
        let mut gold: Vec<(u32, u32)> = first.filter_map(|(row, tag)| Some((row? as u32, tag))).collect();
        // of a token that holds several words the first one counts
        gold.dedup_by_key(|pair| pair.0);
        if gold.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![self.item(encoding.into(), Gold::Tags(gold))])
    }

    /// A sentence in as many windows as it needs; each word is judged in the one that has most around it, as where tags
    /// are predicted. A sentence no word of which has a token has none.
    fn parts(&self, sentence: &Sentence, tags: Vec<u32>) -> Result<Vec<Item>> {
        let options =
            EncodeOptions { windows: true, stride: self.max_length / 4, ..EncodeOptions::truncated(self.max_length) };
        let encoding = self.tokenizer.encode(&sentence.text, &options)?;
        let windows: Vec<&Encoding> = encoding.windows().collect();
        // window, token, and distance to the nearer end of the window
        let mut best: Vec<Option<(usize, usize, usize)>> = vec![None; tags.len()];
        for (window, encoding) in windows.iter().enumerate() {
            for (best, token) in best.iter_mut().zip(sentence.first_tokens(encoding)) {
                let Some(token) = token else { continue };
                let margin = token.min(encoding.len() - 1 - token);
                if best.is_none_or(|(.., before)| margin > before) {
                    *best = Some((window, token, margin));
                }
            }
        }
        let tags: Arc<[u32]> = tags.into();
        let mut items = Vec::new();
        for (number, window) in windows.into_iter().enumerate() {
            let own = best.iter().enumerate().filter_map(|(word, best)| {
                best.filter(|best| best.0 == number).map(|(_, token, _)| (token as u32, word as u32))
            });
            let words: Vec<(u32, u32)> = own.collect();
            if !words.is_empty() {
                let sequence = Sequence { ids: window.ids.clone(), segments: window.segments.clone() };
                items.push(self.item(sequence, Gold::Part(Part { tags: tags.clone(), words })));
            }
        }
        Ok(items)
    }

    /// Several continuations: a sequence each.
    ///
    /// # Errors
    /// When the example lacks what is learnt, or cannot be encoded.
    pub fn choice(&self, example: Choice) -> Result<Vec<Item>> {
        let right = example.label.ok_or_else(|| lacking("label", &example.context))?;
        let mut sequences = Vec::with_capacity(example.choices.len());
        for choice in &example.choices {
            let second = match &example.question {
                Some(question) => format!("{question} {choice}"),
                None => choice.clone(),
            };
            sequences.push(self.encode(Input::Pair(&example.context, &second), self.max_length)?.into());
        }
        Ok(vec![Item { sequences, decoder: None, gold: Gold::Choice(right as u32) }])
    }

    /// A text from a text.
    ///
    /// # Errors
    /// When the example lacks what is learnt, or cannot be encoded.
    pub fn text_to_text(&self, example: TextToText) -> Result<Vec<Item>> {
        let target = example.target.as_ref().ok_or_else(|| lacking("target", &example.source))?;
        let source = format!("{}{}", self.prefix, example.source);
        let source = Sequence::from(self.encode(Input::Text(&source), self.max_length)?);
        let target = self.tokenizer.encode_target(target, &EncodeOptions::truncated(self.max_target))?.ids;
        if source.ids.is_empty() || target.is_empty() {
            return Ok(Vec::new());
        }
        let decoder = self.starts.map(|starts| starts.shifted(&target));
        if decoder.is_none() {
            return Err(Error::Input("the model has no decoder".into()));
        }
        Ok(vec![Item { sequences: vec![source], decoder, gold: Gold::Text(target) }])
    }

    /// The next token, in pieces of the text.
    ///
    /// # Errors
    /// When the example lacks what is learnt, or cannot be encoded.
    pub fn text(&self, example: Text) -> Result<Vec<Item>> {
        let options = EncodeOptions::default();
        let ids = self.tokenizer.encode(&example.text, &options)?.ids;
        // one token foretells nothing
        let pieces = ids.chunks(self.max_length.max(2)).filter(|piece| piece.len() > 1);
        let item = |piece: &[u32]| {
            let sequence = Sequence { ids: piece.to_vec(), segments: vec![0; piece.len()] };
            Item { sequences: vec![sequence], decoder: None, gold: Gold::Next }
        };
        Ok(pieces.map(item).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoders_begin_as_their_configuration_says() {
        assert_eq!(Starts::With(9).shifted(&[5, 6, 2]), [9, 5, 6]);
        // mBART says the language last and begins with it
        assert_eq!(Starts::WithLast.shifted(&[5, 6, 2, 7]), [7, 5, 6, 2]);
    }
}
