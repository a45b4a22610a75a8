//! A step from a cache gives what a pass over everything gives: at every step, for prompts of unequal length, after
//! beams were chosen.

mod dumps;

use std::path::Path;

use burn::prelude::*;
use ptm_models::heads::{Bare, LanguageModelHead};
use ptm_models::{
    Bart, BartDecoder, Body, Cache, Configuration, Decoder, Model, Pair, Pass, Permuted, Rows, Stepwise, T5, Xlnet,
};
use ptm_text::{Packed, PositionStyle};

const FITS: &str = "the batch fits the model";

fn read(x: Tensor<2>) -> Vec<f32> {
    ptm_ops::read_f32(x)
}

/// A body with what the test needs to begin and to compare.
trait Begins: Stepwise {
    fn begins(&self, source: &Packed) -> Cache;
    fn reads<'a>(source: &'a Packed, target: &'a Packed) -> Self::Input<'a>;
}

macro_rules! alone {
    ($($body:ident)*) => {$(
        impl Begins for $body {
            fn begins(&self, source: &Packed) -> Cache {
                self.begin(source.sequences())
            }

            fn reads<'a>(_: &'a Packed, target: &'a Packed) -> Packed {
                target.clone()
            }
        }
    )*};
}

macro_rules! beside_a_source {
    ($($body:ident)*) => {$(
        impl Begins for $body {
            fn begins(&self, source: &Packed) -> Cache {
                self.begin(source).expect(FITS)
            }

            fn reads<'a>(source: &'a Packed, target: &'a Packed) -> Pair<'a> {
                Pair { source, target }
            }
        }
    )*};
}

alone!(Decoder BartDecoder);
beside_a_source!(Bart T5);

/// One model, its cache, and everything that was said so far.
struct Talk<B: Begins> {
    case: &'static str,
    model: Model<LanguageModelHead, B>,
    style: PositionStyle,
    cache: Cache,
    sources: Vec<Vec<u32>>,
    said: Vec<Vec<u32>>,
    next: u32,
}

impl<B: Begins> Talk<B> {
    fn new(case: &'static str, dir: &Path) -> Self {
        let model = Model::<LanguageModelHead, B>::open(dir, &Device::flex()).expect("a case").model;
        let style = model.config().positions();
        let sources = vec![vec![9, 8, 7, 2], vec![30], vec![11, 12, 13, 14, 15, 2]];
        let cache = model.body.begins(&Packed::from_ids(&sources, style).expect("sources"));
        Self { case, model, style, cache, sources, said: vec![Vec::new(); 3], next: 5 }
    }

    /// Says so many more tokens in each sequence, and compares the wanted rows.
    fn say(&mut self, counts: &[usize], rows: &Rows) {
        let tokens: Vec<Vec<u32>> = counts
            .iter()
            .map(|&count| {
                let mut token = || {
                    self.next = 5 + (self.next * 7 + 3) % 40;
                    self.next
                };
                (0..count).map(|_| token()).collect()
            })
            .collect();
        for (said, tokens) in self.said.iter_mut().zip(&tokens) {
            said.extend(tokens);
        }
        let batch = self.cache.batch(&tokens, self.style).expect(FITS);
        let ours = read(self.model.step(&batch, &mut self.cache, rows).expect(FITS));
        let source = Packed::from_ids(&self.sources, self.style).expect("sources");
        let target = Packed::from_ids(&self.said, self.style).expect("what was said");
        let all = read(self.model.logits(&B::reads(&source, &target), &Rows::All, &Pass::eval()).expect(FITS));
        let width = self.model.config().output_size();
        // the rows of the batch, and those of everything
        let wanted: Vec<u32> = match rows {
            Rows::Chosen(rows) => rows.to_vec(),
            Rows::Last => batch.offsets[1..].iter().map(|&end| end as u32 - 1).collect(),
            _ => (0..batch.ids.len() as u32).collect(),
        };
        assert_eq!(ours.len(), wanted.len() * width, "{}", self.case);
        for (i, &row) in wanted.iter().enumerate() {
            let b = batch.offsets.partition_point(|&end| end <= row as usize) - 1;
            let at = target.offsets[b + 1] - (batch.offsets[b + 1] - row as usize);
            for j in 0..width {
                let (a, b) = (ours[i * width + j], all[at * width + j]);
                assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{}: row {row}, {j}: {a} and {b}", self.case);
            }
        }
    }

    fn choose(&mut self, which: &[usize]) {
        self.cache.select(which);
        self.sources = which.iter().map(|&b| self.sources[b].clone()).collect();
        self.said = which.iter().map(|&b| self.said[b].clone()).collect();
    }
}

