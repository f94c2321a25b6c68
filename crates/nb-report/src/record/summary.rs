//! `summary.json`: a finished run with its sources, and the scores and the speed of its models.

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{or_default, texts};
use super::{Evaluation, Named, RunCost};

/// A finished run, as in `summary.json`.
///
/// Every field may be absent: a run without a teacher has no `teacher`, and records of other versions may lack more. A
/// field of another type counts as absent, and an unknown field is ignored.
///
/// ```
/// use nb_report::record::{ModelSummary, Summary};
///
/// let text = r#"{"task":"topic","seed":0,"student":{"layers":2,"texts":18,"accuracy":0.875,"folder":"student"}}"#;
/// let summary: Summary = serde_json::from_str(text)?;
/// let student = summary.student.as_ref().expect("the run had a student");
/// assert_eq!((student.layers, student.dev.scores.metric("accuracy")), (Some(2), Some(0.875)));
/// assert_eq!(serde_json::to_string(&summary)?, text);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// `topic`, `recommend` or `retrieve`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Name of the method, e.g. `newsbert`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The seed.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Name of the run.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The metric by which the best state was chosen.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// Duration and speed of the training.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainSummary>,
    /// Cost of the training.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub cost: Option<RunCost>,
    /// The teacher.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub teacher: Option<ModelSummary>,
    /// The student.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub student: Option<ModelSummary>,
    /// The models before any training.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub untouched: Option<Untouched>,
    /// Everything that the result depends on besides its configuration.
    #[serde(flatten)]
    pub sources: Sources,
    /// The machine, and the part of it that the run used.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// Warnings for readers of the results.
    #[serde(deserialize_with = "texts", skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<String>>,
    /// For each loss term, the number of steps in which the batch had no data to compute it from.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub terms_without_unit: Option<Named<u64>>,
    /// The number of updates that were skipped because they were not finite.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub updates_left_out: Option<u64>,
}

/// The size, duration and speed of a training run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainSummary {
    /// Updates made.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Time spent in steps, in seconds.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Number of training rows (texts, readers, queries); each row counts as often as it was used.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub samples: Option<i64>,
    /// Rows per second, excluding the first steps.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub samples_per_second: Option<f64>,
    /// Encoded sequences per second, excluding the first steps.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub sequences_per_second: Option<f64>,
    /// Real tokens per second, excluding the first steps.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Numbers that other versions wrote.
    #[serde(flatten)]
    pub others: Named<f64>,
}

/// A model at the end of its run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelSummary {
    /// Number of layers.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub layers: Option<u64>,
    /// Number of parameters of its encoder.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Its best evaluation on the development data. In JSON, the keys of the evaluation are keys of the model's object.
    #[serde(flatten)]
    pub dev: Evaluation,
    /// The step of that evaluation, if the model was trained.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub best_step: Option<u64>,
    /// Its evaluation on the held-out test data, if there are any.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub test: Option<Evaluation>,
    /// Median time for a single text, in milliseconds.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub milliseconds_per_text: Option<f64>,
    /// Texts per second in batches sorted by length.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub texts_per_second: Option<f64>,
    /// Its folder, relative to the run folder.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

impl ModelSummary {
    /// Returns the final evaluation: on the test data if there are any, otherwise on the development data.
    #[must_use]
    pub fn last(&self) -> &Evaluation {
        self.test.as_ref().unwrap_or(&self.dev)
    }
}

/// The models of a run before any training, measured on the same splits as the trained ones. Only `layers`,
/// `parameters`, `dev` and `test` are set. Ranking tasks write it; topic runs do not, because a new classifier predicts
/// at random.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Untouched {
    /// The teacher.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub teacher: Option<ModelSummary>,
    /// The student.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub student: Option<ModelSummary>,
}

/// Everything that a result depends on besides its configuration: files, checkpoints, versions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sources {
    /// The files of each split: `train`, `dev`, `test`, `unlabelled`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub data: Option<Named<Data>>,
    /// The checkpoints that the run started from.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub models: Option<ModelDigests>,
    /// Versions of the programs that computed the result: `newsbert`, `libtorch`, `tch`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub versions: Option<Named<Value>>,
}

/// The data of a split.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    /// All files of the split as one entry.
    One(DataFile),
    /// An entry for each file, as other versions wrote it.
    Several(Vec<DataFile>),
}

/// Files of a split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataFile {
    /// Their paths, joined by `, `.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The first 16 hexadecimal digits of the BLAKE3 hash of their contents.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// The number of rows, as other versions wrote it.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

impl Data {
    /// Returns the entries of the split.
    #[must_use]
    pub fn files(&self) -> &[DataFile] {
        match self {
            Self::One(file) => std::slice::from_ref(file),
            Self::Several(files) => files,
        }
    }

    /// Returns the hash of all files of the split, if there is one hash for all of them.
    #[must_use]
    pub fn blake3(&self) -> Option<&str> {
        match self {
            Self::One(file) => file.blake3.as_deref(),
            Self::Several(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = |value: Value| serde_json::from_value(value).map_err(serde::de::Error::custom);
        match Value::deserialize(deserializer)? {
            Value::Array(files) => {
                files.into_iter().filter(Value::is_object).map(file).collect::<Result<_, _>>().map(Self::Several)
            }
            value if value.is_object() => file(value).map(Self::One),
            other => Err(serde::de::Error::custom(format!("found {other}, expected an object or a list of objects"))),
        }
    }
}

/// BLAKE3 hashes (first 16 hexadecimal digits) of the weights that a run starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelDigests {
    /// Hash of `teacher.checkpoint`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Hash of `student.init`, if it is a checkpoint.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub student: Option<String>,
    /// Hash of each model in `teacher.trained`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub trained: Option<Vec<String>>,
}

/// The machine, and the part of it that a run used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Name of the processor.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Number of its cores.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub cores: Option<u64>,
    /// Threads used.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// The device, e.g. `Cpu` or `Cuda(0)`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// `f32` or `bf16`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Entries that other versions wrote.
    #[serde(flatten)]
    pub others: Named<Value>,
}
