//! From tokens to words, and from words or tokens to entities, by each strategy of the pipeline of `transformers`.

use super::{Aggregation, Entity, Token, TokenClassification};

/// A token or a word with its label.
struct Labelled {
    label: usize,
    score: f32,
    word: String,
    start: usize,
    end: usize,
}

impl TokenClassification {
    /// The entities of one window.
    pub(super) fn aggregate(&self, tokens: Vec<Token>, aggregation: Aggregation) -> Vec<Entity> {
        let name = |label: usize| self.labels()[label].clone();
        match aggregation {
            Aggregation::None => tokens
                .into_iter()
                .map(|token| {
                    let (label, score) = best(&token.scores);
                    let Token { word, start, end, index, .. } = token;
                    Entity::Token { entity: name(label), score, index, word, start, end }
                })
                .collect(),
            Aggregation::Simple => {
                let one = |token: Token| {
                    let (label, score) = best(&token.scores);
                    Labelled { label, score, word: token.word, start: token.start, end: token.end }
                };
                self.grouped(tokens.into_iter().map(one).collect())
            }
            words => self.grouped(self.words(&tokens, words)),
        }
    }

    /// Tokens that are pieces of one word, together.
    fn words(&self, tokens: &[Token], aggregation: Aggregation) -> Vec<Labelled> {
        let words = tokens.chunk_by(|_, next| next.is_subword);
        let word = |pieces: &[Token]| {
            let (label, score) = match aggregation {
                Aggregation::Average => {
                    let mean = |label: usize| {
                        pieces.iter().map(|piece| piece.scores[label]).sum::<f32>() / pieces.len() as f32
                    };
                    best(&(0..self.labels().len()).map(mean).collect::<Vec<f32>>())
                }
                Aggregation::Max => {
                    // the first among equals
                    let surest = pieces.iter().map(|piece| best(&piece.scores));
                    surest.reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap_or_default()
                }
                _ => best(&pieces[0].scores),
            };
            let (start, end) = (pieces[0].start, pieces[pieces.len() - 1].end);
            Labelled { label, score, word: self.joined(pieces.iter().map(|piece| &piece.word)), start, end }
        };
        words.map(word).collect()
    }

    /// Neighbours with one label together; a `B-` begins anew.
    fn grouped(&self, all: Vec<Labelled>) -> Vec<Entity> {
        let tag = |one: &Labelled| tag_of(&self.labels()[one.label]);
        let groups = all.chunk_by(|last, next| tag(last).1 == tag(next).1 && tag(next).0 != 'B');
        let group = |group: &[Labelled]| {
            let score = group.iter().map(|one| f64::from(one.score)).sum::<f64>() / group.len() as f64;
            let label = &self.labels()[group[0].label];
            Entity::Group {
                // whatever stands before the first dash goes, even where it is neither B nor I
                entity_group: label.split_once('-').map_or(label.as_str(), |(_, rest)| rest).to_owned(),
                score: score as f32,
                word: self.joined(group.iter().map(|one| &one.word)),
                start: group[0].start,
                end: group[group.len() - 1].end,
            }
        };
        groups.map(group).collect()
    }

    fn joined<'a>(&self, words: impl Iterator<Item = &'a String>) -> String {
        self.model.tokenizer.convert_tokens_to_string(&words.cloned().collect::<Vec<_>>())
    }
}

/// The likeliest label with its probability, the first among equals.
fn best(scores: &[f32]) -> (usize, f32) {
    let all = scores.iter().copied().enumerate();
    all.reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap_or_default()
}

/// Whether a label begins an entity or goes on with one, and what the entity is.
fn tag_of(label: &str) -> (char, &str) {
    match label.split_at_checked(2) {
        Some(("B-", tag)) => ('B', tag),
        Some(("I-", tag)) => ('I', tag),
        _ => ('I', label),
    }
}

/// Of entities that overlap because windows do, the longer; of equally long ones the surer.
pub(super) fn without_overlaps(mut entities: Vec<Entity>) -> Vec<Entity> {
    entities.sort_by_key(|entity| entity.range().start);
    let mut kept: Vec<Entity> = Vec::new();
    for entity in entities {
        let (range, score) = (entity.range(), entity.score());
        match kept.last_mut() {
            Some(last) if last.range().contains(&range.start) => {
                let (length, held) = (range.len(), last.range().len());
                if length > held || length == held && score > last.score() {
                    *last = entity;
                }
            }
            _ => kept.push(entity),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(start: usize, end: usize, score: f32) -> Entity {
        Entity::Group { entity_group: "PER".into(), score, word: String::new(), start, end }
    }

    #[test]
    fn overlaps_keep_the_longer_then_the_surer() {
        let kept = without_overlaps(vec![group(0, 5, 0.9), group(3, 9, 0.2), group(9, 10, 0.5), group(9, 10, 0.6)]);
        assert_eq!(kept, [group(3, 9, 0.2), group(9, 10, 0.6)]);
        assert!(without_overlaps(Vec::new()).is_empty());
    }

    #[test]
    fn tags() {
        assert_eq!(tag_of("B-PER"), ('B', "PER"));
        assert_eq!(tag_of("I-LOC"), ('I', "LOC"));
        assert_eq!(tag_of("MISC"), ('I', "MISC"));
        assert_eq!(tag_of("É"), ('I', "É"));
    }
}
