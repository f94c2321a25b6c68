//! The configuration of a comparison, as read from its file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::json;
use serde_yaml::Value;

use crate::config::{Override, RunConfig, anchor_paths, load, stem};

/// Settings by dotted key.
pub type Settings = BTreeMap<String, Value>;

/// The configuration of a comparison.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Configuration of a NewsBERT comparison")]
pub struct CompareConfig {
    /// Name of the comparison; by default the name of the file.
    pub name: Option<String>,
    /// Folder of the comparison; by default `runs/<name>`.
    pub output: Option<PathBuf>,
    /// Configuration that all runs have in common, without `method`, `name`, `output`, `seed` and `student.layers`.
    #[schemars(schema_with = "run_of_comparison")]
    pub run: Value,
    /// Numbers of student layers.
    pub depths: Vec<usize>,
    /// Seeds, one run for each.
    pub seeds: Vec<u64>,
    /// Label of the entries that the others are tested against; `finetune` by default.
    pub baseline: Option<String>,
    /// Teacher that methods with a frozen teacher share, and that students are compared with.
    #[serde(default)]
    pub teacher: TeacherEntryConfig,
    /// Methods to compare.
    pub methods: Vec<EntryConfig>,
}

/// Training of the shared teacher.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherEntryConfig {
    /// Settings in addition to those of `run`.
    #[schemars(schema_with = "settings")]
    pub set: Settings,
    /// Candidate settings, the best of which are used.
    #[schemars(schema_with = "tries")]
    pub tries: Vec<Settings>,
}

/// Method to compare.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryConfig {
    /// Name of the preset.
    pub method: String,
    /// Label in the table; the preset's name by default.
    pub label: Option<String>,
    /// Numbers of student layers, in place of the comparison's.
    pub depths: Option<Vec<usize>>,
    /// Seeds, in place of the comparison's.
    pub seeds: Option<Vec<u64>>,
    /// Settings in addition to those of `run`.
    #[serde(default)]
    #[schemars(schema_with = "settings")]
    pub set: Settings,
    /// Candidate settings, the best of which are used: by the primary metric on the development rows, with the first
    /// seed.
    #[serde(default)]
    #[schemars(schema_with = "tries")]
    pub tries: Vec<Settings>,
}

impl CompareConfig {
    /// Returns the JSON schema (draft 2020-12) of a comparison's file, for completion and checks in editors.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// Reads a comparison's file; overrides set dotted keys of it, e.g. `run.train.epochs=1`.
    ///
    /// # Errors
    /// If the file cannot be read, or if a key or value is unknown.
    pub fn read(path: &Path, overrides: &[Override]) -> Result<Self> {
        let anchor = |tree: &mut Value, folder: &Path| {
            anchor_paths(tree, folder);
            if let Some(run) = tree.get_mut("run") {
                anchor_paths(run, folder);
            }
        };
        let complete = |_: &mut Value| (); // each run is completed by itself
        let mut config: Self = load(path, overrides, anchor, complete)?;
        config.name = config.name.or_else(|| stem(path));
        Ok(config)
    }
}

fn tries(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": settings(generator)})
}

/// The schema of the configuration that all runs have in common.
fn run_of_comparison(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<RunConfig>();
    let distinguishing = json!({"method": false, "name": false, "output": false, "seed": false});
    schema.insert("properties".to_owned(), distinguishing);
    schema
}

/// The schema of settings by dotted key.
fn settings(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "examples": [{"train.lr": 1e-4}]})
}
