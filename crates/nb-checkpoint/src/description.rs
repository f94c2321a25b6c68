//! The file `newsbert.json` of a trained model: its task, its texts and its head.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::CheckpointError;
use crate::files::DESCRIPTION_FILE;
use crate::head::HeadDescription;
use crate::label_kind::LabelKind;

/// The task of a trained model, its labels, the texts that it was trained on and the shape of its head.
///
/// ```
/// use nb_checkpoint::Description;
/// let text = r#"{"task": "topic", "labels": ["sport", "world"], "max_tokens": 64, "texts": 1}"#;
/// let description: Description = serde_json::from_str(text)?;
/// assert_eq!(description.labels[1], "world");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Description {
    /// The task: `topic`, `recommend` or `retrieve`.
    pub task: String,
    /// Label names by class number; empty if the task has no classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The threshold of each label's probability from which on the label applies, by class number; empty if a text has one label,
    /// or if the task has no classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<f64>,
    /// Longest sequence in tokens; with windows, the longest article before it is cut.
    pub max_tokens: usize,
    /// The part that remains of a text with too many tokens.
    #[serde(default, skip_serializing_if = "Truncation::is_default")]
    pub truncate: Truncation,
    /// The windows into which longer articles are cut; `None` if every article is one sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
    /// Texts per row: 1 or 2.
    pub texts: usize,
    /// The parts of an article that the model was trained on, for MIND and BEIR.
    #[serde(default)]
    pub fields: Vec<ArticleField>,
    /// Number of a reader's most recent clicks that the model reads, for recommendation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<usize>,
    /// Number of heads of the reader model's self-attention, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_attention: Option<i64>,
    /// The layers between the encoder and the outputs. A folder without it has attentive pooling and dot products.
    #[serde(default)]
    pub head: HeadDescription,
}

/// A part of an article.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ArticleField {
    /// The title.
    Title,
    /// The abstract; BEIR's `text`.
    Abstract,
}

/// The part that remains of a text with too many tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// The beginning, or the end if the tokenizer truncates at the left.
    #[default]
    Head,
    /// The beginning and the end: of n tokens, the first ⌈n/4⌉ and the last n − ⌈n/4⌉.
    HeadTail,
}

impl Truncation {
    /// Returns the value in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::HeadTail => "head_tail",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The windows into which an article with too many tokens is cut. Its vector is the mean of their pooled vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Largest number of tokens of a window, special tokens included.
    pub size: usize,
    /// Tokens of the article between the starts of two windows.
    pub stride: usize,
}

impl Description {
    /// Returns the length of the longest sequence in tokens: that of a window if articles are cut into windows.
    pub fn longest_sequence(&self) -> usize {
        self.windows.map_or(self.max_tokens, |windows| windows.size.min(self.max_tokens))
    }

    /// Reads the description in a model folder. Returns `None` if the folder contains only an encoder.
    ///
    /// # Errors
    /// If the file cannot be read, is not JSON, lacks a key, has a value of another type, or does not have a threshold for each
    /// label or none.
    pub fn read(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = folder.join(DESCRIPTION_FILE);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CheckpointError::io("cannot read", path)(error)),
            Ok(text) => match serde_json::from_str(&text) {
                Ok(description) => checked(description, path).map(Some),
                Err(source) => Err(CheckpointError::Description { path, source }),
            },
        }
    }

    /// Returns whether a text has one label or any number.
    pub fn label_kind(&self) -> LabelKind {
        if self.thresholds.is_empty() { LabelKind::Single } else { LabelKind::Multi }
    }

    /// Returns the content of the file: indented JSON.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_value(self).expect("strings and numbers are JSON");
        format!("{json:#}\n")
    }
}

