//! Weights into a model: every parameter by the name its family's table gives it.

use std::collections::HashSet;
use std::fmt::Write;

use burn::module::{ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::TensorData;

use crate::error::{Error, Result};
use crate::files::{TensorView, Weights};
use crate::init::{self, Rule};
use crate::layout::Layout;
use crate::model::Loaded;
use crate::names::{Names, is_noise};
use crate::path::Path;

struct Reader<'a> {
    weights: &'a Weights,
    names: &'a Names,
    device: &'a Device,
    new_head: Option<Rule>,
    path: Path,
    used: HashSet<String>,
    new: Vec<String>,
    missing: Vec<String>,
    /// Whether one of the missing is the body's.
    body_missing: bool,
    error: Option<Error>,
}

impl Reader<'_> {
    fn tensor<const D: usize>(&mut self, view: &TensorView, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        let path = self.path.name();
        let layout = self.names.layout(&path);
        let expected = layout.file_shape(&shape);
        if view.shape != expected {
            return Err(Error::TensorShape {
                label: self.weights.label().to_owned(),
                name: name.to_owned(),
                found: view.shape.clone(),
                expected,
                fields: fields_of(&path),
            });
        }
        let bytes = view.f32_bytes()?;
        if layout == Layout::Same {
            return Ok(ptm_ops::from_shared(bytes, shape, self.device));
        }
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Ok(Tensor::from_data(TensorData::new(layout.take(&values, &shape), shape), self.device))
    }

    /// How the last part of a head is initialised where a new one may be made and the file's gives another number of
    /// answers.
    fn rule_of_other_answers<const D: usize>(
        &self,
        path: &str,
        view: &TensorView,
        param: &Param<Tensor<D>>,
    ) -> Option<Rule> {
        let rule = self.new_head.as_ref().filter(|_| path.starts_with("head.out.") && self.missing.is_empty())?;
        let expected = self.names.layout(path).file_shape(&param.lazy_shape().dims::<D>());
        let (answers, inputs) = (view.shape.split_first()?, expected.split_first()?);
        // of anything else in another shape the configuration is wrong
        (answers.1 == inputs.1 && answers.0 != inputs.0).then(|| rule.clone())
    }
}

impl ModuleMapper for Reader<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let path = self.path.name();
        let spellings = self.names.spellings(&path);
        let found = spellings.iter().find_map(|name| self.weights.get(name).map(|view| (name, view)));
        let Some((name, view)) = found else {
            let [written, ..] = spellings.as_slice() else { return param };
            if self.names.is_optional(&path) {
                let zeros = Tensor::zeros(param.lazy_shape().dims::<D>(), self.device);
                return init::replace(param, zeros);
            }
            let in_head = path.starts_with("head.");
            // nothing is made for a body that isn't there: its sizes may be lies
            let Some(rule) = self.new_head.as_ref().filter(|_| in_head && self.missing.is_empty()) else {
                self.body_missing |= !in_head;
                if !self.missing.contains(written) {
                    self.missing.push(written.clone());
                }
                return param;
            };
            self.new.push(written.clone());
            return rule.fill(param, &path, self.device);
        };
        // every spelling of a found tensor counts as read: some files hold a bias twice
        self.used.extend(spellings.iter().cloned());
        if let Some(rule) = self.rule_of_other_answers(&path, &view, &param) {
            let expected = param.lazy_shape().dims::<D>();
            tracing::warn!("{name} is {:?} in the weights and {expected:?} here: it begins anew", view.shape);
            self.new.extend(spellings.first().cloned());
            return rule.fill(param, &path, self.device);
        }
        match self.tensor(&view, name, param.lazy_shape().dims::<D>()) {
            Ok(tensor) => init::replace(param, tensor),
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

/// The fields of a configuration that decide the shape of the parameter at `path`.
fn fields_of(path: &str) -> &'static str {
    let is = |part: &str| path.contains(part);
    match path {
        _ if path.ends_with("word") => "vocab_size, hidden_size or embedding_size",
        _ if path.ends_with("position.learned") => "max_position_embeddings, d_model",
        "body.position" => "max_position_embeddings, hidden_size",
        "body.segment" => "type_vocab_size, hidden_size",
        "body.task" => "task_type_vocab_size, hidden_size",
        _ if is(".bias.table") => "relative_attention_num_buckets, num_heads",
        _ if is(".up.") || is(".down.") || is(".gate.") || is(".plain.") => "intermediate_size or d_ff, hidden_size",
        _ if path.starts_with("head.out") => "id2label or num_labels, hidden_size",
        "head.bias" | "head.decoder" | "head.fixed_bias" | "head.masked_lm.bias" | "head.masked_lm.decoder" => {
            "vocab_size, hidden_size or embedding_size"
        }
        _ if is("body.project") || path.starts_with("body.norm") => "embedding_size, hidden_size",
        _ => "hidden_size",
    }
}

