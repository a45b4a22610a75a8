//! What every configuration says, whatever the body, and the fields that all families spell alike.

use std::fmt::Debug;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ptm_ops::Activation;
use ptm_text::PositionStyle;
use serde_json::{Map, Value};

use super::fields::{Fields, LABELS, field};
use super::{Family, Kind, ProblemType};
use crate::error::{Error, Result};

/// How a family classifies a sequence by the hidden state that stands for it.
#[derive(Clone, Copy, Debug)]
pub struct ClassifierStyle {
    /// Whether there is a dense layer before the labels.
    pub dense: bool,
    /// The activation of that layer; without it, of the hidden state itself.
    pub activation: Activation,
    /// Dropout before the labels.
    pub dropout: f32,
    /// Whether dropout comes before the dense layer too.
    pub dropout_first: bool,
    /// Whether the labels have biases.
    pub bias: bool,
}

/// What heads, readers and writers ask of the configuration of any body.
pub trait Configuration: Clone + Debug + Send + Sync + Sized + 'static {
    /// The bodies that it describes.
    const KIND: Kind;

    /// Reads a parsed `config.json`.
    ///
    /// # Errors
    /// When it is of a family of another kind, or holds impossible values.
    fn from_json(raw: Map<String, Value>) -> Result<Self>;

    /// Reads `config.json` of the directory `dir`.
    ///
    /// # Errors
    /// As [`Self::from_json`], and when the file can't be read or isn't JSON.
    fn from_dir(dir: &Path) -> Result<Self> {
        read_file(dir, Self::from_json)
    }

    /// The configuration as JSON, for `config.json`: what was read, with every field that ptm knows brought up to
    /// date. `architecture` is the class that `transformers` is to open it with.
    fn to_json(&self, architecture: &str) -> Map<String, Value>;

    /// The family, `model_type`.
    fn family(&self) -> Family;
    /// How position ids run.
    fn positions(&self) -> PositionStyle {
        PositionStyle::Zero
    }
    /// Rows of the output embedding, `V`.
    fn output_size(&self) -> usize;
    /// Width of the hidden states, `H`.
    fn hidden_size(&self) -> usize;
    /// Names of the labels, in order.
    fn labels(&self) -> &[String];
    /// Whether the output embedding of language models is the word embedding.
    fn tied(&self) -> bool;
    /// Parameters of the body.
    fn parameters(&self) -> u64;
    /// The standard deviation of fresh values of the parameter at `path` (`body.layers.0.down.weight`).
    fn deviation(&self, path: &str) -> f32;

    /// The row of the word embedding that begins as zeros: the padding token's, in families that have it so.
    fn zero_row(&self) -> Option<u32> {
        None
    }

    /// Says that what the model of the directory `dir` makes of a text depends on the text's place among others, so
    /// that no answer comes of it.
    ///
    /// # Errors
    /// Then, with the field that says so.
    fn check_answers(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    /// How sequences are classified.
    fn classifier(&self) -> ClassifierStyle;
    /// Dropout before the labels of tokens.
    fn token_dropout(&self) -> f32;

    /// Dropout before the start and end of answers.
    fn span_dropout(&self) -> f32 {
        0.0
    }
}

/// An activation by its name in files.
pub(super) fn activation(fields: &Fields<'_>, names: &[&'static str], default: Activation) -> Result<Activation> {
    let Some((name, text)) = fields.text(names)? else { return Ok(default) };
    match text {
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_python_tanh" | "gelu_pytorch_tanh" | "gelu_accurate" => {
            Ok(Activation::GeluTanh)
        }
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        "tanh" => Ok(Activation::Tanh),
        other => Err(field(
            name,
            format!("{other:?} is not an activation that ptm has: gelu, gelu_new, relu, silu, swish, tanh"),
        )),
    }
}

/// Names of the labels in the order of their ids; `default` many where the file doesn't say.
pub(super) fn labels(fields: &Fields<'_>, default: usize) -> Result<Vec<String>> {
    let Some((_, value)) = fields.get(&["id2label"]) else {
        let count = fields.size(&["num_labels", "_num_labels"], default, LABELS)?;
        return Ok((0..count).map(|i| format!("LABEL_{i}")).collect());
    };
    let map = value.as_object().ok_or_else(|| field("id2label", "should be an object from ids to names"))?;
    let mut labels = vec![None; map.len()];
    for (id, label) in map {
        let slot = id.parse::<usize>().ok().and_then(|id| labels.get_mut(id)).filter(|slot| slot.is_none());
        let slot = slot.ok_or_else(|| {
            let last = map.len() - 1;
            field("id2label", format!("{} ids should run from 0 to {last}, each once; {id:?} doesn't fit", map.len()))
        })?;
        // some published files have numbers for names
        *slot = Some(label.as_str().map_or_else(|| label.to_string(), str::to_owned));
    }
    Ok(labels.into_iter().flatten().collect())
}

/// How labels are to be read, where the file says so.
pub(super) fn problem_type(fields: &Fields<'_>) -> Result<Option<ProblemType>> {
    let Some((name, text)) = fields.text(&["problem_type"])? else { return Ok(None) };
    [ProblemType::Regression, ProblemType::SingleLabel, ProblemType::MultiLabel]
        .into_iter()
        .find(|kind| kind.name() == text)
        .map(Some)
        .ok_or_else(|| {
            let known = "regression, single_label_classification and multi_label_classification";
            field(name, format!("{text:?} is unknown; there are {known}"))
        })
}

/// The classes that saved it.
pub(super) fn architectures(raw: &Map<String, Value>) -> Vec<String> {
    match raw.get("architectures") {
        Some(Value::Array(list)) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// The classes that saved the model in `dir`.
pub(crate) fn classes_of(dir: &Path) -> Result<Vec<String>> {
    read_file(dir, |raw| Ok(architectures(&raw)))
}

/// Reads `config.json` of the directory `dir` with `read`.
pub(super) fn read_file<C>(dir: &Path, read: impl FnOnce(Map<String, Value>) -> Result<C>) -> Result<C> {
    let path = dir.join("config.json");
    let bytes = bytes_of(&path).map_err(|source| Error::Config { path: path.clone(), source })?;
    parse(&bytes).and_then(read).map_err(|error| error.in_file(&path))
}

/// The object that the bytes of a `config.json` hold.
pub(super) fn parse(bytes: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(bytes).map_err(|source| Error::ConfigSyntax { path: "config.json".into(), source })
}

/// A configuration's bytes: those of a file, no pipe or device, which may have no end.
fn bytes_of(path: &Path) -> std::io::Result<Vec<u8>> {
    // names of a million labels fit
    const MOST: u64 = 64 << 20;
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("not a file"));
    }
    if metadata.len() > MOST {
        return Err(std::io::Error::other("larger than any configuration"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}
