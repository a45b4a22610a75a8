//! Encoders: hidden tokens, replaced ones, pairs of texts.

use burn::prelude::*;
use ptm_models::heads::{Head, MaskedLmHead, PretrainingHead, ReplacedTokenHead};
use ptm_models::{Body, Electra, EncoderConfig, Model, Pass, Rows};
use ptm_text::Packed;
use ptm_train::objectives::Examples;
use ptm_train::objectives::batches::{Detections, Masks, SentencePairs, positions};
use ptm_train::objectives::masking::Masked;
use ptm_train::objectives::next_sentence::SentencePair;
use ptm_train::objectives::replaced_token_detection::{Detection, drawn};
use ptm_train::parameters::{GradientSum, Parameters};
use serde_json::{Value, json};

use super::{Learns, SIZE, WORDS, learn, near, number, plain, same_gradients, unfused};

pub fn encoder<H: Head>(family: &str, device: &Device) -> Model<H> {
    let config = json!({"model_type": family, "vocab_size": SIZE, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64, "type_vocab_size": 2,
        "pad_token_id": 0, "initializer_range": 0.1, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0});
    let Value::Object(config) = config else { panic!("an object") };
    Model::random(EncoderConfig::from_json(config).unwrap(), 3, device).unwrap()
}

/// Two sequences, three hidden tokens.
fn hidden() -> Vec<Masked> {
    let one = |ids: &[u32], segments: &[u32], chosen: &[usize], targets: &[u32]| Masked {
        ids: ids.to_vec(),
        segments: segments.to_vec(),
        chosen: chosen.to_vec(),
        targets: targets.to_vec(),
    };
    vec![
        one(&[2, 4, 7, 9, 3], &[0; 5], &[1, 3], &[5, 9]),
        one(&[2, 10, 3, 4, 14, 16, 3], &[0, 0, 0, 1, 1, 1, 1], &[3], &[12]),
    ]
}

fn logits(model: &Model<MaskedLmHead>, one: &Masked) -> Tensor<2> {
    let offsets = vec![0, one.ids.len()];
    let packed = Packed::new(one.ids.clone(), one.segments.clone(), offsets, positions(model)).unwrap();
    let rows = Rows::Chosen(one.chosen.iter().map(|&place| place as u32).collect());
    model.logits(&(&packed).into(), &rows, &Pass::eval()).unwrap()
}

#[test]
fn hidden_tokens_have_the_plain_loss_and_gradients() {
    for family in ["bert", "roberta"] {
        let model = encoder::<MaskedLmHead>(family, &Device::flex().autodiff());
        let examples = hidden();
        let batch = Masks::new(&examples, positions(&model)).unwrap();
        assert_eq!((batch.tokens(), batch.targets()), (12, &[5, 9, 12][..]));
        let sum: f64 = examples.iter().map(|one| plain(logits(&model, one), &one.targets)).sum();
        near(number(batch.loss(&model, 1.0, &Pass::eval()).unwrap()), sum);
        near(number(batch.loss(&model, 0.25, &Pass::eval()).unwrap()) * 4.0, sum);
        let (loss, right) = batch.answers(&model).unwrap();
        near(loss, sum);
        assert!(right <= 3);
        let all = examples.iter().map(|one| unfused(logits(&model, one), &one.targets));
        let fused = batch.loss(&model, 1.0, &Pass::eval()).unwrap();
        same_gradients(&model, &model.names(), fused, all.reduce(|a, b| a + b).unwrap());
    }
}

impl Learns for Model<MaskedLmHead> {
    fn loss(&self, made: Vec<Examples>) -> (Tensor<1>, usize) {
        let made = made.into_iter().map(|one| if let Examples::Masked(one) = one { one } else { panic!("masked") });
        let batch = Masks::new(&made.collect::<Vec<_>>(), positions(self)).unwrap();
        (batch.loss(self, 1.0 / batch.targets().len() as f32, &Pass::train(1)).unwrap(), batch.targets().len())
    }
}

