//! The classifier of a fine-tuned model: a Hugging Face folder of a class for sequence classification.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::BertConfig;
use crate::error::CheckpointError;
use crate::family::{Classifier, Family};
use crate::files::CONFIG_FILE;
use crate::float_tensors::FloatTensors;
use crate::label_kind::LabelKind;
use crate::weights::Weights;

/// Most classes of a classifier, more than any has. It keeps a hostile file from claiming more memory than there is.
const MOST_CLASSES: usize = 1 << 20;

/// The classifier in a folder of `BertForSequenceClassification`, or of the same class of another family: its labels.
///
/// ```
/// use nb_checkpoint::{CONFIG_FILE, SavedClassifier};
/// let folder = tempfile::tempdir()?;
/// let config = r#"{"model_type": "bert", "architectures": ["BertForSequenceClassification"], "vocab_size": 9,
///     "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8,
///     "id2label": {"0": "sport", "1": "politics"}}"#;
/// std::fs::write(folder.path().join(CONFIG_FILE), config)?;
/// assert_eq!(SavedClassifier::read(folder.path())?.unwrap().labels(), ["sport", "politics"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SavedClassifier {
    path: PathBuf,
    family: Family,
    hidden: usize,
    labels: Vec<String>,
    kind: LabelKind,
    thresholds: Vec<f64>,
}

/// The parameters of a dense layer.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseParameters {
    /// W [outputs, inputs], row by row.
    pub weight: Vec<f32>,
    /// b \[outputs\]; 0 if the layer has none.
    pub bias: Vec<f32>,
}

/// The parameters of a classifier's two layers.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierParameters {
    /// From the state of the first token to the units before the activation: H to H.
    pub dense: DenseParameters,
    /// From the units after the activation to logits: H to classes.
    pub output: DenseParameters,
}

