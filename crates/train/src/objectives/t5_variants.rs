//! The corruptions that the T5 paper compares with span corruption (Raffel et al. 2020, §3.3.1 and §3.3.2, tables 3 to
//! 5): each makes a source and a target of the same text.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::denoised::Denoised;
use super::draws::{self, happens};
use super::span_corruption::{SpanCorruption, SpanCorruptionConfig};
use super::{Text, Vocabulary};
use crate::error::{Error, Result};

/// Which of the paper's corruptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// The text is cut at a random place: what comes before is read, what comes after is said.
    PrefixLm,
    /// Of the chosen tokens nine in ten are masked and one becomes a random one; the whole text is said.
    BertStyle,
    /// The chosen tokens are masked; the whole text is said.
    MassStyle,
    /// The tokens come in random order; the whole text is said.
    Deshuffling,
    /// A sentinel stands for each stretch of chosen tokens, and the target spells them, each behind its sentinel. (In the
    /// published code a text's first stretch has none before it, and sentinels then name the one before.)
    IidSpans,
    /// The chosen tokens drop out and are said.
    IidDropped,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::PrefixLm, Self::BertStyle, Self::MassStyle, Self::Deshuffling, Self::IidSpans, Self::IidDropped];
}

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VariantConfig {
    /// The probability of each token to be chosen.
    pub rate: f64,
    /// As in [`SpanCorruptionConfig`].
    pub across_documents: bool,
}

impl Default for VariantConfig {
    fn default() -> Self {
        Self { rate: 0.15, across_documents: true }
    }
}

/// Of those that choose no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WithoutRate {
    /// As in [`SpanCorruptionConfig`].
    pub across_documents: bool,
}

impl Default for WithoutRate {
    fn default() -> Self {
        Self { across_documents: true }
    }
}

impl From<WithoutRate> for VariantConfig {
    fn from(WithoutRate { across_documents }: WithoutRate) -> Self {
        Self { across_documents, ..Self::default() }
    }
}

/// Share of the chosen tokens that BERT-style corruption replaces by random ones.
const RANDOM: f64 = 0.1;

/// One of the corruptions, with the tokens that it needs.
#[derive(Clone, Debug)]
pub struct T5Variant {
    variant: Variant,
    config: VariantConfig,
    /// What stands for a token that is hidden alone; of no account where none is. T5 has no mask: the published code takes
    /// the first sentinel.
    mask: u32,
    /// Where spans drop out.
    spans: Option<SpanCorruption>,
    eos: u32,
    /// The tokens that may replace another: all but special ones.
    words: Vec<u32>,
}

impl T5Variant {
    /// `config` says how tokens are chosen, where they are.
    ///
    /// # Errors
    /// When the rate is not between 0 and 1, or the vocabulary lacks a token that ends a text, or sentinels where the
    /// variant needs them.
    pub fn new(variant: Variant, config: VariantConfig, vocabulary: &Vocabulary) -> Result<Self> {
        let rate = config.rate;
        if !(rate > 0.0 && rate < 1.0) {
            return Err(Error::recipe("objective.rate", format!("should be between 0 and 1, not {rate}")));
        }
        let eos = vocabulary.eos()?;
        let spans = SpanCorruptionConfig { rate, ..Default::default() };
        let spans = (variant == Variant::IidSpans).then(|| SpanCorruption::new(spans, vocabulary)).transpose()?;
        let mask = match variant {
            Variant::BertStyle | Variant::MassStyle => {
                let sentinel = vocabulary.sentinels().map(|sentinels| sentinels[0]);
                sentinel.or_else(|error| vocabulary.mask().map_err(|_| error))?
            }
            _ => eos,
        };
        let words = vocabulary.words();
        if words.is_empty() {
            return Err(Error::Input("every token of the tokenizer is special: there is none to learn".into()));
        }
        Ok(Self { variant, config, mask, spans, eos, words })
    }

    /// The settings.
    pub fn config(&self) -> &VariantConfig {
        &self.config
    }

    /// Says where texts of `length` tokens have, in the mean, more stretches of chosen tokens than there are sentinels.
    ///
    /// # Errors
    /// When they do.
    pub(crate) fn check_sentinels(&self, length: usize) -> Result<()> {
        let Some(spans) = &self.spans else { return Ok(()) };
        // a stretch begins with the first token, and with each that follows one that isn't chosen
        let rate = self.config.rate;
        let stretches = rate + length.saturating_sub(1) as f64 * rate * (1.0 - rate);
        spans.check_sentinels(stretches, length)
    }

