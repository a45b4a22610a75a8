//! What the tests of all families share: the dumps of `parity/`, their batches, and a model of any head.

#[path = "../dumps/mod.rs"]
pub mod dumps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::prelude::*;
use ptm_models::heads::{
    Bare, ChoiceHead, Head, LanguageModelHead, MaskedLmHead, NextSentenceHead, Pooler, PretrainingHead,
    ReplacedTokenHead, SequenceHead, SpanHead, TokenHead,
};
use ptm_models::{
    Bart, BartConfig, BartDecoder, BartEncoder, Body, Configuration, Decoder, Encoder, Input, Model, Pair, Pass,
    Permuted, Rows, T5, T5Config, T5Encoder, Visible, Xlnet,
};
use ptm_ops::{Indices, Mask};
use ptm_text::{Packed, PositionStyle};
use safetensors::{Dtype, SafeTensors};

/// What `transformers` computed for one case.
pub struct Reference {
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub kind: String,
    pub sees_padding: bool,
}

impl Reference {
    pub fn read(dir: &Path) -> Self {
        let bytes = std::fs::read(dir.join("reference.safetensors")).expect("a case has a reference");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a valid reference");
        let metadata = header.metadata().clone().expect("a reference says what it is");
        let file = SafeTensors::deserialize(&bytes).expect("a valid reference");
        let number = |dtype: Dtype, data: &[u8]| -> Vec<f32> {
            match dtype {
                Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                Dtype::I64 => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
                other => panic!("{other:?} in a reference"),
            }
        };
        let tensors = file.tensors().into_iter();
        Self {
            tensors: tensors.map(|(n, t)| (n, (t.shape().to_vec(), number(t.dtype(), t.data())))).collect(),
            kind: metadata.get("kind").cloned().unwrap_or_default(),
            sees_padding: metadata.get("loss_sees_padding").is_some_and(|v| v == "yes"),
        }
    }

    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(|t| t.1.as_slice())
    }

    pub fn ids(&self, name: &str) -> Indices {
        self.get(name).unwrap_or_else(|| panic!("no {name}")).iter().map(|&x| x as u32).collect()
    }
}

/// The padded batch of a reference, packed; `place[row of the padded batch]` is its packed row.
pub struct Batch {
    pub packed: Packed,
    tasks: Option<Indices>,
    mask: Mask,
    pub place: Vec<Option<usize>>,
    /// What a decoder reads beside a source, and where its padded rows are packed.
    pub target: Packed,
    pub target_place: Vec<Option<usize>>,
    /// Who sees whom in the order of prediction, and the rows that are predicted.
    order: Option<(Option<Arc<[bool]>>, Indices)>,
    /// The segment before.
    pub first: Option<Packed>,
}

impl Batch {
    pub fn new<B: Tested>(reference: &Reference, body: &B) -> Self {
        let config = &**body.config();
        let seq = *reference.tensors["in.input_ids"].0.last().expect("a shape");
        let ids = reference.ids("in.input_ids");
        let segments = reference.get("in.token_type_ids").map(|_| reference.ids("in.token_type_ids"));
        let tasks = reference.get("in.task_type_ids").map(|_| reference.ids("in.task_type_ids"));
        let real: Vec<bool> = reference.ids("in.attention_mask").iter().map(|&x| x == 1).collect();
        // a loss that looks at padding needs the padding's rows; others then may not look at them
        let kept = |i: usize| real[i] || reference.sees_padding;
        let mut packed = Packed { offsets: vec![0], ..Packed::default() };
        let mut place = Vec::new();
        for sequence in 0..ids.len() / seq {
            for i in sequence * seq..(sequence + 1) * seq {
                place.push(kept(i).then_some(packed.ids.len()));
                if kept(i) {
                    packed.ids.push(ids[i]);
                    packed.segments.push(segments.as_ref().map_or(0, |s| s[i]));
                }
            }
            let row = packed.ids[packed.offsets[packed.offsets.len() - 1]..].to_vec();
            if reference.sees_padding {
                // RoBERTa gives padding no position of its own; no such case is padded
                packed.positions.extend(0..row.len() as u32);
            } else {
                config.positions().extend(&row, &mut packed.positions);
            }
            packed.offsets.push(packed.ids.len());
        }
        let rows = |values: Indices| (0..place.len()).filter(|&i| place[i].is_some()).map(|i| values[i]).collect();
        let mask = if reference.sees_padding { Mask::Keys(real.into()) } else { Mask::None };
        let mut batch = Self {
            tasks: tasks.map(rows),
            mask,
            target: Packed::default(),
            target_place: place.clone(),
            order: None,
            first: None,
            packed,
            place,
        };
        batch.set_target(reference, body);
        batch.set_order(reference);
        batch
    }

