//! Knowledge masking (Sun et al. 2019, ERNIE 1.0, §3.2): masked language modelling in three stages on the same text, which hide
//! tokens, then phrases, then named entities, each of these as a whole. What is a phrase or an entity a lexicon says, or spans
//! that the corpus gives, not a model; what neither knows is hidden token by token in every stage.

use std::ops::Range;

use ptm_text::corpus::{Span, SpanKind};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::lexicon::{Entries, Lexicon};
use super::masked_lm::{MaskedLm, MaskedLmConfig};
use super::masking::{Masked, units};
use super::{Text, Vocabulary};
use crate::error::{Error, Result};

/// What is hidden as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Tokens, or words: the paper's basic level.
    Tokens,
    /// Phrases.
    Phrases,
    /// Named entities.
    Entities,
    /// Phrases and named entities, as the knowledge masking of ERNIE 2.0.
    PhrasesAndEntities,
}

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskingStage {
    /// What is hidden as a whole.
    pub hide: Level,
    /// The step after which the stage ends; the last has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// What is hidden, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnowledgeMaskingConfig {
    /// The share of tokens that are chosen.
    pub rate: f64,
    /// The share of chosen units that become the mask, every token of them.
    pub masked: f64,
    /// The share that becomes random tokens; what remains is kept.
    pub random: f64,
    /// Whether what is in no phrase and no entity is chosen by words, not by tokens.
    pub whole_words: bool,
    /// The most tokens that are chosen in one example; 0 for no bound.
    pub most: usize,
    /// The phrases: a file with one a line, or a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phrases: Option<Entries>,
    /// The named entities, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<Entries>,
    /// Which spans that the corpora give (`ptm corpus pack --spans-key`) count, beside the lexicons and before them:
    /// "phrase", "entity", or both. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<SpanKind>,
    /// The stages in their order. Default: one for tokens, one for phrases and one for entities, as far as these are
    /// given, each an equal part of `run.steps`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<MaskingStage>,
}

impl Default for KnowledgeMaskingConfig {
    fn default() -> Self {
        let MaskedLmConfig { rate, masked, random, whole_words, most, .. } = MaskedLmConfig::default();
        Self {
            rate,
            masked,
            random,
            whole_words,
            most,
            phrases: None,
            entities: None,
            spans: Vec::new(),
            stages: Vec::new(),
        }
    }
}

impl KnowledgeMaskingConfig {
    /// Whether phrases are given, and whether entities are: by a lexicon or by the corpora.
    pub fn given(&self) -> (bool, bool) {
        let spans = |kind| self.spans.contains(&kind);
        let phrases = self.phrases.is_some() || spans(SpanKind::Phrase);
        (phrases, self.entities.is_some() || spans(SpanKind::Entity))
    }

    /// What can be hidden with the lexicons and spans that are given, in the paper's order.
    pub fn levels(&self) -> Vec<Level> {
        let (phrases, entities) = self.given();
        let levels = [(Level::Tokens, true), (Level::Phrases, phrases), (Level::Entities, entities)];
        levels.into_iter().filter_map(|(level, given)| given.then_some(level)).collect()
    }

    /// The same with stages: those that it has, or equal parts of so many steps.
    #[must_use]
    pub fn divided(mut self, steps: u64) -> Self {
        if self.stages.is_empty() {
            let levels = self.levels();
            let (last, count) = (levels.len() - 1, levels.len() as u64);
            let stage = |(number, hide): (usize, Level)| {
                let until = (number < last).then(|| (steps * (number as u64 + 1) / count).max(number as u64 + 1));
                MaskingStage { hide, until }
            };
            self.stages = levels.into_iter().enumerate().map(stage).collect();
        }
        self
    }

