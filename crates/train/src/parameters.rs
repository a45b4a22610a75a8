//! The parameters of a model in training: their names, where they stand, which of them learn, and their gradients
//! summed over micro-batches.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::Gradients;
use ptm_models::layout::Layout;
use ptm_models::names::Names;
use ptm_ops::optimizer;

/// One parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// As files spell it; with `[0]`, `[1]`, … where one tensor of a file holds several.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How far from the input: 0 embeddings, 1 the first layer of its stack, …; none for the head. The norm over a stack
    /// belongs to its last layer.
    pub depth: Option<usize>,
    /// Whether it is an embedding of words.
    pub word: bool,
}

impl Parameter {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it belongs to the head.
    pub fn is_head(&self) -> bool {
        self.depth.is_none()
    }

    /// Whether it is a bias or belongs to a norm: usually without decay.
    pub fn is_bias_or_norm(&self) -> bool {
        self.shape.len() < 2 || self.name.contains("bias")
    }
}

/// All parameters of a model, in the order in which Burn walks through them.
#[derive(Clone, Debug)]
pub struct Parameters(pub(crate) Vec<Parameter>);

impl From<Vec<Parameter>> for Parameters {
    fn from(parameters: Vec<Parameter>) -> Self {
        Self(parameters)
    }
}

impl std::ops::Deref for Parameters {
    type Target = [Parameter];

    fn deref(&self) -> &[Parameter] {
        &self.0
    }
}

struct Collect<'a> {
    names: &'a Names,
    path: Vec<String>,
    /// The path of each stack whose layers were met, and how many there were.
    stacks: Vec<(Vec<String>, usize)>,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let mut name = self.names.spellings(&path).swap_remove(0);
        if let Layout::Columns { part, parts } = self.names.layout(&path)
            && parts > 1
        {
            name = format!("{name}[{part}]");
        }
        let shape = param.lazy_shape().dims::<D>().to_vec();
        let word = self.path.last().is_some_and(|part| part == "word" || part.ends_with("_word"));
        let depth = self.depth();
        self.found.push(Parameter { name, shape, depth, word });
    }
}

impl Collect<'_> {
    /// See [`Parameter::depth`], of the parameter in hand: `body`, …, `layers`, number, …. Modules name their parts in the
    /// order in which a text goes through them, so that what follows the layers of a stack stands over them.
    fn depth(&mut self) -> Option<usize> {
        let path = &self.path;
        if path.first().is_some_and(|part| part == "head") {
            return None;
        }
        let layers = path.windows(2).enumerate().find(|(_, pair)| pair[0] == "layers");
        if let Some((at, number)) = layers.and_then(|(at, pair)| Some((at, pair[1].parse::<usize>().ok()?))) {
            match self.stacks.last_mut() {
                Some((stack, count)) if *stack == path[..at] => *count = number + 1,
                _ => self.stacks.push((path[..at].to_vec(), number + 1)),
            }
            return Some(number + 1);
        }
        let under = self.stacks.iter().find(|(stack, _)| path.starts_with(stack));
        Some(under.map_or(0, |(_, count)| *count))
    }
}

impl Parameters {
    /// The parameters of `model`, spelled by `names`.
    pub fn of<M: Module>(model: &M, names: &Names) -> Self {
        let mut collect = Collect { names, path: Vec::new(), stacks: Vec::new(), found: Vec::new() };
        model.visit(&mut collect);
        Self(collect.found)
    }

    /// The number of elements of all of them.
    pub fn elements(&self) -> usize {
        self.0.iter().map(Parameter::elements).sum()
    }

    /// The number of layers of the deepest stack.
    pub fn layers(&self) -> usize {
        self.0.iter().filter_map(|parameter| parameter.depth).max().unwrap_or(0)
    }
}

struct Freeze<'a> {
    learns: std::slice::Iter<'a, bool>,
}

impl ModuleMapper for Freeze<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let learns = self.learns.next().copied().unwrap_or(true);
        let id = param.id;
        let tensor = Tensor::from_inner(param.into_value().inner());
        Param::initialized(id, if learns { tensor.require_grad() } else { tensor })
    }
}

/// `model` with gradients for those parameters alone that learn, named in order.
pub fn set_learning<M: Module>(model: M, learns: &[bool]) -> M {
    model.map(&mut Freeze { learns: learns.iter() })
}

/// A vector of all elements; on the CPU backend it shares the tensor's memory.
pub(crate) fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let elements = tensor.shape().num_elements();
    tensor.reshape([elements])
}

/// Gradients of a model's parameters, in their order, summed over micro-batches.
#[derive(Debug, Default)]
pub struct GradientSum(pub(crate) Vec<Option<Tensor<1>>>);

struct Add<'a> {
    sum: &'a mut Vec<Option<Tensor<1>>>,
    at: usize,
    gradients: Gradients,
}

impl ModuleVisitor for Add<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.at == self.sum.len() {
            self.sum.push(None);
        }
        if let Some(gradient) = param.val().grad_remove(&mut self.gradients) {
            let gradient = flat(gradient);
            let slot = &mut self.sum[self.at];
            *slot = Some(match slot.take() {
                Some(sum) => optimizer::add(sum, gradient),
                None => gradient,
            });
        }
        self.at += 1;
    }
}

impl GradientSum {
    /// Adds those of one backward pass through `model`.
    pub fn add<M: Module>(&mut self, model: &M, gradients: Gradients) {
        model.visit(&mut Add { sum: &mut self.0, at: 0, gradients });
    }

