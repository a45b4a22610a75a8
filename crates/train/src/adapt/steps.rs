//! The steps of a comparison in their order: corpora, neighbours, pretraining, learning the task, judging. What a step made
//! is kept with a small file behind it, which says that it is whole; a step that has it is not made again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use ptm_models::files::{create_dir, write_atomic};
use ptm_tasks::Embedder;
use ptm_text::Tokenizer;
use ptm_text::corpus::{Corpus, Document, Texts, TokenizedBy, Writer, pack};
use ptm_text::dataset;

use super::found::{self, Summary};
use super::kept::{
    LEFT_OUT, MODEL, PRETRAINED, RECORD, Record, clear, is_packed, name, names, read, remove_checkpoints, remove_dir,
    save,
};
use super::neighbours::Search;
use super::recipe::{Domain, Place, Recipe};
use super::table::{Judged, Pretrained, Sampled, Table, Tested};
use super::task_text::{self, Said};
use super::variant::{Stage, Variant};
use super::{Audience, Sources, pooler};
use crate::checkpoint::Folder;
use crate::error::{Error, Result};
use crate::evaluate::{Candidate, EvaluateOptions, ReportOptions, evaluate};
use crate::{finetune, pretrain, recipe};

/// A comparison at work.
pub struct Steps<'a> {
    recipe: &'a Recipe,
    sources: &'a Sources,
    audience: &'a mut dyn Audience,
    tokenizer: Tokenizer,
    /// Nobody else works in the folder meanwhile.
    _folder: Folder,
    /// The domain's corpora with their weights, once they are there.
    domain: Option<Vec<Corpus>>,
    searched: Option<Summary>,
}

impl<'a> Steps<'a> {
    /// Looks at what is there.
    ///
    /// # Errors
    /// When another comparison is there, or something can't be read.
    pub fn begin(
        recipe: &'a Recipe,
        sources: &'a Sources,
        afresh: bool,
        audience: &'a mut dyn Audience,
    ) -> Result<Self> {
        let output = &recipe.output;
        create_dir(output)?;
        let folder = Folder::open(output)?;
        if afresh {
            clear(output)?;
        }
        let tokenizer = Tokenizer::from_dir(&sources.model)?;
        let this = Self { recipe, sources, audience, tokenizer, _folder: folder, domain: None, searched: None };
        let now = this.record()?;
        let path = output.join(RECORD);
        if let Some(before) = read::<Record>(&path)? {
            let of_finetuning = || recipe::difference(&before.finetune, &now.finetune);
            let difference = recipe::difference(&before.recipe, &now.recipe)
                .or_else(|| of_finetuning().map(|difference| format!("finetune: {difference}")))
                .or_else(|| (before.data != now.data).then(|| "the data are others".to_owned()));
            if let Some(difference) = difference {
                let place = output.display();
                let way = "give the same, another output, or begin afresh";
                return Err(Error::Input(format!("{place} holds another comparison ({difference}): {way}")));
            }
        }
        save(&path, &now)?;
        Ok(this)
    }

    /// All steps.
    ///
    /// # Errors
    /// Those of the steps.
    pub fn run(mut self) -> Result<Table> {
        let mut judged: Vec<Judged> = Vec::new();
        for variant in &self.recipe.variants {
            let mut tested = Vec::new();
            let done = self.recipe.seeds.iter().all(|&seed| self.tested(variant, seed).is_file());
            // what was judged needs no model any more
            let model = if done { self.home(variant) } else { self.model(variant)? };
            for &seed in &self.recipe.seeds {
                let found = self.learnt(variant, seed, &model)?;
                self.check_metric(&found)?;
                tested.push(found);
            }
            let pretrained = read(&self.home(variant).join(PRETRAINED))?;
            judged.push((variant.clone(), tested, pretrained));
        }
        let (model, task) = (&self.recipe.model, self.sources.finetune.task.name());
        let title = format!("{model} adapted: {task} on {}", names(&self.recipe.test));
        let mut table = Table::new(title, self.recipe.metric.as_deref(), &judged);
        let output = &self.recipe.output;
        if let Some(summary) = found::summary(&found::file(output))? {
            table.neighbours = Some((summary.candidates, summary.left_out));
        }
        table.domain_left_out = read(&output.join(LEFT_OUT))?;
        table.files = ["table.md", "table.html", "table.json"].map(|name| output.join(name)).to_vec();
        write_atomic(&table.files[0], table.to_markdown().as_bytes())?;
        write_atomic(&table.files[1], table.to_html().as_bytes())?;
        save(&table.files[2], &table)?;
        Ok(table)
    }

