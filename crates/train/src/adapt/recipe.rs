//! Recipes of adaptation, in TOML: a model, unlabelled text of a domain, a labelled task, and which ways of going on with
//! pretraining are compared. How a way learns is said in the keys of pretraining's recipes, and how the task is learnt in
//! those of fine-tuning's. Unknown keys are refused.

use std::path::{Path, PathBuf};

use ptm_text::corpus::Layout;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::variant::{Stage, Variant};
use crate::error::{Error, Result};
use crate::{pretrain, recipe};

/// A comparison: the whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where corpora, runs and the table go.
    pub output: PathBuf,
    /// The model to begin with: a directory or an id of the hub.
    pub model: String,
    /// Labelled files or folders that the table is of; of a folder the part `test`.
    #[serde(deserialize_with = "pretrain::recipe::one_or_several")]
    pub test: Vec<PathBuf>,
    /// What is compared. Default: `none`, `dapt`, `tapt`, `knn-tapt` and `dapt+tapt`; those with `dapt` or neighbours only
    /// where there is a `domain`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// The task is learnt once with each of these seeds. Default: 0 alone.
    #[serde(default = "zero")]
    pub seeds: Vec<u64>,
    /// Decides the order and corruption of text, and which of the domain's text is searched. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// The metric of the table. Default: the task's main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Whether the models that learnt the task are kept once they are judged. Default: no; those that went on with
    /// pretraining always are.
    #[serde(default)]
    pub keep: bool,
    /// Text of the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Domain>,
    /// The search for text of the domain that is near to the task's.
    #[serde(default)]
    pub neighbours: Neighbours,
    /// What all ways of going on share: tables of a recipe of pretraining.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub pretrain: Table,
    /// What differs for text of the domain.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub dapt: Table,
    /// What differs for the task's text.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub tapt: Table,
    /// What differs for the task's text with its neighbours. Default: as for the task's text.
    #[serde(default, rename = "knn-tapt", skip_serializing_if = "Table::is_empty")]
    pub knn_tapt: Table,
    /// How the task is learnt: `recipe`, the path of a recipe of fine-tuning, and tables of one that go before it.
    pub finetune: Table,
}

/// `[domain]`: text, or what `ptm corpus pack` made of it with the model's tokenizer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Domain {
    /// Directories that `ptm corpus pack` made.
    #[serde(deserialize_with = "pretrain::recipe::one_or_several", skip_serializing_if = "Vec::is_empty")]
    pub packed: Vec<PathBuf>,
    /// For each its share of the tokens, in proportion to the others'. Default: its size.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// Files and folders with text, which are packed first.
    #[serde(deserialize_with = "pretrain::recipe::one_or_several", skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<PathBuf>,
    /// Where documents end in plain text. Default: at blank lines.
    pub documents: Ends,
    /// The column of tables that holds the text. Default: the usual names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_key: Option<String>,
    /// Whether documents of text that say what a row of the task says, of its test rows too, are part of the domain.
    /// Default: no, they are left out. Of packed corpora all documents are part.
    pub with_rows: bool,
}

/// Where documents end in plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// At a blank line.
    #[default]
    BlankLines,
    /// At the end of a line.
    Lines,
    /// At the end of the file.
    Files,
}

impl From<Ends> for Layout {
    fn from(ends: Ends) -> Self {
        match ends {
            Ends::BlankLines => Self::BlankLines,
            Ends::Lines => Self::Lines,
            Ends::Files => Self::Files,
        }
    }
}

/// `[neighbours]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Neighbours {
    /// The embedding model: a directory or an id of the hub. Default: the built-in all-MiniLM-L6-v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many of the nearest each row of the task gets. Default: 50, the least of the paper.
    pub k: usize,
    /// What is searched: sentences, or whole documents by their beginning, as far as the embedding model reads. Default:
    /// sentences.
    pub unit: Unit,
    /// Units with fewer tokens are no candidates. Default: 5.
    pub shortest: usize,
    /// Search about so many units, drawn at random. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<u64>,
}

/// What is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Sentences.
    #[default]
    Sentence,
    /// Documents.
    Document,
}

impl Default for Neighbours {
    fn default() -> Self {
        Self { model: None, k: 50, unit: Unit::Sentence, shortest: 5, pool: None }
    }
}

fn zero() -> Vec<u64> {
    vec![0]
}

/// More neighbours than that are the domain itself.
const MOST_NEIGHBOURS: usize = 10_000;
/// More seeds than that are a slip.
const MOST_SEEDS: usize = 1000;