    /// Adds others of the same model.
    pub fn merge(&mut self, other: Self) {
        self.0.resize_with(other.0.len().max(self.0.len()), || None);
        for (slot, gradient) in self.0.iter_mut().zip(other.0) {
            *slot = match (slot.take(), gradient) {
                (Some(sum), Some(gradient)) => Some(optimizer::add(sum, gradient)),
                (sum, gradient) => sum.or(gradient),
            };
        }
    }

    /// The Euclidean norm of each; 0 where there is none.
    pub fn norms(&self) -> Vec<f64> {
        self.0
            .iter()
            .map(|gradient| gradient.as_ref().map_or(0.0, |one| optimizer::sum_of_squares(one).sqrt()))
            .collect()
    }

    /// The Euclidean norm of all of them together.
    pub fn norm(&self) -> f64 {
        self.0.iter().flatten().map(optimizer::sum_of_squares).sum::<f64>().sqrt()
    }

    /// What gradients are multiplied by so that their `norm` is at most `limit`, as `torch.nn.utils.clip_grad_norm_`.
    pub fn clip_factor(norm: f64, limit: Option<f32>) -> f32 {
        limit.map_or(1.0, |limit| (f64::from(limit) / (norm + 1e-6)).min(1.0) as f32)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ptm_models::heads::{Head, LanguageModelHead, MaskedLmHead, SequenceHead};
    use ptm_models::{Bart, Body, Configuration, Decoder, Encoder, Model, T5, Xlnet};
    use serde_json::{Value, json};

    use super::*;

    /// The depth of every parameter of a tiny model.
    fn depths<H: Head<B>, B: Body>(config: Value) -> BTreeMap<String, Option<usize>> {
        let Value::Object(config) = config else { panic!("an object") };
        let model = Model::<H, B>::random(B::Config::from_json(config).unwrap(), 1, &Device::flex()).unwrap();
        let parameters = Parameters::of(&model, &model.names());
        parameters.iter().map(|parameter| (parameter.name.clone(), parameter.depth)).collect()
    }

    #[test]
    fn embeddings_layers_and_head() {
        let found = depths::<MaskedLmHead, Encoder>(json!({
            "model_type": "electra", "vocab_size": 9, "embedding_size": 2, "hidden_size": 4, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 8,
        }));
        assert_eq!(found["electra.embeddings.word_embeddings.weight"], Some(0));
        assert_eq!(found["electra.embeddings.LayerNorm.weight"], Some(0));
        assert_eq!(found["electra.embeddings_project.weight"], Some(0));
        assert_eq!(found["electra.encoder.layer.0.output.LayerNorm.weight"], Some(1));
        assert_eq!(found["electra.encoder.layer.1.output.dense.weight"], Some(2));
        assert_eq!(found["generator_predictions.LayerNorm.weight"], None);
    }

    #[test]
    fn the_norm_over_a_stack_is_its_last_layers() {
        let gpt2 =
            json!({"model_type": "gpt2", "vocab_size": 9, "n_embd": 4, "n_layer": 3, "n_head": 2, "n_positions": 8});
        let found = depths::<LanguageModelHead, Decoder>(gpt2);
        assert_eq!(found["transformer.wpe.weight"], Some(0));
        assert_eq!(found["transformer.h.2.ln_2.weight"], Some(3));
        assert_eq!(found["transformer.ln_f.weight"], Some(3));

        let t5 = json!({"model_type": "t5", "vocab_size": 9, "d_model": 4, "d_kv": 2, "num_layers": 1,
            "num_decoder_layers": 2, "num_heads": 2, "d_ff": 8});
        let found = depths::<LanguageModelHead, T5>(t5);
        assert_eq!(found["shared.weight"], Some(0));
        assert_eq!(found["decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"], Some(0));
        assert_eq!(found["encoder.final_layer_norm.weight"], Some(1));
        assert_eq!(found["decoder.final_layer_norm.weight"], Some(2));

        let mbart = json!({"model_type": "mbart", "vocab_size": 9, "d_model": 4, "encoder_layers": 2,
            "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 8,
            "decoder_ffn_dim": 8, "max_position_embeddings": 8, "pad_token_id": 1});
        let found = depths::<LanguageModelHead, Bart>(mbart);
        assert_eq!(found["model.encoder.layernorm_embedding.weight"], Some(0));
        assert_eq!(found["model.decoder.embed_positions.weight"], Some(0));
        assert_eq!(found["model.encoder.layer_norm.weight"], Some(2));
        assert_eq!(found["model.decoder.layer_norm.weight"], Some(1));
        assert_eq!(found["final_logits_bias"], None);

        let xlnet =
            json!({"model_type": "xlnet", "vocab_size": 9, "d_model": 4, "n_layer": 2, "n_head": 2, "d_inner": 8});
        let found = depths::<SequenceHead, Xlnet>(xlnet);
        assert_eq!(found["transformer.mask_emb"], Some(0));
        assert_eq!(found["transformer.layer.1.ff.layer_norm.weight"], Some(2));
    }

    #[test]
    fn clipping_is_torchs() {
        assert_eq!(GradientSum::clip_factor(10.0, None), 1.0);
        assert_eq!(GradientSum::clip_factor(0.5, Some(1.0)), 1.0);
        assert!((GradientSum::clip_factor(4.0, Some(1.0)) - 0.25).abs() < 1e-6);
    }
}
