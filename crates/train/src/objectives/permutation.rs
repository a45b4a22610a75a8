//! Permutation language modelling (XLNet; Yang et al. 2019, §2.2 to 2.5): spans of the text come last in a random order of
//! factorization, each token predicted from those before it in that order. Who sees whom is the authors' code's; the
//! collator of transformers lets everyone see separators, which see tokens that are still to be predicted.

use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Text, Vocabulary, draws};
use crate::error::{Error, Result};

/// How targets and segments are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PermutationConfig {
    /// Tokens of a segment `[A, SEP, B, SEP, CLS]`.
    pub length: usize,
    /// K: one in so many tokens is predicted.
    pub one_in: usize,
    /// The longest span of targets.
    pub longest_span: usize,
    /// Whether a span of n tokens is 1/n times as likely as one of 1, as in the authors' code; all are as likely
    /// otherwise.
    pub short_spans: bool,
    /// How many tokens before the segment the memory holds.
    pub memory: usize,
    /// Whether every text is read backwards too: half of each batch of an even `batch.size`, about half of others.
    pub backwards: bool,
}

impl Default for PermutationConfig {
    fn default() -> Self {
        Self { length: 512, one_in: 6, longest_span: 5, short_spans: false, memory: 384, backwards: true }
    }
}

/// A segment with its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permuted {
    /// What came before, which the memory holds; empty where a text begins.
    pub memory: Vec<u32>,
    /// `[A, SEP, B, SEP, CLS]`.
    pub ids: Vec<u32>,
    /// 0 for A, 1 for B, each with its separator, 2 for the last.
    pub segments: Vec<u32>,
    /// The places, ascending, that are predicted.
    pub targets: Vec<usize>,
    /// The place of each token in the order; none for those that come first, all at once.
    pub ranks: Vec<Option<u32>>,
    /// Whether the text is read from its end.
    pub backwards: bool,
    /// Whether B is of another text.
    pub elsewhere: bool,
}

impl Permuted {
    /// Whether the token at place `key` is seen from place `query` by the stream that doesn't know the query's token. The
    /// other sees the query's own beside.
    pub fn sees(&self, query: usize, key: usize) -> bool {
        // none is less than any rank
        self.ranks[key].is_none() || self.ranks[query] > self.ranks[key]
    }

    /// [`Self::sees`] for all pairs, row-major, `[n, n]`.
    pub fn visible(&self) -> impl Iterator<Item = bool> {
        let n = self.ids.len();
        (0..n * n).map(move |pair| self.sees(pair / n, pair % n))
    }
}

/// Permutation language modelling with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct PermutationLm {
    config: PermutationConfig,
    sep: u32,
    cls: u32,
}

/// A, SEP, B, SEP, CLS: what isn't A or B.
const FRAME: usize = 3;

impl PermutationLm {
    /// # Errors
    /// When a setting is out of range, or the vocabulary lacks `[SEP]` or `[CLS]`.
    pub fn new(config: PermutationConfig, vocabulary: &Vocabulary) -> Result<Self> {
        for (field, value, least) in [
            ("objective.length", config.length, FRAME + 2),
            ("objective.one_in", config.one_in, 1),
            ("objective.longest_span", config.longest_span, 1),
        ] {
            if value < least {
                return Err(Error::recipe(field, format!("should be at least {least}, not {value}")));
            }
        }
        if config.longest_span.checked_mul(config.one_in).is_none_or(|context| context > 1 << 20) {
            return Err(Error::recipe("objective.longest_span", "its context, longest_span · one_in, is too long"));
        }
        Ok(Self { config, sep: vocabulary.sep()?, cls: vocabulary.cls()? })
    }

