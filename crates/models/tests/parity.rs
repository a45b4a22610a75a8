//! Every case against `transformers`: logits, loss, every gradient, ten losses of AdamW.
//! The dumps and the script that makes them lie in `parity/`; `PTM_PARITY_DIR` points at another set of them.

mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::prelude::*;
use burn::tensor::{Gradients, TensorData};
use ptm_models::heads::{
    Bare, ChoiceHead, Head, LanguageModelHead, MaskedLmHead, NextSentenceHead, Pooler, PretrainingHead,
    ReplacedTokenHead, SequenceHead, SpanHead, Targets, TokenHead, next_tokens,
};
use ptm_models::layout::Layout;
use ptm_models::{
    Bart, BartConfig, BartEncoder, Body, Configuration, Decoder, Encoder, EncoderConfig, Family, Model, Pass, Rows,
    Sequences, T5, T5Encoder, Xlnet,
};
use ptm_ops::{AdamW, AdamWOptions, Indices};
use ptm_text::{Packed, PositionStyle};
use reference::{Batch, Case, FAMILIES, FITS, Reference, Tested, cases, difference, dumps, read, with_head};

/// A model of any head with its loss.
trait Loss<B: Tested = Encoder>: Case<B> {
    fn loss(model: &Model<Self, B>, batch: &Batch, reference: &Reference) -> Tensor<1>;
}

/// Packed rows and their targets where `labels` isn't -100.
fn labelled(batch: &Batch, labels: &[f32]) -> (Indices, Indices) {
    let pairs = labels.iter().zip(&batch.place).filter(|(label, _)| **label >= 0.0);
    let pairs = pairs.filter_map(|(label, place)| place.map(|place| (place as u32, *label as u32)));
    let (rows, targets): (Vec<u32>, Vec<u32>) = pairs.unzip();
    (rows.into(), targets.into())
}

/// Packed rows before those where `labels` isn't -100, and these labels: language models predict the next token.
fn before_labelled(batch: &Batch, labels: &[f32], length: usize) -> (Indices, Indices) {
    let pairs = (0..labels.len()).filter(|i| i % length > 0 && labels[*i] >= 0.0);
    let pairs = pairs.map(|i| (batch.place[i - 1].expect("a token before it") as u32, labels[i] as u32));
    let (rows, targets): (Vec<u32>, Vec<u32>) = pairs.unzip();
    (rows.into(), targets.into())
}

/// The rows of a language model that a case's loss reads, and their targets.
fn predicted(batch: &Batch, reference: &Reference) -> (Indices, Indices) {
    let labels = reference.get("in.labels").expect("labels");
    match reference.kind.as_str() {
        "seq2seq" => {
            let targets: Indices = labels.iter().filter(|label| **label >= 0.0).map(|&label| label as u32).collect();
            ((0..targets.len() as u32).collect(), targets)
        }
        "aligned" => labelled(batch, labels),
        "permutation" | "memory" => {
            let mut pairs: Vec<_> = batch.target_place.iter().zip(labels).collect();
            pairs.sort_by_key(|(place, _)| **place);
            let targets: Indices = pairs.iter().map(|(_, label)| **label as u32).collect();
            ((0..targets.len() as u32).collect(), targets)
        }
        _ => before_labelled(batch, labels, reference.tensors["in.labels"].0[1]),
    }
}

fn predict<B: Tested>(
    model: &Model<LanguageModelHead, B>,
    batch: &Batch,
    reference: &Reference,
    pass: &Pass,
) -> Tensor<1> {
    let (rows, targets) = predicted(batch, reference);
    let scale = 1.0 / rows.len() as f32;
    let loss = |input: &B::Input<'_>| model.loss(input, &rows, &targets, scale, pass).expect(FITS);
    B::with_input(&model.body, batch, loss)
}

impl<B: Tested> Loss<B> for LanguageModelHead {
    fn loss(model: &Model<Self, B>, batch: &Batch, reference: &Reference) -> Tensor<1> {
        predict(model, batch, reference, &Pass::eval())
    }
}