    /// The same with stages: those that it has, or one that hides all that is given as a whole.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        if self.stages.is_empty() {
            let hide = match self.given() {
                (true, true) => Level::PhrasesAndEntities,
                (true, false) => Level::Phrases,
                (false, true) => Level::Entities,
                (false, false) => Level::Tokens,
            };
            self.stages = vec![MaskingStage { hide, until: None }];
        }
        self
    }

    fn check(&self) -> Result<()> {
        let wrong = |problem: &str| Err(Error::recipe("objective.stages", problem));
        let given = self.given();
        for (number, stage) in self.stages.iter().enumerate() {
            let (phrases, entities) = match stage.hide {
                Level::Tokens => (false, false),
                Level::Phrases => (true, false),
                Level::Entities => (false, true),
                Level::PhrasesAndEntities => (true, true),
            };
            if phrases && !given.0 || entities && !given.1 {
                return wrong(
                    "hide what is not given: name a file in objective.phrases and objective.entities, or in \
                     objective.spans what the corpora give",
                );
            }
            if stage.until.is_none() != (number + 1 == self.stages.len()) {
                return wrong("each but the last should say after which step it ends, the last should not");
            }
        }
        let ends: Vec<u64> = self.stages.iter().filter_map(|stage| stage.until).collect();
        if ends.first() == Some(&0) || !ends.is_sorted_by(|a, b| a < b) {
            return wrong("each should end after the one before");
        }
        Ok(())
    }
}

/// Knowledge masking with the tokens and lexicons that it needs.
#[derive(Clone, Debug)]
pub struct KnowledgeMasking {
    config: KnowledgeMaskingConfig,
    masked_lm: MaskedLm,
    phrases: Lexicon,
    entities: Lexicon,
    vocabulary: Vocabulary,
}

impl KnowledgeMasking {
    /// # Errors
    /// When a share is out of range, stages contradict each other, a lexicon cannot be read, or the vocabulary lacks a
    /// token or cannot tell the words that a lexicon's phrases are made of.
    pub fn new(config: KnowledgeMaskingConfig, vocabulary: &Vocabulary) -> Result<Self> {
        config.check()?;
        if config.phrases.is_some() || config.entities.is_some() {
            vocabulary.tells_words()?;
        }
        let lexicon = |entries: &Option<Entries>, key: &str| match entries {
            Some(entries) => Lexicon::new(entries, key, vocabulary),
            None => Ok(Lexicon::default()),
        };
        let phrases = lexicon(&config.phrases, "objective.phrases")?;
        let entities = lexicon(&config.entities, "objective.entities")?;
        Self::with(config, phrases, entities, vocabulary)
    }

    fn with(
        config: KnowledgeMaskingConfig,
        phrases: Lexicon,
        entities: Lexicon,
        vocabulary: &Vocabulary,
    ) -> Result<Self> {
        let KnowledgeMaskingConfig { rate, masked, random, whole_words, most, .. } = config;
        let hidden = MaskedLmConfig { rate, masked, random, whole_words, most, ..MaskedLmConfig::default() };
        let masked_lm = MaskedLm::new(hidden, vocabulary)?;
        Ok(Self { config, masked_lm, phrases, entities, vocabulary: vocabulary.clone() })
    }

    /// The settings.
    pub fn config(&self) -> &KnowledgeMaskingConfig {
        &self.config
    }

    /// A number that differs where the lexicons hold other phrases.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.phrases.fingerprint() ^ self.entities.fingerprint().rotate_left(1)
    }

    /// What is hidden in a step, counted from 0; for none what the last stage hides.
    pub fn level(&self, step: Option<u64>) -> Level {
        let stages = &self.config.stages;
        let now = stages.iter().find(|stage| stage.until.is_none_or(|until| step.is_some_and(|step| step < until)));
        now.map_or(Level::Tokens, |stage| stage.hide)
    }

    /// One example: the text between the tokens that begin and end a sequence. `spans` are those that the corpus gives of
    /// it, in tokens; the kinds that the settings don't name count for nothing.
    ///
    /// # Errors
    /// When the text has no token that could be hidden.
    pub fn corrupt(&self, text: &Text<'_>, spans: &[Span], level: Level, random: &mut ChaCha8Rng) -> Result<Masked> {
        let ids = self.masked_lm.framed(text);
        let segments = vec![0; ids.len()];
        let units = self.units(&ids, spans, level);
        self.masked_lm.hide_units(ids, segments, units, true, random)
    }

    /// What can be chosen in `ids`, which are framed: whole phrases or entities, and what is in none. Where spans of the
    /// corpus and phrases of the lexicon meet, the corpus knows better.
    fn units(&self, ids: &[u32], spans: &[Span], level: Level) -> Vec<Range<usize>> {
        let of = |kind: SpanKind, lexicon: &Lexicon| {
            let given = spans.iter().filter(|span| span.kind == kind && self.config.spans.contains(&kind));
            // behind the token that begins the sequence; what the tokenizer doesn't know cannot be foretold
            let given = given.map(|span| span.start + 1..span.end + 1);
            let given = given.filter(|unit| !ids[unit.clone()].iter().any(|&id| self.vocabulary.is_special(id)));
            joined(given.collect(), lexicon.find(ids, &self.vocabulary))
        };
        let phrases = || of(SpanKind::Phrase, &self.phrases);
        let entities = || of(SpanKind::Entity, &self.entities);
        let wholes = match level {
            Level::Tokens => Vec::new(),
            Level::Phrases => phrases(),
            Level::Entities => entities(),
            Level::PhrasesAndEntities => joined(entities(), phrases()),
        };
        with_rest(wholes, units(ids, self.config.whole_words, &self.vocabulary))
    }
}