    /// A text's segments one after the other, each forwards and, where wanted, backwards. With `other`, half of them end
    /// with a stretch of it.
    ///
    /// # Errors
    /// When the text has fewer than two tokens.
    pub fn corrupt(&self, text: &Text<'_>, other: Option<&Text<'_>>, random: &mut ChaCha8Rng) -> Result<Vec<Permuted>> {
        let length = text.ids.len();
        if length < 2 {
            return Err(Error::Input(format!("a text of {length} tokens: two segments need two at least")));
        }
        let mut made = Vec::new();
        for backwards in [false, true].into_iter().take(1 + usize::from(self.config.backwards)) {
            let most = self.config.length - FRAME;
            let mut start = 0;
            // a single token is no pair
            while start + 1 < length {
                let end = (start + most).min(length);
                made.push(self.segment(text, start..end, backwards, other, random));
                start = end;
            }
        }
        // forwards first, so that a batch's halves are of one direction each
        Ok(made)
    }

    /// How many tokens of text a segment of `length` has.
    pub fn tokens_of(length: usize) -> usize {
        length.saturating_sub(FRAME).max(2)
    }

    /// One segment of a text: of `places`, two at least, which count from its end if it is read `backwards`. With `other`
    /// it ends, half of the times, with a stretch of that.
    pub fn segment(
        &self,
        text: &Text<'_>,
        places: Range<usize>,
        backwards: bool,
        other: Option<&Text<'_>>,
        random: &mut ChaCha8Rng,
    ) -> Permuted {
        let Range { start, end } = places;
        let memory = directed(text.ids, start.saturating_sub(self.config.memory)..start, backwards);
        let ids = directed(text.ids, start..end, backwards);
        let (a, b) = ids.split_at(cut(start, end, &borders(text, start..end, backwards), random) - start);
        let other = other.filter(|other| !other.ids.is_empty() && draws::happens(0.5, random));
        let elsewhere = other.map(|other| {
            // as long as what it stands for, so that its length tells nothing
            let (length, wanted) = (other.ids.len(), b.len());
            let from = random.random_range(0..=length.saturating_sub(wanted));
            directed(other.ids, from..length.min(from + wanted), backwards)
        });
        let of_two = elsewhere.is_some();
        let made = self.permuted(memory, a, elsewhere.as_deref().unwrap_or(b), random);
        Permuted { backwards, elsewhere: of_two, ..made }
    }

    /// Whether texts are read from their end too.
    pub fn reads_backwards(&self) -> bool {
        self.config.backwards
    }

    fn permuted(&self, memory: Vec<u32>, a: &[u32], b: &[u32], random: &mut ChaCha8Rng) -> Permuted {
        let length = a.len() + b.len() + FRAME;
        let chosen = self.spans(length, &frame(a, b), random);
        let order = draws::permutation(length, random);
        self.arranged(memory, a, b, &chosen, &order)
    }

    /// `[A, SEP, B, SEP, CLS]`, of which the chosen places are predicted in `order`.
    fn arranged(&self, memory: Vec<u32>, a: &[u32], b: &[u32], chosen: &[bool], order: &[usize]) -> Permuted {
        let ids = [a, &[self.sep], b, &[self.sep, self.cls]].concat();
        let segment = |place: usize| u32::from(place > a.len()) + u32::from(place + 1 == ids.len());
        let segments = (0..ids.len()).map(segment).collect();
        let (targets, ranks) = (draws::places(chosen), ranks(chosen, &frame(a, b), order));
        Permuted { memory, ids, segments, targets, ranks, ..Permuted::default() }
    }

    /// Which places are predicted: one span in each stretch K times as long; never one of the `frame`. (The authors' code
    /// begins a span where a word begins.)
    fn spans(&self, length: usize, frame: &[usize], random: &mut ChaCha8Rng) -> Vec<bool> {
        let mut chosen = vec![false; length];
        let mut place = 0;
        while place < length {
            let span = self.span(random);
            let context = span * self.config.one_in;
            let start = place + random.random_range(0..=context - span);
            chosen.iter_mut().skip(start).take(span).for_each(|chosen| *chosen = true);
            place += context;
        }
        frame.iter().for_each(|&place| chosen[place] = false);
        if !chosen.contains(&true) {
            // of a short text something is predicted all the same
            let free: Vec<usize> = (0..length).filter(|place| !frame.contains(place)).collect();
            chosen[free[random.random_range(0..free.len())]] = true;
        }
        chosen
    }