/// Returns the description if its thresholds fit its labels.
fn checked(description: Description, path: PathBuf) -> Result<Description, CheckpointError> {
    let Description { labels, thresholds, .. } = &description;
    let has_all = thresholds.is_empty() || thresholds.len() == labels.len();
    if has_all && thresholds.iter().all(|threshold| (0.0..=1.0).contains(threshold)) {
        return Ok(description);
    }
    let expected = format!("a number from 0 to 1 for each of the {} labels, or none", labels.len());
    let found = serde_json::Value::from(thresholds.clone()).to_string();
    let value = CheckpointError::ConfigValue { key: "thresholds", found, expected };
    Err(CheckpointError::ConfigFile { path, value: Box::new(value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::PoolingKind;

    fn description() -> Description {
        Description {
            task: "recommend".to_owned(),
            labels: Vec::new(),
            thresholds: Vec::new(),
            max_tokens: 30,
            truncate: Truncation::Head,
            windows: None,
            texts: 2,
            fields: vec![ArticleField::Title, ArticleField::Abstract],
            history: Some(50),
            self_attention: None,
            head: HeadDescription { pooling: PoolingKind::Mean, ..HeadDescription::default() },
        }
    }

    #[test]
    fn the_keys_of_the_file_do_not_change() {
        let expected = "{\n  \"task\": \"recommend\",\n  \"max_tokens\": 30,\n  \"texts\": 2,\n  \"fields\": [\n    \
                        \"title\",\n    \"abstract\"\n  ],\n  \"history\": 50,\n  \"head\": {\n    \"pooling\": \
                        \"mean\",\n    \"score\": \"dot\",\n    \"scale\": 1.0,\n    \"reader\": \"attentive\"\n  }\n}\n";
        assert_eq!(description().to_json(), expected);
    }

    #[test]
    fn windows_are_an_object_and_absent_by_default() {
        let windows = Some(Windows { size: 16, stride: 8 });
        let cut = Description { windows, ..description() };
        assert!(
            cut.to_json().contains("\"windows\": {\n    \"size\": 16,\n    \"stride\": 8\n  }"),
            "{}",
            cut.to_json()
        );
        assert_eq!(serde_json::from_str::<Description>(&cut.to_json()).unwrap(), cut);
        assert_eq!((cut.longest_sequence(), description().longest_sequence()), (16, 30));
    }

    #[test]
    fn the_truncation_is_a_word_and_absent_by_default() {
        let file = Description { truncate: Truncation::HeadTail, ..description() }.to_json();
        assert!(file.contains("\"truncate\": \"head_tail\""), "{file}");
        assert_eq!(serde_json::from_str::<Description>(&file).unwrap().truncate, Truncation::HeadTail);
        assert_eq!(serde_json::from_str::<Description>(&description().to_json()).unwrap().truncate, Truncation::Head);
    }

    #[test]
    fn a_description_survives_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Description::read(folder.path()).unwrap(), None);
        let path = folder.path().join(DESCRIPTION_FILE);
        fs::write(&path, description().to_json()).unwrap();
        assert_eq!(Description::read(folder.path()).unwrap(), Some(description()));
        fs::write(&path, r#"{"task": "topic"}"#).unwrap();
        let error = Description::read(folder.path()).unwrap_err();
        assert_eq!(error.to_string(), path.display().to_string());
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("missing field `max_tokens`"), "{source}");
    }

    #[test]
    fn each_label_has_a_threshold_or_none_has() {
        let folder = tempfile::tempdir().unwrap();
        let labels = vec!["sport".to_owned(), "world".to_owned()];
        let read = |thresholds: Vec<f64>| {
            let description = Description { labels: labels.clone(), thresholds, ..description() };
            fs::write(folder.path().join(DESCRIPTION_FILE), description.to_json()).unwrap();
            Description::read(folder.path()).map(|found| found.unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(read(vec![]).unwrap().label_kind(), LabelKind::Single);
        let both = read(vec![0.25, 0.5]).unwrap();
        assert_eq!((both.label_kind(), both.thresholds), (LabelKind::Multi, vec![0.25, 0.5]));
        let message = read(vec![0.25]).unwrap_err();
        assert!(
            message
                .ends_with("`thresholds` is [0.25], expected a number from 0 to 1 for each of the 2 labels, or none")
        );
        assert!(read(vec![0.25, 1.5]).unwrap_err().contains("`thresholds` is [0.25,1.5]"));
    }
}
