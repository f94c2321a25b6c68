//! `outcomes.safetensors`: the outcome of each row under each model, the basis for comparisons of runs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::ReportError;

/// Names of the tensors, without that of the model.
const ROWS: &str = "rows";
const TRUTH: &str = "truth";
const PREDICTED: &str = "predicted";
const PROBABILITY: &str = "probability";

/// Keys of the metadata.
const TASK: &str = "task";
const PRIMARY: &str = "primary";
const SPLIT: &str = "split";
const LABELS: &str = "labels";

/// Names of the models.
const TEACHER: &str = "teacher";
const STUDENT: &str = "student";

/// The contents of `outcomes.safetensors`. All models were measured on the same rows.
///
/// | tensor | type | entry for each row |
/// | --- | --- | --- |
/// | `rows` | U32 | the number of the row in the data |
/// | `<model>.<metric>` | F64 | a number whose mean over the rows is the metric |
/// | `truth` | U32 | the class of the row |
/// | `<model>.predicted` | U32 | the most probable class |
/// | `<model>.probability` | F32 | the probability of that class |
///
/// `<model>` is `student` or `teacher`. The last three tensors exist only for classification tasks. The metadata are
/// `task`, `primary`, `split`, and `labels`, the names of the classes as a JSON list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutcomesFile {
    /// `topic`, `recommend` or `retrieve`.
    pub task: Option<String>,
    /// The metric by which models are chosen.
    pub primary: Option<String>,
    /// The split that was measured: `dev` or `test`.
    pub split: Option<String>,
    /// The outcomes under the student.
    pub student: Option<Outcomes>,
    /// The outcomes under the teacher.
    pub teacher: Option<Outcomes>,
}

/// The outcome of each row of an evaluation under one model.
///
/// A checkpoint also contains the outcomes, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// The number of each row in the data.
    pub rows: Vec<u32>,
    /// For each metric, one number per row; the mean of the numbers is the metric.
    pub values: Vec<(Cow<'static, str>, Vec<f64>)>,
    /// Classes, if the task is classification.
    pub classes: Option<Classes>,
}

/// True and predicted class of each row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    /// The names of the classes, by number.
    pub names: Vec<String>,
    /// The class of each row.
    pub truth: Vec<u32>,
    /// The most probable class of each row.
    pub predicted: Vec<u32>,
    /// The probability of the predicted class; empty if the file has no probabilities.
    pub probability: Vec<f32>,
}

/// A tensor of `outcomes.safetensors` with one entry for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: Dtype,
    /// Its entries, little-endian.
    pub data: Vec<u8>,
}

impl Outcomes {
    /// Returns the values of a metric, one for each row.
    #[must_use]
    pub fn values_of(&self, metric: &str) -> Option<&[f64]> {
        self.values.iter().find(|(name, _)| name == metric).map(|(_, values)| values.as_slice())
    }
}

impl OutcomesFile {
    /// Returns the models by name, the teacher first.
    pub fn models(&self) -> impl Iterator<Item = (&'static str, &Outcomes)> {
        let teacher = self.teacher.iter().map(|outcomes| (TEACHER, outcomes));
        teacher.chain(self.student.iter().map(|outcomes| (STUDENT, outcomes)))
    }

    /// Returns the tensors of the file; empty without a model.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        let Some((_, first)) = self.models().next() else { return Vec::new() };
        let mut columns = vec![Column::of_u32(ROWS.to_owned(), &first.rows)];
        columns.extend(first.classes.as_ref().map(|classes| Column::of_u32(TRUTH.to_owned(), &classes.truth)));
        for (model, outcomes) in self.models() {
            for (metric, values) in &outcomes.values {
                let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                columns.push(Column { name: format!("{model}.{metric}"), dtype: Dtype::F64, data });
            }
            if let Some(classes) = &outcomes.classes {
                columns.push(Column::of_u32(format!("{model}.{PREDICTED}"), &classes.predicted));
                let data = classes.probability.iter().flat_map(|value| value.to_le_bytes()).collect();
                columns.push(Column { name: format!("{model}.{PROBABILITY}"), dtype: Dtype::F32, data });
            }
        }
        columns
    }

    /// Returns the metadata of the file.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<&'static str, String> {
        let texts = [(TASK, &self.task), (PRIMARY, &self.primary), (SPLIT, &self.split)];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, text.clone()?)));
        let classes = self.models().find_map(|(_, outcomes)| outcomes.classes.as_ref());
        let labels = classes.map(|classes| (LABELS, serde_json::Value::from(classes.names.clone()).to_string()));
        texts.chain(labels).collect()
    }

    /// Reads `outcomes.safetensors`. Tensors with other names are ignored.
    ///
    /// # Errors
    /// If the file cannot be read, or contains a tensor that does not have one entry for each row.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let bytes = fs::read(path).map_err(ReportError::io(path))?;
        Self::from_bytes(&bytes).map_err(|found| ReportError::content(path, None, found))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        if !header.tensors().contains_key(ROWS) {
            return Err("tensor `rows` is missing, expected one row number per entry".to_owned());
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let tensors = Tensors::read(&tensors)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let text = |key: &str| metadata.get(key).cloned();
        let labels: Option<Vec<String>> = text(LABELS).and_then(|labels| serde_json::from_str(&labels).ok());
        let labels = labels.unwrap_or_default();
        Ok(Self {
            task: text(TASK),
            primary: text(PRIMARY),
            split: text(SPLIT),
            student: tensors.of_model(STUDENT, &labels),
            teacher: tensors.of_model(TEACHER, &labels),
        })
    }
}

