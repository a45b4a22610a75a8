//! Objectives through models: losses against plain computations, who must not see whom, and that models learn by them.

mod encoders;
mod ernie;
mod spans;

use std::fs;

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::Gradients;
use ptm_models::heads::{Head, LanguageModelHead};
use ptm_models::names::Names;
use ptm_models::{Bart, Body, Configuration, Decoder, Model, Pair, Pass, Rows, T5, Visible, Xlnet};
use ptm_text::{Packed, PositionStyle, Tokenizer};
use ptm_train::objectives::batches::{Blocks, Pairs, Segments, positions};
use ptm_train::objectives::causal::Causal;
use ptm_train::objectives::denoised::Denoised;
use ptm_train::objectives::permutation::Permuted;
use ptm_train::objectives::{Examples, ObjectiveConfig, Text, Vocabulary, generator};
use ptm_train::optimizer::{Optimizer, OptimizerConfig};
use ptm_train::parameters::{GradientSum, Parameters};
use ptm_train::tune::Tune;
use serde_json::{Value, json};

/// Ids: padding, unknown, begin, end, mask, 20 words, 20 sentinels.
const WORDS: u32 = 20;
const FIRST_WORD: u32 = 5;
const SIZE: usize = 45;

fn vocabulary() -> Vocabulary {
    let dir = tempfile::tempdir().unwrap();
    let special: Vec<String> = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"].map(str::to_owned).to_vec();
    let words = (0..WORDS).map(|i| format!("word{i}"));
    let sentinels: Vec<String> = (0..20).map(|i| format!("<extra_id_{i}>")).collect();
    let ids: serde_json::Map<String, Value> = special
        .iter()
        .cloned()
        .chain(words)
        .chain(sentinels)
        .enumerate()
        .map(|(id, token)| (token, json!(id)))
        .collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": "<unk>"},
    });
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let roles = json!({"cls_token": "<s>", "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
        "mask_token": "<mask>", "pad_token": "<pad>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"});
    fs::write(dir.path().join("tokenizer_config.json"), roles.to_string()).unwrap();
    let vocabulary = Vocabulary::new(&Tokenizer::from_dir(dir.path()).unwrap());
    assert_eq!((vocabulary.size(), vocabulary.words().len()), (SIZE, WORDS as usize));
    vocabulary
}

fn model<B: Body>(config: Value, device: &Device) -> Model<LanguageModelHead, B>
where
    LanguageModelHead: Head<B>,
{
    let Value::Object(config) = config else { panic!("an object") };
    Model::random(B::Config::from_json(config).unwrap(), 3, device).unwrap()
}

fn gpt2(device: &Device) -> Model<LanguageModelHead, Decoder> {
    let config = json!({"model_type": "gpt2", "vocab_size": SIZE, "n_embd": 32, "n_layer": 2, "n_head": 2,
        "n_positions": 48, "initializer_range": 0.1, "embd_pdrop": 0, "resid_pdrop": 0, "attn_pdrop": 0});
    model(config, device)
}

fn bart(device: &Device) -> Model<LanguageModelHead, Bart> {
    let config = json!({"model_type": "bart", "vocab_size": SIZE, "d_model": 32, "encoder_layers": 1,
        "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
        "decoder_start_token_id": 3, "init_std": 0.1, "dropout": 0});
    model(config, device)
}

fn t5(device: &Device) -> Model<LanguageModelHead, T5> {
    let config = json!({"model_type": "t5", "vocab_size": SIZE, "d_model": 32, "d_kv": 16, "num_layers": 1,
        "num_heads": 2, "d_ff": 64, "pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 0,
        "relative_attention_num_buckets": 8, "dropout_rate": 0});
    model(config, device)
}

fn xlnet(device: &Device) -> Model<LanguageModelHead, Xlnet> {
    let config = json!({"model_type": "xlnet", "vocab_size": SIZE, "d_model": 32, "n_layer": 2, "n_head": 2,
        "d_inner": 64, "initializer_range": 0.1, "dropout": 0});
    model(config, device)
}

fn number(loss: Tensor<1>) -> f64 {
    f64::from(loss.into_scalar::<f32>())
}

