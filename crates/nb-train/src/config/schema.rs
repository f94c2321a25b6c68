//! JSON schemas of the values that no derive describes: numbers or words, and mappings whose keys are words of a list.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::checkpoints::CheckpointEvery;
use super::choices::{ColumnKey, DeviceChoice, StudentInit};
use super::ramp::RampConfig;
use super::run::RunConfig;
use super::term::TermKind;
use super::train::EvalEvery;

/// Implements [`JsonSchema`] with a given schema.
macro_rules! schema {
    ($type:ident, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(DeviceChoice, {
    "description": "Device: `auto`, `cpu`, `cuda` or `cuda:N`.",
    "anyOf": [
        {"enum": ["auto", "cpu", "cuda"]},
        {"type": "string", "pattern": "^cuda:[0-9]+$"}
    ]
});

schema!(StudentInit, {
    "description": "Initial weights: layers of the teacher, random weights, or a checkpoint.",
    "anyOf": [
        {"const": "first", "description": "The teacher's first layers"},
        {"const": "spaced", "description": "Every K-th layer of the teacher"},
        {"const": "random", "description": "Random weights"},
        {"type": "string", "description": "A checkpoint: a folder, or `hf:owner/name`"}
    ]
});

schema!(ColumnKey, {
    "description": "Column, by name or by number from 0.",
    "anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]
});

schema!(EvalEvery, {
    "description": "Interval between evaluations: `epoch`, or a number of steps.",
    "anyOf": [{"const": "epoch"}, {"type": "integer", "minimum": 1}]
});

schema!(CheckpointEvery, {
    "description": "Interval between checkpoints: `never`, a number of steps, or a time.",
    "anyOf": [
        {"const": "never"},
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": "^[0-9]*[1-9][0-9]* *(h|min|s)$", "examples": ["90s", "15min", "2h"]}
    ]
});

/// The schema of the weights of the terms by name.
pub(super) fn weights(generator: &mut SchemaGenerator) -> Schema {
    let weight = generator.subschema_for::<RampConfig>();
    let terms = TermKind::json_schema(generator);
    let terms = terms.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let properties: Map<String, Value> = terms
        .filter_map(|term| {
            let mut schema = weight.clone();
            schema.insert("description".to_owned(), term["description"].clone());
            Some((term["const"].as_str()?.to_owned(), schema.into()))
        })
        .collect();
    json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// Adds the word `reader`, an alias of `dense`.
pub(super) fn add_alias_of_dense(schema: &mut Schema) {
    if let Some(words) = schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        words.push(json!({"const": "reader", "description": "The same as `dense`"}));
    }
}

/// The schema of the configuration that all runs of a comparison have in common.
pub(crate) fn run_of_comparison(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<RunConfig>();
    let distinguishing = json!({"method": false, "name": false, "output": false, "seed": false});
    schema.insert("properties".to_owned(), distinguishing);
    schema
}

/// The schema of settings by dotted key.
pub(crate) fn settings(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "examples": [{"train.lr": 1e-4}]})
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use jsonschema::Validator;

    use super::*;
    use crate::compare::CompareConfig;

    fn validator(schema: &Value) -> Validator {
        assert!(jsonschema::meta::is_valid(schema), "the schema itself is wrong");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        jsonschema::validator_for(schema).unwrap()
    }

    fn shipped(is_comparison: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let is_yaml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
        files.filter(|path| is_yaml(path) && is_comparison(&path.file_stem().unwrap().to_string_lossy())).collect()
    }

    #[track_caller]
    fn assert_shipped_are_valid(validator: &Validator, files: &[PathBuf]) {
        assert!(!files.is_empty());
        for path in files {
            let value: Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let errors: Vec<String> =
                validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
        }
    }

    #[test]
    fn every_shipped_configuration_is_valid() {
        let is_comparison = |name: &str| name.starts_with("compare");
        assert_shipped_are_valid(&validator(&RunConfig::schema()), &shipped(|name| !is_comparison(name)));
        assert_shipped_are_valid(&validator(&CompareConfig::schema()), &shipped(is_comparison));
    }

    /// The schema accepts what the reader accepts, and refuses what it refuses.
    #[test]
    fn the_schema_agrees_with_the_reader() {
        let validator = validator(&RunConfig::schema());
        let rows = [
            ("seed: 3", true),
            ("sed: 3", false),
            ("seed: many", false),
            ("seed: -1", false),
            ("device: cuda:1", true),
            ("device: gpu", false),
            ("precision: bf16", true),
            ("precision: f16", false),
            ("threads: ~", true),
            ("train: {lr: 1e-4, eval_every: 20, patience: 3}", true),
            ("train: {lr: fast}", false),
            ("train: {learning_rate: 1}", false),
            ("train: {eval_every: epoch}", true),
            ("train: {eval_every: 0}", false),
            ("train: {eval_every: often}", false),
            ("checkpoints: {every: 15min, on_error: stop}", true),
            ("checkpoints: {every: 250}", true),
            ("checkpoints: {every: never}", true),
            ("checkpoints: {every: 0s}", false),
            ("checkpoints: {every: often}", false),
            ("student: {layers: 2, init: hf:a/b}", true),
            ("student: {layers: 2, init: 1}", false),
            ("method: {name: kd, share: [pooling, reader], blend: [layers]}", true),
            ("method: {share: [top]}", false),
            ("method: {weights: {soft: 1, hard: {from: 1, to: 0, over: 0.5}}}", true),
            ("method: {weights: {sof: 1}}", false),
            ("method: {weights: {soft: {from: 1}}}", false),
            ("method: {stages: [{share: 1, weights: {hidden: 1}}]}", true),
            ("method: {stages: [{share: 1}]}", false),
            ("method: {temperature: {rule: flsw, base: 4, beta: 1, gamma: 2}}", true),
            ("method: {temperature: {rule: other, base: 4, beta: 1, gamma: 2}}", false),
            ("method: {temperature: {from: 4, to: 1, course: cosine}}", true),
            ("method: {temperature: {from: 4, to: 1, curse: cosine}}", false),
            ("reader: {self_attention: 4}", true),
        ];
        let required = "task: topic\nteacher: {checkpoint: m}\n";
        let data = "data: {format: csv, train: a, columns: {label: 0, text: [title, 2]}}\n";
        let broken_data = "data: {format: csv, train: a, columns: {label: 0, text: [-1]}}\n";
        let cases = rows.map(|(row, is_valid)| (format!("{required}{data}{row}\n"), is_valid));
        let more = [(required.to_owned(), false), (format!("{required}{broken_data}"), false)];
        for (text, is_valid) in cases.into_iter().chain(more) {
            let value: Value = serde_yaml::from_str(&text).unwrap();
            assert_eq!(serde_yaml::from_str::<RunConfig>(&text).is_ok(), is_valid, "reader: {text}");
            assert_eq!(validator.is_valid(&value), is_valid, "schema: {text}");
        }
    }

    #[test]
    fn a_comparisons_runs_have_no_method_of_their_own() {
        let validator = validator(&CompareConfig::schema());
        let text = |run: &str| {
            format!(
                "{{run: {{task: topic, data: {{format: mind, train: a}}, teacher: {{random: ~}}{run}}}, depths: [1], seeds: [0], methods: [{{method: kd, set: {{train.lr: 1}}}}]}}"
            )
        };
        let is_valid = |run: &str| validator.is_valid(&serde_yaml::from_str(&text(run)).unwrap());
        assert!(is_valid("") && is_valid(", train: {lr: 1}"));
        assert!(!is_valid(", method: {name: kd}") && !is_valid(", trian: {lr: 1}") && !is_valid(", seed: 1"));
    }

    #[test]
    fn every_key_has_a_description() {
        fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if property.is_object() && property["description"].as_str().is_none_or(str::is_empty) {
                    found.push(format!("{path}.{name}"));
                }
            }
            for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
                undescribed(definition, name, found);
            }
        }
        let mut found = Vec::new();
        undescribed(&RunConfig::schema(), "run", &mut found);
        undescribed(&CompareConfig::schema(), "compare", &mut found);
        assert!(found.is_empty(), "{found:?}");
    }
}
