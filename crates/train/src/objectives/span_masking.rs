//! Span masking (Joshi et al. 2020, §3.1 and §3.2): contiguous spans of whole words are hidden, and foretold twice: as in
//! masked language modelling, and by the span boundary objective from the two tokens outside and the place within alone.
//! (In the authors' code a span begins at the word of a random token, so that longer words begin more of them, and random
//! tokens are drawn as often as they occur.)

use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::masking::{Masked, Masking, instead, units};
use super::{Text, Vocabulary, draws};
use crate::error::{Error, Result};

/// What is hidden, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpanMaskingConfig {
    /// The share of tokens that are chosen.
    pub rate: f64,
    /// The share of spans whose tokens become the mask.
    pub masked: f64,
    /// The share whose tokens become random ones; what remains is kept.
    pub random: f64,
    /// The parameter of the geometric distribution of lengths, in words: how likely a span is to end with each.
    pub end: f64,
    /// Words of the longest span. Lengths are drawn among those up to it, so that their mean is 3.8, as published; spans that
    /// end early are shorter.
    pub longest: usize,
}

impl Default for SpanMaskingConfig {
    fn default() -> Self {
        Self { rate: 0.15, masked: 0.8, random: 0.1, end: 0.2, longest: 10 }
    }
}

/// A text with hidden spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskedSpans {
    /// The text.
    pub masked: Masked,
    /// Where the spans are, ascending. A token is before each and behind it, and in no other one.
    pub spans: Vec<Range<usize>>,
}

/// What the span boundary objective foretells a token from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// The place of the token.
    pub place: usize,
    /// The place before its span, and the one behind it.
    pub outside: [usize; 2],
    /// How many tokens of its span are before it.
    pub within: usize,
}

impl MaskedSpans {
    /// For each hidden token the boundary of its span, in the order of [`Masked::chosen`].
    pub fn bounded(&self) -> impl Iterator<Item = Bounded> {
        self.spans.iter().flat_map(|span| {
            let outside = [span.start - 1, span.end];
            span.clone().map(move |place| Bounded { place, outside, within: place - span.start })
        })
    }
}

/// Span masking with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct SpanMasking {
    config: SpanMaskingConfig,
    masking: Masking,
    vocabulary: Vocabulary,
    /// How likely a span is to have one word, up to two, and so on, `[longest]`.
    lengths: Vec<f64>,
    cls: u32,
    sep: u32,
}

impl SpanMasking {
    /// # Errors
    /// When a share or a length is out of range, or the vocabulary lacks a token or cannot tell words.
    pub fn new(config: SpanMaskingConfig, vocabulary: &Vocabulary) -> Result<Self> {
        // texts have no longer ones
        const MOST: usize = 4096;
        for (key, share) in [("objective.rate", config.rate), ("objective.end", config.end)] {
            if !(share > 0.0 && share <= 1.0) {
                return Err(Error::recipe(key, format!("is {share}, but should be a share above 0 and up to 1")));
            }
        }
        if !(1..=MOST).contains(&config.longest) {
            let problem = format!("is {}, but should be from 1 to {MOST} words", config.longest);
            return Err(Error::recipe("objective.longest", problem));
        }
        vocabulary.tells_words()?;
        let masking = Masking::new(config.masked, config.random, vocabulary)?;
        let weights = (0..config.longest as i32).map(|more| config.end * (1.0 - config.end).powi(more));
        let mut sum = 0.0;
        let mut lengths: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        lengths.iter_mut().for_each(|length| *length /= sum);
        let (cls, sep) = (vocabulary.cls()?, vocabulary.sep()?);
        Ok(Self { config, masking, vocabulary: vocabulary.clone(), lengths, cls, sep })
    }

    /// The settings.
    pub fn config(&self) -> &SpanMaskingConfig {
        &self.config
    }

    /// One example: the text, of one segment, between the tokens that begin and end a sequence.
    ///
    /// # Errors
    /// When the text has no token that could be hidden.
    pub fn corrupt(&self, text: &Text<'_>, random: &mut ChaCha8Rng) -> Result<MaskedSpans> {
        let ids: Vec<u32> = std::iter::once(self.cls).chain(text.ids.iter().copied()).chain([self.sep]).collect();
        let mut spans = self.spans(&ids, random);
        if spans.is_empty() {
            return Err(Error::Input("a text has no token that could be hidden: all are special".into()));
        }
        let segments = vec![0; ids.len()];
        // one fate for all of a span
        let masked = self.masking.hide(ids, segments, &spans, true, random);
        spans.sort_unstable_by_key(|span| span.start);
        Ok(MaskedSpans { masked, spans })
    }

