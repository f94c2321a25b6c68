//! The results of a call as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::details::Details;
use crate::host::Host;
use crate::statistics::Direction;

/// Receives each result as soon as its case has been measured.
pub(crate) type OutcomeSink<'a> = &'a mut dyn FnMut(CaseOutcome);

/// All results of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine.
    pub host: Host,
    /// The commit that was measured.
    pub commit: Option<String>,
    /// The teacher as the command line named it: a checkpoint, or a shape with random weights.
    #[serde(default)]
    pub teacher: String,
    /// One result per case and precision.
    pub results: Vec<CaseOutcome>,
}

/// The unit of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Texts per second through training steps.
    #[serde(rename = "sequences/s")]
    Sequences,
    /// Clicks per second through training steps.
    #[serde(rename = "samples/s")]
    Samples,
    /// Texts per second, predicted or tokenised.
    #[serde(rename = "texts/s")]
    Texts,
    /// Rows read per second.
    #[serde(rename = "rows/s")]
    Rows,
    /// Median milliseconds per call.
    #[serde(rename = "ms")]
    Milliseconds,
}

impl Unit {
    /// Returns the direction in which a value of this unit is better.
    pub fn direction(self) -> Direction {
        if self == Self::Milliseconds { Direction::LowerIsBetter } else { Direction::HigherIsBetter }
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
pub struct CaseOutcome {
    /// `train`, `infer` or `data`.
    pub bench: String,
    /// The case's name.
    pub case: String,
    /// `f32`, `bf16` or `int8`.
    pub precision: String,
    /// Unit of `ours` and `peers`.
    pub unit: Unit,
    /// Our median over rounds.
    pub ours: f64,
    /// Our lowest and highest round.
    pub range: [f64; 2],
    /// Median over rounds of each peer, by mode.
    #[serde(default)]
    pub peers: BTreeMap<String, f64>,
    /// Median over rounds of the ratio of ours to the best peer; above 1 means that ours is faster.
    pub ratio: Option<f64>,
    /// Lowest and highest round of `ratio`.
    pub spread: Option<[f64; 2]>,
    /// Unavailable peers, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, String>,
    /// Further values of the case: phases, operations per second, peak memory.
    #[serde(flatten)]
    pub details: Details,
}

impl CaseOutcome {
    /// Returns the identity of the result: bench, case and precision.
    pub fn key(&self) -> [&str; 3] {
        [&self.bench, &self.case, &self.precision]
    }
}

impl Report {
    /// Reads the report of an earlier call.
    ///
    /// # Errors
    /// If it cannot be read or is not a results file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}: not a results file of nb-bench", path.display()))
    }

    /// Writes the report atomically.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        nb_files::write(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Returns a result without peers, for tests.
#[cfg(test)]
pub(crate) fn test_outcome(case: &str, unit: Unit, ours: f64, range: [f64; 2]) -> CaseOutcome {
    CaseOutcome {
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
        details: Details::default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::details::test_training;

    fn report() -> Report {
        let host = Host {
            cpu: "a CPU".into(),
            cores: 2,
            threads: 2,
            busy_threads: 0,
            memory_bytes: Some(1024),
            os: "linux x86_64".into(),
            device: "cpu".into(),
            libtorch: "2.11.0".into(),
        };
        let mut result = test_outcome("ag-64", Unit::Sequences, 30.0, [29.0, 31.0]);
        result.peers = BTreeMap::from([("torch-eager".to_owned(), 15.0)]);
        (result.ratio, result.spread) = (Some(2.0), Some([1.9, 2.1]));
        result.details.peak_bytes = Some(7);
        result.details.peak_bytes_of_peers = [("torch-eager".to_owned(), 9)].into_iter().collect();
        result.details.training = Some(test_training([("losses".to_owned(), 1.5)]));
        Report { host, commit: None, teacher: "a folder".to_owned(), results: vec![result] }
    }

    #[test]
    fn the_file_has_the_documented_keys() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["host"]["libtorch"], "2.11.0");
        assert_eq!(json["commit"], Value::Null);
        let expected = json!({
            "bench": "train", "case": "ag-64", "precision": "f32", "unit": "sequences/s", "ours": 30.0,
            "range": [29.0, 31.0], "peers": {"torch-eager": 15.0}, "ratio": 2.0, "spread": [1.9, 2.1], "peak_bytes": 7,
            "peak_bytes_of_peers": {"torch-eager": 9}, "gflops": 90.0, "peak_gflops": 180.0,
            "peak_gflops_at_shapes": 150.0, "share_of_peak": 0.5, "share_of_peak_at_shapes": 0.6,
            "phases_ms": {"losses": 1.5}, "steps": 8,
        });
        assert_eq!(json["results"][0], expected);
    }

    #[test]
    fn a_written_report_reads_back_equal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        report().write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), report());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file remains");
        std::fs::write(&path, "{}").unwrap();
        let error = format!("{:#}", Report::read(&path).unwrap_err());
        assert!(error.contains("results.json: not a results file of nb-bench"), "{error}");
    }
}
