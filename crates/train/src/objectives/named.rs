//! Objectives by name, with their settings: what recipes and commands say.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::capitalization::{Capitalization, CapitalizationConfig};
use super::causal::{Causal, CausalConfig, CausalLm};
use super::classified::Classified;
use super::continual::{ContinualConfig, TaskObjective};
use super::denoised::Denoised;
use super::denoising::{Denoising, DenoisingConfig, Noise, TextInfilling};
use super::knowledge_masking::{KnowledgeMasking, KnowledgeMaskingConfig, Level};
use super::masked_lm::{MaskedLm, MaskedLmConfig};
use super::masking::Masked;
use super::mixture::MixtureConfig;
use super::next_sentence::{FRAME, NextSentence, NextSentenceConfig, Otherwise, SentencePair};
use super::permutation::{PermutationConfig, PermutationLm, Permuted};
use super::picture::Picture;
use super::replaced_token_detection::{Detection, ReplacedTokenConfig, ReplacedTokenDetection};
use super::sentence_distance::{SentenceDistance, SentenceDistanceConfig};
use super::sentence_reordering::{SentenceReordering, SentenceReorderingConfig};
use super::span_corruption::{SpanCorruption, SpanCorruptionConfig};
use super::span_masking::{MaskedSpans, SpanMasking, SpanMaskingConfig};
use super::t5_variants::{T5Variant, Variant, VariantConfig, WithoutRate};
use super::token_document::{TokenDocument, TokenDocumentConfig};
use super::{Text, Vocabulary, generator};
use crate::error::{Error, Result};

/// An objective and its settings, as a table whose `name` says which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ObjectiveConfig {
    /// BERT's and RoBERTa's.
    MaskedLm(MaskedLmConfig),
    /// BERT's, with the sentence that follows.
    NextSentence(NextSentenceConfig),
    /// ALBERT's.
    SentenceOrder(NextSentenceConfig),
    /// SpanBERT's.
    SpanMasking(SpanMaskingConfig),
    /// ELECTRA's.
    ReplacedTokenDetection(ReplacedTokenConfig),
    /// ERNIE's.
    KnowledgeMasking(KnowledgeMaskingConfig),
    /// A task of ERNIE 2.0, as the three that follow: the order of segments.
    SentenceReordering(SentenceReorderingConfig),
    /// How far sentences are apart.
    SentenceDistance(SentenceDistanceConfig),
    /// Which words had a capital.
    Capitalization(CapitalizationConfig),
    /// Which tokens are elsewhere in the document.
    TokenDocument(TokenDocumentConfig),
    /// ERNIE 2.0's: several tasks, one after the other and together.
    Continual(ContinualConfig),
    /// T5's: tasks as text beside the text of corpora.
    Mixture(MixtureConfig),
    /// GPT's.
    CausalLm(CausalConfig),
    /// XLNet's.
    PermutationLm(PermutationConfig),
    /// BART's.
    Denoising(DenoisingConfig),
    /// T5's.
    SpanCorruption(SpanCorruptionConfig),
    /// A variant of the T5 paper, as the five that follow.
    PrefixLm(WithoutRate),
    /// BERT-style.
    BertStyle(VariantConfig),
    /// MASS-style.
    MassStyle(VariantConfig),
    /// Deshuffling.
    Deshuffling(WithoutRate),
    /// Spans of tokens chosen one by one.
    IidSpans(VariantConfig),
    /// Tokens chosen one by one, dropped.
    IidDropped(VariantConfig),
}

/// What `ptm explain` knows: every objective, and BART's noises one by one.
pub const NAMES: [&str; 25] = [
    "masked_lm",
    "next_sentence",
    "sentence_order",
    "span_masking",
    "replaced_token_detection",
    "knowledge_masking",
    "sentence_reordering",
    "sentence_distance",
    "capitalization",
    "token_document",
    "causal_lm",
    "permutation_lm",
    "denoising",
    "token_masking",
    "token_deletion",
    "text_infilling",
    "sentence_permutation",
    "document_rotation",
    "span_corruption",
    "prefix_lm",
    "bert_style",
    "mass_style",
    "deshuffling",
    "iid_spans",
    "iid_dropped",
];