    /// Where what is of a variant goes.
    fn home(&self, variant: &Variant) -> PathBuf {
        self.recipe.output.join(variant.to_string())
    }

    /// What was found of a model that learnt the task.
    fn tested(&self, variant: &Variant, seed: u64) -> PathBuf {
        self.home(variant).join(format!("seed-{seed}.json"))
    }

    fn record(&self) -> Result<Record> {
        // these can be changed: what is there already stays as it is
        let free = |recipe: &Recipe| Recipe {
            variants: vec![Variant::NONE],
            seeds: vec![0],
            metric: None,
            keep: false,
            ..recipe.clone()
        };
        let mut data = Vec::new();
        let Sources { finetune, test, .. } = self.sources;
        let options = &finetune.data.options;
        for (split, paths) in [(options.split.as_deref(), &finetune.data.train), (Some("test"), test)] {
            for path in paths {
                for file in dataset::files(path, split.filter(|_| path.is_dir()))? {
                    let failed = |source| Error::File { action: "read", path: file.clone(), source };
                    data.push(format!("{} {}", name(&file), file.metadata().map_err(failed)?.len()));
                }
            }
        }
        if let Some(domain) = &self.recipe.domain {
            for dir in &domain.packed {
                data.push(format!("{:016x}", self.open(dir)?.fingerprint()));
            }
            if !domain.text.is_empty() {
                let layout = domain.documents.into();
                let texts = Texts::open(&domain.text, layout, domain.text_key.clone())?;
                data.push(format!("text {}", texts.bytes()));
            }
        }
        let (recipe, finetune) = (free(self.recipe).to_text(), finetune.to_text());
        Ok(Record { recipe, finetune, data: data.join("\n") })
    }

    /// A corpus of the model's tokenizer.
    fn open(&self, dir: &Path) -> Result<Corpus> {
        let corpus = Corpus::open(dir)?;
        if !corpus.tokenizer().is(&self.tokenizer)? {
            let (place, model) = (dir.display(), &self.recipe.model);
            let problem = format!("{place} was packed with another tokenizer than that of {model}");
            return Err(Error::recipe(
                "domain.packed",
                format!("{problem}: pack it again with that, or give its text"),
            ));
        }
        Ok(corpus)
    }

    /// The domain's corpora, packed if need be.
    fn domain(&mut self) -> Result<Vec<Corpus>> {
        if let Some(corpora) = &self.domain {
            return Ok(corpora.clone());
        }
        let Some(domain) = &self.recipe.domain else {
            return Err(Error::recipe("domain", "there is none"));
        };
        let corpora = if domain.text.is_empty() {
            domain.packed.iter().map(|dir| self.open(dir)).collect::<Result<Vec<_>>>()?
        } else {
            let dir = self.recipe.output.join("domain");
            if is_packed(&dir) { vec![self.open(&dir)?] } else { vec![self.pack_domain(domain, &dir)?] }
        };
        self.domain = Some(corpora.clone());
        Ok(corpora)
    }

    /// Packs the domain's text, without documents that say what a row of the task says.
    fn pack_domain(&mut self, domain: &Domain, dir: &Path) -> Result<Corpus> {
        let said = if domain.with_rows { Said::default() } else { self.said()? };
        let texts = Texts::open(&domain.text, domain.documents.into(), domain.text_key.clone())?;
        let total = texts.bytes();
        let left_out = AtomicU64::new(0);
        let texts = texts.filter(|text| {
            let repeats = text.as_ref().is_ok_and(|piece| said.holds(&piece.text));
            left_out.fetch_add(u64::from(repeats), SeqCst);
            !repeats
        });
        let writer = Writer::create(dir, TokenizedBy::of(&self.tokenizer)?)?;
        let audience = &mut *self.audience;
        let packed = pack(texts, &self.tokenizer, writer, &mut |packed| {
            audience.counted("bytes of the domain packed", packed.text_bytes, total);
            !audience.stop()
        })?;
        let (corpus, packed) = packed.ok_or(Error::Stopped)?;
        save(&self.recipe.output.join(LEFT_OUT), &left_out.load(SeqCst))?;
        let (documents, left_out) = (packed.documents, left_out.load(SeqCst));
        self.audience.note(&format!(
            "the domain has {documents} documents; {left_out} that say what a row of the task says were left out"
        ));
        Ok(corpus)
    }

