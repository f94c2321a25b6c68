//! Golden files of one step, and their comparison with computed values. `tests/golden/README.md` describes the format.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nb_checkpoint::HeadDescription;
use nb_model::{BertConfig, TrainedParts, read_tensors};
use safetensors::SafeTensors;
use tch::{Cuda, Device, Kind, Tensor};

use crate::support::{max_abs, max_difference};

/// Tensors by their names in golden files. Losses are scalars; hidden states contain only the real tokens: [n, H].
pub(crate) type Values = BTreeMap<String, Tensor>;

/// Prefixes of the names of results.
const RESULTS: [&str; 5] = ["loss.", "teacher.", "student.", "grads.", "blended."];

/// Returns the device for steps: the CPU, or the first GPU if the variable `NB_TEST_DEVICE` is `cuda`.
pub(crate) fn device() -> Device {
    static DEVICE: LazyLock<Device> = LazyLock::new(|| match std::env::var("NB_TEST_DEVICE").as_deref() {
        Err(_) | Ok("") => Device::Cpu,
        Ok("cuda") => {
            let loaded = nb_torch::cuda::preload();
            assert!(Cuda::is_available(), "no GPU for NB_TEST_DEVICE=cuda: {loaded:?}");
            Device::Cuda(0)
        }
        Ok(other) => panic!("NB_TEST_DEVICE is {other:?}, expected cuda or nothing"),
    });
    *DEVICE
}

/// Returns the factor of tolerances on this device. The sums of a GPU have more parts and a different order.
fn tolerance_factor() -> f64 {
    if device() == Device::Cpu { 1.0 } else { 10.0 }
}

/// A golden file.
pub(crate) struct Golden {
    pub(crate) path: PathBuf,
    pub(crate) config: BertConfig,
    /// The real tokens of its texts.
    pub(crate) texts: Texts,
    metadata: HashMap<String, String>,
    tensors: Values,
}

/// The texts of a file, concatenated. All segment ids are 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    pub(crate) ids: Vec<i64>,
    pub(crate) lengths: Vec<i64>,
}

impl Golden {
    /// Reads a file and removes padding.
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let metadata = header.metadata().clone().unwrap_or_default();
        let config =
            metadata.get("config").unwrap_or_else(|| panic!("{}: no `config` in its metadata", path.display()));
        let config = BertConfig::parse(config, path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(metadata.get("heads"), Some(&config.num_attention_heads.to_string()), "heads of {}", path.display());

        let mut tensors: Values = read_tensors(path).unwrap_or_else(|e| panic!("{e}")).into_iter().collect();
        let texts = texts(&tensors);
        let real = tensors["attention_mask"].flatten(0, -1).nonzero().view(-1);
        for (name, tensor) in &mut tensors {
            if name.contains(".hidden.") {
                *tensor = tensor.flatten(0, 1).index_select(0, &real);
            }
        }
        Self { path: path.to_owned(), config, texts, metadata, tensors }
    }

    /// Returns the value of a metadata key.
    pub(crate) fn says(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }

    /// Returns the description of both heads: that of the metadata, or attentive pooling and dot products.
    pub(crate) fn head(&self) -> HeadDescription {
        let parse = |text| serde_json::from_str(text).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
        self.says("head").map_or_else(HeadDescription::default, parse)
    }

    /// Returns the entries of a tensor of integers, row by row.
    pub(crate) fn integers(&self, name: &str) -> Vec<i64> {
        Vec::try_from(self.tensor(name).to_kind(Kind::Int64).view(-1)).expect("a tensor of integers")
    }

    /// Returns the shape of a tensor.
    pub(crate) fn shape<const N: usize>(&self, name: &str) -> [i64; N] {
        self.tensor(name).size().try_into().unwrap_or_else(|size| panic!("{name} has shape {size:?}"))
    }

    /// Returns the student's configuration: that of the metadata, or the teacher's with fewer layers.
    pub(crate) fn student_config(&self) -> BertConfig {
        match self.says("student_config") {
            Some(config) => BertConfig::parse(config, &self.path).unwrap_or_else(|e| panic!("{e}")),
            None => self.config.with_layers(self.student_layers()),
        }
    }

