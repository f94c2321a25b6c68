//! The Dense modules of a sentence-transformers folder.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::json::{check_names, read_config, wrong_value};
use super::list::MODULE_WEIGHTS;
use crate::classifier::DenseParameters;
use crate::error::CheckpointError;
use crate::files::CONFIG_FILE;
use crate::float_tensors::FloatTensors;
use crate::tensor_file::TensorFile;

const WEIGHT: &str = "linear.weight";
const BIAS: &str = "linear.bias";

/// The activation of a Dense module, applied entry by entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenseActivation {
    /// x.
    Identity,
    /// tanh(x), the library's default.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// max(x, 0).
    Relu,
    /// x·Φ(x), with the error function.
    Gelu,
    /// x·σ(x).
    Silu,
}

impl DenseActivation {
    /// Finds an activation by its class in PyTorch, such as `torch.nn.modules.activation.Tanh`, the full name that the
    /// library writes, or `torch.nn.Tanh`, which it reads as well.
    fn parse(class: &str) -> Option<Self> {
        const MODULES: [&str; 4] =
            ["torch.nn.modules.activation", "torch.nn.modules.linear", "torch.nn.modules", "torch.nn"];
        let (module, name) = class.rsplit_once('.')?;
        let activation = match name {
            "Identity" => Self::Identity,
            "Tanh" => Self::Tanh,
            "Sigmoid" => Self::Sigmoid,
            "ReLU" => Self::Relu,
            "GELU" => Self::Gelu,
            "SiLU" => Self::Silu,
            _ => return None,
        };
        MODULES.contains(&module).then_some(activation)
    }
}

/// A Dense module: from vectors x of one width to f(W x + b) of another.
///
/// ```
/// use nb_checkpoint::{BertConfig, CONFIG_FILE, DenseActivation, SentenceModules, TensorBytes, serialize};
/// let folder = tempfile::tempdir()?;
/// let file = |name: &str| folder.path().join(name);
/// BertConfig::new(100, 2, 1, 1).write(&file(CONFIG_FILE))?;
/// let modules = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
///     {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
///     {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#;
/// std::fs::write(file("modules.json"), modules)?;
/// std::fs::create_dir(file("1_Pooling"))?;
/// std::fs::write(file("1_Pooling/config.json"), r#"{"pooling_mode": "cls"}"#)?;
/// std::fs::create_dir(file("2_Dense"))?;
/// let config = r#"{"in_features": 2, "out_features": 1, "bias": false,
///     "activation_function": "torch.nn.modules.activation.Tanh"}"#;
/// std::fs::write(file("2_Dense/config.json"), config)?;
/// let bytes = [1.0_f32, -2.0].map(f32::to_le_bytes).concat();
/// let dtype = nb_checkpoint::Dtype::F32;
/// let weight = TensorBytes { name: "linear.weight".to_owned(), dtype, shape: vec![1, 2], bytes: &bytes };
/// let path = file("2_Dense/model.safetensors");
/// std::fs::write(&path, serialize(&path, &Default::default(), vec![weight])?)?;
///
/// let dense = SentenceModules::read(folder.path())?.unwrap().dense;
/// assert_eq!((dense[0].outputs, dense[0].activation), (1, DenseActivation::Tanh));
/// let parameters = dense[0].parameters()?;
/// assert_eq!((parameters.weight, parameters.bias), (vec![1.0, -2.0], vec![0.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentenceDense {
    folder: PathBuf,
    /// Width of x, above 0.
    pub inputs: usize,
    /// Width of the result, above 0.
    pub outputs: usize,
    /// True if there is a b; otherwise it is 0.
    pub bias: bool,
    /// The activation f.
    pub activation: DenseActivation,
}

