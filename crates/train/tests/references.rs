//! Optimizers and schedules against the numbers of their reference implementations, which
//! `parity/training/optimizers.py` writes.

use std::collections::HashMap;

use burn::module::{Module, Param};
use burn::prelude::*;
use burn::tensor::TensorData;
use ptm_train::optimizer::{Optimizer, OptimizerConfig, Treatment};
use ptm_train::parameters::{GradientSum, Parameter, Parameters};
use ptm_train::schedule::Schedule;

#[derive(Module, Debug)]
struct Two {
    matrix: Param<Tensor<2>>,
    vector: Param<Tensor<1>>,
}

fn golden<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = format!("{}/../../parity/training/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn values(n: usize, of: impl Fn(f64) -> f64) -> Vec<f32> {
    (0..n).map(|i| of(i as f64) as f32).collect()
}

fn model(device: &Device) -> Two {
    let start = |n, name: &str| values(n, |i| (0.9 * i + name.len() as f64).sin());
    Two {
        matrix: Param::from_data(TensorData::new(start(24, "matrix"), [4, 6]), device),
        vector: Param::from_data(TensorData::new(start(6, "vector"), [6]), device),
    }
}

fn run(config: &str, weight_decay: f32) -> [Vec<f32>; 2] {
    let device = Device::flex().autodiff();
    let config: OptimizerConfig = toml::from_str(config).unwrap();
    let parameter =
        |name: &str, shape: &[usize]| Parameter { name: name.into(), shape: shape.to_vec(), depth: None, word: false };
    let parameters = Parameters::from(vec![parameter("matrix", &[4, 6]), parameter("vector", &[6])]);
    let treatments = vec![Treatment { lr: 1.0, weight_decay, thaws: Some(0) }; 2];
    let mut optimizer = Optimizer::new(config, parameters, treatments, None);
    let mut model = model(&device);
    for t in 0..20 {
        let slope = |n, name: &str| values(n, |i| 0.3 * (0.7 * i + 1.3 * f64::from(t) + name.len() as f64).sin());
        let grad = |values: Vec<f32>| {
            let shape = [values.len()];
            Tensor::<1>::from_data(TensorData::new(values, shape), &device)
        };
        // a loss whose gradients are exactly these numbers
        let loss = (model.matrix.val().flatten::<1>(0, 1) * grad(slope(24, "matrix"))).sum()
            + (model.vector.val() * grad(slope(6, "vector"))).sum();
        let mut sum = GradientSum::default();
        sum.add(&model, loss.backward());
        model = optimizer.step(model, sum, 1.0, 1.0);
    }
    [ptm_ops::read_f32(model.matrix.val().inner()), ptm_ops::read_f32(model.vector.val().inner())]
}

#[test]
fn twenty_steps_of_every_optimizer() {
    let golden: HashMap<String, HashMap<String, Vec<f64>>> = golden("optimizers.json");
    let cases = [
        ("adamw", "name='adamw'\nlr=0.01", 0.01),
        ("bert", "name='adamw'\nlr=0.01\neps=1e-6\nbias_correction=false", 0.01),
        ("lamb", "name='lamb'\nlr=0.01", 0.01),
        ("lion", "name='lion'\nlr=0.01", 0.1),
        ("sgd", "name='sgd'\nlr=0.01", 0.01),
        ("nesterov", "name='sgd'\nlr=0.01\nnesterov=true", 0.0),
        ("adafactor", "name='adafactor'", 0.01),
        ("adafactor_lr", "name='adafactor'\nlr=0.01\nscale_parameter=false", 0.0),
        ("adafactor_warmup", "name='adafactor'\nwarmup_init=true", 0.0),
    ];
    assert_eq!(cases.len(), golden.len());
    for (name, config, decay) in cases {
        for (found, what) in run(config, decay).iter().zip(["matrix", "vector"]) {
            let expected = &golden[name][what];
            assert_eq!(found.len(), expected.len());
            let worst = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(worst < 2e-6, "{name}, {what}: {worst}");
        }
    }
}

#[test]
fn schedules() {
    let golden: HashMap<String, Vec<f64>> = golden("schedules.json");
    let cases = [
        ("constant", "warmup=10"),
        ("linear", "warmup=10"),
        ("cosine", "warmup=10"),
        ("cosine-restarts", "warmup=10\ncycles=3"),
        ("polynomial", "warmup=10\npower=2.0\nend=0.1"),
        ("inverse-root", "warmup=10"),
        ("one-cycle", ""),
        ("t5", "hold=40"),
    ];
    assert_eq!(cases.len(), golden.len());
    for (name, rest) in cases {
        let schedule: Schedule = toml::from_str(&format!("name='{name}'\n{rest}")).unwrap();
        // PyTorch's one-cycle was told of one step more, so as not to end a step early
        let total = if name == "one-cycle" { 101.0 } else { 100.0 };
        for (step, expected) in golden[name].iter().enumerate() {
            let found = schedule.factor(step as f64, total);
            assert!((found - expected).abs() < 1e-9, "{name} at {step}: {found}, not {expected}");
        }
    }
}

#[test]
fn unknown_constants_are_refused() {
    let said = toml::from_str::<OptimizerConfig>("name='adamw'\nmomentum=0.9").unwrap_err().to_string();
    assert!(said.contains("momentum"), "{said}");
    assert!(toml::from_str::<OptimizerConfig>("name='adam'").is_err());
    assert!(toml::from_str::<Schedule>("name='linear'\ncycles=2").is_err());
}
