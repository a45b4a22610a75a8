//! Hidden spans: foretold in their places, and from outside by the span boundary objective.

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::Distribution;
use ptm_models::heads::{MaskedLmHead, PLACES, SpanBoundaryHead};
use ptm_models::{Body, Model, Pass, Rows};
use ptm_text::Packed;
use ptm_train::objectives::Examples;
use ptm_train::objectives::batches::{Spans, positions};
use ptm_train::objectives::masking::Masked;
use ptm_train::objectives::span_masking::MaskedSpans;

use super::encoders::encoder;
use super::{Learns, SIZE, WORDS, learn, near, number, plain, same_gradients, unfused};

/// Two sequences: one with a span of two tokens, one with spans of three and one.
fn hidden() -> Vec<MaskedSpans> {
    let one = |ids: &[u32], chosen: &[usize], targets: &[u32], spans: &[(usize, usize)]| MaskedSpans {
        masked: Masked {
            ids: ids.to_vec(),
            segments: vec![0; ids.len()],
            chosen: chosen.to_vec(),
            targets: targets.to_vec(),
        },
        spans: spans.iter().map(|&(from, to)| from..to).collect(),
    };
    vec![
        one(&[2, 7, 4, 4, 9, 3], &[2, 3], &[5, 11], &[(2, 4)]),
        one(&[2, 4, 4, 4, 14, 16, 6, 10, 3], &[1, 2, 3, 6], &[12, 8, 21, 17], &[(1, 4), (6, 7)]),
    ]
}

/// Hidden states of one sequence alone.
fn states(model: &Model<SpanBoundaryHead>, one: &Masked) -> Tensor<2> {
    let offsets = vec![0, one.ids.len()];
    let packed = Packed::new(one.ids.clone(), one.segments.clone(), offsets, positions(model)).unwrap();
    model.body.forward(&(&packed).into(), &Rows::All, &Pass::eval()).unwrap()
}

fn rows(states: &Tensor<2>, places: &[u32]) -> Tensor<2> {
    ptm_ops::gather_rows(states.clone(), &places.into())
}

/// By hand: for each hidden token the places before and behind its span, and how many of the span's tokens are before it.
const BOUNDED: [(&[u32], &[u32], &[u32]); 2] =
    [(&[1, 1], &[4, 4], &[0, 1]), (&[0, 0, 0, 5], &[4, 4, 4, 7], &[0, 1, 2, 0])];

#[test]
fn spans_have_the_plain_losses_and_gradients() {
    let model = encoder::<SpanBoundaryHead>("bert", &Device::flex().autodiff());
    let batch = Spans::new(hidden(), positions(&model)).unwrap();
    assert_eq!((batch.tokens(), batch.targets()), (15, &[5, 11, 12, 8, 21, 17][..]));
    assert_eq!(&batch.bounded().outside[0][..], [1, 1, 6, 6, 6, 11]);
    assert_eq!(&batch.bounded().outside[1][..], [4, 4, 10, 10, 10, 13]);
    let word = model.body.word();
    let (mut masked, mut boundary, mut right) = (0.0, 0.0, 0);
    let (mut all, mut outside_of_all) = (Vec::new(), Vec::new());
    for (one, (before, behind, within)) in hidden().iter().zip(BOUNDED) {
        let states = states(&model, &one.masked);
        let places: Vec<u32> = one.masked.chosen.iter().map(|&place| place as u32).collect();
        let inside = model.head.masked_lm.logits(rows(&states, &places), word);
        let outside = [rows(&states, before), rows(&states, behind)];
        let outside = model.head.boundary.logits(outside, &within.into(), word);
        masked += plain(inside.clone(), &one.masked.targets);
        boundary += plain(outside.clone(), &one.masked.targets);
        let logits = ptm_ops::read_f32(outside.clone());
        for (row, &target) in logits.chunks_exact(SIZE).zip(&one.masked.targets) {
            right += u64::from(row.iter().all(|other| *other <= row[target as usize]));
        }
        outside_of_all.push(unfused(outside, &one.masked.targets));
        all.push(unfused(inside, &one.masked.targets));
    }
    let [a, b] = batch.losses(&model, [1.0, 0.25], &Pass::eval()).unwrap();
    near(number(a), masked);
    near(number(b) * 4.0, boundary);
    let [a, b] = batch.answers(&model).unwrap();
    near(a.0, masked);
    near(b.0, boundary);
    assert_eq!(b.1, right);

    let sum = |losses: Vec<Tensor<1>>| losses.into_iter().reduce(|a, b| a + b).unwrap();
    let theirs = sum(all) + sum(outside_of_all);
    let [a, b] = batch.losses(&model, [1.0, 1.0], &Pass::eval()).unwrap();
    assert_eq!(model.named_parameters().len(), 5 + 2 * 16 + 5 + 10);
    same_gradients(&model, &model.names(), a + b, theirs);
}

