//! A sentence-transformers directory: `modules.json` names what follows the model (pooling, dense layers,
//! normalisation), `sentence_bert_config.json` the longest input, `config_sentence_transformers.json` the prompts.

use std::path::{Path, PathBuf};

use ptm_kernels::activation::Activation;
use ptm_kernels::linear::{LinearDims, forward};
use ptm_models::files::Weights;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::pooling::Pooling;

/// A step after pooling.
#[derive(Debug)]
pub(crate) enum Step {
    Dense(Dense),
    Normalize,
}

/// A dense layer over pooled vectors.
#[derive(Debug)]
pub(crate) struct Dense {
    inputs: usize,
    outputs: usize,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
}

/// All that such a directory says.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// Whether the directory is such a one.
    pub(crate) listed: bool,
    /// Where the encoder lies.
    pub(crate) encoder: PathBuf,
    pub(crate) pooling: Pooling,
    pub(crate) steps: Vec<Step>,
    pub(crate) max_length: Option<usize>,
    pub(crate) lower_case: bool,
    pub(crate) prompts: Vec<(String, String)>,
    pub(crate) default_prompt: Option<String>,
}

fn bad(path: &Path, problem: impl Into<String>) -> Error {
    Error::Module { path: path.to_owned(), problem: problem.into() }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| bad(path, format!("not valid JSON: {error}")))
}

/// The JSON of a file that may be absent.
fn optional(path: &Path) -> Result<Option<Value>> {
    match std::fs::read(path) {
        Ok(bytes) => parse(path, &bytes).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(bad(path, error.to_string())),
    }
}

fn object(path: &Path, value: Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(bad(path, "should be a JSON object")),
    }
}

fn required(path: &Path) -> Result<Map<String, Value>> {
    let value = optional(path)?.ok_or_else(|| bad(path, "is missing although modules.json names its folder"))?;
    object(path, value)
}

impl Modules {
    /// Reads `dir`; a directory without `modules.json` is a model whose tokens are averaged.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("modules.json");
        let mut this = Self { encoder: dir.to_owned(), ..Self::default() };
        let Some(list) = optional(&path)? else { return Ok(this) };
        let list = list.as_array().ok_or_else(|| bad(&path, "should be a list of modules"))?;
        this.listed = true;
        let mut pooled = false;
        for (i, module) in list.iter().enumerate() {
            let text = |key: &str| {
                module.get(key).and_then(Value::as_str).ok_or_else(|| bad(&path, format!("module {i} has no {key:?}")))
            };
            let (kind, folder) = (text("type")?, text("path")?);
            let name = kind.rsplit('.').next().unwrap_or(kind);
            if Path::new(folder).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
                return Err(bad(&path, format!("module {i} lies outside the directory: {folder:?}")));
            }
            let folder = dir.join(folder);
            match name {
                "Transformer" if i == 0 => this.read_encoder(&folder)?,
                "Pooling" if i == 1 => {
                    let path = folder.join("config.json");
                    this.pooling = Pooling::from_json(&required(&path)?).map_err(|problem| bad(&path, problem))?;
                    pooled = true;
                }
                "Dense" if pooled => this.steps.push(Step::Dense(Dense::read(&folder)?)),
                "Normalize" if pooled => this.steps.push(Step::Normalize),
                // they change nothing at inference
                "Dropout" if pooled => {}
                other => {
                    let problem = format!(
                        "module {i} is {other:?}; ptm runs Transformer, Pooling, then Dense and Normalize, in this order"
                    );
                    return Err(bad(&path, problem));
                }
            }
        }
        if !pooled {
            return Err(bad(&path, "has no pooling module, so there is no vector a text"));
        }
        this.read_prompts(dir)?;
        Ok(this)
    }

    fn read_encoder(&mut self, folder: &Path) -> Result<()> {
        folder.clone_into(&mut self.encoder);
        // older versions named the file after the model's family
        let names = ["bert", "roberta", "distilbert", "xlm-roberta", "camembert", "albert"];
        let files = std::iter::once("sentence_bert_config.json".to_owned())
            .chain(names.iter().map(|name| format!("sentence_{name}_config.json")));
        for file in files {
            let path = folder.join(file);
            if let Some(value) = optional(&path)? {
                let json = object(&path, value)?;
                self.set_lengths(&json);
                break;
            }
        }
        Ok(())
    }

    /// Takes `max_seq_length` and `do_lower_case`.
    pub(crate) fn set_lengths(&mut self, json: &Map<String, Value>) {
        self.max_length = json.get("max_seq_length").and_then(Value::as_u64).map(|length| length as usize);
        self.lower_case = json.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false);
    }

    fn read_prompts(&mut self, dir: &Path) -> Result<()> {
        let path = dir.join("config_sentence_transformers.json");
        let Some(value) = optional(&path)? else { return Ok(()) };
        let json = object(&path, value)?;
        if let Some(prompts) = json.get("prompts").and_then(Value::as_object) {
            for (name, prompt) in prompts {
                let prompt = prompt.as_str().ok_or_else(|| bad(&path, format!("prompt {name:?} is no string")))?;
                self.prompts.push((name.clone(), prompt.to_owned()));
            }
        }
        self.default_prompt = json.get("default_prompt_name").and_then(Value::as_str).map(str::to_owned);
        if let Some(name) = self.default_prompt.as_ref().filter(|name| !self.prompts.iter().any(|(n, _)| n == *name)) {
            return Err(bad(&path, format!("default_prompt_name {name:?} is not among its prompts")));
        }
        Ok(())
    }
}

impl Dense {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let json = required(&path)?;
        let size = |key: &str| {
            let size = json.get(key).and_then(Value::as_u64).filter(|size| (1..1 << 20).contains(size));
            size.map(|size| size as usize).ok_or_else(|| bad(&path, format!("{key} should be a size")))
        };
        let (inputs, outputs) = (size("in_features")?, size("out_features")?);
        let function = json.get("activation_function").and_then(Value::as_str).unwrap_or("Tanh");
        let activation = match function.rsplit('.').next() {
            Some("Identity") => Activation::None,
            Some("Tanh") => Activation::Tanh,
            Some("ReLU") => Activation::Relu,
            Some("GELU") => Activation::Gelu,
            Some("SiLU") => Activation::Silu,
            _ => return Err(bad(&path, format!("activation_function {function:?} is not one that ptm has"))),
        };
        let weights = Weights::open(folder)?;
        let tensor = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            let view = weights.get(name).ok_or_else(|| bad(folder, format!("its weights lack {name}")))?;
            if view.shape != shape {
                return Err(bad(folder, format!("{name} has shape {:?}, config.json says {shape:?}", view.shape)));
            }
            Ok(view.to_f32()?)
        };
        let has_bias = json.get("bias").and_then(Value::as_bool).unwrap_or(true);
        let bias = has_bias.then(|| tensor("linear.bias", &[outputs])).transpose()?;
        Ok(Self { inputs, outputs, weight: tensor("linear.weight", &[outputs, inputs])?, bias, activation })
    }

    /// The width it reads and the width it makes.
    pub(crate) fn widths(&self) -> [usize; 2] {
        [self.inputs, self.outputs]
    }

    /// # Shapes
    /// `[inputs]` → `[outputs]`.
    pub(crate) fn apply(&self, x: &[f32]) -> Vec<f32> {
        let dims = LinearDims { rows: 1, inputs: self.inputs, outputs: self.outputs };
        forward(x, &self.weight, self.bias.as_deref(), self.activation, dims, false).y
    }
}