impl Loss for MaskedLmHead {
    fn loss(model: &Model<Self>, batch: &Batch, reference: &Reference) -> Tensor<1> {
        let (rows, targets) = labelled(batch, reference.get("in.labels").expect("labels"));
        model.loss(&batch.input(), &rows, &targets, 1.0 / rows.len() as f32, &Pass::eval()).expect(FITS)
    }
}

impl Loss for PretrainingHead {
    fn loss(model: &Model<Self>, batch: &Batch, reference: &Reference) -> Tensor<1> {
        let (rows, targets) = labelled(batch, reference.get("in.labels").expect("labels"));
        let next = reference.ids("in.next_sentence_label");
        let [a, b] = model.loss(&batch.input(), &rows, &targets, &next, &Pass::eval()).expect(FITS);
        a + b
    }
}

impl Loss for NextSentenceHead {
    fn loss(model: &Model<Self>, batch: &Batch, reference: &Reference) -> Tensor<1> {
        model.loss(&batch.input(), &reference.ids("in.labels"), &Pass::eval()).expect(FITS)
    }
}

impl<B: Tested> Loss<B> for SequenceHead {
    fn loss(model: &Model<Self, B>, batch: &Batch, reference: &Reference) -> Tensor<1> {
        let labels = reference.get("in.labels").expect("labels").to_vec();
        let targets = match reference.kind.as_str() {
            "multilabel" => Targets::Labels(labels),
            "regression" => Targets::Numbers(labels),
            _ => Targets::Label(reference.ids("in.labels")),
        };
        model.loss(&B::input(batch), &targets, &Pass::eval()).expect(FITS)
    }
}

impl Loss for ChoiceHead {
    fn loss(model: &Model<Self>, batch: &Batch, reference: &Reference) -> Tensor<1> {
        model.loss(&batch.input(), 2, &reference.ids("in.labels"), &Pass::eval()).expect(FITS)
    }
}

impl<B: Tested> Loss<B> for TokenHead {
    fn loss(model: &Model<Self, B>, batch: &Batch, reference: &Reference) -> Tensor<1> {
        let (rows, targets) = labelled(batch, reference.get("in.labels").expect("labels"));
        model.loss(&B::input(batch), &rows, &targets, &Pass::eval()).expect(FITS)
    }
}

impl<B: Tested> Loss<B> for SpanHead {
    fn loss(model: &Model<Self, B>, batch: &Batch, reference: &Reference) -> Tensor<1> {
        let (starts, ends) = (reference.ids("in.start_positions"), reference.ids("in.end_positions"));
        model.loss(&B::input(batch), &starts, &ends, &Pass::eval()).expect(FITS)
    }
}

impl Loss for ReplacedTokenHead {
    fn loss(model: &Model<Self>, batch: &Batch, reference: &Reference) -> Tensor<1> {
        let labels = reference.get("in.labels").expect("labels");
        let pairs = labels.iter().zip(&batch.place).filter(|(_, place)| place.is_some());
        let replaced: Vec<bool> = pairs.map(|(label, _)| *label == 1.0).collect();
        model.loss(&batch.input(), &replaced, &Pass::eval()).expect(FITS)
    }
}

impl<B: Tested> Loss<B> for Bare {
    fn loss(model: &Model<Self, B>, batch: &Batch, _: &Reference) -> Tensor<1> {
        let hidden = model.body.forward(&B::input(batch), &Rows::All, &Pass::eval()).expect(FITS).square().mean();
        // every output takes part
        B::more_outputs(&model.body, batch).into_iter().fold(hidden, |sum, (_, output)| sum + output.square().mean())
    }
}

impl Loss for Pooler {
    fn loss(model: &Model<Self>, batch: &Batch, _: &Reference) -> Tensor<1> {
        let (hidden, pooled) = model.forward(&batch.input(), &Pass::eval()).expect(FITS);
        hidden.square().mean() + pooled.square().mean()
    }
}

/// Gradients by parameter.
struct Collect<'a>(&'a Gradients, BTreeMap<String, Vec<f32>>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = param.val().grad(self.0) {
            self.1.insert(key(param.id), read(grad));
        }
    }
}