/// The error function, by its series.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

/// Joshi et al. 2020, §3.2, equations 1 to 3 in double precision: two layers, each a product, GELU and then a norm, over what
/// is before the span, what is behind it and the place in it; then the words.
#[test]
fn what_is_said_from_outside_is_as_the_paper_has_it() {
    // fresh norms and biases do nothing that would show where they stand
    let model = encoder::<SpanBoundaryHead>("bert", &Device::flex()).map(&mut Moved);
    let parameters = model.named_parameters();
    let of = |name: &str| -> Vec<f64> {
        let own: Vec<_> = parameters.iter().filter(|one| one.name.ends_with(name)).collect();
        assert_eq!(own.len(), 1, "{name} among {:?}", parameters.iter().map(|one| &one.name).collect::<Vec<_>>());
        own[0].values.iter().copied().map(f64::from).collect()
    };
    let layer = |input: &[f64], name: &str| -> Vec<f64> {
        let (weight, bias) = (of(&format!("{name}.dense.weight")), of(&format!("{name}.dense.bias")));
        let product = weight.chunks_exact(input.len()).zip(&bias).map(|(row, bias)| {
            let x = row.iter().zip(input).map(|(a, b)| a * b).sum::<f64>() + bias;
            x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2))
        });
        let all: Vec<f64> = product.collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64;
        let (gamma, beta) = (of(&format!("{name}.LayerNorm.weight")), of(&format!("{name}.LayerNorm.bias")));
        let norm = all.iter().map(|x| (x - mean) / (variance + 1e-12).sqrt());
        norm.zip(gamma.iter().zip(&beta)).map(|(x, (gamma, beta))| x * gamma + beta).collect()
    };
    let states = states(&model, &hidden()[1].masked);
    let wide: Vec<f64> = ptm_ops::read_f32(states.clone()).into_iter().map(f64::from).collect();
    let (before, behind, within) = BOUNDED[1];
    let outside = [rows(&states, before), rows(&states, behind)];
    let ours = ptm_ops::read_f32(model.head.boundary.logits(outside, &within.into(), model.body.word()));
    let (words, bias, places) =
        (of("word_embeddings.weight"), of("span_boundary.bias"), of("span_boundary.position_embeddings.weight"));
    let state = |row: u32| &wide[32 * row as usize..][..32];
    for (row, ours) in ours.chunks_exact(SIZE).enumerate() {
        let place = &places[200 * within[row] as usize..][..200];
        let all = [state(before[row]), state(behind[row]), place].concat();
        let second = layer(&layer(&all, "span_boundary.first"), "span_boundary.second");
        for (token, (word, bias)) in words.chunks_exact(32).zip(&bias).enumerate() {
            let logit = word.iter().zip(&second).map(|(a, b)| a * b).sum::<f64>() + bias;
            assert!((logit - f64::from(ours[token])).abs() < 1e-4, "{row}, {token}: {} is not {logit}", ours[token]);
        }
    }
}

/// Moves every parameter from where it begins.
struct Moved;

impl ModuleMapper for Moved {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|tensor| {
            let noise = Tensor::random(tensor.shape(), Distribution::Normal(0.0, 0.1), &tensor.device());
            tensor + noise
        })
    }
}