/// Those of `first`, and those of `second` that meet none of them; ascending.
fn joined(first: Vec<Range<usize>>, second: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut all = with_rest(first, second);
    all.sort_unstable_by_key(|unit| unit.start);
    all
}

/// `wholes`, which ascend, then those of `rest`, which ascend too, that meet none of them.
fn with_rest(wholes: Vec<Range<usize>>, rest: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut at = 0;
    let free: Vec<Range<usize>> = rest
        .into_iter()
        .filter(|unit| {
            at += wholes[at..].iter().take_while(|whole| whole.end <= unit.start).count();
            wholes.get(at).is_none_or(|whole| whole.start >= unit.end)
        })
        .collect();
    wholes.into_iter().chain(free).collect()
}

#[cfg(test)]
mod tests {
    use super::super::draws::tests::{chi_square, random};
    use super::super::lexicon::tests::spelled;
    use super::super::tests::{text, vocabulary};
    use super::super::vocabulary::tests::playing;
    use super::*;

    /// Phrases 20 21 22 and 30 31, entities 22 23 and 40 41 42 43.
    fn objective(config: KnowledgeMaskingConfig) -> KnowledgeMasking {
        let (phrases, entities) = (spelled(&[&[20, 21, 22], &[30, 31]]), spelled(&[&[22, 23], &[40, 41, 42, 43]]));
        KnowledgeMasking::with(config, phrases, entities, &vocabulary()).unwrap()
    }

    const LEVELS: [Level; 4] = [Level::Tokens, Level::Phrases, Level::Entities, Level::PhrasesAndEntities];

    /// By hand: which parts of a text belong together at each level.
    #[test]
    fn units_are_phrases_or_entities_and_what_is_in_none() {
        let objective = objective(KnowledgeMaskingConfig::default());
        let ids = [3, 20, 21, 22, 23, 50, 40, 41, 42, 43, 30, 1];
        let units = |level| {
            let mut units = objective.units(&ids, &[], level);
            units.sort_unstable_by_key(|unit| unit.start);
            units
        };
        let single = |places: Range<usize>| places.map(|place| place..place + 1);
        assert_eq!(units(Level::Tokens), single(1..11).collect::<Vec<_>>());
        let phrases: Vec<_> = std::iter::once(1..4).chain(single(4..11)).collect();
        assert_eq!(units(Level::Phrases), phrases);
        assert_eq!(units(Level::Entities), [1..2, 2..3, 3..5, 5..6, 6..10, 10..11]);
        // where they meet, the entity counts
        assert_eq!(units(Level::PhrasesAndEntities), units(Level::Entities));
    }

    /// By hand: four of eight tokens. The entity alone, or the four others; never a part of it.
    #[test]
    fn a_worked_example() {
        let config =
            KnowledgeMaskingConfig { rate: 0.5, masked: 1.0, random: 0.0, ..KnowledgeMaskingConfig::default() };
        let objective = objective(config);
        let (mut seen, mut random) = ([0; 2], random(1));
        for _ in 0..100_000 {
            let made =
                objective.corrupt(&text(&[50, 51, 40, 41, 42, 43, 52, 53]), &[], Level::Entities, &mut random).unwrap();
            let (entity, others) = (vec![3, 4, 5, 6], vec![1, 2, 7, 8]);
            if made.chosen == entity {
                assert_eq!(made.ids, [3, 50, 51, 4, 4, 4, 4, 52, 53, 1]);
                assert_eq!(made.targets, [40, 41, 42, 43]);
                seen[0] += 1;
            } else {
                assert_eq!(made.chosen, others);
                assert_eq!(made.ids, [3, 4, 4, 40, 41, 42, 43, 4, 4, 1]);
                seen[1] += 1;
            }
            assert_eq!(made.original(), [3, 50, 51, 40, 41, 42, 43, 52, 53, 1]);
        }
        // of five units in random order the entity is the first in one of five cases; else there is no room for it
        assert!(chi_square(&seen, &[0.2, 0.8]) < 10.8, "{seen:?}");
    }

