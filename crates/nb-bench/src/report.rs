//! What a call of the bench comes to, as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::host::Host;
use crate::statistics::Better;

/// All results of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine.
    pub host: Host,
    /// The commit that was measured.
    pub commit: Option<String>,
    /// The large model, as the command line named it: a checkpoint, or a shape with random weights.
    #[serde(default)]
    pub teacher: String,
    /// By case and precision.
    pub results: Vec<Outcome>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Texts that went through a training step.
    #[serde(rename = "sequences/s")]
    Sequences,
    /// Clicks that went through a training step.
    #[serde(rename = "samples/s")]
    Samples,
    /// Texts that were answered or tokenised.
    #[serde(rename = "texts/s")]
    Texts,
    /// Rows that were read.
    #[serde(rename = "rows/s")]
    Rows,
    /// Median time of one call.
    #[serde(rename = "ms")]
    Milliseconds,
}

impl Unit {
    /// Which way it is better.
    pub fn better(self) -> Better {
        if self == Self::Milliseconds { Better::Lower } else { Better::Higher }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sequences => "sequences/s",
            Self::Samples => "samples/s",
            Self::Texts => "texts/s",
            Self::Rows => "rows/s",
            Self::Milliseconds => "ms",
        })
    }
}

/// The result of one case in one number format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// `train`, `infer` or `data`.
    pub bench: String,
    /// The case's name.
    pub case: String,
    /// `f32` or `bf16`.
    pub precision: String,
    /// What `ours` and `peers` are in.
    pub unit: Unit,
    /// Median over rounds.
    pub ours: f64,
    /// Lowest and highest round of ours.
    pub range: [f64; 2],
    /// By peer, its median over rounds.
    #[serde(default)]
    pub peers: BTreeMap<String, f64>,
    /// Ours against the best peer of each round, the median; above 1 is ours ahead.
    pub ratio: Option<f64>,
    /// Lowest and highest round of that.
    pub spread: Option<[f64; 2]>,
    /// Peers that do not work here, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, String>,
    /// Whatever else the case tells: phases, operations per second, peak memory.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

impl Outcome {
    /// What two results must have in common to be compared.
    pub fn key(&self) -> [&str; 3] {
        [&self.bench, &self.case, &self.precision]
    }
}

impl Report {
    /// Reads the file of an earlier call.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}: no results of this bench", path.display()))
    }

    /// Writes a file, which appears complete or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        nb_files::write(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A result for tests.
#[cfg(test)]
pub(crate) fn outcome(case: &str, unit: Unit, ours: f64, range: [f64; 2]) -> Outcome {
    Outcome {
        bench: "train".to_owned(),
        case: case.to_owned(),
        precision: "f32".to_owned(),
        unit,
        ours,
        range,
        peers: BTreeMap::new(),
        ratio: None,
        spread: None,
        skipped: BTreeMap::new(),
        details: Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Report {
        let host = Host {
            cpu: "a CPU".into(),
            cores: 2,
            threads: 2,
            memory_bytes: Some(1024),
            os: "linux x86_64".into(),
            device: "cpu".into(),
            libtorch: "2.11.0".into(),
        };
        let mut result = outcome("ag-64", Unit::Sequences, 30.0, [29.0, 31.0]);
        result.peers = BTreeMap::from([("torch-eager".to_owned(), 15.0)]);
        (result.ratio, result.spread) = (Some(2.0), Some([1.9, 2.1]));
        result.details = Map::from_iter([("peak_bytes".to_owned(), json!(7))]);
        Report { host, commit: None, teacher: "a folder".to_owned(), results: vec![result] }
    }

    #[test]
    fn the_file_has_the_keys_that_others_read() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["host"]["libtorch"], "2.11.0");
        assert_eq!(json["commit"], Value::Null);
        let expected = json!({
            "bench": "train", "case": "ag-64", "precision": "f32", "unit": "sequences/s", "ours": 30.0,
            "range": [29.0, 31.0], "peers": {"torch-eager": 15.0}, "ratio": 2.0, "spread": [1.9, 2.1], "peak_bytes": 7,
        });
        assert_eq!(json["results"][0], expected);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        report().write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), report());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        std::fs::write(&path, "{}").unwrap();
        let error = format!("{:#}", Report::read(&path).unwrap_err());
        assert!(error.contains("results.json: no results of this bench"), "{error}");
    }
}