    /// Returns the parts of the encoder of `role` that are trained: those of the metadata, or all.
    pub(crate) fn parts(&self, role: &str) -> TrainedParts {
        let Some(text) = self.says(&format!("{role}_parts")) else { return TrainedParts::ALL };
        let parts: serde_json::Value = serde_json::from_str(text).expect("the metadata is JSON");
        let top_layers = parts["top_layers"].as_u64().map_or(usize::MAX, |count| count as usize);
        TrainedParts { embeddings: parts["embeddings"].as_bool().expect("true or false"), top_layers }
    }

    /// Removes the restriction to parts of the encoders.
    pub(crate) fn train_everything(&mut self) {
        self.metadata.retain(|key, _| !key.ends_with("_parts"));
    }

    /// Replaces the description of both heads.
    pub(crate) fn replace_head(&mut self, head: &HeadDescription) {
        self.metadata.insert("head".to_owned(), serde_json::to_string(head).expect("a description is JSON"));
    }

    /// Replaces a tensor.
    pub(crate) fn replace(&mut self, name: &str, tensor: Tensor) {
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// Returns a scalar.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.tensor(name).double_value(&[])
    }

    /// Returns a tensor.
    pub(crate) fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor {name}", self.path.display()))
    }

    /// Returns the tensors whose names start with `prefix`, with the prefix removed.
    pub(crate) fn under(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let rest =
            |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()));
        self.tensors.iter().filter_map(rest).collect()
    }

    /// Returns the number of student layers N, from the names of its weights.
    pub(crate) fn student_layers(&self) -> i64 {
        let layers = self.under("weights.student.encoder.layer.");
        let number = |name: &String| name.split('.').next().and_then(|part| part.parse::<i64>().ok());
        layers.keys().filter_map(number).max().map_or(0, |last| last + 1)
    }
}

/// Returns the real tokens of the padded texts.
fn texts(tensors: &Values) -> Texts {
    let rows = |name: &str| Vec::<Vec<i64>>::try_from(tensors[name].to_kind(Kind::Int64)).unwrap();
    let mut texts = Texts::default();
    for (ids, mask) in rows("input_ids").iter().zip(rows("attention_mask")) {
        let length = mask.iter().take_while(|&&real| real == 1).count();
        assert!(mask[length..].iter().all(|&real| real == 0), "padding must follow the real tokens, found {mask:?}");
        texts.ids.extend(&ids[..length]);
        texts.lengths.push(length as i64);
    }
    texts
}

/// Returns the mismatches of `computed`, one line per tensor, which starts with its name.
pub(crate) fn mismatches(golden: &Golden, computed: &Values) -> Vec<String> {
    let mut lines = Vec::new();
    let expected: Vec<_> = golden.tensors.iter().filter(|(name, _)| is_result(name)).collect();
    for &(name, tensor) in &expected {
        let Some(found) = computed.get(name) else {
            lines.push(format!("{name}: not computed"));
            continue;
        };
        let found = found.to_device(Device::Cpu);
        let (worst, limit) = (max_difference(&found, tensor), tolerance_factor() * tolerance(golden, name));
        if worst > limit {
            let (a, b) = (found.size(), tensor.size());
            lines.push(format!("{name}: {worst:e} apart, allowed {limit:e} (shapes {a:?} and {b:?})"));
        }
    }
    let unknown = computed.keys().filter(|name| !is_result(name) || !golden.tensors.contains_key(*name));
    lines.extend(unknown.map(|name| format!("{name}: computed, but not in the file")));
    lines
}

fn is_result(name: &str) -> bool {
    RESULTS.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the largest entry, without those of missing candidates.
fn scale(tensor: &Tensor) -> f64 {
    const NO_CANDIDATE: f64 = -1e8;
    max_abs(&tensor.masked_select(&tensor.gt(NO_CANDIDATE)))
}

/// Returns the maximum difference of an entry from that of the file.
fn tolerance(golden: &Golden, name: &str) -> f64 {
    let scale = scale(golden.tensor(name));
    if name.starts_with("loss.") {
        return 1e-5 * scale.max(1e-3);
    }
    if name.starts_with("teacher.") || name.starts_with("student.") {
        return 1e-5 * scale;
    }
    // The gradient of the key bias is zero up to rounding, which is relative to the other gradients of the model.
    let model: String = name.split_inclusive('.').take(2).collect();
    let largest = golden.under(&model).values().map(max_abs).fold(0.0, f64::max);
    1e-4 * scale + 1e-6 * largest
}