impl ObjectiveConfig {
    /// The objective of that name with these settings; a noise of BART's is denoising by it alone.
    ///
    /// # Errors
    /// When there is no such objective, or it has no such setting.
    pub fn new(name: &str, mut settings: toml::Table) -> Result<Self> {
        if !NAMES.contains(&name) {
            let problem = format!("there is no objective {name:?}; there are {}", NAMES.join(", "));
            return Err(Error::recipe("objective.name", problem));
        }
        let mut rate = |default: f64| match settings.remove("rate") {
            None => Ok(default),
            Some(toml::Value::Float(rate)) => Ok(rate),
            Some(toml::Value::Integer(rate)) => Ok(rate as f64),
            Some(other) => Err(Error::recipe("objective.rate", format!("should be a number, not {other}"))),
        };
        let noise = match name {
            "token_masking" => Some(Noise::TokenMasking { rate: rate(0.15)? }),
            "token_deletion" => Some(Noise::TokenDeletion { rate: rate(0.15)? }),
            "sentence_permutation" => Some(Noise::SentencePermutation { rate: rate(1.0)? }),
            "document_rotation" => Some(Noise::DocumentRotation { rate: rate(1.0)? }),
            "text_infilling" => {
                let infilling: TextInfilling = std::mem::take(&mut settings).try_into().map_err(|e| wrong(name, &e))?;
                Some(Noise::TextInfilling(infilling))
            }
            _ => None,
        };
        if let Some(noise) = noise {
            if let Some(setting) = settings.keys().next() {
                return Err(Error::recipe(format!("objective.{setting}"), format!("{name} has no such setting")));
            }
            return Ok(Self::Denoising(DenoisingConfig { noises: vec![noise] }));
        }
        settings.insert("name".into(), name.into());
        settings.try_into().map_err(|error| wrong(name, &error))
    }

    /// The objective with the tokens that it needs.
    ///
    /// # Errors
    /// When a setting is out of range, or the vocabulary lacks a token.
    pub fn build(&self, vocabulary: &Vocabulary) -> Result<SequenceObjective> {
        let variant = |variant, config: VariantConfig| {
            T5Variant::new(variant, config, vocabulary).map(SequenceObjective::T5Variant)
        };
        let pairs = |config: &NextSentenceConfig, otherwise| {
            NextSentence::new(config.clone(), otherwise, vocabulary).map(SequenceObjective::SentencePair)
        };
        let task = |task| Ok(SequenceObjective::Task(task));
        match self {
            Self::SentenceReordering(config) => {
                task(TaskObjective::Reordering(SentenceReordering::new(config.clone(), vocabulary)?))
            }
            Self::SentenceDistance(config) => task(TaskObjective::Distance(SentenceDistance::new(config, vocabulary)?)),
            Self::Capitalization(config) => {
                task(TaskObjective::Capitalization(Box::new(Capitalization::new(config, vocabulary)?)))
            }
            Self::TokenDocument(config) => {
                task(TaskObjective::TokenDocument(Box::new(TokenDocument::new(config, vocabulary)?)))
            }
            Self::Continual(_) | Self::Mixture(_) => {
                let problem = "continual and mixture are several objectives: name one of them";
                Err(Error::recipe("objective.name", problem))
            }
            Self::MaskedLm(config) => MaskedLm::new(config.clone(), vocabulary).map(SequenceObjective::Masked),
            Self::NextSentence(config) => pairs(config, Otherwise::Random),
            Self::SentenceOrder(config) => pairs(config, Otherwise::Swapped),
            Self::SpanMasking(config) => {
                SpanMasking::new(config.clone(), vocabulary).map(SequenceObjective::SpanMasking)
            }
            Self::ReplacedTokenDetection(config) => {
                ReplacedTokenDetection::new(config.clone(), vocabulary).map(SequenceObjective::Detection)
            }
            Self::KnowledgeMasking(config) => {
                KnowledgeMasking::new(config.clone(), vocabulary).map(Box::new).map(SequenceObjective::Knowledge)
            }
            Self::CausalLm(config) => CausalLm::new(*config, vocabulary).map(SequenceObjective::Causal),
            Self::PermutationLm(config) => PermutationLm::new(*config, vocabulary).map(SequenceObjective::Permutation),
            Self::Denoising(config) => {
                Denoising::new(config.noises.clone(), vocabulary).map(SequenceObjective::Denoising)
            }
            Self::SpanCorruption(config) => {
                SpanCorruption::new(*config, vocabulary).map(SequenceObjective::SpanCorruption)
            }
            Self::PrefixLm(config) => variant(Variant::PrefixLm, (*config).into()),
            Self::BertStyle(config) => variant(Variant::BertStyle, *config),
            Self::MassStyle(config) => variant(Variant::MassStyle, *config),
            Self::Deshuffling(config) => variant(Variant::Deshuffling, (*config).into()),
            Self::IidSpans(config) => variant(Variant::IidSpans, *config),
            Self::IidDropped(config) => variant(Variant::IidDropped, *config),
        }
    }
}