impl Column {
    fn of_u32(name: String, values: &[u32]) -> Self {
        Self { name, dtype: Dtype::U32, data: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }
}

/// The tensors of a file by name, all of the same length.
#[derive(Default)]
struct Tensors {
    doubles: BTreeMap<String, Vec<f64>>,
    floats: BTreeMap<String, Vec<f32>>,
    integers: BTreeMap<String, Vec<u32>>,
}

impl Tensors {
    fn read(file: &SafeTensors<'_>) -> Result<Self, String> {
        let mut tensors = Self::default();
        let mut lengths = BTreeMap::new();
        for (name, view) in file.iter() {
            lengths.insert(name, tensors.insert(name, view.dtype(), view.data())?);
        }
        let n = tensors.rows().len();
        match lengths.into_iter().find(|(_, length)| *length != n) {
            Some((name, length)) => Err(format!("{name} has length {length}, expected {n}, the length of `rows`")),
            None => Ok(tensors),
        }
    }

    /// Adds a tensor and returns its length.
    fn insert(&mut self, name: &str, dtype: Dtype, data: &[u8]) -> Result<usize, String> {
        match dtype {
            Dtype::U32 => Ok(store(&mut self.integers, name, entries(data, u32::from_le_bytes))),
            other if name == ROWS => Err(format!("rows is {other:?}, expected U32")),
            Dtype::F32 => Ok(store(&mut self.floats, name, entries(data, f32::from_le_bytes))),
            Dtype::F64 => Ok(store(&mut self.doubles, name, entries(data, f64::from_le_bytes))),
            other => Err(format!("{name} is {other:?}, expected U32, F32 or F64")),
        }
    }

    fn rows(&self) -> &[u32] {
        self.integers.get(ROWS).map_or(&[], Vec::as_slice)
    }

    /// Returns the outcomes under a model; `None` if the file has no tensor of the model.
    fn of_model(&self, model: &str, labels: &[String]) -> Option<Outcomes> {
        let prefix = format!("{model}.");
        let metric = |(name, values): (&String, &Vec<f64>)| {
            Some((Cow::Owned(name.strip_prefix(&prefix)?.to_owned()), values.clone()))
        };
        let values: Vec<_> = self.doubles.iter().filter_map(metric).collect();
        let classes = self.classes_of(&prefix, labels);
        (!values.is_empty() || classes.is_some()).then(|| Outcomes { rows: self.rows().to_vec(), values, classes })
    }

    fn classes_of(&self, prefix: &str, labels: &[String]) -> Option<Classes> {
        Some(Classes {
            names: labels.to_vec(),
            truth: self.integers.get(TRUTH)?.clone(),
            predicted: self.integers.get(&format!("{prefix}{PREDICTED}"))?.clone(),
            probability: self.floats.get(&format!("{prefix}{PROBABILITY}")).cloned().unwrap_or_default(),
        })
    }
}

/// Stores a tensor under its name and returns its length.
fn store<T>(all: &mut BTreeMap<String, Vec<T>>, name: &str, values: Vec<T>) -> usize {
    let length = values.len();
    all.insert(name.to_owned(), values);
    length
}

/// Splits bytes into entries of `N` bytes each.
fn entries<T, const N: usize>(data: &[u8], entry: fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks().0.iter().copied().map(entry).collect()
}