fn key(id: ParamId) -> String {
    format!("{id:?}")
}

/// The padding's row of the word embedding, which torch gives no gradient: its optimizer only decays it.
struct Padding {
    word: ParamId,
    row: usize,
    values: Vec<f32>,
}

impl ModuleMapper for Padding {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.id != self.word {
            return param;
        }
        let (tensor, width) = (param.val(), self.values.len());
        let mut values = read(tensor.clone());
        values[self.row * width..(self.row + 1) * width].copy_from_slice(&self.values);
        let held = Tensor::from_data(TensorData::new(values, tensor.dims()), &tensor.device());
        Param::initialized(param.id, held.require_grad())
    }
}

/// `‖a - b‖ / ‖b‖`, where a norm below `least` counts as that: what is zero in theory is rounding in practice.
fn distance(a: &[f32], b: &[f32], least: f64) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let size = norm(&mut b.iter().map(|&x| f64::from(x)));
    norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b))) / size.max(least)
}

fn check<H: Loss<B>, B: Tested>(dir: &Path, reference: &Reference) {
    let name = dir.display();
    let plain = Model::<H, B>::open(dir, &Device::flex()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(plain.new.is_empty(), "{name}: new {:?}", plain.new);
    // the only weights a head leaves are the pooler of a body that was saved with one
    assert!(plain.unused.iter().all(|n| n.contains("pooler")), "{name}: unused {:?}", plain.unused);
    let batch = Batch::new(reference, &plain.model.body);
    let worst = difference(&name.to_string(), &plain.model, &batch, reference);
    assert!(worst <= 1e-4, "{name}: outputs differ by {worst}");

    let mut model = Model::<H, B>::open(dir, &Device::flex().autodiff()).expect("opened before").model;
    let loss = H::loss(&model, &batch, reference);
    let expected = f64::from(reference.get("loss").expect("a loss")[0]);
    let ours = f64::from(read(loss.clone())[0]);
    assert!((ours - expected).abs() <= 1e-4 * expected.abs(), "{name}: loss {ours}, should be {expected}");
    let grads = loss.backward();
    let mut collected = Collect(&grads, BTreeMap::new());
    model.visit(&mut collected);
    let pad = model.config().zero_row().unwrap_or(0) as usize;
    let mut seen = BTreeSet::new();
    for parameter in model.named_parameters() {
        let theirs = reference.get(&format!("grad.{}", parameter.name));
        let mut ours = collected.1.remove(&key(parameter.id));
        if let (Some(grad), true) = (&mut ours, reference.sees_padding && parameter.name.contains("word_embeddings")) {
            // torch gives the padding's embedding no gradient; packed batches otherwise hold no padding
            let width = parameter.shape[1];
            grad[pad * width..(pad + 1) * width].fill(0.0);
        }
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                let theirs = &parameter.layout.take(theirs, &parameter.shape);
                // a constant added to all scores of a query changes no softmax: this gradient is zero in theory
                let key = Layout::Columns { part: 1, parts: 3 };
                let zero = ["key.bias", "k_lin.bias", "k_proj.bias"].iter().any(|end| parameter.name.ends_with(end))
                    || (parameter.layout == key && parameter.shape.len() == 1);
                let d = distance(&ours, theirs, if zero { 0.1 } else { 1e-3 });
                assert!(d <= 1e-4, "{name}: gradient of {} differs by {d:e}", parameter.name);
                seen.insert(parameter.name);
            }
            (None, None) => {}
            (None, Some(theirs)) => {
                assert!(theirs.iter().all(|g| *g == 0.0), "{name}: {} has no gradient", parameter.name);
                seen.insert(parameter.name);
            }
            (Some(ours), None) => panic!("{name}: {} has a gradient of {}", parameter.name, ours.len()),
        }
    }
    // names that ours lack: parameters of theirs that take no part in the loss have no gradient either
    let theirs = reference.tensors.keys().filter(|k| k.starts_with("grad.")).count();
    assert_eq!(seen.len(), theirs, "{name}: not every gradient was compared");

    let words = model.named_parameters().into_iter().find(|p| p.name.contains("word_embeddings"));
    let mut padding = words.filter(|_| reference.sees_padding).map(|words| {
        let width = words.shape[1];
        Padding { word: words.id, row: pad, values: words.values[pad * width..(pad + 1) * width].to_vec() }
    });
    let mut optimizer = AdamW::new();
    for (step, expected) in reference.get("adamw").expect("ten losses").iter().enumerate() {
        let loss = H::loss(&model, &batch, reference);
        let ours = read(loss.clone())[0];
        assert!(
            (ours - expected).abs() <= 1e-4 * expected.abs().max(0.1),
            "{name}: step {step}: loss {ours}, should be {expected}"
        );
        let options = AdamWOptions {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            step: step as u64 + 1,
            bias_correction: true,
        };
        model = optimizer.step(model, loss.backward(), options);
        if let Some(padding) = &mut padding {
            padding.values.iter_mut().for_each(|x| *x *= 1.0 - options.lr * options.weight_decay);
            model = model.map(padding);
        }
    }
}