    fn span(&self, random: &mut ChaCha8Rng) -> usize {
        let longest = self.config.longest_span;
        if !self.config.short_spans {
            return random.random_range(1..=longest);
        }
        let total: f64 = (1..=longest).map(|n| 1.0 / n as f64).sum();
        let mut left = random.random::<f64>() * total;
        (1..longest)
            .find(|&n| {
                left -= 1.0 / n as f64;
                left < 0.0
            })
            .unwrap_or(longest)
    }
}

/// The places that are neither A's nor B's.
fn frame(a: &[u32], b: &[u32]) -> [usize; FRAME] {
    let length = a.len() + b.len() + FRAME;
    [a.len(), length - 2, length - 1]
}

/// The tokens at `places` as they are read, which count from the end of a text that is read `backwards`. Nothing else of
/// it is looked at: a long text has many segments.
fn directed(ids: &[u32], places: Range<usize>, backwards: bool) -> Vec<u32> {
    if backwards {
        ids[ids.len() - places.end..ids.len() - places.start].iter().rev().copied().collect()
    } else {
        ids[places].to_vec()
    }
}

/// Where sentences meet between two places, which count as those of [`directed`].
fn borders(text: &Text<'_>, places: Range<usize>, backwards: bool) -> Vec<usize> {
    let (starts, length) = (text.sentences, text.ids.len());
    let Range { start, end } = places;
    let (first, last) = if backwards { (length - end, length - start) } else { (start, end) };
    let (from, to) = (starts.partition_point(|&at| at <= first), starts.partition_point(|&at| at < last));
    // none lies between two that meet
    let inner = starts.get(from..to).unwrap_or_default().iter();
    if backwards { inner.rev().map(|&at| length - at).collect() } else { inner.copied().collect() }
}

/// Where A ends and B begins between `start` and `end`: at one of the borders between, in the middle without any.
fn cut(start: usize, end: usize, borders: &[usize], random: &mut ChaCha8Rng) -> usize {
    if borders.is_empty() { usize::midpoint(start, end) } else { borders[random.random_range(0..borders.len())] }
}

