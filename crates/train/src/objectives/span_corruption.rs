//! Span corruption (Raffel et al. 2020, §3.1.4 and §3.3.4): spans of the text drop out, one sentinel stands for each, and
//! the target spells them. Lengths and rounding are those of the published T5 code. The paper's other corruptions are in
//! `t5_variants.rs`.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::denoised::Denoised;
use super::draws;
use super::{Text, Vocabulary};
use crate::error::{Error, Result};

/// How spans are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpanCorruptionConfig {
    /// The share of the tokens that drop out.
    pub rate: f64,
    /// The mean length of a span.
    pub mean_span: f64,
    /// Whether a sentinel more ends the target, as in the paper's figure 2; the published code has none there.
    pub final_sentinel: bool,
    /// Whether texts are stretches of all documents one after the other, all of them full, as in the published code.
    /// Otherwise each document is cut alone: then its first token is always kept, and where it is short its last one always
    /// drops out, for a text begins with what is kept and ends with what isn't.
    pub across_documents: bool,
}

impl Default for SpanCorruptionConfig {
    fn default() -> Self {
        Self { rate: 0.15, mean_span: 3.0, final_sentinel: false, across_documents: true }
    }
}

/// Span corruption with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct SpanCorruption {
    config: SpanCorruptionConfig,
    pub(crate) sentinels: Vec<u32>,
    pub(crate) eos: u32,
}

/// How many tokens drop out of how many spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    noise: usize,
    spans: usize,
}

impl SpanCorruption {
    /// # Errors
    /// When a setting is out of range, or the vocabulary lacks sentinels or a token that ends a text.
    pub fn new(config: SpanCorruptionConfig, vocabulary: &Vocabulary) -> Result<Self> {
        if !(config.rate > 0.0 && config.rate < 1.0) {
            return Err(Error::recipe("objective.rate", format!("should be between 0 and 1, not {}", config.rate)));
        }
        if !(config.mean_span >= 1.0 && config.mean_span.is_finite()) {
            let problem = format!("should be at least 1, not {}", config.mean_span);
            return Err(Error::recipe("objective.mean_span", problem));
        }
        Ok(Self { config, sentinels: vocabulary.sentinels()?.to_vec(), eos: vocabulary.eos()? })
    }

    /// The settings.
    pub fn config(&self) -> &SpanCorruptionConfig {
        &self.config
    }

    /// The number of tokens dropped from a text of `length` tokens, and of their spans.
    fn counts(&self, length: usize) -> Counts {
        let length = length.max(2);
        let noise = ((length as f64 * self.config.rate).round_ties_even() as usize).clamp(1, length - 1);
        // no more spans than there are tokens to keep between them
        let spans = ((noise as f64 / self.config.mean_span).round_ties_even() as usize).clamp(1, length - noise);
        Counts { noise, spans: spans.min(noise) }
    }

    /// The lengths of source and target, each with its end, that a text of `length` tokens gives.
    pub fn lengths(&self, length: usize) -> (usize, usize) {
        let Counts { noise, spans } = self.counts(length);
        (length - noise + spans + 1, noise + spans + 1 + usize::from(self.config.final_sentinel))
    }

    /// The longest text of which the source has at most `source` tokens, its end included.
    pub fn raw_length(&self, source: usize) -> usize {
        // the source grows by 0 or 1 with each token, so that the text is at most as many times longer as tokens are kept
        let most = ((source as f64 / (1.0 - self.config.rate)) as usize).saturating_add(2);
        // between what fits and what doesn't
        let (mut fits, mut above) = (2, most.saturating_add(1));
        while above - fits > 1 {
            let middle = usize::midpoint(fits, above);
            if self.lengths(middle).0 <= source { fits = middle } else { above = middle }
        }
        fits
    }

    /// # Errors
    /// When the text has fewer than two tokens, or the vocabulary fewer sentinels than the text spans.
    pub fn corrupt(&self, text: &Text<'_>, random: &mut ChaCha8Rng) -> Result<Denoised> {
        let length = text.ids.len();
        if length < 2 {
            return Err(Error::Input(format!("a text of {length} tokens: span corruption needs two at least")));
        }
        let counts = self.counts(length);
        let dropped = draws::choose(counts.noise - 1, counts.spans - 1, random);
        let kept = draws::choose(length - counts.noise - 1, counts.spans - 1, random);
        self.split(text.ids, &noise_mask(&dropped, &kept))
    }

    /// How many sentinels a text of `length` tokens asks for.
    pub(crate) fn spans(&self, length: usize) -> usize {
        self.counts(length).spans + usize::from(self.config.final_sentinel)
    }

