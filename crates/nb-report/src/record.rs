//! A run folder, read: configuration, log lines, evaluations, summary, and what each model made of each row.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::ReportError;

/// A finished run.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// The run folder.
    pub folder: PathBuf,
    /// `config.yaml`, as it stands.
    pub config: String,
    /// `summary.json`.
    pub summary: Value,
    /// The lines of `metrics.jsonl` whose `event` is `step`.
    pub steps: Vec<Value>,
    /// Those whose `event` is `eval`.
    pub evaluations: Vec<Value>,
    /// `outcomes.safetensors`, where the run has written it.
    pub outcomes: Option<Outcomes>,
}

/// What each model made of each row of the last evaluation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcomes {
    /// `split`, `task`, `primary`, `labels`.
    pub metadata: BTreeMap<String, String>,
    /// Which row of the data each entry is.
    pub rows: Vec<u32>,
    /// Numbers per row by name, e.g. `student.accuracy` or `teacher.probability`.
    pub numbers: BTreeMap<String, Vec<f64>>,
    /// Classes per row by name: `truth`, `student.predicted`, `teacher.predicted`.
    pub classes: BTreeMap<String, Vec<u32>>,
}

impl RunRecord {
    /// Reads a run folder. Unknown keys and events are passed over.
    ///
    /// # Errors
    /// If `summary.json`, `config.yaml` or `metrics.jsonl` is missing or is not what it should be; the message names the
    /// file and the line.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(ReportError::io(&path)).map(|text| (path, text))
        };
        let (path, summary) = text("summary.json")?;
        let summary = object(&summary).map_err(|found| ReportError::content(&path, None, found))?;
        let (path, lines) = text("metrics.jsonl")?;
        let (mut steps, mut evaluations) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(lines.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let line = object(line).map_err(|found| ReportError::content(&path, Some(number), found))?;
            match line["event"].as_str() {
                Some("step") => steps.push(line),
                Some("eval") => evaluations.push(line),
                _ => {}
            }
        }
        let outcomes = folder.join("outcomes.safetensors");
        let outcomes = outcomes.is_file().then(|| Outcomes::read(&outcomes)).transpose()?;
        Ok(Self { folder: folder.to_owned(), config: text("config.yaml")?.1, summary, steps, evaluations, outcomes })
    }
}

impl Outcomes {
    /// Reads `outcomes.safetensors`.
    ///
    /// # Errors
    /// If it cannot be read, or holds a tensor that does not have one entry for each row.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let bytes = fs::read(path).map_err(ReportError::io(path))?;
        let bad = |found: String| ReportError::content(path, None, found);
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(e.to_string()))?;
        let mut outcomes =
            Self { metadata: header.metadata().clone().unwrap_or_default().into_iter().collect(), ..Self::default() };
        if !header.tensors().contains_key("rows") {
            return Err(bad("there is no tensor rows, expected the row of each entry".to_owned()));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
        for (name, view) in tensors.iter() {
            let data = view.data();
            match (name, view.dtype()) {
                ("rows", Dtype::U32) => outcomes.rows = words(data).collect(),
                ("rows", other) => return Err(bad(format!("rows is {other:?}, expected U32"))),
                (_, Dtype::U32) => {
                    outcomes.classes.insert(name.to_owned(), words(data).collect());
                }
                (_, Dtype::F32) => {
                    let numbers = words(data).map(|bits| f64::from(f32::from_bits(bits))).collect();
                    outcomes.numbers.insert(name.to_owned(), numbers);
                }
                (_, Dtype::F64) => {
                    let number = |b: &[u8]| f64::from_le_bytes(b.try_into().unwrap_or_default());
                    outcomes.numbers.insert(name.to_owned(), data.chunks_exact(8).map(number).collect());
                }
                (_, other) => return Err(bad(format!("{name} is {other:?}, expected U32, F32 or F64"))),
            }
        }
        let n = outcomes.rows.len();
        let lengths = outcomes.numbers.iter().map(|(name, all)| (name, all.len()));
        let lengths = lengths.chain(outcomes.classes.iter().map(|(name, all)| (name, all.len())));
        match { lengths }.find(|(_, len)| *len != n) {
            Some((name, len)) => Err(bad(format!("{name} has {len} entries, expected {n} as rows has"))),
            None => Ok(outcomes),
        }
    }
}

/// The JSON object that `text` is.
fn object(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("{e}, expected a JSON object"))?;
    if value.is_object() { Ok(value) } else { Err(format!("found {value}, expected a JSON object")) }
}

fn words(data: &[u8]) -> impl Iterator<Item = u32> + '_ {
    data.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap_or_default()))
}
