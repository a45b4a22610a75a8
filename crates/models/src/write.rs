//! A model into a directory that `transformers` opens: `config.json` and `model.safetensors`, or shards with their index.

use std::path::Path as FilePath;

use burn::module::{ModuleVisitor, Param, ParamId};
use burn::prelude::*;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::files;
use crate::layout::Layout;
use crate::names::Names;
use crate::path::Path;

/// A parameter with the name that files give it.
#[derive(Clone, Debug)]
pub struct Named {
    /// Hugging Face's name.
    pub name: String,
    /// Burn's key of the parameter, for gradients.
    pub id: ParamId,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row by row.
    pub values: Vec<f32>,
    /// How the tensor of that name holds it; several may share one.
    pub layout: Layout,
}

/// A parameter that is still to be read.
struct Part {
    id: ParamId,
    shape: Vec<usize>,
    layout: Layout,
    read: Box<dyn Fn() -> Vec<f32>>,
}

struct Collect<'a> {
    names: &'a Names,
    path: Path,
    found: Vec<(String, Part)>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.name();
        let name = self.names.spellings(&path).swap_remove(0);
        let layout = self.names.layout(&path);
        let tensor = param.val().detach();
        let shape = tensor.dims().to_vec();
        let read = Box::new(move || ptm_ops::read_f32(tensor.clone()));
        self.found.push((name, Part { id: param.id, shape, layout, read }));
    }
}

/// Every parameter of `model`, in the order of its fields.
fn parts<M: Module>(model: &M, names: &Names) -> Vec<(String, Part)> {
    let mut collect = Collect { names, path: Path::default(), found: Vec::new() };
    model.visit(&mut collect);
    collect.found
}

/// The same with their elements.
pub(crate) fn named<M: Module>(model: &M, names: &Names) -> Vec<Named> {
    let read = |(name, Part { id, shape, layout, read })| Named { name, id, shape, values: read(), layout };
    parts(model, names).into_iter().map(read).collect()
}

/// The elements of a file's tensor of this shape, which may hold several parameters.
fn joined(parts: &[Part], shape: &[usize]) -> Vec<f32> {
    match parts {
        [part] if part.layout == Layout::Same => (part.read)(),
        _ => {
            let mut values = vec![0.0; shape.iter().product()];
            for part in parts {
                part.layout.put(&(part.read)(), &part.shape, &mut values);
            }
            values
        }
    }
}

/// Every tensor of `model`, to be written with one in memory after the other.
fn writer<M: Module>(model: &M, names: &Names) -> files::Writer<'static> {
    let mut tensors: Vec<(String, Vec<Part>)> = Vec::new();
    for (name, part) in parts(model, names) {
        match tensors.iter_mut().find(|(other, _)| *other == name) {
            Some((_, parts)) if part.layout != Layout::Same => parts.push(part),
            _ => tensors.push((name, vec![part])),
        }
    }
    let mut writer = files::Writer::new();
    for (name, parts) in tensors {
        let Some(first) = parts.first() else { continue };
        let shape = first.layout.file_shape(&first.shape);
        writer.later(name, &shape.clone(), move || joined(&parts, &shape));
    }
    writer
}

/// Writes weights alone into one file.
pub(crate) fn save_file<M: Module>(model: &M, names: &Names, path: &FilePath) -> Result<()> {
    Ok(writer(model, names).write(path)?)
}

/// Writes weights, in files of at most `max_bytes`, then the configuration: a directory with a configuration is complete.
pub(crate) fn save<M: Module>(
    model: &M,
    names: &Names,
    config: Map<String, Value>,
    dir: &FilePath,
    max_bytes: u64,
) -> Result<()> {
    let weights = writer(model, names).stage_sharded(dir, max_bytes)?;
    let mut json = serde_json::to_vec_pretty(&Value::Object(config)).expect("JSON values can be written");
    json.push(b'\n');
    let path = dir.join("config.json");
    // new weights are not read with another model's configuration, nor the other way round
    if std::fs::read(&path).is_ok_and(|old| old != json) {
        files::remove_if_there(&path)?;
    }
    weights.commit()?;
    files::write_atomic(&path, &json)?;
    Ok(())
}