/// Reads every parameter of `model`.
pub(crate) fn read<M: Module>(
    model: M,
    weights: &Weights,
    names: &Names,
    tied: bool,
    new_head: Option<Rule>,
    device: &Device,
) -> Result<Loaded<M>> {
    let mut reader = Reader {
        weights,
        names,
        device,
        new_head,
        path: Path::default(),
        used: HashSet::new(),
        new: Vec::new(),
        missing: Vec::new(),
        body_missing: false,
        error: None,
    };
    let model = model.map(&mut reader);
    if let Some(error) = reader.error {
        return Err(error);
    }
    let unused: Vec<String> = weights
        .names()
        .filter(|name| !reader.used.contains(*name) && !is_noise(name, tied))
        .map(str::to_owned)
        .collect();
    if !reader.missing.is_empty() {
        let mut hint = if reader.body_missing {
            "the checkpoint is of another architecture or incomplete".to_owned()
        } else {
            "the checkpoint has the body but not this head: take one that was trained for it".to_owned()
        };
        if let Some(first) = unused.first() {
            let _ = write!(hint, "; it holds {} tensors that this model has no use for, such as {first}", unused.len());
        }
        return Err(Error::MissingTensors { label: weights.label().to_owned(), names: reader.missing, hint });
    }
    if let Some(name) = layer_beyond(&unused, &reader.used) {
        tracing::warn!("{}: more layers than its config.json says, {name} for one: they are not read", weights.label());
    }
    if !unused.is_empty() {
        tracing::debug!(count = unused.len(), first = %unused[0], "tensors without use");
    }
    Ok(Loaded { model, unused, new: reader.new })
}

/// The first of the `unused` tensors that differs from a used one by the number of its layer alone.
fn layer_beyond<'a>(unused: &'a [String], used: &HashSet<String>) -> Option<&'a str> {
    fn unnumbered(name: &str) -> Vec<&str> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        name.split('.').map(|part| if is_number(part) { "#" } else { part }).collect()
    }
    let mut layers = unused.iter().map(String::as_str).filter(|name| unnumbered(name).contains(&"#")).peekable();
    // of most models none is unused: then the names of those used are not gone through
    layers.peek()?;
    let known: HashSet<Vec<&str>> = used.iter().map(|name| unnumbered(name)).collect();
    layers.find(|name| known.contains(&unnumbered(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_beyond_the_configuration_are_found() {
        let used: HashSet<String> =
            ["h.0.attn.weight", "h.1.attn.weight", "wte.weight"].map(str::to_owned).into_iter().collect();
        let beyond = |names: &[&str]| {
            let unused: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            layer_beyond(&unused, &used).map(str::to_owned)
        };
        assert_eq!(beyond(&["lm_head.weight", "h.2.attn.weight"]).as_deref(), Some("h.2.attn.weight"));
        // other parts of a model are nothing to warn of
        assert_eq!(beyond(&["lm_head.weight", "decoder.0.attn.weight", "h.0.attn.masked_bias"]), None);
    }
}
