//! ERNIE 2.0's tasks through a model: losses against plain computations, gradients against the plain graph, and what each task
//! teaches.

use burn::prelude::*;
use ptm_models::ernie::Task;
use ptm_models::{Body, EncoderConfig, Ernie, Input, Pass, Rows};
use ptm_text::{Packed, PositionStyle};
use ptm_train::objectives::batches::{Classes, Masks};
use ptm_train::objectives::classified::Classified;
use ptm_train::objectives::masking::Masked;
use ptm_train::parameters::{GradientSum, Parameters};
use serde_json::{Value, json};

use super::{SIZE, near, number, plain, same_gradients_of, unfused};

const TASKS: [(Task, usize); 4] =
    [(Task::SentenceReordering, 9), (Task::SentenceDistance, 3), (Task::Capitalization, 2), (Task::TokenDocument, 2)];

fn ernie() -> Ernie {
    let config = json!({"model_type": "ernie", "vocab_size": SIZE, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64, "type_vocab_size": 4,
        "use_task_id": true, "task_type_vocab_size": 5, "pad_token_id": 0, "initializer_range": 0.1,
        "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0});
    let Value::Object(config) = config else { panic!("an object") };
    Ernie::random(EncoderConfig::from_json(config).unwrap(), &TASKS, 3, &Device::flex().autodiff()).unwrap()
}

/// Two sequences: a class of the whole, or of three tokens.
fn examples(task: Task) -> Vec<Classified> {
    let one = |ids: &[u32], segments: &[u32], places: &[usize], labels: &[u32]| {
        let (places, labels) = if task.of_sequences() { (&[0][..], &labels[..1]) } else { (places, labels) };
        Classified {
            ids: ids.to_vec(),
            segments: segments.to_vec(),
            places: places.to_vec(),
            labels: labels.to_vec(),
            classes: &[],
        }
    };
    vec![one(&[2, 5, 7, 3, 9, 3], &[0, 0, 0, 0, 1, 1], &[1, 4], &[1, 0]), one(&[2, 10, 11, 3], &[0; 4], &[2], &[0])]
}

/// Logits of one sequence by itself, step by step.
fn logits(model: &Ernie, task: Task, id: u32, one: &Classified) -> Tensor<2> {
    let n = one.ids.len();
    let packed = Packed::new(one.ids.clone(), one.segments.clone(), vec![0, n], PositionStyle::Zero).unwrap();
    let input = Input { tasks: Some(vec![id; n].into()), ..(&packed).into() };
    let hidden = model.body.forward(&input, &Rows::All, &Pass::eval()).unwrap();
    let rows = one.places.iter().map(|&place| place as u32).collect();
    model.head.logits(task, ptm_ops::gather_rows(hidden, &rows)).unwrap()
}

#[test]
fn classes_have_the_plain_loss_and_gradients() {
    let model = ernie();
    for (id, (task, classes)) in (1..).zip(TASKS) {
        let examples = examples(task);
        let batch = Classes::new(&examples, task, id, PositionStyle::Zero).unwrap();
        let count: usize = examples.iter().map(|one| one.labels.len()).sum();
        assert_eq!((batch.tokens(), batch.labels().len()), (10, count));
        let sum: f64 = examples.iter().map(|one| plain(logits(&model, task, id, one), &one.labels)).sum();
        near(number(batch.loss(&model, 0.25, &Pass::eval()).unwrap()) * 4.0, sum);
        let (loss, right) = batch.answers(&model).unwrap();
        near(loss, sum);
        let best = examples.iter().map(|one| {
            let rows = ptm_ops::read_f32(logits(&model, task, id, one));
            let likeliest = |row: &[f32]| (0..classes).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32;
            rows.chunks_exact(classes).zip(&one.labels).filter(|(row, label)| likeliest(row) == **label).count() as u64
        });
        assert_eq!(right, best.sum::<u64>());
        let ours = batch.loss(&model, 1.0, &Pass::eval()).unwrap();
        let all = examples.iter().map(|one| unfused(logits(&model, task, id, one), &one.labels));
        let theirs = all.reduce(|a, b| a + b).unwrap();
        // what a task doesn't teach has no gradient: see below
        let learns = same_gradients_of(&model, &model.names(), ours, theirs);
        assert!(learns.iter().any(|name| name.contains("task_type_embeddings")), "{learns:?}");
        assert!(learns.iter().filter(|name| name.starts_with("tasks.")).count() >= 2, "{learns:?}");
    }
}

/// Hidden tokens of the first task, with its id and another.
#[test]
fn hidden_tokens_have_the_plain_loss_and_gradients() {
    let model = ernie();
    let one = |ids: &[u32], chosen: &[usize], targets: &[u32]| Masked {
        ids: ids.to_vec(),
        segments: vec![0; ids.len()],
        chosen: chosen.to_vec(),
        targets: targets.to_vec(),
    };
    let hidden = [one(&[2, 4, 7, 4, 9, 3], &[1, 3], &[5, 8]), one(&[2, 10, 4, 3], &[2], &[11])];
    for id in [0, 3] {
        let logits = |one: &Masked| {
            let n = one.ids.len();
            let packed = Packed::new(one.ids.clone(), one.segments.clone(), vec![0, n], PositionStyle::Zero).unwrap();
            let input = Input { tasks: Some(vec![id; n].into()), ..(&packed).into() };
            let states = model.body.forward(&input, &Rows::All, &Pass::eval()).unwrap();
            let rows = one.chosen.iter().map(|&place| place as u32).collect();
            let masked_lm = model.masked_lm();
            masked_lm.head.logits(ptm_ops::gather_rows(states, &rows), masked_lm.body.word())
        };
        let batch = Masks::new(&hidden, PositionStyle::Zero).unwrap().with_task(id);
        let sum: f64 = hidden.iter().map(|one| plain(logits(one), &one.targets)).sum();
        near(number(batch.loss(&model.masked_lm(), 0.25, &Pass::eval()).unwrap()) * 4.0, sum);
        let all = hidden.iter().map(|one| unfused(logits(one), &one.targets)).reduce(|a, b| a + b).unwrap();
        let ours = batch.loss(&model.masked_lm(), 1.0, &Pass::eval()).unwrap();
        let learns = same_gradients_of(&model, &model.names(), ours, all);
        assert!(learns.iter().any(|name| name.starts_with("cls.")), "{learns:?}");
    }
}

/// A task teaches the encoder, its own classifier and its own id, and nothing else.
#[test]
fn a_task_teaches_its_own_and_what_all_share() {
    let model = ernie();
    let parameters = Parameters::of(&model, &model.names());
    for (id, (task, _)) in (1..).zip(TASKS) {
        let batch = Classes::new(&examples(task), task, id, PositionStyle::Zero).unwrap();
        let gradients = batch.loss(&model, 1.0, &Pass::eval()).unwrap().backward();
        let mut sum = GradientSum::default();
        sum.add(&model, gradients);
        let own = match task {
            Task::SentenceReordering => "tasks.sentence_reordering",
            Task::SentenceDistance => "tasks.sentence_distance",
            Task::Capitalization => "tasks.capitalization",
            Task::TokenDocument => "tasks.token_document",
        };
        for (parameter, norm) in parameters.iter().zip(sum.norms()) {
            let name = &parameter.name;
            let learns = if name.starts_with("tasks.") {
                name.starts_with(own)
            } else if name.starts_with("cls.") {
                false
            } else if name.contains("pooler") {
                task.of_sequences()
            } else {
                true
            };
            // a key's bias moves all scores of a query alike
            assert!((norm > 1e-7) == learns || name.contains("key.bias"), "{name} of {own}: {norm}");
        }
    }
    // and hidden tokens theirs
    let hidden = Masked { ids: vec![2, 4, 7, 3], segments: vec![0; 4], chosen: vec![1], targets: vec![5] };
    let masks = |id| Masks::new(std::slice::from_ref(&hidden), PositionStyle::Zero).unwrap().with_task(id);
    let loss = |id| masks(id).loss(&model.masked_lm(), 1.0, &Pass::eval()).unwrap();
    assert!((number(loss(0)) - number(loss(3))).abs() > 1e-5, "the task's id counts");
    let mut sum = GradientSum::default();
    sum.add(&model, loss(0).backward());
    for (parameter, norm) in parameters.iter().zip(sum.norms()) {
        let name = &parameter.name;
        let learns = !name.starts_with("tasks.") && !name.contains("pooler");
        assert!((norm > 1e-7) == learns || name.contains("key.bias"), "{name}: {norm}");
    }
    let all = Classes::new(&examples(TASKS[0].0), TASKS[0].0, 5, PositionStyle::Zero).unwrap();
    assert!(all.loss(&model, 1.0, &Pass::eval()).unwrap_err().to_string().contains("task ids"));
}
