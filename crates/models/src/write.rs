//! A model into a directory that `transformers` opens: `config.json` and `model.safetensors`.

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
        let path = self.path.name();
        let name = self.names.spellings(&path).swap_remove(0);
        let layout = self.names.layout(&path);
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        self.found.push(Named { name, id: param.id, shape, values: ptm_ops::read_f32(tensor.detach()), layout });
    }
}

/// Every parameter of `model`, in the order of its fields.
pub(crate) fn named<M: Module>(model: &M, names: &Names) -> Vec<Named> {
    let mut writer = Writer { names, path: Path::default(), found: Vec::new() };
    model.visit(&mut writer);
    writer.found
}

/// The tensors of a file: parameters as it holds them, those that share a tensor joined.
fn tensors(parameters: Vec<Named>) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::with_capacity(parameters.len());
    for p in parameters {
        if p.layout == Layout::Same {
            tensors.push((p.name, p.shape, p.values));
            continue;
        }
        let at = tensors.iter().position(|(name, ..)| *name == p.name).unwrap_or_else(|| {
            let shape = p.layout.file_shape(&p.shape);
            let elements = shape.iter().product();
            tensors.push((p.name.clone(), shape, vec![0.0; elements]));
            tensors.len() - 1
        });
        p.layout.put(&p.values, &p.shape, &mut tensors[at].2);
    }
    tensors
}

/// Writes weights alone.
pub(crate) fn save_file<M: Module>(model: &M, names: &Names, path: &FilePath) -> Result<()> {
    files::write_safetensors(path, tensors(named(model, names)))?;
    Ok(())
}

/// Writes weights, then the configuration: a directory with a configuration is complete.
pub(crate) fn save<M: Module>(model: &M, names: &Names, config: Map<String, Value>, dir: &FilePath) -> Result<()> {
    files::create_dir(dir)?;
    save_file(model, names, &dir.join("model.safetensors"))?;
    let mut json = serde_json::to_vec_pretty(&Value::Object(config)).expect("JSON values can be written");
    json.push(b'\n');
    files::write_atomic(&dir.join("config.json"), &json)?;
    Ok(())
}
