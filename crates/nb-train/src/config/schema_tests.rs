//! Tests that the JSON schemas agree with the readers and with the shipped configurations.

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::Value;

use super::read::typed;
use super::run::RunConfig;
use crate::compare::CompareConfig;

const TASKS: [&str; 3] = ["topic", "recommend", "retrieve"];

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
    assert_shipped_are_valid(&validator(&RunConfig::schema(&TASKS)), &shipped(|name| !is_comparison(name)));
    assert_shipped_are_valid(&validator(&CompareConfig::schema()), &shipped(is_comparison));
}

/// The schema accepts what the reader accepts, and refuses what it refuses.
#[test]
fn the_schema_agrees_with_the_reader() {
    let validator = validator(&RunConfig::schema(&TASKS));
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
        ("threads: auto", true),
        ("threads: 3", true),
        ("threads: 0", false),
        ("threads: 4097", false),
        ("threads: many", false),
        ("threads: -1", false),
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
        ("student: {layers: 2, init: ends}", true),
        ("student: {layers: 2, init: {layers: [0, 5]}}", true),
        ("student: {layers: 2, init: {layers: [-1, 5]}}", false),
        ("student: {layers: 2, init: {layers: 2}}", false),
        ("method: {name: tinybert, layers: [0, 5]}", true),
        ("method: {layers: 2}", false),
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
    let fields = "data: {format: mind, train: a, fields: [title, abstract]}\n";
    let broken_fields = "data: {format: mind, train: a, fields: [titel]}\n";
    let broken_data = "data: {format: csv, train: a, columns: {label: 0, text: [-1]}}\n";
    let cases = rows.map(|(row, is_valid)| (format!("{required}{data}{row}\n"), is_valid));
    let truncated = "data: {format: mind, train: a, truncate: head_tail}\n";
    let broken_truncation = "data: {format: mind, train: a, truncate: tail}\n";
    let cut = "data: {format: mind, train: a, windows: {size: 16, stride: 8}}\n";
    let broken_windows = "data: {format: mind, train: a, windows: {size: 16}}\n";
    let more = [
        (cut, true),
        (broken_windows, false),
        (truncated, true),
        (broken_truncation, false),
        ("", false),
        (broken_data, false),
        (fields, true),
        (broken_fields, false),
    ];
    let more = more.map(|(data, is_valid)| (format!("{required}{data}"), is_valid));
    for (text, is_valid) in cases.into_iter().chain(more) {
        let value: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(typed::<RunConfig>(serde_yaml::from_str(&text).unwrap()).is_ok(), is_valid, "reader: {text}");
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
    undescribed(&RunConfig::schema(&TASKS), "run", &mut found);
    undescribed(&CompareConfig::schema(), "compare", &mut found);
    assert!(found.is_empty(), "{found:?}");
}