impl Recipe {
    /// Reads a file, with `overrides` like `dapt.run.steps=200` over it.
    ///
    /// # Errors
    /// When it can't be read, a key is unknown, or a value can't work.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::parse(&recipe::read_text(path)?, &path.display().to_string(), overrides)
    }

    /// The same of a text; errors call it `label`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str, label: &str, overrides: &[String]) -> Result<Self> {
        let mut recipe: Self = recipe::parse(text, label, overrides)?;
        if recipe.variants.is_empty() {
            recipe.variants = Variant::usual(recipe.domain.is_some());
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as text, with its defaults.
    pub fn to_text(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    fn check(&self) -> Result<()> {
        let near = &self.neighbours;
        let twice = |list: &[u64]| list.iter().enumerate().any(|(at, seed)| list[..at].contains(seed));
        let problems = [
            (self.test.is_empty(), "test", "name labelled files to judge by: test = \"test.jsonl\""),
            (self.seeds.is_empty(), "seeds", "give one at least"),
            (self.seeds.len() > MOST_SEEDS, "seeds", "give at most 1000"),
            (twice(&self.seeds), "seeds", "each should be there once"),
            (
                self.variants.iter().enumerate().any(|(at, one)| self.variants[..at].contains(one)),
                "variants",
                "each should be there once",
            ),
            (!(1..=MOST_NEIGHBOURS).contains(&near.k), "neighbours.k", "should be from 1 to 10000"),
            (near.pool == Some(0), "neighbours.pool", "should be above 0"),
            (near.shortest == 0, "neighbours.shortest", "should be above 0"),
            (
                self.variants.iter().any(|variant| variant.stages().iter().any(|stage| stage.needs_domain()))
                    && self.domain.is_none(),
                "domain",
                "dapt and neighbours need text of the domain: [domain] with text, or with packed corpora",
            ),
        ];
        if let Some((_, field, problem)) = problems.into_iter().find(|problem| problem.0) {
            return Err(Error::recipe(field, problem));
        }
        if let Some(domain) = &self.domain {
            domain.check()?;
        }
        for stage in self.stages() {
            self.pretraining(stage, &Place::default())?;
        }
        self.finetuning()?;
        Ok(())
    }

    /// The stages of all variants, each once.
    pub fn stages(&self) -> Vec<Stage> {
        let mut all: Vec<Stage> = Vec::new();
        for stage in self.variants.iter().flat_map(Variant::stages) {
            if !all.contains(stage) {
                all.push(*stage);
            }
        }
        all
    }

    /// The recipe by which `stage` goes on with pretraining.
    ///
    /// # Errors
    /// When the tables make no recipe of pretraining.
    pub fn pretraining(&self, stage: Stage, place: &Place) -> Result<pretrain::Recipe> {
        let own = match stage {
            Stage::Domain => &self.dapt,
            Stage::Nearest(_) if !self.knn_tapt.is_empty() => &self.knn_tapt,
            Stage::Task | Stage::Nearest(_) => &self.tapt,
        };
        let mut table = self.pretrain.clone();
        merge(&mut table, own);
        let given = |table: &Table, part: &str, key: &str| table.get(part).is_some_and(|part| part.get(key).is_some());
        let taken = [("model", "from"), ("model", "tokenizer"), ("corpus", "packed"), ("corpus", "weights")];
        let taken =
            taken.into_iter().find(|(part, key)| given(&table, part, key)).map(|(part, key)| [part, key].join("."));
        let whole = ["output", "seed"].into_iter().find(|key| table.contains_key(*key)).map(str::to_owned);
        if let Some(key) = taken.or(whole) {
            let problem = format!("{key} follows from the comparison: leave it out");
            return Err(Error::recipe(format!("[{}]", stage.table()), problem));
        }
        let text = |path: &Path| Value::from(path.to_string_lossy().into_owned());
        set(&mut table, "model", "from", text(&place.model));
        set(&mut table, "corpus", "packed", place.corpora.iter().map(|path| text(path)).collect::<Vec<_>>().into());
        if !place.weights.is_empty() {
            set(&mut table, "corpus", "weights", place.weights.clone().into());
        }
        // of a task's few rows none are spared, unless it is asked for
        if stage != Stage::Domain && !given(&table, "corpus", "validation") {
            set(&mut table, "corpus", "validation", 0.0.into());
        }
        table.insert("output".into(), text(&place.output));
        table.insert("seed".into(), (self.seed as i64).into());
        let named = |error: String| Error::recipe(format!("[pretrain] with [{}]", stage.table()), error);
        let recipe: pretrain::Recipe =
            Value::Table(table).try_into().map_err(|error: toml::de::Error| named(error.message().to_owned()))?;
        // where the places are not known yet, what follows from them is not judged
        let corpora = if place.corpora.is_empty() { vec![PathBuf::from("corpus")] } else { place.corpora.clone() };
        let mut checked = recipe.clone();
        checked.corpus.packed = corpora;
        checked.check().map_err(|error| named(error.to_string()))?;
        Ok(recipe)
    }

    /// The recipe by which the task is learnt; model, output and seed are those of the comparison.
    ///
    /// # Errors
    /// When the tables make no recipe of fine-tuning, or the file that they name can't be read.
    pub fn finetuning(&self) -> Result<recipe::Recipe> {
        let mut own = self.finetune.clone();
        let mut table = match own.remove("recipe") {
            None => Table::new(),
            Some(Value::String(path)) => {
                let text = recipe::read_text(Path::new(&path))?;
                recipe::parse::<recipe::Recipe>(&text, &path, &[])?;
                toml::from_str(&text).map_err(|error| Error::recipe(path, error.message()))?
            }
            Some(_) => return Err(Error::recipe("finetune.recipe", "should be the path of a recipe")),
        };
        if let Some(key) = ["model", "output", "seed"].into_iter().find(|key| own.contains_key(*key)) {
            return Err(Error::recipe("[finetune]", format!("{key} follows from the comparison: leave it out")));
        }
        merge(&mut table, &own);
        table.insert("model".into(), self.model.as_str().into());
        table.insert("output".into(), self.output.to_string_lossy().into_owned().into());
        table.insert("seed".into(), 0.into());
        let named = |error: String| Error::recipe("[finetune]", error);
        let recipe: recipe::Recipe =
            Value::Table(table).try_into().map_err(|error: toml::de::Error| named(error.message().to_owned()))?;
        recipe.check().map_err(|error| named(error.to_string()))?;
        Ok(recipe)
    }
}

/// What a stage's recipe of pretraining takes from the comparison.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The model to go on with.
    pub model: PathBuf,
    /// What is read.
    pub corpora: Vec<PathBuf>,
    /// The corpora's shares, where they are given.
    pub weights: Vec<f64>,
    /// Where the run goes.
    pub output: PathBuf,
}