fn wrong(name: &str, error: &toml::de::Error) -> Error {
    Error::recipe(format!("objective {name}"), error.message().to_owned())
}

/// An objective with its tokens.
#[derive(Clone, Debug)]
pub enum SequenceObjective {
    /// BERT's and RoBERTa's.
    Masked(MaskedLm),
    /// BERT's and ALBERT's pairs.
    SentencePair(NextSentence),
    /// SpanBERT's.
    SpanMasking(SpanMasking),
    /// ELECTRA's.
    Detection(ReplacedTokenDetection),
    /// ERNIE's.
    Knowledge(Box<KnowledgeMasking>),
    /// A task of ERNIE 2.0.
    Task(TaskObjective),
    /// GPT's.
    Causal(CausalLm),
    /// XLNet's.
    Permutation(PermutationLm),
    /// BART's.
    Denoising(Denoising),
    /// T5's.
    SpanCorruption(SpanCorruption),
    /// A variant of T5's.
    T5Variant(T5Variant),
}

/// What one text becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Examples {
    /// A sequence of an encoder.
    Masked(Masked),
    /// Two segments of an encoder.
    SentencePair(SentencePair),
    /// A sequence of an encoder with hidden spans.
    MaskedSpans(MaskedSpans),
    /// A sequence of generator and discriminator.
    Detection(Detection),
    /// Sequences of an encoder, one a stage.
    Knowledge(Vec<(Level, Masked)>),
    /// A sequence of an encoder with classes, and as it would be read with nothing changed.
    Classified(Classified, Vec<u32>),
    /// Blocks of a decoder.
    Causal(Vec<Causal>),
    /// Segments of XLNet.
    Permuted(Vec<Permuted>),
    /// A pair of an encoder-decoder.
    Denoised(Denoised),
}

impl SequenceObjective {
    /// What an encoder-decoder's decoder reads first: BART's the token that ends a text, T5's padding.
    ///
    /// # Errors
    /// When the vocabulary has no such token.
    pub fn decoder_start(&self, vocabulary: &Vocabulary) -> Result<u32> {
        if matches!(self, Self::Denoising(_)) { vocabulary.eos() } else { vocabulary.pad() }
    }

    /// What stands before and behind a text of an encoder-decoder.
    ///
    /// # Errors
    /// When the vocabulary has no token that ends a text.
    pub(crate) fn ends(&self, vocabulary: &Vocabulary) -> Result<(Option<u32>, u32)> {
        let bos = if matches!(self, Self::Denoising(_)) { vocabulary.bos().ok() } else { None };
        Ok((bos, vocabulary.eos()?))
    }

    /// Whether a text becomes a pair for an encoder-decoder.
    pub fn makes_pairs(&self) -> bool {
        matches!(self, Self::Denoising(_) | Self::SpanCorruption(_) | Self::T5Variant(_))
    }

    /// How many tokens of text make a source of at most `length`, or for those that aren't of encoder-decoders an example.
    pub fn raw_length(&self, length: usize) -> usize {
        let raw = match self {
            Self::SpanCorruption(objective) => objective.raw_length(length),
            // what begins and ends the text
            Self::Denoising(_) | Self::Masked(_) | Self::SpanMasking(_) | Self::Knowledge(_) => {
                length.saturating_sub(2)
            }
            Self::Detection(objective) => length.saturating_sub(objective.frame()),
            Self::SentencePair(_) => length.saturating_sub(FRAME),
            Self::T5Variant(_) => length.saturating_sub(1),
            Self::Task(_) => length.saturating_sub(FRAME + 1),
            Self::Causal(_) | Self::Permutation(_) => length,
        };
        raw.max(2)
    }

    /// Whether a text is a stretch of several documents.
    pub(crate) fn joins_documents(&self) -> bool {
        match self {
            Self::SpanCorruption(objective) => objective.config().across_documents,
            Self::T5Variant(objective) => objective.config().across_documents,
            _ => false,
        }
    }

    /// Says where texts of `length` tokens ask for more sentinels than there are, or as often as not do.
    ///
    /// # Errors
    /// When they do.
    pub(crate) fn check_sentinels(&self, length: usize) -> Result<()> {
        match self {
            Self::SpanCorruption(objective) => objective.check_sentinels(objective.spans(length) as f64, length),
            Self::T5Variant(objective) => objective.check_sentinels(length),
            _ => Ok(()),
        }
    }