    /// The target: of labels, or of the source itself, moved right.
    fn set_target<B: Tested>(&mut self, reference: &Reference, body: &B) {
        let style = body.config().positions();
        let labels = reference.get("in.labels").filter(|_| reference.kind == "seq2seq");
        let said: Vec<Vec<u32>> = match labels {
            Some(labels) => {
                let mut packed = 0..;
                self.target_place =
                    labels.iter().map(|label| (*label >= 0.0).then(|| packed.next().expect("endless"))).collect();
                let rows = labels.chunks(reference.tensors["in.labels"].0[1]);
                rows.map(|row| row.iter().filter(|id| **id >= 0.0).map(|&id| id as u32).collect()).collect()
            }
            None => self.packed.offsets.windows(2).map(|w| self.packed.ids[w[0]..w[1]].to_vec()).collect(),
        };
        let read: Option<Vec<_>> = said.iter().map(|said| B::shifted(body.config(), said)).collect();
        if let Some(read) = read {
            self.target = Packed::from_ids(&read, style).expect("no empty target");
        }
    }

    /// The order of prediction, where the reference has one; rows that are predicted ascend here.
    fn set_order(&mut self, reference: &Reference) {
        let Some(mapping) = reference.get("in.target_mapping") else { return };
        let [_, predicted, seq] = reference.tensors["in.target_mapping"].0[..] else { panic!("three dimensions") };
        let places = &self.place;
        let visible = reference.get("in.perm_mask").map(|hidden| {
            let pairs = hidden.iter().enumerate().filter(|(i, _)| {
                let (query, key) = (i / seq, i / (seq * seq) * seq + i % seq);
                places[query].is_some() && places[key].is_some()
            });
            pairs.map(|(_, hidden)| *hidden == 0.0).collect()
        });
        let rows = mapping.chunks(seq).enumerate().map(|(i, row)| {
            let at = row.iter().position(|x| *x == 1.0).expect("a predicted token");
            places[i / predicted * seq + at].expect("a token, not padding")
        });
        let rows: Vec<usize> = rows.collect();
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        self.target_place = rows.iter().map(|row| sorted.binary_search(row).ok()).collect();
        self.order = Some((visible, sorted.into_iter().map(|row| row as u32).collect()));
        if reference.get("in.first_ids").is_some() {
            let (ids, segments) = (reference.ids("in.first_ids").to_vec(), reference.ids("in.first_types").to_vec());
            let offsets = (0..=ids.len() / seq).map(|b| b * seq).collect();
            self.first = Some(Packed::new(ids, segments, offsets, PositionStyle::Zero).expect("a batch"));
        }
    }

    pub fn input(&self) -> Input<'_> {
        Input { batch: &self.packed, tasks: self.tasks.clone(), mask: self.mask.clone() }
    }
}

/// A body, and how it reads a batch.
pub trait Tested: Body {
    fn input(batch: &Batch) -> Self::Input<'_>;

    /// What its decoder reads to say `target`, if it reads a source too.
    fn shifted(_: &Self::Config, _: &[u32]) -> Option<Vec<u32>> {
        None
    }

    /// Calls `f` with what `body` reads, after the segment before where there is one.
    fn with_input<T>(_: &Self, batch: &Batch, f: impl FnOnce(&Self::Input<'_>) -> T) -> T {
        f(&Self::input(batch))
    }

    /// Outputs beside the hidden states.
    fn more_outputs(_: &Self, _: &Batch) -> Vec<(&'static str, Tensor<2>)> {
        Vec::new()
    }
}

impl Tested for Bart {
    fn input(batch: &Batch) -> Pair<'_> {
        Pair { source: &batch.packed, target: &batch.target }
    }

    fn shifted(config: &BartConfig, target: &[u32]) -> Option<Vec<u32>> {
        config.shifted(target).ok()
    }

    fn more_outputs(body: &Self, batch: &Batch) -> Vec<(&'static str, Tensor<2>)> {
        let encoded = body.encode(&batch.packed, &Rows::All, &Pass::eval()).expect(FITS);
        vec![("encoder_last_hidden_state", encoded)]
    }
}

impl Tested for T5 {
    fn input(batch: &Batch) -> Pair<'_> {
        Pair { source: &batch.packed, target: &batch.target }
    }

    fn shifted(config: &T5Config, target: &[u32]) -> Option<Vec<u32>> {
        config.shifted(target).ok()
    }

    fn more_outputs(body: &Self, batch: &Batch) -> Vec<(&'static str, Tensor<2>)> {
        vec![("encoder_last_hidden_state", body.encode(&batch.packed, &Rows::All, &Pass::eval()).expect(FITS))]
    }
}