    /// # Errors
    /// When the text has fewer than two tokens, or this draw asks for more sentinels than the vocabulary has.
    pub fn corrupt(&self, text: &Text<'_>, random: &mut ChaCha8Rng) -> Result<Denoised> {
        let ids = text.ids;
        if ids.len() < 2 {
            return Err(Error::Input(format!("a text of {} tokens: corrupting needs two at least", ids.len())));
        }
        let made = match self.variant {
            Variant::PrefixLm => prefix(ids, random.random_range(1..ids.len())),
            Variant::Deshuffling => shuffled(ids, &draws::permutation(ids.len(), random)),
            Variant::BertStyle | Variant::MassStyle => {
                let share = if self.variant == Variant::BertStyle { RANDOM } else { 0.0 };
                let word = |random: &mut ChaCha8Rng| self.words[random.random_range(0..self.words.len())];
                let places = draws::places(&self.chosen(ids.len(), random)).into_iter();
                let put: Vec<(usize, u32)> = places
                    .map(|place| (place, if happens(share, random) { word(random) } else { self.mask }))
                    .collect();
                replaced(ids, &put)
            }
            Variant::IidSpans | Variant::IidDropped => {
                let chosen = self.chosen(ids.len(), random);
                match &self.spans {
                    Some(spans) => return spans.split(ids, &chosen),
                    None => dropped(ids, &chosen),
                }
            }
        };
        Ok(made.ended(None, self.eos))
    }

    /// Each token by itself, at the rate.
    fn chosen(&self, length: usize, random: &mut ChaCha8Rng) -> Vec<bool> {
        (0..length).map(|_| happens(self.config.rate, random)).collect()
    }
}

/// What comes before `cut`, and the rest.
fn prefix(ids: &[u32], cut: usize) -> Denoised {
    let (source, target) = ids.split_at(cut);
    Denoised { source: source.to_vec(), target: target.to_vec(), corrupted: Vec::new() }
}

/// The text in `order`, and as it was.
fn shuffled(ids: &[u32], order: &[usize]) -> Denoised {
    let corrupted = (0..ids.len()).filter(|&place| order[place] != place).collect();
    Denoised { source: order.iter().map(|&place| ids[place]).collect(), target: ids.to_vec(), corrupted }
}

/// The text with other tokens at some places, and as it was.
fn replaced(ids: &[u32], put: &[(usize, u32)]) -> Denoised {
    let mut made = Denoised { source: ids.to_vec(), target: ids.to_vec(), corrupted: Vec::new() };
    for &(place, id) in put {
        made.source[place] = id;
        made.corrupted.push(place);
    }
    made
}