    /// What all rows of the task say, those to judge by too.
    fn said(&self) -> Result<Said> {
        let mut said = Said::default();
        let recipe::Recipe { task, data, .. } = &self.sources.finetune;
        let mut add = |paths: &[PathBuf], split: Option<&str>| {
            let mut options = data.options.clone();
            if let Some(split) = split {
                options.split = paths.iter().any(|path| path.is_dir()).then(|| split.to_owned());
            }
            task_text::rows(*task, paths, &options, &mut |parts| {
                parts.iter().for_each(|part| said.add(part));
                Ok(())
            })
        };
        add(&data.train, None)?;
        add(&self.sources.test, Some("test"))?;
        if !data.validation.is_empty() {
            add(&data.validation, Some("validation"))?;
        }
        Ok(said)
    }

    /// The task's training rows, each text once.
    fn rows(&self) -> Result<Vec<String>> {
        let recipe::Recipe { task, data, .. } = &self.sources.finetune;
        task_text::documents(*task, &data.train, &data.options)
    }

    /// The corpus of a stage, packed if need be.
    fn corpora(&mut self, stage: Stage) -> Result<Vec<Corpus>> {
        let output = self.recipe.output.clone();
        match stage {
            Stage::Domain => self.domain(),
            Stage::Task => {
                let dir = output.join("task");
                if !is_packed(&dir) {
                    task_text::pack(&self.rows()?, &self.tokenizer, &dir, &mut |_| Ok(()))?;
                }
                Ok(vec![self.open(&dir)?])
            }
            Stage::Nearest(own) => {
                let k = own.unwrap_or(self.recipe.neighbours.k);
                let dir = output.join(format!("nearest-{k}"));
                if !is_packed(&dir) {
                    let rows = self.rows()?;
                    self.search(&rows)?;
                    let unit = self.recipe.neighbours.unit;
                    let found = found::found(&found::file(&output), k, &self.domain()?, unit)?;
                    task_text::pack(&rows, &self.tokenizer, &dir, &mut |writer| {
                        for (ids, hash, bytes) in &found {
                            let document = Document { ids: ids.clone(), sentences: vec![0], ..Document::default() };
                            writer.add(&document, *hash, *bytes)?;
                        }
                        Ok(())
                    })?;
                }
                Ok(vec![self.open(&dir)?])
            }
        }
    }

    /// Searches the neighbours of the task's rows, as many as any variant asks for.
    fn search(&mut self, rows: &[String]) -> Result<()> {
        if self.searched.is_some() {
            return Ok(());
        }
        let corpora = self.domain()?;
        let usual = self.recipe.neighbours.k;
        let asked = self.recipe.stages().into_iter().filter_map(|stage| match stage {
            Stage::Nearest(k) => Some(k.unwrap_or(usual)),
            _ => None,
        });
        let k = asked.max().unwrap_or(usual);
        let said = self.said()?;
        let embedder = match &self.sources.embedder {
            Some(dir) => Embedder::open(dir)?,
            None => Embedder::embedded()?,
        };
        let search = Search {
            corpora: &corpora,
            tokenizer: &self.tokenizer,
            embedder: &embedder,
            options: &self.recipe.neighbours,
            seed: self.recipe.seed,
            rows,
            said: &said,
            k,
        };
        self.audience.note(&format!("the {k} nearest of the domain are searched for {} rows", rows.len()));
        self.searched = Some(search.run(&found::file(&self.recipe.output), self.audience)?);
        Ok(())
    }

