//! The recipes that come with the project can be read, and what they name is there (but the full sets, data/, which
//! assets/data/fetch.py makes).

use std::path::{Path, PathBuf};

use ptm_text::dataset::{Dataset, Text};
use ptm_train::recipe::Recipe;

#[test]
fn every_recipe_can_be_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
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

#[test]
fn every_recipe_of_pretraining_can_be_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seen = 0;
    for entry in std::fs::read_dir(root.join("recipes/pretrain")).unwrap() {
        let path = entry.unwrap().path();
        let recipe = ptm_train::pretrain::Recipe::read(&path, &[]).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert_eq!(recipe.output, Path::new("runs").join(&name));
        // SpanBERT's models are BERT's
        let family = name.split('-').next().unwrap().trim_start_matches("span");
        // a model that is gone on with says itself what it is
        if recipe.model.from.is_none() {
            let config = recipe.model.config.unwrap();
            assert_eq!(config["model_type"].as_str(), Some(family), "{name}");
        }
        // what it says to do ends with it
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("#   ptm pretrain recipes/pretrain/{name}.toml\n")), "{name}");
        seen += 1;
    }
    assert!(seen >= 21, "{seen}");
}
