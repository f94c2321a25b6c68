//! What the user typed for a comparison.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;
use serde_yaml::Value;

use crate::config::{Override, anchor_paths, load, stem};

/// Settings by dotted key.
pub type Settings = BTreeMap<String, Value>;

/// A comparison, as its file says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareConfig {
    /// Its name; the file's name if absent.
    pub name: Option<String>,
    /// Its folder; `runs/<name>` if absent.
    pub output: Option<PathBuf>,
    /// What all runs have in common: the configuration of a run without `method`.
    pub run: Value,
    /// Student depths.
    pub depths: Vec<usize>,
    /// Seeds; one run for each.
    pub seeds: Vec<u64>,
    /// Label of the entries that the others are tested against; `finetune` if absent.
    pub baseline: Option<String>,
    /// The teacher that frozen methods share, and that students are measured by.
    #[serde(default)]
    pub teacher: TeacherEntryConfig,
    /// What is compared.
    pub methods: Vec<EntryConfig>,
}

/// How the shared teacher is trained.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherEntryConfig {
    /// Settings beside those of `run`.
    pub set: Settings,
    /// Settings of which the best are taken.
    pub tries: Vec<Settings>,
}

/// A method that is compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryConfig {
    /// A preset.
    pub method: String,
    /// What it is called; the preset's name if absent.
    pub label: Option<String>,
    /// Other depths than the comparison's.
    pub depths: Option<Vec<usize>>,
    /// Other seeds than the comparison's.
    pub seeds: Option<Vec<u64>>,
    /// Settings beside those of `run`.
    #[serde(default)]
    pub set: Settings,
    /// Settings of which the best are taken, by the primary metric on the development rows, with the first seed.
    #[serde(default)]
    pub tries: Vec<Settings>,
}

impl CompareConfig {
    /// Reads a comparison's file; overrides set dotted keys of it, e.g. `run.train.epochs=1`.
    ///
    /// # Errors
    /// If the file cannot be read, or if a key or value is not known.
    pub fn read(path: &Path, overrides: &[Override]) -> Result<Self> {
        let mut config: Self = load(path, overrides, |tree, folder| {
            anchor_paths(tree, folder);
            if let Some(run) = tree.get_mut("run") {
                anchor_paths(run, folder);
            }
        })?;
        config.name = config.name.or_else(|| stem(path));
        Ok(config)
    }
}