/// Checks every case of `family`.
fn check_family(family: &str) {
    for case in cases(family) {
        with_head!(check, &case, &Reference::read(&case));
    }
}

/// No dump is without a test.
#[test]
fn every_dump_is_of_a_family() {
    let known: usize = FAMILIES.into_iter().map(|(family, _)| cases(family).len()).sum();
    let there = std::fs::read_dir(dumps::folder()).expect("a folder of dumps").count();
    assert!(known > 0 && (known == there || !dumps::are_committed()), "{known} of {there}");
}

#[test]
fn bert() {
    check_family("bert");
}

#[test]
fn roberta() {
    check_family("roberta");
}

#[test]
fn xlm_roberta() {
    check_family("xlmroberta");
}

#[test]
fn distilbert() {
    check_family("distilbert");
}

#[test]
fn electra() {
    check_family("electra");
}

#[test]
fn ernie() {
    check_family("ernie");
}

#[test]
fn gpt() {
    check_family("gpt");
}

#[test]
fn gpt2() {
    check_family("gpt2");
}

#[test]
fn bart() {
    check_family("bart");
}

#[test]
fn mbart() {
    check_family("mbart");
}

#[test]
fn marian() {
    check_family("marian");
}

#[test]
fn t5() {
    check_family("t5");
    check_family("t5v11");
    check_family("byt5");
}

#[test]
fn mt5() {
    check_family("mt5");
}

#[test]
fn xlnet() {
    check_family("xlnet");
}

/// As for encoders below; rows in runs go without a mask of pairs, others with one, and relative biases with neither.
#[test]
fn a_decoders_chosen_rows_equal_all_rows() {
    fn check<B: Tested>(case: &str) {
        let Some(dir) = dumps::case(case) else { return };
        let reference = Reference::read(&dir);
        let model = Model::<LanguageModelHead, B>::open(&dir, &Device::flex()).expect("a case").model;
        let batch = Batch::new(&reference, &model.body);
        let input = B::input(&batch);
        let offsets = input.offsets();
        let logits = |rows: &Rows| read(model.logits(&input, rows, &Pass::eval()).expect(FITS));
        let (all, width) = (logits(&Rows::All), model.config().output_size());
        let mut cases = vec![
            (offsets[1..].iter().map(|end| *end as u32 - 1).collect(), Rows::Last),
            (offsets[..offsets.len() - 1].iter().map(|start| *start as u32).collect(), Rows::First),
        ];
        for rows in [vec![0_u32, 3, 10, 12], vec![2, 3, 4, 11, 12], vec![0, 1, 2, 3, 4, 5], vec![9], vec![]] {
            cases.push((rows.clone(), Rows::Chosen(rows.into())));
        }
        for (rows, chosen) in cases {
            let some = logits(&chosen);
            assert_eq!(some.len(), rows.len() * width, "{case}: {chosen:?}");
            for (i, &row) in rows.iter().enumerate() {
                for j in 0..width {
                    let (a, b) = (some[i * width + j], all[row as usize * width + j]);
                    assert!((a - b).abs() < 1e-5, "{case}: {chosen:?}: row {row}, {j}: {a} and {b}");
                }
            }
        }
    }
    check::<Decoder>("gpt-lm");
    check::<Decoder>("gpt2-lm");
    check::<Bart>("bart-lm");
    check::<Bart>("mbart-lm");
    check::<T5>("t5-lm-far");
}