/// The places in the order: of the targets and the frame those in `order`, of all others none.
fn ranks(chosen: &[bool], frame: &[usize], order: &[usize]) -> Vec<Option<u32>> {
    (0..chosen.len()).map(|place| (chosen[place] || frame.contains(&place)).then(|| order[place] as u32)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::tests::{numbers, text, vocabulary};
    use super::draws::tests::{chi_square, random};
    use super::*;

    fn objective(config: PermutationConfig) -> PermutationLm {
        PermutationLm::new(config, &vocabulary()).unwrap()
    }

    /// By hand: `[11 12 SEP 21 22 SEP CLS]`, 12 and 21 predicted, the order 21, SEP, 12, SEP, CLS.
    #[test]
    fn who_sees_whom() {
        let chosen = [false, true, false, true, false, false, false];
        let made = Permuted {
            ids: vec![11, 12, 1, 21, 22, 1, 3],
            ranks: ranks(&chosen, &[2, 5, 6], &[5, 3, 2, 1, 0, 4, 6]),
            ..Permuted::default()
        };
        let rows: Vec<String> =
            (0..7).map(|query| (0..7).map(|key| if made.sees(query, key) { '1' } else { '.' }).collect()).collect();
        // tokens that come first see each other; the rest sees them and what is before it in the order
        assert_eq!(rows, ["1...1..", "1.111..", "1..11..", "1...1..", "1...1..", "11111..", "111111."]);
        assert_eq!(made.visible().filter(|visible| *visible).count(), 2 + 4 + 3 + 2 + 2 + 5 + 6);
    }

    /// By hand: A is 20 21 22, B is 30 31, of which 21, 22 and 31 are predicted; the order is 31, CLS, 22, SEP, 21, SEP.
    #[test]
    fn a_segment_with_its_targets_and_its_order() {
        let objective = objective(PermutationConfig::default());
        let chosen = [false, true, true, false, false, true, false, false];
        let order = [2, 6, 4, 5, 0, 1, 7, 3];
        let made = objective.arranged(vec![50, 51], &[20, 21, 22], &[30, 31], &chosen, &order);
        let want = Permuted {
            memory: vec![50, 51],
            ids: vec![20, 21, 22, 1, 30, 31, 1, 3],
            segments: vec![0, 0, 0, 0, 1, 1, 1, 2],
            targets: vec![1, 2, 5],
            ranks: vec![None, Some(6), Some(4), Some(5), None, Some(1), Some(7), Some(3)],
            ..Permuted::default()
        };
        assert_eq!(made, want);
    }

    /// Where a span starts in its context: of one token in six places, of two in eleven; each as likely.
    #[test]
    fn spans_start_anywhere_in_their_context() {
        let (mut random, mut counts) = (random(4), [vec![0_u64; 6], vec![0; 11]]);
        let objective = objective(PermutationConfig { longest_span: 2, ..PermutationConfig::default() });
        for _ in 0..200_000 {
            // so long that it is one context of a span of two, or two of one each
            let places = draws::places(&objective.spans(12, &[], &mut random));
            match places[..] {
                [a, b] if b == a + 1 && b < 12 => counts[1][a] += 1,
                _ => counts[0][places[0]] += 1,
            }
        }
        // two spans of one token that touch look like one of two: places 5 and 6 do, which of both is left out
        counts[1].remove(5);
        // 9 degrees of freedom: 27.9 at one in a thousand
        assert!(chi_square(&counts[1], &[0.1; 10]) < 27.9, "{counts:?}");
        assert!(chi_square(&counts[0][..5], &[0.2; 5]) < 18.5, "{counts:?}");
    }

    #[test]
    fn every_order_of_targets_is_as_likely_and_every_border_as_often_the_cut() {
        let objective = objective(PermutationConfig { longest_span: 1, one_in: 2, ..PermutationConfig::default() });
        let (mut random, mut orders) = (random(5), std::collections::BTreeMap::<Vec<usize>, u64>::new());
        for _ in 0..100_000 {
            let made = objective.permuted(vec![], &[20, 21], &[30], &mut random);
            // what frames has its place in the order whatever is predicted
            let mut order = vec![2, 4, 5];
            order.sort_by_key(|&place| made.ranks[place]);
            *orders.entry(order).or_default() += 1;
        }
        let counts: Vec<u64> = orders.into_values().collect();
        assert!(counts.len() == 6 && chi_square(&counts, &[1.0 / 6.0; 6]) < 20.5, "{counts:?}");
        // and of two targets each is as often the first
        let mut before = [0_u64; 2];
        for _ in 0..100_000 {
            let made = objective.permuted(vec![], &[20, 21], &[30, 31, 32], &mut random);
            let ranks = made.targets.iter().map(|&place| made.ranks[place]).collect::<Vec<_>>();
            if let [a, .., b] = ranks[..] {
                before[usize::from(a > b)] += 1;
            }
        }
        assert!(before[0] + before[1] > 50_000 && chi_square(&before, &[0.5; 2]) < 10.8, "{before:?}");

        let mut cuts = [0_u64; 4];
        for _ in 0..100_000 {
            let place = cut(10, 30, &[12, 17, 18, 29], &mut random);
            cuts[[12, 17, 18, 29].iter().position(|border| *border == place).unwrap()] += 1;
        }
        // 3 degrees of freedom: 16.3 at one in a thousand
        assert!(chi_square(&cuts, &[0.25; 4]) < 16.3, "{cuts:?}");
        assert_eq!(cut(10, 30, &[], &mut random), 20);
    }

    /// The collator of transformers, given the same draws: the same targets, and the same sight of all words.
    #[test]
    fn the_collator_of_transformers_agrees() {
        let golden: Value =
            serde_json::from_str(include_str!("../../../../parity/objectives/permutation.json")).unwrap();
        let mut most = 0;
        for case in golden["cases"].as_array().unwrap() {
            let (frame, order) = (numbers::<usize>(&case["special"]), numbers::<usize>(&case["order"]));
            let length = order.len();
            let mut chosen = vec![false; length];
            let (mut place, mut last) = (0, 0);
            for draw in case["draws"].as_array().unwrap() {
                let draw = numbers::<usize>(draw);
                chosen.iter_mut().skip(place + draw[1]).take(draw[0]).for_each(|chosen| *chosen = true);
                last = place;
                place += 6 * draw[0];
            }
            assert!(last < length && place >= length);
            frame.iter().for_each(|&place| chosen[place] = false);
            let targets: Vec<usize> = draws::places(&chosen);
            assert_eq!(targets, numbers::<usize>(&case["targets"]));
            let ranks = ranks(&chosen, &frame, &order);
            let made = Permuted { ids: vec![0; length], targets, ranks, ..Permuted::default() };
            let hidden = case["hidden"].as_str().unwrap().as_bytes();
            assert_eq!(hidden.len(), length * length);
            most = most.max(made.targets.len());
            for query in 0..length {
                for key in (0..length).filter(|key| !frame.contains(key)) {
                    assert_eq!(made.sees(query, key), hidden[query * length + key] == b'0', "{query} {key}");
                }
            }
        }
        assert!(most > 15, "a case with many targets");
    }

    /// The authors' code, given the same draws: the same targets, and the same sight of all, separators too.
    #[test]
    fn the_authors_code_agrees_on_who_sees_whom() {
        let golden: Value =
            serde_json::from_str(include_str!("../../../../parity/objectives/two_streams.json")).unwrap();
        let mut predicted = 0;
        for case in golden["cases"].as_array().unwrap() {
            let (frame, order) = (numbers::<usize>(&case["frame"]), numbers::<usize>(&case["order"]));
            let length = order.len();
            let mut chosen = vec![false; length];
            numbers::<usize>(&case["chosen"]).into_iter().for_each(|place| chosen[place] = true);
            frame.iter().for_each(|&place| chosen[place] = false);
            let objective = objective(PermutationConfig::default());
            let (a, b) = (vec![20; frame[0]], vec![20; length - FRAME - frame[0]]);
            let made = objective.arranged(Vec::new(), &a, &b, &chosen, &order);
            assert_eq!(made.targets, numbers::<usize>(&case["targets"]));
            predicted += made.targets.len();
            let hidden = case["hidden"].as_str().unwrap().bytes().map(|digit| digit == b'1');
            for (pair, (visible, hidden)) in made.visible().zip(hidden).enumerate() {
                let (query, key) = (pair / length, pair % length);
                // it lets what isn't predicted see itself, as the other stream does
                let itself = query == key && frame.contains(&query);
                assert_eq!(visible || itself, !hidden, "{query} {key}");
            }
        }
        assert!(predicted > 10, "{predicted}");
    }

    #[test]
    fn one_in_six_is_predicted_in_spans_of_one_to_five() {
        let ids: Vec<u32> = (0..20_000).map(|i| 20 + i % 100).collect();
        for short_spans in [false, true] {
            let objective = objective(PermutationConfig { short_spans, ..PermutationConfig::default() });
            let (mut random, mut counts) = (random(1), [0_u64; 5]);
            (0..100_000).for_each(|_| counts[objective.span(&mut random) - 1] += 1);
            let weights = [1.0, 2.0, 3.0, 4.0, 5.0].map(|n: f64| if short_spans { 1.0 / n } else { 1.0 });
            let total: f64 = weights.iter().sum();
            assert!(chi_square(&counts, &weights.map(|w| w / total)) < 18.5, "{counts:?}");
            let made = objective.corrupt(&text(&ids), None, &mut random).unwrap();
            let (targets, tokens) =
                made.iter().fold((0, 0), |(t, n), one| (t + one.targets.len(), n + one.ids.len() - FRAME));
            let share = targets as f64 / tokens as f64;
            assert!((share - 1.0 / 6.0).abs() < 0.01, "{share}");
        }
    }

    #[test]
    fn segments_follow_each_other_both_ways() {
        let ids: Vec<u32> = (20..120).collect();
        let sentences: Vec<usize> = (0..100).step_by(9).collect();
        let config = PermutationConfig { length: 33, memory: 40, ..PermutationConfig::default() };
        let whole = Text { ids: &ids, sentences: &sentences };
        let made = objective(config).corrupt(&whole, None, &mut random(2)).unwrap();
        assert_eq!(made.iter().map(|one| one.backwards).collect::<Vec<_>>(), [[false; 4], [true; 4]].concat());
        for half in made.chunks(4) {
            let mut read: Vec<u32> = Vec::new();
            for one in half {
                assert_eq!(one.memory, read[read.len().saturating_sub(40)..]);
                let n = one.ids.len();
                let a = one.segments.iter().position(|&segment| segment == 1).unwrap() - 1;
                assert_eq!((one.ids[a], one.ids[n - 2], one.ids[n - 1]), (1, 1, 3));
                assert_eq!((one.segments[a], one.segments[n - 2], one.segments[n - 1]), (0, 1, 2));
                let words = [&one.ids[..a], &one.ids[a + 1..n - 2]].concat();
                let first = if one.backwards { one.ids[a - 1] } else { one.ids[a + 1] };
                assert!(n < 33 || (first - 20).is_multiple_of(9), "B begins with a sentence");
                read.extend(words);
                assert!(one.targets.iter().all(|&place| ![a, n - 2, n - 1].contains(&place)), "never a special token");
            }
            let mut want = ids.clone();
            if half[0].backwards {
                want.reverse();
            }
            assert_eq!(read, want);
        }
    }

    /// By hand: `[11 12 | 13 14 15 | 16]` and the places 1 to 5 from either end.
    #[test]
    fn places_count_from_where_reading_begins() {
        let whole = Text { ids: &[11, 12, 13, 14, 15, 16], sentences: &[0, 2, 5] };
        assert_eq!((directed(whole.ids, 1..5, false), borders(&whole, 1..5, false)), (vec![12, 13, 14, 15], vec![2]));
        assert_eq!((directed(whole.ids, 1..5, true), borders(&whole, 1..5, true)), (vec![15, 14, 13, 12], vec![4]));
        assert_eq!((borders(&whole, 0..6, true), borders(&whole, 0..6, false)), (vec![1, 4], vec![2, 5]));
        assert!(borders(&whole, 2..3, false).is_empty() && borders(&whole, 2..5, false).is_empty());
    }

    #[test]
    fn half_of_the_pairs_are_of_two_texts() {
        let (ids, other) = ((20..80).collect::<Vec<u32>>(), (80..140).collect::<Vec<u32>>());
        let objective = objective(PermutationConfig { length: 23, ..PermutationConfig::default() });
        let (mut random, mut strange) = (random(3), 0_u64);
        for _ in 0..20_000 {
            let made = objective.corrupt(&text(&ids), Some(&text(&other)), &mut random).unwrap();
            assert_eq!(made.len(), 6);
            for one in made {
                assert_eq!(one.elsewhere, one.ids.iter().any(|id| other.contains(id)));
                strange += u64::from(one.elsewhere);
            }
        }
        assert!(chi_square(&[strange, 120_000 - strange], &[0.5, 0.5]) < 10.8, "{strange}");
    }

    #[test]
    fn short_texts_have_a_target() {
        let objective = objective(PermutationConfig::default());
        for seed in 0..50 {
            let made = objective.corrupt(&text(&[50, 51]), None, &mut random(seed)).unwrap();
            assert!(made.iter().all(|one| !one.targets.is_empty() && one.ids.len() == 5));
        }
        assert!(objective.corrupt(&text(&[50]), None, &mut random(0)).is_err());
    }
}