/// What is said of a token from outside depends on the boundary and the place, and on nothing else of the head's input.
#[test]
fn boundaries_do_not_see_the_span() {
    let model = encoder::<SpanBoundaryHead>("bert", &Device::flex());
    let states = states(&model, &hidden()[1].masked);
    let say = |before: u32, behind: u32, place: u32| {
        let outside = [rows(&states, &[before]), rows(&states, &[behind])];
        ptm_ops::read_f32(model.head.boundary.logits(outside, &[place].as_slice().into(), model.body.word()))
    };
    let one = say(0, 4, 1);
    assert_eq!(one, say(0, 4, 1));
    assert!([say(4, 0, 1), say(0, 5, 1), say(1, 4, 1), say(0, 4, 2)].iter().all(|other| *other != one));
}

#[test]
fn long_spans_are_foretold_from_outside_as_far_as_places_go() {
    let model = encoder::<SpanBoundaryHead>("bert", &Device::flex());
    let (n, whole) = (PLACES + 5, PLACES + 7);
    let masked = Masked {
        ids: std::iter::once(2).chain(vec![4; n]).chain([3]).collect(),
        segments: vec![0; whole],
        chosen: (1..=n).collect(),
        targets: vec![6; n],
    };
    let batch = Spans::new(vec![MaskedSpans { masked, spans: std::iter::once(1..n + 1).collect() }], positions(&model))
        .unwrap();
    assert_eq!((batch.targets().len(), batch.bounded().targets.len()), (n, PLACES));
    let [a, b] = batch.answers(&model).unwrap();
    assert!(a.0 > 0.0 && b.0 > 0.0);
}

/// The model alone is a masked language model; with both heads it is gone on with.
#[test]
fn the_boundary_stands_beside_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = encoder::<SpanBoundaryHead>("bert", &Device::flex());
    model.save(dir.path()).unwrap();
    let batch = Spans::new(hidden(), positions(&model)).unwrap();
    let again = Model::<SpanBoundaryHead>::open(dir.path(), &Device::flex()).unwrap();
    assert!(again.unused.is_empty() && again.new.is_empty());
    assert_eq!(batch.answers(&again.model).unwrap(), batch.answers(&model).unwrap());
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert!(config.contains("\"BertForMaskedLM\""), "{config}");
    let plain = Model::<MaskedLmHead>::open(dir.path(), &Device::flex()).unwrap();
    let boundary = |name: &String| name.starts_with("cls.span_boundary.");
    assert!(plain.unused.len() == 10 && plain.unused.iter().all(boundary), "{:?}", plain.unused);
    // a masked language model is gone on with by a new boundary head
    let other = tempfile::tempdir().unwrap();
    plain.model.save(other.path()).unwrap();
    let fresh = Model::<SpanBoundaryHead>::open_with_new_head(other.path(), 5, &Device::flex()).unwrap();
    assert!(fresh.new.len() == 10 && fresh.new.iter().all(boundary), "{:?}", fresh.new);
    assert_eq!(batch.answers(&fresh.model).unwrap()[0], batch.answers(&model).unwrap()[0]);
}

impl Learns for Model<SpanBoundaryHead> {
    fn loss(&self, made: Vec<Examples>) -> (Tensor<1>, usize) {
        let made = made.into_iter().map(|one| if let Examples::MaskedSpans(one) = one { one } else { panic!("spans") });
        let batch = Spans::new(made.collect(), positions(self)).unwrap();
        let scale = 0.5 / batch.targets().len() as f32;
        let [a, b] = batch.losses(self, [scale, scale], &Pass::train(1)).unwrap();
        (a + b, batch.targets().len())
    }
}

#[test]
fn encoders_learn_hidden_spans() {
    let device = Device::flex().autodiff();
    let unigram = f64::from(WORDS).ln();
    let (model, one) = (encoder::<SpanBoundaryHead>("bert", &device), encoder::<SpanBoundaryHead>("bert", &device));
    let (first, last) = learn(model, one.names(), "span_masking", "", 600);
    println!("span_masking: {first:.3} to {last:.3}, unigram {unigram:.3}");
    assert!(last < 0.8 * unigram && last < first, "{first} to {last}, unigram {unigram}");
}