/// Files of a whole model hold its encoder too, which gives what the whole one's does.
#[test]
fn encoders_of_whole_models() {
    fn check<B: Tested, E: Tested>(case: &str)
    where
        LanguageModelHead: Head<B>,
    {
        let Some(dir) = dumps::case(case) else { return };
        let whole = Model::<LanguageModelHead, B>::open(&dir, &Device::flex()).expect("a case").model;
        let encoder = Model::<Bare, E>::open(&dir, &Device::flex()).expect("a case");
        assert!(encoder.unused.iter().all(|name| name.contains("decoder.") || name.starts_with("lm_head")), "{case}");
        let batch = Batch::new(&Reference::read(&dir), &encoder.model.body);
        let outputs = B::more_outputs(&whole.body, &batch);
        let [(_, expected)] = <[_; 1]>::try_from(outputs).expect("an encoder's hidden states");
        let hidden = encoder.model.body.forward(&E::input(&batch), &Rows::All, &Pass::eval()).expect(FITS);
        assert_eq!(read(hidden), read(expected), "{case}");
    }
    for case in ["bart-lm", "mbart-lm", "marian-lm", "marian-lm-apart"] {
        check::<Bart, BartEncoder>(case);
    }
    for case in ["t5-lm", "t5v11-lm", "byt5-lm", "mt5-lm"] {
        check::<T5, T5Encoder>(case);
    }
}

/// What a language model learns from a text: every row but the last, and the token after it.
#[test]
fn next_tokens_of_text() {
    let batch = Packed::from_ids(&[vec![5, 6, 7], vec![8], vec![9, 4]], PositionStyle::Zero).expect("no empty text");
    let (rows, targets) = next_tokens(&batch);
    assert_eq!((&*rows, &*targets), (&[0, 1, 4][..], &[6, 7, 4][..]));
}

/// The last layer computes only the rows that are wanted; they equal those of a full pass.
#[test]
fn chosen_rows_equal_all_rows() {
    let Some(dir) = dumps::case("bert-mlm") else { return };
    let reference = Reference::read(&dir);
    let model = Model::<MaskedLmHead>::open(&dir, &Device::flex()).expect("a case").model;
    let batch = Batch::new(&reference, &model.body);
    let all = read(model.logits(&batch.input(), &Rows::All, &Pass::eval()).expect(FITS));
    let rows: Indices = vec![0, 3, 10, 12, 20].into();
    let some = read(model.logits(&batch.input(), &Rows::Chosen(rows.clone()), &Pass::eval()).expect(FITS));
    let width = model.config().vocab_size;
    for (i, &row) in rows.iter().enumerate() {
        for j in 0..width {
            let (a, b) = (some[i * width + j], all[row as usize * width + j]);
            assert!((a - b).abs() < 1e-5, "row {row}, {j}: {a} and {b}");
        }
    }
}

/// A batch gives each sequence what it gets alone.
#[test]
fn sequences_do_not_see_each_other() {
    let Some(dir) = dumps::case("roberta-mlm") else { return };
    let model = Model::<MaskedLmHead>::open(&dir, &Device::flex()).expect("a case").model;
    let pack = |sequences: &[&[u32]]| {
        let mut packed = Packed { offsets: vec![0], ..Packed::default() };
        for ids in sequences {
            packed.ids.extend_from_slice(ids);
            packed.segments.resize(packed.ids.len(), 0);
            model.config().positions().extend(ids, &mut packed.positions);
            packed.offsets.push(packed.ids.len());
        }
        packed
    };
    let run = |packed: &Packed| read(model.logits(&packed.into(), &Rows::All, &Pass::eval()).expect(FITS));
    let (a, b): (&[u32], &[u32]) = (&[5, 9, 13], &[7, 8, 21, 30, 2]);
    let together = run(&pack(&[a, b]));
    let apart: Vec<f32> = run(&pack(&[a])).into_iter().chain(run(&pack(&[b]))).collect();
    let worst = together.iter().zip(&apart).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "{worst}");
}