    /// The number of words of the next span.
    fn length(&self, random: &mut ChaCha8Rng) -> usize {
        let draw: f64 = random.random();
        // rounding may leave the last a hair below one
        1 + self.lengths.partition_point(|&below| below <= draw).min(self.lengths.len() - 1)
    }

    /// Spans in the order in which they are drawn, until they have so many tokens as the rate means. Each begins at a random
    /// word, and ends early where the next word would make too many tokens, is special, or stands beside another span:
    /// the tokens outside a span are always to be seen. (In the authors' code spans may touch, what remains at last cuts
    /// words, and a span at either end of the text has no boundary; here that is what frames the text.)
    fn spans(&self, ids: &[u32], random: &mut ChaCha8Rng) -> Vec<Range<usize>> {
        let words = units(ids, true, &self.vocabulary);
        let spans = self.spans_of(&words, random);
        if !spans.is_empty() {
            return spans;
        }
        // every word is longer than all that may be hidden, but something has to be foretold
        instead(words, ids, (self.config.rate, None), &self.vocabulary, |tokens| self.spans_of(&tokens, random))
    }

    fn spans_of(&self, words: &[Range<usize>], random: &mut ChaCha8Rng) -> Vec<Range<usize>> {
        let total: usize = words.iter().map(ExactSizeIterator::len).sum();
        let mut left = draws::count_of(total, self.config.rate);
        let mut free = vec![true; words.len()];
        let mut starts: Vec<usize> = (0..words.len()).filter(|&word| words[word].len() <= left).collect();
        let mut spans = Vec::new();
        while !starts.is_empty() {
            let (length, first) = (self.length(random), starts[random.random_range(0..starts.len())]);
            let (mut span, mut behind) = (words[first].clone(), first + 1);
            while behind < words.len().min(first + length)
                && free[behind]
                && words[behind].start == span.end
                && words[behind].end - span.start <= left
            {
                span.end = words[behind].end;
                behind += 1;
            }
            left -= span.len();
            spans.push(span);
            free[first.saturating_sub(1)..words.len().min(behind + 1)].fill(false);
            starts.retain(|&word| free[word] && words[word].len() <= left);
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::draws::tests::{chi_square, random};
    use super::super::masking::hidden;
    use super::super::tests::{numbers, text, vocabulary};
    use super::super::vocabulary::tests::with_words;
    use super::*;

    fn objective(config: SpanMaskingConfig) -> SpanMasking {
        SpanMasking::new(config, &vocabulary()).unwrap()
    }

    /// By hand: half of four words is two. A span has one word with a chance of two thirds, two with one third, and one
    /// that begins at the last word has one; a second span leaves a word between.
    #[test]
    fn a_worked_example() {
        let config = SpanMaskingConfig { rate: 0.5, masked: 1.0, random: 0.0, end: 0.5, longest: 2 };
        let objective = objective(config);
        let outcomes: [(&[(usize, usize)], f64); 6] = [
            (&[(1, 3)], 2.0 / 24.0),
            (&[(2, 4)], 2.0 / 24.0),
            (&[(3, 5)], 2.0 / 24.0),
            (&[(1, 2), (3, 4)], 6.0 / 24.0),
            (&[(1, 2), (4, 5)], 5.0 / 24.0),
            (&[(2, 3), (4, 5)], 7.0 / 24.0),
        ];
        let mut counts = [0_u64; 6];
        let mut random = random(1);
        for _ in 0..100_000 {
            let made = objective.corrupt(&text(&[11, 12, 13, 14]), &mut random).unwrap();
            let spans: Vec<(usize, usize)> = made.spans.iter().map(|span| (span.start, span.end)).collect();
            let which = outcomes.iter().position(|(one, _)| *one == spans);
            counts[which.unwrap_or_else(|| panic!("{made:?}"))] += 1;
            assert_eq!(made.masked.original(), [3, 11, 12, 13, 14, 1]);
            let chosen: Vec<usize> = made.spans.iter().cloned().flatten().collect();
            assert_eq!(made.masked.chosen, chosen);
            assert!(chosen.iter().all(|&place| made.masked.ids[place] == 4));
            assert_eq!(made.masked.segments, [0; 6]);
        }
        // 5 degrees of freedom: 20.5 at one in a thousand
        assert!(chi_square(&counts, &outcomes.map(|(_, chance)| chance)) < 20.5, "{counts:?}");
    }

    #[test]
    fn boundaries_are_the_tokens_outside() {
        let masked = Masked { ids: vec![3, 4, 12, 4, 4, 1], chosen: vec![1, 3, 4], ..Masked::default() };
        let made = MaskedSpans { masked, spans: vec![1..2, 3..5] };
        let bounded: Vec<_> = made.bounded().map(|one| (one.place, one.outside, one.within)).collect();
        assert_eq!(bounded, [(1, [0, 2], 0), (3, [2, 5], 0), (4, [2, 5], 1)]);
    }

    /// The authors' code, given the same spans with the same fates: the same text, and the same boundaries with what they
    /// foretell; `parity/objectives/span_masking.py` says what is compared.
    #[test]
    fn the_same_spans_are_hidden_and_bounded_as_by_the_authors_code() {
        let golden: Value =
            serde_json::from_str(include_str!("../../../../parity/objectives/span_masking.json")).unwrap();
        let ids = numbers::<u32>;
        let mask = golden["mask"].as_u64().unwrap() as u32;
        let (mut fates, mut bounds) = (std::collections::BTreeSet::new(), 0);
        for case in golden["cases"].as_array().unwrap() {
            let (text, want) = (ids(&case["ids"]), ids(&case["masked"]));
            let spans: Vec<Range<usize>> = case["spans"]
                .as_array()
                .unwrap()
                .iter()
                .map(numbers)
                .map(|span: Vec<usize>| span[0]..span[1])
                .collect();
            let fate =
                |place: usize| case["fates"][spans.iter().position(|span| span.contains(&place)).unwrap()].as_str();
            let masked = hidden(text.clone(), vec![0; text.len()], &spans, |place, id, _| match fate(place).unwrap() {
                "mask" => mask,
                "random" => want[place],
                _ => id,
            });
            assert_eq!(masked.ids, want);
            assert_eq!(masked.targets, ids(&case["targets"]));
            fates.extend(case["fates"].as_array().unwrap().iter().map(Value::to_string));

            let inside = spans.into_iter().filter(|span| span.start > 0 && span.end < text.len()).collect();
            let made = MaskedSpans { masked, spans: inside };
            // as the authors have them: the boundary, and what it foretells
            let mut pairs: Vec<Vec<usize>> = Vec::new();
            for Bounded { place, outside, within } in made.bounded() {
                if within == 0 {
                    pairs.push(outside.to_vec());
                }
                // theirs have 15 tokens at most
                pairs.last_mut().unwrap().extend((within < 15).then_some(text[place] as usize));
            }
            assert_eq!(pairs, case["pairs"].as_array().unwrap().iter().map(numbers::<usize>).collect::<Vec<_>>());
            bounds += pairs.len();
        }
        assert!(fates.len() == 3 && bounds > 8, "{fates:?}, {bounds}");
    }

    /// The geometric distribution among the lengths up to the longest.
    fn chances(objective: &SpanMasking) -> Vec<f64> {
        let SpanMaskingConfig { end, longest, .. } = *objective.config();
        let all = 1.0 - (1.0 - end).powi(longest as i32);
        (0..longest as i32).map(|more| end * (1.0 - end).powi(more) / all).collect()
    }

    #[test]
    fn lengths_are_geometric() {
        let objective = objective(SpanMaskingConfig::default());
        let (mut random, mut counts, mut sum) = (random(1), [0_u64; 10], 0);
        for _ in 0..100_000 {
            let length = objective.length(&mut random);
            counts[length - 1] += 1;
            sum += length;
        }
        // 9 degrees of freedom: 27.9 at one in a thousand
        assert!(chi_square(&counts, &chances(&objective)) < 27.9, "{counts:?}");
        assert!((sum as f64 / 1e5 - 3.8).abs() < 0.03, "the mean is {}", sum as f64 / 1e5);
    }

    #[test]
    fn spans_begin_anywhere_and_have_the_lengths_drawn() {
        let objective = objective(SpanMaskingConfig { rate: 0.1, ..SpanMaskingConfig::default() });
        let ids: Vec<u32> = (20..130).collect();
        let (mut random, mut starts, mut counts) = (random(2), [0_u64; 110], [0_u64; 10]);
        for _ in 0..100_000 {
            let first = &objective.spans(&ids, &mut random)[0];
            starts[first.start] += 1;
            // near the end of the text long ones are cut
            if first.start <= 100 {
                counts[first.len() - 1] += 1;
            }
        }
        // 109 degrees of freedom: 160.6 at one in a thousand
        assert!(chi_square(&starts, &[1.0 / 110.0; 110]) < 160.6, "{starts:?}");
        assert!(chi_square(&counts, &chances(&objective)) < 27.9, "{counts:?}");
    }

    #[test]
    fn so_many_tokens_one_fate_a_span_and_never_special_ones() {
        // a special token within the text
        let ids: Vec<u32> = (20..60).chain([1]).chain(60..100).collect();
        let (objective, mut random) = (objective(SpanMaskingConfig::default()), random(1));
        let (mut fates, mut spans) = ([0_u64; 3], 0);
        for _ in 0..50_000 {
            let MaskedSpans { masked, spans: found } = objective.corrupt(&text(&ids), &mut random).unwrap();
            // 15 % of 80
            assert_eq!(masked.chosen.len(), 12);
            assert_eq!(masked.original()[1..82], ids);
            assert!(!masked.chosen.iter().any(|&place| [0, 41, 82].contains(&place)), "a special token was hidden");
            assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start), "{found:?}");
            for span in found {
                let own = masked.chosen.iter().zip(&masked.targets).filter(|(place, _)| span.contains(place));
                let is: Vec<usize> = own
                    .map(|(&place, &target)| match masked.ids[place] {
                        4 => 0,
                        id if id == target => 2,
                        _ => 1,
                    })
                    .collect();
                assert_eq!(is.len(), span.len());
                // a random token is the token itself once in 130
                let fate = *is.iter().min().unwrap();
                assert!(is.iter().all(|&other| other == fate || fate == 1 && other == 2), "{is:?}");
                // of single tokens that would be mistaken for one that is kept
                if span.len() > 1 {
                    fates[fate] += 1;
                    spans += 1;
                }
            }
        }
        // 2 degrees of freedom: 13.8 at one in a thousand
        assert!(spans > 100_000 && chi_square(&fates, &[0.8, 0.1, 0.1]) < 13.8, "{fates:?}");
    }