    /// The directory of a variant's model, which goes on with pretraining if need be.
    fn model(&mut self, variant: &Variant) -> Result<PathBuf> {
        let Some((before, stage)) = variant.last() else { return Ok(self.sources.model.clone()) };
        let home = self.home(variant);
        let (output, mark) = (home.join("pretraining"), home.join(PRETRAINED));
        let model = output.join(MODEL);
        if mark.is_file() && model.is_dir() {
            return Ok(model);
        }
        let from = self.model(&before)?;
        let corpora = self.corpora(stage)?;
        let weights = self.recipe.domain.as_ref().filter(|_| stage == Stage::Domain);
        let place = Place {
            model: if before == Variant::NONE { PathBuf::from(&self.recipe.model) } else { from.clone() },
            corpora: corpora.iter().map(|corpus| corpus.dir().to_owned()).collect(),
            weights: weights.map(|domain| domain.weights.clone()).unwrap_or_default(),
            output: output.clone(),
        };
        let recipe = self.recipe.pretraining(stage, &place)?;
        let documents = corpora.iter().map(Corpus::len).sum();
        let tokens = corpora.iter().map(Corpus::tokens).sum();
        self.audience.note(&format!("{variant}: pretraining goes on with {documents} documents, {tokens} tokens"));
        let sources = pretrain::Sources { from: Some(from.clone()), ..pretrain::Sources::default() };
        let outcome = pretrain::pretrain(&recipe, &sources, false, self.audience)?;
        pooler::carry(&from, &outcome.model)?;
        let state = &outcome.state;
        let judged = outcome.judgement.as_ref().and_then(|judgement| judgement.get("loss"));
        let made = Pretrained {
            documents,
            tokens,
            steps: state.step,
            epochs: state.epochs,
            seen: state.tokens,
            seconds: state.seconds,
            loss: judged,
        };
        save(&mark, &made)?;
        remove_checkpoints(&output)?;
        Ok(outcome.model)
    }

    /// What `model` is worth once it learnt the task.
    fn learnt(&mut self, variant: &Variant, seed: u64, model: &Path) -> Result<Tested> {
        let path = self.tested(variant, seed);
        if let Some(tested) = read(&path)? {
            return Ok(tested);
        }
        let output = self.home(variant).join(format!("seed-{seed}"));
        let mut recipe = self.sources.finetune.clone();
        (recipe.output, recipe.seed) = (output.clone(), seed);
        if *variant != Variant::NONE {
            recipe.model = model.to_string_lossy().into_owned();
        }
        self.audience.note(&format!("{variant}, seed {seed}: the task is learnt"));
        let outcome = finetune::finetune(&recipe, model, false, self.audience)?;
        let (rows, metrics) = self.judge(&recipe, &outcome.model)?;
        save(&path, &Tested { seed, rows, seconds: outcome.state.seconds, metrics })?;
        remove_checkpoints(&output)?;
        if !self.recipe.keep {
            remove_dir(&outcome.model)?;
        }
        // as it is read, so that a comparison in one go and one in parts give the same numbers
        read(&path)?.ok_or_else(|| Error::Input(format!("{}: it is gone", path.display())))
    }

    /// Says soon that the metric of the table is none of the task's.
    fn check_metric(&self, tested: &Tested) -> Result<()> {
        let known: Vec<&str> = tested.metrics.iter().map(|metric| metric.name.as_str()).collect();
        match &self.recipe.metric {
            Some(metric) if !known.contains(&metric.as_str()) => {
                Err(Error::recipe("metric", format!("{metric:?} is not one of {}", known.join(", "))))
            }
            _ => Ok(()),
        }
    }

    /// Judges a model by the test rows: their number, and the metrics.
    fn judge(&mut self, recipe: &recipe::Recipe, model: &Path) -> Result<(usize, Vec<Sampled>)> {
        let candidate = Candidate::open(model)?;
        let test = &self.sources.test;
        let mut data = recipe.data.options.clone();
        data.split = test.iter().any(|path| path.is_dir()).then(|| "test".to_owned());
        let stop = AtomicBool::new(false);
        let options = EvaluateOptions {
            data,
            max_length: recipe.data.max_length,
            batch_tokens: recipe.evaluate.batch_tokens,
            stop: Some(&stop),
            ..EvaluateOptions::default()
        };
        let audience = &mut *self.audience;
        let mut heard = |done: usize, total: usize| {
            audience.counted("test rows judged", done as u64, total as u64);
            stop.store(audience.stop(), SeqCst);
        };
        let found = evaluate(&candidate, model, test, &options, &mut heard)?;
        let about = ReportOptions { errors: 0, ..ReportOptions::default() };
        let report = found.report(&ReportOptions { resamples: 0, ..about });
        let finite = |value: f64| value.is_finite().then_some(value);
        let samples = found.samples(&about).into_iter().map(|values| values.into_iter().map(finite).collect());
        let metrics = report.metrics.iter().zip(samples).map(|(figure, samples)| Sampled {
            name: figure.name.to_owned(),
            value: figure.value,
            samples,
        });
        Ok((report.rows, metrics.collect()))
    }
}