/// `-Σ log softmax` in double precision.
fn plain(logits: Tensor<2>, targets: &[u32]) -> f64 {
    let width = logits.dims()[1];
    let rows = ptm_ops::read_f32(logits);
    assert_eq!(rows.len(), width * targets.len());
    let of = |(row, &target): (&[f32], &u32)| {
        let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
        sum.ln() - f64::from(row[target as usize])
    };
    rows.chunks_exact(width).zip(targets).map(of).sum()
}

#[track_caller]
fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 2e-4 * b.abs().max(1.0), "{a} is not {b}");
}

/// Each word is followed by the next but one.
fn text(length: u32, start: u32) -> Vec<u32> {
    (0..length).map(|i| FIRST_WORD + (start + 2 * i + i / 10) % WORDS).collect()
}

#[test]
fn packed_documents_do_not_see_each_other() {
    let model = gpt2(&Device::flex());
    let pass = Pass::eval;
    let style = positions(&model);
    let one = Causal { ids: text(9, 0), targets: text(9, 2), begins: vec![0] };
    let two = Causal { ids: text(5, 7), targets: text(5, 9), begins: vec![0] };
    let join = |begins: &[usize]| Causal {
        ids: [&one.ids[..], &two.ids].concat(),
        targets: [&one.targets[..], &two.targets].concat(),
        begins: begins.to_vec(),
    };
    let loss = |blocks: &[Causal]| number(Blocks::new(blocks, style).unwrap().loss(&model, 1.0, &pass()).unwrap());
    let apart = loss(&[join(&[0, 9])]);
    let alone = |block: &Causal| loss(std::slice::from_ref(block));
    near(apart, alone(&one) + alone(&two));
    near(apart, loss(&[two.clone(), one.clone()]));
    assert!((apart - loss(&[join(&[0])])).abs() > 1e-2, "one sequence would see all of it");
    let packed = Packed::from_ids(&[&one.ids], style).unwrap();
    near(alone(&one), plain(model.logits(&packed, &Rows::All, &pass()).unwrap(), &one.targets));
    near(number(Blocks::new(&[one], style).unwrap().loss(&model, 0.25, &pass()).unwrap()) * 4.0 + alone(&two), apart);
}

fn pairs_are_plain<B>(model: &Model<LanguageModelHead, B>, start: u32)
where
    B: for<'a> Body<Input<'a> = Pair<'a>>,
    LanguageModelHead: Head<B>,
{
    let style = positions(model);
    let pair = |source: Vec<u32>, target: Vec<u32>| Denoised { source, target, corrupted: vec![] };
    let pairs = [pair(text(9, 0), text(4, 1)), pair(text(3, 5), text(11, 2)), pair(text(6, 1), text(1, 0))];
    let mut sum = 0.0;
    for pair in &pairs {
        let source = Packed::from_ids(&[&pair.source], style).unwrap();
        let target = Packed::from_ids(&[pair.shifted(start)], style).unwrap();
        let input = Pair { source: &source, target: &target };
        sum += plain(model.logits(&input, &Rows::All, &Pass::eval()).unwrap(), &pair.target);
    }
    let batch = Pairs::new(&pairs, start, style).unwrap();
    assert_eq!((batch.targets().len(), batch.tokens()), (16, 18 + 16));
    near(number(batch.loss(model, 1.0, &Pass::eval()).unwrap()), sum);
}

#[test]
fn pairs_have_the_plain_loss() {
    pairs_are_plain(&bart(&Device::flex()), 3);
    pairs_are_plain(&t5(&Device::flex()), 0);
    assert!(Pairs::new(&[Denoised { source: vec![5], ..Denoised::default() }], 0, PositionStyle::Zero).is_err());
}

/// Five words between separators; all but the first are predicted.
fn segment() -> Permuted {
    Permuted {
        memory: text(6, 3),
        ids: vec![6, 8, 10, 3, 12, 14, 3, 2],
        segments: vec![0, 0, 0, 0, 1, 1, 1, 2],
        targets: vec![1, 2, 4, 5],
        ranks: [None, Some(4), Some(1), Some(6), Some(0), Some(2), Some(3), Some(5)].to_vec(),
        backwards: false,
        elsewhere: false,
    }
}

