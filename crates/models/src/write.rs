//! A model into a directory that `transformers` opens: `config.json` and `model.safetensors`.

use std::path::Path as FilePath;

use burn::module::{ModuleVisitor, Param, ParamId};
use burn::prelude::*;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::files;
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
}

struct Writer<'a> {
    names: &'a Names,
    path: Path,
    found: Vec<Named>,
}

impl ModuleVisitor for Writer<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.names.spellings(&self.path.name()).swap_remove(0);
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        self.found.push(Named { name, id: param.id, shape, values: ptm_ops::read_f32(tensor.detach()) });
    }
}

/// Every parameter of `model`, in the order of its fields.
pub(crate) fn named<M: Module>(model: &M, names: &Names) -> Vec<Named> {
    let mut writer = Writer { names, path: Path::default(), found: Vec::new() };
    model.visit(&mut writer);
    writer.found
}

/// Writes weights, then the configuration: a directory with a configuration is complete.
pub(crate) fn save<M: Module>(model: &M, names: &Names, config: Map<String, Value>, dir: &FilePath) -> Result<()> {
    files::create_dir(dir)?;
    let tensors = named(model, names);
    files::write_safetensors(&dir.join("model.safetensors"), tensors.into_iter().map(|t| (t.name, t.shape, t.values)))?;
    let mut json = serde_json::to_vec_pretty(&Value::Object(config)).expect("JSON values can be written");
    json.push(b'\n');
    files::write_atomic(&dir.join("config.json"), &json)?;
    Ok(())
}