impl Tested for T5Encoder {
    fn input(batch: &Batch) -> Packed {
        batch.packed.clone()
    }
}

impl Tested for Xlnet {
    fn input(batch: &Batch) -> Permuted<'_> {
        let (visible, targets) = batch.order.clone().unzip();
        let visible = visible.flatten().map_or(Visible::All, Visible::Pairs);
        Permuted { batch: &batch.packed, visible, targets, memory: None, backwards: None }
    }

    fn with_input<T>(body: &Self, batch: &Batch, f: impl FnOnce(&Permuted<'_>) -> T) -> T {
        let memory = batch
            .first
            .as_ref()
            .map(|first| body.forward_and_remember(&first.into(), &Rows::Last, &Pass::eval()).expect(FITS).1);
        f(&Permuted { memory: memory.as_ref(), ..Self::input(batch) })
    }
}

impl Tested for BartEncoder {
    fn input(batch: &Batch) -> Packed {
        batch.packed.clone()
    }
}

impl Tested for BartDecoder {
    fn input(batch: &Batch) -> Packed {
        batch.packed.clone()
    }
}

impl Tested for Encoder {
    fn input(batch: &Batch) -> Input<'_> {
        batch.input()
    }
}

impl Tested for Decoder {
    fn input(batch: &Batch) -> Packed {
        batch.packed.clone()
    }
}

/// The families of dumps, and what each has of them: `bert-choice`, `bert-hidden` and so on.
pub const FAMILIES: [(&str, &str); 16] = [
    (
        "bert",
        "choice hidden mlm mlm-gelunew mlm-relu mlm-untied multilabel nsp pretraining pretraining-oldconfig qa \
         qa-full qa-spanbert regression sequence sequence-oldconfig token",
    ),
    ("roberta", "choice hidden mlm mlm-oldconfig mlm-untied qa sequence token"),
    ("xlmroberta", "choice hidden mlm qa sequence token"),
    ("distilbert", "choice hidden mlm qa qa-full sequence token"),
    ("electra", "choice hidden mlm mlm-samewidth qa rtd sequence token"),
    ("ernie", "choice hidden mlm mlm-notask nsp pretraining qa sequence token"),
    ("gpt", "hidden lm lm-untied sequence"),
    ("gpt2", "hidden lm lm-bylayer lm-unscaled lm-untied multilabel qa regression sequence token"),
    ("bart", "causal encoder hidden lm lm-scaled lm-untied multilabel qa regression sequence"),
    ("mbart", "causal encoder hidden lm qa sequence"),
    ("marian", "causal encoder encoder-apart hidden lm lm-apart lm-untied"),
    ("t5", "encoder hidden lm lm-far lm-untied qa sequence token"),
    ("t5v11", "encoder hidden lm qa sequence token"),
    ("byt5", "encoder hidden lm qa sequence token"),
    ("mt5", "encoder hidden lm qa sequence token"),
    (
        "xlnet",
        "hidden lm lm-bidata lm-clamp lm-uni lm-untied memory memory-uni multilabel qa regression sequence \
         sequence-first sequence-mean token",
    ),
];

/// The folders of a family's dumps, sorted. Of the committed set all are there, and no others.
pub fn cases(family: &str) -> Vec<PathBuf> {
    let (_, expected) = FAMILIES.into_iter().find(|(name, _)| *name == family).expect("a family of dumps");
    let start = format!("{family}-");
    let mut names: Vec<String> = std::fs::read_dir(dumps::folder())
        .expect("a folder of dumps")
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("a name of letters"))
        .filter_map(|name| name.strip_prefix(&start).map(str::to_owned))
        .collect();
    names.sort();
    if dumps::are_committed() {
        assert_eq!(names.join(" "), expected, "the committed dumps of {family}");
    }
    names.into_iter().map(|name| dumps::folder().join(format!("{start}{name}"))).collect()
}