    /// Whether nothing is changed in a text of one sentence.
    pub(crate) fn needs_sentences(&self) -> bool {
        matches!(self, Self::Denoising(objective) if objective.needs_sentences())
    }

    /// Whether a pair may be of two documents.
    pub fn needs_other(&self) -> bool {
        match self {
            Self::SentencePair(objective) => objective.needs_other(),
            Self::Task(TaskObjective::Distance(_)) | Self::Permutation(_) => true,
            _ => false,
        }
    }

    /// What a text becomes. `other` is a text of another document, for pairs that may be of two.
    ///
    /// # Errors
    /// When the text is too short, or too long for the vocabulary's sentinels.
    pub fn corrupt(&self, text: &Text<'_>, other: Option<&Text<'_>>, random: &mut ChaCha8Rng) -> Result<Examples> {
        Ok(match self {
            Self::Masked(objective) => Examples::Masked(objective.corrupt(text, random)?),
            Self::SentencePair(objective) => {
                let length = text.ids.len() + FRAME;
                Examples::SentencePair(objective.corrupt(text, other, length, random)?)
            }
            Self::SpanMasking(objective) => Examples::MaskedSpans(objective.corrupt(text, random)?),
            Self::Detection(objective) => Examples::Detection(objective.corrupt(text, random)?),
            Self::Knowledge(objective) => {
                let levels = objective.config().levels().into_iter();
                let made = levels.map(|level| Ok((level, objective.corrupt(text, &[], level, &mut random.clone())?)));
                Examples::Knowledge(made.collect::<Result<_>>()?)
            }
            Self::Task(objective) => {
                let (made, read) = objective.classify(text, other, random)?;
                Examples::Classified(made, read)
            }
            Self::Causal(objective) => Examples::Causal(objective.corrupt(text, random)?),
            Self::Permutation(objective) => Examples::Permuted(objective.corrupt(text, other, random)?),
            Self::Denoising(objective) => Examples::Denoised(objective.corrupt(text, random)?),
            Self::SpanCorruption(objective) => Examples::Denoised(objective.corrupt(text, random)?),
            Self::T5Variant(objective) => Examples::Denoised(objective.corrupt(text, random)?),
        })
    }

    /// What a text becomes in each case that the objective tells apart, as a pair that follows and one that doesn't: of the
    /// examples that training would make of it with `seed`, the first of each case; of other objectives the first of all.
    /// `others` are texts of other documents, of which each example may draw one.
    ///
    /// # Errors
    /// As [`Self::corrupt`].
    pub fn cases(&self, text: &Text<'_>, others: &[Text<'_>], seed: u64) -> Result<Vec<Examples>> {
        // a case that is rarer than one in a thousand is not looked for
        const TRIES: u64 = 1000;
        let tries = match self {
            Self::SentencePair(_) | Self::Task(TaskObjective::Distance(_)) => TRIES,
            Self::Permutation(_) if !others.is_empty() => TRIES,
            _ => 1,
        };
        let mut cases = BTreeMap::new();
        for number in 0..tries {
            let mut random = generator(seed, 0, number);
            let other = if others.len() > 1 { others.choose(&mut random) } else { others.first() };
            let made = self.corrupt(text, other, &mut random)?;
            cases.entry(made.case()).or_insert(made);
        }
        Ok(cases.into_values().collect())
    }
}

impl Examples {
    /// Which of the cases that the objective tells apart.
    fn case(&self) -> u32 {
        match self {
            Self::SentencePair(pair) => pair.label,
            Self::Classified(one, _) => one.labels.first().copied().unwrap_or(0),
            Self::Permuted(segments) => u32::from(segments.iter().any(|one| one.elsewhere)),
            _ => 0,
        }
    }

