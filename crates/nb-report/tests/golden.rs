//! A record written by an earlier version is read, and written again byte for byte.
#![allow(clippy::unwrap_used)] // allowed in test helpers, as in tests

use std::fs;
use std::path::{Path, PathBuf};

use nb_report::RunRecord;
use nb_report::record::{Evaluation, Line, OutcomesFile, Summary};
use safetensors::SafeTensors;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/record")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

#[test]
fn the_record_of_an_earlier_version_is_read() {
    let record = RunRecord::read(&folder()).unwrap();
    assert_eq!((record.steps.len(), record.evaluations.len()), (9, 3));
    let student = record.summary.student.as_ref().unwrap();
    assert_eq!((student.layers, student.parameters, student.best_step), (Some(2), Some(44_672), Some(6)));
    assert_eq!(student.last().scores.metric("accuracy"), Some(12.0 / 18.0));
    let outcomes = record.outcomes.unwrap();
    let values = outcomes.student.as_ref().unwrap().values_of("accuracy").unwrap();
    assert_eq!((values.len(), values.iter().sum::<f64>()), (18, 12.0));
    assert_eq!(outcomes.teacher.unwrap().classes.unwrap().names, ["finance", "sports", "weather"]);
}

#[test]
fn a_summary_is_written_as_it_was_read() {
    let summary: Summary = serde_json::from_str(&text("summary.json")).unwrap();
    assert_eq!(serde_json::to_string_pretty(&summary).unwrap() + "\n", text("summary.json"));
}

#[test]
fn log_lines_are_written_as_they_were_read() {
    for line in text("metrics.jsonl").lines() {
        let read: Line = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
    }
}

#[test]
fn outcomes_are_written_as_they_were_read() {
    let path = folder().join("outcomes.safetensors");
    let file = OutcomesFile::read(&path).unwrap();
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata: Vec<_> = file.metadata().into_iter().map(|(key, text)| (key.to_owned(), text)).collect();
    let mut expected: Vec<_> = header.metadata().clone().unwrap().into_iter().collect();
    expected.sort();
    assert_eq!(metadata, expected);

    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let columns = file.columns();
    assert_eq!(columns.len(), tensors.len());
    for column in columns {
        let tensor = tensors.tensor(&column.name).unwrap();
        assert_eq!((tensor.dtype(), tensor.data()), (column.dtype, column.data.as_slice()), "{}", column.name);
    }
}

/// Reads JSON as a `T` and writes the `T` as JSON.
fn round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(json: &Value) -> String {
    serde_json::to_string(&serde_json::from_value::<T>(json.clone()).unwrap()).unwrap()
}

#[test]
fn all_fields_of_a_record_are_written_as_they_were_read() {
    let scores = json!({"impressions": 40, "auc": 0.5, "ndcg@10": 0.25, "intervals": {"auc": [0.25, 0.75]}});
    let mut evaluation = scores.clone();
    evaluation["parts"] = json!({"new articles": scores, "none": {"impressions": 0, "intervals": {}}});
    evaluation["counted"] = json!({"impressions without a history": 3});
    evaluation["left_out"] = json!({"impressions of one class": 2});
    assert_eq!(round_trip::<Evaluation>(&evaluation), evaluation.to_string());

    let mut model = json!({"layers": 1, "parameters": 10});
    model.as_object_mut().unwrap().extend(evaluation.as_object().unwrap().clone());
    model["test"] = evaluation;
    let summary = json!({
        "student": model,
        "data": {"train": {"path": "a.tsv, b.tsv", "blake3": "01"}, "dev": [{"path": "c", "blake3": "02", "rows": 3}]},
        "models": {"checkpoint": "03", "student": "04", "trained": ["05", "06"]},
        "machine": {"cpu": "a processor", "memory": "of another version"},
        "warnings": ["one"], "terms_without_unit": {"hard": 2}, "updates_left_out": 1,
    });
    assert_eq!(round_trip::<Summary>(&summary), summary.to_string());
}

#[test]
fn costs_and_untouched_models_are_written_as_they_were_read() {
    let untouched =
        json!({"layers": 1, "parameters": 10, "queries": 4, "mrr": 0.5, "test": {"queries": 6, "mrr": 0.25}});
    let cost = json!({"seconds": 1.5, "processor_seconds": 3.0});
    let summary = json!({
        "task": "retrieve", "train": {"steps": 3}, "cost": {"run": cost, "teacher": {"processor_seconds": 0.5}},
        "student": {"mrr": 0.75}, "untouched": {"teacher": untouched, "student": untouched}, "warnings": [],
    });
    assert_eq!(round_trip::<Summary>(&summary), summary.to_string());
    let line = json!({"event": "eval", "step": 3, "student": {"mrr": 0.5}, "cost": cost});
    assert_eq!(round_trip::<Line>(&line), line.to_string());
}

#[test]
fn costs_and_untouched_models_of_another_type_are_absent() {
    for odd in [json!(null), json!(7), json!("text"), json!([{"seconds": 1.0}, 2, 3])] {
        let summary = json!({"cost": odd, "untouched": odd});
        assert_eq!(round_trip::<Summary>(&summary), "{}", "{odd}");
        let summary = json!({"cost": {"run": odd, "teacher": odd}, "untouched": {"teacher": odd, "student": odd}});
        assert_eq!(round_trip::<Summary>(&summary), r#"{"cost":{},"untouched":{}}"#, "{odd}");
        let line = json!({"event": "eval", "cost": {"seconds": [odd], "processor_seconds": 2.0}});
        assert_eq!(round_trip::<Line>(&line), r#"{"event":"eval","cost":{"processor_seconds":2.0}}"#, "{odd}");
    }
}

#[test]
fn unknown_fields_and_events_are_ignored() {
    let summary =
        json!({"task": 7, "seed": -1, "unknown": {"a": 1}, "student": {"layers": "two", "accuracy": 0.5, "note": "x"}});
    assert_eq!(round_trip::<Summary>(&summary), json!({"student": {"accuracy": 0.5}}).to_string());
    assert!(serde_json::from_str::<Line>(r#"{"event": "unknown"}"#).is_err());
}

#[test]
fn a_number_that_is_not_finite_is_written_as_null_and_read_as_absent() {
    let summary = Summary {
        train: Some(nb_report::record::TrainSummary { seconds: Some(f64::NAN), ..Default::default() }),
        ..Summary::default()
    };
    let text = serde_json::to_string(&summary).unwrap();
    assert_eq!(text, r#"{"train":{"seconds":null}}"#);
    let read: Summary = serde_json::from_str(&text).unwrap();
    assert_eq!(read.train.unwrap().seconds, None);
}
