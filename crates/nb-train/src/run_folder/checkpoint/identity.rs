//! The identity of a run: its configuration, data, models and versions. A run resumes only from a checkpoint with the same
//! identity.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use nb_report::record::{CONFIG_FILE, Named, SUMMARY_FILE, Sources, Summary};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::RunConfig;

/// The identity of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The resolved configuration.
    config: Value,
    /// [`crate::run_folder::provenance::sources`].
    sources: Sources,
}

/// A key in which two runs differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The configuration's key; for data and models the key that names them; for versions `versions.<program>`.
    pub key: String,
    was: String,
    is: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {}, is {}", self.key, self.was, self.is)
    }
}

/// Keys that may differ: they change where a run is stored and how it computes, but not its result (except for the last bits).
const FREE: [&str; 6] = ["name", "output", "checkpoints", "data.cache", "threads", "train.recompute"];

impl Identity {
    /// Returns the identity of a run.
    pub(crate) fn new(config: &RunConfig, sources: &Sources) -> serde_json::Result<Self> {
        Ok(Self { config: serde_json::to_value(config)?, sources: sources.clone() })
    }

    /// Returns the identity of the run in a folder, from its `config.yaml` and, if it has finished, its `summary.json`; `None`
    /// if the configuration cannot be read.
    pub(crate) fn of_folder(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(CONFIG_FILE)).ok()?;
        let summary = std::fs::read_to_string(folder.join(SUMMARY_FILE)).unwrap_or_default();
        let summary: Summary = serde_json::from_str(&summary).unwrap_or_default();
        Some(Self { config: serde_yaml::from_str(&text).ok()?, sources: summary.sources })
    }

    /// Returns the identity as text, which is equal for equal runs.
    pub(crate) fn text(&self) -> String {
        self.by_key().into_iter().map(|(key, value)| format!("{key} {value}\n")).collect()
    }

    /// Returns the identity without data, models and versions.
    pub(crate) fn without_sources(&self) -> Self {
        Self { config: self.config.clone(), sources: Sources::default() }
    }

    /// Returns the folders of trained teachers that the configuration names.
    pub(crate) fn trained_teachers(&self) -> Option<Vec<PathBuf>> {
        let folders = self.config.get("teacher")?.get("trained")?.as_array()?;
        folders.iter().map(|folder| folder.as_str().map(PathBuf::from)).collect()
    }

    /// Returns the keys in which `now` differs from this identity.
    pub(crate) fn differences(&self, now: &Self) -> Vec<Difference> {
        let (was, is) = (self.by_key(), now.by_key());
        let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let show = |value: Option<&String>| value.cloned().unwrap_or_else(|| "absent".to_owned());
        let mut differences = Vec::new();
        for key in keys {
            let (was, is) = (was.get(key), is.get(key));
            if was != is {
                differences.push(Difference { key: key.clone(), was: show(was), is: show(is) });
            }
        }
        differences
    }

    /// Returns the identity by key. The content of files is listed under the key that names the files.
    fn by_key(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        leaves("", &self.config, &mut |key, value| {
            let is_free = FREE.iter().any(|free| key == *free || key.starts_with(&format!("{free}.")));
            if !is_free && !value.is_null() {
                out.insert(key.to_owned(), value.to_string());
            }
        });
        for (split, data) in self.sources.data.iter().flat_map(Named::iter) {
            out.insert(format!("data.{split} (content)"), Value::from(data.blake3()).to_string());
        }
        if let Some(models) = &self.sources.models {
            let hashes = [
                ("teacher.checkpoint", models.checkpoint.clone().map(Value::from)),
                ("student.init", models.student.clone().map(Value::from)),
                ("teacher.trained", models.trained.clone().map(Value::from)),
            ];
            let known = hashes.into_iter().filter_map(|(key, hash)| Some((key, hash?)));
            out.extend(known.map(|(key, hash)| (format!("{key} (content)"), hash.to_string())));
        }
        for (program, version) in self.sources.versions.iter().flat_map(Named::iter) {
            out.insert(format!("versions.{program}"), version.to_string());
        }
        out
    }
}

impl Difference {
    /// Returns the key that `--accept` takes.
    pub(crate) fn accepted_by(&self) -> &str {
        self.key.strip_suffix(" (content)").unwrap_or(&self.key)
    }
}

/// Calls `found` for every value that is not a mapping, with its dotted key.
fn leaves(key: &str, value: &Value, found: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                leaves(&inner, value, found);
            }
        }
        other => found(key, other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(lr: f64, output: &str, hash: &str) -> Identity {
        let config = json!({"output": output, "train": {"lr": lr, "tokens": null}, "checkpoints": {"keep": lr}});
        let sources = json!({"data": {"train": {"path": output, "blake3": hash}}, "versions": {"tch": "1"}});
        Identity { config, sources: serde_json::from_value(sources).unwrap() }
    }

    #[test]
    fn the_folder_of_a_run_is_not_a_difference() {
        assert_eq!(identity(0.1, "a", "x").differences(&identity(0.1, "b", "x")), []);
    }

    #[test]
    fn differences_name_the_key_and_both_values() {
        let found = identity(0.1, "a", "x").differences(&identity(0.2, "a", "y"));
        let text: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(text, [r#"data.train (content) was "x", is "y""#, "train.lr was 0.1, is 0.2"]);
        assert_eq!(found[0].accepted_by(), "data.train");
    }

    #[test]
    fn an_identity_survives_a_round_trip() {
        // 0.1 + 0.2 has more digits than most.
        let original = identity(0.1 + 0.2, "a", "x");
        let read: Identity = serde_json::from_str(&serde_json::to_string(&original).unwrap()).unwrap();
        assert_eq!(read, original);
    }
}
