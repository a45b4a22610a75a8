//! The recipes that come with the project can be read, and what they name is there (but the full sets, data/, which
//! assets/data/fetch.py makes).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ptm_text::corpus::{Layout, Texts};
use ptm_text::dataset::{Dataset, Text};
use ptm_text::train_tokenizer::{self, Family, Options, Words};
use ptm_train::objectives::ObjectiveConfig;
use ptm_train::objectives::lexicon::Entries;
use ptm_train::pretrain;
use ptm_train::pretrain::recipe::Micro;
use ptm_train::recipe::Recipe;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_recipe_can_be_run() {
    let root = root();
    let (mut samples, mut full) = (0, 0);
    for entry in std::fs::read_dir(root.join("recipes")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let recipe = Recipe::read(&path, &[]).unwrap();
        if recipe.data.train.iter().all(|path| path.starts_with("data")) {
            full += 1;
            continue;
        }
        let here = |paths: &[PathBuf]| paths.iter().map(|path| root.join(path)).collect::<Vec<PathBuf>>();
        for paths in [here(&recipe.data.train), here(&recipe.data.validation)] {
            // the rows are counted, whatever they hold
            let rows = Dataset::<Text>::open(&paths, &recipe.data.options).unwrap().len();
            assert!(rows > 50, "{}: {rows} rows", path.display());
        }
        samples += 1;
    }
    assert!(samples >= 5 && full >= 2, "{samples} of samples, {full} of full sets");
}

/// The recipes of pretraining, by name.
fn of_pretraining() -> Vec<(String, PathBuf)> {
    let folder = root().join("recipes/pretrain");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path)).collect()
}

#[test]
fn every_recipe_of_pretraining_can_be_read() {
    let mut seen = 0;
    for (name, path) in of_pretraining() {
        let recipe = pretrain::Recipe::read(&path, &[]).unwrap();
        assert_eq!(recipe.output, Path::new("runs").join(&name));
        let family = match name.split('-').next().unwrap() {
            // SpanBERT's models are BERT's
            "spanbert" => "bert",
            "gpt" => "openai-gpt",
            family => family,
        };
        // a model that is gone on with says itself what it is
        if recipe.model.from.is_none() {
            let config = recipe.model.config.unwrap();
            assert_eq!(config["model_type"].as_str(), Some(family), "{name}");
        }
        // what it says to do ends with it, and makes what it reads
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("#   ptm pretrain recipes/pretrain/{name}.toml\n")), "{name}");
        let packed = recipe.corpus.packed.iter().map(|path| path.display().to_string());
        for made in packed.chain(recipe.model.tokenizer) {
            let said = [format!("--output {made}\n"), format!("-o {made} ")].iter().any(|flag| text.contains(flag));
            assert!(said, "{name}: nothing makes {made}");
        }
        seen += 1;
    }
    assert!(seen >= 38, "{seen}");
}

/// What is compared differs by its objective alone.
#[test]
fn compared_objectives_have_the_same_means() {
    let read = |name: &str| {
        let path = root().join("recipes/compare").join(name).with_extension("toml");
        pretrain::Recipe::read(&path, &[]).unwrap()
    };
    let first = read("masked");
    let names = std::fs::read_dir(root().join("recipes/compare")).unwrap().map(|entry| entry.unwrap().file_name());
    let recipes: Vec<pretrain::Recipe> = names.map(|name| read(name.to_str().unwrap())).collect();
    assert!(recipes.len() >= 4);
    for recipe in recipes {
        let means =
            |r: &pretrain::Recipe| (r.batch.clone(), r.run.clone(), r.optimizer.clone(), r.schedule, r.corpus.clone());
        let mut expected = means(&first);
        // the rate of ELECTRA's small model, as published
        if recipe.output.ends_with("replaced") {
            expected.2 = expected.2.with_lr(5e-4);
        }
        assert_eq!(means(&recipe), expected, "{}", recipe.output.display());
        for key in ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"] {
            let of = |r: &pretrain::Recipe| r.model.config.as_ref().unwrap()[key].clone();
            assert_eq!(of(&recipe), of(&first), "{key} of {}", recipe.output.display());
        }
    }
}

