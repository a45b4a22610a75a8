//! Attention over 4,096 tokens, one text or several packed, forward and backward, in memory that grows with their
//! number, not with its square: measured in processes of their own, where Linux tells the peak.
#![cfg(target_os = "linux")]

use std::process::Command;

use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_models::heads::Bare;
use ptm_models::{Body, Configuration, Decoder, Model, Pair, Pass, Permuted, Rows, T5, Xlnet};
use ptm_ops::{Attention, Dropout, Mask, attention};
use ptm_text::{Packed, PositionStyle};
use serde_json::{Value, json};

const LONG: usize = 4096;
const HEADS: usize = 4;
const WIDTH: usize = 8;

/// What is done with a batch of texts.
const WAYS: [(&str, fn(&Packed)); 5] = [
    ("causal attention", causal),
    ("a decoder's rows", |batch| decoder(batch, &Rows::All)),
    // those of a text that are not one run
    ("every other of a decoder's rows", |batch| {
        decoder(batch, &Rows::Chosen((0..batch.ids.len() as u32).step_by(2).collect()));
    }),
    ("an encoder-decoder with relative biases", t5),
    ("an XLNet of one direction", xlnet),
];

fn causal(batch: &Packed) {
    let rows = batch.ids.len();
    let leaf = |salt: usize| {
        let values: Vec<f32> = (0..rows * WIDTH).map(|i| ((i * 37 + salt * 11) % 101) as f32 / 50.0 - 1.0).collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows, WIDTH]), &Device::flex().autodiff()).require_grad()
    };
    let [q, k, v] = [0, 1, 2].map(leaf);
    let spec = Attention {
        heads: HEADS,
        scale: 0.7,
        q_offsets: batch.offsets.as_slice().into(),
        k_offsets: batch.offsets.as_slice().into(),
        mask: Mask::Causal,
        dropout: Dropout::OFF,
    };
    let grads = attention(q.clone(), k, v, None, &spec).square().sum().backward();
    let moved = q.grad(&grads).expect("a gradient").abs().max().into_scalar::<f32>();
    assert!(moved.is_finite() && moved > 0.0, "{moved}");
}

fn learns<B: Body>(config: Value, input: &B::Input<'_>, rows: &Rows)
where
    Bare: ptm_models::heads::Head<B>,
{
    let Value::Object(config) = config else { panic!("an object") };
    let config = B::Config::from_json(config).expect("a configuration");
    let body = Model::<Bare, B>::random(config, 3, &Device::flex().autodiff()).expect("a model").body;
    let grads = body.forward(input, rows, &Pass::eval()).expect("the batch fits").powf_scalar(3.0).sum().backward();
    let moved = body.word().val().grad(&grads).expect("a gradient").abs().max().into_scalar::<f32>();
    assert!(moved.is_finite() && moved > 0.0, "{moved}");
}

fn decoder(batch: &Packed, rows: &Rows) {
    let config = json!({"model_type": "gpt2", "vocab_size": 50, "n_embd": WIDTH, "n_layer": 1, "n_head": HEADS,
        "n_inner": WIDTH, "n_positions": LONG, "initializer_range": 0.5});
    learns::<Decoder>(config, batch, rows);
}

fn t5(batch: &Packed) {
    let config = json!({"model_type": "t5", "vocab_size": 50, "d_model": WIDTH, "d_kv": WIDTH / HEADS, "num_layers": 1,
        "num_heads": HEADS, "d_ff": WIDTH, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0});
    learns::<T5>(config, &Pair { source: batch, target: batch }, &Rows::All);
}

fn xlnet(batch: &Packed) {
    let config = json!({"model_type": "xlnet", "vocab_size": 50, "d_model": WIDTH, "n_layer": 1, "n_head": HEADS,
        "d_inner": WIDTH, "attn_type": "uni", "initializer_range": 0.5});
    learns::<Xlnet>(config, &Permuted::from(batch), &Rows::All);
}

fn texts(tokens: usize, each: usize) -> Packed {
    let text = |i: usize| (0..each).map(|j| ((i + j * 7) % 50) as u32).collect();
    let texts: Vec<Vec<u32>> = (0..tokens / each).map(text).collect();
    Packed::from_ids(&texts, PositionStyle::Zero).expect("no empty text")
}

/// The highest that this process's memory was, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// One way over texts of a total and each of a length, named by the environment; says by how much the peak grew.
#[test]
#[ignore = "begun by the test below, in a process of its own"]
fn in_a_process_of_its_own() {
    let told = |name: &str| -> usize { std::env::var(name).expect("told").parse().expect("a number") };
    let (_, way) = WAYS[told("PTM_TEST_WAY")];
    way(&texts(64, 32));
    let batch = texts(told("PTM_TEST_TOKENS"), told("PTM_TEST_EACH"));
    let before = peak();
    way(&batch);
    println!("\ngrew {}", peak() - before);
}

fn growth(way: usize, tokens: usize, each: usize) -> usize {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "in_a_process_of_its_own", "--ignored", "--nocapture"]);
    // each thread has room for a tile of its own
    command.env("RAYON_NUM_THREADS", "2");
    for (name, value) in [("PTM_TEST_WAY", way), ("PTM_TEST_TOKENS", tokens), ("PTM_TEST_EACH", each)] {
        command.env(name, value.to_string());
    }
    let ran = command.output().expect("this test runs");
    let says = String::from_utf8_lossy(&ran.stdout);
    let grew = says.lines().find_map(|line| line.strip_prefix("grew ")?.parse().ok());
    grew.unwrap_or_else(|| panic!("{says}{}", String::from_utf8_lossy(&ran.stderr)))
}

#[test]
fn memory_grows_with_the_number_of_tokens() {
    // scores would be 268 MB, a byte a pair 17 MB
    let (scores, pairs) = (4 * HEADS * LONG * LONG, LONG * LONG);
    for (number, (way, _)) in WAYS.iter().enumerate() {
        for each in [LONG, 256] {
            let whole = growth(number, LONG, each);
            println!("{way}, {LONG} tokens in texts of {each}: {} kB", whole / 1024);
            assert!(whole < pairs / 2 && whole < scores / 30, "{way}, texts of {each}: {whole} bytes");
            let half = growth(number, LONG / 2, each.min(LONG / 2));
            assert!(whole < 3 * half, "{way}, texts of {each}: {half} bytes for half the tokens, {whole} for all");
        }
    }
}