    /// # Errors
    /// When a text of `length` tokens asks for more sentinels than there are.
    pub(crate) fn check_sentinels(&self, wanted: f64, length: usize) -> Result<()> {
        let have = self.sentinels.len();
        if wanted <= have as f64 {
            return Ok(());
        }
        Err(Error::Input(format!(
            "a text of {length} tokens asks for {wanted:.0} sentinels and the tokenizer has {have}: shorten it \
             (batch.length), lower objective.rate or raise objective.mean_span"
        )))
    }

    /// What a text gives of which the tokens that are true drop out: one sentinel a stretch.
    ///
    /// # Errors
    /// When the vocabulary has fewer sentinels than there are stretches.
    pub(crate) fn split(&self, ids: &[u32], noise: &[bool]) -> Result<Denoised> {
        let spans = draws::runs(noise);
        self.check_sentinels((spans.len() + usize::from(self.config.final_sentinel)) as f64, ids.len())?;
        let mut made = Denoised::default();
        let mut read = 0;
        for (&(start, end), &sentinel) in spans.iter().zip(&self.sentinels) {
            made.source.extend_from_slice(&ids[read..start]);
            made.corrupted.push(made.source.len());
            made.source.push(sentinel);
            made.target.push(sentinel);
            made.target.extend_from_slice(&ids[start..end]);
            read = end;
        }
        made.source.extend_from_slice(&ids[read..]);
        if self.config.final_sentinel {
            made.target.push(self.sentinels[spans.len()]);
        }
        Ok(made.ended(None, self.eos))
    }
}

/// The lengths of the segments of `begins.len() + 1` items, of which all but the first say whether one begins there.
fn segments(begins: &[bool]) -> Vec<usize> {
    let mut lengths = vec![1];
    for &begins in begins {
        match lengths.last_mut() {
            Some(last) if !begins => *last += 1,
            _ => lengths.push(1),
        }
    }
    lengths
}