/// Calls a function that is generic over head and body with those that a case is for.
macro_rules! with_head {
    ($function:ident, $dir:expr, $reference:expr $(, $rest:expr)*) => {{
        use ptm_models::heads::*;
        use ptm_models::{Bart, BartDecoder, BartEncoder, Decoder, Encoder, Family, Kind, T5, T5Encoder, Xlnet};
        let (dir, reference): (&Path, &Reference) = ($dir, $reference);
        let family = Family::of_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        match (family.kind(), reference.kind.as_str()) {
            (Kind::Encoder, "mlm") => $function::<MaskedLmHead, Encoder>(dir, reference $(, $rest)*),
            (Kind::Encoder, "mlm+nsp") => $function::<PretrainingHead, Encoder>(dir, reference $(, $rest)*),
            (Kind::Encoder, "nsp") => $function::<NextSentenceHead, Encoder>(dir, reference $(, $rest)*),
            (Kind::Encoder, "sequence" | "multilabel" | "regression") => $function::<SequenceHead, Encoder>(dir, reference $(, $rest)*),
            (Kind::Encoder, "token") => $function::<TokenHead, Encoder>(dir, reference $(, $rest)*),
            (Kind::Encoder, "span") => $function::<SpanHead, Encoder>(dir, reference $(, $rest)*),
            (Kind::Encoder, "choice") => $function::<ChoiceHead, Encoder>(dir, reference $(, $rest)*),
            (Kind::Encoder, "rtd") => $function::<ReplacedTokenHead, Encoder>(dir, reference $(, $rest)*),
            (Kind::Encoder, "hidden") if Pooler::class(family).is_some() => {
                $function::<Pooler, Encoder>(dir, reference $(, $rest)*)
            }
            (Kind::Encoder, "hidden") => $function::<Bare, Encoder>(dir, reference $(, $rest)*),
            (Kind::Decoder, "causal") => $function::<LanguageModelHead, Decoder>(dir, reference $(, $rest)*),
            (Kind::Decoder, "sequence" | "multilabel" | "regression") => {
                $function::<SequenceHead, Decoder>(dir, reference $(, $rest)*)
            }
            (Kind::Decoder, "token") => $function::<TokenHead, Decoder>(dir, reference $(, $rest)*),
            (Kind::Decoder, "span") => $function::<SpanHead, Decoder>(dir, reference $(, $rest)*),
            (Kind::Decoder, "hidden") => $function::<Bare, Decoder>(dir, reference $(, $rest)*),
            (Kind::Bart, "seq2seq") => $function::<LanguageModelHead, Bart>(dir, reference $(, $rest)*),
            (Kind::Bart, "aligned") => $function::<LanguageModelHead, BartDecoder>(dir, reference $(, $rest)*),
            (Kind::Bart, "sequence" | "multilabel" | "regression") => {
                $function::<SequenceHead, Bart>(dir, reference $(, $rest)*)
            }
            (Kind::Bart, "span") => $function::<SpanHead, Bart>(dir, reference $(, $rest)*),
            (Kind::Bart, "hidden") => $function::<Bare, Bart>(dir, reference $(, $rest)*),
            (Kind::Bart, "encoder") => $function::<Bare, BartEncoder>(dir, reference $(, $rest)*),
            (Kind::T5, "seq2seq") => $function::<LanguageModelHead, T5>(dir, reference $(, $rest)*),
            (Kind::T5, "sequence" | "multilabel" | "regression") => {
                $function::<SequenceHead, T5>(dir, reference $(, $rest)*)
            }
            (Kind::T5, "span") => $function::<SpanHead, T5>(dir, reference $(, $rest)*),
            (Kind::T5, "token") => $function::<TokenHead, T5Encoder>(dir, reference $(, $rest)*),
            (Kind::T5, "hidden") => $function::<Bare, T5>(dir, reference $(, $rest)*),
            (Kind::T5, "encoder") => $function::<Bare, T5Encoder>(dir, reference $(, $rest)*),
            (Kind::Xlnet, "permutation" | "memory") => {
                $function::<LanguageModelHead, Xlnet>(dir, reference $(, $rest)*)
            }
            (Kind::Xlnet, "sequence" | "multilabel" | "regression") => {
                $function::<SequenceHead, Xlnet>(dir, reference $(, $rest)*)
            }
            (Kind::Xlnet, "token") => $function::<TokenHead, Xlnet>(dir, reference $(, $rest)*),
            (Kind::Xlnet, "span") => $function::<SpanHead, Xlnet>(dir, reference $(, $rest)*),
            (Kind::Xlnet, "hidden") => $function::<Bare, Xlnet>(dir, reference $(, $rest)*),
            other => panic!("{}: kind {other:?}", dir.display()),
        }
    }};
}
pub(crate) use with_head;

/// A model of any head, as the tests need it.
pub trait Case<B: Tested = Encoder>: Head<B> + 'static {
    /// `out.*` of the reference by name, packed.
    fn outputs(model: &Model<Self, B>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)>;
}