impl Domain {
    fn check(&self) -> Result<()> {
        let problems = [
            (self.packed.is_empty() == self.text.is_empty(), "domain", "give text or packed, one of them"),
            (
                self.with_rows && self.text.is_empty(),
                "domain.with_rows",
                "is for text: packed corpora are taken as they are",
            ),
            (
                !self.weights.is_empty() && self.weights.len() != self.packed.len(),
                "domain.weights",
                "give one for each of domain.packed, or none",
            ),
        ];
        match problems.into_iter().find(|problem| problem.0) {
            Some((_, field, problem)) => Err(Error::recipe(field, problem)),
            None => Ok(()),
        }
    }
}

fn set(table: &mut Table, part: &str, key: &str, value: Value) {
    let part = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(part) = part {
        part.insert(key.into(), value);
    }
}

/// Puts `over` over `table`, key by key; a table that is chosen by another name replaces the one before.
fn merge(table: &mut Table, over: &Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(Value::Table(before)), Value::Table(value))
                if value.get("name").is_none_or(|name| before.get("name") == Some(name)) =>
            {
                merge(before, value);
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "output = 'o'\nmodel = 'm'\ntest = 't.jsonl'\n[domain]\ntext = 'd.txt'\n\
        [pretrain.optimizer]\nname = 'adamw'\nlr = 1e-4\n[pretrain.batch]\nlength = 64\n\
        [dapt.run]\nsteps = 7\n[tapt.run]\nepochs = 9\n[tapt.optimizer]\nlr = 2e-4\n\
        [finetune]\ntask = 'classification'\n[finetune.data]\ntrain = 'a.jsonl'\n";

    fn parse(text: &str, overrides: &[&str]) -> Result<Recipe> {
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        Recipe::parse(text, "r.toml", &overrides)
    }

    fn said(overrides: &[&str]) -> String {
        parse(LEAST, overrides).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let recipe = parse(LEAST, &[]).unwrap();
        let names: Vec<String> = recipe.variants.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["none", "dapt", "tapt", "knn-tapt", "dapt+tapt"]);
        assert_eq!((recipe.seeds.as_slice(), recipe.neighbours.k), (&[0][..], 50));
        assert_eq!(parse(&recipe.to_text(), &[]).unwrap(), recipe, "{}", recipe.to_text());
        let alone = LEAST.replace("[domain]\ntext = 'd.txt'\n", "");
        let names: Vec<String> = parse(&alone, &[]).unwrap().variants.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["none", "tapt"]);
    }

    #[test]
    fn stages_share_what_is_said_for_all() {
        let recipe = parse(LEAST, &["seed=5"]).unwrap();
        let place = Place { corpora: vec!["c".into()], model: "b".into(), output: "p".into(), weights: Vec::new() };
        let of = |stage| recipe.pretraining(stage, &place).unwrap();
        let (dapt, tapt, near) = (of(Stage::Domain), of(Stage::Task), of(Stage::Nearest(None)));
        assert_eq!((dapt.run.steps, dapt.optimizer.lr(), dapt.batch.length), (Some(7), Some(1e-4), Some(64)));
        assert_eq!((tapt.run.steps, tapt.run.epochs, tapt.optimizer.lr()), (None, 9.0, Some(2e-4)));
        assert_eq!((dapt.corpus.validation, tapt.corpus.validation), (0.01, 0.0));
        assert_eq!((near, tapt.seed), (tapt.clone(), 5));
        assert_eq!((tapt.model.from.as_deref(), tapt.corpus.packed), (Some("b"), vec![PathBuf::from("c")]));
        let own = parse(LEAST, &["knn-tapt.run.epochs=2", "tapt.optimizer={name='sgd',lr=0.5}"]).unwrap();
        assert_eq!(own.pretraining(Stage::Nearest(Some(3)), &place).unwrap().run.epochs, 2.0);
        let sgd = own.pretraining(Stage::Task, &place).unwrap().optimizer;
        assert!(matches!(sgd, crate::optimizer::OptimizerConfig::Sgd { .. }), "{sgd:?}");
    }

    #[test]
    fn fine_tuning_is_a_file_with_what_goes_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.toml");
        std::fs::write(
            &path,
            "task = 'tokens'\nmodel = 'x'\noutput = 'y'\nseed = 4\n[data]\ntrain = 'b'\n[run]\nepochs = 2\n",
        )
        .unwrap();
        let text = LEAST.split("[finetune]").next().unwrap();
        let text = format!("{text}[finetune]\nrecipe = '{}'\n[finetune.batch]\nsize = 3\n", path.display());
        let recipe = parse(&text, &[]).unwrap().finetuning().unwrap();
        assert_eq!((recipe.run.epochs, recipe.batch.size, recipe.seed), (2.0, Some(3), 0));
        assert_eq!((recipe.model.as_str(), recipe.task), ("m", recipe::Task::Tokens));
        std::fs::remove_file(&path).unwrap();
        assert!(parse(&text, &[]).unwrap_err().to_string().contains("f.toml"));
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (set, words) in [
            ("dapt.run.stepz=3", &["[dapt]", "stepz"][..]),
            ("pretrain.batch.size=0", &["[pretrain]", "size"]),
            ("tapt.corpus.packed='x'", &["[tapt]", "corpus.packed", "leave it out"]),
            ("pretrain.output='x'", &["output", "leave it out"]),
            ("finetune.model='x'", &["[finetune]", "model", "leave it out"]),
            ("finetune.run.epocs=3", &["[finetune]", "epocs"]),
            ("finetune.recipe=3", &["finetune.recipe"]),
            ("variants=['none','none']", &["variants", "once"]),
            ("variants=['tapt+dapt+x']", &["variants", "dapt", "knn-tapt"]),
            ("variants=['0nn-tapt']", &["0nn-tapt"]),
            ("seeds=[]", &["seeds"]),
            ("seeds=[1,1]", &["seeds"]),
            ("test=[]", &["test"]),
            ("neighbours.k=0", &["neighbours.k"]),
            ("neighbours.pool=0", &["neighbours.pool"]),
            ("neighbours.units='x'", &["units"]),
            ("domain.packed='x'", &["domain", "one of them"]),
            ("domain={packed='x',weights=[1,2]}", &["domain.weights"]),
            ("domain={packed='x',with_rows=true}", &["domain.with_rows"]),
            ("kmn-tapt.run.steps=2", &["kmn-tapt"]),
        ] {
            let said = said(&[set]);
            assert!(words.iter().all(|word| said.contains(word)), "{set}: {said}");
        }
        let alone = LEAST.replace("[domain]\ntext = 'd.txt'\n", "");
        assert!(parse(&alone, &["variants=['dapt']"]).unwrap_err().to_string().contains("domain"));
        assert!(parse(&LEAST.replace("name = 'adamw'\n", ""), &[]).unwrap_err().to_string().contains("[pretrain]"));
    }
}
