//! Small model folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nb_checkpoint::{
    BertConfig, CONFIG_FILE, DESCRIPTION_FILE, Description, Dtype, HEAD_FILE, HeadDescription, TensorBytes,
    WEIGHTS_FILE, parameter_layout, serialize,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Width of the encoder.
pub(super) const HIDDEN: usize = 8;
/// Width of Dense modules.
pub(super) const DENSE: usize = 6;
/// Width of the pooling query.
const QUERY: usize = 200;

/// A model folder, and a place beside it for the exported file.
pub(super) struct Folder {
    folder: TempDir,
    pub(super) config: BertConfig,
}

/// The tensors of a file: name, shape and numbers.
pub(super) type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

impl Folder {
    /// Writes an encoder of two layers.
    pub(super) fn of_encoder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = BertConfig::new(20, HIDDEN as i64, 2, 2);
        fs::create_dir(folder.path().join("model")).unwrap();
        let folder = Self { folder, config };
        folder.config.write(&folder.path(CONFIG_FILE)).unwrap();
        folder.write_tensors(WEIGHTS_FILE, &folder.encoder_tensors());
        folder
    }

    /// Writes an encoder and the head of `description`.
    pub(super) fn new(description: &Description) -> Self {
        let folder = Self::of_encoder();
        fs::write(folder.path(DESCRIPTION_FILE), description.to_json()).unwrap();
        folder.write_tensors(HEAD_FILE, &head_tensors(description));
        folder
    }

    /// Writes an encoder, and modules of sentence-transformers: the mean, Dense modules to 6 units with these activations of
    /// PyTorch, and a normalisation.
    pub(super) fn of_modules(activations: &[&str]) -> Self {
        let folder = Self::of_encoder();
        let mut list = vec![json!({"path": "", "type": "a.Transformer"}), json!({"path": "p", "type": "a.Pooling"})];
        folder.write_json("p/config.json", &json!({"pooling_mode": "mean"}));
        for (i, activation) in activations.iter().enumerate() {
            let (path, inputs) = (format!("{i}_Dense"), if i == 0 { HIDDEN } else { DENSE });
            let config = json!({"in_features": inputs, "out_features": DENSE, "activation_function": activation});
            folder.write_json(&format!("{path}/config.json"), &config);
            let tensors = vec![tensor("linear.bias", &[DENSE]), tensor("linear.weight", &[DENSE, inputs])];
            folder.write_tensors(&format!("{path}/{WEIGHTS_FILE}"), &tensors);
            list.push(json!({"path": path, "type": "a.Dense"}));
        }
        list.push(json!({"path": "n", "type": "a.Normalize"}));
        folder.write_json("modules.json", &Value::from(list));
        folder
    }

    fn write_json(&self, name: &str, value: &Value) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), value.to_string()).unwrap();
    }

    pub(super) fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.model().join(name)
    }

    pub(super) fn output(&self) -> PathBuf {
        self.folder.path().join("model.onnx")
    }

    /// Returns the number of files and folders beside the model.
    pub(super) fn files_beside(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count() - 1
    }

    pub(super) fn encoder_tensors(&self) -> Tensors {
        let layout = parameter_layout(&self.config);
        let shape = |shape: &[i64]| shape.iter().map(|&size| size as usize).collect::<Vec<_>>();
        layout.slots().iter().map(|slot| tensor(&slot.name, &shape(&slot.shape))).collect()
    }

    pub(super) fn write_tensors(&self, file: &str, tensors: &Tensors) {
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|(_, _, numbers)| numbers.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let tensors = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| TensorBytes {
            name: name.clone(),
            dtype: Dtype::F32,
            shape: shape.clone(),
            bytes,
        });
        let file_bytes = serialize(Path::new(file), &BTreeMap::new(), tensors.collect()).unwrap();
        fs::write(self.path(file), file_bytes).unwrap();
    }
}

/// A description of a model whose head has these properties.
pub(super) fn description(task: &str, labels: &[&str], head: HeadDescription) -> Description {
    Description {
        task: task.to_owned(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        thresholds: Vec::new(),
        max_tokens: 30,
        truncate: nb_checkpoint::Truncation::Head,
        windows: None,
        texts: 1,
        fields: Vec::new(),
        history: (task == "recommend").then_some(50),
        self_attention: None,
        head,
    }
}

/// The tensors of a head with attentive pooling wherever it can be, in the order of their names.
pub(super) fn head_tensors(description: &Description) -> Tensors {
    let width = description.head.projection.map_or(HIDDEN, |width| width as usize);
    let mut tensors = Vec::new();
    let attentive = |name: &str, width| {
        [
            tensor(&format!("{name}.proj.bias"), &[QUERY]),
            tensor(&format!("{name}.proj.weight"), &[QUERY, width]),
            tensor(&format!("{name}.query.weight"), &[1, QUERY]),
        ]
    };
    let dense = |name: &str, outputs, inputs| {
        [tensor(&format!("{name}.bias"), &[outputs]), tensor(&format!("{name}.weight"), &[outputs, inputs])]
    };
    if description.head.pooling == nb_checkpoint::PoolingKind::Attentive {
        tensors.extend(attentive("pooling", HIDDEN));
    }
    if description.head.projection.is_some() {
        tensors.extend(dense("vector", width, HIDDEN));
    }
    if !description.labels.is_empty() {
        tensors.extend(dense("dense", description.labels.len(), width));
    }
    if description.task == "recommend" {
        tensors.push(tensor("reader.cold", &[width]));
        if description.head.reader == nb_checkpoint::PoolingKind::Attentive {
            tensors.extend(attentive("reader", width));
        }
        if description.self_attention.is_some() {
            let parts = ["query", "key", "value"].map(|part| format!("reader.attention.{part}"));
            tensors.extend(parts.iter().flat_map(|name| dense(name, width, width)));
        }
    }
    tensors
}

/// A tensor whose numbers differ from those of other names.
pub(super) fn tensor(name: &str, shape: &[usize]) -> (String, Vec<usize>, Vec<f32>) {
    let shift = name.bytes().map(f32::from).sum::<f32>();
    let numbers = (0..shape.iter().product()).map(|i: usize| (i as f32 * 0.37 + shift).sin()).collect();
    (name.to_owned(), shape.to_vec(), numbers)
}