/// The largest difference between what `model` gives and what the reference says, at rows that are no padding.
pub fn difference<H: Case<B>, B: Tested>(name: &str, model: &Model<H, B>, batch: &Batch, reference: &Reference) -> f32 {
    let ids = &reference.tensors["in.input_ids"].0;
    let mut worst = 0.0;
    for (output, ours) in H::outputs(model, batch) {
        let (shape, theirs) = &reference.tensors[&format!("out.{output}")];
        // outputs by token are compared at real tokens; others have a row a sequence or an example
        let said = ["seq2seq", "permutation", "memory"].contains(&reference.kind.as_str()) && output == "logits";
        let theirs: Vec<f32> = if shape.starts_with(ids) || said {
            let place = if shape.starts_with(ids) { &batch.place } else { &batch.target_place };
            let width = theirs.len() / place.len();
            let mut real: Vec<usize> = (0..place.len()).filter(|&i| place[i].is_some()).collect();
            real.sort_by_key(|&i| place[i]);
            real.into_iter().flat_map(|i| &theirs[i * width..(i + 1) * width]).copied().collect()
        } else {
            theirs.clone()
        };
        assert_eq!(ours.len(), theirs.len(), "{name}: {output}");
        for (a, b) in ours.iter().zip(&theirs) {
            assert!(a.is_finite(), "{name}: {output} holds {a}");
            worst = f32::max(worst, (a - b).abs());
        }
    }
    worst
}

pub fn read<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    ptm_ops::read_f32(x)
}

fn column(x: Tensor<2>, c: usize) -> Vec<f32> {
    let rows = x.dims()[0];
    read(x.slice([0..rows, c..c + 1]))
}

pub const FITS: &str = "the batch fits the model";

impl Case for MaskedLmHead {
    fn outputs(model: &Model<Self>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        vec![("logits", read(model.logits(&batch.input(), &Rows::All, &Pass::eval()).expect(FITS)))]
    }
}

impl Case for PretrainingHead {
    fn outputs(model: &Model<Self>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        let all = model.body.forward(&batch.input(), &Rows::All, &Pass::eval()).expect(FITS);
        let first = model.body.forward(&batch.input(), &Rows::First, &Pass::eval()).expect(FITS);
        vec![
            ("prediction_logits", read(model.head.masked_lm.logits(all, &model.body.word))),
            ("seq_relationship_logits", read(model.head.next_sentence.logits(first))),
        ]
    }
}

impl Case for NextSentenceHead {
    fn outputs(model: &Model<Self>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        vec![("logits", read(model.logits(&batch.input(), &Pass::eval()).expect(FITS)))]
    }
}

impl<B: Tested> Case<B> for SequenceHead {
    fn outputs(model: &Model<Self, B>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        vec![("logits", read(model.logits(&B::input(batch), &Pass::eval()).expect(FITS)))]
    }
}

impl Case for ChoiceHead {
    fn outputs(model: &Model<Self>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        vec![("logits", read(model.logits(&batch.input(), 2, &Pass::eval()).expect(FITS)))]
    }
}

impl<B: Tested> Case<B> for TokenHead {
    fn outputs(model: &Model<Self, B>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        vec![("logits", read(model.logits(&B::input(batch), &Pass::eval()).expect(FITS)))]
    }
}

impl<B: Tested> Case<B> for SpanHead {
    fn outputs(model: &Model<Self, B>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        let logits = model.logits(&B::input(batch), &Pass::eval()).expect(FITS);
        vec![("start_logits", column(logits.clone(), 0)), ("end_logits", column(logits, 1))]
    }
}

impl Case for ReplacedTokenHead {
    fn outputs(model: &Model<Self>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        vec![("logits", read(model.logits(&batch.input(), &Pass::eval()).expect(FITS)))]
    }
}

impl<B: Tested> Case<B> for LanguageModelHead {
    fn outputs(model: &Model<Self, B>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        let logits = |input: &B::Input<'_>| model.logits(input, &Rows::All, &Pass::eval()).expect(FITS);
        vec![("logits", read(B::with_input(&model.body, batch, logits)))]
    }
}

impl<B: Tested> Case<B> for Bare {
    fn outputs(model: &Model<Self, B>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        let hidden = model.body.forward(&B::input(batch), &Rows::All, &Pass::eval()).expect(FITS);
        let more = B::more_outputs(&model.body, batch).into_iter().map(|(name, output)| (name, read(output)));
        std::iter::once(("last_hidden_state", read(hidden))).chain(more).collect()
    }
}

impl Case for Pooler {
    fn outputs(model: &Model<Self>, batch: &Batch) -> Vec<(&'static str, Vec<f32>)> {
        let (hidden, pooled) = model.forward(&batch.input(), &Pass::eval()).expect(FITS);
        vec![("last_hidden_state", read(hidden)), ("pooler_output", read(pooled))]
    }
}