#[test]
fn encoders_learn_hidden_tokens() {
    let device = Device::flex().autodiff();
    let unigram = f64::from(WORDS).ln();
    for settings in ["", "patterns = 2\nwhole_words = true"] {
        let (model, one) = (encoder::<MaskedLmHead>("bert", &device), encoder::<MaskedLmHead>("bert", &device));
        let (first, last) = learn(model, one.names(), "masked_lm", settings, 600);
        println!("masked_lm: {first:.3} to {last:.3}, unigram {unigram:.3}");
        assert!(last < 0.6 * unigram && last < first, "{first} to {last}, unigram {unigram}");
    }
}

fn electra(device: &Device) -> Electra {
    let config = |hidden: usize| {
        let config = json!({"model_type": "electra", "vocab_size": SIZE, "embedding_size": 24, "hidden_size": hidden,
            "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64,
            "type_vocab_size": 2, "pad_token_id": 0, "initializer_range": 0.1, "hidden_dropout_prob": 0,
            "attention_probs_dropout_prob": 0});
        let Value::Object(config) = config else { panic!("an object") };
        EncoderConfig::from_json(config).unwrap()
    };
    Electra::random(config(32), config(16), 3, device).unwrap()
}

fn detections() -> Vec<Detection> {
    hidden()
        .into_iter()
        .map(|masked| Detection { draws: masked.chosen.iter().map(|&place| place as f64 / 7.0).collect(), masked })
        .collect()
}

/// Both losses step by step: hidden tokens foretold, tokens drawn from the softmax, every token judged.
#[test]
fn replaced_tokens_have_the_plain_losses() {
    let model = electra(&Device::flex().autodiff());
    let (generator, discriminator, examples) = (model.generator(), model.discriminator(), detections());
    let batch = Detections::new(examples.clone(), 1.0, positions(&generator)).unwrap();
    let [first, second] = batch.losses(&model, [1.0, 1.0], &Pass::eval()).unwrap();
    let (mut foretold, mut judged, mut right) = (0.0, 0.0, 0);
    let mut graphs = Vec::new();
    for one in &examples {
        let logits = logits(&generator, &one.masked);
        graphs.push(unfused(logits.clone(), &one.masked.targets));
        foretold += plain(logits.clone(), &one.masked.targets);
        let said = drawn(ptm_ops::read_f32(logits), 1.0, &one.draws);
        let (ids, replaced) = one.replaced(&said);
        let offsets = vec![0, ids.len()];
        let packed = Packed::new(ids, one.masked.segments.clone(), offsets, positions(&generator)).unwrap();
        let logits = discriminator.logits(&(&packed).into(), &Pass::eval()).unwrap();
        // -log σ(x) of what was replaced, -log σ(-x) of the rest
        let signs: Vec<f32> = replaced.iter().map(|&replaced| if replaced { 1.0 } else { -1.0 }).collect();
        let signs = Tensor::<2>::from_data(burn::tensor::TensorData::new(signs, logits.dims()), &logits.device());
        graphs.push(-burn::tensor::activation::log_sigmoid(logits.clone() * signs).sum());
        let logits = ptm_ops::read_f32(logits);
        for (logit, replaced) in logits.into_iter().zip(replaced) {
            let chance = 1.0 / (1.0 + (-f64::from(logit)).exp());
            judged -= if replaced { chance.ln() } else { (1.0 - chance).ln() };
            right += u64::from((chance > 0.5) == replaced);
        }
    }
    near(number(first), foretold);
    near(number(second), judged);
    let [first, second] = batch.losses(&model, [1.0, 1.0], &Pass::eval()).unwrap();
    let plain = graphs.into_iter().reduce(|a, b| a + b).unwrap();
    same_gradients(&model, &model.names(), first + second, plain);
    let [generated, detected] = batch.answers(&model).unwrap();
    near(generated.0, foretold);
    near(detected.0, judged);
    assert_eq!(detected.1, right);
}