fn loss_of(model: &Model<LanguageModelHead, Xlnet>, segments: &[Permuted]) -> f64 {
    number(Segments::new(segments.to_vec()).unwrap().loss(model, 1.0, &Pass::eval()).unwrap())
}

#[test]
fn segments_have_the_loss_of_each_alone() {
    let model = xlnet(&Device::flex());
    let whole = segment();
    let segments = [
        whole.clone(),
        Permuted { memory: vec![], ..whole.clone() },
        Permuted { backwards: true, ..whole.clone() },
        Permuted { backwards: true, memory: text(2, 1), ..whole.clone() },
    ];
    let each: Vec<f64> = segments.iter().map(|one| loss_of(&model, std::slice::from_ref(one))).collect();
    near(loss_of(&model, &segments), each.iter().sum());
    for (i, a) in each.iter().enumerate() {
        assert!(each[..i].iter().all(|b| (a - b).abs() > 1e-4), "memory and direction count: {each:?}");
    }
    let batch = Segments::new(segments.to_vec()).unwrap();
    assert_eq!((batch.targets().len(), batch.tokens()), (16, 4 * 8 + 6 + 6 + 2));

    // without memory, against logits of a pass of its own
    let packed = Packed::new(whole.ids.clone(), whole.segments.clone(), vec![0, 8], PositionStyle::Zero).unwrap();
    let input = ptm_models::Permuted {
        visible: Visible::Pairs(whole.visible().collect()),
        targets: Some(vec![1, 2, 4, 5].into()),
        ..(&packed).into()
    };
    let logits = model.logits(&input, &Rows::All, &Pass::eval()).unwrap();
    near(plain(logits, &[8, 10, 12, 14]), each[1]);
}

/// The prediction of a place may depend on what is before it in the order, and on nothing else.
#[test]
fn nothing_later_in_the_order_is_seen() {
    let model = xlnet(&Device::flex());
    let whole = segment();
    for &target in &whole.targets {
        let alone = Permuted { targets: vec![target], ..whole.clone() };
        let before = loss_of(&model, std::slice::from_ref(&alone));
        for place in (0..whole.ids.len()).filter(|&place| place != target) {
            let mut other = alone.clone();
            other.ids[place] = 20;
            let change = (loss_of(&model, &[other]) - before).abs();
            let seen = whole.ranks[place] < whole.ranks[target];
            assert_eq!(change > 1e-6, seen, "{target} and {place}: {change}");
        }
    }
}

/// `-Σ log softmax` as a graph of plain operations.
fn unfused(logits: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    let width = logits.dims()[1];
    let hot: Vec<f32> =
        targets.iter().flat_map(|&target| (0..width).map(move |id| f32::from(id == target as usize))).collect();
    let hot = Tensor::<2>::from_data(burn::tensor::TensorData::new(hot, [targets.len(), width]), &logits.device());
    -(burn::tensor::activation::log_softmax(logits, 1) * hot).sum()
}

struct Each(Gradients, Vec<Vec<f32>>);

impl ModuleVisitor for Each {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.1.push(param.val().grad(&self.0).map(ptm_ops::read_f32).unwrap_or_default());
    }
}

/// The gradients of all parameters; empty of those that take no part.
fn each<M: Module>(model: &M, loss: Tensor<1>) -> Vec<Vec<f32>> {
    let mut each = Each(loss.backward(), Vec::new());
    model.visit(&mut each);
    each.1
}

/// The gradients of every parameter are the same whichever way the loss was computed.
fn same_gradients<M: Module>(model: &M, names: &Names, fused: Tensor<1>, plain: Tensor<1>) {
    // a key's bias moves all scores of a query alike, and BART's last bias is no parameter that learns
    let still = ["key.bias", "k_proj.bias", "c_attn.bias[1]", "final_logits_bias"];
    let learns = same_gradients_of(model, names, fused, plain);
    for parameter in Parameters::of(model, names).iter() {
        let name = &parameter.name;
        assert!(learns.contains(name) || still.iter().any(|bias| name.ends_with(bias)), "{name} has no gradient");
    }
}