    /// Over 1e5 draws of units: units stay whole with one fate, every unit of a size is chosen as often as others of that
    /// size, 15 % of the tokens, 80/10/10, never a special token.
    #[test]
    fn units_stay_whole_at_the_rate() {
        let objective = objective(KnowledgeMaskingConfig::default());
        // five phrases of two tokens, 30 tokens, a special one in the middle
        let ids: Vec<u32> = (50..65).chain([30, 31, 30, 31, 1, 30, 31, 30, 31, 30, 31]).chain(65..80).collect();
        let phrases = [16..18, 18..20, 21..23, 23..25, 25..27];
        let (mut random, mut tokens, mut chosen, mut fates) = (random(1), 0_u64, [0_u64; 43], [0_u64; 3]);
        let rounds = 20_000;
        for _ in 0..rounds {
            let made = objective.corrupt(&text(&ids), &[], Level::Phrases, &mut random).unwrap();
            tokens += made.chosen.len() as u64;
            made.chosen.iter().for_each(|&place| chosen[place] += 1);
            for phrase in &phrases {
                let hidden = phrase.clone().filter(|place| made.chosen.contains(place)).count();
                assert!(hidden == 0 || hidden == 2, "a part of a phrase: {made:?}");
                if hidden == 2 {
                    let same = made.ids[phrase.clone()] == ids[phrase.start - 1..phrase.end - 1];
                    let masks = phrase.clone().filter(|&place| made.ids[place] == 4).count();
                    assert!(masks == 0 || masks == 2, "two fates: {made:?}");
                    fates[if masks == 2 { 0 } else { 1 + usize::from(same) }] += 1;
                }
            }
        }
        // 15 % of 40 tokens, of which a phrase that no longer fits can leave one
        let share = tokens as f64 / (rounds * 40) as f64;
        assert!((0.145..=0.15).contains(&share), "{share}");
        assert_eq!([chosen[0], chosen[20], chosen[42]], [0; 3], "a special token was hidden");
        let singles: Vec<u64> = (1..16).chain(27..42).map(|place| chosen[place]).collect();
        // 29 degrees of freedom: 58.3 at one in a thousand; those of one text exclude each other, which lessens it
        assert!(chi_square(&singles, &[1.0 / 30.0; 30]) < 58.3, "{singles:?}");
        let whole: Vec<u64> = phrases.iter().map(|phrase| chosen[phrase.start]).collect();
        assert!(chi_square(&whole, &[0.2; 5]) < 18.5, "{whole:?}");
        assert!(chi_square(&fates, &[0.8, 0.1, 0.1]) < 13.8, "{fates:?}");
    }

    /// By hand: spans of the corpus beside the lexicons.
    #[test]
    fn spans_of_the_corpus_are_units_beside_the_lexicon() {
        let (phrase, entity) = (SpanKind::Phrase, SpanKind::Entity);
        let both = KnowledgeMaskingConfig { spans: vec![phrase, entity], ..KnowledgeMaskingConfig::default() };
        let ids = [3, 20, 21, 22, 23, 50, 51, 52, 30, 31, 1, 53, 1];
        let span = |start, end, kind| Span { start, end, kind };
        // of the text, which begins behind the first token; one over a special token counts for nothing
        let spans = [span(2, 5, phrase), span(4, 6, entity), span(9, 11, entity)];
        let units = |config: KnowledgeMaskingConfig, level| {
            let mut units = objective(config).units(&ids, &spans, level);
            units.sort_unstable_by_key(|unit| unit.start);
            units.into_iter().filter(|unit| unit.len() > 1).collect::<Vec<_>>()
        };
        // the phrase of the lexicon at 1..4 meets the one of the corpus
        assert_eq!(units(both.clone(), Level::Phrases), [3..6, 8..10]);
        assert_eq!(units(both.clone(), Level::Entities), [3..5, 5..7]);
        assert_eq!(units(both.clone(), Level::PhrasesAndEntities), [3..5, 5..7, 8..10]);
        assert!(units(both, Level::Tokens).is_empty());
        // what isn't asked for counts for nothing
        let entities = KnowledgeMaskingConfig { spans: vec![entity], ..KnowledgeMaskingConfig::default() };
        assert_eq!(units(entities.clone(), Level::Phrases), [1..4, 8..10]);
        assert_eq!(units(entities.clone(), Level::Entities), [3..5, 5..7]);
        let none = KnowledgeMaskingConfig::default();
        let (with, without) = (objective(none.clone()).units(&ids, &spans, Level::Entities), objective(none));
        assert_eq!(with, without.units(&ids, &[], Level::Entities));
        // alone they make stages too
        assert_eq!(entities.levels(), [Level::Tokens, Level::Entities]);
        assert_eq!(entities.at_once().stages[0].hide, Level::Entities);
    }