/// The generator learns from its own loss alone, the embeddings from both, and every parameter learns.
#[test]
fn gradients_of_generator_and_discriminator() {
    let model = electra(&Device::flex().autodiff());
    let batch = Detections::new(detections(), 1.0, positions(&model.generator())).unwrap();
    let parameters = Parameters::of(&model, &model.names());
    let with = |scales: [f32; 2]| {
        let [a, b] = batch.losses(&model, scales, &Pass::eval()).unwrap();
        let mut sum = GradientSum::default();
        sum.add(&model, (a + b).backward());
        sum.norms()
    };
    let (both, first, second) = (with([1.0, 1.0]), with([1.0, 0.0]), with([0.0, 1.0]));
    for (number, parameter) in parameters.iter().enumerate() {
        let name = &parameter.name;
        // a key's bias moves all scores of a query alike
        let learns = |norm: f64| norm > 1e-7 || name.contains("key.bias");
        assert!(learns(both[number]), "{name} has no gradient");
        if name.starts_with("generator") {
            assert!(second[number] == 0.0 && learns(first[number]), "{name} learns from the discriminator");
        } else if name.contains("embeddings.") && !name.contains("token_type") {
            assert!(learns(first[number]) && learns(second[number]), "{name} learns from one of both");
        }
    }
}

#[test]
fn generator_and_discriminator_are_models_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let model = electra(&Device::flex());
    model.save(dir.path()).unwrap();
    let again = Electra::open(dir.path(), None, &Device::flex()).unwrap();
    let batch = Detections::new(detections(), 1.0, positions(&model.generator())).unwrap();
    assert_eq!(batch.answers(&again).unwrap(), batch.answers(&model).unwrap());
    let generator = Model::<MaskedLmHead>::open(&dir.path().join("generator"), &Device::flex()).unwrap().model;
    let own = ptm_ops::read_f32(logits(&generator, &hidden()[0]));
    assert_eq!(own, ptm_ops::read_f32(logits(&model.generator(), &hidden()[0])));
    let discriminator = Model::<ReplacedTokenHead>::open(dir.path(), &Device::flex()).unwrap();
    assert!(discriminator.unused.is_empty() && discriminator.new.is_empty());
}

#[test]
fn pairs_of_segments_have_the_plain_losses() {
    let model = encoder::<PretrainingHead>("bert", &Device::flex().autodiff());
    let pairs: Vec<SentencePair> = (0..).zip(hidden()).map(|(label, masked)| SentencePair { masked, label }).collect();
    let batch = SentencePairs::new(pairs.clone(), positions(&model)).unwrap();
    let (mut tokens, mut order) = (0.0, 0.0);
    let mut graphs = Vec::new();
    for SentencePair { masked, label } in &pairs {
        let offsets = vec![0, masked.ids.len()];
        let packed = Packed::new(masked.ids.clone(), masked.segments.clone(), offsets, positions(&model)).unwrap();
        let hidden = model.body.forward(&(&packed).into(), &Rows::All, &Pass::eval()).unwrap();
        let at = |places: &[usize]| {
            ptm_ops::gather_rows(hidden.clone(), &places.iter().map(|&place| place as u32).collect())
        };
        let said = model.head.masked_lm.logits(at(&masked.chosen), model.body.word());
        let follows = model.head.next_sentence.logits(at(&[0]));
        tokens += plain(said.clone(), &masked.targets);
        order += plain(follows.clone(), &[*label]);
        graphs.extend([unfused(said, &masked.targets), unfused(follows, &[*label])]);
    }
    let [a, b] = batch.losses(&model, [1.0, 0.5], &Pass::eval()).unwrap();
    near(number(a), tokens);
    near(number(b) * 2.0, order);
    let [a, b] = batch.answers(&model).unwrap();
    near(a.0, tokens);
    near(b.0, order);
    assert!(a.1 <= 3 && b.1 <= 2);
    let [a, b] = batch.losses(&model, [1.0, 1.0], &Pass::eval()).unwrap();
    same_gradients(&model, &model.names(), a + b, graphs.into_iter().reduce(|a, b| a + b).unwrap());
}