/// The tokenizer of a recipe's comment, with a small vocabulary of the sample.
fn tokenizer(command: &str, dir: &Path) {
    let words: Vec<&str> = command.split(' ').collect();
    let flag = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
    let mut options = Options::new(Family::by_name(flag("--family").unwrap()).unwrap());
    options.vocab_size = 1000;
    options.lowercase = flag("--lowercase").map(|value| value == "true");
    let texts = Texts::open(&[root().join("assets/data/corpus/sample.txt")], Layout::BlankLines, None).unwrap();
    let words = Words::count(texts, &options, &mut |_| true).unwrap().unwrap();
    std::fs::create_dir(dir).unwrap();
    for (name, bytes) in train_tokenizer::train(words, &options).unwrap().files {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

/// Model, objective and lengths of each recipe fit each other and its tokenizer: a run would begin if it had its text.
#[test]
fn every_recipe_of_pretraining_would_begin() {
    let dir = tempfile::tempdir().unwrap();
    let mut made: HashMap<String, PathBuf> = HashMap::new();
    for (name, path) in of_pretraining() {
        let text = std::fs::read_to_string(&path).unwrap();
        let command = text.lines().find_map(|line| line.strip_prefix("#   ptm tokenizer train "));
        let mut recipe = pretrain::Recipe::read(&path, &[]).unwrap();
        lexicons_of_the_sample(recipe.objective.as_mut());
        let mut sources = pretrain::Sources::default();
        match (&recipe.model.from, command) {
            (Some(from), None) => sources.from = Some(root().join(from)),
            (None, Some(command)) => {
                let words = command.split(' ').skip_while(|word| *word != "--family").collect::<Vec<_>>();
                let kept = command.contains("--lowercase false");
                let next = dir.path().join(made.len().to_string());
                let made = made.entry(format!("{} {kept}", words[1])).or_insert_with(|| {
                    tokenizer(command, &next);
                    next
                });
                sources.tokenizer = Some(made.clone());
            }
            _ => panic!("{name}: a model to go on with, or else a tokenizer"),
        }
        if let Err(error) = pretrain::check(&recipe, &sources) {
            panic!("{name}: {error}");
        }
        // what doesn't fit is found
        recipe.batch.length = Some(1 << 19);
        recipe.batch.tokens = None;
        recipe.batch.phases.clear();
        // T5 and XLNet have positions without end, but not sentinels, and no room for who sees whom
        assert!(pretrain::check(&recipe, &sources).is_err(), "{name}");
        recipe.evaluate.metric = Some("bleu".into());
        assert!(pretrain::check(&recipe, &sources).is_err(), "{name}");
    }
}

/// Phrases and entities that a recipe leaves to whoever runs it are those of the sample.
fn lexicons_of_the_sample(objective: Option<&mut ObjectiveConfig>) {
    match objective {
        Some(ObjectiveConfig::KnowledgeMasking(own)) => {
            for (entries, file) in [(&mut own.phrases, "phrases.txt"), (&mut own.entities, "entities.txt")] {
                assert!(entries.is_some());
                *entries = Some(Entries::File(root().join("assets/data/corpus").join(file)));
            }
        }
        Some(ObjectiveConfig::Continual(own)) => {
            own.tasks.iter_mut().for_each(|task| lexicons_of_the_sample(Some(&mut task.objective)));
        }
        _ => {}
    }
}

/// Batch, steps, peak rate, warm-up, β2, ε and decay of the papers.
#[test]
fn base_recipes_are_as_published() {
    type Row = (&'static str, usize, Option<u64>, f64, f64, [f64; 3]);
    const ROWS: [Row; 6] = [
        ("bert-base", 256, Some(1_000_000), 1e-4, 10_000.0, [0.999, 1e-6, 0.01]),
        ("roberta-base", 8192, Some(500_000), 6e-4, 24_000.0, [0.98, 1e-6, 0.01]),
        ("xlnet-base", 8192, Some(500_000), 4e-4, 40_000.0, [0.999, 1e-6, 0.01]),
        ("electra-base", 256, Some(766_000), 2e-4, 10_000.0, [0.999, 1e-6, 0.01]),
        ("bart-base", 8000, Some(500_000), 6e-4, 24_000.0, [0.98, 1e-6, 0.01]),
        ("gpt-base", 64, None, 2.5e-4, 2_000.0, [0.999, 1e-8, 0.01]),
    ];
    let read = |name: &str| {
        pretrain::Recipe::read(&root().join("recipes/pretrain").join(format!("{name}.toml")), &[]).unwrap()
    };
    let batch = |recipe: &pretrain::Recipe| {
        let stage = recipe.stages().pop().unwrap();
        let Micro::Examples(size) = stage.micro else { panic!("examples") };
        let own = recipe.objective.as_ref().and_then(|objective| match objective {
            ObjectiveConfig::CausalLm(own) => Some(own.length),
            ObjectiveConfig::PermutationLm(own) => Some(own.length),
            _ => None,
        });
        assert_eq!(stage.length.or(own), Some(512));
        size * stage.accumulate
    };
    for (name, size, steps, rate, warmup, constants) in ROWS {
        let recipe = read(name);
        assert_eq!((batch(&recipe), recipe.run.steps), (size, steps), "{name}");
        let optimizer = serde_json::to_value(&recipe.optimizer).unwrap();
        let schedule = serde_json::to_value(recipe.schedule).unwrap();
        assert_eq!(optimizer["name"], "adamw");
        let found = ["lr", "beta2", "eps", "weight_decay"].map(|key| optimizer[key].as_f64().unwrap());
        let [beta2, eps, decay] = constants;
        for (found, published) in found.into_iter().zip([rate, beta2, eps, decay]) {
            assert!((found / published - 1.0).abs() < 1e-6, "{name}: {found}, published {published}");
        }
        assert_eq!(schedule["warmup"].as_f64(), Some(warmup), "{name}");
        assert_eq!(schedule["name"], if name == "gpt-base" { "cosine" } else { "linear" }, "{name}");
        assert!((recipe.run.dropout_until - if name == "bart-base" { 0.9 } else { 1.0 }).abs() < 1e-9);
    }
    assert!((read("gpt-base").run.epochs - 100.0).abs() < 1e-9);
    let t5 = read("t5-base");
    assert_eq!((batch(&t5), t5.run.steps, t5.optimizer.weight_decay()), (128, Some(1 << 19), 0.0));
    assert_eq!(serde_json::to_value(&t5.optimizer).unwrap()["name"], "adafactor");
    assert_eq!(serde_json::to_value(t5.schedule).unwrap(), serde_json::json!({"name": "t5", "hold": 10_000.0}));
    // nine tenths at 128, as BERT's
    let bert = read("bert-base").stages();
    assert_eq!((bert[0].until, bert[0].length), (900_000, Some(128)));
}