/// The same, and which parameters have one.
fn same_gradients_of<M: Module>(model: &M, names: &Names, fused: Tensor<1>, plain: Tensor<1>) -> Vec<String> {
    let (fused, plain) = (each(model, fused), each(model, plain));
    let parameters = Parameters::of(model, names);
    assert_eq!((fused.len(), plain.len()), (parameters.len(), parameters.len()));
    let mut learns = Vec::new();
    for ((parameter, fused), plain) in parameters.iter().zip(fused).zip(plain) {
        let name = &parameter.name;
        assert_eq!(fused.len(), plain.len(), "{name} takes part in one of both");
        let largest = plain.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        learns.extend((largest > 1e-6).then(|| name.clone()));
        let apart = fused.iter().zip(&plain).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart < 2e-4 * largest.max(1.0), "{name}: {apart} of {largest}");
    }
    learns
}

/// What an encoder-decoder loses by a batch of one pair, and by the plain graph.
fn losses_of_a_pair<B>(model: &Model<LanguageModelHead, B>, start: u32) -> (Tensor<1>, Tensor<1>)
where
    B: for<'a> Body<Input<'a> = Pair<'a>>,
    LanguageModelHead: Head<B>,
{
    let pair = Denoised { source: text(9, 0), target: text(4, 1), corrupted: vec![] };
    let source = Packed::from_ids(&[&pair.source], positions(model)).unwrap();
    let target = Packed::from_ids(&[pair.shifted(start)], positions(model)).unwrap();
    let logits = model.logits(&Pair { source: &source, target: &target }, &Rows::All, &Pass::eval()).unwrap();
    let batch = Pairs::new(std::slice::from_ref(&pair), start, positions(model)).unwrap();
    (batch.loss(model, 1.0, &Pass::eval()).unwrap(), unfused(logits, &pair.target))
}

#[test]
fn gradients_are_those_of_the_plain_graph() {
    let device = Device::flex().autodiff();
    let pass = Pass::eval;
    let decoder = gpt2(&device);
    let block = Causal { ids: text(9, 0), targets: text(9, 2), begins: vec![0] };
    let packed = Packed::from_ids(&[&block.ids], positions(&decoder)).unwrap();
    let fused = Blocks::new(std::slice::from_ref(&block), positions(&decoder)).unwrap().loss(&decoder, 1.0, &pass());
    let plain = unfused(decoder.logits(&packed, &Rows::All, &pass()).unwrap(), &block.targets);
    same_gradients(&decoder, &decoder.names(), fused.unwrap(), plain);

    let model = bart(&device);
    let (fused, plain) = losses_of_a_pair(&model, 3);
    same_gradients(&model, &model.names(), fused, plain);
    let model = t5(&device);
    let (fused, plain) = losses_of_a_pair(&model, 0);
    same_gradients(&model, &model.names(), fused, plain);

    // with a memory, of which no gradient comes
    let (model, whole) = (xlnet(&device), segment());
    let before = Packed::from_ids(&[&whole.memory], PositionStyle::Zero).unwrap();
    let (_, memory) = model.body.forward_and_remember(&(&before).into(), &Rows::Last, &pass()).unwrap();
    let packed = Packed::new(whole.ids.clone(), whole.segments.clone(), vec![0, 8], PositionStyle::Zero).unwrap();
    let input = ptm_models::Permuted {
        visible: Visible::Pairs(whole.visible().collect()),
        targets: Some(vec![1, 2, 4, 5].into()),
        memory: Some(&memory),
        ..(&packed).into()
    };
    let logits = model.logits(&input, &Rows::All, &pass()).unwrap();
    let fused = Segments::new(vec![whole]).unwrap().loss(&model, 1.0, &pass()).unwrap();
    same_gradients(&model, &model.names(), fused, unfused(logits, &[8, 10, 12, 14]));
}

/// What a batch of an objective's examples is, and the loss of a model on it.
trait Learns: Module {
    fn loss(&self, made: Vec<Examples>) -> (Tensor<1>, usize);
}

fn pairs_of(made: Vec<Examples>) -> Vec<Denoised> {
    made.into_iter().map(|one| if let Examples::Denoised(pair) = one { pair } else { panic!("pairs") }).collect()
}

