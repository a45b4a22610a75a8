//! Gradient checkpointing: the same loss and gradients with dropout on, bit by bit where no sum has another order.

use burn::module::{ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::Gradients;
use ptm_models::heads::{Bare, Head};
use ptm_models::{Bart, Body, Configuration, Decoder, Encoder, Input, Model, Pair, Pass, Permuted, Rows, T5, Xlnet};
use ptm_text::{Packed, PositionStyle};
use serde_json::{Value, json};

fn model<B: Body>(config: Value) -> Model<Bare, B>
where
    Bare: Head<B>,
{
    let Value::Object(config) = config else { panic!("an object") };
    Model::random(B::Config::from_json(config).unwrap(), 3, &Device::flex().autodiff()).unwrap()
}

struct Collect(Gradients, Vec<Option<Vec<f32>>>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad_remove(&mut self.0);
        self.1.push(gradient.map(|gradient| gradient.into_data().try_to_vec().unwrap()));
    }
}

/// Loss and all gradients of some function of the last hidden states.
fn learnt<B: Body>(body: &B, input: &B::Input<'_>, rows: &Rows, pass: &Pass) -> (f32, Vec<Option<Vec<f32>>>) {
    let loss = body.forward(input, rows, pass).unwrap().powf_scalar(3.0).sum();
    let mut collect = Collect(loss.backward(), Vec::new());
    body.visit(&mut collect);
    (loss.into_scalar(), collect.1)
}

/// `apart` is how far gradients may be, as a share of their parameter's largest; where those are but rounding (a bias of
/// what softmax takes away again has none), of a hundredth of the model's largest.
fn agree<B: Body>(name: &str, config: Value, input: &B::Input<'_>, apart: f32)
where
    Bare: Head<B>,
{
    let body = model::<B>(config).body;
    for rows in [Rows::All, Rows::First] {
        let plain = learnt(&body, input, &rows, &Pass::train(11));
        let again = learnt(&body, input, &rows, &Pass::train(11).recomputing(true));
        assert!(plain.1.iter().filter(|gradient| gradient.is_some()).count() > 10, "{name}");
        assert_eq!(plain.0, again.0, "{name}");
        let largest = plain.1.iter().flatten().flatten().fold(0.0, |most: f32, gradient| most.max(gradient.abs()));
        for (number, (plain, again)) in plain.1.iter().zip(&again.1).enumerate() {
            assert_eq!(plain.is_some(), again.is_some(), "{name}: {number}");
            let pairs = || plain.iter().flatten().zip(again.iter().flatten());
            let most = pairs().fold(largest / 100.0, |most: f32, (a, _)| most.max(a.abs()));
            let worst = pairs().fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs()));
            assert!(worst <= apart * most, "{name}: parameter {number} is {worst} of {most} apart");
        }
        assert_ne!(plain.0, learnt(&body, input, &rows, &Pass::train(12)).0, "{name}: dropout is on");
    }
}

fn batch(lengths: &[usize]) -> Packed {
    let sequences: Vec<Vec<u32>> =
        lengths.iter().map(|&length| (0..length).map(|i| (i * 7 % 50) as u32).collect()).collect();
    Packed::from_ids(&sequences, PositionStyle::Zero).unwrap()
}

#[test]
fn gradients_are_the_same() {
    let (source, target) = (batch(&[7, 3, 12]), batch(&[4, 6, 2]));
    let bert = json!({"model_type": "bert", "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 3,
        "num_attention_heads": 2, "intermediate_size": 40, "max_position_embeddings": 16, "initializer_range": 0.2,
        "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3});
    agree::<Encoder>("bert", bert, &Input::from(&source), 0.0);
    let gpt2 = json!({"model_type": "gpt2", "vocab_size": 50, "n_embd": 24, "n_layer": 3, "n_head": 2,
        "n_positions": 16, "initializer_range": 0.2, "attn_pdrop": 0.3, "resid_pdrop": 0.2, "embd_pdrop": 0.1});
    agree::<Decoder>("gpt2", gpt2, &source, 0.0);
    // what all layers of a decoder look at gets its gradient from each of them, in another order
    let pair = Pair { source: &source, target: &target };
    let bart = json!({"model_type": "bart", "vocab_size": 50, "d_model": 24, "encoder_layers": 2, "decoder_layers": 3,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40,
        "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "init_std": 0.2,
        "dropout": 0.2, "attention_dropout": 0.3, "encoder_layerdrop": 0.3, "decoder_layerdrop": 0.3});
    agree::<Bart>("bart", bart, &pair, 5e-6);
    let t5 = json!({"model_type": "t5", "vocab_size": 50, "d_model": 24, "d_kv": 12, "num_layers": 3, "num_heads": 2,
        "d_ff": 40, "pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 0, "dropout_rate": 0.2,
        "relative_attention_num_buckets": 8});
    agree::<T5>("t5", t5, &pair, 5e-6);
    let xlnet = json!({"model_type": "xlnet", "vocab_size": 50, "d_model": 24, "n_layer": 3, "n_head": 2,
        "d_inner": 40, "initializer_range": 0.2, "dropout": 0.2});
    agree::<Xlnet>("xlnet", xlnet, &Permuted::from(&source), 5e-6);
}
