//! Reading complete and invalid run folders.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use nb_report::record::OutcomesFile;
use nb_report::{ReportError, RunRecord, run_report};
use safetensors::{Dtype, serialize, tensor::TensorView};

fn folder(metrics: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), "name: x\n").unwrap();
    fs::write(folder.path().join("summary.json"), r#"{"name": "x"}"#).unwrap();
    fs::write(folder.path().join("metrics.jsonl"), metrics).unwrap();
    folder
}

fn refused(folder: &Path) -> String {
    RunRecord::read(folder).unwrap_err().to_string()
}

/// Returns an `outcomes.safetensors` with these tensors: name, type, bytes.
fn outcomes(tensors: &[(&str, Dtype, Vec<u8>)]) -> Vec<u8> {
    let size = |dtype: Dtype| if dtype == Dtype::F64 { 8 } else { 4 };
    let view = |(name, dtype, bytes): &'_ (&str, Dtype, Vec<u8>)| {
        let length = bytes.len() / size(*dtype);
        ((*name).to_owned(), *dtype, length)
    };
    let views = tensors.iter().map(|tensor| {
        let (name, dtype, length) = view(tensor);
        (name, TensorView::new(dtype, vec![length], &tensor.2).unwrap())
    });
    serialize(views, Some(HashMap::from([("primary".to_owned(), "accuracy".to_owned())]))).unwrap()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn numbers(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn lines_are_grouped_by_event() {
    let lines =
        "\u{20}\n{\"event\": \"step\", \"step\": 1}\r\n{\"event\": \"other\"}\n\n{\"event\": \"eval\", \"step\": 2}\n";
    let folder = folder(lines);
    let bytes = outcomes(&[
        ("rows", Dtype::U32, words(&[4, 9])),
        ("student.accuracy", Dtype::F64, numbers(&[0.0, 1.0])),
        ("student.probability", Dtype::F32, words(&[0.5f32.to_bits(), 0.25f32.to_bits()])),
        ("truth", Dtype::U32, words(&[1, 0])),
        ("student.predicted", Dtype::U32, words(&[1, 1])),
        ("of another version", Dtype::U32, words(&[7, 7])),
    ]);
    fs::write(folder.path().join("outcomes.safetensors"), bytes).unwrap();
    let record = RunRecord::read(folder.path()).unwrap();
    assert_eq!((record.steps.len(), record.evaluations.len()), (1, 1));
    let outcomes = record.outcomes.as_ref().unwrap();
    assert_eq!((outcomes.primary.as_deref(), &outcomes.teacher), (Some("accuracy"), &None));
    let student = outcomes.student.as_ref().unwrap();
    assert_eq!((&student.rows[..], student.values_of("accuracy")), (&[4, 9][..], Some(&[0.0, 1.0][..])));
    let classes = student.classes.as_ref().unwrap();
    assert_eq!((&classes.truth[..], &classes.predicted[..]), (&[1, 0][..], &[1, 1][..]));
    assert_eq!(classes.probability, [0.5, 0.25]);
    assert!(run_report(&record).unwrap().contains("<h1>x</h1>"));
}

#[test]
fn the_error_names_the_file_and_the_number_of_an_invalid_line() {
    for (line, found) in
        [("{\"event\": \"st", "EOF"), ("[1]", "found [1]"), ("NaN", "expected value"), ("{} {}", "trailing")]
    {
        let folder = folder(&format!("{{\"event\": \"step\"}}\n\n{line}\n"));
        let message = refused(folder.path());
        let place = format!("{}:3: ", folder.path().join("metrics.jsonl").display());
        assert!(message.starts_with(&place) && message.contains(found), "{message}");
        assert!(message.ends_with("expected a JSON object"), "{message}");
    }
}

#[test]
fn the_error_names_a_file_that_is_missing_or_not_text() {
    for name in ["config.yaml", "summary.json", "metrics.jsonl"] {
        let folder = folder("");
        fs::write(folder.path().join(name), [0xff, 0xfe, 0x00]).unwrap();
        assert!(refused(folder.path()).contains(name));
        fs::remove_file(folder.path().join(name)).unwrap();
        assert!(matches!(RunRecord::read(folder.path()), Err(ReportError::Io { path, .. }) if path.ends_with(name)));
    }
    let folder = folder("");
    fs::write(folder.path().join("summary.json"), "[]").unwrap();
    assert!(refused(folder.path()).ends_with("summary.json: found [], expected a JSON object"));
}

#[test]
fn invalid_outcomes_are_rejected_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outcomes.safetensors");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let message = OutcomesFile::read(&path).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        message
    };
    let rows = ("rows", Dtype::U32, words(&[0, 1, 2]));
    let short = ("student.accuracy", Dtype::F64, numbers(&[1.0, 0.0]));
    let message = refused(&outcomes(&[rows.clone(), short]));
    assert!(message.ends_with("student.accuracy has length 2, expected 3, the length of `rows`"), "{message}");
    let message = refused(&outcomes(&[("truth", Dtype::U32, words(&[1]))]));
    assert!(message.contains("tensor `rows` is missing"), "{message}");
    let message = refused(&outcomes(&[rows.clone(), ("truth", Dtype::I32, words(&[1, 2, 3]))]));
    assert!(message.ends_with("truth is I32, expected U32, F32 or F64"), "{message}");
    let message = refused(&outcomes(&[("rows", Dtype::F64, numbers(&[1.0]))]));
    assert!(message.ends_with("rows is F64, expected U32"), "{message}");
    // A truncated or overwritten file is an error, not a panic.
    let bytes = outcomes(&[rows, ("truth", Dtype::U32, words(&[1, 2, 3]))]);
    for length in 0..bytes.len() {
        refused(&bytes[..length]);
    }
    let mut huge = bytes.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(&huge);
}