fn check<B: Begins>(case: &'static str) {
    let Some(dir) = dumps::case(case) else { return };
    let mut talk = Talk::<B>::new(case, &dir);
    talk.say(&[4, 1, 2], &Rows::All);
    talk.say(&[1, 1, 1], &Rows::Last);
    talk.say(&[1, 3, 2], &Rows::Last);
    talk.say(&[2, 1, 1], &Rows::Chosen(vec![0, 2].into()));
    assert_eq!(talk.cache.rows(), 20);
    talk.choose(&[2, 0, 0, 0]);
    assert_eq!(talk.cache.rows(), 20, "nothing is copied");
    talk.say(&[1, 1, 1, 1], &Rows::Last);
    talk.choose(&[3, 1]);
    talk.say(&[1, 2], &Rows::All);
    talk.choose(&[1]);
    talk.say(&[1], &Rows::Last);
    assert_eq!(talk.cache.lengths(), [talk.said[0].len()]);
}

#[test]
fn decoders() {
    check::<Decoder>("gpt-lm");
    check::<Decoder>("gpt2-lm");
    check::<Decoder>("gpt2-lm-bylayer");
    check::<BartDecoder>("bart-causal");
    check::<BartDecoder>("mbart-causal");
    check::<BartDecoder>("marian-causal");
}

#[test]
fn encoder_decoders() {
    check::<Bart>("bart-lm");
    check::<Bart>("mbart-lm");
    check::<Bart>("marian-lm");
    check::<Bart>("marian-lm-apart");
    check::<T5>("t5-lm-far");
    check::<T5>("t5v11-lm");
    check::<T5>("byt5-lm");
    check::<T5>("mt5-lm");
}

#[test]
fn a_batch_that_does_not_fit_leaves_the_cache_alone() {
    let Some(dir) = dumps::case("gpt2-lm") else { return };
    let model = Model::<LanguageModelHead, Decoder>::open(&dir, &Device::flex()).expect("a case").model;
    let mut cache = model.body.begin(1);
    let batch = cache.batch(&[[5, 6, 7]], PositionStyle::Zero).expect(FITS);
    model.step(&batch, &mut cache, &Rows::Last).expect(FITS);
    let beyond = cache.batch(&[vec![5; 1000]], PositionStyle::Zero).expect("a batch");
    let error = model.step(&beyond, &mut cache, &Rows::Last).expect_err("too long").to_string();
    assert!(error.contains("position 1002 is beyond the model's"), "{error}");
    assert_eq!((cache.lengths(), cache.rows()), (vec![3], 3));
    let two = Packed::from_ids(&[[5], [6]], PositionStyle::Zero).expect("a batch");
    let error = model.step(&two, &mut cache, &Rows::Last).expect_err("another batch").to_string();
    assert!(error.contains("2 sequences go on where the cache holds 1"), "{error}");
}

/// XLNet's memory of one direction: a text in two segments, of unequal lengths, gives what it gives at once.
#[test]
fn memory_of_one_direction() {
    let Some(dir) = dumps::case("xlnet-lm-uni") else { return };
    let model = Model::<Bare, Xlnet>::open(&dir, &Device::flex()).expect("a case").model;
    let texts: [&[u32]; 3] = [&[5, 6, 7, 8, 9], &[10, 11, 12], &[13, 14, 15, 16]];
    let pack = |part: &dyn Fn(&[u32]) -> Vec<u32>| {
        let parts: Vec<Vec<u32>> = texts.iter().map(|text| part(text)).collect();
        Packed::from_ids(&parts, PositionStyle::Zero).expect("no empty part")
    };
    let first = pack(&|text| text[..text.len() - 2].to_vec());
    let rest = pack(&|text| text[text.len() - 2..].to_vec());
    let (_, memory) = model.body.forward_and_remember(&(&first).into(), &Rows::All, &Pass::eval()).expect(FITS);
    assert_eq!(memory.lengths(), [3, 1, 2]);
    let whole = pack(&<[u32]>::to_vec);
    let all = read(model.body.forward(&(&whole).into(), &Rows::All, &Pass::eval()).expect(FITS));
    let width = model.config().hidden_size;
    // in another order too, and one of them twice
    for which in [vec![0, 1, 2], vec![2, 0, 0]] {
        let memory = memory.of(&which);
        let rest: Vec<Vec<u32>> = which.iter().map(|&b| rest.ids[2 * b..2 * b + 2].to_vec()).collect();
        let rest = Packed::from_ids(&rest, PositionStyle::Zero).expect("no empty part");
        let input = Permuted { memory: Some(&memory), ..(&rest).into() };
        let ours = read(model.body.forward(&input, &Rows::All, &Pass::eval()).expect(FITS));
        for (i, &b) in which.iter().enumerate() {
            let from = (whole.offsets[b + 1] - 2) * width;
            for (a, b) in ours[2 * i * width..][..2 * width].iter().zip(&all[from..]) {
                assert!((a - b).abs() < 1e-5, "{a} and {b}");
            }
        }
    }
}