/// Every trainable parameter of a fresh model has a gradient, with dropout on.
#[test]
fn no_parameter_without_a_gradient() {
    let Some(dir) = dumps::case("bert-pretraining") else { return };
    let reference = Reference::read(&dir);
    let config = EncoderConfig::from_dir(&dir).expect("a case");
    assert_eq!(config.family, Family::Bert);
    let model = Model::<PretrainingHead>::random(config, 3, &Device::flex().autodiff()).expect("BERT has this head");
    let batch = Batch::new(&reference, &model.body);
    let (rows, targets) = labelled(&batch, reference.get("in.labels").expect("labels"));
    let next = reference.ids("in.next_sentence_label");
    let [a, b] = model.loss(&batch.input(), &rows, &targets, &next, &Pass::train(1)).expect(FITS);
    all_learn(&model, a + b);
}

/// As above, of language models; those that look at a source among them.
#[test]
fn no_parameter_of_a_language_model_without_a_gradient() {
    fn check<B: Tested>(case: &str) {
        let Some(dir) = dumps::case(case) else { return };
        let reference = Reference::read(&dir);
        let config = B::Config::from_dir(&dir).expect("a case");
        let model = Model::<LanguageModelHead, B>::random(config, 3, &Device::flex().autodiff()).expect("it has one");
        let batch = Batch::new(&reference, &model.body);
        all_learn(&model, predict(&model, &batch, &reference, &Pass::train(1)));
    }
    check::<Decoder>("gpt-lm");
    check::<Decoder>("gpt2-lm");
    check::<Bart>("bart-lm");
    check::<Bart>("mbart-lm");
    check::<Bart>("marian-lm-apart");
    check::<T5>("t5-lm");
    check::<T5>("t5v11-lm");
    check::<Xlnet>("xlnet-lm");
}

#[test]
fn layers_are_left_out_of_steps_alone() {
    let Some(dir) = dumps::case("bart-lm") else { return };
    let reference = Reference::read(&dir);
    let mut config = BartConfig::from_dir(&dir).expect("a case");
    config.decoder.layer_drop = 0.5;
    let model = Model::<LanguageModelHead, Bart>::random(config, 3, &Device::flex().autodiff()).expect("it has one");
    let batch = Batch::new(&reference, &model.body);
    let learning = |pass: &Pass| {
        let grads = predict(&model, &batch, &reference, pass).backward();
        let mut collected = Collect(&grads, BTreeMap::new());
        model.visit(&mut collected);
        collected.1.len()
    };
    let all = learning(&Pass::eval());
    let counts: Vec<usize> = (0..20).map(|seed| learning(&Pass::train(seed))).collect();
    assert!(counts.contains(&all), "{counts:?} of {all}");
    // every layer of the decoder has as many parameters; without any nobody looks at the encoder
    let few = |&count: &usize| count < 10 || (all - count).is_multiple_of(26);
    assert!(counts.iter().all(few), "{counts:?} of {all}");
    assert!(counts.iter().any(|&count| count < all), "{counts:?} of {all}");
}

fn all_learn<H: Head<B>, B: Body>(model: &Model<H, B>, loss: Tensor<1>) {
    let grads = loss.backward();
    let mut collected = Collect(&grads, BTreeMap::new());
    model.visit(&mut collected);
    for parameter in model.named_parameters().into_iter().filter(|p| p.name != "final_logits_bias") {
        let grad = collected.1.get(&key(parameter.id)).unwrap_or_else(|| panic!("{} has none", parameter.name));
        let zero = grad.iter().all(|g| *g == 0.0);
        // a constant added to every score changes no softmax
        assert!(!zero || parameter.name.ends_with("key.bias"), "{} has a gradient of zeros", parameter.name);
    }
}