    /// Over many draws: a span is hidden as a whole or not at all, without any lexicon.
    #[test]
    fn spans_stay_whole() {
        let config = KnowledgeMaskingConfig { rate: 0.3, spans: vec![SpanKind::Entity], ..Default::default() };
        let objective = KnowledgeMasking::new(config.divided(2), &vocabulary()).unwrap();
        let ids: Vec<u32> = (50..70).collect();
        let spans = [(2, 4), (7, 12)].map(|(start, end)| Span { start, end, kind: SpanKind::Entity });
        let (mut seen, mut parts) = ([0; 2], 0);
        for seed in 0..2000 {
            let hidden = |level| {
                let made = objective.corrupt(&text(&ids), &spans, level, &mut random(seed)).unwrap();
                spans.map(|span| (span.start + 1..=span.end).filter(|place| made.chosen.contains(place)).count())
            };
            for (count, (span, seen)) in hidden(Level::Entities).into_iter().zip(spans.iter().zip(&mut seen)) {
                assert!(count == 0 || count == span.end - span.start, "a part of a span");
                *seen += usize::from(count > 0);
            }
            parts += usize::from(hidden(Level::Tokens)[1] % 5 != 0);
        }
        assert!(seen.iter().all(|&seen| seen > 200) && parts > 200, "{seen:?} {parts}");
    }

    #[test]
    fn stages_follow_each_other() {
        let given = Some(Entries::Listed(vec!["chess".into()]));
        let config = KnowledgeMaskingConfig { phrases: given.clone(), entities: given.clone(), ..Default::default() };
        assert_eq!(config.levels(), LEVELS[..3]);
        let objective = KnowledgeMasking::new(config.clone().divided(90), &playing()).unwrap();
        let at = [0, 29, 30, 59, 60, 1_000_000].map(|step| objective.level(Some(step)));
        let [tokens, phrases, entities, _] = LEVELS;
        assert_eq!(at, [tokens, tokens, phrases, phrases, entities, entities]);
        assert_eq!(objective.level(None), entities);
        // what is given stays; without a lexicon there is no stage of it
        let stages = vec![MaskingStage { hide: Level::PhrasesAndEntities, until: None }];
        let own = KnowledgeMaskingConfig { stages: stages.clone(), ..config.clone() };
        assert_eq!(own.divided(90).stages, stages);
        let alone = KnowledgeMaskingConfig { phrases: None, entities: given, ..Default::default() }.divided(11);
        let until: Vec<_> = alone.stages.iter().map(|stage| (stage.hide, stage.until)).collect();
        assert_eq!(until, [(tokens, Some(5)), (entities, None)]);
        assert_eq!(config.divided(1).stages[1].until, Some(2));
    }

    #[test]
    fn impossible_stages_are_refused() {
        let phrases = Some(Entries::Listed(vec!["chess".into()]));
        let stage = |hide, until| MaskingStage { hide, until };
        for stages in [
            vec![stage(Level::Entities, None)],
            vec![stage(Level::Phrases, Some(3))],
            vec![stage(Level::Tokens, None), stage(Level::Phrases, None)],
            vec![stage(Level::Tokens, Some(0)), stage(Level::Phrases, None)],
            vec![stage(Level::Tokens, Some(5)), stage(Level::Phrases, Some(5)), stage(Level::Tokens, None)],
        ] {
            let config = KnowledgeMaskingConfig { phrases: phrases.clone(), stages, ..Default::default() };
            let error = KnowledgeMasking::new(config, &playing()).unwrap_err().to_string();
            assert!(error.starts_with("objective.stages"), "{error}");
        }
    }
}