impl SavedClassifier {
    /// Reads the classifier of a folder from its `config.json`. Returns `None` if `architectures` names another class.
    ///
    /// # Errors
    /// If the configuration is not that of a supported encoder, if its labels are not numbered from 0, or if it is a
    /// regression.
    pub fn read(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = folder.join(CONFIG_FILE);
        let text = fs::read_to_string(&path).map_err(CheckpointError::io("cannot read", &path))?;
        let config = BertConfig::parse(&text, &path)?;
        let keys: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| CheckpointError::ConfigSyntax { path: path.clone(), found: error.to_string() })?;
        let class = keys.get("architectures").and_then(|classes| classes.get(0)).and_then(Value::as_str);
        if class != Some(config.family.classifier().class) {
            return Ok(None);
        }
        let hidden = config.hidden_size.unsigned_abs() as usize;
        let found =
            Self { family: config.family, hidden, labels: vec![], kind: LabelKind::Single, thresholds: vec![], path };
        let kind = match keys.get("problem_type").and_then(Value::as_str) {
            None => LabelKind::Single,
            Some(problem) => LabelKind::of_problem_type(problem).ok_or_else(|| {
                let [single, multi] = [LabelKind::Single, LabelKind::Multi].map(LabelKind::problem_type);
                found.value("problem_type", problem, &format!("`{single}` or `{multi}`"))
            })?,
        };
        let labels = found.parse_labels(&keys)?;
        let thresholds = match kind {
            LabelKind::Single => Vec::new(),
            LabelKind::Multi => found.parse_thresholds(&keys, labels.len())?,
        };
        Ok(Some(Self { labels, kind, thresholds, ..found }))
    }

    /// Returns the labels by class number. A configuration without labels has `LABEL_0`, `LABEL_1` and so on, as in
    /// transformers.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Returns whether a text has one label or any number.
    pub fn label_kind(&self) -> LabelKind {
        self.kind
    }

    /// Returns the threshold of each label by class number; none if a text has one label. They are those of
    /// `newsbert_thresholds`, which exports of this project write, else 0.5 as in the pipelines of transformers.
    pub fn thresholds(&self) -> &[f64] {
        &self.thresholds
    }

    /// Returns the form of the head.
    pub fn form(&self) -> &'static Classifier {
        self.family.classifier()
    }

    /// Returns the parameters from the folder's weights.
    ///
    /// # Errors
    /// If a tensor is missing, of another shape or type, or not finite.
    pub fn parameters(&self, weights: &Weights) -> Result<ClassifierParameters, CheckpointError> {
        let tensors = self.tensors(weights)?;
        let Classifier { dense, output, .. } = self.form();
        let layer = |name: &str, outputs: usize| -> Result<DenseParameters, CheckpointError> {
            Ok(DenseParameters {
                weight: tensors.get(&format!("{name}.weight"), &[outputs, self.hidden])?,
                bias: tensors.get(&format!("{name}.bias"), &[outputs])?,
            })
        };
        Ok(ClassifierParameters { dense: layer(dense, self.hidden)?, output: layer(output, self.labels.len())? })
    }

    /// Returns the tensors of the classifier in the folder's weights, under the names of the file.
    ///
    /// # Errors
    /// If a tensor is missing, or a file is damaged.
    pub fn tensors<'a>(&self, weights: &'a Weights) -> Result<FloatTensors<'a>, CheckpointError> {
        let Classifier { dense, output, .. } = self.form();
        let names = [dense, output].map(|layer| ["weight", "bias"].map(|part| format!("{layer}.{part}")));
        FloatTensors::of_names(weights, names.as_flattened())
    }

    fn parse_labels(&self, keys: &Map<String, Value>) -> Result<Vec<String>, CheckpointError> {
        let given = match keys.get("id2label").filter(|value| !value.is_null()) {
            None => return self.numbered_labels(keys),
            Some(Value::Object(given)) => given,
            Some(other) => return Err(self.value("id2label", other, "an object from class numbers to labels")),
        };
        let label = |id: usize| given.get(&id.to_string()).and_then(Value::as_str).map(str::to_owned);
        let labels: Option<Vec<String>> = (0..given.len()).map(label).collect();
        match labels {
            Some(labels) if labels.len() > 1 => Ok(labels),
            Some(labels) if labels.len() == 1 => Err(self.value(
                "id2label",
                Value::Object(given.clone()),
                "two labels or more: one output is a regression",
            )),
            _ => Err(self.value("id2label", Value::Object(given.clone()), "a label for each number from 0 on")),
        }
    }

    fn parse_thresholds(&self, keys: &Map<String, Value>, labels: usize) -> Result<Vec<f64>, CheckpointError> {
        let Some(given) = keys.get("newsbert_thresholds").filter(|value| !value.is_null()) else {
            return Ok(vec![0.5; labels]);
        };
        let number = |value: &Value| value.as_f64().filter(|threshold| (0.0..=1.0).contains(threshold));
        let thresholds: Option<Vec<f64>> = given.as_array().and_then(|all| all.iter().map(number).collect());
        thresholds.filter(|thresholds| thresholds.len() == labels).ok_or_else(|| {
            self.value("newsbert_thresholds", given, &format!("a number from 0 to 1 for each of the {labels} labels"))
        })
    }

    fn numbered_labels(&self, keys: &Map<String, Value>) -> Result<Vec<String>, CheckpointError> {
        let count = match keys.get("num_labels").filter(|value| !value.is_null()) {
            None => 2, // as in transformers
            Some(found) => {
                match found.as_u64().map(|count| count as usize).filter(|count| (2..=MOST_CLASSES).contains(count)) {
                    Some(count) => count,
                    None => return Err(self.value("num_labels", found, "a number of classes of at least 2")),
                }
            }
        };
        Ok((0..count).map(|id| format!("LABEL_{id}")).collect())
    }

    fn value(&self, key: &'static str, found: impl ToString, expected: &str) -> CheckpointError {
        let value = CheckpointError::ConfigValue { key, found: found.to_string(), expected: expected.to_owned() };
        CheckpointError::ConfigFile { path: self.path.clone(), value: Box::new(value) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(change: &Value) -> Result<Option<Vec<String>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let mut config = json!({"model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"],
            "vocab_size": 9, "dim": 4, "n_layers": 1, "n_heads": 1, "hidden_dim": 8});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        fs::write(folder.path().join(CONFIG_FILE), config.to_string()).unwrap();
        let found = SavedClassifier::read(folder.path()).map_err(|error| error.to_string())?;
        Ok(found.map(|found| found.labels().to_vec()))
    }

    #[test]
    fn labels_are_in_the_order_of_their_numbers() {
        let labels = |labels: &[&str]| Ok(Some(labels.iter().map(|&label| label.to_owned()).collect()));
        assert_eq!(read(&json!({"id2label": {"1": "b", "0": "c", "2": "a"}})), labels(&["c", "b", "a"]));
        assert_eq!(read(&json!({})), labels(&["LABEL_0", "LABEL_1"]));
        assert_eq!(read(&json!({"num_labels": 3})), labels(&["LABEL_0", "LABEL_1", "LABEL_2"]));
        assert_eq!(read(&json!({"architectures": ["DistilBertModel"]})), Ok(None));
        assert_eq!(read(&json!({"architectures": null})), Ok(None));
    }

    #[test]
    fn other_classifiers_are_refused_with_the_key() {
        let error = |change: Value| read(&change).unwrap_err();
        assert!(
            error(json!({"id2label": {"1": "b"}})).contains("`id2label` is {\"1\":\"b\"}, expected a label for each")
        );
        assert!(error(json!({"id2label": ["b"]})).contains("`id2label` is [\"b\"], expected an object"));
        assert!(error(json!({"id2label": {}})).contains("`id2label` is {}"));
        assert!(
            error(json!({"id2label": {"0": "LABEL_0"}})).contains("two labels or more: one output is a regression")
        );
        assert!(
            error(json!({"num_labels": 1})).contains("`num_labels` is 1, expected a number of classes of at least 2")
        );
        let multi = |thresholds: Value| json!({"problem_type": "multi_label_classification", "newsbert_thresholds": thresholds});
        assert!(error(multi(json!([0.5]))).contains("a number from 0 to 1 for each of the 2 labels"));
        assert!(error(multi(json!([0.5, 2]))).contains("`newsbert_thresholds` is [0.5,2]"));
        assert!(read(&multi(json!([0.5, 0.25]))).is_ok() && read(&multi(Value::Null)).is_ok());
        assert!(error(json!({"num_labels": 1e9})).contains("`num_labels` is 1000000000.0"));
        assert!(error(json!({"problem_type": "regression"})).contains("`problem_type` is regression, expected"));
    }
}