    #[test]
    fn whole_words_stay_whole() {
        // words of one, two and three pieces: 100 and above go on
        let vocabulary = with_words(|id| id < 100);
        let config = SpanMaskingConfig { rate: 0.4, ..SpanMaskingConfig::default() };
        let objective = SpanMasking::new(config, &vocabulary).unwrap();
        let ids = [20, 21, 101, 22, 102, 103, 23, 24, 104, 25];
        let (starts, ends) = ([1, 2, 4, 7, 8, 10], [2, 4, 7, 8, 10, 11]);
        let mut longest = 0;
        for seed in 0..2000 {
            let made = objective.corrupt(&text(&ids), &mut random(seed)).unwrap();
            for span in &made.spans {
                assert!(starts.contains(&span.start) && ends.contains(&span.end), "{made:?}");
                longest = longest.max(span.len());
            }
            assert!((1..=4).contains(&made.masked.chosen.len()));
        }
        assert_eq!(longest, 4, "spans of two words");
        let one = SpanMasking::new(SpanMaskingConfig::default(), &with_words(|id| id == 20)).unwrap();
        let made = one.corrupt(&text(&[20, 21, 22, 23]), &mut random(1)).unwrap();
        assert_eq!((made.spans.len(), made.spans[0].len()), (1, 1), "one word of all tokens, of which one is hidden");
        let two = SpanMasking::new(SpanMaskingConfig::default(), &with_words(|id| [20, 22].contains(&id))).unwrap();
        let made = two.corrupt(&text(&[20, 21, 22, 23]), &mut random(1)).unwrap();
        assert_eq!((made.spans.len(), made.spans[0].clone()), (1, 1..3), "one of two words");
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let whole = SpanMaskingConfig::default;
        for (config, key) in [
            (SpanMaskingConfig { rate: 0.0, ..whole() }, "objective.rate"),
            (SpanMaskingConfig { end: 1.5, ..whole() }, "objective.end"),
            (SpanMaskingConfig { end: f64::NAN, ..whole() }, "objective.end"),
            (SpanMaskingConfig { longest: 0, ..whole() }, "objective.longest"),
            (SpanMaskingConfig { masked: 0.95, ..whole() }, "objective.random"),
        ] {
            let message = SpanMasking::new(config, &vocabulary()).unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
        let special = objective(whole()).corrupt(&text(&[1, 3]), &mut random(1));
        assert!(special.unwrap_err().to_string().contains("special"));
    }
}