impl SentenceDense {
    /// Reads the configuration of the module in `folder`, which follows vectors of width `before`.
    ///
    /// # Errors
    /// If the file is missing or damaged, if the width differs, or if a key has a value that this project does not compute.
    pub(super) fn read(folder: PathBuf, before: usize) -> Result<Self, CheckpointError> {
        let path = folder.join(CONFIG_FILE);
        let config = read_config(&path)?;
        check_names(&path, &config)?;
        if flag(&path, &config, "use_residual")?.unwrap_or(false) {
            return Err(wrong_value(&path, "use_residual", true, "false"));
        }
        let inputs = width(&path, &config, "in_features")?;
        if inputs != before {
            let expected = format!("{before}, the width of the vectors before this module");
            return Err(wrong_value(&path, "in_features", inputs, &expected));
        }
        Ok(Self {
            inputs,
            outputs: width(&path, &config, "out_features")?,
            bias: flag(&path, &config, "bias")?.unwrap_or(true),
            activation: activation(&path, &config)?,
            folder,
        })
    }

    /// Reads the parameters from `model.safetensors` in the module's folder, or else from `pytorch_model.bin`. Without a
    /// bias, b is 0.
    ///
    /// # Errors
    /// If there is neither file, if a tensor is missing, unknown, or of another shape or type, or if a number is NaN or
    /// infinite.
    pub fn parameters(&self) -> Result<DenseParameters, CheckpointError> {
        let paths = MODULE_WEIGHTS.map(|name| self.folder.join(name));
        let Some(path) = paths.iter().find(|path| path.is_file()) else {
            let [first, second] = MODULE_WEIGHTS;
            let found = format!("neither {first} nor {second}, expected the weights of a Dense module");
            return Err(CheckpointError::Module { path: self.folder.clone(), found });
        };
        let file = TensorFile::read(path)?;
        self.check_tensor_names(&file)?;
        let tensors = FloatTensors::of_head(&file)?;
        // The weight comes first: its bytes are there, so its shape can be believed.
        let weight = tensors.get(WEIGHT, &[self.outputs, self.inputs])?;
        let bias = if self.bias { tensors.get(BIAS, &[self.outputs])? } else { vec![0.0; self.outputs] };
        Ok(DenseParameters { weight, bias })
    }

    /// Refuses tensors that are no parameters of the module, as the library does.
    fn check_tensor_names(&self, file: &TensorFile) -> Result<(), CheckpointError> {
        let known: &[&str] = if self.bias { &[WEIGHT, BIAS] } else { &[WEIGHT] };
        match file.names()?.into_iter().find(|name| !known.contains(name)) {
            None => Ok(()),
            Some(name) => Err(CheckpointError::Tensor {
                path: file.path().to_owned(),
                name: name.to_owned(),
                found: "is unknown".to_owned(),
                expected: format!("{}, as the module's {CONFIG_FILE} says", known.join(" and ")),
            }),
        }
    }
}

fn width(path: &Path, config: &Map<String, Value>, key: &str) -> Result<usize, CheckpointError> {
    const EXPECTED: &str = "a whole number above 0";
    let Some(found) = config.get(key) else { return Err(wrong_value(path, key, "nothing", EXPECTED)) };
    let width = found.as_u64().and_then(|width| usize::try_from(width).ok()).filter(|&width| width > 0);
    width.ok_or_else(|| wrong_value(path, key, found, EXPECTED))
}

fn flag(path: &Path, config: &Map<String, Value>, key: &str) -> Result<Option<bool>, CheckpointError> {
    match config.get(key) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(wrong_value(path, key, other, "true or false")),
    }
}

fn activation(path: &Path, config: &Map<String, Value>) -> Result<DenseActivation, CheckpointError> {
    const KEY: &str = "activation_function";
    const EXPECTED: &str =
        "Identity, Tanh, Sigmoid, ReLU, GELU or SiLU of torch.nn, such as torch.nn.modules.activation.Tanh";
    match config.get(KEY) {
        None => Ok(DenseActivation::Tanh), // as in the library
        Some(found) => {
            let activation = found.as_str().and_then(DenseActivation::parse);
            activation.ok_or_else(|| wrong_value(path, KEY, found, EXPECTED))
        }
    }
}