/// The tokens that were not chosen, and those that were.
fn dropped(ids: &[u32], chosen: &[bool]) -> Denoised {
    let of = |wanted: bool| ids.iter().zip(chosen).filter(|one| *one.1 == wanted).map(|one| *one.0).collect();
    Denoised { source: of(false), target: of(true), corrupted: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::span_corruption::tests::{golden, published, whole};
    use super::super::tests::{numbers, text, vocabulary};
    use super::draws::tests::{chi_square, random};
    use super::*;

    fn of(variant: Variant) -> T5Variant {
        T5Variant::new(variant, VariantConfig::default(), &vocabulary()).unwrap()
    }

    fn ids(length: u32) -> Vec<u32> {
        (0..length).map(|i| 20 + i % 60).collect()
    }

    #[test]
    fn prefixes_are_cut_anywhere_with_the_same_probability() {
        let (objective, ids) = (of(Variant::PrefixLm), ids(6));
        let (mut random, mut counts) = (random(1), [0_u64; 5]);
        for _ in 0..100_000 {
            let made = objective.corrupt(&text(&ids), &mut random).unwrap();
            let cut = made.source.len() - 1;
            assert_eq!([&made.source[..cut], &made.target[..6 - cut]].concat(), ids);
            counts[cut - 1] += 1;
        }
        assert!(chi_square(&counts, &[0.2; 5]) < 18.5, "{counts:?}");
    }

    #[test]
    fn tokens_are_chosen_one_by_one_at_the_rate() {
        let (v, ids) = (vocabulary(), ids(1000));
        let mask = v.sentinels().unwrap()[0];
        for (variant, share) in [(Variant::BertStyle, 0.9), (Variant::MassStyle, 1.0)] {
            let (objective, mut random) = (of(variant), random(2));
            let (mut chosen, mut masked) = (0_u64, 0_u64);
            for _ in 0..200 {
                let made = objective.corrupt(&text(&ids), &mut random).unwrap();
                assert_eq!(made.target[..1000], ids);
                for (place, id) in made.source[..1000].iter().enumerate() {
                    let is_chosen = made.corrupted.binary_search(&place).is_ok();
                    assert!(is_chosen || *id == ids[place]);
                    assert!(*id == mask || !v.is_special(*id), "a special token in place of a word");
                }
                chosen += made.corrupted.len() as u64;
                masked += made.source.iter().filter(|id| **id == mask).count() as u64;
            }
            assert!(chi_square(&[chosen, 200_000 - chosen], &[0.15, 0.85]) < 10.8, "{chosen}");
            if share < 1.0 {
                assert!(chi_square(&[masked, chosen - masked], &[share, 1.0 - share]) < 10.8, "{masked} of {chosen}");
            } else {
                assert_eq!(masked, chosen);
            }
        }
    }

    #[test]
    fn dropped_and_kept_tokens_are_the_text() {
        let ids: Vec<u32> = (20..90).collect();
        let mut random = random(4);
        for _ in 0..20 {
            let made = of(Variant::IidDropped).corrupt(&text(&ids), &mut random).unwrap();
            let mut both = [&made.source[..made.source.len() - 1], &made.target[..made.target.len() - 1]].concat();
            both.sort_unstable();
            assert_eq!(both, ids);
            let made = of(Variant::Deshuffling).corrupt(&text(&ids), &mut random).unwrap();
            assert_ne!(made.source, made.target);
            let mut sorted = made.source[..70].to_vec();
            sorted.sort_unstable();
            assert_eq!((sorted, &made.target[..70]), (ids.clone(), &ids[..]));
            let made = of(Variant::IidSpans).corrupt(&text(&ids), &mut random).unwrap();
            let words = |ids: &[u32]| ids.iter().filter(|id| (20..90).contains(*id)).count();
            assert_eq!(words(&made.source) + words(&made.target), 70);
            assert_eq!(made.source.len() - 1 - words(&made.source), made.target.len() - 1 - words(&made.target));
        }
    }

    /// Of "Thank you for inviting me to your party last week", as the paper's table 3 does it; by hand.
    #[test]
    fn each_corruption_of_the_papers_sentence() {
        let (v, ids) = (vocabulary(), (20..30).collect::<Vec<u32>>());
        let (eos, [x, y]) = (v.eos().unwrap(), [0, 1].map(|k| v.sentinels().unwrap()[k]));
        let ended = |made: Denoised| {
            let made = made.ended(None, eos);
            (made.source, made.target, made.corrupted)
        };
        let whole = [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, eos];
        // "Thank you for inviting" is read, the rest said
        assert_eq!(ended(prefix(&ids, 4)), (vec![20, 21, 22, 23, eos], vec![24, 25, 26, 27, 28, 29, eos], vec![]));
        // "for" and "inviting" are masked, "party" is another word
        let put = [(2, x), (3, x), (7, 55)];
        assert_eq!(
            ended(replaced(&ids, &put)),
            (vec![20, 21, x, x, 24, 25, 26, 55, 28, 29, eos], whole.to_vec(), vec![2, 3, 7])
        );
        // MASS-style: the same without other words
        assert_eq!(
            ended(replaced(&ids, &[(2, x), (3, x), (8, x)])),
            (vec![20, 21, x, x, 24, 25, 26, 27, x, 29, eos], whole.to_vec(), vec![2, 3, 8])
        );
        // "party me for your to . last fun you inviting week Thank": some order; the last but one stays
        let order = [7, 4, 2, 6, 5, 0, 9, 1, 8, 3];
        assert_eq!(
            ended(shuffled(&ids, &order)),
            (vec![27, 24, 22, 26, 25, 20, 29, 21, 28, 23, eos], whole.to_vec(), vec![0, 1, 3, 4, 5, 6, 7, 9])
        );
        let chosen: Vec<bool> = (0..10).map(|place| [2, 3, 8].contains(&place)).collect();
        // "Thank you <X> me to your party <Y> week", "<X> for inviting <Y> last"
        let made = of(Variant::IidSpans).spans.unwrap().split(&ids, &chosen).unwrap();
        assert_eq!(made.source, [20, 21, x, 24, 25, 26, 27, y, 29, eos]);
        assert_eq!((made.target, made.corrupted), (vec![x, 22, 23, y, 28, eos], vec![2, 7]));
        // "Thank you me to your party week", "for inviting last"
        assert_eq!(
            ended(dropped(&ids, &chosen)),
            (vec![20, 21, 24, 25, 26, 27, 29, eos], vec![22, 23, 28, eos], vec![])
        );
    }

    /// The published code's sources and targets of the same choices; `parity/objectives/span_corruption.py` made them.
    #[test]
    fn the_same_choices_give_what_the_published_code_makes() {
        let (golden, mut alike) = (golden(), 0);
        for case in golden["variants"].as_array().unwrap() {
            let length = case["length"].as_u64().unwrap() as usize;
            let ids = whole(length);
            let pair = |name: &str| [&case[name]["source"], &case[name]["target"]].map(numbers::<u32>);
            let chosen =
                |name: &str| -> Vec<bool> { numbers::<u32>(&case[name]["chosen"]).iter().map(|&n| n == 1).collect() };
            let own = |made: Denoised| [made.source, made.target];
            for name in ["bert_style", "mass_style"] {
                let put: Vec<(usize, u32)> =
                    draws::places(&chosen(name)).into_iter().map(|place| (place, pair(name)[0][place])).collect();
                assert_eq!(own(replaced(&ids, &put)), pair(name), "{name}");
            }
            assert_eq!(own(dropped(&ids, &chosen("iid_dropped"))), pair("iid_dropped"));
            let read = chosen("prefix_lm").iter().filter(|&&read| read).count();
            assert_eq!(own(prefix(&ids, read)), pair("prefix_lm"));
            let order: Vec<usize> = pair("deshuffling")[0].iter().map(|id| (id - 20) as usize).collect();
            assert_eq!(own(shuffled(&ids, &order)), pair("deshuffling"));

            let (chosen, spans) = (chosen("iid_spans"), of(Variant::IidSpans).spans.unwrap());
            let [source, target] = published(&spans.split(&ids, &chosen).unwrap(), &spans);
            assert_eq!(source, pair("iid_spans")[0]);
            // its target puts sentinels in place of what is kept: at its end too, and none before a text's first token
            if chosen[0] {
                continue;
            }
            let want = &pair("iid_spans")[1];
            assert_eq!(target, want[..want.len() - usize::from(!chosen[length - 1])]);
            alike += 1;
        }
        assert!(alike > 0);
    }

    #[test]
    fn every_order_is_as_likely() {
        let (objective, ids) = (of(Variant::Deshuffling), ids(4));
        let (mut random, mut counts) = (random(5), [0_u64; 256]);
        for _ in 0..100_000 {
            let made = objective.corrupt(&text(&ids), &mut random).unwrap();
            counts[made.source[..4].iter().fold(0, |n, id| 4 * n + (id - 20) as usize)] += 1;
        }
        let seen: Vec<u64> = counts.into_iter().filter(|count| *count > 0).collect();
        // 23 degrees of freedom: 49.7 at one in a thousand
        assert!(seen.len() == 24 && chi_square(&seen, &[1.0 / 24.0; 24]) < 49.7, "{seen:?}");
    }

    /// Every set of chosen tokens has the probability that tokens chosen one by one give it.
    #[test]
    fn sets_of_chosen_tokens_are_as_likely_as_their_tokens_are_together() {
        let ids = ids(4);
        for variant in [Variant::IidSpans, Variant::IidDropped] {
            let objective =
                T5Variant::new(variant, VariantConfig { rate: 0.3, ..VariantConfig::default() }, &vocabulary())
                    .unwrap();
            let (mut random, mut counts) = (random(6), [0_u64; 16]);
            for _ in 0..100_000 {
                let made = objective.corrupt(&text(&ids), &mut random).unwrap();
                counts[ids.iter().fold(0, |n, id| 2 * n + usize::from(made.target.contains(id)))] += 1;
            }
            let of = |set: u32| 0.3_f64.powi(set.count_ones() as i32) * 0.7_f64.powi(4 - set.count_ones() as i32);
            let probabilities: Vec<f64> = (0..16).map(of).collect();
            // 15 degrees of freedom: 37.7 at one in a thousand
            assert!(chi_square(&counts, &probabilities) < 37.7, "{variant:?}: {counts:?}");
        }
    }

    #[test]
    fn lengths_that_ask_for_too_many_sentinels_are_said_at_once() {
        // of 100 sentinels: 0.15 · 0.85 a token
        let spans = of(Variant::IidSpans);
        assert!(spans.check_sentinels(780).is_ok() && spans.check_sentinels(790).is_err());
        assert!(of(Variant::IidDropped).check_sentinels(100_000).is_ok());
        // a draw may ask for more all the same
        let ids = ids(780);
        let mut random = random(7);
        let made: Vec<bool> = (0..100).map(|_| spans.corrupt(&text(&ids), &mut random).is_ok()).collect();
        assert!(made.contains(&true) && made.contains(&false));
    }

    #[test]
    fn every_variant_has_a_name_of_its_own() {
        let names: Vec<String> = Variant::ALL.map(|v| serde_json::to_string(&v).unwrap()).to_vec();
        assert_eq!(names[0], r#""prefix_lm""#);
        assert_eq!(names[5], r#""iid_dropped""#);
    }
}