/// Which tokens drop out, when kept and dropped segments alternate from a kept one on.
fn noise_mask(dropped: &[bool], kept: &[bool]) -> Vec<bool> {
    let pairs = segments(kept).into_iter().zip(segments(dropped));
    pairs
        .flat_map(|(kept, dropped)| std::iter::repeat_n(false, kept).chain(std::iter::repeat_n(true, dropped)))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::super::tests::{numbers, text, vocabulary};
    use super::draws::tests::{chi_square, random};
    use super::*;

    fn objective() -> SpanCorruption {
        SpanCorruption::new(SpanCorruptionConfig::default(), &vocabulary()).unwrap()
    }

    /// What `parity/objectives/span_corruption.py` wrote.
    pub fn golden() -> Value {
        serde_json::from_str(include_str!("../../../../parity/objectives/span_corruption.json")).unwrap()
    }

    /// Its texts.
    pub fn whole(length: usize) -> Vec<u32> {
        (20..20 + length as u32).collect()
    }

    /// Source and target as the published code has them: without their end, its sentinels the last of 200 ids, in descending
    /// order.
    pub fn published(made: &Denoised, objective: &SpanCorruption) -> [Vec<u32>; 2] {
        let sentinel = |id: u32| objective.sentinels.iter().position(|&sentinel| sentinel == id);
        [&made.source, &made.target].map(|ids| {
            let (end, ids) = ids.split_last().unwrap();
            assert_eq!(*end, objective.eos);
            ids.iter().map(|&id| sentinel(id).map_or(id, |number| 199 - number as u32)).collect()
        })
    }

    /// Worked by hand: of ten tokens, 2 3 and 7 drop out.
    #[test]
    fn a_sentinel_stands_for_each_span() {
        let v = vocabulary();
        let [a, b, c] = [0, 1, 2].map(|k| v.sentinels().unwrap()[k]);
        let eos = v.eos().unwrap();
        let ids: Vec<u32> = (20..30).collect();
        let noise: Vec<bool> = (0..10).map(|i| [2, 3, 7].contains(&i)).collect();
        let made = objective().split(&ids, &noise).unwrap();
        assert_eq!(made.source, [20, 21, a, 24, 25, 26, b, 28, 29, eos]);
        assert_eq!(made.target, [a, 22, 23, b, 27, eos]);
        assert_eq!(made.corrupted, [2, 6]);
        let config = SpanCorruptionConfig { final_sentinel: true, ..SpanCorruptionConfig::default() };
        let made = SpanCorruption::new(config, &v).unwrap().split(&ids, &noise).unwrap();
        assert_eq!(made.target, [a, 22, 23, b, 27, c, eos]);
    }

    /// The published lengths: 568 tokens fill a source of 512 and give a target of 114.
    #[test]
    fn published_lengths() {
        let objective = objective();
        assert_eq!((objective.raw_length(512), objective.lengths(568)), (568, (512, 114)));
        for (seed, length) in [2, 3, 5, 17, 568, 100].into_iter().enumerate() {
            let ids: Vec<u32> = (0..length as u32).map(|i| 20 + i % 50).collect();
            let made = objective.corrupt(&text(&ids), &mut random(seed as u64)).unwrap();
            assert_eq!((made.source.len(), made.target.len()), objective.lengths(length));
        }
    }

    /// The published code's masks of the same shuffles, and its sources and targets of them;
    /// `parity/objectives/span_corruption.py` made them.
    #[test]
    fn the_same_shuffles_give_what_the_published_code_makes() {
        let golden = golden();
        let flags = |value: &Value| -> Vec<bool> { numbers::<u32>(value).into_iter().map(|flag| flag == 1).collect() };
        for case in golden["spans"].as_array().unwrap() {
            let config = SpanCorruptionConfig {
                rate: case["rate"].as_f64().unwrap(),
                mean_span: case["mean_span"].as_f64().unwrap(),
                ..SpanCorruptionConfig::default()
            };
            let objective = SpanCorruption::new(config, &vocabulary()).unwrap();
            let (dropped, kept) = (flags(&case["noise_begins"]), flags(&case["kept_begins"]));
            let length = case["length"].as_u64().unwrap() as usize;
            let begun = dropped.iter().filter(|&&begins| begins).count() + 1;
            assert_eq!(objective.counts(length), Counts { noise: dropped.len() + 1, spans: begun });
            let mask = noise_mask(&dropped, &kept);
            assert_eq!(mask, flags(&case["mask"]));
            let made = objective.split(&whole(length), &mask).unwrap();
            assert_eq!(published(&made, &objective), [&case["source"], &case["target"]].map(numbers::<u32>));
        }
    }

    /// Two segments of dropped tokens: every division is as likely, and so is every division of those kept.
    #[test]
    fn divisions_are_uniform() {
        let objective = objective();
        let ids: Vec<u32> = (20..60).collect();
        let (mut counts, mut kept) = (vec![0_u64; 5], vec![0_u64; 33]);
        let mut random = random(3);
        for _ in 0..100_000 {
            let made = objective.corrupt(&text(&ids), &mut random).unwrap();
            // 6 of 40 drop out, in 2 spans
            assert_eq!((made.source.len(), made.target.len()), (37, 9));
            let second = made.target.iter().position(|id| *id == objective.sentinels[1]).unwrap();
            counts[second - 2] += 1;
            let first = made.source.iter().position(|id| *id == objective.sentinels[0]).unwrap();
            kept[first - 1] += 1;
        }
        // 4 degrees of freedom: 18.5 at one in a thousand
        assert!(chi_square(&counts, &[0.2; 5]) < 18.5, "{counts:?}");
        // 34 are kept, one at least before each span; 32 degrees of freedom: 62.5
        assert!(chi_square(&kept, &[1.0 / 33.0; 33]) < 62.5, "{kept:?}");
    }

    #[test]
    fn source_and_target_together_are_the_text() {
        let objective = objective();
        let ids: Vec<u32> = (0..300).map(|i| 20 + i % 60).collect();
        for seed in 0..50 {
            let made = objective.corrupt(&text(&ids), &mut random(seed)).unwrap();
            let mut spans = made.target.split(|id| objective.sentinels.contains(id) || *id == objective.eos);
            spans.next();
            let mut whole = Vec::new();
            for id in &made.source[..made.source.len() - 1] {
                if objective.sentinels.contains(id) {
                    whole.extend_from_slice(spans.next().unwrap());
                } else {
                    whole.push(*id);
                }
            }
            assert_eq!(whole, ids);
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        let objective = objective();
        assert!(objective.corrupt(&text(&[5]), &mut random(0)).is_err());
        let ids = vec![20; 5000];
        let message = objective.corrupt(&text(&ids), &mut random(0)).unwrap_err().to_string();
        assert!(message.contains("250 sentinels") && message.contains("mean_span"), "{message}");
        for config in [
            SpanCorruptionConfig { rate: 0.0, ..SpanCorruptionConfig::default() },
            SpanCorruptionConfig { rate: f64::NAN, ..SpanCorruptionConfig::default() },
            SpanCorruptionConfig { mean_span: 0.5, ..SpanCorruptionConfig::default() },
        ] {
            assert!(SpanCorruption::new(config, &vocabulary()).is_err());
        }
    }
}