impl Learns for Model<LanguageModelHead, Bart> {
    fn loss(&self, made: Vec<Examples>) -> (Tensor<1>, usize) {
        let batch = Pairs::new(&pairs_of(made), 3, positions(self)).unwrap();
        (batch.loss(self, 1.0 / batch.targets().len() as f32, &Pass::train(1)).unwrap(), batch.targets().len())
    }
}

impl Learns for Model<LanguageModelHead, T5> {
    fn loss(&self, made: Vec<Examples>) -> (Tensor<1>, usize) {
        let batch = Pairs::new(&pairs_of(made), 0, positions(self)).unwrap();
        (batch.loss(self, 1.0 / batch.targets().len() as f32, &Pass::train(1)).unwrap(), batch.targets().len())
    }
}

impl Learns for Model<LanguageModelHead, Decoder> {
    fn loss(&self, made: Vec<Examples>) -> (Tensor<1>, usize) {
        let blocks =
            made.into_iter().flat_map(|one| if let Examples::Causal(blocks) = one { blocks } else { panic!() });
        let batch = Blocks::new(&blocks.collect::<Vec<_>>(), positions(self)).unwrap();
        (batch.loss(self, 1.0 / batch.targets().len() as f32, &Pass::train(1)).unwrap(), batch.targets().len())
    }
}

impl Learns for Model<LanguageModelHead, Xlnet> {
    fn loss(&self, made: Vec<Examples>) -> (Tensor<1>, usize) {
        let segments = made.into_iter().flat_map(|one| if let Examples::Permuted(all) = one { all } else { panic!() });
        let batch = Segments::new(segments.collect()).unwrap();
        (batch.loss(self, 1.0 / batch.targets().len() as f32, &Pass::train(1)).unwrap(), batch.targets().len())
    }
}

/// Trains on fresh texts and returns the mean losses of the first and the last ten steps.
fn learn<M: Learns>(mut model: M, names: Names, objective: &str, settings: &str, steps: u64) -> (f64, f64) {
    let vocabulary = vocabulary();
    let objective = ObjectiveConfig::new(objective, settings.parse().unwrap()).unwrap().build(&vocabulary).unwrap();
    let parameters = Parameters::of(&model, &names);
    let treatments = Tune::default().treatments(&parameters, 0.0).unwrap();
    let mut optimizer = Optimizer::new(OptimizerConfig::default().with_lr(3e-3), parameters, treatments, None);
    let mut losses = Vec::new();
    for step in 0..steps {
        let made = (0..8).map(|number| {
            let ids = text(40, (7 * step + 3 * number) as u32 % WORDS);
            objective
                .corrupt(&Text { ids: &ids, sentences: &[0, 15, 30] }, None, &mut generator(1, step, number))
                .unwrap()
        });
        let (loss, _) = model.loss(made.collect());
        losses.push(number(loss.clone()));
        let mut gradients = GradientSum::default();
        gradients.add(&model, loss.backward());
        model = optimizer.step(model, gradients, 1.0, 1.0);
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    (mean(&losses[..10]), mean(&losses[losses.len() - 10..]))
}

/// A model that knows only how often words occur has a loss of the logarithm of their number.
#[test]
fn every_family_learns_by_its_objective() {
    let device = Device::flex().autodiff();
    let unigram = f64::from(WORDS).ln();
    let (model, one) = (gpt2(&device), gpt2(&device));
    let causal = learn(model, one.names(), "causal_lm", "length = 40", 80);
    let (model, one) = (bart(&device), bart(&device));
    let denoising = learn(model, one.names(), "denoising", "", 120);
    let (model, one) = (t5(&device), t5(&device));
    let spans = learn(model, one.names(), "span_corruption", "", 120);
    let (model, one) = (xlnet(&device), xlnet(&device));
    let permutation = learn(model, one.names(), "permutation_lm", "length = 24\nmemory = 16", 80);
    for (name, (first, last)) in
        [("causal", causal), ("denoising", denoising), ("spans", spans), ("permutation", permutation)]
    {
        println!("{name}: {first:.3} to {last:.3}, unigram {unigram:.3}");
        assert!(last < 0.6 * unigram && last < first, "{name}: {first} to {last}, unigram {unigram}");
    }
}