    /// What they look like, one after the other; encoder-decoders begin with `start`, and ELECTRA's generator knows how often
    /// each token occurs in the text.
    pub fn pictures(&self, start: u32) -> Vec<Picture> {
        match self {
            Self::Masked(one) => vec![one.picture()],
            Self::SentencePair(one) => vec![one.picture()],
            Self::MaskedSpans(one) => vec![one.picture()],
            Self::Detection(one) => vec![one.picture(&one.drawn_by_frequency())],
            Self::Knowledge(stages) => stages.iter().map(|(level, one)| one.picture_at(*level)).collect(),
            Self::Classified(one, read) => vec![one.picture(read)],
            Self::Causal(blocks) => blocks.iter().map(Causal::picture).collect(),
            Self::Permuted(segments) => segments.iter().map(Permuted::picture).collect(),
            Self::Denoised(pair) => vec![pair.picture(start)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::draws::tests::random;
    use super::super::picture::Row;
    use super::super::tests::vocabulary;
    use super::*;

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn every_name_is_an_objective() {
        let ids: Vec<u32> = (20..60).collect();
        for name in NAMES {
            let config = ObjectiveConfig::new(name, toml::Table::new()).unwrap();
            let objective = config.build(&vocabulary()).unwrap();
            let text = Text { ids: &ids, sentences: &[0, 15, 30] };
            let made = objective.corrupt(&text, None, &mut random(1)).unwrap();
            assert_eq!(made, objective.corrupt(&text, None, &mut random(1)).unwrap(), "{name}");
            for picture in made.pictures(0) {
                let losses =
                    |row: &Row| row.targets.iter().any(Option::is_some) || row.classes.iter().any(Option::is_some);
                assert!(picture.rows.iter().any(losses), "{name}: no loss");
                for sight in &picture.sights {
                    assert_eq!(sight.visible.len(), sight.asking.len() * picture.rows[sight.row].ids.len());
                }
            }
        }
    }

    #[test]
    fn every_case_of_a_pair_is_found() {
        let (ids, own) = ((20..40).collect::<Vec<u32>>(), [0, 5, 12]);
        let (others, starts) = ([(60..70).collect::<Vec<u32>>(), (80..90).collect()], [0, 4]);
        let text = Text { ids: &ids, sentences: &own };
        let others = others.each_ref().map(|ids| Text { ids, sentences: &starts });
        let cases = |name: &str, settings: &str, others: &[Text<'_>]| {
            let objective = ObjectiveConfig::new(name, table(settings)).unwrap().build(&vocabulary()).unwrap();
            let made = objective.cases(&text, others, 1).unwrap();
            assert_eq!(made, objective.cases(&text, others, 1).unwrap(), "{name}");
            (made.iter().map(Examples::case).collect::<Vec<_>>(), made)
        };
        for (name, settings, alone, beside) in [
            ("next_sentence", "", &[0][..], &[0, 1][..]),
            ("next_sentence", "negatives = 0", &[0], &[0]),
            ("sentence_order", "", &[0, 1], &[0, 1]),
            ("sentence_distance", "", &[0, 1], &[0, 1, 2]),
            ("permutation_lm", "", &[0], &[0, 1]),
            ("masked_lm", "", &[0], &[0]),
        ] {
            assert_eq!((&cases(name, settings, &[]).0[..], &cases(name, settings, &others).0[..]), (alone, beside));
        }
        // the second segment of a pair that doesn't follow is of one of the others
        let Examples::SentencePair(pair) = &cases("next_sentence", "", &others).1[1] else { panic!("a pair") };
        let original = pair.masked.original();
        let second = original.split(|&id| id == 1).nth(1).unwrap();
        assert!(second.iter().all(|id| (60..70).contains(id)) || second.iter().all(|id| (80..90).contains(id)));
    }

    #[test]
    fn settings_are_read_and_unknown_ones_refused() {
        let made = ObjectiveConfig::new("span_corruption", table("rate = 0.5\nmean_span = 4")).unwrap();
        let want = SpanCorruptionConfig { rate: 0.5, mean_span: 4.0, ..SpanCorruptionConfig::default() };
        assert_eq!(made, ObjectiveConfig::SpanCorruption(want));
        let made = ObjectiveConfig::new("token_masking", table("rate = 1")).unwrap();
        assert_eq!(
            made,
            ObjectiveConfig::Denoising(DenoisingConfig { noises: vec![Noise::TokenMasking { rate: 1.0 }] })
        );
        for (name, settings) in [
            ("span_corruption", "spam = 1"),
            ("token_masking", "mean_span = 3"),
            ("text_infilling", "lambda = 3"),
            ("iid_spans", "rate = \"high\""),
            ("prefix_lm", "rate = 0.2"),
            ("deshuffling", "rate = 0.2"),
            ("mlm", ""),
            ("masked_lm", "spam = 1"),
        ] {
            let message = ObjectiveConfig::new(name, table(settings)).unwrap_err().to_string();
            assert!(message.starts_with("objective"), "{message}");
        }
    }
}
