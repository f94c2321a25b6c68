//! A golden file of one step, and the comparison with what was computed. `tests/golden/README.md` says what it holds.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nb_model::{BertConfig, read_tensors};
use safetensors::SafeTensors;
use tch::{Cuda, Device, Kind, Tensor};

use crate::support::{max_abs, max_difference};

/// Tensors by the names of the golden files; losses are scalars, hidden states hold the real tokens alone: [n, H].
pub(crate) type Values = BTreeMap<String, Tensor>;

/// Names under which a file holds results.
const RESULTS: [&str; 5] = ["loss.", "teacher.", "student.", "grads.", "blended."];

/// Where steps are computed: on the CPU, or on the first GPU if the variable `NB_TEST_DEVICE` is `cuda`.
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

/// By how much a tolerance grows there: a GPU's sums run over more parts in another order.
fn slack() -> f64 {
    if device() == Device::Cpu { 1.0 } else { 10.0 }
}

/// One file.
pub(crate) struct Golden {
    pub(crate) path: PathBuf,
    pub(crate) config: BertConfig,
    /// The real tokens of its texts.
    pub(crate) texts: Texts,
    metadata: HashMap<String, String>,
    tensors: Values,
}

/// The texts of a file one after the other; every segment id is 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    pub(crate) ids: Vec<i64>,
    pub(crate) lengths: Vec<i64>,
}

impl Golden {
    /// Reads a file, leaving out padding.
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

    /// What its metadata says of something.
    pub(crate) fn says(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }

    /// A tensor of whole numbers, row by row.
    pub(crate) fn whole(&self, name: &str) -> Vec<i64> {
        Vec::try_from(self.tensor(name).to_kind(Kind::Int64).view(-1)).expect("a tensor of whole numbers")
    }

    /// The size of a tensor.
    pub(crate) fn shape<const N: usize>(&self, name: &str) -> [i64; N] {
        self.tensor(name).size().try_into().unwrap_or_else(|size| panic!("{name} has shape {size:?}"))
    }

    /// The student's shape: what the metadata says, or the teacher's but for its layers.
    pub(crate) fn student_config(&self) -> BertConfig {
        match self.says("student_config") {
            Some(config) => BertConfig::parse(config, &self.path).unwrap_or_else(|e| panic!("{e}")),
            None => self.config.with_layers(self.student_layers()),
        }
    }

    /// Replaces a tensor.
    pub(crate) fn replace(&mut self, name: &str, tensor: Tensor) {
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// A scalar.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.tensor(name).double_value(&[])
    }

    /// A tensor.
    pub(crate) fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor {name}", self.path.display()))
    }

    /// The tensors whose names begin with `prefix`, without it.
    pub(crate) fn under(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let rest =
            |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()));
        self.tensors.iter().filter_map(rest).collect()
    }

    /// The student's layers N, read off its names.
    pub(crate) fn student_layers(&self) -> i64 {
        let layers = self.under("weights.student.encoder.layer.");
        let number = |name: &String| name.split('.').next().and_then(|part| part.parse::<i64>().ok());
        layers.keys().filter_map(number).max().map_or(0, |last| last + 1)
    }
}

/// The real tokens of the padded texts.
fn texts(tensors: &Values) -> Texts {
    let rows = |name: &str| Vec::<Vec<i64>>::try_from(tensors[name].to_kind(Kind::Int64)).unwrap();
    let mut texts = Texts::default();
    for (ids, mask) in rows("input_ids").iter().zip(rows("attention_mask")) {
        let length = mask.iter().take_while(|&&real| real == 1).count();
        assert!(mask[length..].iter().all(|&real| real == 0), "padding stands behind the real tokens, found {mask:?}");
        texts.ids.extend(&ids[..length]);
        texts.lengths.push(length as i64);
    }
    texts
}

/// What is wrong with `computed`, a line for each tensor, beginning with its name.
pub(crate) fn mismatches(golden: &Golden, computed: &Values) -> Vec<String> {
    let mut lines = Vec::new();
    let expected: Vec<_> = golden.tensors.iter().filter(|(name, _)| is_result(name)).collect();
    for &(name, tensor) in &expected {
        let Some(found) = computed.get(name) else {
            lines.push(format!("{name}: not computed"));
            continue;
        };
        let found = found.to_device(Device::Cpu);
        let (worst, limit) = (max_difference(&found, tensor), slack() * tolerance(golden, name));
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

/// The largest entry but for those that stand for no candidate.
fn scale(tensor: &Tensor) -> f64 {
    const NO_CANDIDATE: f64 = -1e8;
    max_abs(&tensor.masked_select(&tensor.gt(NO_CANDIDATE)))
}

/// How far a computed tensor may be from the file's, entry by entry.
fn tolerance(golden: &Golden, name: &str) -> f64 {
    let own = scale(golden.tensor(name));
    if name.starts_with("loss.") {
        return 1e-5 * own.max(1e-3);
    }
    if name.starts_with("teacher.") || name.starts_with("student.") {
        return 1e-5 * own;
    }
    // The key bias has a gradient of zero but for rounding, which is relative to the model's other gradients.
    let model: String = name.split_inclusive('.').take(2).collect();
    let all = golden.under(&model).values().map(max_abs).fold(0.0, f64::max);
    1e-4 * own + 1e-6 * all
}
