//! Model folders for tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nb_checkpoint::{
    BertConfig, CONFIG_FILE, DESCRIPTION_FILE, Dtype, HEAD_FILE, POOLING_QUERY, TensorBytes, TensorFile, WEIGHTS_FILE,
    parameter_layout, serialize,
};
use serde_json::{Value, json};

/// Width of the states.
pub(crate) const HIDDEN: i64 = 4;
/// Width of the projection.
pub(crate) const WIDTH: i64 = 3;
/// Number of classes.
pub(crate) const CLASSES: i64 = 2;

/// A model folder in a temporary folder.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Writes a model whose `newsbert.json` has this head, with labels if it is for topics.
    pub(crate) fn new(task: &str, head: Value) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.model()).unwrap();
        let config = BertConfig::new(30, HIDDEN, 1, 2);
        config.write(&place.model().join(CONFIG_FILE)).unwrap();
        let layout = parameter_layout(&config);
        let slots = layout.slots().iter().map(|slot| (slot.name.clone(), slot.shape.clone()));
        write_tensors(&place.model().join(WEIGHTS_FILE), slots.collect());
        let mut description = json!({"task": task, "max_tokens": 24, "texts": 1, "head": head});
        if task == "topic" {
            description["labels"] = json!(["rain", "sport"]);
        }
        let head = [
            ("dense.weight", vec![CLASSES, if description["head"]["projection"].is_null() { HIDDEN } else { WIDTH }]),
            ("dense.bias", vec![CLASSES]),
            ("pooling.proj.weight", vec![POOLING_QUERY, HIDDEN]),
            ("pooling.proj.bias", vec![POOLING_QUERY]),
            ("pooling.query.weight", vec![1, POOLING_QUERY]),
            ("vector.weight", vec![WIDTH, HIDDEN]),
            ("vector.bias", vec![WIDTH]),
        ];
        write_tensors(&place.model().join(HEAD_FILE), head.map(|(name, shape)| (name.to_owned(), shape)).to_vec());
        fs::write(place.model().join(DESCRIPTION_FILE), description.to_string()).unwrap();
        for name in ["tokenizer.json", "vocab.txt", "README.md", "notes.txt"] {
            fs::write(place.model().join(name), name).unwrap();
        }
        place
    }

    /// The model folder.
    pub(crate) fn model(&self) -> PathBuf {
        self.folder.path().join("student")
    }

    /// The output of an export.
    pub(crate) fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    /// The names in the folder that contains both.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }
}

/// The sorted names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

pub(crate) fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Writes tensors of [`counting`] numbers.
pub(crate) fn write_tensors(path: &Path, tensors: Vec<(String, Vec<i64>)>) {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, shape)| counting(shape.iter().product())).collect();
    let tensors = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| TensorBytes {
        name: name.clone(),
        dtype: Dtype::F32,
        shape: shape.iter().map(|&size| size as usize).collect(),
        bytes,
    });
    fs::write(path, serialize(path, &BTreeMap::new(), tensors.collect()).unwrap()).unwrap();
}

/// Bytes of the numbers 1/8, 2/8, 3/8, …
pub(crate) fn counting(len: i64) -> Vec<u8> {
    (1..=len).flat_map(|i| (i as f32 / 8.0).to_le_bytes()).collect()
}

/// The shape and the numbers of each tensor of a file.
pub(crate) fn read_tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let file = TensorFile::read(path).unwrap();
    let numbers = |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    file.tensors().unwrap().into_iter().map(|it| (it.name, (it.shape, numbers(it.bytes)))).collect()
}
